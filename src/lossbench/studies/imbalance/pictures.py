"""Pictures of Eq. 10 under imbalance, and of what class weights do to majority and minority."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from lossbench.config.options import ClassWeights
from lossbench.report.blocks import Picture
from lossbench.report.classes import class_names
from lossbench.report.drawing import drawing
from lossbench.report.panels import NARROW, WIDE, letters, lines, names_as_rows, panels
from lossbench.report.style import FAINT, STYLES, TEXT
from lossbench.report.wording import percent, seeds_told
from lossbench.statistics.adjustment import Accuracies
from lossbench.statistics.learning_property import LAW_FACTOR
from lossbench.studies.imbalance.law import BySeed, Law, Method, Runs
from lossbench.studies.imbalance.plan import LGL, LGL_INR, NUM_JUDGED, SML, WEIGHTED, Imbalanced

WORDS: Mapping[ClassWeights | None, str] = {
    None: "none",
    ClassWeights.sqrt_inverse: "square root",
    ClassWeights.effective: "effective number",
    ClassWeights.inverse: "inverse",
}
"""Class weights, as tables write them."""

METHODS: tuple[Method, Method] = ("logit adjustment", "threshold moving")
"""What is done to the predictions of a run without weights."""

SPLITS = {"train": "Training images", "test": "Test images"}
"""Images, as tables write them."""

Study = tuple[Imbalanced, Runs]

_RATIOS = (0.2, 0.3, 0.5, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Ratio:
    """Eq. 10 of two classes for one loss, kind of weights and images: measured over predicted, one value a run."""

    weights: str
    predicted: float
    loss: str
    split: str
    measured: tuple[float, ...]


@dataclass(frozen=True)
class Own:
    """The mean probability of a class on its own training images, one value a run."""

    group: str  # of classes that are trained together
    label: str
    loss: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Halves:
    """Accuracies of the larger and of the smaller half of the classes and of all, in percent, mean over seeds."""

    imbalance: str
    loss: str
    method: str
    n: int
    majority: float
    minority: float
    all: float


def results_of(runs: Runs, loss: str) -> dict[str, tuple[BySeed, Method | None]]:
    """The runs of a loss by weights and by method, where some finished or diverged."""
    found: dict[str, tuple[BySeed, Method | None]] = {}
    for (name, kind), by_seed in runs.items():
        if name == loss and (by_seed or by_seed.failed):
            found[WORDS[kind]] = by_seed, None
            if kind is None and loss in WEIGHTED:  # LGL-INR's law has no class sizes that could be taken out
                found |= {method: (by_seed, method) for method in METHODS}
    return found


def over_seeds(by_seed: BySeed, method: Method | None) -> Accuracies:
    """The mean accuracies of some runs, fractions."""
    every = [run.accuracies[method] for run in by_seed.values()]
    means = (np.mean([getattr(one, part) for one in every]) for part in ("majority", "minority", "all"))
    return Accuracies(*map(float, means))


def law_picture(laws: Sequence[Law], every: Sequence[Study]) -> Picture:
    """Eq. 10 of two classes by weights, and the probabilities that inverse weights give each class."""
    ratios = [
        Ratio(WORDS[law.weights], law.predicted, law.loss, law.split, tuple(float(value) for value in law.measured))
        for law in sorted(laws, key=lambda law: law.predicted)
    ]
    told = [
        f"{law.loss}, {WORDS[law.weights]}, {law.split}: predicted {law.predicted:.3f}, measured "
        f"{np.exp(np.mean(np.log(law.measured))):.3f}, n={len(law.measured)}."
        for law in laws
    ]
    own = []
    for (one, runs), loss in product(every[:NUM_JUDGED], (SML, LGL)):
        by_run = np.array([np.diag(run.means["train"]) for run in runs[loss, ClassWeights.inverse].values()])
        if len(by_run):
            names = class_names(one.dataset.name, by_run.shape[1], one.dataset.classes)
            group = f"{by_run.shape[1]} classes"
            own += [Own(group, name, loss, tuple(map(float, of))) for name, of in zip(names, by_run.T, strict=True)]
            values = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, by_run.mean(axis=0), strict=True))
            told.append(f"{one.label}, {loss}, own probability by class: {values}, n={len(by_run)}.")
    caption = (
        "Fashion-MNIST, CNN2C, last epoch; a marker is a run. Left: Eq. 10 with two classes, ten coats to one shirt, "
        "for each kind of weights (in brackets: the predicted ratio (1 - p00) / p10): measured over predicted, 1 where "
        f"the equation holds; band, a factor of {LAW_FACTOR:g}. Right: mean probability of the own class on training "
        "images with inverse weights: coat and shirt alone, and ten classes, the later five with a tenth of their "
        "images."
    )
    marks: list[dict[str, Any]] = [
        {"panel": "measured over predicted", "weights": one.weights, "predicted": one.predicted, "loss": one.loss}
        | {"images": one.split, "run": run, "value": value / one.predicted}
        for one in ratios
        for run, value in enumerate(one.measured)
    ]
    marks += [
        {"panel": "own probability", "classes": one.group, "class": one.label, "weights": "inverse", "loss": one.loss}
        | {"images": "train", "run": run, "value": value}
        for one in own
        for run, value in enumerate(one.values)
    ]
    columns = ["panel", "weights", "predicted", "classes", "class", "loss", "images", "run", "value"]
    alt = f"Eq. 10 under imbalance. {' '.join(told)}"
    return Picture("imbalance-law", drawing(_draw_law, ratios, own), caption, alt, pd.DataFrame(marks, columns=columns))


def _draw_law(ratios: Sequence[Ratio], own: Sequence[Own]) -> Figure:
    """Kinds of weights as rows left, classes as rows right."""
    kinds = {one.weights: f"{one.weights}\n({one.predicted:.3f})" for one in ratios}
    classes = list(dict.fromkeys((one.group, one.label) for one in own))
    left, between = 0.2 + letters(list(kinds)), 0.3 + letters([label for _, label in classes])
    figure, ((law, right),) = panels((NARROW, 3.9), 1, 2, left=left, top=0.72, bottom=0.45, across=between)
    law.axvspan(1 / LAW_FACTOR, LAW_FACTOR, color=FAINT, alpha=0.2, linewidth=0)
    law.axvline(1, color="black", linewidth=0.8)
    for one in ratios:
        shift = (0.24 if one.loss == LGL else -0.24) + (0.09 if one.split == "test" else -0.09)
        values = [value / one.predicted for value in one.measured]
        law.plot(values, [list(kinds).index(one.weights) + shift] * len(values), **_point(one.loss, one.split))
    names_as_rows(law, list(kinds.values()))
    law.set(xscale="log", xlabel="measured over predicted")
    shown = [value / one.predicted for one in ratios for value in one.measured]
    low, high = min([1 / LAW_FACTOR, *shown]) / 1.05, max([LAW_FACTOR, *shown]) * 1.05
    least = 0.16 * math.log(high / low)
    marks = [1.0]
    for mark in sorted(_RATIOS, key=lambda ratio: abs(math.log(ratio))):
        if low <= mark <= high and all(abs(math.log(mark / other)) >= least for other in marks):
            marks.append(mark)
    law.set_xlim(low, high)
    law.xaxis.set_major_locator(FixedLocator(marks))
    law.xaxis.set_major_formatter("{x:g}")
    law.xaxis.set_minor_locator(NullLocator())
    law.set_title("Eq. 10, by weights", fontsize=TEXT + 1)
    for item in own:
        shift = 0.15 if item.loss == LGL else -0.15
        y = classes.index((item.group, item.label)) + shift
        right.plot(item.values, [y] * len(item.values), **_point(item.loss, "train"))
    names_as_rows(right, [label for _, label in classes])
    for row in range(1, len(classes)):
        if classes[row][0] != classes[row - 1][0]:
            right.axhline(row - 0.5, color=FAINT, linewidth=1)
    right.set(xlabel="own probability")
    right.xaxis.set_major_locator(MaxNLocator(4))
    right.set_title("inverse weights", fontsize=TEXT + 1)
    for axes in (law, right):
        lines(axes, "x")
    signs = [
        Line2D([], [], label=f"{loss}, {images.lower()}", **_point(loss, split))
        for loss, (split, images) in product(WEIGHTED, SPLITS.items())
    ]
    figure.legend(handles=signs, loc="upper center", ncols=2, frameon=False, fontsize=TEXT, labelspacing=0.2)
    return figure


def _point(loss: str, split: str) -> dict[str, Any]:
    """A run's point, hollow for test images."""
    style = STYLES[loss]
    face = style["color"] if split == "train" else "white"
    return {"color": style["color"], "marker": style["marker"], "markerfacecolor": face, "ls": "none", "ms": 5}


