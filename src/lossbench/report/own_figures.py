"""Figures of groups of runs: learning curves, confusion matrices and reliability, for any data set and loss."""

import math
import textwrap
from collections.abc import Mapping, Sequence, Sized

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lossbench.report.blocks import Picture
from lossbench.report.drawing import given
from lossbench.report.style import BLACK, FAINT, PALETTE, SMALL
from lossbench.statistics.calibration import Calibration

Curves = Mapping[str, np.ndarray]
"""Accuracies by split, "test" and "train": fractions, [runs, epochs]."""

_LETTERS = 46
"""Of the smallest text, in half of a figure's width."""

_DARKEST = 0.7
"""Of the colours of a matrix, on which black is still read."""

_WIDTH = 7.4
"""Inches of every figure."""


def learning_curves(name: str, title: str, groups: Mapping[str, Curves]) -> Picture:
    """Accuracy over the epochs, test and training: a line the mean of a group, a band the range of its runs.

    Args:
        name: stem of the picture's files.
        title: what the runs were trained on, in words.
        groups: by their names.
    """
    figure = Figure(figsize=(_WIDTH, 3.2 + _height_of_legend(groups)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    told = []
    for axes, split, words in zip(panels, ("test", "train"), ("test", "training"), strict=True):
        for style, (group, curves) in zip(PALETTE, groups.items(), strict=False):
            values = 100 * curves[split]
            epochs = np.arange(1, values.shape[1] + 1)
            mean = values.mean(axis=0)
            marker = style["marker"] if len(epochs) == 1 else None
            axes.plot(
                epochs,
                mean,
                color=style["color"],
                linestyle=style["linestyle"],
                marker=marker,
                label=_in_legend(group, values),
            )
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.2, lw=0)
            told.append(f"{group}, {words}: {mean[0]:.2f} % after epoch 1, {mean[-1]:.2f} % after epoch {len(epochs)}.")
        axes.set(xlabel="epoch", ylabel=f"{words} accuracy (%)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color=FAINT, alpha=0.3)
    _add_legend(figure, panels[0])
    caption = f"{title}: accuracy over the epochs; line, the mean over seeds; band, their range."
    return Picture(name, given(figure), caption, f"Learning curves. {' '.join(told)}")


def confusion_matrices(name: str, title: str, groups: Mapping[str, np.ndarray], classes: Sequence[str]) -> Picture:
    """Confusion matrices side by side: the rows of a class in percent of its test samples, all runs together.

    Args:
        name: stem of the picture's files.
        title: what the runs were trained on, in words.
        groups: counts by the groups' names, [K, K], the true class in rows.
        classes: their names, K of them.
    """
    columns = min(2, len(groups))
    rows = math.ceil(len(groups) / columns)
    side = _WIDTH / columns
    longest = max(map(len, classes))
    titles = {group: textwrap.fill(group, _LETTERS * 2 // columns) for group in groups}
    above = 0.15 * max(title.count("\n") + 1 for title in titles.values())
    size = _WIDTH, rows * (min(side, 4.6) + above) + 0.06 * longest
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    told = []
    for axes in grid.flat[len(groups) :]:
        axes.set_axis_off()
    for axes, (group, counts) in zip(grid.flat, groups.items(), strict=False):
        sizes = counts.sum(axis=1, keepdims=True)
        shares = 100 * np.divide(counts, sizes, out=np.zeros(counts.shape), where=sizes > 0)
        _draw_matrix(axes, shares, classes)
        axes.set_title(titles[group], fontsize=SMALL)
        told.append(f"{group}: {_confused(shares, classes)}")
    caption = (
        f"{title}: confusion matrices of the last epoch, in percent of a class's test samples, all seeds together; "
        "rows, the true class; columns, the predicted one."
    )
    return Picture(name, given(figure), caption, f"Confusion matrices. {' '.join(told)}")


def _draw_matrix(axes: Axes, shares: np.ndarray, classes: Sequence[str]) -> None:
    off = shares[~np.eye(len(shares), dtype=bool)]
    high = max(float(off.max(initial=0.0)), 1e-9)
    colours = shares.copy()
    np.fill_diagonal(colours, 0.0)
    edges = np.arange(len(shares) + 1)
    axes.pcolormesh(edges, edges, colours, cmap="Oranges", vmin=0, vmax=high / _DARKEST)
    size = SMALL - 2 if len(shares) <= 10 else SMALL - 4
    for (row, column), value in np.ndenumerate(shares):
        if value >= 0.05 or row == column:
            text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
            place = column + 0.5, row + 0.5
            axes.text(*place, text, ha="center", va="center", fontsize=size, color=BLACK)
    ticks = np.arange(len(shares)) + 0.5
    axes.set_xticks(ticks, labels=classes, fontsize=size, rotation=90 if max(map(len, classes)) > 2 else 0)
    axes.set_yticks(ticks, labels=classes, fontsize=size)
    axes.invert_yaxis()
    axes.tick_params(length=0)


def _confused(shares: np.ndarray, classes: Sequence[str]) -> str:
    """The mean of the diagonal, and the pair of classes that is confused most."""
    off = shares.copy()
    np.fill_diagonal(off, -1.0)
    true, predicted = divmod(int(off.argmax()), len(off))
    most = f"most often {classes[true]} is taken for {classes[predicted]}, {off[true, predicted]:.1f} %"
    return f"{np.diag(shares).mean():.1f} % of a class are right on average; {most}."


def reliability(name: str, title: str, groups: Mapping[str, Sequence[Calibration]]) -> Picture:
    """Accuracy over confidence, in bins of confidence, all runs of a group together; calibrated on the diagonal.

    Args:
        name: stem of the picture's files.
        title: what the runs were trained on, in words.
        groups: a calibration a run, by the groups' names.
    """
    figure = Figure(figsize=(_WIDTH, 4.2 + _height_of_legend(groups)), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    told = []
    for style, (group, runs) in zip(PALETTE, groups.items(), strict=False):
        by_run = np.array([run.counts for run in runs])  # [runs, bins]
        counts = by_run.sum(axis=0)
        known = counts > 0
        confidence, accuracy = (
            (np.nan_to_num([getattr(run, key) for run in runs]) * by_run).sum(axis=0)[known] / counts[known]
            for key in ("confidence", "accuracy")
        )
        axes.plot(confidence, accuracy, markersize=4, label=_in_legend(group, runs), **style)
        below.plot(confidence, 100 * counts[known] / counts.sum(), markersize=3, **style)
        ece = np.mean([run.scores.ece for run in runs])
        told.append(f"{group}: ECE {ece:.4f}, mean over n={len(runs)}.")
    axes.set(ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    below.set(xlabel="confidence", ylabel="samples (%)", yscale="log")
    for one in (axes, below):
        one.grid(color=FAINT, alpha=0.3)
    _add_legend(figure, axes)
    caption = (
        f"{title}: accuracy of the test samples over the probability of the predicted class, in 15 bins of equal "
        "width, all seeds together; on the diagonal both are equal. Below, how many samples a bin has."
    )
    return Picture(name, given(figure), caption, f"Reliability. {' '.join(told)}")


def _in_legend(group: str, runs: Sized) -> str:
    return textwrap.fill(f"{group} (n={len(runs)})", _LETTERS)


def _height_of_legend(groups: Mapping[str, object]) -> float:
    """Inches of a legend in two columns."""
    lines = [len(textwrap.wrap(f"{group} (n=10)", _LETTERS)) for group in groups]
    half = math.ceil(len(lines) / 2)
    return 0.2 + 0.14 * max(sum(lines[:half]), sum(lines[half:])) + 0.05 * half


def _add_legend(figure: Figure, axes: Axes) -> None:
    lines, labels = axes.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper left", ncols=2, fontsize=SMALL, frameon=False)
