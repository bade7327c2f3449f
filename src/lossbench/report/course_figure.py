"""Figure of quality over the cost spent so far: a line for each method, from the tests during its runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.grouped_legend import grouped_legend, legend_height
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import TEXT, styles_of_groups
from lossbench.report.tradeoff_figure import NOT_YET, highest
from lossbench.report.wording import seeds_told

_HEIGHT = 3.0  # inches of the axes


@dataclass(frozen=True)
class CoursePoint:
    """The runs of a method at one test.

    Args:
        cost: spent until then; > 0.
        mean: NLL in nats, mean over runs.
        n: runs.
    """

    cost: float
    mean: float
    n: int


@dataclass(frozen=True)
class CourseLine:
    """The course of a method's runs.

    Args:
        label: of the method.
        group: of methods that share a colour.
        points: by rising cost; empty: no run is done, or the cost is not known.
    """

    label: str
    group: str
    points: tuple[CoursePoint, ...]


def mean_course(runs: Sequence[Sequence[tuple[float, float]]]) -> tuple[CoursePoint, ...]:
    """The mean over runs at each cost at which all of them were tested, by rising cost.

    Args:
        runs: of each its tests, cost and NLL. Equal costs must be equal numbers.
    """
    by_cost: dict[float, list[float]] = {}
    for run in runs:
        for cost, value in dict(run).items():
            by_cost.setdefault(cost, []).append(value)
    return tuple(
        CoursePoint(cost, math.fsum(values) / len(values), len(values))
        for cost, values in sorted(by_cost.items())
        if len(values) == len(runs) and cost > 0 and all(map(math.isfinite, values))
    )


def course_picture(
    courses: Sequence[CourseLine], name: str, cost_words: str, setting: str, measure: str = "test NLL (nats)"
) -> Picture:
    """Quality over the cost spent so far, a line for each method; down and to the left is better.

    Args:
        courses: all methods, in the order of the legend.
        name: stem of the picture's files.
        cost_words: the x axis, such as "cost (epochs of SML)".
        setting: a sentence on the runs.
        measure: the y axis; less is better.
    """
    known = [one for one in courses if one.points]
    top = _top(known)
    beyond = [one.label for one in known if one.points[-1].mean > top]
    listed = "; ".join(beyond)  # labels have commas
    ns = seeds_told({point.n for one in known for point in one.points})
    caption = (
        f"{measure[:1].upper()}{measure[1:]} at the tests of the runs over the cost until then, mean over runs"
        f"{f' ({ns})' * bool(ns)}. {f'Beyond the axis: {listed}. ' if beyond else ''}{setting}"
    )
    texts = " ".join(map(_in_words, courses))
    rows = [(one.label, one.group, *vars(point).values()) for one in known for point in one.points]
    frame = pd.DataFrame(rows, columns=["method", "kind", "cost", "nll_nats", "n"]).round(4)
    drawn = drawing(_draw, tuple(courses), cost_words, measure)
    return Picture(name, drawn, caption.strip(), f"Quality over cost. {texts}".strip(), frame)


def _top(known: Sequence[CourseLine]) -> float:
    """How far up the axis reaches: to the first tests, but not above what is far off at the end."""
    if not known:
        return 1.0
    ends = highest([one.points[-1].mean for one in known])
    best = min(point.mean for one in known for point in one.points)
    first = max((one.points[0].mean for one in known if one.points[-1].mean <= ends), default=ends)
    return min(first, ends + 2 * max(ends - best, 0.25))


def _in_words(one: CourseLine) -> str:
    if not one.points:
        return f"{one.label}: {NOT_YET}."
    ends = dict.fromkeys((one.points[0], one.points[-1]))
    told = " to ".join(f"{point.mean:.3f} at cost {point.cost:.3g}" for point in ends)
    return f"{one.label}: {told}, n={one.points[-1].n}."


def _draw(courses: Sequence[CourseLine], cost_words: str, measure: str) -> Figure:
    groups = {one.label: one.group for one in courses}
    styles: dict[str, dict[str, Any]] = {
        label: {"linewidth": 1.1, "markersize": 4.0, **style} for label, style in styles_of_groups(groups).items()
    }
    top = 0.1 + legend_height(groups)
    figure, grid = panels((NARROW, top + _HEIGHT + 0.5), left=0.7, right=0.2, top=top, bottom=0.5)
    axes: Axes = grid[0, 0]
    axes.set_xlabel(cost_words, fontsize=TEXT)
    axes.set_ylabel(f"{measure}, lower is better", fontsize=TEXT)
    known = [one for one in courses if one.points]
    if known:
        _set_axes(axes, known)
        for one in known:
            xs, ys = ([getattr(point, key) for point in one.points] for key in ("cost", "mean"))
            axes.plot(xs, ys, **styles[one.label])
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, NOT_YET, fontsize=TEXT, ha="center", va="center", transform=axes.transAxes)
    grouped_legend(figure, groups, styles)
    return figure


def _set_axes(axes: Axes, known: Sequence[CourseLine]) -> None:
    costs = [point.cost for one in known for point in one.points]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.3, max(costs) * 1.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = min(point.mean for one in known for point in one.points), _top(known)
    pad = 0.05 * (high - low) or 0.1
    axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    lines(axes)
