"""Files: safe reading, atomic writing, and digests."""

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import IO

from lossbench.system.host import this_process

WITHOUT_LINKS = {
    errno.EPERM,  # also what sshfs says of any failure
    *(errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL),
}
"""Errors of making a hard link where the file system has none, or has made as many as it can."""


class NotAFileError(OSError):
    """The path is no regular file but a folder, a device, or a named pipe, which would block a reader."""

    def __init__(self, path: str | Path, what: str = "no regular file") -> None:
        super().__init__(f"{path} is {what}; remove it")
        self.strerror = "Is a directory" if Path(path).is_dir() else f"it is {what}"


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading bytes, without blocking on a pipe or a device.

    Raises:
        NotAFileError: the path is no regular file.
        OSError: it cannot be read; FileNotFoundError if it does not exist.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise NotAFileError(path)
    return os.fdopen(number, "rb")


def read_file(path: str | Path) -> bytes:
    """Read the bytes of a regular file.

    Raises:
        NotAFileError: the path is no regular file.
        OSError: it cannot be read; FileNotFoundError if it does not exist.
    """
    with open_file(path) as file:
        return file.read()


def write_atomically(
    path: Path,
    write: Callable[[IO[bytes]], object],
    check: Callable[[], object] = lambda: None,
    once: bool = False,
) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and rename it to `path`.

    Args:
        path: the file.
        write: writes its content.
        check: called immediately before the file gets its name; an error that it raises prevents that.
        once: never replace a file.

    Raises:
        FileExistsError: with `once`, there is a file already; where the file system has no hard links, one that is
            written at the same moment is not noticed.
    """
    if os.path.exists(path) and not path.is_file():
        check_file(path, "what is written")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_mark()}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # a link of this name is removed, not followed
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        check()
        if not once or not _linked(temporary, path):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sizes_below(folder: str | Path) -> dict[str, int]:
    """Sizes in bytes of the files in a folder and in the folders within it, by path in the folder, sorted.

    A link to a file has the size of the file, one to a folder is not entered. What cannot be read is left out.
    """
    sizes: dict[tuple[str, ...], int] = {}
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        inner = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(os.path.join(folder, *inner)) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((*inner, entry.name))
                    elif entry.is_file():
                        sizes[*inner, entry.name] = entry.stat().st_size
    return {"/".join(parts): sizes[parts] for parts in sorted(sizes)}


def _linked(temporary: Path, path: Path) -> bool:
    """Link a file to a new name, which must be free; False: the file system has no hard links.

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if os.path.lexists(path):
            if os.path.samefile(temporary, path):  # it was linked, and the server's answer was lost
                return True
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        if error.errno not in WITHOUT_LINKS:
            raise
        return False
    return True


def _mark() -> str:
    """Eight digits for the place where this process's number is valid."""
    return hashlib.sha256(repr(this_process().place()).encode()).hexdigest()[:8]


def expanded(path: str, key: str) -> str:
    """The path with a leading `~` or `~user` replaced by the home folder.

    Args:
        path: as the user wrote it.
        key: the option it belongs to, for messages.

    Raises:
        ValueError: the user of `~user` is unknown, or the path is not valid UTF-8 and so cannot be recorded.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{key} must be a path in UTF-8, got {os.fsencode(path)!r}; name another") from None
    found = os.path.expanduser(path)  # pathlib's raises a RuntimeError
    if found.startswith("~"):
        home = found.partition("/")[0]
        raise ValueError(f"{key} must be a path, got {path}, but there is no home {home}; write ./{path} for this name")
    return found


def check_folder(folder: Path, key: str) -> None:
    """Check that files could be written below a folder; it need not exist yet, and is not created.

    Args:
        folder: the folder.
        key: the option that names it, for messages.

    Raises:
        ValueError: the path, or the part of it that exists, is no folder or is read-only.
    """
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ValueError(f"{key} must be a folder, got {folder}, but {there} is none; choose another path")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{key} must be a writable folder, got {folder}, but {there} is read-only; choose another")


def check_file(path: Path, name: str) -> None:
    """Check that writing to a path replaces no link, folder, device or pipe.

    Args:
        path: the file, existing or not.
        name: what it is, for messages.

    Raises:
        ValueError: the path exists and is no regular file.
    """
    if path.is_symlink() or (os.path.lexists(path) and not path.is_file()):
        kind = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "a device or a pipe"
        raise ValueError(f"{name} must be a regular file or a new path, got {path}, which is {kind}; choose another")


def write_bytes(path: Path, content: bytes, check: Callable[[], object] = lambda: None, once: bool = False) -> None:
    """Write `content` to `path` atomically; the other arguments are those of `write_atomically`."""
    write_atomically(path, lambda file: file.write(content), check, once)


def append_bytes(path: Path, content: bytes) -> None:
    """Append `content` to `path` and flush it to disk; a process killed meanwhile may leave part of it.

    Raises:
        NotAFileError: the path is a link or no regular file.
    """
    _check_appendable(path)
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def append_line(path: Path, text: str) -> None:
    """Append a line to a text file.

    Raises:
        NotAFileError: the path is a link or no regular file.
    """
    _check_appendable(path)
    with path.open("a", errors="backslashreplace") as file:
        file.write(text + "\n")


def _check_appendable(path: Path) -> None:
    """Refuse links, which may lead to a file elsewhere, and anything but a regular file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise NotAFileError(path, "a symbolic link, which is not followed")
    if not stat.S_ISREG(mode):
        raise NotAFileError(path)


def remove_leftovers(folder: Path, shared: bool = False) -> None:
    """Remove temporary files left by killed processes.

    Args:
        folder: the folder.
        shared: processes of other hosts may be writing in it, so only files of this host's dead processes go, and those
            of older versions. False: no other process is writing in it.
    """
    for path in folder.glob(".*.tmp"):
        if not shared or _is_left(path.name):
            path.unlink(missing_ok=True)


def _is_left(name: str) -> bool:
    """Whether the process of this host that made a temporary file is dead."""
    mark, _, rest = name.split(".")[-2].partition("-")
    number = rest.partition("-")[0]
    if not number.isdecimal():
        return True
    if mark != _mark():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal; cached until the file's time or size changes."""
    found = path.stat()
    return _sha256_of(path, found.st_mtime_ns, found.st_size)


@cache
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
