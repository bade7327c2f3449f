"""Results that travel: archives of runs, records committed to `results/`, and what is dropped from those."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from lossbench.calibration import scored
from lossbench.files import read_file, sha256_of, write_atomically, write_bytes
from lossbench.records import Divergence, Found, Record, committed_records, found_in, merge, own_records, said, verify
from lossbench.runs import DIVERGED_FILES, FILES, Run, packed, runs_dir, to_json

DROPPED = ("test_logits", "test_labels")
"""What pruning drops of a run's arrays."""


def export_archive(file: Path, output_dir: str | Path) -> Found:
    """Write all runs below `output_dir` that are finished or diverged and can be trusted into one archive."""
    found = own_records(output_dir)

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for ids, names in ((found.records, FILES), (found.diverged, DIVERGED_FILES)):
                for id_, name in product(ids, names):
                    archive.write(runs_dir(output_dir) / id_ / name, f"{id_}/{name}")

    write_atomically(file, write)
    return found


def import_archive(file: Path, output_dir: str | Path) -> tuple[int, int]:
    """Put the runs of an archive below `output_dir`; returns how many were new, and how many were there already.

    Raises:
        ValueError: the file is no whole archive of runs, or holds another result of a run that is there.
    """
    contents = _read_archive(file)
    texts = [(text, f"{file}, {id_}/{name}", id_, name) for (id_, name), text in contents.items()]
    incoming = found_in(
        ((text, file / id_ / "arrays.npz", place, id_) for text, place, id_, name in texts if name == FILES[-1]),
        ((text, place, id_) for text, place, id_, name in texts if name == DIVERGED_FILES[-1]),
    )
    problems = incoming.problems or merge(own_records(output_dir), incoming).problems
    if problems:
        raise ValueError(problems[0])
    for id_, record in incoming.records.items():
        record.unpack(contents[id_, "arrays.npz"])
    names = dict.fromkeys(incoming.records, FILES) | dict.fromkeys(incoming.diverged, DIVERGED_FILES)
    runs = [Run(runs_dir(output_dir) / id_) for id_ in names]
    new = [run for run in runs if not run.finished and not (run.folder / names[run.id][-1]).exists()]
    for run in new:
        for name in names[run.id]:
            write_bytes(run.folder / name, contents[run.id, name])
    return len(new), len(runs) - len(new)


