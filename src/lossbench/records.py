"""Which results are at hand, and can they be trusted? Records of own runs, of `results/`, and of archives.

A record is a run's `result.json`. Committed ones lie in `results/` as lines of `records.jsonl`, arrays beside them.
What is damaged or contradictory is left out and named as a problem; nothing is dropped in silence.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lossbench import NUMERICS
from lossbench.config import name_of
from lossbench.files import write_atomically, write_bytes
from lossbench.runs import FILES, Run, all_runs, runs_dir, to_json

COUNTED_ANEW = 1e-3
"""How far the accuracy in the arrays may be from the record's: after a stop a GPU may see a few images otherwise."""

DAMAGES = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading damaged JSON raises; json's and the decoders' errors are ValueErrors."""


@dataclass(frozen=True)
class Record:
    """A finished run: its record, and where its arrays are."""

    fields: Mapping[str, Any]
    arrays_path: Path

    @property
    def id(self) -> str:
        """The run's name."""
        return str(self.fields["run_id"])

    def arrays(self) -> dict[str, np.ndarray] | None:
        """The arrays of `arrays.npz`, or None where they are not at hand.

        Raises:
            ValueError: they are not those that the run wrote, or contradict its record.
        """
        return self.unpack(self.arrays_path.read_bytes()) if self.arrays_path.exists() else None

    def unpack(self, content: bytes) -> dict[str, np.ndarray]:
        """The arrays in the bytes of an `arrays.npz`.

        Raises:
            ValueError: they are not those that the run wrote, or contradict its record.
        """
        if hashlib.sha256(content).hexdigest() != self.fields["arrays_sha256"]:
            raise ValueError(f"{self.arrays_path} is not what {self.id} wrote; remove it, or restore it")
        try:
            with np.load(BytesIO(content)) as file:
                arrays = dict(file)
            counts = arrays["confusion_matrix"]
            counted = float(counts.trace()) / max(1.0, float(counts.sum()))
        except (*DAMAGES, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{self.arrays_path} holds damaged arrays ({_said(error)}); remove it") from error
        if not abs(counted - _result(self)) <= COUNTED_ANEW:
            raise ValueError(f"{self.arrays_path} counts the accuracy {counted}, the record of {self.id} another one")
        return arrays


class Found(NamedTuple):
    """Records that can be trusted, by name, and a sentence for everything that cannot."""

    records: dict[str, Record]
    problems: list[str]


def own_records(output_dir: str | Path) -> Found:
    """The records of the finished runs below `output_dir`."""
    paths = [run.folder / "result.json" for run in all_runs(output_dir) if run.finished]
    return _found((path.read_bytes(), path.parent / "arrays.npz", str(path), path.parent.name) for path in paths)


def committed_records(results_dir: str | Path | None) -> Found:
    """The records in `results/`; none where the folder is not there or not wanted."""
    path = Path(results_dir) / "records.jsonl" if results_dir else None
    if path is None or not path.exists():
        return Found({}, [])
    lines = enumerate(path.read_bytes().splitlines(), start=1)
    arrays = path.parent / "arrays"
    return _found((line, arrays, f"{path}, line {number}", None) for number, line in lines if line.strip())


def all_records(output_dir: str | Path, results_dir: str | Path | None) -> Found:
    """The records of the own and the committed runs; of a run that is there twice the own."""
    return merge(own_records(output_dir), committed_records(results_dir))


def merge(first: Found, second: Found) -> Found:
    """Both; of a run that is there twice the first, and neither where they contradict each other."""
    merged, problems = dict(first.records), first.problems + second.problems
    for name, record in second.records.items():
        known = merged.setdefault(name, record)
        if _machine(known.fields) == _machine(record.fields) and _result(known) != _result(record):
            del merged[name]
            problems.append(
                f"two records of {name} disagree: test_accuracy {_result(known)} beside {known.arrays_path} and "
                f"{_result(record)} beside {record.arrays_path}, on the same device, threads and versions; remove the "
                f"wrong one, or leave out the committed with results_dir=null"
            )
    return Found(merged, problems)


def outdated(records: Iterable[Record]) -> list[str]:
    """Names of the records whose numbers an earlier or later `NUMERICS` made; no cell of a table takes them."""
    return [record.id for record in records if record.fields["numerics"] != NUMERICS]


def verify(found: Found) -> list[str]:
    """All problems, the arrays of every record read and checked; a record without arrays is one."""
    problems = list(found.problems)
    for record in found.records.values():
        try:
            if record.arrays() is None:
                problems.append(f"{record.arrays_path} is missing")
        except ValueError as error:
            problems.append(str(error))
    return problems


def _found(sources: Iterable[tuple[bytes, Path, str, str | None]]) -> Found:
    """The records in texts, each with the place of its arrays and its own, and the name of its folder if it has one."""
    records: dict[str, Record] = {}
    problems = []
    for text, arrays, place, folder in sources:
        try:
            record = _record(text, arrays, place)
        except ValueError as error:
            problems.append(str(error))
            continue
        if folder not in (None, record.id):
            problems.append(f"{place} is the record of {record.id}; rename the folder, or remove it")
            continue
        if record.id in records:
            problems.append(f"{place} holds {record.id} a second time; remove one")
        records.setdefault(record.id, record)
    return Found(records, problems)


def _record(text: bytes, arrays: Path, place: str) -> Record:
    try:
        fields = json.loads(text)
        identity = name_of(fields["config"], fields["numerics"])
        named = str(fields["run_id"])
        json.dumps(fields, ensure_ascii=False).encode()  # what cannot be written anywhere is not text
        last, best = (_number(fields[name]) for name in ("test_accuracy", "test_accuracy_best"))
        test, train = ([*map(_number, fields["curves"][f"{split}/accuracy"])] for split in ("test", "train"))
        texts = [fields[name] for name in ("device", "device_name", "precision", "arrays_sha256")]
        texts += [fields["versions"]["torch"], "" if fields["commit"] is None else fields["commit"]]
        int(fields["config"]["seed"]), "".join(texts)  # raises where one is no text
        end, peak = test[-1], max(test)
        epochs = _number(fields["config"]["schedule"]["epochs"])
    except DAMAGES as error:
        raise ValueError(f"{place} holds a damaged record ({_said(error)}); remove it, or restore the file") from error
    if named != identity or not re.fullmatch(r"[\w.-]{1,200}", named, re.ASCII):
        raise ValueError(f"{place} holds a record named {named!a} whose config is that of {identity!a}; remove it")
    if not all(0 <= accuracy <= 1 for accuracy in (last, best, *test, *train)):
        raise ValueError(f"{place} holds a record with the accuracies {[last, best]} or curves not in 0..1; remove it")
    if (last, best, epochs, epochs) != (end, peak, len(test), len(train)):
        raise ValueError(
            f"{place} holds a record with the accuracies {[last, best]} and curves of {len(test)} and {len(train)} of "
            f"{epochs:g} epochs that end at {end}, at best {peak}; remove it"
        )
    return Record(fields, arrays if arrays.suffix == ".npz" else arrays / f"{named}.npz")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__} where a number belongs")
    return float(value)


