"""Printing that never stops training: a closed terminal or a full disk is ignored."""

import contextlib
import os
import sys
from typing import Any

UNWRITABLE = (OSError, ValueError)
"""Errors of printing: a broken pipe, a full disk, a closed stream, a character that cannot be encoded."""


class Lenient:
    """A text stream whose writing never fails: text that cannot be written is dropped.

    Args:
        stream: the stream that is written to and answers all other attributes; None: nothing is written.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115  # as long as the process

    def write(self, text: str) -> int:
        """Write or drop the text; returns its length."""
        with contextlib.suppress(*UNWRITABLE):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if possible."""
        with contextlib.suppress(*UNWRITABLE):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: object, stream: Any = None) -> None:
    """Print a line to `stream` (None: standard output) and flush it; errors of the stream are ignored."""
    lenient = Lenient(stream or sys.stdout)
    lenient.write(f"{text}\n")
    lenient.flush()
