"""The paper's figures, drawn from our runs: Figure 1 here, Figure 2 in `curves`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lossbench.report.blocks import Picture
from lossbench.report.classes import class_names
from lossbench.report.drawing import drawing
from lossbench.report.matrix import draw_matrix
from lossbench.report.panels import NARROW, WIDE, letters, lines, names_as_rows, panels
from lossbench.report.style import FAINT, STYLES, TEXT
from lossbench.report.wording import MISSING
from lossbench.runs.records import Record
from lossbench.statistics.inference import Pairs, paired_t
from lossbench.studies.aaai20 import grid as experiments
from lossbench.studies.aaai20.sections.curves import figure2
from lossbench.studies.tables import Filled

__all__ = ["Confusions", "confusions", "figure1", "figure1_classes", "figure2"]


@dataclass(frozen=True)
class Confusions:
    """The confusion matrices of one loss, and the counts that the paper's text prints of it."""

    loss: str
    dataset: str
    matrices: Mapping[int, np.ndarray]  # by seed: [K, K], images of class j (row) predicted as class k (column)
    paper: Mapping[tuple[int, int], int]  # by true and predicted class
    classes: tuple[str, ...] = ()  # names of the K classes; empty: their numbers

    @property
    def n(self) -> int:
        """Runs."""
        return len(self.matrices)

    @property
    def mean(self) -> np.ndarray:
        """The mean matrix; there must be a run."""
        mean: np.ndarray = np.mean(list(self.matrices.values()), axis=0)
        return mean

    def named(self, label: int) -> str:
        """A class by its name, or by its number where it has none."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def printed(self) -> list[str]:
        """Our mean beside each count of the paper's, in words."""
        mean = self.mean if self.n else np.zeros((0, 0))
        ours = {place: f"{mean[place]:.1f}" if max(place) < len(mean) else MISSING for place in self.paper}
        return [
            f"{self.named(true)} taken for {self.named(predicted)}: {ours[true, predicted]} (paper {count})"
            if true != predicted
            else f"{self.named(true)} right: {ours[true, predicted]} (paper {count})"
            for (true, predicted), count in self.paper.items()
        ]


@dataclass(frozen=True)
class ByClass:
    """The difference in accuracy of two losses, class by class.

    Args:
        contrast: in words.
        other: the loss that is subtracted.
        seeds: of the runs that are compared.
        differences: percentage points, [seeds, K]; nan for a class without images.
    """

    contrast: str
    other: str
    seeds: Sequence[int]
    differences: np.ndarray

    def marks(self, label: int) -> Iterator[dict[str, Any]]:
        """What is drawn of a class: each seed, and the mean with its 95 % interval."""
        values = self.differences[:, label]
        if not np.isfinite(values).any():
            return
        one = paired_t(Pairs(tuple(values.tolist()), 0, 0))
        for seed, value in zip(self.seeds, values.tolist(), strict=True):
            yield {"seed": str(seed), "difference_points": value}
        yield {
            "seed": "mean",
            "difference_points": one.mean,
            "low_points": one.low,
            "high_points": one.high,
            "n": one.n,
            "higher_in": int((values > 0).sum()),
        }


def confusions(filled: Filled) -> list[Confusions]:
    """The matrices behind Figure 1: of each loss on KMNIST, in the quick profile on digits."""
    found = []
    for cell, records in filled:
        if cell.dataset in ("KMNIST", "digits"):
            matrices = {
                int(record.fields["config"]["seed"]): matrix
                for record in records
                if (matrix := _confusion(record)) is not None
            }
            paper = experiments.paper_confusions().get(cell.config.loss.name, {}) if cell.dataset == "KMNIST" else {}
            num_classes = len(next(iter(matrices.values()), ()))
            names = class_names(cell.config.dataset.name, num_classes or 10)
            found.append(Confusions(cell.loss, cell.dataset, matrices, paper, names))
    return found


