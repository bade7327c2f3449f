"""Figure of the cost of a step by the number of classes: time and memory, both axes logarithmic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.grouped_legend import grouped_legend, legend_height
from lossbench.report.interval_axes import data
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import TEXT, styles_of_groups

_PANELS = {"ms": "time of a step (ms)", "mb": "peak memory of a step (MB)"}


@dataclass(frozen=True)
class GrowthLine:
    """Cost of a step of a method by the number of classes.

    Args:
        label: of the method.
        group: of methods that share a colour.
        classes: numbers of classes, rising.
        ms: time of a step in ms, for each of them.
        mb: peak memory in 10^6 bytes.
    """

    label: str
    group: str
    classes: tuple[float, ...]
    ms: tuple[float, ...]
    mb: tuple[float, ...]


def growth_picture(growth: Sequence[GrowthLine], name: str, setting: str) -> Picture:
    """Time and memory of a step over the number of classes.

    Args:
        growth: at least one, in the order of the legend.
        name: stem of the picture's files.
        setting: a sentence on what was measured on what.
    """
    caption = (
        "Time of a step (above, median) and its peak memory (below) by the number of classes K, both axes logarithmic; "
        f"a colour for each kind of method. {setting}"
    )
    alt = f"Cost of a step by the number of classes. {' '.join(map(_in_words, growth))}"
    frame = data(
        [
            {"loss": line.label, "kind": line.group, "classes": int(num), "step_ms": ms, "step_mb": mb}
            for line in growth
            for num, ms, mb in zip(line.classes, line.ms, line.mb, strict=True)
        ]
    )
    return Picture(name, drawing(_draw, tuple(growth)), caption, alt, frame)


def _in_words(line: GrowthLine) -> str:
    ends = dict.fromkeys((0, len(line.classes) - 1))
    told = [f"{line.ms[nth]:.3g} ms and {line.mb[nth]:.3g} MB with K={line.classes[nth]:,.0f}" for nth in ends]
    return f"{line.label}: {', '.join(told)}."


def _draw(growth: Sequence[GrowthLine]) -> Figure:
    groups = {line.label: line.group for line in growth}
    top = 0.1 + legend_height(groups)
    figure, grid = panels((NARROW, top + 5.0), len(_PANELS), 1, left=0.75, right=0.2, top=top, bottom=0.5, down=0.25)
    styles = {label: _thin(style) for label, style in styles_of_groups(groups).items()}
    for axes, (key, title) in zip(grid[:, 0], _PANELS.items(), strict=True):
        axes.set(xscale="log", yscale="log")
        axes.set_ylabel(title)
        for line in growth:
            axes.plot(line.classes, getattr(line, key), **styles[line.label])
        _set_axes(axes, growth, key)
        axes.tick_params(labelbottom=axes is grid[-1, 0])
    grid[-1, 0].set_xlabel("number of classes K", fontsize=TEXT)
    grouped_legend(figure, groups, styles)
    return figure


def _thin(style: dict[str, Any]) -> dict[str, Any]:
    return {"linewidth": 1.2, "markersize": 4.5, **style}


def _set_axes(axes: Axes, growth: Sequence[GrowthLine], key: str) -> None:
    sizes = sorted({num for line in growth for num in line.classes})
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    known = [value for line in growth for value in getattr(line, key) if math.isfinite(value) and value > 0]
    axes.set_ylim(min(known, default=1.0) / 1.5, max(known, default=1.0) * 1.5)
    axes.yaxis.set_major_locator(LogLocator(numticks=8))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    lines(axes)
