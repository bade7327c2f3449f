"""Which runs are there, how do they stand, and which may go? Nothing here prints."""

import difflib
import json
import os
import time
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lossbench import NUMERICS
from lossbench.config.naming import flat, options_of
from lossbench.config.run import name_of
from lossbench.runs.checks import DAMAGES, check_metrics, content_of
from lossbench.runs.folder import Run, Status, all_runs, any_run, runs_dir, runs_named
from lossbench.runs.records import (
    Divergence,
    Found,
    Record,
    committed_records,
    merge,
    records_of,
    said,
    sessions_of,
    verify,
)
from lossbench.runs.weights import weights_problems
from lossbench.system.files import open_file, sizes_below

DAMAGED = "damaged"
"""Status of a run whose record is there and cannot be trusted."""

STATUSES = (*(status.value for status in Status), DAMAGED)

RESULT = (
    *("test_accuracy", "test_accuracy_best", "test_accuracy_best_epoch", "test_loss", "train_accuracy"),
    *("wall_s", "images_per_s", "step_ms", "peak_memory_mb", "num_parameters", "num_train", "num_test"),
    *("device", "device_name", "num_threads", "precision", "deterministic", "numerics", "versions", "commit"),
)
"""What is shown of a record, in this order; its config stands apart."""


@dataclass(frozen=True)
class Entry:
    """A known run: a folder of one's own, or a committed record."""

    id: str
    status: str
    run: Run | None  # None: committed
    record: Record | None  # None: not finished, or damaged
    config: Mapping[str, Any]  # empty where it cannot be read
    reason: str | None = None  # why it failed, or is damaged
    divergence: Divergence | None = None  # where that is why it failed
    damages: Sequence[str] = ()  # what is wrong with its record, or its divergence

    @property
    def words(self) -> dict[str, str]:
        """Data set, network, loss and seed, by its config; by its name where the config cannot be read."""
        if self.config:
            groups = {group: str(self.config[group]["name"]) for group in ("dataset", "model", "loss")}
            return groups | {"seed": str(self.config["seed"])}
        parts = (self.id.split("-") + 4 * [""])[:4]
        return dict(zip(("dataset", "model", "loss", "seed"), parts, strict=True)) | {
            "seed": parts[3].removeprefix("s")
        }

    @cached_property
    def options(self) -> dict[str, Any]:
        """Its options by full name, see `options_of`; empty where its config cannot be read."""
        return options_of(self.config) if self.config else {}

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The last whole line of its `metrics.jsonl`; empty where there is none, or it is damaged."""
        try:
            line = self.run.last_metrics() if self.run else None
            metrics = dict(json.loads(line)) if line else {}
            return metrics if type(metrics["epoch"]) is int else {}
        except (OSError, *DAMAGES):
            return {}

    @property
    def epochs(self) -> int | None:
        """How many there are to do."""
        return int(self.config["schedule"]["epochs"]) if self.config else None

    @property
    def epoch(self) -> int:
        """The last whole one."""
        if self.divergence:
            return int(self.divergence.fields["epoch"]) - 1
        return self.epochs if self.record and self.epochs else self.metrics.get("epoch", 0)

    @property
    def accuracy(self) -> float | None:
        """On the test images, after the last whole epoch: a fraction."""
        if self.record:
            return float(self.record.fields["test_accuracy"])
        accuracy = self.metrics.get("test/accuracy")
        return accuracy if isinstance(accuracy, float) else None

    @property
    def files(self) -> dict[str, int]:
        """Its files' sizes, in bytes."""
        if self.run:
            return sizes_below(self.run.folder)
        path = self.record.arrays_path if self.record else Path()
        return {path.name: path.stat().st_size} if path.is_file() else {}

    @property
    def age_s(self) -> float | None:
        """Seconds since the run wrote something."""
        times = [*_times(self.run.folder)] if self.run else []
        return max(0.0, time.time() - max(times)) if times else None

    @property
    def made_for_no_study(self) -> bool:
        """Whether it is a user's own: no study or profile is noted in its config."""
        runtime = self.config.get("runtime") or {}
        return bool(self.config) and self.run is not None and not (runtime.get("experiment") or runtime.get("profile"))

    @property
    def superseded(self) -> bool:
        """Whether another `NUMERICS` made it: no table takes it."""
        return self.numerics not in (None, NUMERICS)

    @property
    def numerics(self) -> int | None:
        """The `NUMERICS` it was made under; None: its config is not that of its name."""
        return int(self.record.fields["numerics"]) if self.record else _numerics(self.id, self.config)

    def summary(self) -> dict[str, Any]:
        """The run in a line, as JSON has it."""
        words = self.words | {"seed": int(self.words["seed"]) if self.words["seed"].isdecimal() else None}
        facts = {"status": self.status, "epoch": self.epoch, "epochs": self.epochs, "accuracy": self.accuracy}
        place = {"superseded": self.superseded, "committed": self.run is None, "reason": self.reason}
        return {"run_id": self.id} | words | facts | {"age_s": self.age_s, "bytes": sum(self.files.values())} | place


