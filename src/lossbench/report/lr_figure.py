"""Figure of accuracy over the learning rate."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import FULL_WIDTH, data, grouped, legend, place_axes
from lossbench.report.rows import LrCurve
from lossbench.report.style import FAINT, SMALL, STYLES, TEXT
from lossbench.report.wording import MISSING

NEAR_CHANCE = 0.05
"""A run has learned nothing if its accuracy is at most this far from guessing."""

_LEAST_ERROR = 0.01  # percent; smaller errors are drawn here, since a log axis has no zero
_PER_ROW = 3  # panels
_HEIGHT = 2.7  # inches of a panel
_STRIP = 0.55  # inches of what is at chance or diverged, at the bottom of a panel
_RING: dict[str, Any] = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "linestyle": "none"}
_SCALED: dict[str, Any] = {"marker": "|", "markersize": 13, "markeredgewidth": 2, "linestyle": "none"}


def lr_curves(curves: Sequence[LrCurve], paper_lr: float, name: str = "lr_curves") -> Picture:
    """Accuracy over the learning rate, with one panel per data set; it shows whether a loss or its step size is better.

    The axis is the logarithm of the error, labelled with the accuracy, and ends at the worst run that has learned. All
    others are in a strip below it.

    Args:
        curves: those of a panel stand together.
        paper_lr: the paper's learning rate.
        name: of the picture.
    """
    most = max((len(values) for curve in curves for values in curve.accuracies), default=1)
    runs = "one run a point" if most == 1 else f"mean of up to {most} runs a point, of those that learned"
    bars = (
        " Bars: the learning rate at which the loss takes the same steps as the scale-matched loss at the paper's rate "
        "(SML and LGL matched to LGL-INR's gradient norm at initialisation, LGL-INR to SML's; momentum SGD, no weight "
        "decay)."
    )
    caption = (
        f"Accuracy over the learning rate, on validation images after the last epoch, {runs}; CNN2C where no network "
        "is named. The vertical axis is logarithmic in the error. Bottom strip: runs that diverged or are within "
        f"{100 * NEAR_CHANCE:.0f} points of guessing.{bars if any(curve.scaled_lr for curve in curves) else ''}"
    )
    alt = " ".join(_in_words(curve, paper_lr) for curve in curves)
    alt = f"Accuracy over the learning rate. {alt}"
    return Picture(name, drawing(_draw, tuple(curves), paper_lr), caption, alt, _data(curves, paper_lr))


def _draw(curves: Sequence[LrCurve], paper_lr: float) -> Figure:
    panels = grouped(curves, lambda curve: curve.dataset)
    columns = min(max(len(panels), 1), _PER_ROW)
    rows = math.ceil(len(panels) / columns)
    left, between, top, down = 0.6, 0.5, 0.62 if columns > 1 else 0.8, 0.8
    across = max(FULL_WIDTH * columns / _PER_ROW, 4.6)
    width = (across - left - 0.1 - between * (columns - 1)) / columns
    figure = Figure(figsize=(across, top + rows * (_HEIGHT + down) - 0.25))
    lrs = sorted({lr for curve in curves for lr in curve.lrs})
    reached = [paper_lr, *lrs, *(curve.scaled_lr for curve in curves if curve.scaled_lr is not None)]
    for number, (dataset, chosen) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        axes = place_axes(figure, left + column * (width + between), top + row * (_HEIGHT + down), width, _HEIGHT)
        axes.set_title(dataset, fontsize=TEXT, fontweight="bold")
        axes.axvline(paper_lr, color=FAINT, linestyle=":", linewidth=1.5)
        _draw_panel(axes, chosen)
        axes.set(xscale="log", xlim=(min(reached) / 1.4, max(reached) * 1.4))
        sparse = [lr for lr in lrs if math.isclose(math.log10(lr), round(math.log10(lr)))] if len(lrs) > 8 else lrs
        axes.set_xticks(lrs, labels=[f"{lr:g}" if lr in sparse else "" for lr in lrs], fontsize=SMALL)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("learning rate", fontsize=TEXT)
        if not column:
            axes.set_ylabel("validation accuracy (%)", fontsize=TEXT)
    _legend(figure, curves, paper_lr, 3 if columns == 1 else 7)
    return figure


def _legend(figure: Figure, curves: Sequence[LrCurve], paper_lr: float, columns: int) -> None:
    losses = [loss for loss in STYLES if any(curve.loss == loss for curve in curves)]
    signs = [Line2D([], [], label=loss, markersize=5, **STYLES[loss]) for loss in losses]
    signs += [
        Line2D([], [], color=FAINT, linestyle=":", linewidth=1.5, label=f"the paper's rate, {paper_lr:g}"),
        Line2D([], [], color="black", label="its own rate", **_RING | {"markersize": 9}),
    ]
    if any(curve.scaled_lr for curve in curves):
        signs.append(Line2D([], [], color="black", label="gradient norm matched", **_SCALED | {"markersize": 9}))
    legend(figure, signs, columns)


def _has_learned(curve: LrCurve, accuracy: float) -> bool:
    return math.isfinite(accuracy) and abs(accuracy - curve.chance) > NEAR_CHANCE


def _learned(curve: LrCurve) -> list[float]:
    """The mean accuracy of the runs that have learned, for each learning rate; nan without any."""
    found = []
    for values in curve.accuracies:
        known = [value for value in values if value is not None and _has_learned(curve, value)]
        found.append(float(np.mean(known)) if known else math.nan)
    return found


def _lost(curve: LrCurve) -> list[float]:
    """The learning rates at which a run diverged or is at chance."""
    return [
        lr
        for lr, values in zip(curve.lrs, curve.accuracies, strict=True)
        if any(value is not None and not _has_learned(curve, value) for value in values)
    ]


def _error(accuracy: float) -> float:
    """In percent, as it is drawn; nan stays."""
    return math.nan if math.isnan(accuracy) else max(100 * (1 - accuracy), _LEAST_ERROR)


def _draw_panel(axes: Axes, curves: Sequence[LrCurve]) -> None:
    """A line for each loss on an inverted log axis of the error, and the strip below it."""
    errors = {curve.loss: [_error(value) for value in _learned(curve)] for curve in curves}
    finite = [error for found in errors.values() for error in found if math.isfinite(error)]
    known = np.log10(finite or [1.0, 50.0])
    pad = 0.07 * max(np.ptp(known), 0.2)
    top, edge = known.min() - pad, known.max() + pad
    bottom = edge + (edge - top) * _STRIP / (_HEIGHT - _STRIP)
    heights = 10 ** np.linspace(edge, bottom, len(curves) + 3)[2:-1]
    axes.axhspan(10**bottom, 10**edge, color=FAINT, alpha=0.15, linewidth=0)
    axes.text(0.02, 10**edge, "at chance or diverged", va="top", fontsize=SMALL, transform=axes.get_yaxis_transform())
    for curve, height in zip(curves, heights, strict=True):
        style, found = STYLES[curve.loss], errors[curve.loss]
        axes.plot(curve.lrs, found, markersize=5, **style)
        lost = _lost(curve)
        axes.plot(lost, [height] * len(lost), **style | {"linestyle": "none", "markersize": 5})
        if curve.scaled_lr is not None:
            at = _between(curve.lrs, found, curve.scaled_lr)
            axes.plot(curve.scaled_lr, at, color=style["color"], **_SCALED)
        if curve.best is not None:
            axes.plot(curve.best, found[curve.lrs.index(curve.best)], color=style["color"], **_RING)
    if not finite and not any(map(_lost, curves)):
        axes.text(0.5, 0.5, MISSING, ha="center", fontsize=TEXT, transform=axes.transAxes)
    axes.set(yscale="log", ylim=(10**bottom, 10**top))
    ticks = _ticks(10**top, min(100, 10**edge)) if finite else []
    axes.set_yticks(ticks, labels=[f"{round(100 - tick, 4):g}" for tick in ticks], fontsize=SMALL)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=FAINT, alpha=0.3, linewidth=0.6)


def _between(lrs: Sequence[float], errors: Sequence[float], lr: float) -> float:
    """Where the line of a curve is at a learning rate; beyond its ends, as high as they are."""
    known = [(math.log(x), math.log(y)) for x, y in zip(lrs, errors, strict=True) if math.isfinite(y)]
    if not known:
        return math.nan
    places, heights = np.array(known).T
    return math.exp(np.interp(math.log(lr), places, heights))


def _ticks(low: float, high: float) -> list[float]:
    """Tick positions in percent of error: evenly spaced on a short axis, by decades on a long one."""
    steps = (1, 1.5, 2, 3, 4, 5, 7) if high < 50 * low else (1, 2, 5)
    decades = [step * 10.0**power for power in range(-2, 2) for step in steps]
    ticks = list(MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(low, high)) if high < 5 * low else decades
    return [tick for tick in ticks if low <= tick <= high]


def _data(curves: Sequence[LrCurve], paper_lr: float) -> pd.DataFrame:
    """A line for each run, and whether its learning rate is marked."""
    lines = [
        {
            "dataset": curve.dataset,
            "loss": curve.loss,
            "learning_rate": lr,
            "run": run,
            "accuracy_percent": 100 * accuracy,
            "state": "diverged" if math.isnan(accuracy) else "" if _has_learned(curve, accuracy) else "at chance",
            "own_learning_rate": curve.best,
            "paper_learning_rate": paper_lr,
            "matched_learning_rate": curve.scaled_lr,
        }
        for curve in curves
        for lr, values in zip(curve.lrs, curve.accuracies, strict=True)
        for run, accuracy in enumerate(values, 1)
        if accuracy is not None
    ]
    return data(lines)


def _in_words(curve: LrCurve, paper_lr: float) -> str:
    learned, lost, texts = _learned(curve), _lost(curve), []
    for lr, accuracy in zip(curve.lrs, learned, strict=True):
        words = [f"{100 * accuracy:.2f} %"] if math.isfinite(accuracy) else []
        words += ["at chance or diverged"] if lr in lost else []
        if words:
            texts.append(f"{' or '.join(words)} at {lr:g}{' (the paper)' if lr == paper_lr else ''}")
    best = "" if curve.best is None else f", best at {curve.best:g}{' (at the edge)' if curve.at_edge else ''}"
    return f"{curve.dataset}, {curve.loss}{best}: {', '.join(texts) or MISSING}."