def accuracy_picture(every: Sequence[Study]) -> Picture:
    """Accuracy of the two halves of the classes, by loss and method, a panel an imbalance."""
    found, told = [], []
    for (one, runs), loss in product(every, (SML, LGL, LGL_INR)):
        for method, (by_seed, done) in results_of(runs, loss).items():
            if by_seed and (loss, method) != (SML, METHODS[0]):  # the same as the other
                means = over_seeds(by_seed, done)
                halves = 100 * means.majority, 100 * means.minority, 100 * means.all
                found.append(Halves(one.label, loss, method, len(by_seed), *halves))
                told.append(
                    f"{one.label}, {loss}, {method}: majority {percent(means.majority, 1)}, minority "
                    f"{percent(means.minority, 1)}, n={len(by_seed)}."
                )
    caption = (
        "What class weights, logit adjustment and threshold moving do, on Fashion-MNIST with fewer images of some "
        "classes, CNN2C, last epoch: test accuracy, mean over n seeds. Filled: the smaller half of the classes; "
        "hollow: the larger half; tick: all. The shorter a line, the more alike the halves; right is better. For SML "
        "logit adjustment and threshold moving are the same; LGL-INR takes no weights. Each panel has its own range."
    )
    marks = [
        {"training_images": one.imbalance, "loss": one.loss, "method": one.method, "n": one.n}
        | {"minority_percent": one.minority, "majority_percent": one.majority, "all_percent": one.all}
        for one in found
    ]
    columns = ["training_images", "loss", "method", "n", "minority_percent", "majority_percent", "all_percent"]
    alt = f"Majority and minority accuracy. {' '.join(told)}"
    table = pd.DataFrame(marks, columns=columns)
    return Picture("imbalance-accuracy", drawing(_draw_accuracies, found), caption, alt, table)


