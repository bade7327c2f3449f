"""Figures of groups of runs: learning curves, confusion matrices and reliability, for any data set and loss."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.matrix import draw_matrix
from lossbench.report.panels import NARROW, WIDE, accuracy_axis, letters, lines, panels
from lossbench.report.style import PALETTE, SMALL, TEXT
from lossbench.statistics.calibration import Calibration

Curves = Mapping[str, np.ndarray]
"""Accuracies by split, "test" and "train": fractions, [runs, epochs]."""

_LETTERS = 34
"""Of a legend's column."""

_LINE = 0.16
"""Inches of a line of text."""

_CELL = 0.255
"""Inches of a cell of a matrix, in which a number has room."""

_BETWEEN = 0.2
"""Inches between two matrices."""

_MANY = 0.02
"""Share of the samples from which a bin has a large marker."""


@dataclass(frozen=True)
class Bins:
    """The samples of all runs of a group, in bins of confidence.

    Args:
        group: its name.
        n: runs.
        confidence: mean of a bin, percent, [bins].
        accuracy: likewise.
        samples: in a bin, [bins].
    """

    group: str
    n: int
    confidence: np.ndarray
    accuracy: np.ndarray
    samples: np.ndarray


def learning_curves(name: str, title: str, groups: Mapping[str, Curves]) -> Picture:
    """Accuracy over the epochs, test and training: a line the mean of a group, a band the range of its runs.

    Args:
        name: stem of the picture's files.
        title: what the runs were trained on, in words.
        groups: by their names.
    """
    percents = {group: {split: 100 * values for split, values in curves.items()} for group, curves in groups.items()}
    marks = [
        {"group": group, "split": split, "epoch": epoch, "n": len(one)}
        | {"mean_percent": one.mean(), "low_percent": one.min(), "high_percent": one.max()}
        for group, curves in percents.items()
        for split, values in curves.items()
        for epoch, one in enumerate(values.T, 1)
    ]
    told = []
    for split, words in (("test", "test"), ("train", "training")):
        for group, curves in percents.items():
            mean = curves[split].mean(axis=0)
            told.append(f"{group}, {words}: {mean[0]:.2f} % after epoch 1, {mean[-1]:.2f} % after epoch {len(mean)}.")
    caption = (
        f"{title}: accuracy over the epochs; line, the mean over n seeds; band, their range. The axis is logarithmic "
        "in the error; each panel has its own range, without the first epochs."
    )
    columns = ["group", "split", "epoch", "n", "mean_percent", "low_percent", "high_percent"]
    alt = f"Learning curves. {' '.join(told)}"
    return Picture(name, drawing(_draw_curves, percents), caption, alt, pd.DataFrame(marks, columns=columns))