@dataclass(frozen=True)
class Filter:
    """Which runs are meant; what is empty takes all."""

    dataset: Sequence[str] = ()
    model: Sequence[str] = ()
    loss: Sequence[str] = ()
    seed: Sequence[str] = ()
    status: Sequence[str] = ()

    def takes(self, entry: Entry) -> bool:
        """Whether a run is meant."""
        said = entry.words | {"status": entry.status}
        return all(not wanted or said[key] in wanted for key, wanted in vars(self).items())


def entries(output_dir: str | Path, results_dir: str | Path | None = None) -> list[Entry]:
    """The own runs, and the committed ones that are not among them, by data set, network, loss and seed."""
    return known(output_dir, results_dir)[0]


def known(
    output_dir: str | Path, results_dir: str | Path | None = None, names: Collection[str] | None = None
) -> tuple[list[Entry], list[str]]:
    """As `entries`, and a sentence for every committed record that cannot be trusted.

    Args:
        output_dir: where runs/ is.
        results_dir: the folder of committed records; None: without them.
        names: of the own runs that are asked for; None: all.
    """
    runs = runs_named(output_dir, names)
    own, committed = records_of(runs), committed_records(results_dir)
    damages: dict[str | None, list[str]] = {}
    for problem in own.problems:
        damages.setdefault(problem.run, []).append(problem.message)
    found = {run.id: _entry(run, own, damages.get(run.id, [])) for run in runs}
    for name, record in committed.records.items():
        found.setdefault(name, Entry(name, Status.finished.value, None, record, record.fields["config"]))
    for name, one in committed.diverged.items():
        found.setdefault(name, Entry(name, Status.failed.value, None, None, one.fields["config"], one.reason, one))
    return sorted(found.values(), key=_order), list(map(str, committed.problems))


def nothing_in(
    output_dir: str | Path,
    results_dir: str | Path | None = None,
    options: tuple[str, str] = ("--output-dir", "--results-dir"),
) -> list[str]:
    """A sentence for each folder in which nothing is found: own runs, where there are no committed records either.

    Args:
        output_dir: where runs/ is.
        results_dir: the folder of committed records; None: they are not asked for.
        options: what names either folder.
    """
    told, committed = [], None if results_dir is None else Path(results_dir).absolute()
    names = ("records.jsonl", "failures.jsonl")
    has_records = committed is not None and any((committed / name).exists() for name in names)
    if not has_records and not any_run(output_dir):
        told.append(
            f"no runs in {runs_dir(output_dir).absolute()}; {options[0]} names another folder than {output_dir}"
        )
    if committed is not None and not has_records:
        told.append(f"no committed records in {committed}; {options[1]} names another folder than {results_dir}")
    return told


def name_in(name: str) -> str:
    """The name of a run in what a user writes: a name, the beginning of one, or the path of a run's folder."""
    return name.rstrip("/").rpartition("/")[2]


def find(name: str, among: Sequence[Entry]) -> Entry:
    """The run of a name, or of the beginning of one; a path to its folder does as well.

    Raises:
        ValueError: there is none, or more than one.
    """
    wanted = name_in(name)
    ids = [entry.id for entry in among]
    fitting = [id_ for id_ in ids if wanted and id_.startswith(wanted)]
    if wanted in ids or len(fitting) == 1:
        return among[ids.index(wanted if wanted in ids else fitting[0])]
    if fitting:
        more = f" and {len(fitting) - 4} more" if len(fitting) > 4 else ""
        raise ValueError(f"{name} is the beginning of {len(fitting)} runs: {', '.join(fitting[:4])}{more}")
    beginnings = {id_[: max(len(wanted), 1)]: id_ for id_ in reversed(ids)}
    close = [beginnings[near] for near in difflib.get_close_matches(wanted, beginnings, n=1)]
    hint = f"; did you mean {close[0]}?" if close else ""
    if not among:
        hint = ", nor any other; --output-dir and --results-dir name the folders that are looked in"
    raise ValueError(f"there is no run {name}{hint}")


def describe(entry: Entry) -> dict[str, Any]:
    """All that is known of a run."""
    problems = list(map(str, verify(Found({entry.id: entry.record}, [])))) if entry.record else []
    arrays = entry.record.arrays() if entry.record and not problems else None
    by_class = entry.metrics.get("test/class_accuracy")
    if not isinstance(by_class, list):
        by_class = None
    if by_class is None and arrays is not None and "confusion_matrix" in arrays:
        counts = arrays["confusion_matrix"]
        by_class = [
            right / size if size else None for right, size in zip(counts.diagonal(), counts.sum(1), strict=True)
        ]
    problems += entry.damages
    return entry.summary() | {
        "folder": str(entry.run.folder) if entry.run else None,
        "config": dict(entry.config),
        "result": _result(entry),
        "sessions": _sessions(entry),
        "class_accuracy": by_class,
        "metrics": entry.metrics,
        "files": entry.files,
        "weights": entry.record.fields.get("weights") if entry.record else None,
        "arrays_sha256": entry.record.fields["arrays_sha256"] if entry.record else None,
        "problems": problems + (_problems(entry.run) if entry.run else []),
    }


