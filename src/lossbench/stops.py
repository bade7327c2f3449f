"""How does a wish to stop reach the program? As KeyboardInterrupt, at once or after what must not be cut."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, a polite kill, and the warning that Slurm sends with `--signal=USR1`."""


@contextmanager
def stops_interrupt() -> Iterator[None]:
    """Every stop signal raises KeyboardInterrupt in the block."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextmanager
def stops_held() -> Iterator[list[int]]:
    """Stop signals are noted in the list that is given, and take effect after the block."""
    held: list[int] = []
    with _handled(lambda number, frame: held.append(number)):
        yield held
    if held:
        raise KeyboardInterrupt


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    try:
        before = [signal.signal(number, handler) for number in STOP_SIGNALS]
    except ValueError:  # not in the main thread: the caller's business
        yield
        return
    try:
        yield
    finally:
        for number, previous in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(number, previous)
