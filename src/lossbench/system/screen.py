"""Messages on a screen that may be gone: a closed terminal, or a full disk behind it, stops no training."""

import contextlib
import os
import sys
from typing import Any

UNWRITABLE = (OSError, ValueError)
"""What writing to a screen that is gone raises: a broken pipe, a full disk, a closed stream, letters it cannot show."""


class Lenient:
    """A text stream whose writing never fails: what cannot be written is dropped.

    Args:
        stream: the stream behind it, which is asked for everything else; None: nothing is written.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115  # as long as the process

    def write(self, text: str) -> int:
        """Write, or drop, the text; returns its length."""
        with contextlib.suppress(*UNWRITABLE):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Send on what was written, where that can be done."""
        with contextlib.suppress(*UNWRITABLE):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: object, stream: Any = None) -> None:
    """Print a line to `stream`, by default standard output, at once; where that cannot be done nothing happens."""
    lenient = Lenient(stream or sys.stdout)
    lenient.write(f"{text}\n")
    lenient.flush()
