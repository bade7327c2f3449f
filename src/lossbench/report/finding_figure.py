"""Figure of the main finding: each loss at the paper's learning rate and at its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import (
    data,
    ends,
    grouped,
    in_percent,
    label_rows,
    legend,
    limits,
    place_axes,
    whiskers,
    write_beside,
)
from lossbench.report.rows import Estimate, FindingRow
from lossbench.report.style import STYLES, TEXT
from lossbench.report.wording import seeds_told

_WIDTH = 5.0  # inches, so that a phone shows it almost unscaled

_ABOVE = 0.35  # of a row's height

NOT_YET = "not yet run"
OTHER_READING = "summed over classes"
"""What the other reading of a loss is."""

_PAPER_TICK: Mapping[str, Any] = {"marker": "|", "markersize": 12, "markeredgewidth": 1.6, "linestyle": "none"}
_HOLLOW: Mapping[str, Any] = {"marker": "o", "markersize": 8, "markeredgewidth": 1.4, "linestyle": "none"}
_FILLED: Mapping[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "none"}
_CROSS: Mapping[str, Any] = {"marker": "x", "markersize": 6, "markeredgewidth": 1.6, "linestyle": "none"}


def finding(rows: Sequence[FindingRow], paper_lr: float) -> Picture:
    """Test accuracy of every loss at the paper's learning rate and at its own, by data set, beside the paper's number.

    Args:
        rows: in order of their data sets; those of a data set stand together.
        paper_lr: the paper's learning rate.
    """
    estimates = [one for row in rows for one in (row.at_paper, row.at_own, row.other_reading) if one is not None]
    told = seeds_told({one.n for one in estimates})
    caption = (
        "Test accuracy of CNN2C, the paper's small network: mean over all seeds"
        f"{f' ({told})' * bool(told)} with its 95 % interval; a bar joins the two learning rates. The paper's number "
        "agrees if it could be one more run, whose interval is wider."
    )
    alt = " ".join(_in_words(row) for row in rows)
    return Picture("finding", drawing(_draw, tuple(rows), paper_lr), caption, f"Accuracy by loss. {alt}", _data(rows))


def _draw(rows: Sequence[FindingRow], paper_lr: float) -> Figure:
    groups = grouped(rows, lambda row: row.dataset)
    left, right, top, height = 0.92, 0.62, 0.5, 0.222 * max(len(rows) + len(groups), 1)
    figure = Figure(figsize=(_WIDTH, top + height + 0.45))
    axes = place_axes(figure, left, top, _WIDTH - left - right, height)
    heights = label_rows(axes, [(name, [row.loss for row in group]) for name, group in groups.items()], left - 0.05)
    ys = [y for group in heights for y in group]
    ordered = [row for group in groups.values() for row in group]
    _set_limits(axes, ordered)
    for y, row in zip(ys, ordered, strict=True):
        _draw_row(axes, y, row)
    write_beside(axes, 0, "own lr")
    axes.set_xlabel("test accuracy (%)", fontsize=TEXT)
    signs = [
        Line2D(
            [],
            [],
            color="black",
            markerfacecolor="white",
            label=f"at the paper's learning rate, {paper_lr:g}",
            **_HOLLOW,
        ),
        Line2D([], [], color="black", label="at its own learning rate", **_FILLED),
        Line2D([], [], color="black", label="printed in the paper", **_PAPER_TICK),
    ]
    signs += [
        Line2D([], [], label=f"{row.loss} {OTHER_READING}", color=STYLES[row.loss]["color"], **_CROSS)
        for row in ordered
        if row.other_reading is not None
    ][:1]
    legend(figure, signs, 2, left=0.35)
    return figure


def _set_limits(axes: Axes, rows: Sequence[FindingRow]) -> None:
    known = [one for row in rows for one in (row.at_paper, row.at_own, row.other_reading) if one is not None]
    values = ends(known) + [100 * row.paper for row in rows if row.paper is not None]
    low, high = limits(values or [80.0, 100.0])
    axes.set_xlim(low, min(high, 100))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))


def _draw_row(axes: Axes, y: float, row: FindingRow) -> None:
    color = STYLES[row.loss]["color"]
    known = [one for one in (row.at_paper, row.at_own) if one is not None]
    if len(known) == 2:
        axes.plot([100 * one.mean for one in known], [y, y], color=color, linewidth=4, alpha=0.35)
    whiskers(axes, [y] * len(known), known, color=color, linewidth=1)
    if row.at_paper is not None:
        axes.plot(100 * row.at_paper.mean, y, color=color, markerfacecolor="white", **_HOLLOW)
    if row.at_own is not None:
        axes.plot(100 * row.at_own.mean, y, color=color, **_FILLED)
    if row.other_reading is not None:
        above = y - _ABOVE  # so that its interval does not hide that of the own learning rate
        whiskers(axes, [above], [row.other_reading], color=color, linewidth=1)
        axes.plot(100 * row.other_reading.mean, above, color=color, **_CROSS)
    if row.paper is not None:
        axes.plot(100 * row.paper, y, color="black", **_PAPER_TICK)
    _write_missing(axes, y, row)


def _write_missing(axes: Axes, y: float, row: FindingRow) -> None:
    """The own learning rate at the right, and what is not yet run where the row is empty."""
    if row.own_lr is not None:
        write_beside(axes, y, f"{row.own_lr:g}")
    if row.at_paper is not None and row.at_own is not None:
        return
    words = NOT_YET
    if row.at_paper is not None or row.at_own is not None:
        words = f"own lr {NOT_YET}" if row.at_own is None else f"paper's lr {NOT_YET}"
    shown = [one.mean for one in (row.at_paper, row.at_own) if one is not None]
    shown += [row.paper] if row.paper is not None else []
    is_left = not shown or 100 * float(np.mean(shown)) > np.mean(axes.get_xlim())
    place = (0.02, "left") if is_left else (0.98, "right")
    style: dict[str, Any] = {"fontsize": TEXT, "va": "center_baseline", "transform": axes.get_yaxis_transform()}
    axes.text(place[0], y, words, ha=place[1], **style)


def _marks(row: FindingRow) -> list[tuple[str, float | None, Estimate | None]]:
    """What is drawn in a row, with the learning rate where it is the loss's own."""
    marks = [("at the paper's learning rate", None, row.at_paper), ("at its own learning rate", row.own_lr, row.at_own)]
    return [*marks, *([(OTHER_READING, None, row.other_reading)] if row.other_reading else [])]


def _data(rows: Sequence[FindingRow]) -> pd.DataFrame:
    return data(
        [
            {
                "dataset": row.dataset,
                "loss": row.loss,
                "mark": mark,
                "own_learning_rate": lr,
                **in_percent(estimate, "accuracy_percent"),
                "paper_percent": None if row.paper is None else 100 * row.paper,
            }
            for row in rows
            for mark, lr, estimate in _marks(row)
        ]
    )


def _in_words(row: FindingRow) -> str:
    texts = [
        f"{mark}{'' if lr is None else f', {lr:g},'} {f'{100 * one.mean:.2f} %' if one else NOT_YET}"
        for mark, lr, one in _marks(row)
    ]
    printed = [] if row.paper is None else [f"printed in the paper {100 * row.paper:.2f} %"]
    return f"{row.dataset}, {row.loss}: {'; '.join([*texts, *printed])}."
