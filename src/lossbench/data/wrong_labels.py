"""Deliberately wrong training labels: all shifted by a constant, or some replaced at random."""

import numpy as np

from lossbench.config.options import DatasetConfig
from lossbench.system.seeds import generator


def wrong_labels(labels: np.ndarray, num_classes: int, config: DatasetConfig) -> np.ndarray:
    """The training labels that a config asks for; images held out for validation get them too, test images do not.

    The noise is the same for every seed of a run, and nested: a higher fraction has the wrong labels of a lower one.
    A wrong label is any of the other classes with the same probability (symmetric noise).

    Args:
        labels: true classes in 0..K-1, integers [N].
        num_classes: K.
        config: its options `label_shift` and `label_noise`.

    Returns:
        Classes in 0..K-1, in the type of `labels`, [N].
    """
    if config.label_shift is not None:
        labels = (labels.astype(np.int64) + config.label_shift) % num_classes
    if config.label_noise is not None:
        import torch

        random = generator(0, 0, "label noise")
        chosen = torch.randperm(len(labels), generator=random).numpy()
        added = torch.randint(1, num_classes, (len(labels),), generator=random).numpy()
        chosen = chosen[: round(config.label_noise * len(labels))]
        labels = labels.astype(np.int64)
        labels[chosen] = (labels[chosen] + added[chosen]) % num_classes
    return labels
