"""How a program and its workers start and end together.

A wish to stop reaches the program as KeyboardInterrupt, at once or after what must not be cut; its end reaches the
workers.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, a polite kill, and the warning that Slurm sends with `--signal=USR1`."""


PARENT_POLL_S = 0.5
"""Between two looks of a worker at whether its parent is still there."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Let this worker process end at once when its parent does, whatever it does or waits for at that moment.

    Nobody waits for its work then; what it has written is whole. On Linux the kernel sees to it; a thread looks, too.
    """
    parent = multiprocessing.parent_process()
    expected = os.getppid() if parent is None else parent.pid
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == expected:
            time.sleep(PARENT_POLL_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


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
def stops_blocked() -> Iterator[None]:
    """Stop signals wait until the block ends; a process started in it waits until `end_on_stops`.

    Without it, Ctrl-C during the imports of a new worker would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_on_stops() -> None:
    """Let every stop signal end this worker process at once, without a word."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


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


@contextmanager
def importable_main() -> Iterator[None]:
    """What processes would import as the calling script is left out where it is no file, as that of standard input."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or os.path.exists(path):
        yield
        return
    del main.__file__
    try:
        yield
    finally:
        main.__file__ = path
