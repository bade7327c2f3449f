"""Axes whose rows hold estimates with their intervals, placed in inches, with headings above groups of rows."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossbench.report.rows import Estimate
from lossbench.report.style import FAINT, TEXT

WIDTH = 5.6
"""Inches; figures of this width stand beside each other on a wide screen."""

FULL_WIDTH = 9.6
"""Inches of a figure as wide as the page's column."""

Row = TypeVar("Row")


def grouped(rows: Iterable[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows by key; groups and rows are in order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def place_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """New axes without frame, grid lines across, at a distance in inches from the figure's left and upper edge."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(color=FAINT, labelsize=TEXT, length=3)
    axes.grid(axis="x", color=FAINT, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def label_rows(axes: Axes, groups: Sequence[tuple[str, Sequence[str]]], left: float = 0.0) -> list[list[float]]:
    """Give axes their rows, one unit high each, from the top.

    Args:
        axes: as they are placed.
        groups: a heading with the labels of its rows; an empty heading takes no height.
        left: inches left of the axes, where the headings begin; 0: nothing is written, as the panel before says it.

    Returns:
        The heights of the rows, by group.
    """
    heights: list[list[float]] = []
    y = 0.0
    style: dict[str, Any] = {"textcoords": "offset points", "va": "center_baseline", "annotation_clip": False}
    for heading, labels in groups:
        if heading and left:
            place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "xytext": (-72 * left, 0)}
            axes.annotate(heading, (0, y), fontsize=TEXT, fontweight="bold", **place, **style)
        y += bool(heading)
        heights.append([y + number for number in range(len(labels))])
        y += len(labels)
    axes.set_ylim(y - 0.4, -0.6)
    every = [one for group in heights for one in group]
    axes.set_yticks(every, labels=[label if left else "" for _, labels in groups for label in labels], fontsize=TEXT)
    axes.tick_params(axis="y", length=0)
    return heights


def write_beside(axes: Axes, y: float, words: str) -> None:
    """A text at the right of a row."""
    axes.annotate(
        words,
        (1, y),
        (6, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center_baseline",
        fontsize=TEXT,
        annotation_clip=False,
    )


def whiskers(axes: Axes, ys: Sequence[float], estimates: Sequence[Estimate], **style: Any) -> None:
    """The intervals of estimates, in percent, as lines; an estimate without one gets none."""
    known = [
        (y, 100 * one.low, 100 * one.high)
        for y, one in zip(ys, estimates, strict=True)
        if math.isfinite(one.low) and math.isfinite(one.high)
    ]
    if known:
        axes.hlines(*zip(*known, strict=True), **style)


def legend(
    figure: Figure, handles: Sequence[Artist], columns: int, left: float | None = None, top: float = 0.0
) -> None:
    """What markers and lines mean, above the axes.

    Args:
        figure: as it is drawn.
        handles: with their labels.
        columns: most in a line.
        left: inches from the figure's left edge; None: in the middle.
        top: inches from the upper edge.
    """
    across, down = figure.get_size_inches()
    style: dict[str, Any] = {"fontsize": TEXT, "frameon": False, "borderaxespad": 0.2, "columnspacing": 1.4}
    style |= {"loc": "upper center" if left is None else "upper left", "ncols": max(min(columns, len(handles)), 1)}
    style["bbox_to_anchor"] = (0.5 if left is None else left / across, 1 - top / down)
    figure.legend(handles=list(handles), **style)


def ends(estimates: Iterable[Estimate]) -> list[float]:
    """All numbers that an axis must reach, in percent."""
    return [100 * value for one in estimates for value in (one.mean, one.low, one.high) if math.isfinite(value)]


def limits(values: Sequence[float], pad: float = 0.04) -> tuple[float, float]:
    """An axis that reaches all values, and a little more."""
    low, high = min(values, default=-1.0), max(values, default=1.0)
    more = pad * (high - low) or 0.5
    return low - more, high + more


def axis_reach(extents: Iterable[float], margin: float, least: float = 1.5, far: float = 3.0) -> float:
    """How far an axis of differences reaches, in points; what is much farther off than all else is beyond it.

    Args:
        extents: how far each row reaches from 0, in points.
        margin: of equivalence, a fraction.
        least: margins that the axis reaches at least.
        far: an extent is beyond it if it is more than so many times the next one and than four margins.
    """
    known = sorted(extents)
    while len(known) > 1 and known[-1] > far * max(known[-2], 400 * margin):
        known.pop()
    return max([*known, 100 * least * margin])


def longest(labels: Iterable[str], headings: Iterable[str] = ()) -> float:
    """How wide the longest of some labels and headings is at most, in inches."""
    letters = [0.56 * len(label) for label in labels] + [0.66 * len(heading) for heading in headings]
    return max(letters, default=0) * TEXT / 72


def in_percent(estimate: Estimate | None, name: str) -> dict[str, float | int]:
    """The columns of an estimate in a figure's data.

    Args:
        estimate: None: not yet run.
        name: of the mean's column, with its unit, such as "accuracy_percent".
    """
    one = estimate or Estimate(math.nan, math.nan, math.nan, 0)
    unit = name.rpartition("_")[2]
    return {name: 100 * one.mean, f"low_{unit}": 100 * one.low, f"high_{unit}": 100 * one.high, "n": one.n}


def data(lines: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """A figure's numbers, rounded to what a reader needs."""
    return pd.DataFrame(lines).round(4)
