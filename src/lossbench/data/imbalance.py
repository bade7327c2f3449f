"""Classes of a subset and the number of images that imbalance leaves of each, computed from labels alone."""

from collections.abc import Sequence

import numpy as np

from lossbench.config.options import Imbalance


def renumbered(labels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Labels replaced by their position in `classes`, int64 [N]; -1 for other classes."""
    places = np.full(max(int(labels.max()), *classes) + 1, -1)
    places[list(classes)] = np.arange(len(classes))
    found: np.ndarray = places[labels]
    return found


def sizes_left(counts: np.ndarray, kind: str, ratio: float) -> np.ndarray:
    """Training images that imbalance leaves of each class, int64 [K], at least 1.

    Args:
        counts: images of each class before, [K], each >= 1.
        kind: "step": the second half of the classes (if K is odd, the smaller half) keeps one image in `ratio`;
            "long_tail": class k keeps the fraction ratio^(-k/(K - 1)), from all of class 0 to one in `ratio` of the
            last (Cui et al. 2019).
        ratio: ratio of the largest to the smallest fraction that is kept, > 1.

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
