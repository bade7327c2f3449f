"""Estimates of how long runs will take, from the records of similar runs."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lossbench.config.run import Config
from lossbench.data.sizes import sizes
from lossbench.runs.records import Record

Kind = tuple[str, str, str]
"""Network, precision and kind of device."""


def rates(records: Iterable[Record]) -> dict[Kind, float]:
    """Core-seconds (on a GPU: seconds) per training image and epoch, by kind: the median over its finished runs."""
    known: dict[Kind, list[float]] = {}
    for record in records:
        fields = record.fields
        images = _number(fields.get("num_train")) * _number(fields["config"]["schedule"]["epochs"])
        spent = _number(fields.get("wall_s")) * (_number(fields.get("num_threads")) if fields["device"] == "cpu" else 1)
        if images > 0 and spent > 0:
            kind = str(fields["config"]["model"]["name"]), str(fields["precision"]), str(fields["device"])
            known.setdefault(kind, []).append(spent / images)
    return {kind: median(values) for kind, values in known.items()}


def hours(configs: Iterable[Config], known: Mapping[Kind, float], device: str) -> tuple[float, int]:
    """Core-hours (on a GPU: hours) of some runs, and the number of those without an estimate, left out of the sum."""
    total, unknown = 0.0, 0
    for config in configs:
        rate = known.get((config.model.name, config.schedule.precision.value, device))
        if rate is None:
            unknown += 1
        else:
            total += rate * sizes(config.dataset).num_train * config.schedule.epochs / 3600
    return total, unknown


def in_words(configs: Sequence[Config], known: Mapping[Kind, float], device: str) -> str:
    """`hours` as words for the terminal; empty for no runs."""
    if not configs:
        return ""
    total, unknown = hours(configs, known, device)
    if unknown == len(configs):
        return "hours unknown, as no similar run has finished"
    unit = "core-hours" if device == "cpu" else "hours"
    return f"about {total:.1f} {unit}" + (f" without {unknown} runs of other kinds" if unknown else "")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
