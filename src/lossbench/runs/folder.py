"""What is on disk of one run? The only writer of run folders.

A run is a folder `<output_dir>/runs/<run_id>/`. Its record is its `result.json`, written last: where it is, the run is
done.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from lossbench.config.run import Config, run_id
from lossbench.system.files import append_bytes, append_line, open_file, read_file, remove_leftovers, write_bytes

FORMAT = 2
"""Version of the files of a run; 1 were those that do not say one. Raised when older readers would misread them."""

FILES = ("config.json", "metrics.jsonl", "arrays.npz", "result.json")
"""What a finished run consists of; `result.json` comes last."""

WEIGHTS = "weights.safetensors"
"""The weights after the last epoch, where a run keeps them; its record has their digest."""

DIVERGED_FILES = ("config.json", "failure.txt", "diverged.json")
"""What a run that diverged consists of, when it travels; `diverged.json` comes last."""


LONGEST_LINE = 2**24
"""Bytes of the longest line of `metrics.jsonl` that is read."""


LONGEST_REASON = 2**16
"""Bytes from the end of `failure.txt` that are read for why a run failed."""


class Status(StrEnum):
    """How a run stands."""

    finished = "finished"
    running = "running"  # some process holds its lock
    failed = "failed"  # the same command tries it again
    stopped = "stopped"  # the same command goes on from its last whole epoch


Mark = tuple[int, int] | None
"""What tells one failure of a run from the next, whatever the clock says; None: it has not failed."""


class LockLostError(RuntimeError):
    """The lock that this process took is gone from the run's folder: another process may have the run."""


