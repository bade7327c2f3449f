"""Checks of the files of runs: fields of records, headers and shapes of arrays, configs and metrics.

Sizes are checked before anything is loaded. Errors are raised without the file's path, which the caller adds.
"""

import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.registry import LOSSES
from lossbench.config.run import name_of
from lossbench.data.npz_file import array_in, header_of
from lossbench.runs.folder import FORMAT
from lossbench.system.files import NotAFileError, open_file

DAMAGES = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""Errors of reading damaged JSON; those of json and of the decoders are ValueErrors."""

TEXT_LIMIT, FILE_LIMIT = 2**24, 2**31
"""Largest size of a text file of a run, and of any of its files, in bytes."""

FREE, RATIO = 2**26, 20
"""Packed content of n bytes may unpack to at most FREE + RATIO * n bytes."""

_SCORES = ("nll", "brier", "ece", "adaptive_ece", "overconfidence")
_RANKING = ("ndcg", "mrr", "ties")
_BAND = ("accuracy", "nll")
_NUMBERS = ("test_loss", "train_accuracy")
_SIZES = ("wall_s", "images_per_s", "step_ms", "peak_memory_mb", "num_parameters", "num_train", "num_test")
_GROUPS = ("dataset", "model", "loss", "schedule", "runtime")

_SHAPES = {
    **dict.fromkeys(("test_mean_softmax", "test_mean_sigmoid", "train_mean_softmax", "train_mean_sigmoid"), "KK"),
    **dict.fromkeys(("class_weights", "test_mean_softmax_by_epoch", "test_mean_sigmoid_by_epoch"), "EKK"),
    **dict.fromkeys(("output_bias", "gradient_norms_init"), "K"),
    **dict.fromkeys(("test_predictions", "test_labels"), "N"),
    "confusion_matrix": "KK",
    "gradient_norms": "EK",
    "test_logits": "NK",
    "gradient_trace_steps": "T",
    **dict.fromkeys(("gradient_trace_counts", "gradient_trace_norms"), "TP"),
    "gradient_trace_zeros": "TZ",
    "gradient_trace_spectrum": "SQ",
    "gradient_trace_spectrum_steps": "S",
}


def content_of(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """The content of a file of a run.

    Args:
        path: the file.
        limit: its largest allowed size, in bytes.

    Raises:
        ValueError: it cannot be read, is no regular file, or is larger than `limit`.
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise ValueError(f"{path} has {size} bytes, more than any run writes there; remove it")
            return file.read()
    except NotAFileError as error:
        raise ValueError(f"{path} is not a file; remove it") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); restore it, or remove it") from error


def number(value: Any) -> float:
    """A value from a JSON file as a float.

    Raises:
        TypeError: it is not a number.
    """
    if value.__class__ is float:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{type(value).__name__}, not a number")
    return float(value)


_NUMBER = frozenset({int, float})


def numbers(values: Any) -> list[float]:
    """A list from a JSON file as floats; as `number`, for each of them."""
    return [*values] if set(map(type, values)) == {float} else [*map(number, values)]


