"""The paper's figures, drawn from our runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lossbench.report.blocks import Picture
from lossbench.report.drawing import given
from lossbench.report.style import FAINT, PAPER, SMALL, STYLES
from lossbench.report.wording import MISSING
from lossbench.runs.records import Record
from lossbench.studies.aaai20 import grid as experiments
from lossbench.studies.tables import Filled

_CELLS = LinearSegmentedColormap.from_list("cells", ["#4477aa00", "#4477aacc"])  # text of the page's colour on it


@dataclass(frozen=True)
class Confusions:
    """The confusion matrices of one loss, and the counts that the paper's text prints of it."""

    loss: str
    dataset: str
    matrices: Mapping[int, np.ndarray]  # by seed: [K, K], images of class j (row) predicted as class k (column)
    paper: Mapping[tuple[int, int], int]  # by true and predicted class

    @property
    def n(self) -> int:
        """Runs."""
        return len(self.matrices)

    @property
    def mean(self) -> np.ndarray:
        """The mean matrix; there must be a run."""
        mean: np.ndarray = np.mean(list(self.matrices.values()), axis=0)
        return mean

    def printed(self) -> list[str]:
        """Our mean beside each count of the paper's, in words."""
        mean = self.mean if self.n else np.zeros((0, 0))
        ours = {place: f"{mean[place]:.1f}" if max(place) < len(mean) else MISSING for place in self.paper}
        return [
            f"{true} taken for {predicted}: {ours[true, predicted]} (paper {count})"
            if true != predicted
            else f"{true} right: {ours[true, predicted]} (paper {count})"
            for (true, predicted), count in self.paper.items()
        ]


def confusions(filled: Filled) -> list[Confusions]:
    """The matrices behind Figure 1: of each loss on KMNIST, in the quick profile on digits."""
    found = []
    for cell, records in filled:
        if cell.dataset in ("KMNIST", "digits"):
            matrices = {
                int(record.fields["config"]["seed"]): matrix
                for record in records
                if (matrix := _confusion(record)) is not None
            }
            paper = experiments.paper_confusions().get(cell.config.loss.name, {}) if cell.dataset == "KMNIST" else {}
            found.append(Confusions(cell.loss, cell.dataset, matrices, paper))
    return found


