"""Measurements of a study that are no training run: named, done once, skipped when they are done."""

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossbench.runs import measurements as store
from lossbench.runs.measurements import Identity


@dataclass(frozen=True)
class Measurement:
    """Something to be measured once.

    Args:
        identity: what it is; its id follows from it.
        measure: computes the result, a mapping that is plain JSON.
    """

    identity: Identity
    measure: Callable[[], Mapping[str, Any]]

    @property
    def id(self) -> str:
        """Its name, with a hash of all that can change the result."""
        return self.identity.id


@dataclass
class Summary:
    """Results and failures of some measurements, by id."""

    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # done before
    busy: list[str] = field(default_factory=list)  # another process is doing them
    failed: dict[str, str] = field(default_factory=dict)  # why, in a sentence
    damaged: list[str] = field(default_factory=list)  # a sentence for each that was damaged and is done again


def result_of(identity: Identity, places: Iterable[str | Path]) -> dict[str, Any] | None:
    """The first undamaged result of a measurement in some folders; None: it is not done.

    Raises:
        ValueError: all there are, at least one, are damaged.
    """
    problems = []
    for place in places:
        try:
            found = store.read(identity, place)
        except ValueError as error:
            problems.append(str(error))
            continue
        if found is not None:
            return found
    if problems:
        raise ValueError(problems[0])
    return None


def measure_all(
    chosen: Iterable[Measurement], output_dir: str | Path, results_dir: str | Path | None = None
) -> Summary:
    """Do the measurements that are not done, below `output_dir`, and copy every result to `results_dir`.

    One that fails is in the summary, with its traceback in `failure.txt`, and the others are done. A damaged result is
    measured again.
    """
    summary = Summary()
    for one in chosen:
        places = [place for place in (output_dir, results_dir) if place is not None]
        try:
            known = result_of(one.identity, places)
        except ValueError as error:
            known = None
            summary.damaged.append(str(error))
        if known is None:
            known = _measured(one, output_dir, summary)
        else:
            summary.skipped.append(one.id)
        if known is not None and results_dir is not None:
            _publish(one, known, results_dir)
    return summary


def _publish(one: Measurement, result: Mapping[str, Any], results_dir: str | Path) -> None:
    try:
        there = store.read(one.identity, results_dir)
    except ValueError:  # damaged, and replaced
        there = None
    if there is None:
        store.write(one.identity, results_dir, result)


def _measured(one: Measurement, output_dir: str | Path, summary: Summary) -> dict[str, Any] | None:
    """The result of a measurement that is done now; None where it failed or another process does it."""
    with store.held(one.identity, output_dir) as free:
        if not free:
            summary.busy.append(one.id)
            return None
        try:
            result = store.write(one.identity, output_dir, one.measure())
        except Exception as error:
            store.fail(one.identity, output_dir, traceback.format_exc())
            summary.failed[one.id] = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return None
    summary.finished.append(one.id)
    return result
