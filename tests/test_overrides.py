"""200 wrong command lines, made from the real options: each is refused in one message that names a valid one."""

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from called import MODULES, call

import lossbench
from lossbench.config.registry import LOSSES, MODELS
from lossbench.config.run import Runtime, Schedule
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.data.npz import Npz
from lossbench.studies.options import Reproduce

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SCRIPTS = Path(__file__).parents[1] / "scripts"
GROUPS: dict[str, dict[str, type]] = {
    "dataset": {
        **dict.fromkeys(("mnist", "fmnist", "kmnist"), MnistType),
        "cifar10": Cifar10,
        "digits": Digits,
        "npz": Npz,
    },
    "model": {name: facts.options for name, facts in MODELS.items()},
    "loss": {name: facts.options for name, facts in LOSSES.items()},
}
GROUPS["schedule"] = dict.fromkeys(GROUPS["dataset"], Schedule)
TOP = [*GROUPS, "seed", "runtime"]
TOP_OF_TABLES = [field.name for field in fields(Reproduce)]
GOOD = {"train": "seed=3", "profile_run": "seed=3", "reproduce": "seeds=3", "report": "dry=true"}
BAD_VALUES = {int: ["ten", "1.5", "true", "[1]"], float: ["fast", "true", "{a:1}"], bool: ["maybe", "2.5", "[true]"]}
OUT_OF_RANGE = [
    *("schedule.lr=0", "schedule.lr=-0.1", "schedule.lr=nan", "schedule.lr=inf", "schedule.epochs=0", "seed=-1"),
    *(
        "schedule.batch_size=0",
        "schedule.momentum=1",
        "schedule.gamma=0",
        "schedule.milestones=[50,75]",
        "loss.scale=0",
    ),
    *(
        "runtime.device=tpu",
        "runtime.num_threads=0",
        "runtime.parallel=0",
        "dataset.num_train=0",
        "runtime.budget_min=0",
    ),
]


@dataclass(frozen=True)
class Wrong:
    """A wrong command line."""

    script: str
    arguments: tuple[str, ...]
    names: str  # what the message must name
    meant: frozenset[str] = frozenset()  # one of these must be suggested; empty: nothing has to be


def edits(word: str) -> Iterator[str]:
    """All words at edit distance 1, a swap of neighbours included; dots stay where they are."""
    for place, letter in enumerate(word):
        if letter == ".":
            continue
        yield word[:place] + word[place + 1 :]
        yield from (word[:place] + other + word[place + 1 :] for other in LETTERS)
        yield from (word[:place] + other + word[place:] for other in LETTERS)
        if "." not in word[place : place + 2]:
            yield word[:place] + word[place + 1 : place + 2] + letter + word[place + 2 :]


