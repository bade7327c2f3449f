"""Records of own runs and of `results/`: which are there, and which can be trusted.

A record is a run's `result.json`. Committed ones lie in `results/` as lines of `records.jsonl`, arrays beside them.
A run that diverged has come to a result as well, its `diverged.json`; committed ones are lines of `failures.jsonl`.
What is damaged or contradictory is left out and named as a problem; nothing is dropped in silence.
"""

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lossbench import NUMERICS
from lossbench.config.run import name_of
from lossbench.runs.checks import DAMAGES, FILE_LIMIT, accuracy_in, check_fields, content_of, load_arrays, number
from lossbench.runs.folder import all_runs

COUNTED_ANEW = 1e-3
"""How far the accuracy in the arrays may be from the record's: after a stop a GPU may see a few images otherwise."""

Text = bytes | Path
"""What a record is read from: its text, or a file, which is read when its turn comes."""


@dataclass(frozen=True)
class Record:
    """A finished run: its record, and where its arrays are."""

    fields: Mapping[str, Any]
    arrays_path: Path

    @property
    def id(self) -> str:
        """The run's name."""
        return str(self.fields["run_id"])

    @property
    def digests(self) -> set[str]:
        """SHA-256 of its arrays, as they are and, where some were dropped, as the run wrote them."""
        pruned = self.fields.get("pruned")
        return {str(self.fields["arrays_sha256"]), *([str(pruned["full_sha256"])] if pruned else [])}

    def arrays(self) -> dict[str, np.ndarray] | None:
        """The arrays of `arrays.npz`, or None where they are not at hand.

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
        if not abs(counted - _result(self)) <= COUNTED_ANEW:
            raise ValueError(f"{self.arrays_path} counts the accuracy {counted}, the record of {self.id} another one")
        return arrays


@dataclass(frozen=True)
class Divergence:
    """A run whose loss stopped being finite: what its `diverged.json` says."""

    fields: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The run's name."""
        return str(self.fields["run_id"])

    @property
    def reason(self) -> str:
        """Where its loss stopped being finite, in a sentence."""
        return str(self.fields["reason"])


class Found(NamedTuple):
    """Records that can be trusted, by name, a sentence for everything that cannot, and the runs that diverged."""

    records: dict[str, Record]
    problems: list[str]
    diverged: Mapping[str, Divergence] = MappingProxyType({})


def own_records(output_dir: str | Path, names: Collection[str] | None = None) -> Found:
    """The records of the finished runs below `output_dir`, and the others that diverged when they were tried last.

    Args:
        output_dir: where runs/ is.
        names: of the runs that are asked for; None: all.
    """
    runs = [run for run in all_runs(output_dir) if names is None or run.id in names]
    paths = [run.folder / "result.json" for run in runs if run.finished]
    diverged = [run.folder / "diverged.json" for run in runs if not run.finished]
    return found_in(
        ((path, path.parent / "arrays.npz", str(path), path.parent.name) for path in paths),
        ((path, str(path), path.parent.name) for path in diverged if os.path.lexists(path)),
    )


def committed_records(results_dir: str | Path | None) -> Found:
    """The records and the diverged runs in `results/`; none where the folder is not there or not wanted."""
    if not results_dir:
        return Found({}, [])
    folder = Path(results_dir)
    try:
        records, failed = _lines(folder / "records.jsonl"), _lines(folder / "failures.jsonl")
    except ValueError as error:
        return Found({}, [str(error)])
    return found_in(
        ((line, folder / "arrays", place, None) for line, place in records),
        ((line, place, None) for line, place in failed),
    )


