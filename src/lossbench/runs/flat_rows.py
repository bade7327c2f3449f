"""Runs as flat rows for data analysis: a row a run, a column an option or a result, written as a Parquet file.

The type of a column depends on its name alone, not on the runs that are written: options have the types of their
dataclasses, results those below. Arrays and curves stay in the run folders.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import IO, Any, Union, get_args, get_origin, get_type_hints

from lossbench import __version__
from lossbench.config.registry import PARTS
from lossbench.config.run import Runtime, Schedule
from lossbench.runs.inspect import Entry
from lossbench.system.files import check_file, write_atomically

SUFFIX = ".parquet"
"""A file of this name's end is written as Parquet."""

FIRST = ("run_id", "status", "reason", "epoch", "step")
"""The first columns; `reason`, `epoch` and `step` say where a run diverged."""

ORDER = (
    *(f"config.{part}." for part in PARTS),
    "config.schedule.",
    "config.seed",
    "config.plugins.",
    "config.runtime.",
)
"""The columns of options that come next, by the beginnings of their names; results follow."""

LEFT_OUT = ("format", "curves", "within_epochs", "sessions", "pruned", "test_labels_sha256", "weights")
"""Fields of a record that have no column, besides the places of files on this machine."""

WHOLE = frozenset(
    (
        *("epoch", "step", "numerics", "config.seed", "test_accuracy_best_epoch"),
        *("num_parameters", "num_train", "num_test", "num_threads"),
        *(
            f"by_frequency.{band}.{count}"
            for band in ("head", "middle", "tail")
            for count in ("classes", "test_samples")
        ),
    )
)
"""Columns of integers that are no options of a data set, a network, a loss, the schedule or the runtime."""

TEXTS = frozenset(
    (
        *("run_id", "status", "reason", "device", "device_name", "precision", "commit", "arrays_sha256"),
        *("class_counts", "scores.tempered.maps", "scores.tempered.temperatures"),
    )
)
"""Columns of texts; lists are texts in JSON."""

TEXT_GROUPS = ("versions.", "plugins.", "config.plugins.")
"""Beginnings of the names of further columns of texts."""

FLAGS = frozenset({"deterministic"})
"""Columns of true and false that are no options. All other columns are floating-point numbers."""


def rows_of(entries: Iterable[Entry]) -> Iterator[dict[str, Any]]:
    """The rows of the finished and the diverged runs; a value that a run lacks is not in its row."""
    for entry in entries:
        source = entry.record or entry.divergence
        if source is not None:
            known = {key: value for key, value in source.fields.items() if key not in LEFT_OUT}
            status = "finished" if entry.record else "diverged"
            yield {"run_id": entry.id, "status": status} | _flat(known)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys, without the places of files."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            found |= _flat(item, f"{name}.")
        elif not _is_place(name):
            found[name] = item
    return found


def _is_place(name: str) -> bool:
    """Whether a value is a path on this machine, or what is a group of columns in other runs."""
    if name in ("config.dataset.path", "config.plugins"):
        return True
    return name.startswith("config.runtime.") and name.endswith("_dir")


def option_types() -> dict[str, type]:
    """The types of all known options' columns by name: `int`, `float`, `bool` or `str`; lists are texts."""
    found: dict[str, set[type]] = {}
    groups: list[tuple[str, type]] = [("schedule", Schedule), ("runtime", Runtime)]
    groups += [(part, registry[name].options) for part, registry in PARTS.items() for name in registry]
    for group, kind in groups:
        hints = get_type_hints(kind)
        for one in fields(kind):
            found.setdefault(f"config.{group}.{one.name}", set()).add(_type_of(hints[one.name]))
    return {name: _common(kinds) for name, kinds in found.items()}


def _type_of(hint: Any) -> type:
    if get_origin(hint) in (Union, UnionType):
        return _common({_type_of(one) for one in get_args(hint) if one is not NoneType})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return str
    return hint if hint in (int, float, bool) else str


def _common(kinds: set[type]) -> type:
    """The type of a column whose values have some types."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return float if kinds <= {int, float} else str


def type_of(name: str, options: Mapping[str, type]) -> type:
    """The type of a column by its name.

    Args:
        name: of the column.
        options: as `option_types` has them.
    """
    if name in options:
        return options[name]
    if name in WHOLE:
        return int
    if name in FLAGS:
        return bool
    is_option = name.startswith("config.")  # of a plugin that is not loaded, or of another version
    return str if is_option or name in TEXTS or name.startswith(TEXT_GROUPS) else float


def columns_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The columns by name, as long as there are rows, None where a row has no value; options before results."""
    found: dict[str, list[Any]] = {name: [] for name in FIRST}
    count = 0
    for row in rows:
        for name, value in row.items():
            if name not in found:
                found[name] = []
            column = found[name]
            column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in found.values():
        column.extend([None] * (count - len(column)))
    return {name: found[name] for name in sorted(found, key=_place_of)}


def _place_of(name: str) -> int:
    """Which group of columns a name belongs to; within a group the first one met comes first."""
    if name in FIRST:
        return -1
    return next((place for place, start in enumerate(ORDER) if name.startswith(start)), len(ORDER))


def typed(values: Sequence[Any], kind: type) -> tuple[list[Any], type]:
    """The values of a column as its type; where one does not fit it, all as texts, so that nothing is lost."""
    fits: dict[type, Callable[[Any], bool]] = {
        int: lambda value: _is_number(value) and value == int(value) and abs(value) < 2**63,
        float: _is_number,
        bool: lambda value: isinstance(value, bool),
    }
    if kind is not str:
        try:
            if all(value is None or fits[kind](value) for value in values):
                return [None if value is None else kind(value) for value in values], kind
        except (OverflowError, ValueError):  # an infinite or endless number in a column of integers
            pass
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values], str


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def write_parquet(file: Path, entries: Iterable[Entry]) -> int:
    """Write the finished and diverged runs as one Parquet file; returns the number of rows.

    Raises:
        ValueError: pyarrow is not installed, or the path exists and is no regular file.
    """
    check_file(file, "the file")
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ValueError(
            f"{file} needs the package pyarrow, which is not installed; install it with `pip install pyarrow`, or "
            f"export to a .zip"
        ) from None
    kinds: dict[type, Any] = {
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        str: pyarrow.string(),
    }
    options, arrays = option_types(), {}
    columns = columns_of(rows_of(entries))
    for name, values in columns.items():
        found, kind = typed(values, type_of(name, options))
        arrays[name] = pyarrow.array(found, kinds[kind])
    made = pyarrow.table(arrays).replace_schema_metadata({"lossbench": __version__})

    def write(stream: IO[bytes]) -> None:
        parquet.write_table(made, stream)

    write_atomically(file, partial(write))
    return int(made.num_rows)
