"""The paper's Figure 2, drawn from our runs: accuracy epoch by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.panels import WIDE, accuracy_axis, lines, panels
from lossbench.report.style import FAINT, STYLES, TEXT
from lossbench.report.wording import MISSING
from lossbench.studies.tables import Filled

_SPLITS = ("test", "train")


@dataclass(frozen=True)
class Curve:
    """Accuracies of one loss over the epochs, in percent.

    Args:
        dataset: label.
        split: "test" or "train".
        loss: label.
        values: one run a row, [n, epochs]; [0] without runs.
        paper: the number that the paper prints; None: none.
    """

    dataset: str
    split: str
    loss: str
    values: np.ndarray
    paper: float | None

    @property
    def told(self) -> str:
        """Where it ends, in words."""
        n = len(self.values)
        end = f"{self.values[:, -1].mean():.2f} % (n={n})" if n else MISSING
        return f"{self.loss} {end}" + ("" if self.paper is None else f", paper {self.paper:.2f} %")

    def marks(self) -> list[dict[str, Any]]:
        """What is drawn of it, epoch by epoch."""
        place = {"split": self.split, "dataset": self.dataset, "loss": self.loss}
        return [
            place
            | {"epoch": epoch, "mean": one.mean(), "low": one.min(), "high": one.max(), "n": len(one)}
            | {"paper": self.paper}
            for epoch, one in enumerate(self.values.T if len(self.values) else (), 1)
        ]


def figure2(filled: Filled) -> Picture:
    """Accuracy curves as in the paper's Figure 2, of test and training images, for every data set: mean and range."""
    curves = [
        Curve(
            cell.dataset,
            split,
            cell.loss,
            100 * np.array([record.fields["curves"][f"{split}/accuracy"] for record in records]),
            cell.paper if split == "test" else None,
        )
        for split in _SPLITS
        for cell, records in filled
    ]
    printed = any(one.paper is not None for one in curves)
    ticks = " Ticks at the right edge: the numbers that Table 3 of the paper prints." if printed else ""
    caption = (
        "Figure 2. Accuracy after each epoch, CNN2C: line, mean of n runs; band, their range."
        f"{ticks} Training accuracy is the running mean over the epoch. The axis is logarithmic in the error. "
        "Each panel has its own range, without the first epochs."
    )
    ends: dict[str, list[str]] = {}
    for one in curves:
        ends.setdefault(f"{one.dataset}, {one.split}", []).append(one.told)
    told = [f"{place}: {', '.join(words)}." for place, words in ends.items()]
    alt = f"Accuracy curves; where they end. {' '.join(told)}"
    columns = ["split", "dataset", "loss", "epoch", "mean", "low", "high", "n", "paper"]
    table = pd.DataFrame([mark for one in curves for mark in one.marks()], columns=columns)
    return Picture("figure2", drawing(_draw, curves), caption, alt, table)


def _draw(curves: Sequence[Curve]) -> Figure:
    """A column a data set; test images above training images."""
    datasets = list(dict.fromkeys(one.dataset for one in curves))
    losses = list(dict.fromkeys(one.loss for one in curves))
    num = len(datasets)
    size = (WIDE if num > 1 else 4.6, 5.1)
    figure, grid = panels(size, 2, num, left=0.6, right=0.35, top=0.65, bottom=0.45, across=0.7, down=0.6)
    for (row, split), (column, dataset) in ((r, c) for r in enumerate(_SPLITS) for c in enumerate(datasets)):
        axes = grid[row, column]
        here = [one for one in curves if (one.dataset, one.split) == (dataset, split)]
        late: list[float] = []
        for one in here:
            style = STYLES[one.loss]
            if len(one.values):
                epochs = np.arange(1, one.values.shape[1] + 1)
                axes.plot(epochs, one.values.mean(axis=0), color=style["color"], linestyle=style["linestyle"])
                low, high = one.values.min(axis=0), one.values.max(axis=0)
                axes.fill_between(epochs, low, high, color=style["color"], alpha=0.25, linewidth=0)
                late += one.values[:, len(epochs) // 5 :].ravel().tolist()
            if one.paper is not None:
                start = 1.01 + 0.035 * losses.index(one.loss)  # side by side, since some are equal
                ends = [start, start + 0.03], [one.paper] * 2
                tick = {"transform": axes.get_yaxis_transform(), "clip_on": False, "linewidth": 2.5}
                axes.plot(*ends, color=style["color"], solid_capstyle="butt", **tick)
                late.append(one.paper)
        accuracy_axis(axes, late)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(_title(dataset, split, {one.loss: len(one.values) for one in here}), fontsize=TEXT)
        axes.set_xlabel("epoch" if row else "")
        axes.set_ylabel("accuracy (%)" if column == 0 else "")
        lines(axes)
    signs = [Line2D([], [], **STYLES[loss] | {"marker": ""}, label=loss) for loss in losses]
    if any(one.paper is not None for one in curves):
        signs.append(Line2D([], [], color=FAINT, linewidth=2.5, label="the paper's number"))
    figure.legend(handles=signs, loc="upper center", ncols=len(signs), frameon=False, fontsize=TEXT, handlelength=2.2)
    return figure


def _title(dataset: str, split: str, counts: Mapping[str, int]) -> str:
    """Data set, images and the number of runs of each loss; said once where it is the same."""
    images = f"{dataset}, {'test' if split == 'test' else 'training'} images"
    if len(set(counts.values())) == 1:
        n = next(iter(counts.values()))
        return f"{images}, {f'n={n}' if n else MISSING}"
    told = [f"{loss} {f'n={n}' if n else MISSING}" for loss, n in counts.items()]
    return f"{images}\n{', '.join(told)}"