def differing(one: str, other: str) -> int:
    """Letters of the longer word between the common beginning and the common end."""
    for _ in range(2):  # the beginning, then the end
        same = next(
            (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        one, other = one[same:][::-1], other[same:][::-1]
    return max(len(one), len(other))


def misspelt(draw: random.Random, word: str, valid: list[str]) -> tuple[str, frozenset[str]]:
    """A word at distance 1 that is none of the valid ones, and all valid ones it may stand for."""
    forbidden = {*valid, "null", "true", "false", "nan", "inf", ""}
    wrong = draw.choice(sorted(e for e in set(edits(word)) - forbidden if re.fullmatch(r"[a-z]\w*(\.[a-z]\w*)*", e)))
    edited = set(edits(wrong))
    near = [other for other in valid if abs(len(other) - len(wrong)) <= 1 and differing(other, wrong) <= 2]
    return wrong, frozenset(other for other in near if other in edited or wrong in set(edits(other)))


def hints_of(part: Any) -> dict[str, Any]:
    return {field.name: get_type_hints(part)[field.name] for field in fields(part)}


def options(choices: dict[str, str]) -> dict[str, Any]:
    """Types of all options of a run, by full key."""
    parts = {group: GROUPS[group][choice] for group, choice in choices.items()} | {"runtime": Runtime}
    found = {f"{group}.{key}": kind for group, part in parts.items() for key, kind in hints_of(part).items()}
    return found | {"seed": int}


def options_of_tables() -> dict[str, Any]:
    found = {key: kind for key, kind in get_type_hints(Reproduce).items() if not is_dataclass(kind)}
    return found | {f"runtime.{key}": kind for key, kind in get_type_hints(Runtime).items()}


def drawn(draw: random.Random) -> tuple[str, dict[str, Any], list[str], list[str]]:
    """A script, its options, the words a key without a dot can be, and the overrides that choose the groups."""
    script = draw.choice(["train", "train", "train", "profile_run", "reproduce", "report"])
    if script in ("reproduce", "report"):
        return script, options_of_tables(), TOP_OF_TABLES, []
    choices = {group: draw.choice(sorted(choices)) for group, choices in GROUPS.items()}
    return script, options(choices), TOP, [f"{group}={choice}" for group, choice in choices.items()]


def wrong_choice(draw: random.Random) -> Wrong:
    group = draw.choice(list(GROUPS))
    wrong, meant = misspelt(draw, draw.choice(sorted(GROUPS[group])), sorted(GROUPS[group]))
    hints = frozenset(f"{group}={choice}" for choice in meant)
    if draw.random() < 0.3:
        right = draw.choice(sorted(GROUPS[group]))
        return Wrong("train", ("-m", f"{group}={right},{wrong}", "seed=0,1"), f"{group}={wrong}", hints)
    return Wrong(draw.choice(["train", "profile_run"]), (f"{group}={wrong}",), f"{group}={wrong}", hints)


def wrong_group(draw: random.Random) -> Wrong:
    group = draw.choice(list(GROUPS))
    wrong, _ = misspelt(draw, group, TOP)
    choice = draw.choice(sorted(GROUPS[group]))
    return Wrong("train", (f"{wrong}={choice}",), f"{wrong}={choice}", frozenset({f"{group}={choice}"}))


def wrong_key(draw: random.Random) -> Wrong:
    script, known, top, choices = drawn(draw)
    key = draw.choice(sorted(known))
    wrong, meant = misspelt(draw, key, [*known, *top])
    return Wrong(script, (*choices, f"{wrong}=1"), wrong, frozenset(f"{other}=1" for other in meant))


def wrong_word(draw: random.Random) -> Wrong:
    while True:
        script, known, _, choices = drawn(draw)
        words = {key: kind for key, kind in known.items() if isinstance(kind, type) and issubclass(kind, Enum)}
        key = draw.choice(sorted(words))
        valid = [word.value for word in words[key]]
        if key != "dataset.normalization" or len(valid) == 3:
            wrong, meant = misspelt(draw, draw.choice(valid), valid)
            hints = frozenset(f"{key}={word}" for word in meant)
            return Wrong(script, (*choices, f"{key}={wrong}"), f"{key} must be one of ", hints)


def wrong_type(draw: random.Random) -> Wrong:
    script, known, _, choices = drawn(draw)
    plain = {key: kind for key, kind in known.items() if kind in BAD_VALUES}
    key = draw.choice(sorted(plain))
    value = draw.choice(BAD_VALUES[plain[key]])
    return Wrong(script, (*choices, f"{key}={value}"), f"{key} must be ")


def out_of_range(draw: random.Random) -> Wrong:
    text = draw.choice(OUT_OF_RANGE)
    key, _, value = text.partition("=")
    if draw.random() < 0.3 and "[" not in text and not key.startswith("runtime."):
        good = {"schedule.momentum": "0.5"}.get(key, "1")
        return Wrong("train", ("-m", f"{key}={good},{value}"), f"{key} must be ")
    return Wrong("train", (text,), f"{key} must be ")


def without_value(draw: random.Random) -> Wrong:
    script, known, _, choices = drawn(draw)
    key = draw.choice(sorted(known))
    return Wrong(script, (*choices, key), f"{key} is no key=value", frozenset({f"{key}=..."}))


def unknown_plus(draw: random.Random) -> Wrong:
    script, known, top, choices = drawn(draw)
    wrong, meant = misspelt(draw, draw.choice(sorted(known)), [*known, *top])
    plus = draw.choice(["+", "++"])
    return Wrong(script, (*choices, f"{plus}{wrong}=1"), f"{plus}{wrong}=1", frozenset(f"{other}=1" for other in meant))


def removed(draw: random.Random) -> Wrong:
    script, known, top, _ = drawn(draw)
    key = draw.choice([*known, *top])
    return Wrong(script, (f"~{key}",), f"~{key}: nothing can be removed")


def doubled(draw: random.Random) -> Wrong:
    script, _, _, choices = drawn(draw)
    good = draw.choice(choices or [GOOD[script]])
    return Wrong(script, (GOOD[script], *choices, good.replace("3", "4")), f"{good.partition('=')[0]} is given twice")


def several(draw: random.Random) -> Wrong:
    text = draw.choice(["seed=0,1", "loss=sml,lgl", "schedule.lr=0.1,0.2"])
    return Wrong("train", (text,), f"{text} has several values", frozenset({f"-m {text}"}))


KINDS: dict[Callable[[random.Random], Wrong], int] = {
    wrong_choice: 40,
    wrong_group: 20,
    wrong_key: 50,
    wrong_word: 20,
    wrong_type: 20,
    out_of_range: 16,
    without_value: 10,
    unknown_plus: 8,
    removed: 6,
    doubled: 6,
    several: 4,
}


def cases() -> list[Wrong]:
    draw = random.Random(20)
    made = [kind(draw) for kind, num in KINDS.items() for _ in range(num)]
    assert len(made) == 200
    return made


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(config: Any, *launcher: Any) -> None:
        pytest.fail(f"{config} was not refused")

    for script in GOOD:
        monkeypatch.setattr(MODULES[script], f"_{script}", started)


def check(case: Wrong, code: object, output: str, errors: str, folder: Path) -> None:
    assert code == 1
    assert output == ""
    assert "Traceback" not in errors
    assert errors.startswith("lossbench: ")
    assert errors.count("lossbench: ") == 1
    assert 1 <= errors.count("\n") <= 2
    assert case.names in errors
    suggested = re.search(r"did you mean (.*)\?\n", errors)
    if case.meant:
        assert suggested is not None, errors
        assert suggested[1] in case.meant, errors
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.script} {' '.join(case.arguments)}")
def test_a_wrong_command_line_is_refused_with_what_was_meant(
    case: Wrong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"scripts/{case.script}.py", *case.arguments])
    with pytest.raises(SystemExit) as ended:
        call(case.script)
    check(case, ended.value.code, *capsys.readouterr(), tmp_path)