def _draw_curves(percents: Mapping[str, Curves]) -> Figure:
    """Test images left, training images right."""
    counts = {group: len(curves["test"]) for group, curves in percents.items()}
    above = _height_of_legend(counts)
    size = NARROW, 2.9 + above
    figure, grid = panels(size, 1, 2, left=0.55, top=0.3 + above, bottom=0.45, across=0.55)
    for axes, split, words in zip(grid[0], ("test", "train"), ("test", "training"), strict=True):
        late: list[float] = []
        for style, curves in zip(PALETTE, percents.values(), strict=False):
            values = curves[split]
            epochs = np.arange(1, values.shape[1] + 1)
            line = {key: style[key] for key in ("color", "linestyle")}
            axes.plot(epochs, values.mean(axis=0), marker=style["marker"] if len(epochs) == 1 else None, **line)
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
            late += values[:, len(epochs) // 5 :].ravel().tolist()
        accuracy_axis(axes, late)
        axes.set_title(f"{words} accuracy (%)", fontsize=TEXT + 1)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        lines(axes)
    _add_legend(figure, counts)
    return figure


def confusion_matrices(name: str, title: str, groups: Mapping[str, np.ndarray], classes: Sequence[str]) -> Picture:
    """Confusion matrices side by side: the rows of a class in percent of its test samples, all runs together.

    Args:
        name: stem of the picture's files.
        title: what the runs were trained on, in words.
        groups: counts by the groups' names, [K, K], the true class in rows.
        classes: their names, K of them.
    """
    shares, marks, told = {}, [], []
    for group, counts in groups.items():
        sizes = counts.sum(axis=1, keepdims=True)
        shares[group] = 100 * np.divide(counts, sizes, out=np.zeros(counts.shape), where=sizes > 0)
        told.append(f"{group}: {_confused(shares[group], classes)}")
        marks += [
            {"group": group, "true_class": classes[row], "predicted_class": classes[column], "samples": int(count)}
            | {"percent": shares[group][row, column]}
            for (row, column), count in np.ndenumerate(counts)
        ]
    caption = (
        f"{title}: confusion matrices of the last epoch, in percent of a class's test samples, all seeds together. "
        "Rows are true classes, columns are predicted classes. The stronger a cell's colour, the more errors; all "
        "matrices have one scale. Up to 0.5 % is not written."
    )
    columns = ["group", "true_class", "predicted_class", "samples", "percent"]
    alt = f"Confusion matrices. {' '.join(told)}"
    data = pd.DataFrame(marks, columns=columns)
    return Picture(name, drawing(_draw_matrices, shares, list(classes)), caption, alt, data)


def _draw_matrices(shares: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """As many matrices in a row as there is room for."""
    side, names = max(2.2, _CELL * len(classes)), 0.4 + letters(classes)
    columns = max(1, min(len(shares), int((WIDE - names) / (side + _BETWEEN))))
    rows = math.ceil(len(shares) / columns)
    below = 0.25 + (letters(classes) if max(map(len, classes)) > 3 else 0.15)
    titles = {group: textwrap.fill(group, int(side / 0.08)) for group in shares}
    above = 0.15 + _LINE * max(title.count("\n") + 1 for title in titles.values())
    size = names + columns * (side + _BETWEEN), rows * (side + below + above) + 0.1
    figure, grid = panels(
        size,
        rows,
        columns,
        left=names,
        right=_BETWEEN,
        top=above,
        bottom=below + 0.1,
        across=_BETWEEN,
        down=below + above,
    )
    most = max(float((one - np.diag(one.diagonal())).max(initial=0)) for one in shares.values())
    for axes in grid.flat[len(shares) :]:
        axes.set_axis_off()
    for axes, style, (group, one) in zip(grid.flat, PALETTE, shares.items(), strict=False):
        draw_matrix(axes, one, classes, style["color"], max(most, 1.0), _written)
        axes.set_title(titles[group], fontsize=TEXT)
        axes.tick_params(labelleft=axes in grid[:, 0])
    for axes in grid[:, 0]:
        axes.set_ylabel("true class", fontsize=SMALL)
    for axes in grid[-1]:
        axes.set_xlabel("predicted class", fontsize=SMALL)
    return figure


def _written(percent: float) -> str:
    return f"{percent:.0f}" if percent > 0.5 else ""


def _confused(shares: np.ndarray, classes: Sequence[str]) -> str:
    """The mean of the diagonal, and the pair of classes that is confused most."""
    off = shares.copy()
    np.fill_diagonal(off, -1.0)
    true, predicted = divmod(int(off.argmax()), len(off))
    most = f"most often {classes[true]} is taken for {classes[predicted]}, {off[true, predicted]:.1f} %"
    return f"{np.diag(shares).mean():.1f} % of a class are right on average; {most}."


def reliability(name: str, title: str, groups: Mapping[str, Sequence[Calibration]]) -> Picture:
    """Accuracy less confidence over confidence, in bins of confidence, all runs of a group together.

    Args:
        name: stem of the picture's files.
        title: what the runs were trained on, in words.
        groups: a calibration a run, by the groups' names.
    """
    bins, told = [], []
    for group, runs in groups.items():
        by_run = np.array([run.counts for run in runs])  # [runs, bins]
        counts = by_run.sum(axis=0)
        known = counts > 0
        confidence, accuracy = (
            100 * (np.nan_to_num([getattr(run, key) for run in runs]) * by_run).sum(axis=0)[known] / counts[known]
            for key in ("confidence", "accuracy")
        )
        bins.append(Bins(group, len(runs), confidence, accuracy, counts[known]))
        ece = np.mean([run.scores.ece for run in runs])
        told.append(f"{group}: ECE {ece:.4f}, mean over n={len(runs)}.")
    caption = (
        f"{title}: accuracy of the test samples minus the probability of the predicted class (confidence), in 15 bins "
        "of equal width, all n seeds together. At 0 both are equal; below 0, overconfident. Large markers: bins with "
        f"{100 * _MANY:g} % of a group's samples or more."
    )
    marks = [
        {"group": one.group, "n": one.n, "confidence_percent": confidence, "accuracy_percent": accuracy}
        | {"samples": int(samples)}
        for one in bins
        for confidence, accuracy, samples in zip(one.confidence, one.accuracy, one.samples, strict=True)
    ]
    columns = ["group", "n", "confidence_percent", "accuracy_percent", "samples"]
    alt = f"Reliability. {' '.join(told)}"
    return Picture(name, drawing(_draw_reliability, bins), caption, alt, pd.DataFrame(marks, columns=columns))


def _draw_reliability(bins: Sequence[Bins]) -> Figure:
    """One panel, a line a group."""
    counts = {one.group: one.n for one in bins}
    above = _height_of_legend(counts)
    figure, ((axes,),) = panels((NARROW, 2.9 + above), left=0.6, top=0.1 + above, bottom=0.45)
    axes.axhline(0, color="black", linewidth=0.8)
    for style, one in zip(PALETTE, bins, strict=False):
        gaps = one.accuracy - one.confidence
        axes.plot(one.confidence, gaps, color=style["color"], linestyle=style["linestyle"], linewidth=1)
        many = one.samples >= _MANY * one.samples.sum()
        for chosen, size in ((~many, 3.0), (many, 5.5)):
            point = {"color": style["color"], "marker": style["marker"], "markersize": size, "linestyle": "none"}
            axes.plot(one.confidence[chosen], gaps[chosen], **point)
    axes.set(xlabel="confidence (%)", ylabel="accuracy - confidence (points)")
    axes.set_xlim(right=102)
    lines(axes)
    _add_legend(figure, counts)
    return figure


def _in_legend(group: str, n: int) -> str:
    return textwrap.fill(f"{group} (n={n})", _LETTERS)


def _height_of_legend(counts: Mapping[str, int]) -> float:
    """Inches of a legend in two columns."""
    heights = [1 + _in_legend(group, n).count("\n") for group, n in counts.items()]
    half = math.ceil(len(heights) / 2)
    return 0.15 + _LINE * max(sum(heights[:half]), sum(heights[half:])) + 0.04 * half


def _add_legend(figure: Figure, counts: Mapping[str, int]) -> None:
    signs = [
        Line2D([], [], markersize=5, **style, label=_in_legend(group, n))
        for style, (group, n) in zip(PALETTE, counts.items(), strict=False)
    ]
    figure.legend(handles=signs, loc="upper left", ncols=2, fontsize=TEXT, frameon=False, handlelength=2.4)
