"""The folder of a sweep on an engine, `<output_dir>/sweeps/<name>/`: its runs, its jobs, and what was submitted.

A sweep's name follows from its runs, so the same command finds the jobs that it submitted before.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lossbench.engines.jobs import names_in
from lossbench.runs import lease
from lossbench.runs.folder import Mark
from lossbench.system.files import append_bytes, read_file, write_bytes

FORMAT = 1
"""Version of the files of a sweep."""


@dataclass(frozen=True)
class Submitted:
    """A job that was handed to an engine."""

    id: str  # the engine's
    path: Path  # the file of the job
    logs: tuple[str, ...]  # files with its output, the one with errors first


class Sweep:
    """The folder of a sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked for: engine, command, launcher and the names of the runs.

        Raises:
            ValueError: the file is damaged.
        """
        path = self.folder / "sweep.json"
        try:
            found = dict(json.loads(read_file(path)))
            if found["format"] != FORMAT or not isinstance(found["runs"], list):
                raise ValueError(f"format {found['format']}")
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error!s:.100}); remove {self.folder} and submit again") from error
        return found

    @property
    def runs(self) -> list[str]:
        """The names of its runs."""
        return [str(name) for name in self.facts["runs"]]

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write what was asked for."""
        write_bytes(self.folder / "sweep.json", json.dumps({"format": FORMAT, **facts}, indent=1).encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other process submit jobs of this sweep in the block.

        Raises:
            ValueError: another process does so now.
        """
        with lease.held(self.folder, wait=True) as mine:
            if mine is None:
                raise ValueError(f"another process is submitting the sweep {self.name}; wait for it")
            yield

    def write_job(self, job: Mapping[str, Any]) -> Path:
        """Write a job to a file of its own."""
        folder = self.folder / "jobs"
        folder.mkdir(parents=True, exist_ok=True)
        taken = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]
        path = folder / f"{max(taken, default=-1) + 1}.json"
        write_bytes(path, json.dumps(job).encode())
        return path

    def add(self, jobs: Iterable[Submitted]) -> None:
        """Note jobs that have been submitted."""
        lines = [json.dumps({"id": job.id, "job": job.path.name, "logs": job.logs}) for job in jobs]
        append_bytes(self.folder / "submitted.jsonl", "".join(f"{line}\n" for line in lines).encode())

    def submitted(self) -> dict[str, Submitted]:
        """The jobs submitted so far, by id."""
        path = self.folder / "submitted.jsonl"
        found: dict[str, Submitted] = {}
        for line in read_file(path).splitlines(keepends=True) if path.exists() else []:
            if line.endswith(b"\n"):  # a killed process may leave part of one
                known = json.loads(line)
                found[known["id"]] = Submitted(
                    known["id"], self.folder / "jobs" / known["job"], tuple(map(str, known["logs"]))
                )
        return found

    def runs_of(self, ids: Collection[str]) -> dict[str, str]:
        """The id of the last of some jobs that has a run, by the run's name."""
        found: dict[str, str] = {}
        for id_, job in self.submitted().items():
            if id_ in ids:
                found |= dict.fromkeys(_names(job.path), id_)
        return found

    def marks(self) -> dict[str, Mark]:
        """Mark of each run's last failure before it was submitted last, by name."""
        found: dict[str, Mark] = {}
        for job in self.submitted().values():
            for run in json.loads(read_file(job.path))["runs"]:
                mark = run["mark"]
                found[run["run_id"]] = None if mark is None else (int(mark[0]), int(mark[1]))
        return found


@cache
def _names(path: Path) -> list[str]:
    """The names of the runs of a job, whose file never changes."""
    return names_in(json.loads(read_file(path)))


def sweeps_dir(output_dir: str | Path) -> Path:
    """The folder of all sweeps' folders."""
    return Path(output_dir) / "sweeps"


def all_sweeps(output_dir: str | Path) -> list[Sweep]:
    """Every sweep below `output_dir`, the last one submitted first."""
    paths = [path for path in sweeps_dir(output_dir).glob("*") if (path / "sweep.json").exists()]
    return [Sweep(path) for path in sorted(paths, key=lambda path: -(path / "sweep.json").stat().st_mtime)]


def find_sweep(output_dir: str | Path, name: str | None) -> Sweep:
    """The sweep of a name, or of the beginning of one; None: the only one, or the last one submitted.

    Raises:
        ValueError: there is none, or more than one with this beginning.
    """
    every = all_sweeps(output_dir)
    there = sweeps_dir(output_dir)
    if not every:
        raise ValueError(f"there is no sweep in {there}; launcher=slurm makes one, --output-dir names another folder")
    if name is None:
        return every[0]
    fitting = [sweep for sweep in every if sweep.name.startswith(name)]
    exact = [sweep for sweep in fitting if sweep.name == name]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    known = ", ".join(sweep.name for sweep in (fitting or every)[:8])
    raise ValueError(f"there is no sweep {name}, only {known}" if not fitting else f"{name} may be {known}; name one")


def sweep_of(output_dir: str | Path, engine: str, names: Sequence[str]) -> Sweep:
    """The sweep with the given runs; its folder need not exist."""
    digest = hashlib.sha256("\n".join(sorted(set(names))).encode()).hexdigest()[:8]
    return Sweep(sweeps_dir(output_dir).absolute() / f"{engine}-{len(set(names))}-{digest}")