@pytest.mark.parametrize(
    "case",
    [
        Wrong("train", ("loss=lgl_irn",), "loss=lgl_irn", frozenset({"loss=lgl_inr"})),
        Wrong(
            "train", ("-m", "loss=sml,lgl_inr", "loss.beta=1,2"), "beta is no option of loss=sml, but of loss=lgl_inr"
        ),
        Wrong("train", ("--lr=3",), "--lr=3 is no option; an override is written key=value, without dashes"),
        Wrong("train", ("seed=1", "-m", "loss=sml"), "loss=sml comes too late"),
        Wrong("reproduce", ("tabels=[3]",), "tabels=[3]", frozenset({"tables=[3]"})),
        Wrong("report", ("profile=quik",), "profile must be one of auto, paper, quick", frozenset({"profile=quick"})),
        Wrong("profile_run", ("lr=3",), "lr=3", frozenset({"schedule.lr=3"})),
    ],
    ids=str,
)
def test_so_it_is_for_the_real_commands(case: Wrong, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / f"{case.script}.py"), *case.arguments]
    source = {"PYTHONPATH": str(Path(lossbench.__file__).parents[1]), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=source, capture_output=True, text=True)
    check(case, done.returncode, done.stdout, done.stderr, tmp_path)


STRANGE = [
    *("''", "=3", "=", "seed==3", "seed=[", "loss=", "loss=null", "loss=1", "loss=[sml]", "loss={name:sml}", "sml"),
    *("runtime=3", "+seed=3", "dataset@x=mnist", "schema/loss=sml", "hydra/launcher=foo", "hydra.foo=3"),
    *("schedule.lr=${foo}", "schedule.lr=${seed}", "runtime.parallel=1.5", "dataset.image_shape.0=3", "loss..x=3"),
    *(
        "-m seed=interval(0,1)",
        "-m loss=glob(*) seed=x",
        "-m seed=range(0,3) loss.x=3",
        "-m +seed=glob(*)",
        "--cfg foo",
    ),
    *("--run --multirun seed=1", "--config-name=foo", "--config-dir=nowhere", "-x", "Seed=1", "seed =1", "SEED=1"),
]


@pytest.mark.parametrize("line", STRANGE)
def test_strange_command_lines_are_refused_as_well(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = line.replace("''", "").split(" ") if line != "seed =1" else ["seed =1"]
    monkeypatch.setattr(sys, "argv", ["scripts/train.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        call("train")
    check(Wrong("train", tuple(arguments), ""), ended.value.code, *capsys.readouterr(), tmp_path)
