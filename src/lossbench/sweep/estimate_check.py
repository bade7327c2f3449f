"""How wrong the estimates of times are: measured runs, each estimated from others alone."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossbench.config.run import Config, Runtime
from lossbench.runs.restored import config_of
from lossbench.sweep.estimate import Estimates, Place, place_of
from lossbench.sweep.machines import gpu_named

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Errors:
    """Errors of the estimates of measured runs.

    Args:
        left_out: what was left out of the runs that a run was estimated from.
        num_runs: how many runs were estimated.
        median: of the factor between measured and estimated time, >= 1.
        most: its 90 % quantile.
        bias: the median of measured over estimated time.
        num_kinds: how many kinds of run there are: networks, data sets and losses.
        median_of_kinds: the median, over kinds, of the factor between the medians of measured and estimated times.
        most_of_kinds: its 90 % quantile.
    """

    left_out: str
    num_runs: int
    median: float
    most: float
    bias: float
    num_kinds: int
    median_of_kinds: float
    most_of_kinds: float


def errors(measured: Iterable[Fields]) -> list[Errors]:
    """Errors of the estimates of measured runs, from near to far.

    Every run is estimated from the others; from those of another network, data set or loss; and from those of another
    network; each on its own machine. Runs whose parts are not known here are left out.

    Args:
        measured: the fields of their records.
    """
    known = [fields for fields in measured if _config(fields) is not None and fields.get("wall_s")]
    ratios: dict[str, float | None] = {}
    kinds: dict[str, Callable[[Fields], object]] = {
        "the run": lambda fields: fields["run_id"],
        "its network, data set and loss": _kind,
        "its network": lambda fields: fields["config"]["model"]["name"],
    }
    return [_errors(words, key, known, ratios) for words, key in kinds.items()]


def _errors(
    words: str, key: Callable[[Fields], object], known: list[Fields], ratios: dict[str, float | None]
) -> Errors:
    groups: dict[object, list[Fields]] = {}
    for fields in known:
        groups.setdefault(key(fields), []).append(fields)
    found: list[tuple[object, float]] = []
    everything = Estimates(known, ratios)
    for group in groups.values():
        names = {fields["run_id"] for fields in group}
        for fields in group:
            config = _config(fields)
            assert config is not None
            estimate = everything.estimate(config, _place(fields), int(fields["num_threads"]), without=names)
            found.append((_kind(fields), math.log(fields["wall_s"] / estimate.seconds)))
    of_kind: dict[object, list[float]] = {}
    for kind, error in found:
        of_kind.setdefault(kind, []).append(error)
    single = np.array([error for _, error in found])
    kinds = np.array([np.median(values) for values in of_kind.values()])
    bias = float(np.exp(np.median(single)))
    return Errors(words, len(single), *_size(single), bias, len(kinds), *_size(kinds))


def _size(logarithms: np.ndarray) -> tuple[float, float]:
    """Median and 90 % quantile of factors, each as it is or its reciprocal, whichever is >= 1."""
    size = np.abs(logarithms)
    return float(np.exp(np.median(size))), float(np.exp(np.quantile(size, 0.9)))


def _kind(fields: Fields) -> object:
    return tuple(fields["config"][part]["name"] for part in ("model", "dataset", "loss"))


def _place(fields: Fields) -> Place:
    name = str(fields.get("device_name"))
    if fields["device"] == "cpu":
        return Place(place_of("cpu").machine, name)
    return Place(gpu_named(name) or place_of("cuda").machine)


def _config(fields: Fields) -> Config | None:
    known = fields["config"].get("runtime", {})
    try:
        return config_of(fields, Runtime(gradient_trace=bool(known.get("gradient_trace"))))
    except ValueError:
        return None
