"""Figures of learning rates, intervals, differences and Eq. 9, drawn from plain rows of numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import given
from lossbench.report.style import FAINT, PAPER, SMALL, STYLES
from lossbench.report.wording import MISSING
from lossbench.statistics.inference import CellOutcome, Difference, Prediction, Word

_LEAST_ERROR = 0.01
"""Percent; smaller errors are drawn here, since a log axis has no zero."""


@dataclass(frozen=True)
class LrCurve:
    """Validation accuracy over the learning rate of one loss on one data set, with one run per point."""

    dataset: str
    loss: str
    lrs: tuple[float, ...]  # rising
    accuracies: tuple[float | None, ...]  # fractions, one for each learning rate; None: not done, nan: diverged
    best: float | None  # one of the learning rates
    at_edge: bool  # the best is the lowest or highest of the grid
    scaled_lr: float | None  # the paper's learning rate times the factor on the loss in the scale-matched condition


@dataclass(frozen=True)
class CellRow:
    """Our runs of one cell and the paper's number."""

    dataset: str
    network: str  # with everything that distinguishes the row from others of its loss, such as "CNN2C, beta 2"
    loss: str
    prediction: Prediction  # fractions; without runs its n is 0
    paper: float | None  # a fraction
    outcome: CellOutcome | None  # None if the paper has no number


@dataclass(frozen=True)
class ComparisonRow:
    """One paired difference in one cell."""

    contrast: str  # such as "LGL-INR - SML", with the condition if there are several
    cell: str  # such as "CNN2C, KMNIST"
    difference: Difference  # fractions; without pairs its n is 0
    margin: float  # of equivalence, a fraction
    word: Word


@dataclass(frozen=True)
class PropertyRow:
    """The two sides of Eq. 9 for one class of one trained network."""

    loss: str
    split: Literal["train", "test"]
    class_: int
    left: float
    right: float


def lr_curves(curves: Sequence[LrCurve], paper_lr: float, name: str = "lr_curves") -> Picture:
    """Accuracy over the learning rate, with one panel per data set; it shows whether a loss or its step size is better.

    The axis is the logarithm of the error, labelled with the accuracy. The best points stay distinguishable if others
    are at chance level, which a linear axis would not allow.
    """
    panels = _grouped(curves, lambda curve: curve.dataset)
    heights = [height for _, group in panels for height in (0.01 + 0.2 * _num_scaled(group), 3.0)]
    figure = Figure(figsize=(6.4, 0.4 + sum(heights) + 1.2 * len(panels)), layout="constrained")
    grid = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    lrs = sorted({lr for curve in curves for lr in curve.lrs})
    reached = [paper_lr, *lrs, *(curve.scaled_lr for curve in curves if curve.scaled_lr is not None)]
    for (dataset, group), strip, axes in zip(panels, grid[::2], grid[1::2], strict=True):
        _draw_scaled(strip, group, paper_lr)
        strip.set_title(dataset)
        axes.axvline(paper_lr, color=FAINT, linestyle=":")
        _draw_errors(axes, group)
        axes.set(xscale="log", xlim=(min(reached) / 1.4, max(reached) * 1.4))
        axes.set_xticks(lrs, labels=[f"{lr:g}" for lr in lrs])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelbottom=True)
        axes.set(xlabel="learning rate", ylabel="validation accuracy (%)")
        axes.grid(color=FAINT, alpha=0.3)
        place = {"loc": "upper center", "bbox_to_anchor": (0.45, -0.14)}
        axes.legend(**place, ncols=len(group), fontsize=SMALL + 1, frameon=False)
    signs = [
        Line2D([], [], color=FAINT, linestyle=":", label=f"the paper's learning rate, {paper_lr:g}"),
        Line2D([], [], color="black", label="best", **_RING),
        Line2D([], [], color="black", marker="x", linestyle="none", label="diverged"),
    ]
    signs += [Line2D([], [], color="black", **_ARROW, label="factor on the loss")] if _num_scaled(curves) else []
    figure.legend(handles=signs, loc="outside upper center", ncols=4, fontsize=SMALL + 1, frameon=False)
    arrows = (
        f" A loss times c at learning rate {paper_lr:g} takes the very steps of the loss itself at {paper_lr:g} c, "
        "with momentum SGD and no weight decay: there its arrow and thin line lead, c being the scale arms' factor."
    )
    caption = (
        "Accuracy over the learning rate, CNN2C where no network is named, on validation images after the last epoch: "
        "single runs, n=1 a point. "
        f"The height is the logarithm of the error.{arrows if _num_scaled(curves) else ''}"
    )
    alt = " ".join(_curve_in_words(curve, paper_lr) for curve in curves)
    return Picture(name, given(figure), caption, f"Accuracy over the learning rate. {alt}")


