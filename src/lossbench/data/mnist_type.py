"""MNIST, Fashion-MNIST and KMNIST: three data sets in the same file format."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.config.options import ImageDataset, Sizes
from lossbench.config.registry import register_dataset
from lossbench.data import published
from lossbench.data.published import Source
from lossbench.data.subsets import Arrays

CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fmnist": (
        *("T-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}


@register_dataset(label={"mnist": "MNIST", "fmnist": "FMNIST", "kmnist": "KMNIST"})
@dataclass
class MnistType(ImageDataset):
    """MNIST, Fashion-MNIST or KMNIST: 60,000 + 10,000 gray images of 28 x 28, ten classes."""

    name: str = "mnist"

    def names(self) -> tuple[str, ...]:
        """The three data sets."""
        return tuple(CLASS_NAMES)

    def sizes(self) -> Sizes:
        """Sizes of the published files."""
        return Sizes(60_000, 10_000, (1, 28, 28), 10)

    def class_names(self) -> tuple[str, ...]:
        """Class names as published."""
        return CLASS_NAMES[self.name]

    def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
        """The published arrays."""
        return published.load(self.name, runtime)


def _parse_idx(files: Mapping[str, bytes]) -> Arrays:
    def images(name: str) -> np.ndarray:
        return np.frombuffer(files[name], np.uint8, offset=16).reshape(-1, 1, 28, 28)

    def labels(name: str) -> np.ndarray:
        return np.frombuffer(files[name], np.uint8, offset=8)

    return {
        "train_images": images("train-images-idx3-ubyte"),
        "train_labels": labels("train-labels-idx1-ubyte"),
        "test_images": images("t10k-images-idx3-ubyte"),
        "test_labels": labels("t10k-labels-idx1-ubyte"),
    }


def _mnist_type(torchvision: str, *digests: str) -> Source:
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return Source(torchvision, f"{torchvision}/raw", dict(zip(names, digests, strict=True)), _parse_idx)


published.SOURCES |= {
    "mnist": _mnist_type(
        "MNIST",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fmnist": _mnist_type(
        "FashionMNIST",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "kmnist": _mnist_type(
        "KMNIST",
        "7112ba9ec422d98de4885262d4a4dff14cc4fefb81c11ace8bf563a8255df5c3",
        "2a16eeae62da984b8bd24fa32e31d47291f01dac3fe84d5594f304f71e7d374b",
        "76fbd229ce87db80dd281af5e6670de4ad0e42fb30a7bd643972994c47c1f42e",
        "a11dc742be8e781a40a92f53d6a4957e7b7d36df2faa097659131ebfd8fd60c6",
    ),
}