def _lines(path: Path) -> list[tuple[bytes, str]]:
    """The lines of a file that are not empty, each with its place; none where it is not there."""
    lines = content_of(path, FILE_LIMIT).splitlines() if os.path.lexists(path) else []
    return [(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]


def all_records(output_dir: str | Path, results_dir: str | Path | None) -> Found:
    """The records of the own and the committed runs; of a run that is there twice the own."""
    return merge(own_records(output_dir), committed_records(results_dir))


def failures(output_dir: str | Path, found: Found) -> dict[str, str]:
    """Why runs failed, by name: own ones when they were tried last, and all that diverged; none that has a record."""
    failed = {run.id: reason for run in all_runs(output_dir) if (reason := run.failure()) is not None}
    failed |= {name: divergence.reason for name, divergence in found.diverged.items()}
    return {name: reason for name, reason in failed.items() if name not in found.records}


def merge(first: Found, second: Found) -> Found:
    """Both; of a run that is there twice the first, and neither where they contradict each other.

    They do if a run that is the same to the bit wherever it is repeated gave two results: on a CPU any, on a GPU a
    deterministic one; elsewhere kernels are chosen by their time.

    A run that has a record in either has not diverged.
    """
    merged, problems = dict(first.records), first.problems + second.problems
    for name, record in second.records.items():
        known = merged.setdefault(name, record)
        same = _machine(known.fields) == _machine(record.fields) and _repeats(record.fields)
        if same and _result(known) != _result(record):
            del merged[name]
            problems.append(
                f"two records of {name} disagree: test_accuracy {_result(known)} beside {known.arrays_path} and "
                f"{_result(record)} beside {record.arrays_path}, on the same device, threads and versions; remove the "
                f"wrong one, or leave out the committed with results_dir=null"
            )
    diverged = {**second.diverged, **first.diverged}
    has_record = first.records.keys() | second.records.keys()
    return Found(merged, problems, {name: diverged[name] for name in diverged if name not in has_record})


def outdated(records: Iterable[Record]) -> list[str]:
    """Names of the records whose numbers an earlier or later `NUMERICS` made; no cell of a table takes them."""
    return [record.id for record in records if record.fields["numerics"] != NUMERICS]


def verify(found: Found, read: Callable[[Record], object | None] | None = None) -> list[str]:
    """All problems, the arrays of every record read, as by `Record.arrays`; a record without arrays is one."""
    read, problems = read or Record.arrays, list(found.problems)
    for record in found.records.values():
        try:
            if read(record) is None:
                problems.append(f"{record.arrays_path} is missing")
        except ValueError as error:
            problems.append(str(error))
    return problems


def found_in(
    records: Iterable[tuple[Text, Path, str, str | None]], diverged: Iterable[tuple[Text, str, str | None]]
) -> Found:
    """What texts hold, each with its place and the name of its folder if it has one, a record's with its arrays'."""
    known, problems = _each_once(
        (partial(_record, text, arrays, place), place, name) for text, arrays, place, name in records
    )
    others, more = _each_once((partial(_divergence, text, place), place, name) for text, place, name in diverged)
    return Found(known, problems + more, others)


_Result = TypeVar("_Result", Record, Divergence)


def _each_once(
    sources: Iterable[tuple[Callable[[], _Result], str, str | None]],
) -> tuple[dict[str, _Result], list[str]]:
    results: dict[str, _Result] = {}
    problems = []
    for read, place, folder in sources:
        try:
            result = read()
        except ValueError as error:
            problems.append(str(error))
            continue
        if folder not in (None, result.id):
            problems.append(f"{place} is the record of {result.id}; rename the folder, or remove it")
            continue
        if result.id in results:
            problems.append(f"{place} holds {result.id} a second time; remove one")
        results.setdefault(result.id, result)
    return results, problems


def _record(text: Text, arrays: Path, place: str) -> Record:
    text = _content(text)
    try:
        fields, named, identity = _identified(text, "arrays_sha256")
        last, best = (number(fields[name]) for name in ("test_accuracy", "test_accuracy_best"))
        test, train = ([*map(number, fields["curves"][f"{split}/accuracy"])] for split in ("test", "train"))
        end, peak = test[-1], max(test)
        epochs = number(fields["config"]["schedule"]["epochs"])
    except DAMAGES as error:
        raise ValueError(f"{place} holds a damaged record ({said(error)}); remove it, or restore the file") from error
    _check_name(named, identity, place)
    if not all(0 <= accuracy <= 1 for accuracy in (last, best, *test, *train)):
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
    """The fields in a text, the name they give the run, and the name of its config; `texts` are fields of their own."""
    fields = json.loads(text)
    json.dumps(fields, ensure_ascii=False).encode()  # what cannot be written anywhere is not text
    said = [fields[name] for name in ("device", "device_name", "precision", *texts)]
    said += [fields["versions"]["torch"], "" if fields["commit"] is None else fields["commit"]]
    int(fields["config"]["seed"]), "".join(said)  # raises where one is no text
    check_fields(fields)
    return fields, str(fields["run_id"]), name_of(fields["config"], fields["numerics"])


def _check_name(named: str, identity: str, place: str) -> None:
    if named != identity or not re.fullmatch(r"[\w.-]{1,200}", named, re.ASCII):
        raise ValueError(f"{place} holds a record named {named!a} whose config is that of {identity!a}; remove it")


def _content(text: Text) -> bytes:
    return content_of(text) if isinstance(text, Path) else text


def said(error: BaseException) -> str:
    """An error in a few words: those of a decoder repeat the whole file."""
    return f"{type(error).__name__}: {error!s:.200}"


def _result(record: Record) -> float:
    return float(record.fields["test_accuracy"])


def _repeats(fields: Mapping[str, Any]) -> bool:
    """Whether a run gives the same bits wherever it is repeated on such a machine."""
    return bool(fields.get("deterministic")) or not str(fields.get("device")).startswith("cuda")


def _machine(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """What may change a run's last digits without being part of its name."""
    keys = ("device", "device_name", "num_threads", "deterministic", "versions")
    parts = sessions_of(fields)
    return tuple(json.dumps(of.get(key), sort_keys=True) for of in (fields, *parts[:-1]) for key in ("epoch", *keys))


def sessions_of(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a record or a divergence says of the sessions in which the run was done; none in an older one."""
    said = fields.get("sessions")
    return [session for session in said if isinstance(session, Mapping)] if isinstance(said, list) else []
