"""The folder of a run, `<output_dir>/runs/<run_id>/`; no other module writes to it.

The run's record is `result.json`, which is written last: the run is finished if it exists.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.run import Config, run_id
from lossbench.runs import lease
from lossbench.runs.lease import Lease
from lossbench.runs.lines import last_line, whole_lines
from lossbench.system.files import append_bytes, append_line, open_file, read_file, remove_leftovers, write_bytes

FORMAT = 2
"""Version of the files of a run; files without one have version 1. Increased when older readers would misread them."""

FILES = ("config.json", "metrics.jsonl", "arrays.npz", "result.json")
"""Files of a finished run; `result.json` comes last."""

WEIGHTS = "weights.safetensors"
"""The weights after the last epoch, of runs that save them; the record has the file's digest."""

JOB_LOG = "job.log"
"""What the process of a job printed while it executed the run."""

DIVERGED_FILES = ("config.json", "failure.txt", "diverged.json")
"""Files of a diverged run that are exported; `diverged.json` comes last."""


LONGEST_REASON = 2**16
"""Only this many bytes at the end of `failure.txt` are read for the reason of a failure."""


_LOST = "this one writes nothing more; run the same command again to continue"


class Status(StrEnum):
    """State of a run."""

    finished = "finished"
    running = "running"  # a process owns it
    failed = "failed"  # running the same command tries it again
    stopped = "stopped"  # running the same command continues it after its last finished epoch


Mark = tuple[int, int] | None
"""Distinguishes one failure of a run from the next, independently of the clock; None: it has not failed."""


class LockLostError(RuntimeError):
    """This process no longer owns the run's folder: another process may now execute the run."""


