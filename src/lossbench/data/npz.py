"""A user's own images in a NumPy file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.options import ImageDataset, Normalization, Sizes, require
from lossbench.config.registry import register_dataset
from lossbench.data import npz_file
from lossbench.system.files import expanded, sha256_of


@register_dataset(label="npz")
@dataclass
class Npz(ImageDataset):
    """Images and labels of your own in a NumPy .npz file; docs/data.md describes the format."""

    name: str = "npz"
    normalization: Normalization = Normalization.dataset
    path: str | None = None  # of the file; no part of a run's name
    sha256: str | None = None  # of the file, part of the run's name instead of the path; None: computed from the file
    augment: bool = False
    crop_padding: int = 4  # pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.path), "dataset.path", "the .npz file with images and labels, such as my.npz", self.path)
        self.path = expanded(str(self.path), "dataset.path")
        if self.sha256 is None:
            require(Path(self.path).is_file(), "dataset.path", "an existing file (.npz)", self.path)
            self.sha256 = sha256_of(Path(self.path))
        valid = len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef")
        require(valid, "dataset.sha256", "null or 64 digits 0-9a-f", self.sha256)

    def _file(self) -> tuple[str, str]:
        assert self.path is not None
        assert self.sha256 is not None
        return self.path, self.sha256

    def sizes(self) -> Sizes:
        """Sizes of the file's arrays; only the header of the images is read."""
        return Sizes(*npz_file.sizes(*self._file()))

    def variant(self) -> str:
        """The beginning of the file's digest."""
        return self._file()[1][:16]

    def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
        """The file's arrays."""
        return npz_file.read(*self._file())
