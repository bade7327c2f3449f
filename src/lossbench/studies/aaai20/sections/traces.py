"""Losses epoch by epoch: how LGL-INR's weights evolve, and the gradients of the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from lossbench.config.registry import LABELS, labelled_loss
from lossbench.report.blocks import Block, Paragraph, Picture
from lossbench.report.classes import class_names
from lossbench.report.drawing import drawing
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import FAINT, PALETTE, STYLES, TEXT
from lossbench.report.table import table
from lossbench.report.wording import in_words
from lossbench.statistics import learning_property
from lossbench.studies.aaai20 import mechanism, variants
from lossbench.studies.aaai20.keys import CNN2C, LGL_INR
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Cell, Key
from lossbench.studies.results import Results

Floats = NDArray[np.float64]

HUES: Mapping[str, int] = {"mnist": 3, "fmnist": 4, "kmnist": 5}
"""Of the data sets, in `style.PALETTE`: none of them is the colour of a loss of the paper."""

NUM_NAMED = 2  # pairs a data set


@dataclass(frozen=True)
class Band:
    """A line with a band around it, epoch by epoch.

    Args:
        panel: what is measured.
        of: the data set or the loss.
        pair: of classes; empty: all of them.
        middle: the line, [epochs].
        low: of the band, [epochs].
        high: likewise.
        n: runs.
    """

    panel: str
    of: str
    pair: str
    middle: Floats
    low: Floats
    high: Floats
    n: int


def weights_by_epoch(judge: Judge) -> list[Block]:
    """How far LGL-INR's weights are from uniform over training, and the pairs that they come to name."""
    known = {
        dataset: found
        for dataset in HUES
        if len(found := _kept(judge.results, judge.conditions["paper"][Key(CNN2C, dataset, LGL_INR)], "class_weights"))
    }
    if not known:
        return [Paragraph("No runs of LGL-INR with arrays yet.")]
    told: list[str] = []
    bands: list[Band] = []
    for name, weights in known.items():
        dataset, classes = LABELS[name], class_names(name, weights.shape[-1])
        uneven = np.array([[learning_property.unevenness(one) for one in seed] for seed in weights])  # [seeds, epochs]
        bands.append(_over_seeds("unevenness", dataset, "", uneven))
        pairs = mechanism.named_pairs(weights.mean(axis=0)[-1], NUM_NAMED)
        words = [f"{classes[j]} for {classes[k]}" for j, k in pairs]
        bands += [
            _over_seeds("lambda", dataset, pair, weights[:, :, j, k]) for (j, k), pair in zip(pairs, words, strict=True)
        ]
        ends = [f"{pair} {weights[:, -1, j, k].mean():.3f}" for (j, k), pair in zip(pairs, words, strict=True)]
        told.append(
            f"{dataset}: unevenness {uneven[:, 0].mean():.3f} after the first epoch, {uneven[:, -1].mean():.3f} after "
            f"the last; {', '.join(ends)}; n={len(weights)}."
        )
        uniform = 1 / (weights.shape[-1] - 1)
    caption = (
        "LGL-INR's weights over training, CNN2C, on test images; lines are means over seeds, bands their range. Left: "
        "the share of a classifier's weight that would have to move to make it uniform, mean over classifiers. Right: "
        f"the {in_words(NUM_NAMED)} pairs of each data set with the largest weights after the last epoch; "
        '"shirt for coat" is the weight of the class shirt among the negatives of the classifier for coat. Gray line: '
        "the uniform weight."
    )
    alt = f"LGL-INR's weights by epoch. {' '.join(told)}"
    hues = {LABELS[name]: hue for name, hue in HUES.items()}
    return [Picture("weights", drawing(_draw_weights, bands, hues, uniform), caption, alt, _table(bands, "dataset"))]


def traced(results: Results) -> list[Block]:
    """The gradients of some images of each class, and how sure the network is of the class, epoch by epoch."""
    norms = {loss: _kept(results, cell, "gradient_norms") for loss, cell in variants.traced().items()}
    norms = {loss: found for loss, found in norms.items() if len(found)}
    if not norms:
        return [Paragraph("No runs with runtime.class_trace=true yet.")]
    means = {
        loss: np.diagonal(
            _kept(results, variants.traced()[loss], f"test_mean_{labelled_loss(loss).probabilities}_by_epoch"),
            axis1=2,
            axis2=3,
        )
        for loss in norms
    }
    rows, told = {}, []
    bands: list[Band] = []
    for loss, found in norms.items():
        by_class, own = found.mean(axis=0), means[loss].mean(axis=0)  # [epochs, K]
        classes = class_names(variants.traced()[loss].config.dataset.name, own.shape[1])
        extremes = partial(_extremes, classes=classes)
        bands += [
            Band(panel, loss, "", np.median(values, axis=1), values.min(axis=1), values.max(axis=1), len(found))
            for panel, values in (("gradient norm", by_class), ("own probability", own))
        ]
        rows[loss] = {"n": str(len(found))} | {
            f"{name}, {when}": told_as(values[epoch])
            for name, values, told_as in (("Gradient norm", by_class, _range), ("Own probability", own, extremes))
            for when, epoch in (("first epoch", 0), ("last", -1))
        }
        told.append(f"{loss}: gradient norms {_range(by_class[-1])} after the last epoch, n={len(found)}.")
    caption = (
        "Epoch by epoch, KMNIST, CNN2C, seeds of their own, mean over seeds. Lines are the median of the ten classes, "
        "bands their range. Left: the norm of a class's part of the loss gradient, on the first two training images of "
        "each class. These images are the same for all runs, and so few that the largest norm says more about the "
        "images than about the class. Losses differ in scale, so compare how the curves fall, not how high they are. "
        "Right: the mean probability of the own class on all test images, by each loss's own map."
    )
    words = (
        "Smallest and largest value over the ten classes, after the first and the last epoch; for the probability of "
        "the own class, the class is in brackets."
    )
    alt = f"Gradient norms and own probability by epoch. {' '.join(told)}"
    return [
        Picture("traces", drawing(_draw_traces, bands), caption, alt, _table(bands, "loss")),
        table(rows, ["Loss"], words),
    ]


