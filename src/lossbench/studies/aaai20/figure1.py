"""Results by class and by image: the paper's text on Figure 1, and tests on images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lossbench.statistics import inference
from lossbench.statistics.inference import Prediction
from lossbench.statistics.same_images import Interval, SeedCounts, bootstrap_difference, mcnemar_seeds
from lossbench.studies.aaai20.grid import paper_confusions
from lossbench.studies.cells import Cell, Part
from lossbench.studies.results import Results

NUM_CLASSES = 10
SHIRT, COAT = 6, 4
"""Classes of Fashion-MNIST that the paper calls similar."""


@dataclass(frozen=True)
class Images:
    """Two losses on the same test images, as description: the exact test by seed, and a bootstrap over both."""

    seeds: SeedCounts
    bootstrap: Interval


@dataclass(frozen=True)
class Count:
    """A count of Figure 1 that the text prints, beside ours."""

    loss: Part
    true: int
    predicted: int
    paper: int
    ours: Prediction


@dataclass(frozen=True)
class SimilarClasses:
    """Shirts taken for coats and the reverse: LGL's beside SML's, mean over seeds."""

    n: int
    lgl: float
    sml: float
    num_more: int  # seeds in which LGL makes more of these errors
    share: float  # of the errors that LGL makes beyond SML's
    share_of_lgl: float  # of all errors that LGL makes
    share_of_sml: float


def confusions(results: Results, cell: Cell | None) -> list[np.ndarray | None]:
    """Confusion matrices of a cell, seed by seed; None where a run is not done, failed, or its arrays are missing."""
    arrays = [results.arrays(config) for config in cell.configs] if cell else []
    matrices = [None if one is None else one["confusion_matrix"] for one in arrays]
    return [None if one is None or one.shape != (NUM_CLASSES, NUM_CLASSES) else one for one in matrices]


def _right(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(matrix.diagonal() / matrix.sum(axis=1).clip(1))


FIGURE_1: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "figure-1-lgl-weak": lambda lgl, _: set(np.argsort(_right(lgl), kind="stable")[:2]) == {1, 2},
    "figure-1-inr-lifts": lambda inr, lgl: bool((_right(inr) > _right(lgl))[[1, 2]].all()),
    "figure-1-ten-classes": lambda inr, lgl: bool((_right(inr) > _right(lgl)).all()),
    "figure-1-nine-classes": lambda inr, sml: int((_right(inr) > _right(sml)).sum()) >= 9,
    "figure-1-but-class-1": lambda inr, sml: bool(_right(inr)[1] < _right(sml)[1]),
    "figure-1-zero-four": lambda inr, sml: bool(inr[0, 4] < sml[0, 4]),
}
"""What the paper says of one loss or two, by claim, asked of their confusion matrices [K, K]."""


def flags(results: Results, claim: str, first: Cell, second: Cell) -> list[bool | None]:
    """Whether a claim of Figure 1 is so, seed by seed; a diverged run counts against it, a missing one not at all."""
    found: list[bool | None] = []
    pairs = zip(first.configs, second.configs, strict=True)
    matrices = zip(confusions(results, first), confusions(results, second), strict=True)
    for (a, b), (one, other) in zip(pairs, matrices, strict=True):
        if any(results.name(config) in results.diverged for config in (a, b)):
            found.append(False)
        elif one is None or other is None or not results.paired(a, b):
            found.append(None)
        else:
            found.append(FIGURE_1[claim](one, other))
    return found


def counts(results: Results, cells: Mapping[Part, Cell]) -> list[Count]:
    """The counts that the paper's text prints, beside the prediction for one new run; cells by loss, on KMNIST."""
    found = []
    for name, printed in paper_confusions().items():
        loss = Part(name)
        matrices = confusions(results, cells.get(loss))
        for (true, predicted), paper in printed.items():
            values = [None if one is None else float(one[true, predicted]) for one in matrices]
            found.append(Count(loss, true, predicted, paper, inference.prediction_interval(values)))
    return found


def similar_classes(results: Results, lgl: Cell, sml: Cell) -> SimilarClasses | None:
    """Whether LGL's errors beyond SML's on Fashion-MNIST are between shirt and coat; None without a pair of runs."""
    pairs = [
        (one, other)
        for one, other in zip(confusions(results, lgl), confusions(results, sml), strict=True)
        if one is not None and other is not None
    ]
    if not pairs:
        return None
    similar = np.array([[one[SHIRT, COAT] + one[COAT, SHIRT] for one in pair] for pair in pairs], float)
    errors = np.array([[one.sum() - one.trace() for one in pair] for pair in pairs], float)
    beyond = (errors[:, 0] - errors[:, 1]).mean()
    share = float((similar[:, 0] - similar[:, 1]).mean() / beyond) if beyond > 0 else float("nan")
    num_more = int((similar[:, 0] > similar[:, 1]).sum())
    of_lgl, of_sml = similar.mean(axis=0) / errors.mean(axis=0)
    both = float(similar[:, 0].mean()), float(similar[:, 1].mean())
    return SimilarClasses(len(pairs), *both, num_more, share, float(of_lgl), float(of_sml))


def images(results: Results, first: Cell | None, second: Cell | None) -> Images | None:
    """Two losses on the same images; None without arrays of a pair of runs, or where the true classes are not known."""
    if first is None or second is None:
        return None
    labels, whole = None, []
    for a, b in zip(first.configs, second.configs, strict=False):
        pair = [results.arrays(config) for config in (a, b)] if results.paired(a, b) else []
        predictions = [one["test_predictions"] for one in pair if one is not None and "test_predictions" in one]
        known = [own for config in (a, b) if (own := results.test_labels(config)) is not None]
        if len(predictions) < 2 or len(known) < 2:
            continue
        labels = known[0] if labels is None else labels
        if not all(np.array_equal(own, labels) for own in known):
            raise ValueError(
                f"{results.name(a)} and {results.name(b)} were not tested on the same images as other seeds"
            )
        whole.append(predictions)
    if labels is None:
        return None
    one, other = np.swapaxes(np.array(whole), 0, 1)
    return Images(mcnemar_seeds(one, other, labels), bootstrap_difference(one, other, labels, 2_000))