class Run:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self._held: int | None = None  # the inode of the lock, while this process holds it

    @property
    def finished(self) -> bool:
        """Whether the run is done; then its record can be read."""
        return os.path.exists(self.folder / "result.json")  # not Path.exists, which raises where it may not look

    def status(self) -> Status:
        """How the run stands at this moment; nothing is written to find out."""
        if self.finished:
            return Status.finished
        if self._is_held():
            return Status.running
        return Status.failed if self.failure() is not None else Status.stopped

    def _is_held(self) -> bool:
        """Whether some process holds the run's lock; False where it is not there or may not be read."""
        try:
            with (self.folder / ".lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # goes as the file is closed
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the run's lock, unless another process has it: then False. It goes with the process that holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        self._held = _inode(self.folder / ".lock")
        try:
            yield True
        finally:
            self._held = None
            lock.release()

    def lost(self) -> str | None:
        """Why a run that is held is no longer this process's, in a sentence; None: it is, or nobody holds it here."""
        path = self.folder / ".lock"
        if self._held is None or _inode(path) == self._held:
            return None
        return (
            f"{path} was removed or replaced during the run, so another process may do it now; this one writes nothing "
            f"more, and the same command goes on"
        )

    def _check_held(self) -> None:
        if sentence := self.lost():
            raise LockLostError(sentence)

    def record(self) -> dict[str, Any]:
        """The record of a finished run."""
        return dict(json.loads(read_file(self.folder / "result.json")))

    def start(self, config: Config) -> None:
        """Make the folder and say in it what the run is."""
        remove_leftovers(self.folder)
        write_bytes(self.folder / "config.json", to_json(asdict(config), indent=2))
        for name in ("diverged.json", "failure.txt"):
            (self.folder / name).unlink(missing_ok=True)

    def read_checkpoint(self) -> bytes | None:
        """The state after the last finished epoch, or None."""
        path = self.folder / "checkpoint.pt"
        return read_file(path) if path.exists() else None

    def write_checkpoint(self, state: bytes) -> None:
        """Keep the state after an epoch; the one before stays until this one is whole.

        Raises:
            LockLostError: the run is held no more.
        """
        self._check_held()
        write_bytes(self.folder / "checkpoint.pt", state)

    def restart(self) -> None:
        """Forget all that was trained."""
        for name in ("checkpoint.pt", "metrics.jsonl", WEIGHTS):
            (self.folder / name).unlink(missing_ok=True)

    def metrics(self, last_epoch: int) -> list[dict[str, Any]]:
        """The lines of epochs 1..last_epoch; what the file holds beyond them is dropped from it.

        Raises:
            ValueError: the file is not whole up to there.
        """
        path, lines = self.folder / "metrics.jsonl", self._lines()
        kept = _whole(lines[:last_epoch])
        try:
            metrics = [dict(json.loads(line)) for line in kept]
            epochs = [line["epoch"] for line in metrics]
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds a damaged line among the first {last_epoch}") from error
        if epochs != list(range(1, last_epoch + 1)):
            raise ValueError(f"{path} lacks epochs of 1 to {last_epoch}")
        if kept != lines:
            write_bytes(path, b"".join(kept))
        return metrics

    def metrics_sha256(self) -> str:
        """SHA-256 of `metrics.jsonl`, in hexadecimal."""
        return hashlib.sha256(b"".join(self._lines())).hexdigest()

    def whole_metrics(self) -> Iterator[bytes]:
        """The lines of `metrics.jsonl`, one at a time, without the part of one that a kill leaves at the end.

        Raises:
            ValueError: a line is longer than any run writes.
        """
        path = self.folder / "metrics.jsonl"
        if not os.path.lexists(path):
            return
        with open_file(path) as file:
            while (line := file.readline(LONGEST_LINE)).endswith(b"\n"):
                yield line
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")

    def last_metrics(self) -> bytes | None:
        """The last whole line of `metrics.jsonl`; no more of the file is read than that takes. None: there is none."""
        path = self.folder / "metrics.jsonl"
        if not os.path.lexists(path):
            return None
        with open_file(path) as file:
            size, block = file.seek(0, os.SEEK_END), 2**14
            while True:
                file.seek(max(0, size - block))
                parts = file.read(block).rsplit(b"\n", 2)  # what is before the last whole line, it, and what follows
                if len(parts) == 3 or (len(parts) == 2 and block >= size):
                    return parts[-2]
                if block >= min(size, LONGEST_LINE):
                    return None
                block *= 4

    def _lines(self) -> list[bytes]:
        path = self.folder / "metrics.jsonl"
        return read_file(path).splitlines(keepends=True) if path.exists() else []

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add an epoch's line.

        Raises:
            LockLostError: the run is held no more.
        """
        self._check_held()
        append_bytes(self.folder / "metrics.jsonl", to_json(line) + b"\n")

    def log(self, text: str) -> None:
        """Add a line to the run's log."""
        append_line(self.folder / "train.log", text)

    def finish(
        self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], weights: bytes | None = None
    ) -> dict[str, Any]:
        """Write arrays, weights and record, in this order, and remove the checkpoint.

        Args:
            record: what is known of the run.
            arrays: of `arrays.npz`.
            weights: content of `weights.safetensors`; None: the run keeps none.

        Returns:
            The record with the digests of both files.

        Raises:
            LockLostError: the run is held no more.
        """
        self._check_held()
        content = packed(arrays)
        whole = dict(record) | {"arrays_sha256": hashlib.sha256(content).hexdigest()}
        write_bytes(self.folder / "arrays.npz", content)
        if weights is None:
            (self.folder / WEIGHTS).unlink(missing_ok=True)  # of a try that was killed before its record
        else:
            whole["weights"] = {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}
            write_bytes(self.folder / WEIGHTS, weights)
        write_bytes(self.folder / "result.json", to_json(whole))
        self.tidy()
        return whole

    @property
    def untidy(self) -> bool:
        """Whether a kill just before its end left files that a finished run has no need of."""
        return self.finished and ((self.folder / "checkpoint.pt").exists() or any(self.folder.glob(".*.tmp")))

    def tidy(self) -> None:
        """Remove what a finished run has no need of."""
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def remove(self) -> None:
        """Remove the folder, the record first: what a kill leaves of it is no finished run.

        Raises:
            ValueError: it is a symbolic link, behind which something else may stand.
        """
        if self.folder.is_symlink():
            raise ValueError(f"it is a symbolic link to {self.folder.readlink()}; remove both by hand")
        record = self.folder / "result.json"
        if record.is_dir() and not record.is_symlink():
            shutil.rmtree(record)
        record.unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    def fail(self, reason: str) -> None:
        """Keep the reason why the run stopped: a traceback, or a sentence.

        Raises:
            LockLostError: the run is held no more.
        """
        self._check_held()
        write_bytes(self.folder / "failure.txt", reason.encode(errors="backslashreplace"))

    def diverge(self, divergence: Mapping[str, Any]) -> None:
        """Keep what is known of a run whose loss is no longer finite, its `reason` as that of a failure."""
        self.fail(divergence["reason"])
        write_bytes(self.folder / "diverged.json", to_json(divergence))

    def read_divergence(self) -> bytes | None:
        """What is known of a run that diverged when it was tried last, or None."""
        try:
            return read_file(self.folder / "diverged.json")
        except FileNotFoundError:
            return None

    def failure_mark(self) -> Mark:
        """What tells the run's last failure from the next."""
        return _identity(self.folder / "failure.txt")

    def failed_since(self, mark: Mark) -> bool:
        """Whether the run has failed since a mark was taken."""
        return self.failure_mark() not in (None, mark)

    def failure(self) -> str | None:
        """Why the run failed when it was tried last, in a line; None: it did not."""
        path = self.folder / "failure.txt"
        try:
            with open_file(path) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_REASON))
                return file.read().decode(errors="replace").strip().splitlines()[-1]
        except (FileNotFoundError, IndexError):
            return None
        except OSError as error:
            return f"{path} cannot be read ({error.strerror})"


def _identity(path: Path) -> Mark:
    """Inode and nanosecond of the last change of a file; None: it is not there."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _inode(path: Path) -> int | None:
    """Of a lock, whose date changes whenever a process tries to take it."""
    found = _identity(path)
    return found[0] if found else None


def _whole(lines: Iterable[bytes]) -> list[bytes]:
    return [line for line in lines if line.endswith(b"\n")]


def runs_dir(output_dir: str | Path) -> Path:
    """The folder of all run folders."""
    return Path(output_dir) / "runs"


def open_run(config: Config) -> Run:
    """The run that a config describes; nothing is made yet."""
    return Run(runs_dir(config.runtime.output_dir) / run_id(config))


def all_runs(output_dir: str | Path) -> list[Run]:
    """Every run below `output_dir`, finished, failed or not, by name; also those whose config is not there."""
    marks = ("config.json", "failure.txt", "result.json")
    paths = sorted(runs_dir(output_dir).glob("*"))
    return [Run(path) for path in paths if any(os.path.lexists(path / mark) for mark in marks)]


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of an .npz file, the same for the same arrays."""
    stream = BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def to_json(value: Any, indent: int | None = None) -> bytes:
    """JSON as all files of runs have it."""
    return json.dumps(value, indent=indent).encode()
