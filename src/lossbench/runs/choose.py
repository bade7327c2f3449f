"""Runs chosen and sorted by their options: `loss.beta=4`, `dataset=fmnist,kmnist`, `schedule.lr`."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lossbench.config.naming import NOT_SET, PARTS, flat, same, text_of
from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.config.run import Runtime, Schedule
from lossbench.runs.inspect import RESULT, Entry

_REGISTRIES: Mapping[str, Mapping[str, Any]] = {"dataset": DATASETS, "model": MODELS, "loss": LOSSES}

MOST_NAMED = 8
"""Values that a message lists."""


@dataclass(frozen=True)
class Choice:
    """An option, and the values that are meant, as written."""

    key: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.values)}"

    def takes(self, facts: Mapping[str, Any]) -> bool:
        """Whether a run with these options is meant; one that lacks the option has it as null."""
        return any(_is(text, facts.get(self.key)) for text in self.values)


def facts_of(entry: Entry) -> dict[str, Any]:
    """What a run can be chosen and sorted by: its options, how it stands, and what its record says."""
    options = entry.options if entry.config else dict(entry.words)
    runtime = flat(entry.config.get("runtime") or {}, "runtime.")
    source = entry.record or entry.divergence
    result = {key: source.fields[key] for key in RESULT if key in source.fields} if source else {}
    standing = {"run": entry.id, "status": entry.status, "epoch": entry.epoch, "accuracy": entry.accuracy}
    return flat(result) | runtime | options | standing


def choices(texts: Sequence[str], every: Iterable[Mapping[str, Any]]) -> list[Choice]:
    """What a user has written, such as loss.beta=1,4.

    Args:
        texts: an option and its values each.
        every: facts of all runs, for what there is.

    Raises:
        ValueError: one has no "=", or there is no such option.
    """
    found, known = [], known_options(every) if texts else []
    for text in texts:
        key, sign, values = text.partition("=")
        if not sign:
            part = next((part for part, registry in _REGISTRIES.items() if text in registry), None)
            hint = f"; did you mean {part}={text}?" if part else _hint(text, known)
            raise ValueError(f"{text} is no OPTION=VALUE, such as loss.beta=4{hint}")
        check_option(key, known)
        found.append(Choice(key, tuple(_split(values))))
    return found


def check_option(key: str, known: Sequence[str], word: str = "option") -> None:
    """Refuse an option that no run has.

    Raises:
        ValueError: there is none of that name; the sentence has those that are near it.
    """
    if key not in known:
        hint = _hint(key, known) or f"; there are {', '.join(known)}"
        raise ValueError(f"there is no {word} {key}{hint}")


def chosen(wanted: Sequence[Choice], entries: Sequence[Entry], facts: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The runs that fit every choice."""
    pairs = zip(entries, facts, strict=True)
    return [entry for entry, known in pairs if all(choice.takes(known) for choice in wanted)]


def none_fits(wanted: Sequence[Choice], facts: Sequence[Mapping[str, Any]]) -> str:
    """A sentence for a choice that leaves no run, with the values that there are."""
    for choice in wanted:
        if not any(map(choice.takes, facts)):
            values = sorted({text_of(known.get(choice.key)) for known in facts}, key=_as_number)
            more = f" and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else ""
            return (
                f"none of {len(facts)} runs has {choice}; there {choice.key} is {', '.join(values[:MOST_NAMED])}{more}"
            )
    return f"none of {len(facts)} runs matches"


def sorted_by(key: str, entries: Sequence[Entry], every: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Runs by an option, rising, or falling with a "-" before its name; those that lack it come last.

    Args:
        key: the option.
        entries: the runs.
        every: facts of all runs, for what there is.

    Raises:
        ValueError: there is no such option.
    """
    name = key.removeprefix("-")
    check_option(name, known_options(every))
    values = {facts["run"]: facts.get(name) for facts in every}
    there = [entry for entry in entries if values[entry.id] is not None]
    others = [entry for entry in entries if values[entry.id] is None]
    there.sort(key=lambda entry: order_of(values[entry.id]), reverse=key.startswith("-"))
    return there + others


def order_of(value: Any) -> tuple[int, float, str]:
    """A sort key for values of one option: what is not set, then numbers, then texts."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, (int, float)):
        return 1, float(value), ""
    return 2, 0.0, text_of(value)


def known_options(facts: Iterable[Mapping[str, Any]]) -> list[str]:
    """All options that these runs have, and those of all registered losses, networks and data sets."""
    known = dict.fromkeys((*PARTS, "seed"))
    for part, registry in _REGISTRIES.items():
        options = (one.name for name in registry for one in fields(registry[name].options))
        known |= dict.fromkeys(f"{part}.{option}" for option in options if option != "name")
    known |= dict.fromkeys(f"schedule.{one.name}" for one in fields(Schedule))
    known |= dict.fromkeys(f"runtime.{one.name}" for one in fields(Runtime))
    for one in facts:
        known |= dict.fromkeys(one)
    return list(known)


def _hint(key: str, known: Sequence[str]) -> str:
    ends: dict[str, list[str]] = {}
    for option in known:
        ends.setdefault(option.rpartition(".")[2], []).append(option)
    near = ends.get(key.rpartition(".")[2], []) or difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    near = near or [option for end in difflib.get_close_matches(key, ends, n=1, cutoff=0.7) for option in ends[end]]
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""


def _split(values: str) -> list[str]:
    """Values at commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in values:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _is(text: str, value: object) -> bool:
    """Whether a value is what a user has written."""
    if value is None or isinstance(value, bool):
        return text.lower() == text_of(value) or (value is None and text.lower() in ("none", ""))
    if isinstance(value, (int, float)):
        return _as_number(text)[0] == float(value)
    if isinstance(value, (list, tuple)):
        try:
            return same(json.loads(text), list(value))
        except ValueError:
            return text == text_of(value)
    return text in (str(value), text_of(value))


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return (-math.inf, "") if text == NOT_SET else (math.inf, text)
