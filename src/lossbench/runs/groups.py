"""Runs that differ in their seed alone, as one group: its numbers, its counts, and its differences to a baseline."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbench import NUMERICS
from lossbench.config.naming import PARTS, differing, frozen, is_default, same, text_of
from lossbench.config.registry import LABELS
from lossbench.runs.choose import Choice, order_of
from lossbench.runs.folder import Status
from lossbench.runs.inspect import DAMAGED, Entry
from lossbench.runs.measures import Measure, plugin_fact

if TYPE_CHECKING:
    from lossbench.statistics.inference import Difference

NUMERICS_KEY = "numerics"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Args:
        options: all but the seed, by full name; `numerics` among them.
        runs: by seed.
    """

    options: Mapping[str, Any]
    runs: Mapping[int, Entry]

    @cached_property
    def records(self) -> dict[int, Mapping[str, Any]]:
        """The records of the finished runs, by seed."""
        return {seed: entry.record.fields for seed, entry in self.runs.items() if entry.record}

    @property
    def counts(self) -> dict[str, int]:
        """Runs that are not finished, by how they stand; what there is none of is left out."""
        found = dict.fromkeys(("diverged", "failed", "unfinished", "damaged"), 0)
        for entry in self.runs.values():
            if entry.divergence:
                found["diverged"] += 1
            elif entry.status in (Status.running, Status.stopped):
                found["unfinished"] += 1
            elif entry.status in (Status.failed, DAMAGED):
                found[entry.status] += 1
        return {word: count for word, count in found.items() if count}

    @cached_property
    def dataset(self) -> str:
        """What the runs are tested on, the same for the same data: all options of the data set."""
        return frozen({key: value for key, value in self.options.items() if key.partition(".")[0] == "dataset"})

    def values(self, measure: Measure) -> dict[int, float]:
        """The finished runs' numbers, by seed."""
        found = {seed: measure.of(record) for seed, record in self.records.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    def said(self, key: str) -> list[str]:
        """What the finished runs' records say of a key, each value once; "torch" is its version."""
        records = self.records.values()
        values = (one["versions"].get("torch") if key == "torch" else one.get(key) for one in records)
        return sorted({str(value) for value in values})

    def label(self, key: str) -> str:
        """The value of an option as tables write it: the label of a data set, a network or a loss."""
        value = self.options.get(key)
        if key not in PARTS:
            return "–" if value is None else text_of(value)
        for entry in self.runs.values():
            if label := label_in(entry, key):
                return label
        return LABELS.get(str(value), str(value))


def label_in(entry: Entry, part: str) -> str | None:
    """The label that a run's record has for its data set, network or loss, where a plugin brought it."""
    label = plugin_fact(entry.record.fields, part, "label") if entry.record else None
    return label if isinstance(label, str) else None


def grouped(entries: Iterable[Entry]) -> list[Group]:
    """The groups of runs, by their options; runs whose config cannot be read are left out."""
    found: dict[str, Group] = {}
    for entry in entries:
        if entry.config:
            options = entry.options | {NUMERICS_KEY: entry.numerics or NUMERICS}
            seed = options.pop("seed")
            runs = found.setdefault(frozen(options), Group(options, {})).runs
            assert isinstance(runs, dict)
            runs[int(seed)] = entry
    groups = list(found.values())
    keys = differing([group.options for group in groups])
    return sorted(groups, key=lambda group: tuple(order_of(group.options.get(key)) for key in keys))


def keys_of(groups: Sequence[Group]) -> list[str]:
    """The options that tell groups apart."""
    return differing([group.options for group in groups])


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation (ddof 1) and number of some values; nan where there are too few."""

    mean: float
    sd: float
    n: int


def moments(values: Iterable[float]) -> Moments:
    """Of the values of a group's runs."""
    known = list(values)
    mean = float(np.mean(known)) if known else math.nan
    return Moments(mean, float(np.std(known, ddof=1)) if len(known) > 1 else math.nan, len(known))


def best_of(groups: Sequence[Group], measure: Measure) -> list[bool]:
    """Which groups have the best mean of those on the same data set, ties as rounded among them.

    None where there is no other to compare with, or neither end of the measure is better.
    """
    known: dict[str, list[float]] = {}
    shown: list[float | None] = []
    for group in groups:
        mean = moments(group.values(measure).values()).mean
        shown.append(None if math.isnan(mean) else float(measure.text(mean)))
        if shown[-1] is not None:
            known.setdefault(group.dataset, []).append(shown[-1])
    return [
        measure.best is not None
        and value is not None
        and len(known[group.dataset]) > 1
        and value == measure.best(known[group.dataset])
        for group, value in zip(groups, shown, strict=True)
    ]


@dataclass(frozen=True)
class Beside:
    """A group beside its baseline: the difference over common seeds, and its p after Holm over all groups."""

    baseline: Group
    difference: "Difference"
    p_holm: float


def beside(groups: Sequence[Group], baseline: Sequence[Choice], measure: Measure) -> list[Beside | None]:
    """Each group beside the baseline that equals it in all options that the baseline does not name.

    Pairs are of the same seed and the same kind of device. None for the baseline itself, and where there is none that
    is equal in all else, or several.

    Raises:
        ValueError: no group fits the baseline.
    """
    from lossbench.statistics import inference

    fitting = [group for group in groups if all(choice.takes(group.options) for choice in baseline)]
    if not fitting:
        raise ValueError(f"no runs fit the baseline {' '.join(map(str, baseline))}; the table has no such row")
    named, taken = {choice.key for choice in baseline}, set(map(id, fitting))
    alike: dict[frozenset[tuple[str, str]], list[Group]] = {}
    for one in fitting:
        alike.setdefault(_unnamed(one, named), []).append(one)
    found: list[tuple[Group, Difference] | None] = []
    for group in groups:
        near = [] if id(group) in taken else alike.get(_unnamed(group, named), [])
        equal = [one for one in near if _equal_else(group, one, named)]
        found.append((equal[0], _difference(group, equal[0], measure)) if len(equal) == 1 else None)
    corrected = iter(inference.holm([one[1].p for one in found if one]))
    return [Beside(*one, next(corrected)) if one else None for one in found]


def _unnamed(group: Group, named: set[str]) -> frozenset[tuple[str, str]]:
    """The options that two groups must have equal, whatever else; what is not set is left out.

    Most groups that are not equal differ in these, so that few have to be compared in all options.
    """
    kept = {}
    for key, value in group.options.items():
        part, _, end = key.partition(".")
        if value is not None and key not in named and part not in named and not (part == "plugins" and end in named):
            kept[key] = frozen(value)
    return frozenset(kept.items())


def _equal_else(group: Group, other: Group, named: set[str]) -> bool:
    """Whether two groups are equal in the options that are not named.

    Of a loss or a network that is named, an option that only one side has does not count, nor one at its default on
    either side.
    """
    for key in {**group.options, **other.options}:
        part, _, end = key.partition(".")
        one_has_it = (key in group.options) != (key in other.options)
        own = one_has_it or (is_default(group.options, key) and is_default(other.options, key))
        if key in named or (part in named and own) or (part == "plugins" and end in named):
            continue
        if not same(group.options.get(key), other.options.get(key)):
            return False
    return True


def _difference(group: Group, other: Group, measure: Measure) -> "Difference":
    from lossbench.statistics import inference

    ours, theirs = group.values(measure), other.values(measure)
    seeds = [
        seed
        for seed in sorted(ours.keys() & theirs.keys())
        if group.records[seed]["device"] == other.records[seed]["device"]
    ]
    return inference.paired_t(inference.pair([ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]))
