"""Measures of a classifier of many classes by how frequent they are in training: macro recall, and numbers by band.

Classes are sorted by their number of training samples, the most frequent one first, equals in the order of their
labels. The head has the first classes until they hold 50 % of the training samples, the middle those after them until
80 %, the tail the rest: a class belongs to the first band whose limit the more frequent classes alone do not reach.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BANDS = {"head": 50, "middle": 80, "tail": 100}
"""The bands, the most frequent classes first, and the percentage of the training samples at which each ends."""


def bands(class_counts: NDArray[Any]) -> NDArray[np.int64]:
    """Band of each class as its place in `BANDS`, int64 [K].

    Args:
        class_counts: training samples of each class, integers [K], of which some are positive.
    """
    counts = np.asarray(class_counts, np.int64)
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]  # samples of the more frequent classes
    ends = [percent * counts.sum() for percent in BANDS.values()][:-1]
    found = np.empty(len(counts), np.int64)
    found[order] = np.searchsorted(ends, 100 * before, side="right")
    return found


def macro_recall(predictions: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean over the classes with samples of the share of their samples that are predicted right; nan without samples.

    Args:
        predictions: predicted classes, integers [N].
        labels: true classes, integers [N].
    """
    num = np.bincount(labels)
    right = np.bincount(labels[predictions == labels], minlength=len(num))
    present = num > 0
    return float((right[present] / num[present]).mean()) if present.any() else float("nan")


def by_frequency(
    predictions: NDArray[Any], labels: NDArray[Any], nll: NDArray[Any], class_counts: NDArray[Any]
) -> dict[str, Any]:
    """The fields of a record that measure rare classes too.

    Args:
        predictions: predicted classes of the test samples, integers [N].
        labels: their classes, integers [N].
        nll: minus the logarithm of the softmax of each sample's class, in nats, [N].
        class_counts: training samples of each class, [K].

    Returns:
        `macro_recall`, a fraction; and `by_frequency`, for each band the number of `classes` and of `test_samples`,
        and `accuracy` and mean `nll` of these, None without samples or where the NLL is not finite.
    """
    labels = np.asarray(labels).astype(np.int64)
    right, of_class = np.asarray(predictions) == labels, bands(class_counts)
    of_sample, found = of_class[labels], {}
    for place, name in enumerate(BANDS):
        chosen = of_sample == place
        found[name] = {
            "classes": int((of_class == place).sum()),
            "test_samples": int(chosen.sum()),
            "accuracy": _mean(right[chosen]),
            "nll": _mean(nll[chosen]),
        }
    return {"macro_recall": macro_recall(predictions, labels), "by_frequency": found}


def _mean(values: NDArray[Any]) -> float | None:
    mean = float(np.mean(values, dtype=np.float64)) if len(values) else float("nan")
    return mean if np.isfinite(mean) else None
