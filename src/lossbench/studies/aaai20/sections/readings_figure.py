"""How far each reading of what the paper leaves open moves each loss, as a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.panels import NARROW, letters, lines, panels
from lossbench.report.style import FAINT, PAPER, STYLES, TEXT
from lossbench.report.wording import MISSING, points
from lossbench.statistics.inference import Difference, Prediction, Word
from lossbench.studies.aaai20.grid import LOSS_LABELS

_TICKS = (0.5, 2, 5, 20, 50)
_LINEAR = 0.5  # points; the axis is logarithmic beyond
_STEP = 0.17  # inches from a loss to the next within a row
_GAP = 0.13  # inches between two rows
_PAPER_ROW = "the paper's number"


@dataclass(frozen=True)
class Moved:
    """One loss under one reading."""

    prediction: Prediction  # fractions; without runs its n is 0
    difference: Difference  # from the default reading, paired over seeds, fractions; without pairs its n is 0
    word: Word


@dataclass(frozen=True)
class Row:
    """A line of the picture.

    Args:
        name: of the reading.
        marks: what is drawn in it, by loss: points from the default reading.
    """

    name: str
    marks: Mapping[str, Mapping[str, Any]]


def picture(
    moved: Mapping[tuple[str, str], Mapping[str, Moved]],
    printed: Mapping[str, float],
    margin: float,
    name: str,
    where: str,
) -> Picture:
    """How far each reading moves each loss: a row a reading, the losses below each other, on one axis.

    Args:
        moved: the readings, the default first; by option and reading, then by loss.
        printed: the paper's numbers by loss, fractions.
        margin: of equivalence, a fraction.
        name: of the file.
        where: network and data set, for the caption.
    """
    default, *_ = moved.values()
    away = {
        loss: {"difference_points": 100 * (printed[loss] - default[loss].prediction.mean)}
        for loss in LOSS_LABELS
        if loss in printed and default[loss].prediction.n
    }
    rows = [Row(_PAPER_ROW, away)] if away else []
    told = []
    for key, of in list(moved.items())[1:]:
        marks = {}
        for loss in LOSS_LABELS:
            if loss in of and of[loss].difference.n:
                one = of[loss].difference
                means = {"difference_points": one.mean, "low_points": one.low, "high_points": one.high}
                marks[loss] = {what: 100 * value for what, value in means.items()} | {"n": one.n}
                told.append(f"{loss}, {_named(key)}: {points(one.mean)} points, n={one.n}.")
        rows.append(Row(_named(key), marks))
    caption = (
        f"How the accuracy changes with another reading of the paper, {where}: mean difference in test accuracy from "
        f"our default reading, in points, paired over seeds 0 to 2, with its 95 % interval. Band: ±{100 * margin:g} "
        "points. Diamonds and dotted lines: distance of the paper's number from the default's mean. The axis is linear "
        f"up to ±{_LINEAR:g} points and logarithmic beyond. A loss without the option has no mark in its row."
    )
    lines_of = [
        {"reading": row.name, "loss": loss, **mark, "margin_points": 100 * margin}
        for row in rows
        for loss, mark in row.marks.items()
    ]
    columns = ["reading", "loss", "difference_points", "low_points", "high_points", "n", "margin_points"]
    data = pd.DataFrame(lines_of, columns=columns)
    alt = f"Readings of {where}. {' '.join(told) or MISSING}"
    return Picture(name, drawing(_draw, rows, 100 * margin), caption, alt, data)


def _named(key: tuple[str, str]) -> str:
    return ", ".join(filter(None, key))


def _draw(rows: Sequence[Row], margin: float) -> Figure:
    """Rows from the top; y is in inches, so that a row is as high as its losses need."""
    heights = [_STEP * max(1, len(row.marks) if row.name != _PAPER_ROW else 1) + _GAP for row in rows]
    total = sum(heights)
    names = [row.name for row in rows]
    left = min(0.15 + letters(names), 3.1)
    figure, ((axes,),) = panels((max(NARROW, left + 2.5), total + 0.85), left=left, top=0.35, bottom=0.5)
    axes.axvspan(-margin, margin, color=FAINT, alpha=0.25, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    top, places = 0.0, []
    for row, height in zip(rows, heights, strict=True):
        places.append(top + height / 2)
        if row.name == _PAPER_ROW:
            for loss, mark in row.marks.items():
                color, x = STYLES[loss]["color"], mark["difference_points"]
                axes.plot([x, x], [places[-1], total], color=color, linestyle=":", linewidth=1)
                axes.plot(x, places[-1], color=color, **PAPER)
        else:
            _draw_row(axes, row, places[-1])
        top += height
        axes.axhline(top, color=FAINT, alpha=0.25, linewidth=0.6)
    known = [
        abs(value)
        for row in rows
        for mark in row.marks.values()
        for key in ("difference_points", "low_points", "high_points")
        if math.isfinite(value := mark.get(key, math.nan))
    ]
    end = 1.15 * max([_LINEAR, *known])
    axes.set_xscale("symlog", linthresh=_LINEAR, linscale=0.8)
    ticks = [tick for tick in _TICKS if tick <= end]
    axes.xaxis.set_major_locator(FixedLocator([*(-tick for tick in reversed(ticks)), 0, *ticks]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(places, labels=names)
    axes.tick_params(axis="y", length=0)
    axes.set(xlim=(-end, end), ylim=(total, 0), xlabel="difference (points)")
    lines(axes, "x")
    losses = [loss for loss in LOSS_LABELS if any(loss in row.marks for row in rows)]
    signs = [Line2D([], [], **STYLES[loss] | {"linestyle": "none"}, label=loss) for loss in losses]
    if _PAPER_ROW in names:
        signs.append(Line2D([], [], color="black", **PAPER, label=_PAPER_ROW))
    figure.legend(handles=signs, loc="upper center", ncols=len(signs) or 1, frameon=False, fontsize=TEXT)
    return figure


def _draw_row(axes: Any, row: Row, middle: float) -> None:
    for number, (loss, mark) in enumerate(row.marks.items()):
        y = middle + _STEP * (number - (len(row.marks) - 1) / 2)
        style = STYLES[loss]
        low, high = mark["low_points"], mark["high_points"]
        if math.isfinite(low):
            axes.plot([low, high], [y, y], color=style["color"], linewidth=1.2)
        axes.plot(mark["difference_points"], y, color=style["color"], marker=style["marker"], markersize=5)
