"""What is on disk? The only reader and writer of run folders and records.

A run is a folder `<output_dir>/runs/<run_id>/`. Its record is its `result.json`, written last: where it is, the run is
done. Committed records lie in `results/` as lines of `records.jsonl`, their arrays beside them.
"""

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config import Config, name_of, run_id
from lossbench.files import write_atomically, write_bytes

FILES = ("config.json", "metrics.jsonl", "arrays.npz", "result.json")
"""What a finished run consists of; `result.json` comes last."""


class Run:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    @property
    def finished(self) -> bool:
        """Whether the run is done; then its record can be read."""
        return (self.folder / "result.json").exists()

    def record(self) -> dict[str, Any]:
        """The record of a finished run."""
        return dict(_read_json(self.folder / "result.json"))

    def start(self, config: Config) -> None:
        """Make the folder and say in it what the run is."""
        write_bytes(self.folder / "config.json", _json(asdict(config), indent=2))
        (self.folder / "failure.txt").unlink(missing_ok=True)

    def read_checkpoint(self) -> bytes | None:
        """The state after the last finished epoch, or None."""
        path = self.folder / "checkpoint.pt"
        return path.read_bytes() if path.exists() else None

    def write_checkpoint(self, state: bytes) -> None:
        """Keep the state after an epoch; the one before stays until this one is whole."""
        write_bytes(self.folder / "checkpoint.pt", state)

    def restart(self) -> None:
        """Forget all that was trained."""
        for name in ("checkpoint.pt", "metrics.jsonl"):
            (self.folder / name).unlink(missing_ok=True)

    def metrics(self, last_epoch: int) -> list[dict[str, Any]]:
        """The lines of epochs 1..last_epoch; what the file holds beyond them is dropped from it."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        kept = lines[:last_epoch]
        if kept != lines:
            write_bytes(path, b"".join(kept))
        metrics = [json.loads(line) for line in kept]
        assert [line["epoch"] for line in metrics] == list(range(1, last_epoch + 1)), f"{path} lacks an epoch"
        return metrics

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add an epoch's line."""
        with (self.folder / "metrics.jsonl").open("ab") as file:
            file.write(_json(line) + b"\n")

    def log(self, text: str) -> None:
        """Add a line to the run's log."""
        with (self.folder / "train.log").open("a") as file:
            file.write(text + "\n")

    def finish(self, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays and record, in this order; the checkpoint goes."""
        write_atomically(
            self.folder / "arrays.npz", lambda file: np.savez_compressed(file, allow_pickle=False, **arrays)
        )
        write_bytes(self.folder / "result.json", _json(record))
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Keep the reason why the run stopped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / "failure.txt", reason.encode())


def runs_dir(output_dir: str | Path) -> Path:
    """The folder of all run folders."""
    return Path(output_dir) / "runs"


def open_run(config: Config) -> Run:
    """The run that a config describes; nothing is made yet."""
    return Run(runs_dir(config.runtime.output_dir) / run_id(config))


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
        """The arrays of `arrays.npz`, or None where they are not at hand."""
        if not self.arrays_path.exists():
            return None
        with np.load(self.arrays_path) as arrays:
            return dict(arrays)


def committed_records(results_dir: str | Path | None) -> list[Record]:
    """The records in `results/`; none where the folder is not there or not wanted."""
    path = Path(results_dir) / "records.jsonl" if results_dir else None
    if path is None or not path.exists():
        return []
    return [_record(line, path.parent / "arrays", path) for line in path.read_bytes().splitlines() if line.strip()]


def own_records(output_dir: str | Path) -> list[Record]:
    """The records of the finished runs below `output_dir`."""
    paths = sorted(runs_dir(output_dir).glob("*/result.json"))
    return [_record(path.read_bytes(), path.parent / "arrays.npz", path) for path in paths]


def _record(text: bytes, arrays: Path, place: Path) -> Record:
    try:
        fields = json.loads(text)
        identity = name_of(fields["config"], fields["numerics"])
        named, _ = fields["run_id"], float(fields["test_accuracy"])
    except (KeyError, TypeError, ValueError) as error:  # json's and the decoder's errors are ValueErrors
        raise ValueError(f"{place} holds a damaged record ({error}); remove it, or restore the file") from error
    if named != identity:
        raise ValueError(f"{place} holds a record named {named} whose config is that of {identity}; remove it")
    return Record(fields, arrays if arrays.suffix == ".npz" else arrays / f"{named}.npz")


def merge(*sources: Iterable[Record]) -> dict[str, Record]:
    """All records by name; of a run that is there twice the one of the earlier source.

    Raises:
        ValueError: two records of one run, made on the same kind of machine, give different numbers.
    """
    merged: dict[str, Record] = {}
    for record in (record for source in sources for record in source):
        known = merged.setdefault(record.id, record)
        same_machine = _machine(known.fields) == _machine(record.fields)
        if same_machine and known.fields["test_accuracy"] != record.fields["test_accuracy"]:
            raise ValueError(
                f"two records of {record.id} disagree: test_accuracy {known.fields['test_accuracy']} beside "
                f"{known.arrays_path} and {record.fields['test_accuracy']} beside {record.arrays_path}, on the same "
                f"device, threads and versions; remove the wrong one, or leave out the committed with results_dir=null"
            )
    return merged


def _machine(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """What may change a run's last digits without being part of its name."""
    return tuple(
        json.dumps(fields.get(key), sort_keys=True)
        for key in ("device", "device_name", "num_threads", "deterministic", "versions")
    )


def all_records(output_dir: str | Path, results_dir: str | Path | None) -> dict[str, Record]:
    """The records of the own and the committed runs, by name."""
    return merge(own_records(output_dir), committed_records(results_dir))


def export_archive(file: Path, output_dir: str | Path) -> int:
    """Write all finished runs below `output_dir` into one archive; returns how many."""
    runs = [Run(path.parent) for path in sorted(runs_dir(output_dir).glob("*/result.json"))]

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for run in runs:
                for name in FILES:
                    archive.write(run.folder / name, f"{run.id}/{name}")

    write_atomically(file, write)
    return len(runs)


def import_archive(file: Path, output_dir: str | Path) -> tuple[int, int]:
    """Put the runs of an archive below `output_dir`; returns how many were new, and how many were there already.

    Raises:
        ValueError: the file is no whole archive of runs, or holds another result of a run that is there.
    """
    contents = _read_archive(file)
    ids = sorted({id_ for id_, _ in contents})
    incoming = [_record(contents[id_, "result.json"], Path("arrays.npz"), file) for id_ in ids]
    if [record.id for record in incoming] != ids:
        raise ValueError(f"{file} holds a run under another run's name")
    merge(own_records(output_dir), incoming)
    new = [id_ for id_ in ids if not Run(runs_dir(output_dir) / id_).finished]
    for id_ in new:
        for name in FILES:
            write_bytes(runs_dir(output_dir) / id_ / name, contents[id_, name])
    return len(new), len(ids) - len(new)


def _read_archive(file: Path) -> dict[tuple[str, str], bytes]:
    """The files of an archive by run and name; the archive's checksums are verified as it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = {tuple(member.split("/")): archive.read(member) for member in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise ValueError(f"{file} is not a whole archive of runs ({error})") from error
    ids = {parts[0] for parts in members}
    if set(members) != {(id_, name) for id_ in ids for name in FILES} or ids & {"", ".", ".."}:
        raise ValueError(f"{file} is not an archive of whole runs, as `lossbench export` writes")
    return {(parts[0], parts[1]): content for parts, content in members.items()}


def publish(output_dir: str | Path, results_dir: str | Path) -> int:
    """Add the own records to the committed ones, arrays included; returns how many were new."""
    folder = Path(results_dir)
    records = merge(committed_records(folder), own_records(output_dir))
    known = {record.id for record in committed_records(folder)}
    for record in records.values():
        if record.id not in known:
            write_bytes(folder / "arrays" / f"{record.id}.npz", record.arrays_path.read_bytes())
    lines = b"".join(_json(records[id_].fields) + b"\n" for id_ in sorted(records))
    write_bytes(folder / "records.jsonl", lines)
    return len(records) - len(known)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _json(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent).encode()