def compare(chosen: Sequence[Entry]) -> dict[str, Any]:
    """Runs side by side: the config's keys in which they differ, and their results."""
    configs = [flat(entry.config) for entry in chosen]
    results = [flat(_standing(entry) | _result(entry)) for entry in chosen]
    different = {key: values for key, values in _beside(configs).items() if any(v != values[0] for v in values)}
    return {"runs": [entry.id for entry in chosen], "config": different, "result": _beside(results)}


def check(output_dir: str | Path, results_dir: str | Path | None) -> tuple[int, list[str]]:
    """How many runs there are, own and committed, and a sentence for everything that is not whole."""
    folders = all_runs(output_dir)
    own, committed = records_of(folders), committed_records(results_dir)
    problems = verify(own) + verify(committed)
    problems += merge(Found(own.records, []), Found(committed.records, [])).problems
    messages = [*map(str, problems), *(message for run in folders for message in _problems(run))]
    return len({run.id for run in folders} | {*committed.records, *committed.diverged}), messages


def _times(folder: Path) -> Iterator[float]:
    for name in ("config.json", "metrics.jsonl", "failure.txt", "result.json"):
        with suppress(OSError):
            yield os.stat(f"{folder}/{name}").st_mtime


def _entry(run: Run, own: Found, damages: Sequence[str]) -> Entry:
    record, status = own.records.get(run.id), run.status()
    if record:
        return Entry(run.id, status.value, run, record, record.fields["config"])
    if status is not Status.finished:
        return Entry(run.id, status.value, run, None, _config(run), run.failure(), own.diverged.get(run.id), damages)
    reason = [*damages, *_problems(run), "its record came while this was read"][0]
    return Entry(run.id, DAMAGED, run, None, _config(run), reason, damages=damages)


def _order(entry: Entry) -> tuple[Any, ...]:
    *words, seed = entry.words.values()
    return (*words, int(seed) if seed.isdecimal() else -1, entry.id)


def _config(run: Run) -> dict[str, Any]:
    """The config of a run; empty where it cannot be read."""
    config = _read(run.folder / "config.json")
    try:
        name_of(config, NUMERICS), int(config["schedule"]["epochs"]), int(config["seed"])
    except DAMAGES:
        return {}
    return config


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; empty where it cannot be read."""
    try:
        return dict(json.loads(content_of(path)))
    except DAMAGES:
        return {}


def _numerics(name: str, config: Mapping[str, Any]) -> int | None:
    known = range(NUMERICS, 0, -1) if config else ()
    return next((numerics for numerics in known if name_of(config, numerics) == name), None)


def _problems(run: Run) -> list[str]:
    """What is wrong with a run's config, metrics and checkpoint; its record is another matter."""
    config, record = _config(run), _read(run.folder / "result.json")
    problems = _misnamed(run, config, record)
    metrics = run.folder / "metrics.jsonl"
    try:
        check_metrics(run.whole_metrics(), config["schedule"]["epochs"] if run.finished and config else None)
    except (OSError, *DAMAGES) as error:
        problems.append(f"{metrics} is not whole ({said(error)})")
    if run.finished and "run_id" in record:
        problems += weights_problems(run.folder, record)
    checkpoint = run.folder / "checkpoint.pt"
    if checkpoint.exists() and not _whole_archive(checkpoint):
        problems.append(f"{checkpoint} is damaged; remove it, and the run starts afresh")
    return problems


def _misnamed(run: Run, config: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    path = run.folder / "config.json"
    if not config:
        return [f"{path} is missing or damaged; remove the run"]
    if record.get("run_id", run.id) != run.id:
        return []  # the reader of records says so
    if record and record.get("config") != config:
        return [f"{path} is not the config in result.json beside it; remove the run"]
    if not record and _numerics(run.id, config) is None:
        return [f"{path} is the config of {name_of(config, NUMERICS)}; rename the folder, or remove it"]
    return []


def _whole_archive(path: Path) -> bool:
    """Whether all checksums of a zip archive, such as torch writes, are right."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except FileNotFoundError:  # the run has just come to its end
        return True
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError):
        return False


def _result(entry: Entry) -> dict[str, Any]:
    source = entry.record or entry.divergence
    fields = source.fields if source else {}
    return {key: fields[key] for key in RESULT if key in fields}


def _sessions(entry: Entry) -> list[dict[str, Any]]:
    source = entry.record or entry.divergence
    return [dict(session) for session in sessions_of(source.fields)] if source else []


def _standing(entry: Entry) -> dict[str, Any]:
    """How far a run is; its accuracy too where it has no record yet."""
    return {"status": entry.status, "epoch": entry.epoch, "test_accuracy": entry.accuracy}


def _beside(columns: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of each key in all columns, None where one lacks it."""
    keys = dict.fromkeys(key for column in columns for key in column)
    return {key: [column.get(key) for column in columns] for key in keys}