def figure1(found: Sequence[Confusions]) -> Picture:
    """Confusion matrices as in the paper's Figure 1: counts of test images, mean over the seeds."""
    marks = [
        {
            "loss": one.loss,
            "true": row,
            "true_class": one.named(row),
            "predicted": column,
            "predicted_class": one.named(column),
            "mean": value,
            "n": one.n,
            "paper": one.paper.get((row, column)),
        }
        for one in found
        if one.n
        for (row, column), value in np.ndenumerate(one.mean)
    ]
    framed = " Framed: the counts that the paper prints." if any(one.paper for one in found) else ""
    caption = (
        f"Figure 1. Confusion matrices on {found[0].dataset} test images, CNN2C, last epoch, mean of n runs. Rows are "
        "true classes, columns are predicted classes. The stronger a cell's colour, the more errors; all losses have "
        f"one scale. Means below 1 image are not written.{framed}"
    )
    said = [_confusion_in_words(one) if one.n else f"{one.loss}: {MISSING}." for one in found]
    alt = f"Confusion matrices on {found[0].dataset}. {' '.join(said)}"
    columns = ["loss", "true", "true_class", "predicted", "predicted_class", "mean", "n", "paper"]
    return Picture("figure1", drawing(_draw_matrices, list(found)), caption, alt, pd.DataFrame(marks, columns=columns))


def figure1_classes(found: Sequence[Confusions]) -> Picture:
    """What the paper reads from Figure 1: in which classes LGL-INR is more accurate than LGL, and than SML."""
    (first,) = [one for one in found if one.loss == "LGL-INR"]
    contrasts = []
    for other in (one for one in found if one.loss != "LGL-INR"):
        seeds = sorted(first.matrices.keys() & other.matrices.keys())
        pairs = [(first.matrices[seed], other.matrices[seed]) for seed in seeds]
        differences = np.array([_class_percents(one) - _class_percents(two) for one, two in pairs])
        contrasts.append(ByClass(f"{first.loss} - {other.loss}", other.loss, seeds, differences))
    names = [first.named(label) for label in range(max(_num_classes(one) for one in found) or 10)]
    marks = [
        {"contrast": one.contrast, "class": label, "class_name": names[label], **mark}
        for one in contrasts
        if one.seeds
        for label in range(one.differences.shape[1])
        for mark in one.marks(label)
    ]
    caption = (
        f"Figure 1 by class. Difference in accuracy on the {first.dataset} test images of each class, CNN2C, last "
        "epoch, paired over n seeds: a small dot is a seed, the large one their mean with its 95 % interval. Right: in "
        "how many seeds LGL-INR is higher. All panels have the same scale."
    )
    said = [_classes_in_words(one, names) for one in contrasts]
    alt = f"Differences in accuracy by class on {first.dataset}. {' '.join(said)}"
    columns = ["contrast", "class", "class_name", "seed", "difference_points"]
    columns += ["low_points", "high_points", "n", "higher_in"]
    table = pd.DataFrame(marks, columns=columns)
    return Picture("figure1_classes", drawing(_draw_classes, contrasts, names), caption, alt, table)


def _confusion(record: Record) -> np.ndarray | None:
    try:
        arrays = record.arrays()
    except ValueError:  # listed among what is in no table
        return None
    return None if arrays is None else arrays["confusion_matrix"]


def _num_classes(one: Confusions) -> int:
    return len(next(iter(one.matrices.values()), ()))


def _draw_matrices(found: Sequence[Confusions]) -> Figure:
    """A panel a loss, with the paper's counts below it."""
    names = [one.named(label) for one in found[:1] for label in range(max(map(_num_classes, found)))]
    below = 0.55 + letters(names if max(map(len, names), default=0) > 3 else [])
    printed = max(len(one.paper) for one in found)
    left, across = 0.35 + letters(names or ["0"]), 0.25
    side = (WIDE - left - 0.1 - across * (len(found) - 1)) / max(3, len(found))
    width = left + 0.1 + (side + across) * len(found) - across
    height = side + 0.3 + below + 0.17 * printed
    figure, grid = panels((width, height), 1, len(found), left=left, across=across, bottom=below + 0.17 * printed)
    means = {one.loss: one.mean for one in found if one.n}
    errors = [float((mean - np.diag(mean.diagonal())).max(initial=0)) for mean in means.values()]
    for axes, one in zip(grid[0], found, strict=True):
        if one.n:
            mean = means[one.loss]
            right = 100 * mean.trace() / mean.sum().clip(1)
            axes.set_title(f"{one.loss}: {right:.1f} % right, n={one.n}", fontsize=TEXT + 1)
            draw_matrix(axes, mean, names, STYLES[one.loss]["color"], max(*errors, 1.0), _written)
            for row, column in (place for place in one.paper if max(place) < len(mean)):
                frame = Rectangle((column, row), 1, 1, fill=False, edgecolor="black", linewidth=1.4, zorder=3)
                axes.add_patch(frame).set_clip_on(False)
        else:
            axes.set_title(f"{one.loss}, n=0", fontsize=TEXT + 1)
            _say_missing(axes)
        axes.set_xlabel("\n".join(["predicted class", *one.printed()]))
        if axes is not grid[0, 0]:
            axes.tick_params(labelleft=False)
    grid[0, 0].set_ylabel("true class")
    return figure


