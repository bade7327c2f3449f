"""One sentence on what is wrong with a command line's overrides, and on what was probably meant.

Hydra decides what is right. This module explains what Hydra refuses, and refuses what Hydra would ignore in silence.
"""

import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lossbench.config.registry import DATASETS, LOSSES, MODELS, PARTS
from lossbench.config.run import Schedule

READ_BY_HYDRA = ("verbose", "searchpath", "help", "hydra_help", "callbacks")
"""What of `hydra.*` has an effect here; the rest would be ignored in silence."""

ONE = ("=choice({lossbench_one:", "})")
"""What stands before and behind a single value that a sweep goes over; our sweeper takes it off again."""

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}

LISTED = {int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Command:
    """A command whose options Hydra composes."""

    name: str  # as `lossbench` calls it
    conf: Path  # the folder of the YAML files
    config_name: str  # which of them is composed


@contextmanager
def explained(command: Command, arguments: Sequence[str]) -> Iterator[None]:
    """Whatever is wrong with a command line becomes a ValueError in plain words, ours in the place of Hydra's."""
    overrides, is_sweep = _overrides_of(arguments)
    _refuse_what_hydra_lets_pass(overrides, command)
    every_option = f"lossbench {command.name} --cfg job shows every option"
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        try:
            _explain(overrides, is_sweep, command)
        except ValueError as explanation:
            raise ValueError(f"{explanation}\n{every_option}") from error
        if not isinstance(error, (HydraException, OmegaConfBaseException)):
            raise  # a value out of its range: it speaks for itself
        said = str(error.__cause__ or error).partition("\n")[0]
        raise ValueError(f"{said}\n{every_option}") from error
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        os.environ.update({} if before is None else {"HYDRA_FULL_ERROR": before})


def _overrides_of(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The overrides among a command line's arguments, and whether commas make a sweep."""
    parser = get_args_parser()  # `hydra.main` reads sys.argv by it; Hydra has no public way to it

    def refuse(message: str) -> NoReturn:
        raise ValueError(f"{message}; an override is written key=value, without dashes")

    parser.error = refuse  # type: ignore[method-assign]
    known, unknown = parser.parse_known_args(list(arguments))
    if unknown and not unknown[0].startswith("-"):
        raise ValueError(f"{unknown[0]} comes too late; options such as -m stand before all overrides, or behind them")
    if unknown:
        refuse(f"{unknown[0]} is no option")
    return known.overrides, known.multirun


def with_homes(arguments: Sequence[str]) -> list[str]:
    """The same arguments, with quotes around each value that has a `~` in it, which Hydra reads in quotes only."""
    return [_quoted(text) if "~" in text.partition("=")[2] and _parsed(text) is None else text for text in arguments]


def with_launcher(arguments: Sequence[str]) -> list[str]:
    """The same arguments, with `hydra/launcher=slurm` as `launcher=slurm`, and its options likewise."""
    named = {"hydra/launcher=": "launcher=", "hydra.launcher.": "launcher."}
    return [
        next((ours + text.removeprefix(given) for given, ours in named.items() if text.startswith(given)), text)
        for text in arguments
    ]


def _quoted(text: str) -> str:
    key, _, value = text.partition("=")
    pieces = [f"'{piece}'" if "~" in piece and "'" not in piece else piece for piece in value.split(",")]
    return f"{key}={','.join(pieces)}"


def job_by_job(arguments: Sequence[str]) -> list[str]:
    """The same arguments, but in a sweep each single value as a sweep of one.

    Hydra first composes the sweep without what has several values, so with the defaults of the groups that the sweep
    goes over. A single value for an option that the default choice lacks would be refused there. A sweep of one waits,
    as the others do, for each job to be composed by itself.
    """
    overrides, is_sweep = _overrides_of(arguments)
    if not is_sweep:
        return list(arguments)
    return [_sweep_of_one(text) if text in overrides else text for text in arguments]


def _sweep_of_one(text: str) -> str:
    override = _parsed(text)
    if override is None or override.is_sweep_override() or override.is_hydra_override():
        return text
    key, _, value = text.partition("=")
    return f"{key}{ONE[0]}{value if value.strip() else repr('')}{ONE[1]}"


def _refuse_what_hydra_lets_pass(overrides: Iterable[str], command: Command) -> None:
    """A key that is given twice, removed or never read, and several values where there can be one only."""
    seen: dict[str, str] = {}
    for text in overrides:
        if any("\udc80" <= letter <= "\udcff" for letter in text):  # what Python makes of bytes that are no text
            raise ValueError(f"{os.fsencode(text)!r} is no text in UTF-8, as options and paths must be; name another")
        override = _parsed(text)
        if override is None:
            continue
        key = override.key_or_group
        if override.is_delete():
            raise ValueError(f"{text}: nothing can be removed; left out of the command line, {key} keeps its default")
        given = override.value()
        if isinstance(given, RangeSweep) and not all(
            map(math.isfinite, (given.start or 0, given.stop or 0, given.step))
        ):
            raise ValueError(f"{text}: a range goes from number to number, and none of them is infinite or nan")
        if key.partition(".")[0].partition("/")[0] == "hydra":
            _refuse_what_hydra_does_not_do(text, key)
        if key.partition(".")[0] in ("runtime", "launcher") and len(_values(override, is_sweep=True)) > 1:
            told = "is no part of a run's name, so several values would all be one run"
            raise ValueError(f"{text}: {key} {told}; give one value a command")
        if key in seen:
            raise ValueError(f"{key} is given twice, as {seen[key]} and as {text}; keep one of them")
        if (command.conf / key).is_dir() and isinstance(override.value(), (list, dict)):
            raise ValueError(f"{text}: {key} takes one word, without brackets; several make a sweep, -m {key}=a,b")
        seen[key] = text


def _refuse_what_hydra_does_not_do(text: str, key: str) -> None:
    words = key.replace("/", ".").split(".")
    if len(words) > 1 and words[1] in READ_BY_HYDRA:
        return
    if len(words) == 1 or words[1] in ("run", "sweep", "job", "runtime", "output_subdir"):
        raise ValueError(f"{text} has no effect, Hydra writes nothing here; runtime.output_dir=... names where runs go")
    raise ValueError(f"{text} has no effect here; of {words[0]} only {', '.join(READ_BY_HYDRA)} are read")


def _parsed(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def _explain(overrides: Sequence[str], is_sweep: bool, command: Command) -> None:
    """Raise ValueError for the first override that cannot be; come back where each by itself is right."""
    groups = _groups(command)
    chosen: dict[str, list[Any]] = {}
    parsed = {text: _parsed(text) for text in overrides}
    for text, override in parsed.items():
        if override is None or not override.key_or_group:
            _refuse_unreadable(text, command)
        elif override.key_or_group in groups:
            chosen[override.key_or_group] = _choices(override, is_sweep, groups[override.key_or_group])
    for group, choices in chosen.items():
        for choice in choices:
            _check_choice(group, choice, groups[group])
    for override in parsed.values():
        if override is None or override.key_or_group in groups or override.key_or_group.startswith("hydra"):
            continue
        values = _values(override, is_sweep)
        group = override.key_or_group.partition(".")[0]
        for choice in chosen.get(group, [None]):
            _check_value(override, values, command, *([] if choice is None else [f"{group}={choice}"]))


def _values(override: Override, is_sweep: bool) -> list[Any]:
    """The values that an override has, one after the other."""
    if not override.is_sweep_override():
        return [override.value()]
    if not is_sweep:
        text = override.input_line
        raise ValueError(f"{text} has several values; a sweep needs -m, a list brackets{_hint(f'-m {text}')}")
    try:
        return list(override.sweep_iterator())
    except HydraException:  # only Hydra can tell
        return []


def _choices(override: Override, is_sweep: bool, there: Sequence[str]) -> list[Any]:
    """The choices of a group that an override makes, those of a glob among them."""
    given: Any = override.value()
    return given.filter(list(there)) if isinstance(given, Glob) else _values(override, is_sweep)


def _refuse_unreadable(text: str, command: Command) -> NoReturn:
    key, _, value = text.lstrip("+~").partition("=")
    if key and value:
        raise ValueError(f"{text} cannot be read as key=value; a value with special signs stands in quotes, \"'...'\"")
    words = {choice: f"{group}={choice}" for group, names in reversed(_groups(command).items()) for choice in names}
    words |= {option: f"{option}=..." for option in _known(command)}
    meant = words.get(key) or words.get(_meant(key, command) or closest(key, words) or "")
    raise ValueError(f"{text or 'an empty word'} is no key=value{_hint(meant)}")


def _check_choice(group: str, choice: Any, choices: Sequence[str]) -> None:
    if choice not in choices:
        meant = closest(_written(choice), choices)
        there = f"there is no such {group}, only {', '.join(choices)}"
        raise ValueError(f"{group}={_written(choice)}: {there}{_hint(meant and f'{group}={meant}')}")


def _check_value(override: Override, values: Sequence[Any], command: Command, *choices: str) -> None:
    key, config = override.key_or_group, _composed(command, *choices)
    options = _options(config)
    if key not in options:
        raise ValueError(_no_option(override, values, command, choices))
    if override.is_add():
        text = str(override.input_line)
        raise ValueError(f"{text}: {key} is there already{_hint(text.lstrip('+'))}")
    for value in values:
        try:
            OmegaConf.update(deepcopy(config), key, value)
        except (OmegaConfBaseException, ValueError):
            if is_dataclass(options[key]):
                example = next(option for option in options if option.startswith(f"{key}."))
                raise ValueError(f"{key} has options of its own, such as {example}=...") from None
            words = _words(options[key])
            meant = closest(_written(value), words)
            wrong = f"{key} must be {_kind(options[key])}, got {_written(value)}"
            raise ValueError(f"{wrong}{_hint(meant and f'{key}={meant}')}") from None


def _no_option(override: Override, values: Sequence[Any], command: Command, choices: Sequence[str]) -> str:
    """What to say of a key that nothing reads."""
    key = override.key_or_group
    group, _, option = key.partition(".")
    groups = _groups(command)
    others = groups.get(group, [])
    homes = [f"{group}={other}" for other in others if key in _options_of(command, group, other)]
    if homes:
        selected = choices[0] if choices else f"{group}={OmegaConf.select(_composed(command), f'{group}.name')}"
        return f"{override.input_line}: {option} is no option of {selected}, but of {', '.join(homes)}"
    meant, value = _meant(key, command), _written(values[0]) if values else "..."
    if meant in groups and value not in groups[meant]:
        value = closest(value, groups[meant]) or "..."
    return f"{override.input_line}: there is no option {key}{_hint(meant and f'{meant}={value}')}"


def _meant(key: str, command: Command) -> str | None:
    """The group or option that a misspelt or shortened key may stand for."""
    top, _, end = key.rpartition(".")
    known = _known(command)
    same_end = [option for option in known if option.rpartition(".")[2] == end]
    if same_end:
        return closest(key, same_end) or same_end[0]
    if top and (beside := {option.rpartition(".")[2]: option for option in known if option.startswith(f"{top}.")}):
        found = closest(end, beside)
        return None if found is None else beside[found]
    if top:
        return closest(key, known)
    ends = {option.rpartition(".")[2]: option for option in reversed(known)}
    found = closest(key, ends)
    return None if found is None else ends[found]


@cache
def _known(command: Command) -> list[str]:
    """All groups and options that there are under any choice, the shortest first."""
    known = dict.fromkeys(_options(_composed(command)))
    for group, choices in _groups(command).items():
        for choice in choices:
            known |= dict.fromkeys(_options_of(command, group, choice))
    return sorted(known, key=lambda option: option.count("."))


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that a misspelt word probably is; None where none is near."""
    cutoff = 0.6 if len(word) > 3 else 0.5  # one wrong letter of two
    near = difflib.get_close_matches(word, list(candidates), n=5, cutoff=cutoff)
    return next((other for other in near if _is_one_slip(word, other)), near[0] if near else None)


def _is_one_slip(word: str, other: str) -> bool:
    """Whether one letter is missing, too many or another, or two neighbours have changed places."""
    for _ in range(2):  # what is the same goes, at the beginning, then at the end
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(word, other, strict=False))))
        word, other = word[same:][::-1], other[same:][::-1]
    return max(len(word), len(other)) <= 1 or (len(word) == 2 and word == other[::-1])


def _hint(meant: str | None) -> str:
    return f"; did you mean {meant}?" if meant else ""


@cache
def _composed(command: Command, *choices: str) -> Any:
    with initialize_config_dir(str(command.conf), version_base="1.3"):
        return compose(command.config_name, list(choices))


def composed(command: Command, overrides: Sequence[str], values: Mapping[str, Any]) -> Any:
    """The config that overrides make of a command's defaults, then changed by values of options, by key."""
    config = deepcopy(_composed(command, *overrides))
    for key, value in values.items():
        OmegaConf.update(config, key, value)
    return config


@cache
def _groups(command: Command) -> dict[str, list[str]]:
    """The groups that a config has, each with its choices: YAML files, and what is registered without one."""
    registered: dict[str, Iterable[str]] = {"dataset": DATASETS, "model": MODELS, "loss": LOSSES, "schedule": DATASETS}
    folders = [command.conf / str(key) for key in _composed(command)]
    return {
        folder.name: sorted({path.stem for path in folder.glob("*.yaml")}.union(registered.get(folder.name, ())))
        for folder in folders
        if folder.is_dir()
    }


def _options(config: Any, prefix: str = "") -> dict[str, Any]:
    """The type of every option of a composed config, by its full key."""
    options: dict[str, Any] = {}
    kinds = get_type_hints(OmegaConf.get_type(config))
    for key, kind in ((str(key), kinds[str(key)]) for key in config):
        options[prefix + key] = kind
        if is_dataclass(kind):
            options |= _options(config[key], f"{prefix}{key}.")
    return options


def _options_of(command: Command, group: str, choice: str) -> dict[str, Any]:
    """The type of every option of a choice of a group, by its full key; without a composition, which is slow."""
    if group == "schedule":
        return _fields(Schedule, "schedule.")
    if group in PARTS and choice in PARTS[group]:
        return _fields(PARTS[group][choice].options, f"{group}.")
    return _options(_composed(command, f"{group}={choice}"))


def _fields(schema: type[Any], prefix: str) -> dict[str, Any]:
    """The type of every option of a dataclass, by its full key."""
    options: dict[str, Any] = {}
    kinds = get_type_hints(schema)
    for field in fields(schema):
        kind = options[prefix + field.name] = kinds[field.name]
        if isinstance(kind, type) and is_dataclass(kind):
            options |= _fields(kind, f"{prefix}{field.name}.")
    return options


def _kind(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_kind(part) for part in get_args(kind))
    if get_origin(kind) is list:
        return f"a list of {LISTED.get(get_args(kind)[0], 'values')} in brackets"
    return KINDS.get(kind) or f"one of {', '.join(_words(kind))}"


def _words(kind: Any) -> list[str]:
    """The words that an option can be."""
    if kind is bool:
        return ["true", "false"]
    return [str(word.value) for word in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


def _written(value: Any) -> str:
    """A value as one would write it on a command line."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
