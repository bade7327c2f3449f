"""Figure of losses as curves: value, size of the slope and curvature, below each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import legend
from lossbench.report.panels import NARROW, lines, panels, powers
from lossbench.report.style import STYLES, TEXT

_MARKS_OF_P = (1e-6, 1e-4, 1e-2, 0.1, 0.5, 0.9, 0.99)
_COLUMNS = 3  # of the legend


@dataclass(frozen=True)
class LossCurve:
    """A loss over the logit of the true class.

    Args:
        loss: label.
        x: where it is computed: p_y or z_y, rising.
        value: of a sample's loss.
        slope: dL / dz_y.
        curvature: d²L / dz_y².
    """

    loss: str
    x: tuple[float, ...]
    value: tuple[float, ...]
    slope: tuple[float, ...]
    curvature: tuple[float, ...]


@dataclass(frozen=True)
class Ranges:
    """What the three panels show; a curve leaves the panel where it goes beyond.

    Args:
        value: lowest and highest value.
        slope: smallest and largest |slope|, both > 0.
        curvature: lowest and highest curvature.
    """

    value: tuple[float, float]
    slope: tuple[float, float]
    curvature: tuple[float, float]


def curves_picture(
    name: str,
    curves: Sequence[LossCurve],
    first: Sequence[str],
    ranges: Ranges,
    over_p: bool,
    caption: str,
    alt: str,
    data: pd.DataFrame,
) -> Picture:
    """Losses as curves: value, size of the slope (logarithmic) and curvature with the line at 0.

    Args:
        name: stem of its files.
        curves: in the order of the legend.
        first: labels of those that are drawn thicker and on top.
        ranges: of the panels.
        over_p: x is p_y, on an axis of its log odds; otherwise z_y.
        caption: what stands below it.
        alt: what it shows, in words.
        data: its numbers.
    """
    return Picture(name, drawing(_draw, tuple(curves), tuple(first), ranges, over_p), caption, alt, data)


def _draw(curves: Sequence[LossCurve], first: Sequence[str], ranges: Ranges, over_p: bool) -> Figure:
    top = 0.25 + 0.2 * -(-len(curves) // _COLUMNS)
    figure, grid = panels((NARROW, top + 6.2), 3, 1, left=0.72, right=0.15, top=top, bottom=0.5, down=0.22)
    value, slope, curvature = grid[:, 0]
    every = sorted(enumerate(curves), key=lambda item: item[1].loss in first)
    for place, curve in every:
        x = np.array(curve.x)
        at = np.log(x / (1 - x)) if over_p else x
        style = _style(curve, first) | {"markevery": _marks(place, len(curves), len(x))}
        value.plot(at, curve.value, **style)
        steep = np.abs(np.array(curve.slope))
        slope.plot(at, np.where(steep > 0, steep, np.nan), **style)
        curvature.plot(at, curve.curvature, **style)
    curvature.axhline(0, color="black", linewidth=0.8, zorder=1)
    powers(slope, 8)
    titles = ("value of the loss L", "size of the slope, |dL/dz|", "curvature, d²L/dz²")
    for axes, limits, title in zip((value, slope, curvature), vars(ranges).values(), titles, strict=True):
        axes.set_ylim(*limits)
        axes.set_ylabel(title)
        lines(axes)
        _set_x(axes, curves, over_p, axes is curvature)
    signs = [Line2D([], [], label=curve.loss, **_style(curve, first)) for curve in curves]
    legend(figure, signs, _COLUMNS)
    return figure


def _style(curve: LossCurve, first: Sequence[str]) -> dict[str, Any]:
    thick: Mapping[str, Any] = {"linewidth": 2.4, "linestyle": "-", "markersize": 6, "zorder": 3}
    thin: Mapping[str, Any] = {"linewidth": 1.1, "markersize": 4.5, "zorder": 2}
    return {**STYLES[curve.loss], **(thick if curve.loss in first else thin)}


def _marks(place: int, num: int, length: int) -> tuple[int, int]:
    """Which points get a marker: five or so, not where another curve has its own."""
    step = max(length // 5, 1)
    return step * place // num, step


def _set_x(axes: Any, curves: Sequence[LossCurve], over_p: bool, lowest: bool) -> None:
    ends = np.array([curves[0].x[0], curves[0].x[-1]])
    axes.set_xlim(*(np.log(ends / (1 - ends)) if over_p else ends))
    if over_p:
        marks = np.array([mark for mark in _MARKS_OF_P if ends[0] * 0.999 <= mark <= ends[1]])
        axes.xaxis.set_major_locator(FixedLocator(np.log(marks / (1 - marks)).tolist()))
        axes.set_xticklabels([f"{mark:g}".replace("1e-0", "1e-") for mark in marks])
    axes.tick_params(labelbottom=lowest)
    if lowest:
        words = "probability of the true class, p (axis of the log odds)" if over_p else "logit of the true class, z"
        axes.set_xlabel(words, fontsize=TEXT)
