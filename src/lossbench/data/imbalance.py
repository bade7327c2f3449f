"""Which classes, and how many images of each, does a subset have? Of labels alone."""

from collections.abc import Sequence

import numpy as np

from lossbench.config.options import Imbalance


def renumbered(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Labels of a subset of the classes, int64 [N]: their places in `classes`, -1 for those of other classes."""
    places = np.full(max(int(labels.max()), *classes) + 1, -1)
    places[list(classes)] = np.arange(len(classes))
    found: np.ndarray = places[labels]
    return found


def sizes_left(counts: np.ndarray, kind: str, ratio: float) -> np.ndarray:
    """Training images of each class that stay, int64 [K], at least 1 of each.

    Args:
        counts: images of each class before, [K], each >= 1.
        kind: "step": the second half of the classes (of an odd number the smaller half) keeps one in `ratio`;
            "long_tail": class k keeps ratio^(-k/(K - 1)), from all of class 0 to one in `ratio` of the last (Cui et al.
            2019).
        ratio: of the largest to the smallest share that stays, > 1.

    Raises:
        ValueError: the kind is unknown.
    """
    places = np.arange(len(counts))
    match Imbalance(kind):
        case Imbalance.step:
            shares = np.where(places < (len(counts) + 1) // 2, 1.0, 1 / ratio)
        case Imbalance.long_tail:
            shares = ratio ** (-places / max(1, len(counts) - 1))
    left: np.ndarray = np.maximum(1, np.rint(counts * shares)).astype(np.int64)
    return left
