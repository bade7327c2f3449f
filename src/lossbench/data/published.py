"""Files of published data sets: found or downloaded, verified, parsed."""

import contextlib
import gzip
import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lossbench.config.run import Runtime
from lossbench.data.subsets import Arrays
from lossbench.system.files import expanded, read_file
from lossbench.system.screen import say


@dataclass(frozen=True)
class Source:
    """The files of a published data set.

    Args:
        torchvision: name of the class in `torchvision.datasets` that downloads them.
        folder: where they lie below the data folder.
        digests: SHA-256 of each file's unpacked bytes, as published.
        parse: from the files' unpacked bytes, by name, to the arrays.
    """

    torchvision: str
    folder: str
    digests: Mapping[str, str]
    parse: Callable[[Mapping[str, bytes]], Arrays]


SOURCES: dict[str, Source] = {}
"""By name of the data set; the data set's own module adds it."""


def data_dir(runtime: Runtime) -> Path:
    """The folder of the published files: `runtime.data_dir`, else $LOSSBENCH_DATA, else data/."""
    return Path(runtime.data_dir or expanded(os.environ.get("LOSSBENCH_DATA") or "data", "LOSSBENCH_DATA"))


def _read(path: Path, digest: str) -> bytes:
    """The unpacked bytes of a published file, stored raw or gzipped, verified.

    Raises:
        FileNotFoundError, NotADirectoryError: neither form exists.
        ValueError: the file is not the published one.
    """
    packed = path.with_name(path.name + ".gz")
    found = path if path.exists() else packed
    again = f"expected SHA-256 {digest[:12]}... unpacked; remove it, and the next run downloads it again"
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


WAY_OUT = "put the published files there, or set runtime.data_dir or LOSSBENCH_DATA to the folder that has them"


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
        message = f"{_lacking(name, source, folder)}, and the download failed ({reason}); {WAY_OUT}"
        raise ValueError(message) from error


def _lacking(name: str, source: Source, folder: Path) -> str:
    return f"{name}: {folder / source.folder} lacks its files"


def _check_data_dir(runtime: Runtime) -> None:
    """Refuse to download into a folder that was named but does not exist: the name may be misspelt."""
    place = "runtime.data_dir" if runtime.data_dir else "LOSSBENCH_DATA"
    if data_dir(runtime) != Path("data") and not data_dir(runtime).is_dir():
        raise ValueError(
            f"{place} must be an existing folder, got {data_dir(runtime)}; create it, and the published files are "
            f"downloaded into it"
        )


def load(name: str, runtime: Runtime) -> Arrays:
    """The images and labels of a published data set, downloaded if missing and if `runtime.download` allows it.

    Raises:
        ValueError: the files are missing and cannot be downloaded, or they are not the published ones.
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
                f"{_lacking(name, source, folder)}, and runtime.download=false forbids downloading them; {WAY_OUT}"
            ) from None
        _download(name, source, folder)
        files = read()
    return source.parse(files)
