"""How a file is written so that nobody ever reads half of it, and how two are told apart."""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def expanded(path: str, key: str) -> str:
    """A path with the home folder in the place of a `~` at its beginning, so that no folder comes to be called "~".

    Raises:
        ValueError: nobody has that home, or the path is no text in UTF-8 and could be written in no file.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{key} must be a path in UTF-8, got {os.fsencode(path)!r}; name another") from None
    found = os.path.expanduser(path)  # pathlib's raises what is no ValueError
    if found.startswith("~"):
        home = found.partition("/")[0]
        raise ValueError(f"{key} must be a path, got {path}, and there is no home {home}; ./{path} is a name with a ~")
    return found


def check_folder(folder: Path, key: str) -> None:
    """Refuse a folder below which nothing could be written; it need not be there yet, and is not made.

    Raises:
        ValueError: something else is in its place, or it is not ours to write to.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ValueError(f"{key} must be a folder, there or new, got {folder}, and {there} is none; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{key} must be a folder to write to, got {folder}, and {there} is read-only; name another")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    write_atomically(path, lambda file: file.write(content))


def append_bytes(path: Path, content: bytes) -> None:
    """Add `content` to the end of `path` and flush it to disk; a kill may leave a part of it."""
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left; for a folder in which nobody else is writing."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; the file is read again only when it has changed."""
    found = path.stat()
    return _sha256_of(path, found.st_mtime_ns, found.st_size)


@cache
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
