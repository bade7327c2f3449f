"""scikit-learn's digits, which need no download."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.options import ImageDataset, Normalization, Sizes, require
from lossbench.config.registry import register_dataset
from lossbench.data.subsets import stratified_permutation

NUM_IMAGES, NUM_TRAIN = 1797, 1497


@register_dataset(label="digits")
@dataclass
class Digits(ImageDataset):
    """scikit-learn's 1,797 real 8 x 8 digits, enlarged: 1,497 to train and 300 to test. Needs no download."""

    name: str = "digits"
    normalization: Normalization = Normalization.dataset
    image_shape: list[int] = field(default_factory=lambda: [1, 28, 28])  # channels, height, width
    augment: bool = False
    crop_padding: int = 4  # pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.image_shape
        valid = len(shape) == 3 and shape[0] in (1, 3) and all(8 <= side <= 224 for side in shape[1:])
        require(valid, "dataset.image_shape", "[1 or 3, height, width] with sides in 8..224", shape)

    def sizes(self) -> Sizes:
        """Sizes of the two parts of scikit-learn's set."""
        return Sizes(NUM_TRAIN, NUM_IMAGES - NUM_TRAIN, tuple(self.image_shape), 10)

    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple("0123456789")

    def variant(self) -> str:
        """The size to which the images are enlarged."""
        return "x".join(map(str, self.image_shape))

    def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
        """The images, enlarged and split into training and test set."""
        import torch
        import torch.nn.functional as F

        pixels, labels = _bundled()
        channels, height, width = self.image_shape
        small = torch.from_numpy(pixels)[:, None] * (255 / 16)  # [1797, 1, 8, 8], 0..255
        large = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
        images = large.round().to(torch.uint8).expand(-1, channels, -1, -1).numpy()
        order = stratified_permutation(labels)
        train, test = order[:NUM_TRAIN], order[NUM_TRAIN:]
        return {
            "train_images": images[train],
            "train_labels": labels[train],
            "test_images": images[test],
            "test_labels": labels[test],
        }


def _bundled() -> tuple[np.ndarray, np.ndarray]:
    """The images, float64 [1797, 8, 8] in 0..16, and labels, uint8 [1797], that scikit-learn brings.

    Its file is read without scikit-learn, whose import takes longer than a short run.
    """
    spec = find_spec("sklearn")
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / "datasets" / "data" / "digits.csv.gz").is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.uint8)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target.astype(np.uint8)
