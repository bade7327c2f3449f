"""Data sets prepared once: verified, unpacked and cached as one file, whose content is checked when it is read."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np
from filelock import FileLock

from lossbench.config.options import DatasetConfig
from lossbench.config.registry import DATASETS
from lossbench.config.run import Runtime
from lossbench.data.npz_file import ARRAYS
from lossbench.data.subsets import Arrays, select
from lossbench.system.files import open_file, remove_leftovers, write_atomically

CACHE_VERSION = 2  # raised when the prepared arrays change, or what is kept beside them
UNREADABLE = (
    *(AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged cache raises; a header may claim any size."""


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
    source = DATASETS.source(config.name)
    version = "" if source is None else f"-{source.sha256[:16]}"  # an edited plugin may read other data
    return Path(runtime.output_dir) / "cache" / f"{config.name}-{config.variant()}{version}-v{CACHE_VERSION}.npz"


def _make(config: DatasetConfig, runtime: Runtime) -> Arrays:
    """The data set from its own files; the cache file is written, or written over, with the digest of what is in it."""
    found = config.read(runtime)
    arrays = {name: np.array(found[name], order="C") for name in ARRAYS}  # as they will be read
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
    for key in ARRAYS:
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def prepared_arrays(config: DatasetConfig, runtime: Runtime) -> Arrays:
    """What the cache holds, or, where it does not hold what was once prepared, the data set made again."""
    path = _cache(config, runtime)
    try:
        with open_file(path) as file, np.load(file) as content:  # the archive's checksums are verified as it is read
            arrays = {name: content[name] for name in ARRAYS}
            whole = np.array_equal(content["digest"], _digest(path.name, arrays))
    except UNREADABLE:
        whole = False
    return arrays if whole else _make(config, runtime)


def labels_tested_on(config: DatasetConfig, runtime: Runtime) -> np.ndarray:
    """True classes of the test images, or of those held out in their place, integers [N].

    Raises:
        ValueError: the files are missing or wrong.
    """
    return select(prepared_arrays(config, runtime), config)["test_labels"]
