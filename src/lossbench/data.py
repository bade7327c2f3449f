"""Which images, split how, prepared how? uint8 tensors on the training device, no work per sample in Python."""

import contextlib
import gzip
import hashlib
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

from lossbench import npz
from lossbench.choices import Normalization
from lossbench.config import Cifar10, DatasetConfig, Digits, Npz, Runtime
from lossbench.files import remove_leftovers, write_atomically
from lossbench.imbalance import sizes_left
from lossbench.randomness import generator
from lossbench.subsets import Arrays, select, stratified_permutation

CACHE_VERSION = 1  # raised when the prepared arrays change
DIGITS_NUM_TRAIN = 1497  # of 1,797; 300 are left to test


@dataclass(frozen=True)
class Source:
    """Where a published data set's files lie below the data folder, and what they are."""

    torchvision: str  # the class that downloads it
    folder: str
    digests: Mapping[str, str]  # file -> SHA-256 of its unpacked bytes, as published
    parse: Callable[[Mapping[str, bytes]], Arrays]


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


def _mnist_type(torchvision: str, *digests: str) -> Source:
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return Source(torchvision, f"{torchvision}/raw", dict(zip(names, digests, strict=True)), _parse_idx)


SOURCES = {
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
    "cifar10": Source(
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
    ),
}


def data_dir(runtime: Runtime) -> Path:
    """The folder of the published files: `runtime.data_dir`, else $LOSSBENCH_DATA, else data/."""
    return Path(runtime.data_dir or os.environ.get("LOSSBENCH_DATA") or "data")


def _read_published(path: Path, digest: str) -> bytes:
    """The unpacked bytes of a published file, raw or gzipped, whichever is there; verified.

    Raises:
        FileNotFoundError, NotADirectoryError: neither is there.
        ValueError: the file is not the published one.
    """
    packed = path.with_name(path.name + ".gz")
    found = path if path.exists() else packed
    again = f"expected SHA-256 {digest[:12]}... unpacked; remove it, and the next run fetches it again"
    try:
        content = found.read_bytes() if found == path else gzip.decompress(found.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{found} cannot be read ({reason}), {again}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        size = f"{len(content):,} bytes with SHA-256 {actual[:12]}..."
        raise ValueError(f"{found} is not the published file: it holds {size}, {again}")
    return content


WAY_OUT = "put the published files there, or name the folder that has them with runtime.data_dir or LOSSBENCH_DATA"


def _download(name: str, source: Source, folder: Path) -> None:
    import torchvision.datasets

    print(f"{name}: not in {folder}, downloading it there", flush=True)
    try:
        getattr(torchvision.datasets, source.torchvision)(str(folder), train=True, download=True)
    except (OSError, RuntimeError) as error:
        for empty in (folder / source.folder, (folder / source.folder).parent, folder):
            with contextlib.suppress(OSError):
                empty.rmdir()
        reason = " ".join(str(error).split())
        told = f"{_lacking(name, source, folder)}, and the download failed ({reason}); {WAY_OUT}"
        raise ValueError(told) from error


def _lacking(name: str, source: Source, folder: Path) -> str:
    return f"{name}: {folder / source.folder} lacks its files"


def _check_data_dir(runtime: Runtime) -> None:
    """Nothing is fetched into a folder that is there by its name only: the name may be misspelt."""
    place = "runtime.data_dir" if runtime.data_dir else "LOSSBENCH_DATA"
    if data_dir(runtime) != Path("data") and not data_dir(runtime).is_dir():
        raise ValueError(
            f"{place} must be a folder that is there, got {data_dir(runtime)}; make it, and the published files are "
            f"fetched into it"
        )


def _published(name: str, runtime: Runtime) -> Arrays:
    source, folder = SOURCES[name], data_dir(runtime)

    def read() -> dict[str, bytes]:
        return {file: _read_published(folder / source.folder / file, digest) for file, digest in source.digests.items()}

    try:
        files = read()
    except (FileNotFoundError, NotADirectoryError):
        _check_data_dir(runtime)
        if not runtime.download:
            raise ValueError(
                f"{_lacking(name, source, folder)}, and runtime.download=false forbids to fetch them; {WAY_OUT}"
            ) from None
        _download(name, source, folder)
        files = read()
    return source.parse(files)


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
    path = Path(runtime.output_dir) / "cache" / f"{config.name}-{_variant(config)}-v{CACHE_VERSION}.npz"
    if not path.exists():
        if isinstance(config, Digits):
            arrays = _digits(config)
        elif isinstance(config, Npz):
            arrays = npz.read(*_file(config))
        else:
            arrays = _published(config.name, runtime)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):  # whoever writes here holds it
            remove_leftovers(path.parent)
            write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
    return path


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
    path = prepare(config, runtime)
    try:
        with np.load(path) as arrays:  # the archive's checksums are verified as it is read
            return dict(arrays)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError, RuntimeError):
        path.unlink()
        with np.load(prepare(config, runtime)) as arrays:
            return dict(arrays)


def published_sizes(config: DatasetConfig) -> tuple[int, int, tuple[int, int, int]]:
    """Training images, test (or validation) images and image shape that a config will give; no image is read.

    Of some classes, or imbalanced ones, numbers as of classes of equal size.

    Raises:
        ValueError: it asks for more training images than there are, or names an .npz file that is no data set.
    """
    if isinstance(config, Npz):
        sizes = npz.sizes(*_file(config))[:3]
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
    return npz.sizes(*_file(config))[3] if isinstance(config, Npz) else 10


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
