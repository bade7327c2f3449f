"""Stop signals and the end of worker processes.

A stop signal reaches the program as KeyboardInterrupt, either at once or after a block that must not be interrupted.
Workers end when the program ends.
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
"""Ctrl-C, the signal of a plain `kill`, and the warning that Slurm sends with `--signal=USR1`."""


PARENT_POLL_S = 0.5
"""Interval, in s, at which a worker checks that its parent still runs."""

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Make this worker process end as soon as its parent does, whatever it is doing.

    Files are written atomically, so nothing is left half-written. On Linux the kernel ends the worker; on every system
    a thread checks for the parent as well.
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
    """Make every stop signal raise KeyboardInterrupt in the block."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextmanager
def stops_held() -> Iterator[list[int]]:
    """Delay stop signals to the end of the block; the list that is yielded holds those received so far."""
    held: list[int] = []
    with _handled(lambda number, frame: held.append(number)):
        yield held
    if held:
        raise KeyboardInterrupt


@contextmanager
def stops_blocked() -> Iterator[None]:
    """Block stop signals until the block ends; in a process started within it, until `end_on_stops` is called.

    Otherwise Ctrl-C during the imports of a new worker would print a traceback.
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
    """Make every stop signal end this worker process at once, without a message."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    try:
        before = [signal.signal(number, handler) for number in STOP_SIGNALS]
    except ValueError:  # not in the main thread, where signals cannot be handled
        yield
        return
    try:
        yield
    finally:
        for number, previous in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(number, previous)


def wait_for_the_end(seconds: float = 600.0) -> None:
    """Wait to be killed, without heeding stop signals; returns after `seconds` if nobody does."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(KeyboardInterrupt), stops_held():
        while time.monotonic() < deadline:
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


@contextmanager
def importable_main() -> Iterator[None]:
    """Let worker processes start although the main script is no file (read from standard input, say).

    New processes import the main script; its path is hidden from them in the block if no such file exists.
    """
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
