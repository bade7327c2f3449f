"""How do the paper's figures look with our runs in them?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lossbench import experiments
from lossbench.files import write_atomically
from lossbench.records import Record
from lossbench.report.page import BLACK, Picture, write_picture
from lossbench.report.tables import MISSING, Filled

COLORS = {"LGL": "#4477aa", "SML": "#ee6677", "LGL-INR": "#228833"}


def write_figure1(folder: Path, filled: Filled) -> Picture:
    """Confusion matrices on KMNIST (quick: digits) as the paper's Figure 1: counts, averaged over the seeds."""
    chosen = [(cell, found) for cell, found in filled if cell.dataset in ("KMNIST", "digits")]
    figure = Figure(figsize=(3.8 * len(chosen), 4.6), layout="constrained")
    lines, said = [], []
    for axes, (cell, records) in zip(figure.subplots(1, len(chosen)), chosen, strict=True):
        matrices = [matrix for record in records if (matrix := _confusion(record)) is not None]
        axes.set_title(f"{cell.loss}, n={len(matrices)}")
        if not matrices:
            axes.text(0.5, 0.5, MISSING, ha="center", transform=axes.transAxes)
            axes.set_axis_off()
            said.append(f"{cell.loss} {MISSING}")
            continue
        mean = np.mean(matrices, axis=0)
        paper = experiments.paper_confusions().get(cell.loss, {}) if cell.dataset == "KMNIST" else {}
        _draw_confusion(axes, mean, paper)
        said.append(f"{cell.loss} {100 * np.trace(mean) / mean.sum():.2f} %")
        lines += [
            {
                "loss": cell.loss,
                "true": row,
                "predicted": column,
                "mean": value,
                "n": len(matrices),
                "paper": paper.get((row, column)),
            }
            for (row, column), value in np.ndenumerate(mean)
        ]
    dataset = chosen[0][0].dataset
    picture = Picture(
        "figure1",
        figure,
        f"Figure 1. Confusion matrices on {dataset} test images, CNN2C: last epoch, mean over n seeds; "
        "the darker a cell, the larger its share of the true class.",
        f"Confusion matrices, one a loss, true classes in rows. On the diagonal: {', '.join(said)}.",
    )
    write_picture(folder, picture)
    table = pd.DataFrame(lines, columns=["loss", "true", "predicted", "mean", "n", "paper"])
    write_atomically(folder / "figure1.csv", lambda file: table.to_csv(file, index=False))
    return picture


def _confusion(record: Record) -> np.ndarray | None:
    try:
        arrays = record.arrays()
    except ValueError:  # listed among what is in no table
        return None
    return None if arrays is None else arrays["confusion_matrix"]


def _draw_confusion(axes: Any, mean: np.ndarray, paper: Mapping[tuple[int, int], int]) -> None:
    num_classes = len(mean)
    shares = mean / mean.sum(axis=1, keepdims=True).clip(1)
    edges = np.arange(num_classes + 1) - 0.5
    visible = shares**0.4  # the root brings out the rare errors
    axes.pcolormesh(edges, edges, visible, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    said = [
        f"{row} as {column}: {mean[row, column]:.1f} (paper {count})"
        for (row, column), count in paper.items()
        if max(row, column) < num_classes
    ]
    axes.set(xticks=range(num_classes), yticks=range(num_classes), ylabel="true class")
    axes.set_xlabel("\n".join(["predicted class", *said]))
    for (row, column), value in np.ndenumerate(mean):
        color = "white" if shares[row, column] > 0.3 else BLACK if value >= 0.5 else "#999999"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)


def write_figure2(folder: Path, filled: Filled) -> Picture:
    """Accuracy curves as the paper's Figure 2, of test and training images, for every data set."""
    datasets = list(dict.fromkeys(cell.dataset for cell, _ in filled))
    figure = Figure(figsize=(max(6.0, 3.6 * len(datasets) + 0.4), 6.2), layout="constrained")
    grid = figure.subplots(2, len(datasets), squeeze=False, sharex=True)
    lines = []
    for (row, split), (column, dataset) in ((r, c) for r in enumerate(("test", "train")) for c in enumerate(datasets)):
        axes, late = grid[row, column], []
        for cell, records in ((cell, found) for cell, found in filled if cell.dataset == dataset):
            curves = 100 * np.array([record.fields["curves"][f"{split}/accuracy"] for record in records])
            if not len(curves):
                axes.plot([], [], color=COLORS[cell.loss], label=f"{cell.loss}, {MISSING}")
                continue
            epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
            axes.plot(epochs, mean, color=COLORS[cell.loss], label=f"{cell.loss}, n={len(curves)}")
            axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=COLORS[cell.loss], alpha=0.2, lw=0)
            if cell.paper is not None and split == "test":
                axes.axhline(cell.paper, color=COLORS[cell.loss], ls=":", lw=1)
            late.append(curves[:, curves.shape[1] // 10 :].min())  # the first steep epochs may lie below
            lines += [
                {"split": split, "dataset": dataset, "loss": cell.loss, "epoch": epoch, "mean": value, "n": len(curves)}
                for epoch, value in zip(epochs, mean, strict=True)
            ]
        if late:
            axes.set_ylim(bottom=max(0.0, min(late) - 2))
        else:
            axes.set_yticks([])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(title=f"{dataset}, {split}", ylabel="accuracy (%)" if column == 0 else None)
        axes.set_xlabel("epoch" if row == 1 else "")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="best")
    dotted = "; dotted: the paper's Table 3" if any(cell.paper is not None for cell, _ in filled) else ""
    table = pd.DataFrame(lines, columns=["split", "dataset", "loss", "epoch", "mean", "n"])
    last = table[table.split == "test"].groupby(["dataset", "loss"], sort=False)["mean"].last().reset_index()
    said = ", ".join(f"{line.dataset} {line.loss} {line.mean:.2f} %" for line in last.itertuples())
    picture = Picture(
        "figure2",
        figure,
        f"Figure 2. Accuracy after each epoch, CNN2C: mean and range over n seeds{dotted}.",
        f"Accuracy by epoch, one line a loss, on test and on training images. Test, last epoch: {said or MISSING}.",
    )
    write_picture(folder, picture)
    write_atomically(folder / "figure2.csv", lambda file: table.to_csv(file, index=False))
    return picture
