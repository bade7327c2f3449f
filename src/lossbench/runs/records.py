"""Reading and checking records, of own runs and of those committed to `results/`.

A record is a run's `result.json`. Committed records are lines of `results/records.jsonl`, with arrays in
`results/arrays/`. A diverged run has a result as well, its `diverged.json`; committed ones are lines of
`results/failures.jsonl`. Damaged or contradictory records are left out and reported as problems, never silently.
"""

import hashlib
import json
import math
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lossbench import NUMERICS
from lossbench.config.run import name_of
from lossbench.data.labels import test_labels
from lossbench.runs.checks import (
    DAMAGES,
    FILE_LIMIT,
    accuracy_in,
    check_fields,
    content_of,
    load_arrays,
    number,
    numbers,
)
from lossbench.runs.folder import Run, all_runs, runs_named
from lossbench.system.machine import without_collector
from lossbench.system.shipped import is_shipped

ACCURACY_TOLERANCE = 1e-3
"""Largest difference between accuracies of arrays and record: evaluated again, a GPU may predict a few differently."""

Text = bytes | Path
"""Source of a record: its text, or a file that is read when needed."""


@dataclass(frozen=True)
class Record:
    """A finished run: the fields of its record, and the path of its arrays."""

    fields: Mapping[str, Any]
    arrays_path: Path

    @property
    def id(self) -> str:
        """The run's name."""
        return str(self.fields["run_id"])

    @property
    def digests(self) -> set[str]:
        """SHA-256 of its arrays: of the present ones and, if some were dropped, of the original ones."""
        pruned = self.fields.get("pruned")
        return {str(self.fields["arrays_sha256"]), *([str(pruned["full_sha256"])] if pruned else [])}

    def arrays(self) -> dict[str, np.ndarray] | None:
        """The arrays of `arrays.npz`, or None if the file does not exist.

        Raises:
            ValueError: they are not those that the run wrote, or contradict its record.
        """
        if not os.path.lexists(self.arrays_path):
            return None
        return self.unpack(content_of(self.arrays_path, FILE_LIMIT))

    def unpack(self, content: bytes) -> dict[str, np.ndarray]:
        """The arrays in the bytes of an `arrays.npz`.

        Raises:
            ValueError: they are not those that the run wrote, or contradict its record.
        """
        if hashlib.sha256(content).hexdigest() not in self.digests:
            raise ValueError(f"{self.arrays_path} is not what {self.id} wrote; remove it, or restore it")
        try:
            arrays = load_arrays(content)
            counted = accuracy_in(arrays)
        except (*DAMAGES, EOFError, MemoryError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.arrays_path} holds damaged arrays ({said(error)}); remove it") from error
        if not abs(counted - _result(self)) <= ACCURACY_TOLERANCE:
            raise ValueError(f"{self.arrays_path} gives the accuracy {counted}, but the record of {self.id} another")
        self.test_labels(arrays)
        return arrays

    def test_labels(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """Classes of the images that the run was tested on, integers [N], in the order of its predictions.

        They are kept with its arrays; an older run has none, and they are those of its data set.

        Returns:
            The labels; None where the run kept none and was not tested on published test images.

        Raises:
            ValueError: they are not as many as the run's predictions, or its config names no data set.
        """
        try:
            labels = arrays["test_labels"] if "test_labels" in arrays else test_labels(self.fields["config"]["dataset"])
        except DAMAGES as error:
            raise ValueError(f"the config of {self.id} has a damaged data set ({said(error)}); remove it") from error
        for name in ("test_predictions", "test_logits"):
            if labels is not None and name in arrays and len(arrays[name]) != len(labels):
                raise ValueError(
                    f"{self.arrays_path} holds {name} of {len(arrays[name])} images, and {self.id} is tested on "
                    f"{len(labels)}; remove it"
                )
        return labels


@dataclass(frozen=True)
class Divergence:
    """A run whose loss stopped being finite: the fields of its `diverged.json`."""

    fields: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The run's name."""
        return str(self.fields["run_id"])

    @property
    def reason(self) -> str:
        """A sentence that says where its loss stopped being finite."""
        return str(self.fields["reason"])


@dataclass(frozen=True)
class Problem:
    """A record that cannot be trusted."""

    message: str  # what is wrong, where, and what can be done
    run: str | None = None  # its folder's name, or a committed record's; None: the text does not give it

    def __str__(self) -> str:
        return self.message


class Found(NamedTuple):
    """Valid records by name, what is wrong with the others, and diverged runs by name."""

    records: dict[str, Record]
    problems: list[Problem]
    diverged: Mapping[str, Divergence] = MappingProxyType({})


def own_records(output_dir: str | Path, names: Collection[str] | None = None) -> Found:
    """Records of the finished runs below `output_dir`, and the runs that diverged when they were last tried.

    Args:
        output_dir: folder that contains runs/.
        names: names of the runs to read; None: all.
    """
    return records_of(runs_named(output_dir, names))


def records_of(runs: Iterable[Run]) -> Found:
    """Records of those of some runs that are finished, and those that diverged when they were last tried."""
    known = [(run.folder, run.finished) for run in runs]
    done = [folder for folder, is_done in known if is_done]
    others = [folder / "diverged.json" for folder, is_done in known if not is_done]
    return found_in(
        ((path / "result.json", path / "arrays.npz", f"{path}/result.json", path.name) for path in done),
        ((path, str(path), path.parent.name) for path in others if os.path.lexists(path)),
    )


def committed_records(results_dir: str | Path | None) -> Found:
    """Records and diverged runs in `results/`; none if the folder does not exist or is None."""
    if not results_dir:
        return Found({}, [])
    folder = Path(results_dir)
    try:
        records, failed = _lines(folder / "records.jsonl"), _lines(folder / "failures.jsonl")
    except ValueError as error:
        return Found({}, [Problem(str(error))])
    return found_in(
        ((line, folder / "arrays", place, None) for line, place in records),
        ((line, place, None) for line, place in failed),
    )


def record_in(folder: Path) -> Record:
    """The record of the finished run in a folder, whatever the folder is called.

    Raises:
        ValueError: it cannot be trusted.
    """
    path = folder / "result.json"
    return _record(path, folder / "arrays.npz", str(path))


def _lines(path: Path) -> list[tuple[bytes, str]]:
    """The nonempty lines of a file, each with its place; none if the file does not exist."""
    lines = content_of(path, FILE_LIMIT).splitlines() if os.path.lexists(path) else []
    return [(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def all_records(output_dir: str | Path, results_dir: str | Path | None) -> Found:
    """Records of own and committed runs; the own record wins where there are both."""
    return merge(own_records(output_dir), committed_records(results_dir))


def failures(output_dir: str | Path, found: Found) -> dict[str, str]:
    """Why runs without a record failed, by name: own runs when they were last tried, and all diverged ones."""
    failed = {run.id: reason for run in all_runs(output_dir) if (reason := run.failure()) is not None}
    failed |= {name: divergence.reason for name, divergence in found.diverged.items()}
    return {name: reason for name, reason in failed.items() if name not in found.records}


def merge(first: Found, second: Found) -> Found:
    """Merge two sets of records; the first wins where both have a run, and neither is kept if they contradict.

    Two records contradict each other if they give different accuracies for a run that is bitwise repeatable on the
    same device, threads and versions: every run on a CPU, deterministic runs on a GPU (otherwise kernels are chosen by
    their speed). A run with a record in either set does not count as diverged.
    """
    merged, problems = dict(first.records), first.problems + second.problems
    for name, record in second.records.items():
        known = merged.setdefault(name, record)
        same = _machine(known.fields) == _machine(record.fields) and _repeats(record.fields)
        if same and _result(known) != _result(record):
            del merged[name]
            message = (
                f"two records of {name} disagree: test_accuracy {_result(known)} beside {known.arrays_path} and "
                f"{_result(record)} beside {record.arrays_path}, on the same device, threads and versions; remove the "
                f"wrong one, or ignore committed records with results_dir=null"
            )
            problems.append(Problem(message, name))
    diverged = {**second.diverged, **first.diverged}
    has_record = first.records.keys() | second.records.keys()
    return Found(merged, problems, {name: diverged[name] for name in diverged if name not in has_record})


def outdated(records: Iterable[Record]) -> list[str]:
    """Names of the records of another `NUMERICS`; tables do not use them."""
    return [record.id for record in records if record.fields["numerics"] != NUMERICS]


def without_arrays(found: Found) -> dict[str, Path]:
    """Records of folders that have no arrays at all, like the installed package's: their folders by name of the run."""
    folders = {name: record.arrays_path.parent for name, record in found.records.items()}
    bare = {folder for folder in set(folders.values()) if not os.path.lexists(folder)}
    return {name: folder.parent for name, folder in folders.items() if folder in bare}


def verify(found: Found, read: Callable[[Record], object | None] | None = None) -> list[Problem]:
    """All problems, including those of reading the arrays of every record; missing arrays are a problem too.

    A folder without any arrays is one problem, and none if it is that of the installed package.

    Args:
        found: the records.
        read: reads a record's arrays, returns None if there are none, raises a ValueError if they are damaged; None:
            `Record.arrays`.
    """
    read, problems = read or Record.arrays, list(found.problems)
    bare = without_arrays(found)
    for name, record in found.records.items():
        try:
            if read(record) is None and name not in bare:
                problems.append(Problem(f"{record.arrays_path} is missing", record.id))
        except ValueError as error:
            problems.append(Problem(str(error), record.id))
    counts = Counter(folder for folder in bare.values() if not is_shipped(folder))
    return problems + [Problem(f"{folder}/arrays is missing, of {count} records") for folder, count in counts.items()]


def found_in(
    records: Iterable[tuple[Text, Path, str, str | None]], diverged: Iterable[tuple[Text, str, str | None]]
) -> Found:
    """Read and check records and divergences.

    Args:
        records: for each its text, the path of its arrays, its place for messages, and its folder's name, if any.
        diverged: for each its text, its place for messages, and its folder's name, if any.
    """
    with without_collector():
        known, problems = _each_once(
            (partial(_record, text, arrays, place), place, name) for text, arrays, place, name in records
        )
        others, more = _each_once((partial(_divergence, text, place), place, name) for text, place, name in diverged)
    return Found(known, problems + more, others)


_Result = TypeVar("_Result", Record, Divergence)


def _each_once(
    sources: Iterable[tuple[Callable[[], _Result], str, str | None]],
) -> tuple[dict[str, _Result], list[Problem]]:
    results: dict[str, _Result] = {}
    problems: list[Problem] = []
    for read, place, folder in sources:
        try:
            result = read()
        except ValueError as error:
            problems.append(Problem(str(error), folder))
            continue
        if folder not in (None, result.id):
            problems.append(Problem(f"{place} is the record of {result.id}; rename the folder, or remove it", folder))
            continue
        if result.id in results:
            problems.append(Problem(f"{place} holds {result.id} a second time; remove one", folder))
        results.setdefault(result.id, result)
    return results, problems


def _record(text: Text, arrays: Path, place: str) -> Record:
    text = _content(text)
    try:
        fields, named, identity = _identified(text, "arrays_sha256")
        last, best = (number(fields[name]) for name in ("test_accuracy", "test_accuracy_best"))
        test, train = (numbers(fields["curves"][f"{split}/accuracy"]) for split in ("test", "train"))
        end, peak = test[-1], max(test)
        epochs = number(fields["config"]["schedule"]["epochs"])
    except DAMAGES as error:
        raise ValueError(f"{place} holds a damaged record ({said(error)}); remove it, or restore the file") from error
    _check_name(named, identity, place)
    accuracies = (last, best, *test, *train)
    if any(map(math.isnan, accuracies)) or not (min(accuracies) >= 0 and max(accuracies) <= 1):
        raise ValueError(f"{place} holds a record with the accuracies {[last, best]} or curves not in 0..1; remove it")
    if (last, best, epochs, epochs) != (end, peak, len(test), len(train)):
        raise ValueError(
            f"{place} holds a record with the accuracies {[last, best]} and curves of {len(test)} and {len(train)} of "
            f"{epochs:g} epochs that end at {end}, at best {peak}; remove it"
        )
    return Record(fields, arrays if arrays.suffix == ".npz" else arrays / f"{named}.npz")


def _divergence(text: Text, place: str) -> Divergence:
    text = _content(text)
    try:
        fields, named, identity = _identified(text, "reason")
        epoch, step, reason = fields["epoch"], fields["step"], fields["reason"]
        epochs = number(fields["config"]["schedule"]["epochs"])
        counted = all(type(count) is int and count >= 1 for count in (epoch, 1 if step is None else step))
        if not (counted and epoch <= epochs and reason and reason.isprintable()):
            raise ValueError(f"epoch {epoch!a:.40} of {epochs:g}, step {step!a:.40}, reason {reason!a}")
    except DAMAGES as error:
        raise ValueError(f"{place} holds a damaged divergence ({said(error)}); remove or restore it") from error
    _check_name(named, identity, place)
    return Divergence(fields)


def _identified(text: bytes, *texts: str) -> tuple[dict[str, Any], str, str]:
    """The fields in a text, the run's name in them, and the name of their config; `texts` are further text fields."""
    fields = json.loads(text)
    if not text.isascii() or b"\\u" in text or b"\0" in text:  # half of a character may be there, and raises here
        json.dumps(fields, ensure_ascii=False).encode()
    said = [fields[name] for name in ("device", "device_name", "precision", *texts)]
    said += [fields["versions"]["torch"], "" if fields["commit"] is None else fields["commit"]]
    int(fields["config"]["seed"]), "".join(said)  # raises if one is no text
    check_fields(fields)
    return fields, str(fields["run_id"]), name_of(fields["config"], fields["numerics"])


def _check_name(named: str, identity: str, place: str) -> None:
    if named != identity or not re.fullmatch(r"[\w.-]{1,200}", named, re.ASCII):
        raise ValueError(f"{place} holds a record named {named!a} whose config is that of {identity!a}; remove it")


def _content(text: Text) -> bytes:
    return content_of(text) if isinstance(text, Path) else text


def said(error: BaseException) -> str:
    """An error in at most 200 characters: those of a decoder repeat the entire file."""
    return f"{type(error).__name__}: {error!s:.200}"


def _result(record: Record) -> float:
    return float(record.fields["test_accuracy"])


def _repeats(fields: Mapping[str, Any]) -> bool:
    """Whether a run is bitwise repeatable on the same kind of machine."""
    return bool(fields.get("deterministic")) or not str(fields.get("device")).startswith("cuda")


def _machine(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """Everything that may change a run's last digits without being part of its name."""
    keys = ("device", "device_name", "num_threads", "deterministic", "versions")
    parts = sessions_of(fields)
    return tuple(json.dumps(of.get(key), sort_keys=True) for of in (fields, *parts[:-1]) for key in ("epoch", *keys))


def sessions_of(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The sessions in which a run was executed, from its record or divergence; none in older ones."""
    said = fields.get("sessions")
    return [session for session in said if isinstance(session, Mapping)] if isinstance(said, list) else []