def cells_beside_paper(rows: Sequence[CellRow]) -> Picture:
    """Every cell's mean and 95 % prediction interval for one new run, and the paper's number.

    Rows are grouped by network; networks and data sets are in order of appearance.
    """

    def draw(axes: Axes, y: int, row: CellRow) -> str:
        ours, style = row.prediction, STYLES[row.loss]
        if ours.n:
            width = None if math.isnan(ours.half_width) else 100 * ours.half_width
            axes.errorbar(100 * ours.mean, y, xerr=width, color=style["color"], fmt=style["marker"], capsize=3)
        if row.paper is not None:
            axes.plot(100 * row.paper, y, color="black", **PAPER)
        return _cell_in_words(row)

    networks = list(dict.fromkeys(row.network for row in rows))
    rows = sorted(rows, key=lambda row: networks.index(row.network))
    figure = _rows_figure(
        rows, lambda row: row.dataset, lambda row: f"{row.network}  {row.loss}", draw, "test accuracy (%)"
    )
    for axes in figure.axes:
        axes.set_xlim(right=min(100, axes.get_xlim()[1]))  # an interval may exceed it
    signs = [
        Line2D([], [], **style | {"linestyle": "-"}, label=loss)
        for loss, style in STYLES.items()
        if any(row.loss == loss for row in rows)
    ]
    printed = any(row.paper is not None for row in rows)
    signs += [Line2D([], [], color="black", **PAPER, label="paper")] if printed else []
    figure.legend(handles=signs, loc="outside upper center", ncols=len(signs), frameon=False)
    caption = (
        "Test accuracy: mean of n runs and 95 % prediction interval for one new run, s pooled over a data set and "
        f"network{'; diamond, the number that the paper prints' if printed else ''}. Each data set has its own range."
    )
    texts = [
        f"{row.dataset}, {row.network}, {row.loss}: "
        f"{f'{100 * row.prediction.mean:.2f} %, ' if row.prediction.n else ''}{_cell_in_words(row)}"
        f"{'' if row.paper is None else f', paper {100 * row.paper:.2f} %'}."
        for row in rows
    ]
    return Picture("cells_beside_paper", given(figure), caption, f"Our runs beside the paper. {' '.join(texts)}")


def comparisons(rows: Sequence[ComparisonRow]) -> Picture:
    """Every paired difference with its 95 % interval, the margin of equivalence, and the cell's verdict."""

    def draw(axes: Axes, y: int, row: ComparisonRow) -> str:
        ours, margin = row.difference, 100 * row.margin
        axes.barh(y, 2 * margin, left=-margin, height=1, color=FAINT, alpha=0.3, linewidth=0)
        if ours.n:
            width = None if math.isnan(ours.low) else 100 * (ours.high - ours.mean)
            decided = row.word not in ("undecided", "too few")
            filled = None if decided else "none"
            marker = "s" if row.word in ("equivalent", "equal") else "o"
            axes.errorbar(100 * ours.mean, y, xerr=width, color="black", fmt=marker, capsize=3, markerfacecolor=filled)
        return _comparison_in_words(row)

    figure = _rows_figure(
        rows, lambda row: row.contrast, lambda row: row.cell, draw, "difference in test accuracy (points)"
    )
    for axes in figure.axes:
        axes.axvline(0, color="black", linewidth=0.8)
    caption = (
        "Differences seed by seed: mean of n pairs and 95 % interval, positive where the first is better; band, the "
        "margin of equivalence; filled, decided (square: equivalent or equal). The words are corrected after Holm, the "
        "intervals are not; equivalence is judged by the 90 % interval."
    )
    texts = [
        f"{row.contrast}, {row.cell}: "
        f"{f'{100 * row.difference.mean:+.2f} points, ' if row.difference.n else ''}{_comparison_in_words(row)}."
        for row in rows
    ]
    return Picture("comparisons", given(figure), caption, f"Differences of losses. {' '.join(texts)}")