def _written(images: float) -> str:
    return f"{images:.0f}" if images >= 1 else ""


def _say_missing(axes: Axes) -> None:
    axes.text(0.5, 0.5, MISSING, ha="center", va="center", transform=axes.transAxes, fontsize=TEXT)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(FAINT)


def _confusion_in_words(one: Confusions) -> str:
    mean, right = one.mean, _class_percents(one.mean)
    wrong = mean - np.diag(mean.diagonal())
    row, column = (int(place) for place in np.unravel_index(wrong.argmax(), wrong.shape))
    lowest = ""
    if not np.isnan(right).all():
        lowest = f"least in class {one.named(int(np.nanargmin(right)))}, {np.nanmin(right):.1f} %; "
    return (
        f"{one.loss}, n={one.n}: {100 * mean.trace() / mean.sum().clip(1):.1f} % right, {lowest}"
        f"most often {one.named(row)} is taken for {one.named(column)}, {wrong.max():.1f} images."
    )


def _class_percents(matrix: np.ndarray) -> np.ndarray:
    """Accuracy of each class [K] in percent; nan for one without images."""
    totals = matrix.sum(axis=1)
    percents: np.ndarray = 100 * matrix.diagonal() / np.where(totals > 0, totals, np.nan)
    return percents


def _draw_classes(contrasts: Sequence[ByClass], names: Sequence[str]) -> Figure:
    """A panel a contrast and a row a class."""
    spans = [_span(one.differences) for one in contrasts]
    figure, grid = panels(
        (NARROW, 0.85 + 0.26 * len(names)),
        1,
        len(contrasts),
        left=0.15 + letters(names),
        right=0.45,
        across=0.5,
        widths=[high - low for low, high in spans],
    )
    for axes, one, span in zip(grid[0], contrasts, spans, strict=True):
        axes.set_title(f"{one.contrast}, n={len(one.seeds)}", fontsize=TEXT + 1)
        if not one.seeds:
            _say_missing(axes)
            continue
        style = STYLES[one.other]
        axes.axvline(0, color="black", linewidth=0.8)
        dots: list[tuple[float, float]] = []
        means: list[tuple[float, float]] = []
        ends: list[tuple[float, float]] = []
        for row, values in enumerate(one.differences.T):
            words = str(MISSING)
            if marks := list(one.marks(row)):
                *seeds, mean = marks
                dots += [(mark["difference_points"], row + 0.22) for mark in seeds]
                means.append((mean["difference_points"], row - 0.1))
                ends += [(mean["low_points"], row - 0.1), (mean["high_points"], row - 0.1), (math.nan, math.nan)]
                words = f"{mean['higher_in']}/{np.isfinite(values).sum()}"
            axes.text(1.02, row, words, va="center", fontsize=TEXT, transform=axes.get_yaxis_transform())
        for places, look in (
            (dots, {"marker": ".", "linestyle": "none", "markersize": 4, "alpha": 0.7}),
            (ends, {"linewidth": 1.2}),
            (means, {"marker": style["marker"], "linestyle": "none", "markersize": 5}),
        ):
            axes.plot(*np.array(places).reshape(-1, 2).T, color=style["color"], **look)
        names_as_rows(axes, names)
        axes.set(xlim=span, xlabel="difference (points)")
        axes.tick_params(labelleft=axes is grid[0, 0])
        lines(axes, "x")
    return figure


def _span(differences: np.ndarray) -> tuple[float, float]:
    """Ends of an axis that has room for all differences, for 0 and for a title."""
    known = [0.0, *differences[np.isfinite(differences)].ravel().tolist()]
    low, high = min(known), max(known)
    pad = 0.08 * max(high - low, 1.0)
    return low - pad, max(high, low + 4) + pad


def _classes_in_words(one: ByClass, names: Sequence[str]) -> str:
    mean = one.differences.mean(axis=0) if one.seeds else np.array([np.nan])
    if np.isnan(mean).all():
        return f"{one.contrast}: {MISSING}."
    least, most = int(np.nanargmin(mean)), int(np.nanargmax(mean))
    return (
        f"{one.contrast}, n={len(one.seeds)}: the mean is higher in {(mean > 0).sum()} of {np.isfinite(mean).sum()} "
        f"classes; from {mean[least]:+.1f} points in class {names[least]} to {mean[most]:+.1f} in class {names[most]}."
    )
