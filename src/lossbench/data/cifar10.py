"""CIFAR-10."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.config.options import ImageDataset, Normalization, Sizes
from lossbench.config.registry import register_dataset
from lossbench.data import published
from lossbench.data.published import Source
from lossbench.data.subsets import Arrays


@register_dataset(label="CIFAR-10")
@dataclass
class Cifar10(ImageDataset):
    """CIFAR-10: 50,000 + 10,000 colour images of 32 x 32, ten classes."""

    name: str = "cifar10"
    normalization: Normalization = Normalization.dataset
    augment: bool = True  # random crop and horizontal flip
    crop_padding: int = 4  # pixels

    def sizes(self) -> Sizes:
        """Sizes of the published files."""
        return Sizes(50_000, 10_000, (3, 32, 32), 10)

    def class_names(self) -> tuple[str, ...]:
        """Class names as published."""
        return ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
        """The published arrays."""
        return published.load(self.name, runtime)


def _parse_cifar(files: Mapping[str, bytes]) -> Arrays:
    # Unpickling runs code: it happens only after the digests have shown the files to be the published ones.
    batches = {name: pickle.loads(content, encoding="latin1") for name, content in files.items()}
    train = [batches[f"data_batch_{number}"] for number in range(1, 6)]
    return {
        "train_images": np.concatenate([batch["data"] for batch in train]).reshape(-1, 3, 32, 32),
        "train_labels": np.concatenate([batch["labels"] for batch in train]).astype(np.uint8),
        "test_images": batches["test_batch"]["data"].reshape(-1, 3, 32, 32),
        "test_labels": np.asarray(batches["test_batch"]["labels"], np.uint8),
    }


published.SOURCES["cifar10"] = Source(
    "CIFAR10",
    "cifar-10-batches-py",
    {
        "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
        "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
        "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
        "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
        "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
        "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
    },
    _parse_cifar,
)