class Run:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name
        self._lease: Lease | None = None  # while this process owns the folder

    @property
    def finished(self) -> bool:
        """Whether the run is finished; then its record can be read."""
        return os.path.exists(f"{self.folder}/result.json")  # Path.exists would raise without permission

    def status(self) -> Status:
        """The run's present state; determined without writing anything."""
        if self.finished:
            return Status.finished
        if lease.is_held(self.folder):
            return Status.running
        return Status.failed if self.failure() is not None else Status.stopped

    @contextmanager
    def held(self, wait: bool = False) -> Iterator[bool]:
        """Own the run in the block; yields False if another process does. It ends with the process.

        Args:
            wait: wait for an owner on another host that may be dead, at most for the time of its lease.
        """
        with lease.held(self.folder, wait) as mine:
            if mine is None:
                yield False
                return
            with contextlib.suppress(OSError):
                (self.folder / ".lock").unlink(missing_ok=True)  # of older versions
            self._lease = mine
            try:
                yield True
            finally:
                self._lease = None

    def lost(self) -> str | None:
        """A sentence if this process no longer owns the run as it did; None: it does, or never did."""
        why = self._lease.lost() if self._lease is not None else None
        return f"{why}; {_LOST}" if why else None

    def _check_held(self) -> None:
        if self._lease is not None and (why := self._lease.renew()):
            raise LockLostError(f"{why}; {_LOST}")

    def write(self, name: str, content: bytes, once: bool = False) -> None:
        """Write a file atomically; a lost lease is noticed before, and again before the file gets its name.

        Args:
            name: name of the file.
            content: its content.
            once: never replace a file of this name.

        Raises:
            FileExistsError: there is a file of this name, and `once` is true.
            LockLostError: this process no longer owns the run.
        """
        self._check_held()
        write_bytes(self.folder / name, content, self._check_held, once)

    def record(self) -> dict[str, Any]:
        """The record of a finished run."""
        return dict(json.loads(read_file(self.folder / "result.json")))

    def start(self, config: Config) -> None:
        """Create the folder with the run's config, and remove what an earlier failure left in it."""
        self._check_held()
        remove_leftovers(self.folder)
        self.write("config.json", to_json(asdict(config), indent=2))
        for name in ("diverged.json", "failure.txt"):
            (self.folder / name).unlink(missing_ok=True)

    def read_checkpoint(self) -> bytes | None:
        """The state after the last finished epoch, or None."""
        path = self.folder / "checkpoint.pt"
        return read_file(path) if path.exists() else None

    def write_checkpoint(self, state: bytes) -> None:
        """Write the state after an epoch atomically, replacing that of the epoch before.

        Raises:
            LockLostError: this process no longer owns the run.
        """
        self.write("checkpoint.pt", state)

    def restart(self) -> None:
        """Remove checkpoint, metrics and weights, so that the run begins again."""
        self._check_held()
        for name in ("checkpoint.pt", "metrics.jsonl", WEIGHTS):
            (self.folder / name).unlink(missing_ok=True)

    def metrics(self, last_epoch: int) -> list[dict[str, Any]]:
        """The lines of epochs 1..last_epoch; anything after them is removed from the file.

        Raises:
            ValueError: one of these lines is missing or damaged.
        """
        path, lines = self.folder / "metrics.jsonl", self._lines()
        kept = _whole(lines[:last_epoch])
        try:
            metrics = [dict(json.loads(line)) for line in kept]
            epochs = [line["epoch"] for line in metrics]
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"{path} holds a damaged line among the first {last_epoch}") from error
        if epochs != list(range(1, last_epoch + 1)):
            raise ValueError(f"{path} lacks some of the epochs 1 to {last_epoch}")
        if kept != lines:
            self.write(path.name, b"".join(kept))
        return metrics

    def metrics_sha256(self) -> str:
        """SHA-256 of `metrics.jsonl`, in hexadecimal."""
        return hashlib.sha256(b"".join(self._lines())).hexdigest()

    def whole_metrics(self) -> Iterator[bytes]:
        """The lines of `metrics.jsonl`; see `whole_lines`."""
        return whole_lines(self.folder / "metrics.jsonl")

    def last_metrics(self) -> bytes | None:
        """The last complete line of `metrics.jsonl`; None: there is none."""
        return last_line(self.folder / "metrics.jsonl")

    def _lines(self) -> list[bytes]:
        path = self.folder / "metrics.jsonl"
        return read_file(path).splitlines(keepends=True) if path.exists() else []

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Append the line of an epoch.

        Raises:
            LockLostError: this process no longer owns the run.
        """
        self._check_held()
        append_bytes(self.folder / "metrics.jsonl", to_json(line) + b"\n")

    def log(self, text: str) -> None:
        """Append a line to the run's log.

        Raises:
            LockLostError: this process no longer owns the run.
        """
        self._check_held()
        append_line(self.folder / "train.log", text)

    def finish(
        self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], weights: bytes | None = None
    ) -> dict[str, Any]:
        """Write arrays, weights and record, in this order, and remove the checkpoint.

        Args:
            record: the fields of the record.
            arrays: content of `arrays.npz`.
            weights: content of `weights.safetensors`; None: the run keeps none.

        Returns:
            The record with the digests of both files.

        Raises:
            LockLostError: this process no longer owns the run.
        """
        content = packed(arrays)
        written = dict(record) | {"arrays_sha256": hashlib.sha256(content).hexdigest()}
        self.write("arrays.npz", content)
        if weights is None:
            (self.folder / WEIGHTS).unlink(missing_ok=True)  # left by a process killed before it wrote the record
        else:
            written["weights"] = {"sha256": hashlib.sha256(weights).hexdigest(), "bytes": len(weights)}
            self.write(WEIGHTS, weights)
        try:
            self.write("result.json", to_json(written), once=True)
        except FileExistsError:
            path = self.folder / "result.json"
            raise LockLostError(f"{path} was written by another process meanwhile; {_LOST}") from None
        self.tidy()
        return written

    @property
    def untidy(self) -> bool:
        """Whether the run is finished but a kill just before its end left files that it no longer needs."""
        if not self.finished:
            return False
        files = os.listdir(self.folder)
        return "checkpoint.pt" in files or any(name.startswith(".") and name.endswith(".tmp") for name in files)

    def tidy(self) -> None:
        """Remove files that a finished run no longer needs."""
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        remove_leftovers(self.folder)

    def remove(self) -> None:
        """Remove the folder, its record first, so that an interrupted removal leaves no finished run.

        Raises:
            ValueError: it is a symbolic link, which may lead to something else.
        """
        if self.folder.is_symlink():
            raise ValueError(f"it is a symbolic link to {self.folder.readlink()}; remove both by hand")
        record = self.folder / "result.json"
        if record.is_dir() and not record.is_symlink():
            shutil.rmtree(record)
        record.unlink(missing_ok=True)
        if self._lease is None:
            shutil.rmtree(self.folder)
            return
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                if path.name != lease.CLAIM:
                    shutil.rmtree(path)
            else:
                path.unlink()
        self._lease.remove()  # last, so that no other process begins in a folder that is being removed
        try:
            self.folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another process has begun in it since
                raise

    def fail(self, reason: str) -> None:
        """Write the reason why the run stopped: a traceback or a sentence.

        Raises:
            LockLostError: this process no longer owns the run.
        """
        self.write("failure.txt", reason.encode(errors="backslashreplace"))

    def diverge(self, divergence: Mapping[str, Any]) -> None:
        """Write the facts about a diverged run, whose loss is no longer finite, and their `reason` as a failure's.

        Raises:
            LockLostError: this process no longer owns the run.
        """
        self.fail(divergence["reason"])
        self.write("diverged.json", to_json(divergence))

    def read_divergence(self) -> bytes | None:
        """The facts about a run that diverged when it was last tried, or None."""
        try:
            return read_file(self.folder / "diverged.json")
        except FileNotFoundError:
            return None

    def failure_mark(self) -> Mark:
        """A mark that distinguishes the run's last failure from the next."""
        return _identity(self.folder / "failure.txt")

    def failed_since(self, mark: Mark) -> bool:
        """Whether the run has failed since a mark was taken."""
        return self.failure_mark() not in (None, mark)

    def failure(self) -> str | None:
        """Why the run failed when it was last tried, in one line; None: it did not."""
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
    """Inode of a file and time of its last change, in ns; None: it does not exist."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _whole(lines: Iterable[bytes]) -> list[bytes]:
    return [line for line in lines if line.endswith(b"\n")]


def runs_dir(output_dir: str | Path) -> Path:
    """The folder of all run folders."""
    return Path(output_dir) / "runs"


def open_run(config: Config) -> Run:
    """The run that a config describes; its folder is not created yet."""
    return Run(runs_dir(config.runtime.output_dir) / run_id(config))


def all_runs(output_dir: str | Path) -> list[Run]:
    """Every run below `output_dir` in any state, sorted by name; also runs without a config."""
    return [*_listed(runs_dir(output_dir))]


def any_run(output_dir: str | Path) -> bool:
    """Whether there is a run below `output_dir`; ends with the first one."""
    return next(_listed(runs_dir(output_dir)), None) is not None


def runs_named(output_dir: str | Path, names: Collection[str] | None) -> list[Run]:
    """Those of the runs below `output_dir` that have one of these names, sorted by name; None: all runs."""
    if names is None:
        return all_runs(output_dir)
    folder = runs_dir(output_dir)
    return [Run(folder / name) for name in sorted(set(names)) if _is_run(f"{folder}/{name}")]


def _listed(folder: Path) -> Iterator[Run]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    yield from (Run(folder / name) for name in names if _is_run(f"{folder}/{name}"))


def _is_run(path: str) -> bool:
    return any(os.path.lexists(f"{path}/{mark}") for mark in ("config.json", "failure.txt", "result.json"))


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of an .npz file; equal arrays give equal bytes."""
    stream = BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def to_json(value: Any, indent: int | None = None) -> bytes:
    """A value as JSON in the form used by all files of runs."""
    return json.dumps(value, indent=indent).encode()
