"""Figure of quality over cost: a point for each method and number of draws, and the Pareto front."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.grouped_legend import grouped_legend, legend_height
from lossbench.report.interval_axes import data
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import FAINT, SMALL, TEXT, styles_of_groups
from lossbench.report.wording import enumerated, seeds_told
from lossbench.statistics.pareto import pareto_front

NOT_YET = "not yet run"

_FAR, _LEAST = 4.0, 1.0
"""A value is beyond the axis if it exceeds the best by more than `_FAR` times what the median does, and by `_LEAST`."""

_HEIGHT = 3.0  # inches of the axes
_SIZES = (4.0, 6.0, 8.0)  # of markers, by the number of draws, rising; there are no more sizes
_MOST_NAMED = 5  # methods without a point that the caption names
_WORDS = 0.16  # of the width, that the value of a point beyond the axis takes


@dataclass(frozen=True)
class TradeoffPoint:
    """Cost and quality of a method.

    Args:
        label: of the method, without its number of draws; points with the same label are joined.
        group: of methods that share a colour.
        num: classes drawn for a batch, m; None: the method draws none, or there is but one number.
        cost: relative to the full softmax; nan: not known.
        mean: NLL in nats, mean over runs; nan: no run is done.
        low: lower end of its 95 % interval; nan: there is none.
        high: upper end.
        n: runs.
        is_complete: whether all its runs are done; otherwise the marker is hollow.
        diverged: runs that diverged, which are in no mean.
    """

    label: str
    group: str
    num: int | None
    cost: float
    mean: float
    low: float
    high: float
    n: int
    is_complete: bool = True
    diverged: int = 0

    @property
    def name(self) -> str:
        """The label with the number of draws."""
        return self.label if self.num is None else f"{self.label}, m={self.num}"

    @property
    def is_known(self) -> bool:
        """Whether it has a place in the figure."""
        return self.cost > 0 and math.isfinite(self.cost) and math.isfinite(self.mean)


def front_of(points: Sequence[TradeoffPoint]) -> list[TradeoffPoint]:
    """The points that no other one beats in both cost and NLL, by rising cost."""
    known = [point for point in points if point.is_known]
    return [known[place] for place in pareto_front([one.cost for one in known], [one.mean for one in known])]


def tradeoff_picture(
    points: Sequence[TradeoffPoint], name: str, cost_words: str, setting: str, measure: str = "test NLL (nats)"
) -> Picture:
    """Quality over cost with the Pareto front; down and to the left is better.

    Args:
        points: all methods, also those without runs, in the order of the legend.
        name: stem of the picture's files.
        cost_words: the x axis, such as "cost of a step (times SML's)".
        setting: a sentence on the runs.
        measure: the y axis; less is better.
    """
    known, front = [point for point in points if point.is_known], front_of(points)
    top = highest([point.mean for point in known])
    beyond = [point for point in known if point.mean > top]
    waiting = [point.name for point in points if not point.is_known]
    ns = seeds_told({point.n for point in known})
    caption = (
        f"{measure[:1].upper()}{measure[1:]} over cost, mean{f' ({ns})' * bool(ns)} and 95 % interval; less is better "
        "in both. Stepped line: the Pareto front, the methods that none beats in both. "
        + _about_sizes(known)
        + ("Hollow: not all runs are done. " if not all(point.is_complete for point in known) else "")
        + (f"Arrow: beyond the axis ({'; '.join(map(_value, beyond))}). " if beyond else "")
        + (f"Not shown, without a finished run or a cost: {_few(waiting)}. " if waiting and known else "")
        + setting
    )
    told = " ".join(_in_words(point) for point in points)
    of_front = f"Pareto front by rising cost: {'; '.join(one.name for one in front)}." if front else "No point."
    frame = data(
        [
            {
                "method": point.label,
                "kind": point.group,
                "m": point.num,
                "relative_cost": point.cost,
                "nll_nats": point.mean,
                "low_nats": point.low,
                "high_nats": point.high,
                "n": point.n,
                "diverged": point.diverged,
                "on_front": point in front,
            }
            for point in points
        ]
    )
    drawn = drawing(_draw, tuple(points), cost_words, measure)
    return Picture(name, drawn, caption.strip(), f"Quality over cost. {of_front} {told}".strip(), frame)


def highest(values: Sequence[float]) -> float:
    """How far up the axis reaches; a value that is much farther off than most is beyond it."""
    if not values:
        return 1.0
    best = min(values)
    limit = best + max(_FAR * (median(values) - best), _LEAST)
    return max(value for value in values if value <= limit)


def _few(names: Sequence[str]) -> str:
    """Names, or their number where they are many."""
    return "; ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} methods"


def _about_sizes(known: Sequence[TradeoffPoint]) -> str:
    nums = sorted({point.num for point in known if point.num is not None})
    if len(nums) < 2:
        return ""
    return (
        f"Lines join the numbers of draws m of a method, a larger marker is a larger m ({enumerated(map(str, nums))}). "
    )


def _value(point: TradeoffPoint) -> str:
    return f"{point.name}: {point.mean:.2f}"


def _in_words(point: TradeoffPoint) -> str:
    lost = f", {point.diverged} diverged" if point.diverged else ""
    if not math.isfinite(point.mean):
        return f"{point.name}: {'all runs diverged' if point.diverged else NOT_YET}."
    interval = "" if math.isnan(point.low) else f" ({point.low:.3f} to {point.high:.3f})"
    cost = "cost not measured" if math.isnan(point.cost) else f"cost {point.cost:.3g}"
    return f"{point.name}: {cost}, {point.mean:.3f}{interval}, n={point.n}{lost}."


def _draw(points: Sequence[TradeoffPoint], cost_words: str, measure: str) -> Figure:
    labels = {point.label: point.group for point in points}
    styles = styles_of_groups(labels)
    top = 0.1 + legend_height(labels, 1)
    figure, grid = panels((NARROW, top + _HEIGHT + 0.5), left=0.7, right=0.3, top=top, bottom=0.5)
    axes: Axes = grid[0, 0]
    known = [point for point in points if point.is_known]
    axes.set_xlabel(cost_words, fontsize=TEXT)
    axes.set_ylabel(f"{measure}, lower is better", fontsize=TEXT)
    if known:
        nums = sorted({point.num for point in known if point.num is not None})
        _set_axes(axes, known)
        _draw_front(axes, front_of(points))
        for label in labels:
            _draw_method(axes, [point for point in known if point.label == label], styles[label], nums)
        _draw_beyond(axes, known, styles)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, NOT_YET, fontsize=TEXT, ha="center", va="center", transform=axes.transAxes)
    signs = {label: _marker(styles[label]) for label in labels}
    grouped_legend(figure, labels, signs, [Line2D([], [], label="Pareto front", **_FRONT)])
    return figure


_FRONT: dict[str, Any] = {"color": FAINT, "linewidth": 2.2}


def _marker(style: dict[str, Any]) -> dict[str, Any]:
    return {"markersize": 5.5, "linewidth": 0.9, "markeredgewidth": 1.2, "linestyle": "none", **style}


def _set_axes(axes: Axes, known: Sequence[TradeoffPoint]) -> None:
    costs, top = [point.cost for point in known], highest([point.mean for point in known])
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if max(costs) < 100 * min(costs) else (1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    inside = [point for point in known if point.mean <= top]
    ends = [
        end
        for point in inside
        for end in (point.mean, point.low, point.high)
        if math.isfinite(end) and end <= 1.5 * top
    ]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.1
    rows = max((row for _, row in _rows_beyond(axes, known)), default=-1) + 1
    axes.set_ylim(low - pad, high + (1 + 1.2 * rows) * pad)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    lines(axes)


def _draw_front(axes: Axes, front: Sequence[TradeoffPoint]) -> None:
    """From the upper edge down to the first point, then right and down from point to point, and on to the edge."""
    xs, ys = [front[0].cost], [axes.get_ylim()[1]]
    for point in front:
        xs += [point.cost, point.cost]
        ys += [ys[-1], point.mean]
    axes.plot([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], zorder=1, alpha=0.6, **_FRONT)


def _draw_method(axes: Axes, points: Sequence[TradeoffPoint], style: dict[str, Any], nums: Sequence[int]) -> None:
    low, high = axes.get_ylim()
    inside = sorted((point for point in points if point.mean <= high), key=lambda point: point.num or 0)
    axes.plot([point.cost for point in inside], [point.mean for point in inside], color=style["color"], linewidth=0.9)
    for point in inside:
        if math.isfinite(point.low) and math.isfinite(point.high):
            axes.vlines(point.cost, max(point.low, low), min(point.high, high), color=style["color"], linewidth=1.2)
        shape: dict[str, Any] = {} if point.is_complete else {"markerfacecolor": "white"}
        if point.num is not None and len(nums) > 1:
            shape["markersize"] = _SIZES[min(nums.index(point.num), len(_SIZES) - 1)]
        axes.plot(point.cost, point.mean, **_marker(style) | shape)


def _rows_beyond(axes: Axes, known: Sequence[TradeoffPoint]) -> list[tuple[TradeoffPoint, int]]:
    """The points beyond the axis, each with its row below the upper edge, so that their values do not overlap."""
    top = highest([point.mean for point in known])
    start, end = map(math.log, axes.get_xlim())
    found: list[tuple[TradeoffPoint, int]] = []
    ends: list[float] = []  # of the last value in each row
    for point in sorted((point for point in known if point.mean > top), key=lambda point: point.cost):
        at = (math.log(point.cost) - start) / (end - start)
        row = next((row for row, taken in enumerate(ends) if taken <= at), len(ends))
        ends[row:] = [at + _WORDS, *ends[row + 1 :]]
        found.append((point, row))
    return found


def _draw_beyond(axes: Axes, known: Sequence[TradeoffPoint], styles: dict[str, dict[str, Any]]) -> None:
    """The markers of what is beyond the axis in rows at the upper edge, with their values."""
    low, high = axes.get_ylim()
    words: dict[str, Any] = {"textcoords": "offset points", "fontsize": SMALL, "va": "center_baseline"}
    for point, row in _rows_beyond(axes, known):
        at = high - (0.03 + 0.055 * row) * (high - low)
        hollow: dict[str, Any] = {} if point.is_complete else {"markerfacecolor": "white"}
        axes.plot(point.cost, at, **_marker(styles[point.label]) | hollow)
        side: dict[str, Any] = {"xytext": (6, 0), "ha": "left"}
        axes.annotate(f"↑ {point.mean:.1f}", (point.cost, at), annotation_clip=False, **side, **words)
