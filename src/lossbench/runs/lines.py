"""Reading the lines of a file that another process may be appending to."""

import os
from collections.abc import Iterator
from pathlib import Path

from lossbench.system.files import open_file

LONGEST_LINE = 2**24
"""Longest line that is read, in bytes."""


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, one at a time, without an incomplete last one; none if there is no file.

    Raises:
        ValueError: a line is longer than any run writes.
    """
    if not os.path.lexists(path):
        return
    with open_file(path) as file:
        while (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
            yield line
    if len(line) == LONGEST_LINE:
        raise ValueError(f"a line of more than {LONGEST_LINE} bytes")


def last_line(path: Path) -> bytes | None:
    """The last complete line of a file, read from its end; None: there is none."""
    if not os.path.lexists(path):
        return None
    with open_file(path) as file:
        size, block = file.seek(0, os.SEEK_END), 2**14
        while True:
            file.seek(max(0, size - block))
            parts = file.read(block).rsplit(b"\n", 2)  # before the last complete line, that line, after it
            if len(parts) == 3 or (len(parts) == 2 and block >= size):
                return parts[-2]
            if block >= min(size, LONGEST_LINE):
                return None
            block *= 4
