"""How a file is written so that nobody ever reads half of it, and how two are told apart."""

import hashlib
import os
import stat
from collections.abc import Callable
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import IO


class NotAFileError(OSError):
    """Something else lies where a file belongs: a named pipe, on which a reader waits for ever, a device, a folder."""

    def __init__(self, path: str | Path, what: str = "no regular file") -> None:
        super().__init__(f"{path} is {what}; remove it")
        self.strerror = "Is a directory" if Path(path).is_dir() else f"it is {what}"


def open_file(path: str | Path) -> BufferedReader:
    """A regular file, or a link to one, open for reading bytes; nothing else is waited for.

    Raises:
        NotAFileError: something else is there.
        OSError: it cannot be read; FileNotFoundError where nothing is there.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise NotAFileError(path)
    return os.fdopen(number, "rb")


def read_file(path: str | Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        NotAFileError: something else is there.
        OSError: it cannot be read; FileNotFoundError where nothing is there.
    """
    with open_file(path) as file:
        return file.read()


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and rename it to `path`."""
    if os.path.exists(path) and not path.is_file():
        check_file(path, "what is written")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # what has its name is not followed
        with temporary.open("xb") as file:
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


def check_file(path: Path, name: str) -> None:
    """Refuse to write what a user has named where anything but a file is: a device, a pipe, a link, a folder.

    Raises:
        ValueError: there is such a thing, which writing would replace.
    """
    if path.is_symlink() or (os.path.lexists(path) and not path.is_file()):
        kind = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "a device or a pipe"
        raise ValueError(f"{name} must be a file, there or new, got {path}, which is {kind}; name another")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically."""
    write_atomically(path, lambda file: file.write(content))


def append_bytes(path: Path, content: bytes) -> None:
    """Add `content` to the end of `path` and flush it to disk; a kill may leave a part of it.

    Raises:
        NotAFileError: a link or no regular file is there.
    """
    _check_appendable(path)
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def append_line(path: Path, text: str) -> None:
    """Add a line to the end of a text file.

    Raises:
        NotAFileError: a link or no regular file is there.
    """
    _check_appendable(path)
    with path.open("a", errors="backslashreplace") as file:
        file.write(text + "\n")


def _check_appendable(path: Path) -> None:
    """A link is not followed: it may lead to a file of somebody else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise NotAFileError(path, "a symbolic link, which is not followed")
    if not stat.S_ISREG(mode):
        raise NotAFileError(path)


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
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
