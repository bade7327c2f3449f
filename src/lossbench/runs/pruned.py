"""Pruning committed arrays: what is computed from logits stays, and what no report reads goes."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lossbench.runs.archive import as_lines, held
from lossbench.runs.checks import COUNTS, counts_of
from lossbench.runs.folder import packed
from lossbench.runs.records import Record, committed_records
from lossbench.runs.restored import loss_of
from lossbench.system.files import sha256_of, write_bytes

DROPPED = ("test_logits", "test_labels")
"""Arrays of a run that pruning drops."""

OF_MANY_CLASSES = ("test_predictions", "test_labels")
"""What pruning drops of a run with too many classes for a confusion matrix; `COUNTS` takes their place."""

UNREAD = (
    *("test_predictions", "output_bias", "gradient_norms_init"),
    *("test_mean_softmax", "test_mean_sigmoid", "train_mean_softmax", "train_mean_sigmoid"),
)
"""What pruning drops of a run of which nothing reads more than the confusion matrix and traces."""


@dataclass
class Pruned:
    """Result of pruning committed records."""

    scored: list[str] = field(default_factory=list)  # runs whose scores or ranks were computed and added to the record
    dropped: list[str] = field(default_factory=list)  # runs whose logits, or predictions, were dropped
    unknown: list[str] = field(default_factory=list)  # runs that keep their logits because their labels are unknown
    bytes_saved: int = 0


def prune(
    results_dir: str | Path,
    keeps_logits: Callable[[Record], bool],
    labels_of: Callable[[Record, Mapping[str, np.ndarray]], np.ndarray | None],
    is_read: Callable[[Record], bool] = lambda record: True,
) -> Pruned:
    """Drop the logits of committed runs that are no longer needed, after adding their scores and ranks to the record.

    A pruned record names what was dropped and keeps the digest of the full arrays, so that a full copy of the run
    still agrees with it. Records are written before arrays: if the process is killed in between, every run is still
    valid, and calling this again finishes the work.

    Args:
        results_dir: the folder of committed records.
        keeps_logits: whether to keep a run's logits.
        labels_of: true classes of a run's test images, [N], from its record and arrays; None if unknown.
        is_read: whether anything reads a run's `UNREAD`; False drops them too.

    Raises:
        ValueError: a record or its arrays are damaged or contradictory; nothing is written then.
    """
    done, smaller = Pruned(), {}
    with held(results_dir) as folder:
        found = committed_records(folder)
        if found.problems:
            raise ValueError(found.problems[0].message)
        records = dict(found.records)
        for name, record in found.records.items():
            keeps, is_whole = keeps_logits(record), "ranking" in record.fields  # older records lack it
            if "scores" in record.fields and (not _is_full(record) or (keeps and is_whole)):
                continue
            arrays = record.arrays()
            if arrays is None:
                continue
            if "test_logits" in arrays:
                records[name], content = _pruned(record, arrays, keeps, labels_of(record, arrays), done)
            elif "confusion_matrix" not in arrays and "test_predictions" in arrays:
                records[name], content = _without(record, arrays, OF_MANY_CLASSES)
                done.dropped.append(name)
            else:
                continue
            if content is not None:
                smaller[record.arrays_path] = content
                done.bytes_saved += record.arrays_path.stat().st_size - len(content)
        for name, record in records.items():
            if is_read(record) or _lacks_unread(record):
                continue
            path = record.arrays_path
            arrays = _unpacked(smaller[path]) if path in smaller else record.arrays()
            if (
                arrays is not None
                and "test_logits" not in arrays
                and (others := [one for one in UNREAD if one in arrays])
            ):
                before = len(smaller[path]) if path in smaller else path.stat().st_size
                records[name], smaller[path] = _without(record, arrays, others)
                done.bytes_saved += before - len(smaller[path])
                done.dropped += [name] if name not in done.dropped else []
        if done.scored or smaller:
            write_bytes(folder / "records.jsonl", as_lines(records))
        for path, content in smaller.items():
            write_bytes(path, content)
    return done


def _lacks_unread(record: Record) -> bool:
    """Whether `UNREAD` was dropped of a record's arrays before, by one of them that every run writes."""
    return "output_bias" in record.fields.get("pruned", {}).get("dropped", ()) and not _is_full(record)


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def _is_full(record: Record) -> bool:
    """Whether the arrays on disk are the full ones that the run wrote."""
    if "pruned" not in record.fields:
        return True
    path = record.arrays_path
    return path.exists() and sha256_of(path) == record.fields["pruned"]["full_sha256"]


def _pruned(
    record: Record, arrays: Mapping[str, np.ndarray], keep: bool, labels: np.ndarray | None, done: Pruned
) -> tuple[Record, bytes | None]:
    """The record with scores and ranks of its logits, and the bytes of its arrays without them; None: they stay."""
    from lossbench.statistics.calibration import scored  # not before: it imports scipy
    from lossbench.statistics.ranking import ranked

    fields, name = dict(record.fields), record.id
    if labels is None and "scores" not in fields:
        done.unknown.append(name)
        return record, None
    if labels is not None and not {"scores", "ranking"} <= fields.keys():
        if len(labels) != len(arrays["test_logits"]):
            raise ValueError(f"{name} has {len(arrays['test_logits'])} test images, and {len(labels)} labels are known")
        of_run = arrays["test_logits"], labels, loss_of(fields), fields.get("class_counts")
        fields |= ({} if "scores" in fields else scored(*of_run)) | ranked(*of_run)
        done.scored.append(name)
    if keep:
        return replace(record, fields=fields), None
    done.dropped.append(name)
    return _without(replace(record, fields=fields), arrays, DROPPED)


def _without(record: Record, arrays: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[Record, bytes]:
    """The record of a run without some of its arrays, and the bytes of the others; of predictions the counts stay."""
    dropped = [key for key in names if key in arrays]
    left = {key: array for key, array in arrays.items() if key not in dropped}
    if "test_predictions" in dropped and "confusion_matrix" not in left:
        left[COUNTS] = counts_of(arrays)
    content, fields = packed(left), dict(record.fields)
    full = fields["pruned"]["full_sha256"] if "pruned" in fields else fields["arrays_sha256"]
    fields["arrays_sha256"] = hashlib.sha256(content).hexdigest()
    earlier = fields["pruned"]["dropped"] if "pruned" in fields else []
    fields["pruned"] = {"dropped": [*earlier, *(name for name in dropped if name not in earlier)], "full_sha256": full}
    return replace(record, fields=fields), content