def learning_property(rows: Sequence[PropertyRow], losses: Sequence[str]) -> Picture:
    """Left-hand over right-hand side of Eq. 9 for every class of trained networks; equal on the diagonal."""
    figure = Figure(figsize=(7.4, 4), layout="constrained")
    hollow = {"linestyle": "none", "markerfacecolor": "none", "markersize": 4}
    drawn = [row for row in rows if row.left > 0 and row.right > 0 and math.isfinite(row.left * row.right)]
    values = [value for row in drawn for value in (row.left, row.right)]
    low, high = (min(values) / 1.3, max(values) * 1.3) if values else (0.01, 1.0)
    texts = []
    for axes, split in zip(figure.subplots(1, 2), ("train", "test"), strict=True):
        axes.axline((low, low), (high, high), color=FAINT, linewidth=1)
        for loss in losses:
            chosen = [row for row in drawn if (row.loss, row.split) == (loss, split)]
            words = f"n={len(chosen)}" if chosen else MISSING
            places = [row.right for row in chosen], [row.left for row in chosen]
            axes.plot(*places, label=f"{loss}, {words}", **STYLES[loss] | hollow)
            if chosen:
                ordered = sorted(chosen, key=lambda row: row.left / row.right)
                words += f", left over right from {_ratio_in_words(ordered[0])} to {_ratio_in_words(ordered[-1])}"
            texts.append(f"{loss}, {split}: {words}.")
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_title("training images" if split == "train" else "test images")
        axes.set(xlabel="right-hand side of Eq. 9", ylabel="left-hand side" if split == "train" else "")
        axes.grid(color=FAINT, alpha=0.3)
        axes.legend(fontsize=SMALL, frameon=False, loc="upper left")
    left_out = len(rows) - len(drawn)
    caption = (
        "Eq. 9 on trained networks: a point is a class of a network, all seeds; on the line both sides are equal; n "
        "points."
        f"{f' {left_out} without two positive numbers, not drawn.' if left_out else ''}"
    )
    return Picture("learning_property", given(figure), caption, f"Two sides of Eq. 9. {' '.join(texts)}")


_RING: Mapping[str, Any] = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "linestyle": "none"}
_ARROW: dict[str, Any] = {"marker": ">", "markevery": [1]}

Row = TypeVar("Row")


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> list[tuple[str, list[Row]]]:
    """Rows grouped by key; groups and rows are in order of appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.items())


def _num_scaled(curves: Sequence[LrCurve]) -> int:
    return sum(curve.scaled_lr is not None for curve in curves)


def _draw_scaled(axes: Axes, curves: Sequence[LrCurve], paper_lr: float) -> None:
    """For each loss an arrow from the paper's learning rate to the one that equals the factor on the loss."""
    scaled = [(curve.loss, curve.scaled_lr) for curve in curves if curve.scaled_lr is not None]
    axes.plot([paper_lr] * len(scaled), range(len(scaled)), color=FAINT, linestyle=":")
    for y, (loss, lr) in enumerate(scaled):
        arrow = _ARROW if lr > paper_lr else _ARROW | {"marker": "<"}
        axes.plot([paper_lr, lr], [y, y], color=STYLES[loss]["color"], **arrow)
        side, shift = ("right", -4) if lr > paper_lr else ("left", 4)
        words = f"{loss} × {lr / paper_lr:.3g}"
        axes.annotate(
            words, (paper_lr, y), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=SMALL
        )
    axes.set_ylim(len(scaled) - 0.4, -0.6)
    axes.set_axis_off()


def _errors(curve: LrCurve) -> list[float]:
    """Errors in percent, one for each learning rate; nan without accuracy."""
    accuracies = (math.nan if value is None else value for value in curve.accuracies)
    return [max(100 * (1 - value), _LEAST_ERROR) if math.isfinite(value) else math.nan for value in accuracies]


def _diverged(curve: LrCurve) -> list[float]:
    """The learning rates at which the run diverged."""
    pairs = zip(curve.lrs, curve.accuracies, strict=True)
    return [lr for lr, accuracy in pairs if accuracy is not None and math.isnan(accuracy)]


def _draw_errors(axes: Axes, curves: Sequence[LrCurve]) -> None:
    """A line for each loss on an inverted log axis of the error; diverged runs are marked below it."""
    finite = [error for curve in curves for error in _errors(curve) if math.isfinite(error)]
    known = np.log10(finite or [1.0, 100.0])
    pad = 0.08 * max(np.ptp(known), 0.2)
    top, bottom = known.min() - pad, known.max() + pad
    ticks = _ticks(10**top, min(100, 10**bottom)) if finite else []
    labels = [f"{round(100 - tick, 4):g}" for tick in ticks]
    for curve in curves:
        style, errors = STYLES[curve.loss], _errors(curve)
        axes.plot(curve.lrs, errors, label=_best_in_words(curve), markersize=5, **style)
        if curve.scaled_lr is not None:
            axes.axvline(curve.scaled_lr, color=style["color"], linestyle=style["linestyle"], linewidth=0.8, alpha=0.6)
        if curve.best is not None:
            axes.plot(curve.best, errors[curve.lrs.index(curve.best)], color=style["color"], **_RING)
    if any(map(_diverged, curves)):
        rows = bottom + 0.055 * (bottom - top) * np.arange(len(curves) + 2)  # of equal height
        axes.axhline(10**bottom, color=FAINT, linewidth=0.8)
        _draw_diverged(axes, curves, 10 ** rows[1:-1])
        ticks, labels, bottom = [*ticks, 10 ** rows.mean()], [*labels, "diverged"], rows[-1]
    elif not finite:
        axes.text(0.5, 0.5, MISSING, ha="center", transform=axes.transAxes)
    axes.set(yscale="log", ylim=(10**bottom, 10**top))
    axes.set_yticks(ticks, labels=labels)
    axes.yaxis.set_minor_locator(NullLocator())


