"""Figure of the learning property: both sides of Eq. 9 for every class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import WIDTH, grouped, legend, place_axes
from lossbench.report.rows import PropertyRow
from lossbench.report.style import FAINT, SMALL, STYLES, TEXT
from lossbench.report.wording import MISSING

SPLITS = {"train": "training images", "test": "test images"}


@dataclass(frozen=True)
class ClassMean:
    """Both sides for a class, geometric means over the runs of a cell."""

    cell: str
    loss: str
    split: str
    class_name: str
    left: float
    right: float
    n: int

    @property
    def ratio(self) -> float:
        """Left over right; 1 if both are equal."""
        return self.left / self.right


def learning_property(rows: Sequence[PropertyRow], losses: Sequence[str]) -> Picture:
    """Left-hand over right-hand side of Eq. 9 for every class of trained networks; 1 where both are equal.

    Args:
        rows: of all runs.
        losses: labels; one without rows is missing.
    """
    usable = [row for row in rows if row.left > 0 and row.right > 0 and math.isfinite(row.left * row.right)]
    means = _means(usable)
    left_out = len(rows) - len(usable)
    caption = (
        "Left-hand over right-hand side of Eq. 9 on trained networks; on the line both are equal. A point is a class "
        "of a network and data set, geometric mean over seeds; n points."
        f"{f' {left_out} values without two positive sides are left out.' if left_out else ''}"
    )
    texts = [_in_words(loss, split, means) for split in SPLITS for loss in losses]
    alt = f"Two sides of Eq. 9. {' '.join(texts)}"
    frame = pd.DataFrame([vars(one) for one in means], columns=list(ClassMean.__annotations__))
    frame = frame.rename(columns={"class_name": "class", "left": "left_hand_side", "right": "right_hand_side"})
    for side in ("left_hand_side", "right_hand_side"):
        frame[side] = [float(f"{value:.5g}") for value in frame[side]]
    return Picture("learning_property", drawing(_draw, tuple(means), tuple(losses)), caption, alt, frame)


def _means(rows: Sequence[PropertyRow]) -> list[ClassMean]:
    found = []
    for cell, of_cell in grouped(rows, lambda row: row.cell).items():
        for loss, of_loss in grouped(of_cell, lambda row: row.loss).items():
            for split, of_split in grouped(of_loss, lambda row: row.split).items():
                for name, runs in grouped(of_split, lambda row: row.class_name).items():
                    left, right = np.exp(np.log([(one.left, one.right) for one in runs]).mean(axis=0)).tolist()
                    found.append(ClassMean(cell, loss, split, name, left, right, len(runs)))
    return found


_HOLLOW: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "none", "markersize": 4, "markeredgewidth": 0.8}


def _draw(means: Sequence[ClassMean], losses: Sequence[str]) -> Figure:
    left, top, between, height = 0.65, 0.65, 0.3, 1.9
    width = (WIDTH - left - between - 0.1) / 2
    figure = Figure(figsize=(WIDTH, top + height + 0.5))
    across = _log_limits([one.right for one in means])
    up = _log_limits([*(one.ratio for one in means), 1.0])
    for number, (split, title) in enumerate(SPLITS.items()):
        axes = place_axes(figure, left + number * (width + between), top, width, height)
        axes.axhline(1, color="black", linewidth=0.8)
        for loss in losses:
            chosen = [one for one in means if (one.loss, one.split) == (loss, split)]
            axes.plot([one.right for one in chosen], [one.ratio for one in chosen], **STYLES[loss] | _HOLLOW)
        axes.set(xscale="log", yscale="log", xlim=across, ylim=up)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(title, fontsize=TEXT, fontweight="bold")
        axes.set_xlabel("right-hand side of Eq. 9", fontsize=TEXT)
        axes.minorticks_off()
        marks = [step * 10.0**power for power in range(-6, 7) for step in (1, 3)]
        axes.set_yticks([mark for mark in marks if up[0] <= mark <= up[1]])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.tick_params(labelsize=SMALL, labelleft=not number)
        axes.grid(color=FAINT, alpha=0.3, linewidth=0.6)
        if not number:
            axes.set_ylabel("left over right", fontsize=TEXT)
    signs = [Line2D([], [], label=_counted(loss, means), **STYLES[loss] | _HOLLOW) for loss in losses]
    legend(figure, signs, len(losses))
    return figure


def _log_limits(values: Sequence[float]) -> tuple[float, float]:
    """A log axis that reaches all values."""
    return (min(values) / 1.5, max(values) * 1.5) if values else (0.1, 10.0)


def _counted(loss: str, means: Sequence[ClassMean]) -> str:
    """A loss with its number of points in each panel."""
    counts = [sum((one.loss, one.split) == (loss, split) for one in means) for split in SPLITS]
    return f"{loss}, n={' and '.join(map(str, dict.fromkeys(counts)))}" if any(counts) else f"{loss}, {MISSING}"


def _in_words(loss: str, split: str, means: Sequence[ClassMean]) -> str:
    chosen = sorted((one for one in means if (one.loss, one.split) == (loss, split)), key=lambda one: one.ratio)
    if not chosen:
        return f"{loss}, {split}: {MISSING}."
    ends = (f"{one.ratio:.3g} (class {one.class_name}, {one.cell})" for one in (chosen[0], chosen[-1]))
    return f"{loss}, {split}: n={len(chosen)}, left over right from {' to '.join(ends)}."