def _said(error: BaseException) -> str:
    """An error in a few words: those of a decoder repeat the whole file."""
    return f"{type(error).__name__}: {error!s:.200}"


def _result(record: Record) -> float:
    return float(record.fields["test_accuracy"])


def _machine(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """What may change a run's last digits without being part of its name."""
    return tuple(
        json.dumps(fields.get(key), sort_keys=True)
        for key in ("device", "device_name", "num_threads", "deterministic", "versions")
    )


def export_archive(file: Path, output_dir: str | Path) -> Found:
    """Write all finished runs below `output_dir` that can be trusted into one archive; returns them."""
    found = own_records(output_dir)

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for id_ in found.records:
                for name in FILES:
                    archive.write(runs_dir(output_dir) / id_ / name, f"{id_}/{name}")

    write_atomically(file, write)
    return found


def import_archive(file: Path, output_dir: str | Path) -> tuple[int, int]:
    """Put the runs of an archive below `output_dir`; returns how many were new, and how many were there already.

    Raises:
        ValueError: the file is no whole archive of runs, or holds another result of a run that is there.
    """
    contents = _read_archive(file)
    ids = sorted({id_ for id_, _ in contents})
    incoming = _found(
        (contents[id_, "result.json"], file / id_ / "arrays.npz", f"{file}, {id_}/result.json", id_) for id_ in ids
    )
    problems = incoming.problems or merge(own_records(output_dir), incoming).problems
    if problems:
        raise ValueError(problems[0])
    for id_, record in incoming.records.items():
        record.unpack(contents[id_, "arrays.npz"])
    new = [id_ for id_ in ids if not Run(runs_dir(output_dir) / id_).finished]
    for id_ in new:
        for name in FILES:
            write_bytes(runs_dir(output_dir) / id_ / name, contents[id_, name])
    return len(new), len(ids) - len(new)


def _read_archive(file: Path) -> dict[tuple[str, str], bytes]:
    """The files of an archive by run and name; the archive's checksums are verified as it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist()):
                raise zipfile.BadZipFile("a compression that export does not use")
            members = {tuple(member.split("/")): archive.read(member) for member in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{file} is not a whole archive of runs ({_said(error)})") from error
    ids = {parts[0] for parts in members}
    if set(members) != {(id_, name) for id_ in ids for name in FILES} or ids & {"", ".", ".."}:
        raise ValueError(f"{file} is not an archive of whole runs, as `lossbench export` writes")
    return {(parts[0], parts[1]): content for parts, content in members.items()}


def publish(output_dir: str | Path, results_dir: str | Path, names: Collection[str] | None = None) -> int:
    """Add the own records, all or the named ones, to the committed ones, with their arrays; returns how many were new.

    Where the run was done on this machine, its folders, is nobody's business and left out.

    Raises:
        ValueError: a record or its arrays cannot be trusted; nothing is written then.
    """
    folder = Path(results_dir)
    committed, own = committed_records(folder), own_records(output_dir)
    if names is not None:
        own = Found({name: record for name, record in own.records.items() if name in names}, [])
    found = merge(committed, own)
    new = {name: record for name, record in own.records.items() if name not in committed.records}
    problems = found.problems or verify(Found(new, []))
    if problems:
        raise ValueError(problems[0])
    for name, record in new.items():
        write_bytes(folder / "arrays" / f"{name}.npz", record.arrays_path.read_bytes())
    lines = b"".join(to_json(_placeless(found.records[name].fields)) + b"\n" for name in sorted(found.records))
    write_bytes(folder / "records.jsonl", lines)
    return len(new)


def _placeless(fields: Mapping[str, Any]) -> dict[str, Any]:
    runtime = {key: value for key, value in fields["config"]["runtime"].items() if not key.endswith("_dir")}
    dataset = {key: value for key, value in fields["config"]["dataset"].items() if key != "path"}
    return {**fields, "config": {**fields["config"], "dataset": dataset, "runtime": runtime}}
