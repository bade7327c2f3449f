"""Which images, split how, prepared how? uint8 tensors on the training device, no work per sample in Python."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

from lossbench.config.run import Cifar10, DatasetConfig, Digits, Npz, Runtime
from lossbench.config.words import Normalization
from lossbench.data import npz_file, published
from lossbench.data.imbalance import sizes_left
from lossbench.data.subsets import Arrays, select, stratified_permutation
from lossbench.system.files import open_file, remove_leftovers, write_atomically
from lossbench.system.seeds import generator

CACHE_VERSION = 2  # raised when the prepared arrays change, or what is kept beside them
UNREADABLE = (
    *(AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged cache raises; a header may claim any size."""
DIGITS_NUM_TRAIN = 1497  # of 1,797; 300 are left to test


def _digits(config: Digits) -> Arrays:
    from sklearn.datasets import load_digits

    digits = load_digits()
    channels, height, width = config.image_shape
    small = torch.from_numpy(digits.images)[:, None] * (255 / 16)  # [1797, 1, 8, 8], 0..255
    large = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    images = large.round().to(torch.uint8).expand(-1, channels, -1, -1).numpy()
    labels = digits.target.astype(np.uint8)
    order = stratified_permutation(labels)
    train, test = order[:DIGITS_NUM_TRAIN], order[DIGITS_NUM_TRAIN:]
    return {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }


def prepare(config: DatasetConfig, runtime: Runtime) -> Path:
    """Verify, unpack and cache a data set, unless that has been done; returns the cache file.

    Raises:
        ValueError: the files are neither there nor to be had, or not the published ones.
    """
    path = _cache(config, runtime)
    if not path.exists():
        _make(config, runtime)
    return path


def _cache(config: DatasetConfig, runtime: Runtime) -> Path:
    return Path(runtime.output_dir) / "cache" / f"{config.name}-{_variant(config)}-v{CACHE_VERSION}.npz"


def _make(config: DatasetConfig, runtime: Runtime) -> Arrays:
    """The data set from its own files; the cache file is written, or written over, with the digest of what is in it."""
    if isinstance(config, Digits):
        arrays = _digits(config)
    elif isinstance(config, Npz):
        arrays = npz_file.read(*_file(config))
    else:
        arrays = published.load(config.name, runtime)
    arrays = {name: np.array(arrays[name], order="C") for name in npz_file.ARRAYS}  # as they will be read
    path = _cache(config, runtime)
    whole = arrays | {"digest": _digest(path.name, arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):  # whoever writes here holds it
        remove_leftovers(path.parent)
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **whole))
    return arrays


def _digest(name: str, arrays: Arrays) -> np.ndarray:
    """SHA-256, uint8 [32], of a cache file's name and of its arrays with their names, types and shapes."""
    digest = hashlib.sha256(name.encode())
    for key in npz_file.ARRAYS:
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _variant(config: DatasetConfig) -> str:
    """What tells data sets of one name apart."""
    if isinstance(config, Npz):
        return _file(config)[1][:16]
    return "x".join(map(str, config.image_shape)) if isinstance(config, Digits) else "published"


def _file(config: Npz) -> tuple[str, str]:
    assert config.path is not None
    assert config.sha256 is not None
    return config.path, config.sha256


def _prepared(config: DatasetConfig, runtime: Runtime) -> Arrays:
    """What the cache holds, or, where it does not hold what was once prepared, the data set made again."""
    path = _cache(config, runtime)
    try:
        with open_file(path) as file, np.load(file) as content:  # the archive's checksums are verified as it is read
            arrays = {name: content[name] for name in npz_file.ARRAYS}
            whole = np.array_equal(content["digest"], _digest(path.name, arrays))
    except UNREADABLE:
        whole = False
    return arrays if whole else _make(config, runtime)


def labels_tested_on(config: DatasetConfig, runtime: Runtime) -> np.ndarray:
    """True classes of the test images, or of those held out in their place, integers [N].

    Raises:
        ValueError: the files are missing or wrong.
    """
    return select(_prepared(config, runtime), config)["test_labels"]


