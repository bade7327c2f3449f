"""Exporting and importing runs, and committing records to `results/`."""

import hashlib
import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from lossbench.runs import lease
from lossbench.runs.checks import (
    DAMAGES,
    FILE_LIMIT,
    TEXT_LIMIT,
    check_config,
    check_metrics,
    check_reason,
    check_unpacked,
    content_of,
)
from lossbench.runs.folder import DIVERGED_FILES, FILES, WEIGHTS, LockLostError, Run, runs_dir, to_json
from lossbench.runs.records import (
    Divergence,
    Found,
    Problem,
    Record,
    committed_records,
    found_in,
    merge,
    own_records,
    said,
    verify,
)
from lossbench.runs.weights import check_weights
from lossbench.system.files import check_file, read_file, write_atomically, write_bytes
from lossbench.system.shipped import check_not_shipped

RANKS = ("ranking", "positive_classes")
"""Fields of a record that older ones lack."""


class Imported(NamedTuple):
    """Result of an import."""

    new: int  # imported runs
    known: int  # runs that existed already
    left_out: list[str]  # a sentence for every run of the archive that was not imported


def export_archive(file: Path, output_dir: str | Path, weights: bool = False) -> Found:
    """Write all finished and diverged runs below `output_dir` into one archive.

    Every file is verified. Damaged runs are left out and listed among the problems that are returned.

    Args:
        file: the archive.
        output_dir: where runs/ is.
        weights: whether saved weights are included.

    Raises:
        ValueError: the archive's path exists and is no regular file.
    """
    check_file(file, "the archive")
    found = own_records(output_dir)
    exported: dict[str, dict[str, Any]] = {"records": {}, "diverged": {}}
    problems = list(found.problems)

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for kind, results, names in kinds_of(found):
                for id_, result in results.items():
                    folder = runs_dir(output_dir) / id_
                    try:
                        files = with_weights(names) if weights and (folder / WEIGHTS).exists() else names
                        contents = read_run(result, folder, files)
                    except ValueError as error:
                        problems.append(Problem(str(error), id_))
                        continue
                    exported[kind][id_] = result
                    for name, content in contents.items():
                        packed = zipfile.ZIP_STORED if name == "arrays.npz" else zipfile.ZIP_DEFLATED  # it is packed
                        archive.writestr(f"{id_}/{name}", content, packed)

    write_atomically(file, write)
    return Found(exported["records"], problems, exported["diverged"])


_LARGE = ("metrics.jsonl", "arrays.npz", WEIGHTS)


def with_weights(names: tuple[str, ...]) -> tuple[str, ...]:
    """The files of a finished run with its weights, the record last."""
    return (*names[:-1], WEIGHTS, names[-1]) if names == FILES else names


