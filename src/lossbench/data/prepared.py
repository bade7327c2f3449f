"""The cache of prepared data sets: verified, unpacked and stored in one file, which is checked whenever it is read."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np
from filelock import FileLock

from lossbench.config.options import DatasetConfig
from lossbench.config.registry import DATASETS, plugin_faults
from lossbench.config.run import Runtime
from lossbench.data.npz_file import ARRAYS
from lossbench.data.subsets import Arrays, select
from lossbench.system.files import open_file, remove_leftovers, write_atomically

CACHE_VERSION = 2  # increased when the content of the cache files changes
UNREADABLE = (
    *(AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Errors of reading a damaged cache; MemoryError, for instance, where a damaged header claims a huge size."""


def prepare(config: DatasetConfig, runtime: Runtime) -> Path:
    """Verify, unpack and cache a data set, unless it is cached already or not to be cached; returns the cache file.

    Raises:
        ValueError: the files are missing and cannot be downloaded, or they are not the published ones.
    """
    path = _cache(config, runtime)
    if config.is_cached and not path.exists():
        _make(config, runtime)
    return path


def _cache(config: DatasetConfig, runtime: Runtime) -> Path:
    source = DATASETS.source(config.name)
    version = "" if source is None else f"-{source.sha256[:16]}"  # an edited plugin may read other data
    return Path(runtime.output_dir) / "cache" / f"{config.name}-{config.variant()}{version}-v{CACHE_VERSION}.npz"


def _make(config: DatasetConfig, runtime: Runtime) -> Arrays:
    """Read the data set from its own files, and write the arrays and their digest to the cache file, if it has one."""
    with plugin_faults("dataset", config.name, "read"):
        found = config.read(runtime)
        arrays = {name: np.array(found[name], order="C") for name in ARRAYS}  # as the cache will return them
        if DATASETS.source(config.name) is not None:
            _check(arrays, config)
    if not config.is_cached:
        return arrays
    path = _cache(config, runtime)
    content = arrays | {"digest": _digest(path.name, arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        remove_leftovers(path.parent, shared=True)
        write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **content))
    return arrays


def _check(arrays: Arrays, config: DatasetConfig) -> None:
    """Refuse arrays that are not what `sizes` says.

    Raises:
        ValueError: a type, a shape or a class is wrong.
    """
    known = config.sizes()
    for split, num in (("train", known.num_train), ("test", known.num_test)):
        inputs, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if config.gives == "images" and inputs.dtype != np.uint8:
            raise ValueError(f"{split}_images must be uint8 [N, C, H, W], got {inputs.dtype}")
        if config.gives == "vectors" and inputs.dtype.kind != "f":
            raise ValueError(f"{split}_images must be floats [N, F], got {inputs.dtype}")
        if inputs.shape != (num, *known.shape):
            raise ValueError(f"{split}_images must be {[num, *known.shape]} as sizes says, got {list(inputs.shape)}")
        if labels.shape != (num,) or labels.dtype.kind not in "iu":
            raise ValueError(f"{split}_labels must be {num} integers, got {labels.dtype} {list(labels.shape)}")
        if num and not 0 <= labels.min() <= labels.max() < known.num_classes:
            classes = f"in 0..{known.num_classes - 1}"
            raise ValueError(f"{split}_labels must be {classes}, got {labels.min()}..{labels.max()}")


def _digest(name: str, arrays: Arrays) -> np.ndarray:
    """SHA-256, uint8 [32], of a cache file's name and of its arrays with their names, types and shapes."""
    digest = hashlib.sha256(name.encode())
    for key in ARRAYS:
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def prepared_arrays(config: DatasetConfig, runtime: Runtime) -> Arrays:
    """The arrays in the cache; if it is missing or damaged, the data set is prepared again."""
    if not config.is_cached:
        return _make(config, runtime)
    path = _cache(config, runtime)
    try:
        with open_file(path) as file, np.load(file) as content:  # the archive's checksums are verified as it is read
            arrays = {name: content[name] for name in ARRAYS}
            intact = np.array_equal(content["digest"], _digest(path.name, arrays))
    except UNREADABLE:
        intact = False
    return arrays if intact else _make(config, runtime)


def labels_tested_on(config: DatasetConfig, runtime: Runtime) -> np.ndarray:
    """True classes of the images that a config tests on (test set or held-out training images), integers [N].

    Raises:
        ValueError: the files are missing or wrong.
    """
    return select(prepared_arrays(config, runtime), config)["test_labels"]
