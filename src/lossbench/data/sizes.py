"""Sizes of the subset that a config trains and tests on, known before samples are read."""

import numpy as np

from lossbench.config.options import DatasetConfig, Sizes
from lossbench.config.registry import plugin_faults
from lossbench.data.imbalance import sizes_left


def sizes(config: DatasetConfig) -> Sizes:
    """Sizes of the subset that a config describes.

    With `classes`, unless the data set counts them, and with `imbalance` the numbers assume classes of equal size.

    Raises:
        ValueError: it asks for more training samples than there are, or names a file that is no data set.
    """
    with plugin_faults("dataset", config.name, "sizes"):
        full = config.sizes()
    num_train, num_test, num_classes = full.num_train, full.num_test, full.num_classes
    if config.classes is not None:
        if max(config.classes) >= num_classes:
            known = f"in 0..{num_classes - 1} for {config.name}"
            raise ValueError(f"dataset.classes must be {known}, got {config.classes}")
        with plugin_faults("dataset", config.name, "sizes_of"):
            num_train, num_test = config.sizes_of(config.classes)
        num_classes = len(config.classes)
    if config.num_validation is not None:
        if config.num_validation >= num_train:
            raise ValueError(f"dataset.num_validation must be < {num_train}, got {config.num_validation}")
        num_train, num_test = num_train - config.num_validation, config.num_validation
    if config.imbalance is not None and config.imbalance_ratio is not None:
        share = np.full(num_classes, num_train // num_classes)
        num_train = int(sizes_left(share, config.imbalance, config.imbalance_ratio).sum())
    if config.num_train is not None and config.num_train > num_train:
        raise ValueError(f"dataset.num_train must be <= {num_train} for {config.name}, got {config.num_train}")
    return Sizes(config.num_train or num_train, num_test, full.shape, num_classes)
