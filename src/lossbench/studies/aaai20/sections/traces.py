"""Losses epoch by epoch: how LGL-INR's weights evolve, and the gradients of the classes."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lossbench.config.registry import LABELS, labelled_loss
from lossbench.report.blocks import Block, Paragraph, Picture
from lossbench.report.drawing import given
from lossbench.report.style import FAINT, SMALL, STYLES
from lossbench.report.table import table
from lossbench.statistics import learning_property
from lossbench.studies.aaai20 import mechanism, variants
from lossbench.studies.aaai20.keys import CNN2C, LGL_INR
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Cell, Key
from lossbench.studies.results import Results

Floats = NDArray[np.float64]

LINES: Mapping[str, str] = {"mnist": "-", "fmnist": "--", "kmnist": "-."}
NUM_NAMED = 2  # pairs a data set


def weights_by_epoch(judge: Judge) -> list[Block]:
    """How far LGL-INR's weights are from uniform over training, and the pairs that they come to name."""
    known = {
        dataset: found
        for dataset in LINES
        if len(found := _kept(judge.results, judge.conditions["paper"][Key(CNN2C, dataset, LGL_INR)], "class_weights"))
    }
    if not known:
        return [Paragraph("No runs of LGL-INR with arrays yet.")]
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    told = []
    for name, weights in known.items():
        dataset = LABELS[name]
        uneven = np.array([[learning_property.unevenness(one) for one in seed] for seed in weights])  # [seeds, epochs]
        _band(left, uneven, dataset, linestyle=LINES[name])
        pairs = mechanism.named_pairs(weights.mean(axis=0)[-1], NUM_NAMED)
        for (j, k), width in zip(pairs, (1.8, 1.0), strict=True):
            _band(right, weights[:, :, j, k], f"{dataset}: {j} for {k}", linestyle=LINES[name], linewidth=width)
        told.append(
            f"{dataset}: unevenness {uneven[:, 0].mean():.3f} after the first epoch, {uneven[:, -1].mean():.3f} after "
            f"the last; {', '.join(f'{j} for {k} {weights[:, -1, j, k].mean():.3f}' for j, k in pairs)}; "
            f"n={len(weights)}."
        )
        uniform = 1 / (weights.shape[-1] - 1)
    right.axhline(uniform, color=FAINT, linewidth=1)
    left.set(xlabel="epoch", ylabel="unevenness", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="$\\lambda_{jk}$")
    for axes in (left, right):
        axes.grid(color=FAINT, alpha=0.3)
        axes.legend(fontsize=SMALL)
    caption = (
        "LGL-INR's weights over training, CNN2C, on test images: left the share of a classifier's weight that lies "
        "elsewhere than uniform weights would have it, mean over classifiers; right the pairs that they name most in "
        "the end, class j among the negatives of k, beside the uniform weight. Lines are means over seeds, bands their "
        "range."
    )
    return [Picture("weights", given(figure), caption, f"LGL-INR's weights by epoch. {' '.join(told)}")]


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
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines, told = {}, []
    for loss, found in norms.items():
        by_class, own = found.mean(axis=0), means[loss].mean(axis=0)  # [epochs, K]
        _classes(left, by_class, loss)
        _classes(right, own, loss)
        lines[loss] = {"n": str(len(found))} | {
            f"{name}, {when}": told_as(values[epoch])
            for name, values, told_as in (("gradient norm", by_class, _range), ("own probability", own, _extremes))
            for when, epoch in (("first", 0), ("last", -1))
        }
        told.append(f"{loss}: gradient norms {_range(by_class[-1])} after the last epoch, n={len(found)}.")
    left.set(xlabel="epoch", ylabel="norm of a class's gradient", yscale="log")
    right.set(xlabel="epoch", ylabel="own class's mean probability")
    for axes in (left, right):
        axes.grid(color=FAINT, alpha=0.3)
        axes.legend(fontsize=SMALL)
    caption = (
        "Epoch by epoch, KMNIST, CNN2C, seeds of their own, mean over seeds: left the norm of a class's part of the "
        "loss gradient, on a probe of the first two training images of each class, right the mean "
        "probability of the own class on all test images by each loss's own map. Lines are the median of the ten "
        "classes, bands their range. The probe is the same for all runs, and so small that which class is greatest "
        "tells of its images, not of the class; heights also hold each loss's own scale, so compare how they fall."
    )
    extremes = (
        "The least and the greatest of the ten classes after the first and the last epoch, of the own probability with "
        "the class in brackets."
    )
    return [
        Picture("traces", given(figure), caption, f"Gradient norms and own probability by epoch. {' '.join(told)}"),
        table(lines, ["Loss"], extremes),
    ]


def _kept(results: Results, cell: Cell, name: str) -> Floats:
    """An array of every run of a cell that has it, [seeds, ...]; empty without any."""
    found = [results.arrays(config) for config in cell.configs]
    return np.array([one[name] for one in found if one is not None and name in one], np.float64)


def _band(axes: Axes, values: Floats, label: str, linestyle: str, linewidth: float = 1.5) -> None:
    """Mean over seeds [seeds, epochs], and their range."""
    epochs = np.arange(1, values.shape[1] + 1)
    (line,) = axes.plot(epochs, values.mean(axis=0), linestyle=linestyle, linewidth=linewidth, label=label)
    axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15, lw=0)


def _classes(axes: Axes, values: Floats, loss: str) -> None:
    """Median over classes [epochs, K], and their range."""
    style, epochs = STYLES[loss], np.arange(1, len(values) + 1)
    axes.plot(epochs, np.median(values, axis=1), color=style["color"], linestyle=style["linestyle"], label=loss)
    axes.fill_between(epochs, values.min(axis=1), values.max(axis=1), color=style["color"], alpha=0.15, lw=0)


def _range(values: Floats) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"


def _extremes(values: Floats) -> str:
    least, greatest = int(np.argmin(values)), int(np.argmax(values))
    return f"{values[least]:.3f} ({least}) to {values[greatest]:.3f} ({greatest})"