def _over_seeds(panel: str, of: str, pair: str, values: Floats) -> Band:
    """Mean over seeds [seeds, epochs], and their range."""
    return Band(panel, of, pair, values.mean(axis=0), values.min(axis=0), values.max(axis=0), len(values))


def _table(bands: Sequence[Band], of: str) -> pd.DataFrame:
    """What is drawn: a row an epoch of a band."""
    marks = [
        {"quantity": band.panel, of: band.of, "pair": band.pair, "epoch": epoch, "middle": middle}
        | {"low": low, "high": high, "n": band.n}
        for band in bands
        for epoch, (middle, low, high) in enumerate(zip(band.middle, band.low, band.high, strict=True), 1)
    ]
    frame = pd.DataFrame(marks)
    return frame if any(band.pair for band in bands) else frame.drop(columns="pair")


def _draw_weights(bands: Sequence[Band], hues: Mapping[str, int], uniform: float) -> Figure:
    """Unevenness left, the pairs that are named right; the legend below has the pairs of a data set in a row."""
    num = len({band.of for band in bands})
    below = 0.55 + 0.19 * num
    figure, ((left, right),) = panels((NARROW, 2.6 + below), 1, 2, left=0.6, top=0.3, bottom=below, across=0.6)
    drawn: dict[str, list[Line2D]] = {}
    for band in bands:
        style = PALETTE[hues[band.of]]
        pairs = drawn.setdefault(band.of, [])
        look = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.8}
        if band.pair:
            look["linewidth"] = 1.0 if pairs else 1.8
            pairs.append(Line2D([], [], **look, label=f"{band.of}: {band.pair}"))
        _draw(right if band.pair else left, band, look)
    right.axhline(uniform, color=FAINT, linewidth=1, zorder=0)
    left.set(ylim=(0, None))
    left.set_title("unevenness", fontsize=TEXT + 1)
    right.set_title("weight of a pair of classes", fontsize=TEXT + 1)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        lines(axes)
    by_column = [pair for column in range(NUM_NAMED) for pairs in drawn.values() for pair in pairs[column : column + 1]]
    figure.legend(
        handles=by_column, loc="lower center", ncols=NUM_NAMED, frameon=False, fontsize=TEXT, handlelength=2.4
    )
    return figure


def _draw_traces(bands: Sequence[Band]) -> Figure:
    """Gradient norms left, probabilities right."""
    figure, ((left, right),) = panels((NARROW, 3.1), 1, 2, left=0.6, top=0.6, bottom=0.45, across=0.55)
    for band in bands:
        axes = left if band.panel == "gradient norm" else right
        look = {key: STYLES[band.of][key] for key in ("color", "linestyle")}
        _draw(axes, band, look | {"label": band.of})
    left.set(yscale="log")
    left.yaxis.set_major_formatter("{x:g}")
    left.set_title("norm of a class's gradient", fontsize=TEXT + 1)
    right.set_title("probability of the own class", fontsize=TEXT + 1)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        lines(axes)
    signs, names = left.get_legend_handles_labels()
    figure.legend(signs, names, loc="upper center", ncols=3, frameon=False, fontsize=TEXT, handlelength=2.4)
    return figure


def _draw(axes: Axes, band: Band, look: Mapping[str, Any]) -> None:
    epochs = np.arange(1, len(band.middle) + 1)
    axes.plot(epochs, band.middle, **look)
    axes.fill_between(epochs, band.low, band.high, color=look["color"], alpha=0.15, linewidth=0)


def _kept(results: Results, cell: Cell, name: str) -> Floats:
    """An array of every run of a cell that has it, [seeds, ...]; empty without any."""
    found = [results.arrays(config) for config in cell.configs]
    return np.array([one[name] for one in found if one is not None and name in one], np.float64)


def _range(values: Floats) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"


def _extremes(values: Floats, classes: Sequence[str]) -> str:
    least, greatest = int(np.argmin(values)), int(np.argmax(values))
    return f"{values[least]:.3f} ({classes[least]}) to {values[greatest]:.3f} ({classes[greatest]})"
