"""Whether LGL-INR gains on the pairs of classes that are hard to tell apart, as it claims. Pure, no torch.

The paper's mechanism: weights lambda_jk name the classes j that classifier k confuses, and errors of j taken for k
become fewer for it. If so, the share of LGL's errors that LGL-INR avoids is larger for pairs that are more confusable.
How confusable a pair is, is read from SML's errors, which neither of the two made: with LGL's own errors on both sides
chance alone would make a correlation. Any loss that learns more than LGL gains somewhere, so SML, which has no weights,
is the control: its gain beside LGL-INR's errors and weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lossbench.studies.aaai20 import figure1
from lossbench.studies.aaai20.keys import LGL, LGL_INR, SML
from lossbench.studies.cells import Cell, Part
from lossbench.studies.results import Results

Seed = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of one seed the confusion matrices of LGL, LGL-INR and SML, and LGL-INR's last weights, each [K, K]."""

NUM_NAMED = 3
"""Pairs that a table shows of those which the weights name."""


@dataclass(frozen=True)
class Ranks:
    """Rank correlations (Spearman) over the ordered pairs of classes, of one seed."""

    gain_confusability: float
    gain_weight: float
    weight_confusability: float
    control_confusability: float  # SML's gain and LGL-INR's errors
    control_weight: float  # SML's gain and LGL-INR's weights
    num_pairs: int  # that LGL or LGL-INR confuses; the others tell no gain


def relative_gain(lgl: np.ndarray, inr: np.ndarray) -> np.ndarray:
    """LGL's errors less LGL-INR's over their sum, by true and predicted class, [K, K]: in -1..1, nan without any."""
    with np.errstate(invalid="ignore"):
        gain: np.ndarray = (lgl - inr) / (lgl + inr).astype(float)
    np.fill_diagonal(gain, np.nan)
    return gain


def ranks(lgl: np.ndarray, inr: np.ndarray, sml: np.ndarray, weights: np.ndarray) -> Ranks:
    """How gain, weight and confusability go together over the pairs of classes.

    Args:
        lgl: confusion matrix, rows true and columns predicted classes, [K, K].
        inr: LGL-INR's.
        sml: SML's, whose errors tell how confusable a pair is.
        weights: lambda_jk, row j and column k, [K, K].
    """
    gain, control = relative_gain(lgl, inr), relative_gain(lgl, sml)
    there = np.isfinite(gain)

    def rank(first: np.ndarray, second: np.ndarray, pairs: np.ndarray = there) -> float:
        if pairs.sum() < 3 or not np.ptp(first[pairs]) or not np.ptp(second[pairs]):
            return float("nan")
        return float(stats.spearmanr(first[pairs], second[pairs]).statistic)

    others = np.isfinite(control)
    return Ranks(
        rank(gain, sml),
        rank(gain, weights),
        rank(weights, sml),
        rank(control, inr, others),
        rank(control, weights, others),
        int(there.sum()),
    )


def named_pairs(weights: np.ndarray, num: int = NUM_NAMED) -> Sequence[tuple[int, int]]:
    """The pairs with the most weight, heaviest first: class j among the negatives of classifier k."""
    order = np.argsort(weights, axis=None)[::-1][:num]
    return [(int(place) // len(weights), int(place) % len(weights)) for place in order]


def seeds_of(results: Results, cells: Mapping[Part, Cell]) -> list[Seed]:
    """The seeds of which all three losses have their arrays.

    Args:
        results: the runs.
        cells: the cells of LGL, LGL-INR and SML on one data set and network, by loss.
    """
    matrices = {loss: figure1.confusions(results, cell) for loss, cell in cells.items()}
    weights = [results.arrays(config) for config in cells[LGL_INR].configs]
    return [
        (lgl, inr, sml, arrays["class_weights"][-1].astype(float))
        for lgl, inr, sml, arrays in zip(matrices[LGL], matrices[LGL_INR], matrices[SML], weights, strict=True)
        if lgl is not None and inr is not None and sml is not None and arrays is not None
        if "class_weights" in arrays
    ]