def published_sizes(config: DatasetConfig) -> tuple[int, int, tuple[int, int, int]]:
    """Training images, test (or validation) images and image shape that a config will give; no image is read.

    Of some classes, or imbalanced ones, numbers as of classes of equal size.

    Raises:
        ValueError: it asks for more training images than there are, or names an .npz file that is no data set.
    """
    if isinstance(config, Npz):
        sizes = npz_file.sizes(*_file(config))[:3]
    elif isinstance(config, Digits):
        channels, height, width = config.image_shape
        sizes = (DIGITS_NUM_TRAIN, 1797 - DIGITS_NUM_TRAIN, (channels, height, width))
    elif isinstance(config, Cifar10):
        sizes = (50_000, 10_000, (3, 32, 32))
    else:
        sizes = (60_000, 10_000, (1, 28, 28))
    num_train, num_test, shape = sizes
    if config.classes is not None:
        every = _num_classes(config)
        if max(config.classes) >= every:
            raise ValueError(f"dataset.classes must be in 0..{every - 1} for {config.name}, got {config.classes}")
        num_train, num_test = (number * len(config.classes) // every for number in (num_train, num_test))
    if config.num_validation is not None:
        if config.num_validation >= num_train:
            raise ValueError(f"dataset.num_validation must be < {num_train}, got {config.num_validation}")
        num_train, num_test = num_train - config.num_validation, config.num_validation
    if config.imbalance is not None and config.imbalance_ratio is not None:
        share = np.full(num_classes(config), num_train // num_classes(config))
        num_train = int(sizes_left(share, config.imbalance.value, config.imbalance_ratio).sum())
    if config.num_train is not None and config.num_train > num_train:
        raise ValueError(f"dataset.num_train must be <= {num_train} for {config.name}, got {config.num_train}")
    return config.num_train or num_train, num_test, shape


def num_classes(config: DatasetConfig) -> int:
    """Classes that a config's images have; no image is read."""
    return len(config.classes) if config.classes is not None else _num_classes(config)


def _num_classes(config: DatasetConfig) -> int:
    return npz_file.sizes(*_file(config))[3] if isinstance(config, Npz) else 10


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, C, H, W] and labels int64 [N] on the device."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Data:
    """A data set on the training device, with what turns its pixels into the network's input."""

    train: Split
    test: Split
    shape: tuple[int, int, int]
    num_classes: int
    class_counts: Tensor  # training images of each class, int64 [K]
    scale: Tensor  # [C, 1, 1]; input = pixel * scale + shift
    shift: Tensor
    padded: Tensor | None  # training images with a zero border, for random crops; None: no augmentation

    def inputs(self, pixels: Tensor) -> Tensor:
        """Normalised float32 images, channels last in memory, from uint8 [B, C, H, W]."""
        images = pixels.to(torch.float32).mul_(self.scale).add_(self.shift)
        return images.contiguous(memory_format=torch.channels_last)


def plan_epoch(data: Data, seed: int, epoch: int) -> Tensor:
    """What an epoch shows, in which order: a function of (seed, epoch), drawn on the CPU, sent to the device at once.

    Returns:
        Int64 [1, N], indices of training images; with augmentation [4, N], below them each one's crop offsets from the
        top and from the left of the padded image, and whether it is flipped.
    """
    num = len(data.train.labels)
    rows = [torch.randperm(num, generator=generator(seed, epoch, "order"))[None]]
    if data.padded is not None:
        reach = data.padded.shape[-1] - data.shape[-1] + 1
        rows.append(torch.randint(reach, (2, num), generator=generator(seed, epoch, "crop")))
        rows.append((torch.rand(1, num, generator=generator(seed, epoch, "flip")) < 0.5).long())
    return torch.cat(rows).to(data.train.labels.device)


def batch(data: Data, plan: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs [B, C, H, W] and target [B] that the columns of a plan, [1, B] or [4, B], name; augmented."""
    target = data.train.labels[plan[0]]
    if data.padded is None:
        return data.inputs(data.train.images[plan[0]]), target
    index, top, left, flip = plan
    channels, height, width = data.shape
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


def load_data(config: DatasetConfig, runtime: Runtime, device: torch.device) -> Data:
    """The data set that a config names, on the device.

    Raises:
        ValueError: the files are missing or wrong.
    """
    published_sizes(config)  # refuses numbers that are not to be had
    arrays = select(_prepared(config, runtime), config)
    images, labels = arrays["train_images"], arrays["train_labels"]
    test_images, test_labels = arrays["test_images"], arrays["test_labels"]
    num_classes = int(labels.max()) + 1
    mean, std = _pixel_statistics(images) if config.normalization is Normalization.dataset else (None, None)
    if config.normalization is Normalization.mnist:
        mean, std = np.array([0.1307]), np.array([0.3081])
    elif mean is None or std is None:
        mean, std = np.array([0.0]), np.array([1.0])

    def on_device(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)

    train = Split(on_device(images, torch.uint8), on_device(labels, torch.int64))
    padding = config.crop_padding if isinstance(config, (Cifar10, Digits, Npz)) and config.augment else None
    return Data(
        train=train,
        test=Split(on_device(test_images, torch.uint8), on_device(test_labels, torch.int64)),
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        num_classes=num_classes,
        class_counts=on_device(np.bincount(labels, minlength=num_classes), torch.int64),
        scale=on_device((1 / (255 * std)).reshape(-1, 1, 1), torch.float32),
        shift=on_device((-mean / std).reshape(-1, 1, 1), torch.float32),
        padded=None if padding is None else F.pad(train.images, (padding,) * 4),
    )


def _pixel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean and standard deviation of the pixels in 0..1, per channel [C], from their histogram."""
    counts = np.stack([np.bincount(images[:, channel].ravel(), minlength=256) for channel in range(images.shape[1])])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(axis=1)
    return mean, np.sqrt(counts @ values**2 / counts.sum(axis=1) - mean**2)
