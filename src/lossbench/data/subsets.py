"""The subset that a config trains and tests on: classes, wrong labels, validation, imbalance, number of images."""

import numpy as np

from lossbench.config.options import DatasetConfig
from lossbench.data.imbalance import renumbered, sizes_left
from lossbench.data.wrong_labels import wrong_labels
from lossbench.system.seeds import generator

VALIDATION_SEED = 1000  # of the split, see docs/statistics.md; no reported run has this seed

Arrays = dict[str, np.ndarray]
"""train_images and test_images, uint8 [N, C, H, W]; train_labels and test_labels, integers [N]."""


def stratified_permutation(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """A fixed random order of the samples in which the first n have the classes in proportion, for every n.

    Returns:
        Indices of the samples, int64 [N].
    """
    import torch

    labels = np.asarray(labels, np.int64)
    shuffled = torch.randperm(len(labels), generator=generator(seed, 0, "stratified permutation")).numpy()
    sizes = np.bincount(labels)[labels[shuffled]]
    place = (
        _place_in_class(labels[shuffled]) + 0.5
    ) / sizes  # relative, of a shuffled sample within its class, in 0..1
    return shuffled[np.argsort(place, kind="stable")]


def select(arrays: Arrays, config: DatasetConfig) -> Arrays:
    """The images and labels that a config asks for.

    Steps in this order: classes, wrong labels, validation, imbalance, number.

    Raises:
        ValueError: no image is left to train or to test on.
    """
    images, labels = arrays["train_images"], arrays["train_labels"]
    test_images, test_labels = arrays["test_images"], arrays["test_labels"]
    if config.classes is not None:
        images, labels = _of_classes(images, labels, config.classes)
        test_images, test_labels = _of_classes(test_images, test_labels, config.classes)
        for part, number in (("training", len(labels)), ("test", len(test_labels))):
            if number == 0:
                rule = f"dataset.classes must be classes that {config.name} has {part} images of, got {config.classes}"
                raise ValueError(f"{rule}, which have none")
    if config.label_shift is not None or config.label_noise is not None:
        num_classes = config.sizes().num_classes if config.classes is None else len(config.classes)
        labels = wrong_labels(labels, num_classes, config).astype(labels.dtype)
    if config.num_validation is not None:
        order = stratified_permutation(labels, VALIDATION_SEED)
        held, rest = order[: config.num_validation], order[config.num_validation :]
        test_images, test_labels, images, labels = images[held], labels[held], images[rest], labels[rest]
    if config.imbalance is not None and config.imbalance_ratio is not None:
        left = sizes_left(np.bincount(labels), config.imbalance, config.imbalance_ratio)
        order = stratified_permutation(labels)
        chosen = np.sort(order[_place_in_class(labels[order]) < left[labels[order]]])
        images, labels = images[chosen], labels[chosen]
    if config.num_train is not None:
        chosen = stratified_permutation(labels)[: config.num_train]
        images, labels = images[chosen], labels[chosen]
    return {"train_images": images, "train_labels": labels, "test_images": test_images, "test_labels": test_labels}


def _place_in_class(labels: np.ndarray) -> np.ndarray:
    """How many samples before each have its class, int64 [N]."""
    together = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[together], return_index=True, return_counts=True)
    places = np.empty(len(labels), np.int64)
    places[together] = np.arange(len(labels)) - np.repeat(first, sizes)
    return places


def _of_classes(images: np.ndarray, labels: np.ndarray, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The images of some classes, renumbered in the given order."""
    labels = renumbered(labels, classes)
    return images[labels >= 0], labels[labels >= 0]
