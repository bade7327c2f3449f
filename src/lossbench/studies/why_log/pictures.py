"""Pictures of the study: steps from the wrong start over the learning rate, and the answer in two panels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

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
from lossbench.report.panels import WIDE, lines, panels
from lossbench.report.rows import Estimate
from lossbench.report.style import FAINT, PALETTE, SMALL, TEXT
from lossbench.report.wording import MISSING, points, seeds_told, span
from lossbench.studies.why_log.wrong_start import LEAVING, FromWrong

_MARKS = (50, 100, 200, 500, 1000, 2000)
_BEYOND = 1.45  # times the last step: where censored runs are drawn
_FAR = 2.5  # times the next largest difference: beyond that a row is an arrow
_ROW = 0.3  # inches
_CENSORED: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.0, "linestyle": "none"}


def rates_picture(losses: Sequence[FromWrong], most: int, name: str, start: str, baseline: str) -> Picture:
    """Steps to 80 % over the learning rate, a panel a loss; censored runs are open marks above the last step.

    Args:
        losses: from one kind of start.
        most: steps of a run.
        name: of the picture's files.
        start: the start in words, such as "the common wrong start".
        baseline: label of the loss whose medians are in every panel, in grey.
    """
    level = f"{100 * LEAVING:g} %"
    caption = (
        f"Steps from {start} to {level} on held-out images over the learning rate. A dot is a run (one a seed), the "
        f"line the median over seeds. Open dots above the dotted line: not in {most:,} steps; crosses: diverged. "
        f"Grey: the medians of {baseline}. Fashion-MNIST, CNN2C, {_seeds(losses)}."
    )
    alt = f"Steps to {level} from {start}. {' '.join(_rates_in_words(one, most) for one in losses)}"
    frame = pd.DataFrame(
        [
            {
                "loss": one.loss,
                "learning_rate": rate.lr,
                "seed": run.seed,
                "steps_to_80_percent": run.leaving,
                "steps_to_90_percent": run.higher,
                "diverged": run.diverged,
            }
            for one in losses
            for rate in one.rates
            for run in rate.done
        ],
        columns=["loss", "learning_rate", "seed", "steps_to_80_percent", "steps_to_90_percent", "diverged"],
    )
    return Picture(name, drawing(_draw_rates, tuple(losses), most, baseline), caption, alt, frame)


def _seeds(losses: Sequence[FromWrong]) -> str:
    return seeds_told(len(rate.done) for one in losses for rate in one.rates if rate.done) or MISSING


def _rates_in_words(one: FromWrong, most: int) -> str:
    known = []
    for rate in one.rates:
        if rate.done:
            median = rate.median(LEAVING)
            steps = f"not in {most:,}" if math.isinf(median) else f"{median:g}"
            lost = f" ({rate.diverged} diverged)" if rate.diverged else ""
            known.append(f"{steps} at {rate.lr:g}{lost}")
    return f"{one.loss}: {', '.join(known) or MISSING}."


def _draw_rates(losses: Sequence[FromWrong], most: int, baseline: str) -> Figure:
    columns = max(min(len(losses), 5), 1)
    rows = max(math.ceil(len(losses) / columns), 1)
    figure, grid = panels(
        (WIDE, rows * 1.95 + 0.35), rows, columns, left=0.65, top=0.3, bottom=0.5, across=0.14, down=0.6, share="all"
    )
    rates = [rate.lr for one in losses for rate in one.rates] or [0.01, 0.1]
    base = next((one for one in losses if one.loss == baseline), None)
    for place, axes in enumerate(grid.flat):
        if place >= len(losses):
            axes.set_axis_off()
            continue
        axes.set(xscale="log", yscale="log", xlim=(min(rates) / 2, max(rates) * 2), ylim=(40, most * 2.1))
        axes.axhline(most, color="black", linestyle=":", linewidth=0.9)
        if base is not None and losses[place] is not base:
            axes.plot(*_medians(base), color=FAINT, linewidth=1, marker=".", markersize=3)
        _draw_loss(axes, losses[place], most)
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_locator(FixedLocator([*_MARKS, most]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(losses[place].loss, fontsize=TEXT, loc="left")
        lines(axes)
        if place >= len(losses) - columns:
            axes.set_xlabel("learning rate")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"steps to {100 * LEAVING:g} %", fontsize=SMALL)
    return figure


def _medians(one: FromWrong) -> tuple[list[float], list[float]]:
    """Learning rates and median steps; nan where the median is censored or missing, so that the line has a gap."""
    medians = [rate.median(LEAVING) for rate in one.rates]
    return [rate.lr for rate in one.rates], [value if math.isfinite(value) else math.nan for value in medians]


def _draw_loss(axes: Axes, one: FromWrong, most: int) -> None:
    color = PALETTE[0]["color"]
    axes.plot(*_medians(one), color=color, linewidth=1.4)
    for rate in one.rates:
        for run in rate.done:
            x = rate.lr * 1.22 ** (run.seed - 1)  # beside each other, as runs often take the same number of steps
            if run.diverged:
                axes.plot(x, most * _BEYOND, "x", color=color, markersize=4.5)
            elif math.isinf(run.leaving):
                axes.plot(x, most * _BEYOND, "o", color=color, markersize=4, **_CENSORED)
            else:
                axes.plot(x, run.leaving, "o", color=color, markersize=3.2)
    if not one.num_done:
        axes.text(0.5, 0.45, MISSING, ha="center", fontsize=TEXT, transform=axes.transAxes)


@dataclass(frozen=True)
class AnswerRow:
    """A loss in the picture that carries the study's answer.

    Args:
        loss: label.
        steps: median from the wrong start to 80 % at the best rate; inf: not within the run; None: not yet run.
        n: seeds of that median.
        is_whole: whether all its runs from the wrong start are done.
        differences: test accuracy less that of the baseline, from scratch, one a data set; None: not yet run.
    """

    loss: str
    steps: float | None
    n: int
    is_whole: bool
    differences: tuple[Estimate | None, ...]


def answer_picture(
    rows: Sequence[AnswerRow], datasets: Sequence[str], most: int, baseline: str, margin: float
) -> Picture:
    """Left: steps out of the wrong start at the best rate. Right: accuracy from scratch less the baseline's.

    Args:
        rows: in their order, the baseline among them.
        datasets: labels of the differences.
        most: steps of a run from the wrong start.
        baseline: label.
        margin: of equivalence, a fraction.
    """
    level, steps = f"{100 * LEAVING:g} %", seeds_told(row.n for row in rows if row.n)
    scratch = seeds_told(one.n for row in rows for one in row.differences if one and one.n)
    partly = sum(bool(row.n) and not row.is_whole for row in rows)
    so_far = f"; for {partly} of {len(rows)} losses not all runs are done" if partly else ""
    caption = (
        f"Left: steps from the same confidently wrong network to {level} on held-out images of Fashion-MNIST, median "
        f"at the best of the learning rates ({steps or 'not yet run'}); open marks at the right edge: not in {most:,} "
        f"steps at any rate{so_far}. "
        f"Right: test accuracy from scratch less that of {baseline}, each loss at its own learning rate, with 95 % "
        f"interval ({scratch or 'not yet run'}); grey: within {100 * margin:g} points. CNN2C."
    )
    alt = f"Why the log. {' '.join(_row_in_words(row, datasets, most, baseline) for row in rows)}"
    frame = data(
        [
            {"loss": row.loss, "steps_to_80_percent": math.nan if row.steps is None else row.steps, "seeds": row.n}
            | {"dataset": dataset}
            | in_percent(one, "difference_points")
            for row in rows
            for dataset, one in zip(datasets, row.differences, strict=True)
        ]
    )
    drawn = drawing(_draw_answer, tuple(rows), tuple(datasets), most, baseline, margin)
    return Picture("why_log_answer", drawn, caption, alt, frame)


def _row_in_words(row: AnswerRow, datasets: Sequence[str], most: int, baseline: str) -> str:
    if row.steps is None:
        texts = ["from the wrong start not yet run"]
    else:
        so_far = "" if row.is_whole else " so far"
        steps = f"not in {most:,} steps" if math.isinf(row.steps) else f"{row.steps:g} steps"
        texts = [f"{steps} from the wrong start (n={row.n}){so_far}"]
    if row.loss != baseline:
        for dataset, one in zip(datasets, row.differences, strict=True):
            texts.append(f"{dataset} {'not yet run' if one is None else _interval(one)}")
    return f"{row.loss}: {'; '.join(texts)}."


def _interval(one: Estimate) -> str:
    """A difference in points, its interval and n."""
    told = "" if math.isnan(one.low) else f" ({span(one.low, one.high)})"
    return f"{points(one.mean)} points{told}, n={one.n}"


_SETS: tuple[dict[str, Any], ...] = (
    {"marker": "o", "markersize": 5, "linestyle": "none", "color": "black"},
    {"marker": "s", "markersize": 5, "linestyle": "none", "color": "black", "markerfacecolor": "white"},
)
"""Markers of the data sets."""


def _draw_answer(rows: Sequence[AnswerRow], datasets: Sequence[str], most: int, baseline: str, margin: float) -> Figure:
    left, between, top, each = longest([row.loss for row in rows]) + 0.2, 0.25, 0.85, 2.15
    height = _ROW * max(len(rows), 1)
    figure = Figure(figsize=(left + 2 * each + between + 0.15, top + height + 0.5))
    steps = place_axes(figure, left, top, each, height)
    gaps = place_axes(figure, left + each + between, top, each, height)
    names = [("", [row.loss for row in rows])]
    (ys,), _ = label_rows(steps, names, left), label_rows(gaps, names)
    _draw_steps(steps, ys, rows, most)
    _draw_gaps(gaps, ys, rows, baseline, margin)
    for axes, title in ((steps, "from the wrong start"), (gaps, "from scratch")):
        axes.set_title(title, fontsize=TEXT, fontweight="bold", loc="left")
    blue, orange = PALETTE[0]["color"], PALETTE[1]["color"]
    got, not_got = f"steps to {100 * LEAVING:g} %", f"not in {most:,} steps"
    signs = [
        Line2D([], [], color=blue, marker="o", markersize=5, linestyle="none", label=got),
        Line2D([], [], color=orange, marker="o", markersize=6, label=not_got, **_CENSORED),
        *(Line2D([], [], label=label, **style) for label, style in zip(datasets, _SETS, strict=False)),
        Patch(color=FAINT, alpha=0.35, linewidth=0, label="margin"),
    ]
    legend(figure, signs, 3, left=0.05)
    return figure


def _draw_steps(axes: Axes, ys: Sequence[float], rows: Sequence[AnswerRow], most: int) -> None:
    axes.set(xscale="log", xlim=(40, most * 2))
    axes.axvline(most, color="black", linestyle=":", linewidth=0.9)
    reached, censored = PALETTE[0]["color"], PALETTE[1]["color"]
    for y, row in zip(ys, rows, strict=True):
        if row.steps is None:
            axes.text(42, y, "not yet run", fontsize=SMALL, va="center_baseline")
        elif math.isinf(row.steps):
            axes.plot(most * _BEYOND, y, "o", color=censored, markersize=6, **_CENSORED)
        else:
            axes.hlines(y, 40, row.steps, color=reached, linewidth=1.2, alpha=0.5)
            axes.plot(row.steps, y, "o", color=reached, markersize=5)
    axes.xaxis.set_major_locator(FixedLocator([50, 200, 1000, most]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"steps to {100 * LEAVING:g} %, at the best rate", fontsize=TEXT)


def _draw_gaps(axes: Axes, ys: Sequence[float], rows: Sequence[AnswerRow], baseline: str, margin: float) -> None:
    extents = [max(map(abs, ends([one for one in row.differences if one])), default=0.0) for row in rows]
    reach = 1.08 * axis_reach(extents, margin, least=2.0, far=_FAR)
    axes.axvspan(-100 * margin, 100 * margin, color=FAINT, alpha=0.3, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(-reach, reach)
    for y, row in zip(ys, rows, strict=True):
        if row.loss == baseline or not any(row.differences):
            text = "baseline" if row.loss == baseline else "not yet run"
            axes.text(0.03 * reach, y, text, fontsize=SMALL, va="center_baseline")
            continue
        shift = 0.2 if len(row.differences) > 1 else 0.0
        for place, one in enumerate(row.differences):
            if one:
                _draw_gap(axes, y - shift + 2 * shift * place, one, reach, _SETS[place % len(_SETS)])
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel(f"accuracy less {baseline}'s (points)", fontsize=TEXT)


def _draw_gap(axes: Axes, y: float, one: Estimate, reach: float, style: dict[str, Any]) -> None:
    """A difference with its interval; an arrow with its number where it is beyond the axis."""
    mean = 100 * one.mean
    if abs(mean) <= reach:
        whiskers(axes, [y], [one], color="black", linewidth=1.1)
        axes.plot(mean, y, **style)
        return
    side = math.copysign(1, mean)
    axes.plot(side * 0.95 * reach, y, **style | {"marker": "<" if side < 0 else ">"})
    place: dict[str, Any] = {"ha": "left" if side < 0 else "right", "va": "center_baseline", "fontsize": SMALL}
    axes.text(side * 0.86 * reach, y, points(one.mean, 1), **place)