def kinds_of(found: Found) -> list[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """The results by kind: "records" or "diverged", the results by name, and the files that such a run has."""
    return [("records", found.records, FILES), ("diverged", found.diverged, DIVERGED_FILES)]


def read_run(result: Record | Divergence, folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The content of some files of a run, checked against its record or divergence.

    Raises:
        ValueError: one is missing or damaged; the message names it.
    """
    limits = {name: FILE_LIMIT if name in _LARGE else TEXT_LIMIT for name in names}
    contents = {name: content_of(folder / name, limit) for name, limit in limits.items()}
    check_run(result, contents, folder)
    return contents


def check_run(result: Record | Divergence, contents: Mapping[str, bytes], folder: Path) -> None:
    """Check the files of a run against its record or divergence.

    Raises:
        ValueError: a file is damaged; the message names it.
    """
    name = "config.json"
    try:
        check_config(contents[name], result.fields)
        if isinstance(result, Record):
            name = "metrics.jsonl"
            check_metrics(io.BytesIO(contents[name]), result.fields["config"]["schedule"]["epochs"])
        else:
            name = "failure.txt"
            check_reason(contents[name], result.reason)
    except DAMAGES as error:
        raise ValueError(f"{folder / name} is damaged ({said(error)}); {result.id} is left out") from error
    if isinstance(result, Record):
        result.unpack(contents["arrays.npz"])
        if WEIGHTS in contents:
            content = contents[WEIGHTS]
            check_weights(folder / WEIGHTS, result.fields, len(content), hashlib.sha256(content).hexdigest())


def import_archive(file: Path, output_dir: str | Path) -> Imported:
    """Import the runs of an archive into `output_dir`.

    Runs that are damaged, or that a process here is training, are left out; the others are imported. An existing
    run without its weights gets those of the archive.

    Raises:
        ValueError: the file is no archive of runs, has no intact run, or contradicts the result of an existing run;
            nothing is written then.
    """
    contents = _read_archive(file)
    texts = [(text, f"{file}, {id_}/{name}", id_, name) for (id_, name), text in contents.items()]
    incoming = found_in(
        ((text, file / id_ / "arrays.npz", place, id_) for text, place, id_, name in texts if name == FILES[-1]),
        ((text, place, id_) for text, place, id_, name in texts if name == DIVERGED_FILES[-1]),
    )
    left_out, runs = list(map(str, incoming.problems)), []
    for _, results, usual in kinds_of(incoming):
        for id_, result in results.items():
            names = usual
            if (id_, WEIGHTS) in contents:
                names = with_weights(names)
            try:
                check_run(result, {name: contents[id_, name] for name in names}, file / id_)
            except ValueError as error:
                left_out.append(str(error))
                continue
            runs.append((Run(runs_dir(output_dir) / id_), names))
    if left_out and not runs:
        raise ValueError(left_out[0])
    taken = {run.id for run, _ in runs}
    intact = incoming._replace(
        records={id_: record for id_, record in incoming.records.items() if id_ in taken}, problems=[]
    )
    own = own_records(output_dir)
    if problems := merge(own._replace(problems=[]), intact).problems:
        raise ValueError(problems[0].message)
    num_new, running = 0, []
    for run, names in runs:
        if has_result(run, names):
            num_new += add_weights(run, own.records.get(run.id), contents.get((run.id, WEIGHTS)))
            continue
        taken_here = take(run, {name: contents[run.id, name] for name in names})
        if taken_here is None:
            running.append(f"{run.id} is running here; import {file} again when it has ended")
        num_new += bool(taken_here)
    return Imported(num_new, len(runs) - num_new - len(running), left_out + running)


def take(run: Run, contents: Mapping[str, bytes]) -> bool | None:
    """Write the files of a run, its result last; False: it has a result by now, None: another process owns it.

    A write that fails or is interrupted leaves none of the files, unless another process owns the run by then.
    """
    names = tuple(contents)
    is_new = not os.path.lexists(run.folder)
    with run.held() as free:
        if not free:
            return None
        if has_result(run, names):  # it may have ended meanwhile
            return False
        if names[-1] == FILES[-1]:
            run.restart()  # its checkpoint and metrics belong to another execution
        try:
            for name, content in contents.items():
                run.write(name, content)
        except LockLostError:
            return None
        except BaseException:
            if run.lost() is None:
                for name in names:
                    (run.folder / name).unlink(missing_ok=True)
                if is_new:
                    shutil.rmtree(run.folder, ignore_errors=True)
            raise
    return True


def has_result(run: Run, names: Sequence[str]) -> bool:
    """Whether a run is finished, or has the last of some files of a run, which is its result."""
    return run.finished or (run.folder / names[-1]).exists()


def add_weights(run: Run, record: Record | None, content: bytes | None) -> bool:
    """Put weights beside the record of a finished run that lacks its own; returns whether that was so."""
    known = record.fields.get("weights") if record else None
    if content is None or known is None or (run.folder / WEIGHTS).exists():
        return False
    if known["sha256"] != hashlib.sha256(content).hexdigest():
        return False
    write_bytes(run.folder / WEIGHTS, content)
    return True


def _read_archive(file: Path) -> dict[tuple[str, str], bytes]:
    """The files of an archive by run and name; the archive's checksums are verified as it is read."""
    if file.exists() and not file.is_file():
        raise ValueError(f"{file} is not a file; name an archive written by `lossbench export`")
    try:
        with zipfile.ZipFile(file) as archive:
            _check_sizes(archive.infolist(), file.stat().st_size)
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist()):
                raise zipfile.BadZipFile("a compression that export does not use")
            members = {tuple(member.split("/")): archive.read(member) for member in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{file} is damaged or no archive of runs ({said(error)})") from error
    ids = {parts[0] for parts in members}
    names = {id_: DIVERGED_FILES if (id_, DIVERGED_FILES[-1]) in members else FILES for id_ in ids}
    optional = {(id_, WEIGHTS) for id_ in ids if names[id_] is FILES}
    if set(members) - optional != {(id_, name) for id_ in ids for name in names[id_]} or ids & {"", ".", ".."}:
        raise ValueError(f"{file} is not an archive of complete runs as written by `lossbench export`")
    return {(parts[0], parts[1]): content for parts, content in sorted(members.items())}


def _check_sizes(members: Sequence[zipfile.ZipInfo], packed: int) -> None:
    """Raise a ValueError, before anything is unpacked, if a file is larger than any run writes."""
    check_unpacked((member.file_size for member in members), packed)
    for member in members:
        if member.file_size > TEXT_LIMIT and not member.filename.endswith(_LARGE):
            raise ValueError(f"{member.filename!a:.80} has {member.file_size} bytes, more than any run writes there")


@contextmanager
def held(results_dir: str | Path) -> Iterator[Path]:
    """Own the folder of committed records, so that no other process writes to it; waits for it, and yields it.

    Raises:
        ValueError: it belongs to the installed package.
    """
    check_not_shipped(results_dir, "the folder of committed records")
    folder = Path(results_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with lease.awaited(folder):
        yield folder


def publish(output_dir: str | Path, results_dir: str | Path, names: Collection[str] | None = None) -> int:
    """Add own results to the committed ones; returns the number of new ones.

    Results are records with their arrays, and diverged runs; runs that failed otherwise have none. Paths of this
    machine are removed from the records. A committed record without ranks gains those of the own one, where the run was
    done again with the same scores.

    Args:
        output_dir: the folder of own runs.
        results_dir: the folder of committed records.
        names: the runs to add; None: all.

    Raises:
        ValueError: a record or its arrays are damaged or contradictory; nothing is written then.
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
            raise ValueError(problems[0].message)
        for name, record in new.items():
            write_bytes(folder / "arrays" / f"{name}.npz", read_file(record.arrays_path))
        records = {name: _with_ranks(record, own.records.get(name)) for name, record in found.records.items()}
        write_bytes(folder / "records.jsonl", as_lines(records))
        diverged = {**found.diverged, **committed.diverged}  # committed ones stay even if a record exists by now
        if diverged:
            write_bytes(folder / "failures.jsonl", as_lines(diverged))
        return len(new) + len(diverged) - len(committed.diverged)


def _with_ranks(record: Record, again: Record | None) -> Record:
    """A committed record from before records kept ranks, with those of the same run done again, if its scores agree."""
    if again is None or "ranking" in record.fields or "ranking" not in again.fields:
        return record
    if any(record.fields.get(key) != again.fields.get(key) for key in ("test_accuracy", "test_loss", "scores")):
        return record
    known = {key: again.fields[key] for key in RANKS if key in again.fields}
    return replace(record, fields={**record.fields, **known})


def as_lines(results: Mapping[str, Record | Divergence]) -> bytes:
    """Results as the lines of a committed file, without paths of this machine."""
    return b"".join(to_json(_placeless(results[name].fields)) + b"\n" for name in sorted(results))


def _placeless(fields: Mapping[str, Any]) -> dict[str, Any]:
    runtime = {key: value for key, value in fields["config"]["runtime"].items() if not key.endswith("_dir")}
    dataset = {key: value for key, value in fields["config"]["dataset"].items() if key != "path"}
    return {**fields, "config": {**fields["config"], "dataset": dataset, "runtime": runtime}}
