"""Figures of gradients during runs: their norm by p_y, their exact zeros, and the first steps from a wrong start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import legend
from lossbench.report.panels import NARROW, lines, panels, powers
from lossbench.report.style import STYLES, TEXT, style_at
from lossbench.runs.gradient_arrays import P_EDGES

_COLUMNS = 3  # of the legend


@dataclass(frozen=True)
class Line:
    """A loss's values in one panel; nan: none there.

    Args:
        loss: label.
        x: places, rising.
        y: values.
    """

    loss: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Lines over a common axis.

    Args:
        title: what stands at its left, the y axis.
        lines: of the losses.
        is_log: whether y is logarithmic.
    """

    title: str
    lines: tuple[Line, ...]
    is_log: bool


def by_probability(
    name: str, panels_of: Sequence[Panel], losses: Sequence[str], caption: str, alt: str, data: pd.DataFrame
) -> Picture:
    """Values by bin of p_y; x is the bin's number, 0 to 7.

    Args:
        name: stem of its files.
        panels_of: below each other.
        losses: labels of all losses of the section, which get the same style in all of its figures.
        caption: what stands below it.
        alt: what it shows, in words.
        data: its numbers.
    """
    return Picture(name, drawing(_draw, tuple(panels_of), tuple(losses), True), caption, alt, data)


def over_steps(
    name: str, panels_of: Sequence[Panel], losses: Sequence[str], caption: str, alt: str, data: pd.DataFrame
) -> Picture:
    """Values over the steps of training; arguments as for `by_probability`."""
    return Picture(name, drawing(_draw, tuple(panels_of), tuple(losses), False), caption, alt, data)


def styles(losses: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The style of each label; those of no registered loss, such as one with other options, get free ones."""
    found: dict[str, Mapping[str, Any]] = {loss: STYLES[loss] for loss in losses if loss in STYLES}
    for loss in losses:
        if loss not in found:
            taken = list(found.values())
            found[loss] = next(style for style in map(style_at, count()) if style not in taken)
    return found


def _draw(panels_of: Sequence[Panel], losses: Sequence[str], by_bin: bool) -> Figure:
    shown = [loss for loss in losses if any(line.loss == loss for panel in panels_of for line in panel.lines)]
    top = 0.25 + 0.2 * -(-len(shown) // _COLUMNS)
    height = top + 2.1 * len(panels_of) + 0.5
    figure, grid = panels(
        (NARROW, height),
        len(panels_of),
        1,
        left=0.85,
        right=0.2,
        top=top,
        bottom=0.5,
        down=0.2,
        share="all" if by_bin else "none",
    )
    known, floor = styles(losses), _floor(panels_of)
    for axes, panel in zip(grid[:, 0], panels_of, strict=True):
        for place, line in enumerate(panel.lines):
            _draw_line(axes, line, floor if panel.is_log else 0.0, known[line.loss], place, len(panel.lines), by_bin)
        _set_y(axes, panel)
        lines(axes)
        lowest = axes is grid[-1, 0]
        axes.tick_params(labelbottom=lowest)
        if by_bin:
            axes.set_xlim(-0.5, len(P_EDGES) + 0.5)
            axes.set_xticks(
                np.arange(len(P_EDGES)) + 0.5, labels=[f"{edge:g}".replace("e-0", "e-") for edge in P_EDGES]
            )
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.xaxis.set_major_formatter("{x:,.0f}")
        if lowest:
            axes.set_xlabel("probability of the true class, p" if by_bin else "steps of training", fontsize=TEXT)
    signs = [Line2D([], [], label=loss, **_thin(known[loss])) for loss in shown]
    legend(figure, signs, _COLUMNS)
    return figure


def _thin(style: Mapping[str, Any]) -> dict[str, Any]:
    return {**style, "linewidth": 1.3, "markersize": 4.5}


def _floor(panels_of: Sequence[Panel]) -> float:
    """Where a value of exactly 0 stands on logarithmic axes: a tenth of the smallest other one."""
    known = [y for panel in panels_of if panel.is_log for line in panel.lines for y in line.y if y > 0]
    return min(known, default=1.0) / 10


def _draw_line(
    axes: Axes, line: Line, floor: float, style: Mapping[str, Any], place: int, num: int, by_bin: bool
) -> None:
    y = np.maximum(np.array(line.y, float), floor)  # nan stays
    step = max(len(y) // 6, 1)
    marks = None if by_bin else (step * place // num, step)
    axes.plot(line.x, y, markevery=marks, **_thin(style))


def _set_y(axes: Axes, panel: Panel) -> None:
    axes.set_ylabel(panel.title)
    if panel.is_log:
        powers(axes, 7)
    else:
        axes.set_ylim(-3, 103)
        axes.yaxis.set_major_locator(MaxNLocator(5))