def _draw_diverged(axes: Axes, curves: Sequence[LrCurve], heights: np.ndarray) -> None:
    """For each diverged run an x in the marker of its loss; one row for each loss."""
    for height, curve in zip(heights, curves, strict=True):
        style, places = STYLES[curve.loss], _diverged(curve)
        around = {"linestyle": "none", "markerfacecolor": "none", "markersize": 8}
        axes.plot(places, [height] * len(places), **style | around)
        axes.plot(places, [height] * len(places), color=style["color"], marker="x", markersize=4, linestyle="none")


def _ticks(low: float, high: float) -> list[float]:
    """Tick positions in percent: evenly spaced on a short axis, by decades on a long one."""
    steps = (1, 1.5, 2, 3, 4, 5, 7) if high < 50 * low else (1, 2, 5)
    decades = [step * 10.0**power for power in range(-2, 2) for step in steps]
    ticks = list(MaxNLocator(6).tick_values(low, high)) if high < 5 * low else decades
    return [tick for tick in ticks if low <= tick <= high]


def _best_in_words(curve: LrCurve) -> str:
    if curve.best is None:
        return f"{curve.loss}{'' if np.isfinite(_errors(curve)).any() or _diverged(curve) else f', {MISSING}'}"
    return f"{curve.loss}, best at {curve.best:g}{' (at the edge)' if curve.at_edge else ''}"


def _curve_in_words(curve: LrCurve, paper_lr: float) -> str:
    accuracies = dict(zip(curve.lrs, curve.accuracies, strict=True))
    texts = [
        f"{100 * accuracy:.2f} % at {lr:g}{' (the paper)' if lr == paper_lr else ''}"
        if math.isfinite(accuracy)
        else f"diverged at {lr:g}"
        for lr, accuracy in accuracies.items()
        if accuracy is not None
    ]
    best = f"{_best_in_words(curve).removeprefix(curve.loss)}; " if curve.best is not None else ": "
    return f"{curve.dataset}, {curve.loss}{best}{', '.join(texts) or MISSING}."


def _rows_figure(
    rows: Sequence[Row],
    group: Callable[[Row], str],
    label: Callable[[Row], str],
    draw: Callable[[Axes, int, Row], str],
    xlabel: str,
) -> Figure:
    """One line per row and one panel with its own range per group; the text that `draw` returns is at the right."""
    groups = _grouped(rows, group)
    figure = Figure(figsize=(7.6, 1 + 0.27 * len(rows) + 0.7 * len(groups)), layout="constrained")
    ratios = [len(members) for _, members in groups]
    grid = figure.subplots(len(groups), 1, squeeze=False, height_ratios=ratios)[:, 0]
    for axes, (title, members) in zip(grid, groups, strict=True):
        axes.set_title(title)
        axes.use_sticky_edges = False  # otherwise a band may end at the frame
        for y, row in enumerate(members):
            words = draw(axes, y, row)
            axes.text(1.02, y, words, va="center", fontsize=SMALL + 1, transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(members)), labels=[label(row) for row in members], fontsize=SMALL + 1)
        axes.set_ylim(len(members) - 0.4, -0.6)
        axes.grid(axis="x", color=FAINT, alpha=0.3)
    grid[-1].set_xlabel(xlabel)
    return figure


def _cell_in_words(row: CellRow) -> str:
    ours = row.prediction
    if not ours.n:
        return f"{ours.failed} failed" if ours.failed else MISSING
    width = "" if math.isnan(ours.half_width) else f"±{100 * ours.half_width:.2f}"
    texts = [
        " ".join(filter(None, [row.outcome, width])),
        f"n={ours.n}",
        f"{ours.failed} failed" if ours.failed else "",
    ]
    return ", ".join(filter(None, texts))


def _comparison_in_words(row: ComparisonRow) -> str:
    return f"{row.word}, n={row.difference.n}" if row.difference.n else MISSING


def _ratio_in_words(row: PropertyRow) -> str:
    return f"{row.left / row.right:.3g} (class {row.class_})"
