"""Test labels and training class sizes of published data sets, known without their files.

tools/write_labels.py writes them to `labels.npz` beside this module.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from lossbench.data.imbalance import renumbered, sizes_left


def test_labels(dataset: Mapping[str, Any]) -> np.ndarray | None:
    """True classes of the images that a run was tested on, uint8 [N], in the order of its `test_predictions`.

    Args:
        dataset: `config["dataset"]` of the run's record.

    Returns:
        The labels; None if the run was tested on other data or on held-out training images.
    """
    labels = None if dataset.get("num_validation") else _labels().get(f"{dataset['name']}_test")
    classes = dataset.get("classes")
    if labels is None or classes is None:
        return labels
    labels = renumbered(labels, classes)
    return labels[labels >= 0].astype(np.uint8)


def train_counts(dataset: Mapping[str, Any]) -> np.ndarray | None:
    """Number of images of each class that a run was trained on, int64 [K].

    Args:
        dataset: `config["dataset"]` of the run's record.

    Returns:
        The counts; None for other data, or if the run used part of it or wrong labels.
    """
    if any(dataset.get(key) for key in ("num_validation", "num_train", "label_noise", "label_shift")):
        return None
    counts = _labels().get(f"{dataset['name']}_train_counts")
    if counts is not None and dataset.get("classes") is not None:
        counts = counts[dataset["classes"]]
    if counts is not None and dataset.get("imbalance") is not None:
        counts = sizes_left(counts, str(dataset["imbalance"]), float(dataset["imbalance_ratio"]))
    return counts


@cache
def _labels() -> dict[str, np.ndarray]:
    with as_file(files("lossbench.data").joinpath("labels.npz")) as path, np.load(path) as arrays:
        found = dict(arrays)
    for array in found.values():
        array.flags.writeable = False  # the cached arrays are shared
    return found