def _draw_accuracies(found: Sequence[Halves]) -> Figure:
    """A row a loss and method, a panel an imbalance; a line joins the halves."""
    rows = [
        (loss, method)
        for loss, method in product((LGL, SML, LGL_INR), (*WORDS.values(), *METHODS))
        if any((one.loss, one.method) == (loss, method) for one in found)
    ]
    places = list(dict.fromkeys(one.imbalance for one in found))
    names = [f"{loss}, {method}" for loss, method in rows]
    size = WIDE if len(places) > 2 else NARROW, 1.25 + 0.25 * len(rows)
    left = 0.15 + letters(names)
    figure, grid = panels(size, 1, max(1, len(places)), left=left, top=0.75, bottom=0.45, across=0.22)
    for axes, place in zip(grid[0], places, strict=False):
        here = [one for one in found if one.imbalance == place]
        for loss in dict.fromkeys(one.loss for one in here):
            _draw_halves(axes, [one for one in here if one.loss == loss], rows, STYLES[loss])
        names_as_rows(axes, names)
        what, _, how = place.partition(", ")
        axes.set_title(f"{what},\n{how}, {seeds_told(one.n for one in here)}", fontsize=TEXT)
        axes.set_xlabel("accuracy (%)")
        axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.tick_params(labelleft=axes is grid[0, 0])
        for row in range(1, len(rows)):
            if rows[row][0] != rows[row - 1][0]:
                axes.axhline(row - 0.5, color=FAINT, linewidth=0.8)
        lines(axes, "x")
    point: dict[str, Any] = {"color": FAINT, "linestyle": "none", "marker": "o"}
    signs = [
        Line2D([], [], **point, label="smaller half of the classes"),
        Line2D([], [], **point | {"markerfacecolor": "white"}, label="larger half"),
        Line2D([], [], **point | {"marker": "|", "markersize": 9}, label="all classes"),
    ]
    figure.legend(handles=signs, loc="upper center", ncols=3, frameon=False, fontsize=TEXT)
    return figure


def _draw_halves(
    axes: Axes, found: Sequence[Halves], rows: Sequence[tuple[str, str]], style: Mapping[str, Any]
) -> None:
    """The lines of one loss in one panel."""
    places = [rows.index((one.loss, one.method)) for one in found]
    minority, majority, every = ([getattr(one, what) for one in found] for what in ("minority", "majority", "all"))
    gaps = [math.nan] * len(found)
    joined = np.array([minority, majority, gaps]).T.ravel()
    axes.plot(joined, np.repeat(places, 3), color=style["color"], linewidth=1.2)
    points = {**style, "linestyle": "none", "markersize": 5.5}
    axes.plot(majority, places, **points | {"markerfacecolor": "white"})
    axes.plot(minority, places, **points)
    axes.plot(every, places, **points | {"marker": "|", "markersize": 9, "markeredgewidth": 1.4})