def _read_archive(file: Path) -> dict[tuple[str, str], bytes]:
    """The files of an archive by run and name; the archive's checksums are verified as it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist()):
                raise zipfile.BadZipFile("a compression that export does not use")
            members = {tuple(member.split("/")): archive.read(member) for member in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{file} is not a whole archive of runs ({said(error)})") from error
    ids = {parts[0] for parts in members}
    names = {id_: DIVERGED_FILES if (id_, DIVERGED_FILES[-1]) in members else FILES for id_ in ids}
    if set(members) != {(id_, name) for id_ in ids for name in names[id_]} or ids & {"", ".", ".."}:
        raise ValueError(f"{file} is not an archive of whole runs, as `lossbench export` writes")
    return {(parts[0], parts[1]): content for parts, content in sorted(members.items())}


@contextmanager
def held(results_dir: str | Path) -> Iterator[Path]:
    """The folder of committed records, which nobody else writes meanwhile."""
    folder = Path(results_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        yield folder


def publish(output_dir: str | Path, results_dir: str | Path, names: Collection[str] | None = None) -> int:
    """Add own results, all or the named ones, to the committed ones; returns how many were new.

    They are the records, with their arrays, and the runs that diverged; a run that failed otherwise has no result.
    Folders of this machine are left out of the records.

    Raises:
        ValueError: a record or its arrays cannot be trusted; nothing is written then.
    """
    with held(results_dir) as folder:
        committed, own = committed_records(folder), own_records(output_dir)
        if names is not None:
            diverged = {name: divergence for name, divergence in own.diverged.items() if name in names}
            own = Found({name: record for name, record in own.records.items() if name in names}, [], diverged)
        found = merge(committed, own)
        new = {name: record for name, record in own.records.items() if name not in committed.records}
        problems = found.problems or verify(Found(new, []))
        if problems:
            raise ValueError(problems[0])
        for name, record in new.items():
            write_bytes(folder / "arrays" / f"{name}.npz", read_file(record.arrays_path))
        write_bytes(folder / "records.jsonl", _as_lines(found.records))
        diverged = {**found.diverged, **committed.diverged}  # the committed stay, also where a record has come since
        if diverged:
            write_bytes(folder / "failures.jsonl", _as_lines(diverged))
        return len(new) + len(diverged) - len(committed.diverged)


@dataclass
class Pruned:
    """What pruning did to the committed records."""

    scored: list[str] = field(default_factory=list)  # runs whose record gained the scores of their logits
    dropped: list[str] = field(default_factory=list)  # runs whose logits went
    unknown: list[str] = field(default_factory=list)  # runs that keep their logits, as their labels are not known
    bytes_saved: int = 0


def prune(
    results_dir: str | Path,
    keeps_logits: Callable[[Record], bool],
    labels_of: Callable[[Record, Mapping[str, np.ndarray]], np.ndarray | None],
) -> Pruned:
    """Drop the logits of committed runs that nothing reads; what is computed from them goes into the record first.

    A pruned record says what was dropped and keeps the digest of the whole arrays, so a full copy of the run agrees
    with it. Records are written before arrays: after a kill between them every run is still whole, and the same call
    finishes the work.

    Args:
        results_dir: the folder of committed records.
        keeps_logits: whether a run's logits stay.
        labels_of: true classes of a run's test images, [N], from its record and arrays; None where not known.

    Raises:
        ValueError: a record or its arrays cannot be trusted; nothing is written then.
    """
    done, smaller = Pruned(), {}
    with held(results_dir) as folder:
        found = committed_records(folder)
        if found.problems:
            raise ValueError(found.problems[0])
        records = dict(found.records)
        for name, record in found.records.items():
            if "scores" in record.fields and (keeps_logits(record) or not _is_full(record)):
                continue
            arrays = record.arrays()
            if arrays is None or "test_logits" not in arrays:
                continue
            records[name], content = _pruned(record, arrays, keeps_logits(record), labels_of(record, arrays), done)
            if content is not None:
                smaller[record.arrays_path] = content
                done.bytes_saved += record.arrays_path.stat().st_size - len(content)
        if done.scored or smaller:
            write_bytes(folder / "records.jsonl", _as_lines(records))
        for path, content in smaller.items():
            write_bytes(path, content)
    return done


def _is_full(record: Record) -> bool:
    """Whether the arrays on disk are those that the run wrote."""
    if "pruned" not in record.fields:
        return True
    path = record.arrays_path
    return path.exists() and sha256_of(path) == record.fields["pruned"]["full_sha256"]


def _pruned(
    record: Record, arrays: Mapping[str, np.ndarray], keep: bool, labels: np.ndarray | None, done: Pruned
) -> tuple[Record, bytes | None]:
    """A record with the scores of its logits, and its arrays without them unless they are kept."""
    fields, name = dict(record.fields), record.id
    if "scores" not in fields:
        if labels is None or len(labels) != len(arrays["test_logits"]):
            done.unknown.append(name)
            return record, None
        fields |= scored(arrays["test_logits"], labels, fields["config"]["loss"]["name"])
        done.scored.append(name)
    if keep:
        return replace(record, fields=fields), None
    dropped = [key for key in DROPPED if key in arrays]
    content = packed({key: array for key, array in arrays.items() if key not in dropped})
    full = fields["pruned"]["full_sha256"] if "pruned" in fields else fields["arrays_sha256"]
    fields["arrays_sha256"] = hashlib.sha256(content).hexdigest()
    fields["pruned"] = {"dropped": dropped, "full_sha256": full}
    done.dropped.append(name)
    return replace(record, fields=fields), content


def _as_lines(results: Mapping[str, Record | Divergence]) -> bytes:
    return b"".join(to_json(_placeless(results[name].fields)) + b"\n" for name in sorted(results))


def _placeless(fields: Mapping[str, Any]) -> dict[str, Any]:
    runtime = {key: value for key, value in fields["config"]["runtime"].items() if not key.endswith("_dir")}
    dataset = {key: value for key, value in fields["config"]["dataset"].items() if key != "path"}
    return {**fields, "config": {**fields["config"], "dataset": dataset, "runtime": runtime}}
