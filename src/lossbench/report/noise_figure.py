"""Figure of gradient estimates: bias against standard deviation, a point for each method and number of draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import data, legend, longest
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import PALETTE, TEXT

_MARKERS = ("o", "s", "^", "D", "v", "P")
"""Of proposals, in their order."""

_SIZES = (3.5, 5.5, 7.5, 9.0)
"""Of markers, by the number of draws, rising; there are no more sizes."""


@dataclass(frozen=True)
class NoiseMark:
    """A gradient estimate at some weights; all numbers relative to the norm of the exact gradient.

    Args:
        state: the weights, such as "initial weights"; a panel.
        method: such as "NCE"; a colour.
        proposal: what classes are drawn from; a marker.
        num: classes drawn, m.
        bias: norm of the mean error.
        low: lower end of its 95 % interval; 0: no bias is shown.
        high: upper end.
        sd: standard deviation, root of the mean squared distance from the mean.
    """

    state: str
    method: str
    proposal: str
    num: int
    bias: float
    low: float
    high: float
    sd: float

    @property
    def shown(self) -> float:
        """Where it is drawn: at the bias, or at the upper end of the interval where that has 0."""
        return self.bias if self.low > 0 else self.high

    def in_words(self) -> str:
        """Bias and sd as text."""
        bias = f"bias {self.bias:.2g}" if self.low > 0 else f"bias below {self.high:.2g}"
        return f"{bias}, sd {self.sd:.2g}"


def noise_picture(marks: Sequence[NoiseMark], name: str, what: str, told_num: int, setting: str) -> Picture:
    """Bias against standard deviation of gradient estimates, both relative, a panel for each state.

    Args:
        marks: at least one; states, methods and proposals in the order of their first appearance.
        name: stem of the picture's files.
        what: the gradient is taken in, such as "the output layer".
        told_num: number of draws whose points the alternative text tells.
        setting: a sentence on data, batches and draws.
    """
    nums = sorted({mark.num for mark in marks})
    unclear = any(mark.low <= 0 for mark in marks)
    caption = (
        f"Gradient in {what}: bias against standard deviation, both divided by the norm of the exact gradient. "
        f"A line joins the numbers of draws m of a method, {', '.join(map(str, nums))}; a larger marker is a larger m. "
        + ("Hollow: the interval of the bias has 0, and the marker is at its upper end. " if unclear else "")
        + setting
    )
    texts = []
    for state in dict.fromkeys(mark.state for mark in marks):
        chosen = [mark for mark in marks if mark.state == state and mark.num == told_num]
        told = "; ".join(f"{mark.method}, {mark.proposal}: {mark.in_words()}" for mark in chosen)
        texts.append(f"{state[:1].upper()}{state[1:]}, m={told_num}: {told or 'no point'}.")
    columns = {"num": "m"}
    frame = data([vars(mark) for mark in marks]).rename(columns=columns)
    alt = f"Bias and standard deviation of gradient estimates in {what}. {' '.join(texts)}"
    return Picture(name, drawing(_draw, tuple(marks)), caption, alt, frame)


def _draw(marks: Sequence[NoiseMark]) -> Figure:
    states = list(dict.fromkeys(mark.state for mark in marks))
    colours = {method: PALETTE[place % len(PALETTE)] for place, method in enumerate(_order(marks, "method"))}
    markers = {one: _MARKERS[place % len(_MARKERS)] for place, one in enumerate(_order(marks, "proposal"))}
    nums = sorted({mark.num for mark in marks})
    sizes = {num: _SIZES[min(place, len(_SIZES) - 1)] for place, num in enumerate(nums)}
    top = 0.4 + 0.205 * max(len(colours), len(markers))
    height = top + 2.0 * len(states) + 0.45 * (len(states) - 1) + 0.5
    figure, grid = panels((NARROW, height), len(states), 1, left=0.72, right=0.15, top=top, bottom=0.5, down=0.45)
    across = _reach([mark.sd for mark in marks])
    up = _reach([mark.shown for mark in marks])
    for axes, state in zip(grid[:, 0], states, strict=True):
        axes.set(xscale="log", yscale="log", xlim=across, ylim=up)
        axes.set_title(state, fontsize=TEXT, fontweight="bold", loc="left")
        axes.set_ylabel("relative bias")
        for method in colours:
            for proposal in markers:
                chosen = [
                    mark for mark in marks if (mark.state, mark.method, mark.proposal) == (state, method, proposal)
                ]
                _draw_line(axes, chosen, colours[method], markers[proposal], sizes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))
        lines(axes)
    grid[-1, 0].set_xlabel("relative standard deviation")
    _legends(figure, colours, markers)
    return figure


def _order(marks: Sequence[NoiseMark], key: str) -> list[str]:
    return list(dict.fromkeys(getattr(mark, key) for mark in marks))


def _reach(values: Sequence[float]) -> tuple[float, float]:
    """A log axis that reaches all values."""
    known = [value for value in values if value > 0] or [0.1, 1.0]
    return min(known) / 1.6, max(known) * 1.6


def _draw_line(
    axes: Axes, marks: Sequence[NoiseMark], colour: Mapping[str, Any], marker: str, sizes: Mapping[int, float]
) -> None:
    ordered = sorted((mark for mark in marks if mark.shown > 0 and mark.sd > 0), key=lambda mark: mark.num)
    style: dict[str, Any] = {"color": colour["color"]}
    axes.plot([mark.sd for mark in ordered], [mark.shown for mark in ordered], linewidth=0.9, alpha=0.7, **style)
    for mark in ordered:
        hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.2} if mark.low <= 0 else {}
        axes.plot(mark.sd, mark.shown, marker=marker, markersize=sizes[mark.num], linestyle="none", **style, **hollow)


def _legends(figure: Figure, colours: Mapping[str, Mapping[str, Any]], markers: Mapping[str, str]) -> None:
    signs = [Line2D([], [], label=method, color=style["color"], linewidth=3) for method, style in colours.items()]
    legend(figure, signs, 1, left=0.05)
    plain: dict[str, Any] = {"linestyle": "none", "color": "black", "markersize": 5}
    others = [Line2D([], [], label=proposal, marker=marker, **plain) for proposal, marker in markers.items()]
    legend(figure, others, 1, left=NARROW - longest(markers) - 0.55)