def check_format(fields: Mapping[str, Any]) -> None:
    """Raise a ValueError if the format version is unknown, as that of a later lossbench."""
    version = fields.get("format", 1)
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ValueError(f"its format is {version!a:.40}, but this lossbench reads 1 to {FORMAT}; update lossbench")


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise one of `DAMAGES` unless the fields of a record have the types that a run writes; most may be absent."""
    check_format(fields)
    if type(fields["numerics"]) is not int or type(fields["config"]["schedule"]["epochs"]) is not int:
        raise TypeError("numerics and schedule.epochs must be integers")
    for group in _GROUPS:
        _mapping(fields["config"][group], f"config.{group}")
    for name in _NUMBERS:
        if name in fields:
            _numbers({name: fields[name]}, (name,))
    for name in _SIZES:
        if name in fields and not 0 <= _number_of(fields, name) < math.inf:
            raise ValueError(f"{name} is {fields[name]}, not a finite number >= 0")
    if fields.get("num_threads") is not None:
        _numbers(fields, ("num_threads",))
    for name, curve in _mapping(fields.get("curves", {}), "curves").items():
        if not isinstance(curve, list):
            raise TypeError(f"curves.{name} is {type(curve).__name__}, not a list")
        if not set(map(type, curve)) <= _NUMBER:  # without a call for each of them
            _numbers(dict(enumerate(curve)), range(len(curve)))
    if "pruned" in fields:
        _text(_mapping(fields["pruned"], "pruned")["full_sha256"], "pruned.full_sha256")
    if "weights" in fields:
        weights = _mapping(fields["weights"], "weights")
        _text(weights["sha256"], "weights.sha256")
        _numbers(weights, ("bytes",))
    if "scores" in fields:
        scores = _mapping(fields["scores"], "scores")
        for name in {*_maps(fields), *scores}:
            _numbers(_mapping(scores[name], f"scores.{name}"), _SCORES)
    if "ranking" in fields:
        _numbers(_mapping(fields["ranking"], "ranking"), {*_RANKING, *fields["ranking"]})
    if "positive_classes" in fields:
        _numbers(fields, ("positive_classes",))
    if "macro_recall" in fields:
        _numbers(fields, ("macro_recall",))
    for name, band in _mapping(fields.get("by_frequency", {}), "by_frequency").items():
        known = _mapping(band, f"by_frequency.{name}")
        _numbers(known, ("classes", "test_samples", *(key for key in _BAND if known[key] is not None)))


def _maps(fields: Mapping[str, Any]) -> Iterable[str]:
    """The maps from logits to probabilities that a run's scores must have; a loss's own map may be missing."""
    plugins = fields.get("plugins")
    loss = fields["config"]["loss"]["name"]
    if plugins and "loss" in plugins:
        maps = [str(name) for name in plugins["loss"]["maps"]]
    else:
        maps = [*(LOSSES[loss].maps if loss in LOSSES else ("softmax",))]
    return [name for name in maps if name != "own"]


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if value.__class__ is not dict and not isinstance(value, Mapping):
        raise TypeError(f"{name} is {type(value).__name__}, not a mapping")
    return value


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {type(value).__name__}, not a text")


def _numbers(values: Mapping[Any, Any], names: Iterable[Any]) -> None:
    for name in names:
        if values[name].__class__ not in _NUMBER:
            _number_of(values, name)


def _number_of(values: Mapping[Any, Any], name: Any) -> float:
    try:
        return number(values[name])
    except TypeError as error:
        raise TypeError(f"{name} is {type(values[name]).__name__}, not a number") from error


def check_unpacked(sizes: Iterable[int], packed: int) -> None:
    """Raise a ValueError if packed content would unpack to implausibly many bytes.

    Args:
        sizes: unpacked sizes of its parts, in bytes.
        packed: size of the packed content, in bytes.
    """
    total = sum(sizes)
    if total > FREE + RATIO * packed:
        raise ValueError(f"its {packed} bytes would unpack to {total}")


def load_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes of an `arrays.npz`; sizes are checked before it is unpacked, then types and shapes.

    Raises:
        ValueError, and the errors of zipfile and numpy: the arrays are damaged, or not what a run writes.
    """
    with zipfile.ZipFile(BytesIO(content)) as archive:
        check_unpacked((info.file_size for info in archive.infolist()), len(content))
        members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    headers = {name: header_of(BytesIO(member), f"{name}.npy", len(member)) for name, member in members.items()}
    sizes: dict[str, int] = {}
    for name, header in headers.items():
        if header.dtype.kind not in "biuf" or min(header.shape, default=0) < 0:
            raise ValueError(f"{name} holds {header.dtype} in the shape {header.shape}")
    for name, letters in sorted(_SHAPES.items(), key=lambda item: item[0] != "confusion_matrix"):
        if name not in headers:
            continue
        shape = headers[name].shape
        expected = tuple(sizes.get(letter, size) for letter, size in zip(letters, shape, strict=False))
        if len(shape) != len(letters) or shape != expected or (letters == "KK" and len({*shape}) != 1):
            known = ", ".join(f"{letter} = {size}" for letter, size in sizes.items())
            raise ValueError(f"{name} has the shape {list(shape)}, not [{', '.join(letters)}] with {known or 'one K'}")
        sizes |= dict(zip(letters, shape, strict=True))
    arrays: dict[str, np.ndarray] = {name: array_in(member, headers[name]) for name, member in members.items()}
    counts = arrays.get("confusion_matrix", np.zeros(0))
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError("confusion_matrix holds values that are no counts")
    for name in {"test_predictions", "test_labels"} & arrays.keys():
        highest = sizes.get("K", np.inf)  # with many classes no array tells K
        if arrays[name].dtype.kind not in "iu" or not ((arrays[name] >= 0) & (arrays[name] < highest)).all():
            raise ValueError(f"{name} holds values that are no classes in 0..{highest - 1}")
    return arrays


COUNTS = "test_counts"
"""Array of a pruned run with many classes: numbers of right predictions and of test samples, int64 [2]."""


def counts_of(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """`COUNTS` of predictions and labels."""
    right = arrays["test_predictions"] == arrays["test_labels"]
    return np.array([right.sum(), len(right)], np.int64)


def accuracy_in(arrays: Mapping[str, np.ndarray]) -> float:
    """The accuracy computed from the arrays of a run.

    Raises:
        KeyError: there is neither a confusion matrix nor predictions with labels nor their counts.
    """
    if COUNTS in arrays:
        right, all_ = arrays[COUNTS].tolist()
        return float(right) / max(1.0, float(all_))
    if "confusion_matrix" in arrays:
        counts = arrays["confusion_matrix"]
        return float(counts.trace()) / max(1.0, float(counts.sum()))
    return float((arrays["test_predictions"] == arrays["test_labels"]).mean())


def check_metrics(lines: Iterable[bytes], epochs: int | None) -> None:
    """Raise one of `DAMAGES` unless the lines are those of epochs 1, 2, ...; an incomplete last line is allowed.

    Args:
        lines: of `metrics.jsonl`, with their line ends; read one at a time.
        epochs: the number of epochs there must be; None: any.
    """
    count = 0
    for line in lines:
        if not line.endswith(b"\n"):
            break
        count += 1
        epoch = json.loads(line)["epoch"]
        if type(epoch) is not int or epoch != count:
            raise ValueError(f"lacks epochs: it has {epoch!a:.40} in line {count}")
    if epochs is not None and count != epochs:
        raise ValueError(f"has {count} epochs of {epochs}")


def check_config(content: bytes, fields: Mapping[str, Any]) -> None:
    """Raise one of `DAMAGES` unless a `config.json` holds the same config as the record or divergence."""
    config = json.loads(content)
    if config != fields["config"]:
        name = name_of(config, fields["numerics"])
        raise ValueError(f"is not the config of {fields['run_id']}, but of {name!a:.200}")


def check_reason(content: bytes, reason: str) -> None:
    """Raise a ValueError unless the text of a `failure.txt` contains the reason."""
    if reason not in content.decode():
        raise ValueError("does not contain the reason why the run diverged")
