"""Figures of a comparison of losses: differences to the baseline, accuracy over the learning rate, and all pairs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import (
    axis_reach,
    data,
    ends,
    in_percent,
    label_rows,
    legend,
    longest,
    place_axes,
    whiskers,
)
from lossbench.report.matrix import draw_pairs
from lossbench.report.panels import NARROW, WIDE, accuracy_axis, lines, panels
from lossbench.report.rows import Estimate
from lossbench.report.style import FAINT, PALETTE, SMALL, TEXT
from lossbench.report.wording import MISSING, NO_NUMBER, percent, points, span
from lossbench.statistics.selection import RatePoint

_WIDTH = 5.2  # inches, so that a phone shows it almost unscaled
_ROW, _LOW_ROW = 0.3, 0.21  # inches of a loss, and where there are many
_MANY = 12
"""Losses from which rows are low, and most panels of learning rates in a picture, so that each fits on paper."""

_SHIFT = 0.17  # of a row's height, between the marks of the two learning rates and the row's middle
_HOLLOW: dict[str, Any] = {"marker": "o", "markersize": 6, "markeredgewidth": 1.2, "linestyle": "none"}
_FILLED: dict[str, Any] = {"marker": "o", "markersize": 5.5, "linestyle": "none"}


@dataclass(frozen=True)
class DifferenceRow:
    """A loss minus the baseline.

    Args:
        loss: label.
        common: at the common learning rate; None: no pair of runs.
        own: both at their own learning rates; likewise.
        words: what stands at the right of the row, such as the verdict.
    """

    loss: str
    common: Estimate | None
    own: Estimate | None
    words: str


def differences(rows: Sequence[DifferenceRow], baseline: str, margin: float, common_lr: str) -> Picture:
    """Differences to the baseline with their 95 % intervals, a row for each loss, the margin as a band.

    Args:
        rows: in their order.
        baseline: label.
        margin: of equivalence, a fraction.
        common_lr: the common learning rate, as text.
    """
    reach = _reach(rows, margin)
    beyond = [row.loss for row in rows if _extent(row) > reach]
    caption = (
        f"Test accuracy minus that of {baseline}, in points, paired over seeds: mean and 95 % interval, not corrected "
        f"for the number of losses. Band: the margin of ±{100 * margin:g} points. At the right: the verdict at the own "
        f"learning rates.{' An arrow: the difference is beyond the axis.' if beyond else ''}"
    )
    alt = " ".join(
        f"{row.loss}: {_told(row.own)} at the own learning rates, {_told(row.common)} at the common one; {row.words}."
        for row in rows
    )
    lines_of_data = [
        {"loss": row.loss, "learning_rate": name, **in_percent(one, "difference_points"), "margin_points": 100 * margin}
        for row in rows
        for name, one in (("common", row.common), ("own", row.own))
    ]
    return Picture(
        "differences",
        drawing(_draw_differences, tuple(rows), baseline, margin, common_lr),
        caption,
        f"Difference to {baseline}. {alt}",
        data(lines_of_data),
    )


def _told(one: Estimate | None) -> str:
    if one is None:
        return "no pair of runs"
    return f"{points(one.mean)} points" + ("" if math.isnan(one.low) else f" ({span(one.low, one.high)})")


def _extent(row: DifferenceRow) -> float:
    """How far a row reaches from 0, in points."""
    return max(map(abs, ends([one for one in (row.common, row.own) if one])), default=0.0)


def _reach(rows: Sequence[DifferenceRow], margin: float) -> float:
    """How far the axis reaches, in points; rows that are much farther off than all others are beyond it."""
    return axis_reach(map(_extent, rows), margin)


def _draw_differences(rows: Sequence[DifferenceRow], baseline: str, margin: float, common_lr: str) -> Figure:
    left = min(longest([row.loss for row in rows]) + 0.15, 2.2)
    right = longest([row.words for row in rows]) + 0.1
    top, height = 0.5, (_LOW_ROW if len(rows) > _MANY else _ROW) * max(len(rows), 1)
    width = max(_WIDTH, left + right + 2.9)
    figure = Figure(figsize=(width, top + height + 0.5))
    axes = place_axes(figure, left, top, width - left - right, height)
    (ys,) = label_rows(axes, [("", [row.loss for row in rows])], left)
    reach = 1.06 * _reach(rows, margin)
    axes.axvspan(-100 * margin, 100 * margin, color=FAINT, alpha=0.3, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(-reach, reach)
    for y, row in zip(ys, rows, strict=True):
        _draw_row(axes, y, row, reach)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(f"test accuracy minus that of {baseline} (points)", fontsize=TEXT)
    hollow, filled = f"at the common learning rate {common_lr}", "at the own learning rates"
    signs = [
        Line2D([], [], color="black", label=filled, **_FILLED),
        Line2D([], [], color="black", markerfacecolor="white", label=hollow, **_HOLLOW),
        Patch(color=FAINT, alpha=0.35, linewidth=0, label="margin"),
    ]
    legend(figure, signs, 2, left=0.1)
    return figure


def _draw_row(axes: Axes, y: float, row: DifferenceRow, reach: float) -> None:
    marks = [(y + _SHIFT, row.own, _FILLED), (y - _SHIFT, row.common, _HOLLOW | {"markerfacecolor": "white"})]
    edge = reach  # where the next arrow stands
    for at, one, style in marks:
        if one is None:
            continue
        mean = 100 * one.mean
        if abs(mean) <= reach:
            whiskers(axes, [at], [one], color="black", linewidth=1.2)
            axes.plot(mean, at, color="black", **style)
            continue
        side = math.copysign(1, mean)
        arrow = style | {"marker": "<" if side < 0 else ">"}
        axes.plot(side * (edge - 0.03 * reach), at, color="black", **arrow)
        place: dict[str, Any] = {"ha": "left" if side < 0 else "right", "va": "center_baseline", "fontsize": SMALL}
        axes.text(side * (edge - 0.08 * reach), at, points(one.mean, 1), **place)
        edge -= 0.42 * reach  # beside the first one's number, as rows are low
    axes.annotate(
        row.words,
        (1, y),
        (6, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        va="center_baseline",
        fontsize=TEXT,
        annotation_clip=False,
    )


@dataclass(frozen=True)
class RateCurve:
    """Validation accuracy of a loss over the learning rate.

    Args:
        loss: label.
        points: one a learning rate, rising.
        own_lr: the chosen one; None: not known.
        at_edge: it is the lowest or the highest that was tried.
        common_lr: the common one.
    """

    loss: str
    points: tuple[RatePoint, ...]
    own_lr: float | None
    at_edge: bool
    common_lr: float


def rate_curves(curves: Sequence[RateCurve], baseline: str) -> list[Picture]:
    """Validation accuracy over the learning rate: a panel for each loss, with the baseline's curve in grey.

    All panels have the same axes; many losses are in several pictures.

    Args:
        curves: in their order.
        baseline: label.
    """
    caption = (
        "Accuracy on held-out training images over the learning rate: line and dots, the mean over selection seeds; "
        "bars, their range, where a rate was tried with more than one seed. Circle: the rate that is chosen. Dotted: "
        f"the common rate. Grey: {baseline}. Crosses at the bottom: a run diverged or is near guessing. The axis is "
        "logarithmic in the error."
    )
    found = []
    for number, start in enumerate(range(0, len(curves), _MANY), 1):
        shown = tuple(curves[start : start + _MANY])
        name = "learning_rates" if len(curves) <= _MANY else f"learning_rates_{number}"
        alt = f"Learning rates. {' '.join(map(_curve_in_words, shown))}"
        drawn = drawing(_draw_curves, shown, tuple(curves), baseline)
        words = caption if number == 1 else "The same for further losses."
        found.append(Picture(name, drawn, words, alt, _rates_data(shown)))
    return found


def _rates_data(curves: Sequence[RateCurve]) -> pd.DataFrame:
    table = [
        {
            "loss": curve.loss,
            "learning_rate": point.lr,
            "mean_percent": 100 * point.mean,
            "lowest_percent": 100 * point.low,
            "highest_percent": 100 * point.high,
            "n": point.n,
            "diverged": point.diverged,
            "chosen": point.lr == curve.own_lr,
        }
        for curve in curves
        for point in curve.points
    ]
    return data(table)


def _curve_in_words(curve: RateCurve) -> str:
    known = [f"{percent(one.mean)} % at {one.lr:g}" for one in curve.points if one.n]
    own = "no rate chosen yet" if curve.own_lr is None else f"chosen {curve.own_lr:g}{' (edge)' * curve.at_edge}"
    return f"{curve.loss}: {own}; {', '.join(known) or MISSING}."


def _draw_curves(curves: Sequence[RateCurve], every: Sequence[RateCurve], baseline: str) -> Figure:
    """Panels of some curves, with axes that fit all."""
    columns = max(min(len(curves), 2 if len(curves) < 3 else 4), 1)
    rows = math.ceil(len(curves) / columns)
    size = NARROW if columns < 3 else WIDE, rows * 2.15 + 0.3
    figure, grid = panels(size, rows, columns, left=0.6, top=0.3, bottom=0.5, across=0.2, down=0.65, share="all")
    learned = [one for curve in every for one in curve.points if one.has_learned]
    accuracy_axis(grid[0, 0], [100 * value for one in learned for value in (one.mean, one.low, one.high)])
    base = next((curve for curve in every if curve.loss == baseline), None)
    lrs = [lr for curve in every for lr in (curve.common_lr, *(one.lr for one in curve.points))]
    for place, axes in enumerate(grid.flat):
        if place >= len(curves):
            axes.set_axis_off()
            continue
        curve = curves[place]
        axes.set(xscale="log", xlim=(min(lrs) / 1.8, max(lrs) * 1.8))
        if base is not None and curve is not base:
            axes.plot(*_line(base), color=FAINT, linewidth=1, marker=".", markersize=3)
        _draw_panel(axes, curve)
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.tick_params(axis="x", labelsize=SMALL)
        own = "" if curve.own_lr is None else f", {curve.own_lr:g}{' (edge)' * curve.at_edge}"
        axes.set_title(f"{curve.loss}{own}", fontsize=TEXT, loc="left")
        lines(axes)
        if place >= len(curves) - columns:
            axes.set_xlabel("learning rate")
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy (%)", fontsize=SMALL)
    return figure


def _line(curve: RateCurve) -> tuple[list[float], list[float]]:
    """The learning rates and means of a curve, without what has not learned."""
    return [one.lr for one in curve.points], [100 * one.mean if one.has_learned else math.nan for one in curve.points]


def _draw_panel(axes: Axes, curve: RateCurve) -> None:
    color = PALETTE[0]["color"]
    axes.axvline(curve.common_lr, color=FAINT, linestyle=":", linewidth=1.4)
    xs, ys = _line(curve)
    several = [one for one in curve.points if one.n > 1 and one.has_learned]
    axes.vlines(
        [one.lr for one in several],
        [100 * one.low for one in several],
        [100 * one.high for one in several],
        color=color,
        linewidth=2.4,
        alpha=0.6,
    )
    axes.plot(xs, ys, color=color, linewidth=1.3, marker="o", markersize=3)
    chosen = [(x, y) for x, y in zip(xs, ys, strict=True) if x == curve.own_lr]
    ring: dict[str, Any] = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "linestyle": "none"}
    for x, y in chosen:
        axes.plot(x, y, color="black", clip_on=False, **ring)
    lost = [one.lr for one in curve.points if one.lost]
    axes.plot(lost, [0.04] * len(lost), "x", color=color, markersize=5, transform=axes.get_xaxis_transform())
    if not any(one.n or one.diverged for one in curve.points):
        axes.text(0.5, 0.5, MISSING, ha="center", fontsize=TEXT, transform=axes.transAxes)


@dataclass(frozen=True)
class PairTable:
    """A number for each pair of losses, the first in rows.

    Args:
        name: of the picture's files.
        values: [L, L]; nan: not known.
        texts: as they are written in the cells, [L, L].
        reach: the value that has the strongest shade, on either side of `middle`.
        middle: the value that has none.
    """

    name: str
    values: np.ndarray
    texts: Sequence[Sequence[str]]
    reach: float
    middle: float = 0.0


def pair_matrix(table: PairTable, losses: Sequence[str], caption: str, frame: pd.DataFrame) -> Picture:
    """A matrix of all pairs of losses: blue where the row is better than the column, orange where it is worse.

    Args:
        table: its numbers.
        losses: labels, L of them.
        caption: what it shows.
        frame: its numbers as CSV.
    """
    known = [
        f"{losses[row]} and {losses[column]}: {table.texts[row][column]}"
        for row in range(len(losses))
        for column in range(row + 1, len(losses))
        if not math.isnan(table.values[row, column])
    ]
    alt = f"Pairs of losses. {'; '.join(known) or NO_NUMBER}."
    return Picture(table.name, drawing(_draw_matrix, table, tuple(losses)), caption, alt, frame)


def _draw_matrix(table: PairTable, losses: Sequence[str]) -> Figure:
    left, cell = longest(losses) + 0.15, (0.42, 0.26)
    size = left + cell[0] * len(losses) + 0.1, left + cell[1] * len(losses) + 0.1
    figure = Figure(figsize=size)
    axes = place_axes(figure, left, left, size[0] - left - 0.1, size[1] - left - 0.1)
    axes.grid(visible=False)
    shades = (table.values - table.middle) / table.reach
    draw_pairs(axes, shades, (PALETTE[0]["color"], PALETTE[1]["color"]))
    for row in range(len(losses)):
        for column in range(len(losses)):
            axes.text(column + 0.5, row + 0.54, table.texts[row][column], ha="center", va="center", fontsize=SMALL)
    axes.xaxis.tick_top()
    places = np.arange(len(losses)) + 0.5
    axes.set_xticks(places, labels=losses, rotation=90)
    axes.set_yticks(places, labels=losses)
    axes.tick_params(length=0, labelsize=TEXT)
    axes.set(xlim=(0, len(losses)), ylim=(len(losses), 0))
    return figure
