"""Bringing finished and diverged runs of other output folders, here or on other hosts, into one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lossbench.runs.archive import add_weights, has_result, kinds_of, read_run, take, with_weights
from lossbench.runs.checks import FILE_LIMIT, content_of
from lossbench.runs.folder import WEIGHTS, Run, all_runs, runs_dir
from lossbench.runs.records import Divergence, Found, Record, merge, own_records
from lossbench.runs.remote import RESULTS_FIRST, Remote, fetch, remote_of, staged


@dataclass
class Collected:
    """What came of a source.

    Args:
        new: names of runs that were added, or got their weights.
        known: names of runs that were here already.
        unfinished: why a run has no result there yet, by name: its failure, or an empty text.
        left_out: a sentence for every run whose result is damaged, disagrees with the one here, or is running here.
    """

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    unfinished: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


class _Wanted(NamedTuple):
    """A run that is to be brought: its result there, its folder here, and its files that are lacking here."""

    result: Record | Divergence
    run: Run
    names: tuple[str, ...]


def collect(source: str, output_dir: str | Path, weights: bool = False) -> Collected:
    """Bring the finished and diverged runs of another output folder into `output_dir`.

    Every file is verified as by an import. Runs that have a result here stay as they are; of those on another host
    only configs and results are copied.

    Args:
        source: DIR, or HOST:DIR for a folder on a host that ssh reaches.
        output_dir: the folder of own runs.
        weights: whether saved weights come too, also for runs that are here without theirs.

    Raises:
        ValueError: the source is no output folder, or is this one; or a host cannot be used, see `runs.remote`.
    """
    remote = remote_of(source)
    with _folder_of(source, remote, output_dir) as folder:
        there, own = own_records(folder), own_records(output_dir)
        collected = Collected(left_out=[problem.message for problem in there.problems])
        wanted = list(_wanted(there, own, output_dir, weights, collected))
        if remote is not None:
            names = [f"{one.run.id}/{name}" for one in wanted for name in one.names if name not in RESULTS_FIRST]
            fetch(remote, folder, names)
        for one in wanted:
            _bring(one, runs_dir(folder) / one.run.id, own.records, collected)
            if remote is not None:
                _forget(runs_dir(folder) / one.run.id, one.names)
        broken = {problem.run for problem in there.problems}
        for run in all_runs(folder):
            if run.id not in broken and run.id not in there.records and run.id not in there.diverged:
                collected.unfinished[run.id] = run.failure() or ""
        if remote is not None:
            collected.left_out = [text.replace(str(folder), str(remote)) for text in collected.left_out]
    return collected


@contextmanager
def _folder_of(source: str, remote: Remote | None, output_dir: str | Path) -> Iterator[Path]:
    """The source's folder, or the one into which it is copied."""
    if remote is not None:
        with staged(remote, output_dir) as folder:
            yield folder
        return
    folder = Path(source)
    if not runs_dir(folder).is_dir():
        raise ValueError(f"{source}: there is no folder {runs_dir(folder)}; name the folder that has runs/ in it")
    if runs_dir(folder).resolve() == runs_dir(output_dir).resolve():
        raise ValueError(f"{source} is the folder into which the runs are brought; name another")
    yield folder


def _wanted(there: Found, own: Found, output_dir: str | Path, weights: bool, collected: Collected) -> Iterator[_Wanted]:
    """The runs to bring; the others are noted."""
    problems = merge(own._replace(problems=[]), there._replace(problems=[])).problems
    disagreeing = {problem.run for problem in problems}
    collected.left_out += [problem.message for problem in problems]
    for _, results, usual in kinds_of(there):
        for name, result in results.items():
            run = Run(runs_dir(output_dir) / name)
            has_weights = weights and isinstance(result, Record) and "weights" in result.fields
            if name in disagreeing:
                continue
            if not has_result(run, usual):
                yield _Wanted(result, run, with_weights(usual) if has_weights else usual)
            elif has_weights and name in own.records and not os.path.lexists(run.folder / WEIGHTS):
                yield _Wanted(result, run, (WEIGHTS,))
            else:
                collected.known.append(name)


def _bring(wanted: _Wanted, folder: Path, own: Mapping[str, Record], collected: Collected) -> None:
    """Verify a run's files in a folder, and write them here."""
    run = wanted.run
    try:
        if wanted.names == (WEIGHTS,):
            is_new: bool | None = add_weights(run, own[run.id], content_of(folder / WEIGHTS, FILE_LIMIT))
        else:
            is_new = take(run, read_run(wanted.result, folder, wanted.names))
    except ValueError as error:
        collected.left_out.append(str(error))
        return
    if is_new is None:
        collected.left_out.append(f"{run.id} is running here; collect it again when it has ended")
    else:
        (collected.new if is_new else collected.known).append(run.id)


def _forget(folder: Path, names: tuple[str, ...]) -> None:
    """Remove what was copied of a run beside its results."""
    for name in names:
        if name not in RESULTS_FIRST:
            (folder / name).unlink(missing_ok=True)
