"""Where do a published data set's files lie, and are they the published ones? Fetched, verified, parsed."""

import contextlib
import gzip
import hashlib
import os
import pickle
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossbench.config.run import Runtime
from lossbench.data.subsets import Arrays
from lossbench.system.files import expanded, read_file
from lossbench.system.screen import say


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
    return Path(runtime.data_dir or expanded(os.environ.get("LOSSBENCH_DATA") or "data", "LOSSBENCH_DATA"))


def _read(path: Path, digest: str) -> bytes:
    """The unpacked bytes of a published file, raw or gzipped, whichever is there; verified.

    Raises:
        FileNotFoundError, NotADirectoryError: neither is there.
        ValueError: the file is not the published one.
    """
    packed = path.with_name(path.name + ".gz")
    found = path if path.exists() else packed
    again = f"expected SHA-256 {digest[:12]}... unpacked; remove it, and the next run fetches it again"
    try:
        content = read_file(found) if found == path else gzip.decompress(read_file(found))
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

    say(f"{name}: not in {folder}, downloading it there")
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


def load(name: str, runtime: Runtime) -> Arrays:
    """The images and labels of a published data set, fetched where they are not there and may be.

    Raises:
        ValueError: the files are neither there nor to be had, or not the published ones.
    """
    source, folder = SOURCES[name], data_dir(runtime)

    def read() -> dict[str, bytes]:
        return {file: _read(folder / source.folder / file, digest) for file, digest in source.digests.items()}

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
