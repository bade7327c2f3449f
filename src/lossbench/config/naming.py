"""What tells runs apart: their options by full name, which of these differ, and short words for them.

Works on configs as plain mappings, as records hold them. `dataset`, `model` and `loss` are the names; `loss.beta` is an
option of the loss.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields
from functools import lru_cache
from typing import Any

from lossbench.config.registry import LOSSES, MODELS
from lossbench.config.run import Config, canonical

PARTS = ("dataset", "model", "loss")
"""The options that are names."""

IN_NAMES = frozenset({*PARTS, "seed"})
"""The options that a run's name has in words."""

NOT_SET = "null"

_ORDER = {part: place for place, part in enumerate((*PARTS, "schedule"))}
_SIMPLE = frozenset({str, int, float, bool, type(None)})
_PART_OF = {f"{part}.name": part for part in PARTS}
_LONGEST = 150  # letters, of a folder's name


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys, such as `loss.beta`."""
    flattened: dict[str, Any] = {}
    for key, item in value.items():
        if item.__class__ in _SIMPLE or not isinstance(item, Mapping):
            flattened[f"{prefix}{key}"] = item
        else:
            flattened |= flat(item, f"{prefix}{key}.")
    return flattened


def options_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that can change a number, by full name; without the place of a file."""
    known = flat({key: value for key, value in config.items() if key != "runtime"})
    known.pop("dataset.path", None)
    return {_PART_OF.get(key, key): item for key, item in known.items()}


def same(first: object, second: object) -> bool:
    """Whether two values of an option are one: 1 is 1.0."""
    return frozen(first) == frozen(second)


def frozen(value: object) -> str:
    """A value of an option as a text that is the same for the same value."""
    kind: Any = value.__class__
    return _frozen_simple(kind, value) if kind in _SIMPLE else _CANONICAL.encode(canonical(value))


_CANONICAL = json.JSONEncoder(sort_keys=True, default=str)


@lru_cache(2**16)
def _frozen_simple(kind: type, value: Any) -> str:
    """Of a value that many runs share; its type is an argument since 1 and true are equal."""
    return _CANONICAL.encode(canonical(value))


def differing(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The options in which runs differ, in the order in which words name them.

    An option of the data set or the schedule that follows from the data set's name is left out, one of a loss or a
    network that the others do not have or that is each one's default, and the plugin of one that has a single one.
    """
    keys = dict.fromkeys(key for one in runs for key in one)
    return in_order(key for key in keys if _differs(key, runs))


def in_order(keys: Iterable[str]) -> list[str]:
    """Data set, network and loss, their options, the schedule, the rest, the seed."""

    def place(key: str) -> tuple[bool, bool, int]:
        return key == "seed", key not in PARTS, _ORDER.get(key.partition(".")[0], len(_ORDER))

    return sorted(keys, key=place)


def _differs(key: str, runs: Sequence[Mapping[str, Any]]) -> bool:
    part, _, end = key.partition(".")
    owner = {"schedule": "dataset", "plugins": end}.get(part, part)
    has_owner = key not in IN_NAMES
    values = {(one.get(owner) if has_owner else None, frozen(one.get(key))) for one in runs}
    if len(values) > len({name for name, _ in values}):
        return True
    if part in ("dataset", "schedule", "plugins"):
        return False
    different = {(one.get(part), frozen(one[key])): one for one in runs if key in one}  # few of many runs
    if all(is_default(one, key) for one in different.values()):
        return False
    return len({value for _, value in different}) > 1


def is_default(options: Mapping[str, Any], key: str) -> bool:
    """Whether an option of a network or a loss is as its class has it; False where that is not registered."""
    part, _, name = key.partition(".")
    registries: dict[str, Mapping[str, Any]] = {"loss": LOSSES, "model": MODELS}
    registry = registries.get(part, {})
    if options.get(part) not in registry:
        return False
    known = {one.name: one for one in fields(registry[options[part]].options)}
    return name in known and same(options.get(key), _default(known[name]))


def short(keys: Iterable[str]) -> dict[str, str]:
    """Short names of options: the last word, where no other one has the same."""
    known = list(keys)
    last = {key: key.rpartition(".")[2] for key in known}
    versions = [key for key in known if key.startswith("plugins.")]
    last |= {key: "version" if len(versions) == 1 else f"{last[key]} version" for key in versions}
    ends = list(last.values())
    return {
        key: end if ends.count(end) == 1 and (end == key or end not in IN_NAMES) else key for key, end in last.items()
    }


def text_of(value: object) -> str:
    """A value of an option as a command line has it; a digest by its beginning."""
    if value is None:
        return NOT_SET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(text_of, value))}]"
    text = str(value)
    return text[:8] if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


def in_words(options: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Some options of a run in words, such as "lgl_inr, beta 4, lr 0.1, seed 2"; those that it lacks are left out."""
    names = short(keys)
    there = [key for key in keys if key in options]
    return ", ".join(
        text_of(options[key]) if key in PARTS else f"{names[key]} {text_of(options[key])}" for key in there
    )


def told_apart(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What tells each run from the others, in words; empty where the words in their names do.

    Args:
        configs: by the runs' names.
    """
    return options_apart({name: options_of(config) for name, config in configs.items()})


def options_apart(options: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """As `told_apart`, of options as `options_of` has them."""
    keys = differing(list(options.values()))
    if set(keys) <= IN_NAMES:
        return {}
    return {name: in_words(one, keys) for name, one in options.items()}


def changed(config: Config) -> str:
    """The options that are not the defaults of their dataclass, in words that a folder may be named; may be empty."""
    kinds: dict[str, Any] = {
        "loss": config.loss,
        "model": config.model,
        "dataset": config.dataset,
        "schedule": config.schedule,
    }
    keys = _changed(kinds)
    options = options_of(asdict(config))
    words = in_words(options, sorted(keys, key=lambda key: key != "schedule.lr" and key.startswith("schedule.")))
    allowed = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in " ,._=+-[]") else "_" for letter in words
    )
    return allowed if len(allowed) <= _LONGEST else f"{allowed[: _LONGEST - 3]}..."


def named_loss(config: Config) -> str:
    """The loss as tables write it, with those of its options that are not its defaults: "LGL-INR, beta 4"."""
    options = in_words(options_of(asdict(config)), _changed({"loss": config.loss}))
    return ", ".join(filter(None, [LOSSES[config.loss.name].label, options]))


def _changed(kinds: Mapping[str, Any]) -> list[str]:
    """The full names of the options that are not the defaults of their dataclass, of data sets without their path."""
    return [
        f"{part}.{one.name}"
        for part, kind in kinds.items()
        for one in fields(kind)
        if one.name not in ("name", "path") and not same(getattr(kind, one.name), _default(one))
    ]


def _default(one: "Field[Any]") -> object:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return None if one.default is MISSING else one.default
