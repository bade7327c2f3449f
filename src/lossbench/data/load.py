"""A run's data on the training device: prepared arrays as tensors, the order of an epoch, batches."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lossbench.config.options import DatasetConfig, ImageDataset, Normalization, Shape
from lossbench.config.run import Runtime
from lossbench.data.prepared import prepared_arrays
from lossbench.data.sizes import sizes
from lossbench.data.subsets import select
from lossbench.system.seeds import generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, C, H, W], tokens int64 [N, L] or vectors float32 [N, F], and labels int64 [N] on the device."""

    images: "Tensor"
    labels: "Tensor"


@dataclass(frozen=True)
class Data:
    """A data set on the training device, with the factors that turn pixels into the network's input."""

    train: Split
    test: Split
    shape: Shape
    num_classes: int
    class_counts: "Tensor"  # training images of each class, int64 [K]
    scale: "Tensor | None"  # of images, [C, 1, 1]; input = pixel * scale + shift. None: others, used as they are
    shift: "Tensor | None"
    padded: "Tensor | None"  # training images with a zero border, for random crops; None: no augmentation

    def inputs(self, given: "Tensor") -> "Tensor":
        """The network's input: uint8 images [B, C, H, W] become normalised float32, channels last; others stay."""
        import torch

        if self.scale is None or self.shift is None:
            return given
        images = given.to(torch.float32).mul_(self.scale).add_(self.shift)
        return images.contiguous(memory_format=torch.channels_last)


def plan_epoch(data: Data, seed: int, epoch: int) -> "Tensor":
    """Order and augmentation of an epoch's samples: a function of (seed, epoch), drawn on the CPU.

    Returns:
        Int64 [1, N] on the training device: indices of training images. With augmentation [4, N]: also each image's
        crop offset from the top and from the left of the padded image, and whether it is flipped (1) or not (0).
    """
    import torch

    num = len(data.train.labels)
    rows = [torch.randperm(num, generator=generator(seed, epoch, "order"))[None]]
    if data.padded is not None:
        reach = data.padded.shape[-1] - data.shape[-1] + 1
        rows.append(torch.randint(reach, (2, num), generator=generator(seed, epoch, "crop")))
        rows.append((torch.rand(1, num, generator=generator(seed, epoch, "flip")) < 0.5).long())
    return torch.cat(rows).to(data.train.labels.device)


def batch(data: Data, plan: "Tensor") -> "tuple[Tensor, Tensor]":
    """Inputs [B, C, H, W] and target [B] of some columns of an epoch's plan, [1, B] or [4, B], augmented."""
    import torch

    target = data.train.labels[plan[0]]
    if data.padded is None:
        return data.inputs(data.train.images[plan[0]]), target
    index, top, left, flip = plan
    channels, height, width = data.shape  # of images: nothing else is augmented
    columns = torch.arange(width, device=index.device)
    columns = torch.where(flip[:, None] > 0, width - 1 - columns, columns)  # [B, W]
    rows = top[:, None] + torch.arange(height, device=index.device)  # [B, H]
    columns = left[:, None] + columns
    pixels = data.padded[
        index[:, None, None, None],
        torch.arange(channels, device=index.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
    return data.inputs(pixels), target


def load_data(config: DatasetConfig, runtime: Runtime, device: "torch.device") -> Data:
    """The data set that a config names, on the device.

    Raises:
        ValueError: the files are missing or wrong.
    """
    known = sizes(config)  # raises if the config asks for more than there is
    arrays = select(prepared_arrays(config, runtime), config)
    labels = arrays["train_labels"]
    if config.num_train is not None and len(labels) < config.num_train:
        raise ValueError(
            f"dataset.num_train must be <= {len(labels)}, the training samples that dataset.imbalance leaves, got "
            f"{config.num_train}"
        )
    return _on_device(config, arrays, known.num_classes, device)


def random_data(config: DatasetConfig, num_samples: int, device: "torch.device") -> Data:
    """Random inputs and labels of a data set's shapes, on the device, for measuring speed without its files.

    The sizes of the classes are equal, and sum to that of the data set.

    Args:
        config: the data set.
        num_samples: training and test samples, N.
        device: where they are kept.
    """
    known = sizes(config)
    draw = np.random.default_rng(0)
    size = (num_samples, *known.shape)
    images: np.ndarray
    if config.gives == "vectors":
        images = draw.standard_normal(size).astype(np.float32)
    elif isinstance(config, ImageDataset):
        images = draw.integers(256, size=size).astype(np.uint8)
    else:
        images = draw.integers(known.num_classes, size=size)
    labels: np.ndarray = draw.integers(known.num_classes, size=num_samples)
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    data = _on_device(config, arrays, known.num_classes, device)
    share = max(1, known.num_train // known.num_classes)
    return replace(data, class_counts=data.class_counts.new_full((known.num_classes,), share))


def _on_device(
    config: DatasetConfig, arrays: Mapping[str, np.ndarray], num_classes: int, device: "torch.device"
) -> Data:
    import torch
    import torch.nn.functional as F

    images, labels = arrays["train_images"], arrays["train_labels"]
    test_images, test_labels = arrays["test_images"], arrays["test_labels"]

    def on_device(array: np.ndarray, dtype: torch.dtype) -> "Tensor":
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    dtype, scale, shift = torch.float32 if config.gives == "vectors" else torch.int64, None, None
    if isinstance(config, ImageDataset):
        dtype, (scale, shift) = torch.uint8, _normalization(config.normalization, images)
    train = Split(on_device(images, dtype), on_device(labels, torch.int64))
    padding: int | None = getattr(config, "crop_padding", 0) if getattr(config, "augment", False) else None
    return Data(
        train=train,
        test=Split(on_device(test_images, dtype), on_device(test_labels, torch.int64)),
        shape=images.shape[1:],
        num_classes=num_classes,
        class_counts=on_device(np.bincount(labels, minlength=num_classes), torch.int64),
        scale=None if scale is None else on_device(scale, torch.float32),
        shift=None if shift is None else on_device(shift, torch.float32),
        padded=None if padding is None else F.pad(train.images, (padding,) * 4),
    )


def _normalization(kind: Normalization, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factor and shift of pixels 0..255, per channel, [C, 1, 1]."""
    if kind is Normalization.dataset:
        mean, std = _pixel_statistics(images)
    elif kind is Normalization.mnist:
        mean, std = np.array([0.1307]), np.array([0.3081])
    else:
        mean, std = np.array([0.0]), np.array([1.0])
    return (1 / (255 * std)).reshape(-1, 1, 1), (-mean / std).reshape(-1, 1, 1)


def _pixel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean and standard deviation of the pixels in 0..1, per channel [C], from their histogram."""
    counts = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(images.shape[1])])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(axis=1)
    return mean, np.sqrt(counts @ values**2 / counts.sum(axis=1) - mean**2)