def figure1(found: Sequence[Confusions]) -> Picture:
    """Confusion matrices as in the paper's Figure 1: counts of test images, mean over the seeds."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    said = []
    for axes, one in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        axes.set_title(f"{one.loss}, n={one.n}")
        if not one.n:
            _say_missing(axes, square=True)
            said.append(f"{one.loss}: {MISSING}.")
            continue
        _draw_confusion(axes, one)
        said.append(_confusion_in_words(one))
    lines = [
        {"loss": one.loss, "true": row, "predicted": column, "mean": value, "n": one.n, "paper": one.paper.get(place)}
        for one in found
        if one.n
        for place, value in np.ndenumerate(one.mean)
        for row, column in [place]
    ]
    framed = " Framed: the counts that the paper prints." if any(one.paper for one in found) else ""
    caption = (
        f"Figure 1. Confusion matrices on {found[0].dataset} test images, CNN2C, last epoch: images of a true class "
        f"(row) taken for a class (column), mean of n runs.{framed}"
    )
    alt = f"Confusion matrices on {found[0].dataset}. {' '.join(said)}"
    table = pd.DataFrame(lines, columns=["loss", "true", "predicted", "mean", "n", "paper"])
    return Picture("figure1", given(figure), caption, alt, table)


def figure1_classes(found: Sequence[Confusions]) -> Picture:
    """What the paper reads from Figure 1: in which classes LGL-INR is more accurate than LGL, and than SML."""
    (first,) = [one for one in found if one.loss == "LGL-INR"]
    others = [one for one in found if one.loss != "LGL-INR"]
    figure = Figure(figsize=(6.4, 3 * len(others)), layout="constrained")
    said, lines = [], []
    for axes, other in zip(figure.subplots(len(others), 1, squeeze=False)[:, 0], others, strict=True):
        contrast = f"{first.loss} - {other.loss}"
        seeds = sorted(first.matrices.keys() & other.matrices.keys())
        axes.set_title(f"{contrast}, n={len(seeds)}", pad=18 if seeds else 6)
        if not seeds:
            _say_missing(axes)
            said.append(f"{contrast}: {MISSING}.")
            continue
        pairs = [(first.matrices[seed], other.matrices[seed]) for seed in seeds]
        differences = np.array([_class_percents(one) - _class_percents(two) for one, two in pairs])
        _draw_classes(axes, differences, STYLES[other.loss])
        said.append(_classes_in_words(contrast, differences))
        lines += [
            {"contrast": contrast, "class": column, "seed": seeds[row], "difference": value}
            for (row, column), value in np.ndenumerate(differences)
        ]
    printed = [f"{one.loss}, class {words}" for one in found for words in one.printed()]
    counts = f" The counts that the paper prints, beside our means: {'; '.join(printed)}." if printed else ""
    caption = (
        f"Figure 1 by class. Difference in accuracy on the {first.dataset} test images of each class, CNN2C, last "
        f"epoch: a dot is a seed, a bar the mean of n seeds; above, in how many seeds LGL-INR is higher.{counts}"
    )
    alt = f"Differences in accuracy by class on {first.dataset}. {' '.join(said)}"
    table = pd.DataFrame(lines, columns=["contrast", "class", "seed", "difference"])
    return Picture("figure1_classes", given(figure), caption, alt, table)


def figure2(filled: Filled) -> Picture:
    """Accuracy curves as in the paper's Figure 2, of test and training images, for every data set: mean and range."""
    datasets = list(dict.fromkeys(cell.dataset for cell, _ in filled))
    figure = Figure(figsize=(6, 0.6 + 2.6 * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), 2, squeeze=False, sharex=True)
    ends: dict[tuple[str, str], list[str]] = {}
    lines = []
    for (row, dataset), (column, split) in ((r, c) for r in enumerate(datasets) for c in enumerate(("test", "train"))):
        axes, counts, late = grid[row, column], {}, []
        for cell, records in ((cell, found) for cell, found in filled if cell.dataset == dataset):
            curves = 100 * np.array([record.fields["curves"][f"{split}/accuracy"] for record in records])
            counts[cell.loss] = len(curves)
            paper = cell.paper if split == "test" else None
            if paper is not None:  # side by side, since some are equal
                place = (1 + 0.04 * len(counts)) * cell.config.schedule.epochs
                axes.plot(place, paper, color=STYLES[cell.loss]["color"], **PAPER)
                late.append(paper)
            if len(curves):
                values = _draw_curves(axes, curves, STYLES[cell.loss])
                late.append(curves[:, curves.shape[1] // 10 :].min())  # the first steep epochs may lie below
                lines += [
                    {"split": split, "dataset": dataset, "loss": cell.loss, **line, "n": len(curves)}
                    for line in values.to_dict("records")
                ]
            end = f"{curves[:, -1].mean():.2f} % (n={len(curves)})" if len(curves) else MISSING
            beside = "" if paper is None else f", paper {paper:.2f} %"
            ends.setdefault((dataset, split), []).append(f"{cell.loss} {end}{beside}")
        axes.set_ylim(bottom=max(0.0, min(late) - 2) if late else 0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(f"{dataset}, {split}\n", fontsize=11)
        axes.text(0.5, 1.02, _counts_in_words(counts), ha="center", fontsize=SMALL + 1, transform=axes.transAxes)
        axes.set_xlabel("epoch" if row == len(datasets) - 1 else "")
        axes.set_ylabel("accuracy (%)" if column == 0 else "")
        axes.grid(color=FAINT, alpha=0.3)
    losses = {cell.loss for cell, _ in filled}
    signs = [Line2D([], [], **style | {"marker": ""}, label=loss) for loss, style in STYLES.items() if loss in losses]
    printed = any(cell.paper is not None for cell, _ in filled)
    signs += [Line2D([], [], color=FAINT, **PAPER, label="paper")] if printed else []
    figure.legend(handles=signs, loc="outside upper center", ncols=len(signs), frameon=False)
    caption = (
        "Figure 2. Accuracy after each epoch, CNN2C: line, mean of n runs; band, from the lowest to the highest of them"
        f"{'; diamonds, the numbers that Table 3 of the paper prints, in the order of the losses' if printed else ''}. "
        "Training accuracy is the running mean over the epoch. Each panel has its own range, and leaves out what lies "
        "far below the later epochs."
    )
    told = [f"{dataset}, {split}: {', '.join(words)}." for (dataset, split), words in ends.items()]
    alt = f"Accuracy curves; where they end. {' '.join(told)}"
    table = pd.DataFrame(lines, columns=["split", "dataset", "loss", "epoch", "mean", "low", "high", "n"])
    return Picture("figure2", given(figure), caption, alt, table)


def _confusion(record: Record) -> np.ndarray | None:
    try:
        arrays = record.arrays()
    except ValueError:  # listed among what is in no table
        return None
    return None if arrays is None else arrays["confusion_matrix"]


def _say_missing(axes: Axes, square: bool = False) -> None:
    axes.text(0.5, 0.5, MISSING, ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])
    axes.set_box_aspect(1 if square else None)
    axes.spines[:].set_color(FAINT)


def _draw_confusion(axes: Axes, one: Confusions) -> None:
    mean = one.mean
    shares = mean / mean.sum(axis=1, keepdims=True).clip(1)
    # The root makes the rare errors visible.
    axes.pcolormesh(shares**0.4, cmap=_CELLS, vmin=0, vmax=1, edgecolors="none", antialiased=False)
    ticks = np.arange(len(mean))
    axes.set_xticks(ticks + 0.5, labels=ticks)
    axes.set_yticks(ticks + 0.5, labels=ticks)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set(aspect="equal", ylabel="true class", xlabel="\n".join(["predicted class", *one.printed()]))
    for (row, column), value in np.ndenumerate(mean):
        axes.text(column + 0.5, row + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=SMALL)
    for row, column in (place for place in one.paper if max(place) < len(mean)):
        axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=1.2))


def _confusion_in_words(one: Confusions) -> str:
    mean, right = one.mean, _class_percents(one.mean)
    wrong = mean - np.diag(mean.diagonal())
    row, column = np.unravel_index(wrong.argmax(), wrong.shape)
    lowest = "" if np.isnan(right).all() else f"least in class {np.nanargmin(right)}, {np.nanmin(right):.1f} %; "
    return (
        f"{one.loss}, n={one.n}: {100 * mean.trace() / mean.sum().clip(1):.1f} % right, {lowest}"
        f"most often {row} is taken for {column}, {wrong.max():.1f} images."
    )


def _class_percents(matrix: np.ndarray) -> np.ndarray:
    """Accuracy of each class [K] in percent; nan for one without images."""
    totals = matrix.sum(axis=1)
    percents: np.ndarray = 100 * matrix.diagonal() / np.where(totals > 0, totals, np.nan)
    return percents


def _draw_classes(axes: Axes, differences: np.ndarray, style: Mapping[str, Any]) -> None:
    """Bars, dots and counts of one contrast; differences [seeds, K] in points."""
    num_seeds, num_classes = differences.shape
    classes = np.arange(num_classes)
    axes.bar(classes, differences.mean(axis=0), width=0.8, color=style["color"], alpha=0.3)
    shifts = 0.6 * (np.arange(num_seeds) + 0.5) / num_seeds - 0.3
    for shift, values in zip(shifts, differences, strict=True):
        axes.plot(classes + shift, values, color=style["color"], marker=style["marker"], markersize=3.5, ls="none")
    axes.axhline(0, color="black", linewidth=0.8)
    known = np.isfinite(differences).sum(axis=0)
    for place, higher, n in zip(range(num_classes), (differences > 0).sum(axis=0), known, strict=True):
        words = f"{higher}/{n}" if n else MISSING
        axes.text(place, 1.02, words, ha="center", fontsize=SMALL, transform=axes.get_xaxis_transform())
    axes.text(-0.01, 1.02, "higher in", ha="right", fontsize=SMALL, transform=axes.transAxes)
    axes.set_xticks(classes)
    axes.margins(y=0.08)
    axes.set(xlabel="class", ylabel="difference (points)", xlim=(-0.6, num_classes - 0.4))
    axes.grid(axis="y", color=FAINT, alpha=0.3)


def _classes_in_words(contrast: str, differences: np.ndarray) -> str:
    mean = differences.mean(axis=0)
    if np.isnan(mean).all():
        return f"{contrast}: {MISSING}."
    return (
        f"{contrast}, n={len(differences)}: the mean is higher in {(mean > 0).sum()} of {np.isfinite(mean).sum()} "
        f"classes; from {np.nanmin(mean):+.1f} points in class {np.nanargmin(mean)} to {np.nanmax(mean):+.1f} in class "
        f"{np.nanargmax(mean)}."
    )


def _draw_curves(axes: Axes, curves: np.ndarray, style: Mapping[str, Any]) -> pd.DataFrame:
    """Draw mean and range of curves [runs, epochs]; returns them."""
    epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
    low, high = curves.min(axis=0), curves.max(axis=0)
    axes.plot(epochs, mean, color=style["color"], linestyle=style["linestyle"])
    axes.fill_between(epochs, low, high, color=style["color"], alpha=0.25, linewidth=0)
    return pd.DataFrame({"epoch": epochs, "mean": mean, "low": low, "high": high})


def _counts_in_words(counts: Mapping[str, int]) -> str:
    """The number of runs of each loss; said once where it is the same."""
    if len(set(counts.values())) == 1:
        n = next(iter(counts.values()))
        return f"n={n}" if n else MISSING
    return ", ".join(f"{loss} {f'n={n}' if n else MISSING}" for loss, n in counts.items())
