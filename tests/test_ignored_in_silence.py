"""Command lines of which a part would be ignored: jobs of a sweep, ranges, home folders, keys without effect."""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from called import MODULES, call
from test_overrides import Wrong, _nothing_starts, check

from lossbench.config.run import Config, Runtime, run_id
from lossbench.models.cnn5c import Cnn5c, Padding

__all__ = ["_nothing_starts"]  # a fixture for this file too


@pytest.fixture
def composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Config]]:
    """The runs that a command line of train asks for; none of them is started."""
    monkeypatch.chdir(tmp_path)

    def ask(line: str) -> list[Config]:
        seen: list[Any] = []

        def _train(found: Any, launcher: Any) -> None:
            seen.extend(found if isinstance(found, list) else [found])

        monkeypatch.setattr(MODULES["train"], "_train", _train)
        monkeypatch.setattr(sys, "argv", ["scripts/train.py", *line.split(" ")])
        call("train")
        assert list(tmp_path.iterdir()) == []
        return seen

    return ask


def test_each_job_of_a_sweep_is_validated_by_itself(
    composed: Callable[[str], list[Config]], capsys: pytest.CaptureFixture[str]
) -> None:
    for line, wanted in (
        ("dataset=digits loss=lgl,lgl_inr loss.reduction=mean", ["lgl mean", "lgl_inr mean"]),
        ("loss=lgl,lgl_inr loss.reduction=mean,sum_classes", ["lgl mean", "lgl sum_classes"] * 2),
        ("loss=glob(lgl*) loss.reduction=mean", ["lgl mean", "lgl_inr mean"]),
    ):
        found = [f"{config.loss.name} {getattr(config.loss, 'reduction', None)}" for config in composed(f"-m {line}")]
        assert found == [one if place < 2 else one.replace("lgl", "lgl_inr") for place, one in enumerate(wanted)]
    found = composed("-m dataset=digits,cifar10 dataset.augment=false dataset.classes=[3,5] runtime.experiment='{1}'")
    assert [(one.dataset.name, getattr(one.dataset, "augment", None)) for one in found] == [
        ("digits", False),
        ("cifar10", False),
    ]
    assert [(one.dataset.classes, one.runtime.experiment) for one in found] == [([3, 5], "{1}")] * 2
    for given, wanted in (("", ""), ("null", None), ("'[x]'", "[x]"), ("'1,2'", "1,2"), (r"a\,b", "a,b")):
        (one,) = composed(f"-m dataset=digits runtime.experiment={given}")
        assert one.runtime.experiment == wanted
    assert [config.model for config in composed("-m model=cnn5c,cnn5c model.padding=valid_k7")] == [
        Cnn5c(padding=Padding.valid_k7)
    ] * 2
    for line, job in (
        ("-m loss=lgl,lgl_inr,sml loss.reduction=mean", "reduction is no option of loss=sml"),
        ("-m loss=glob(lgl*) loss.beta=2", "beta is no option of loss=lgl,"),
        ("-m dataset=digits,mnist dataset.augment=false", "augment is no option of dataset=mnist"),
        ("-m model=cnn5c,cnn2c model.padding=valid_k7", "padding is no option of model=cnn2c"),
    ):
        with pytest.raises(SystemExit):
            composed(line)
        assert job in capsys.readouterr().err


def test_a_range_has_the_numbers_that_are_meant(composed: Callable[[str], list[Config]]) -> None:
    for given, numbers in (
        ("range(0.1,0.35,0.1)", [0.1, 0.2, 0.3]),
        ("range(start=0.1,stop=0.4,step=0.1)", [0.1, 0.2, 0.3]),  # without its end
        ("range(0.3,0.05,-0.1)", [0.3, 0.2, 0.1]),
        ("range(0.1,0.75,0.1)", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        ("range(1e-7,3.5e-7,1e-7)", [1e-7, 2e-7, 3e-7]),
        ("sort(range(0.1,0.35,0.1))", [0.1, 0.2, 0.3]),
        ("range(1,3)", [1.0, 2.0]),
    ):
        found = composed(f"-m schedule.lr={given}")
        assert [config.schedule.lr for config in found] == numbers, given
        (alone,) = composed(f"schedule.lr={numbers[2 % len(numbers)]}")
        assert run_id(found[2 % len(numbers)]) == run_id(alone)
    shuffled = composed("-m schedule.lr=shuffle(range(0.1,0.35,0.1))")
    assert sorted(config.schedule.lr for config in shuffled) == [0.1, 0.2, 0.3]
    assert [config.seed for config in composed("-m seed=range(0,3)")] == [0, 1, 2]


def test_a_home_is_meant_by_a_tilde_on_the_command_line(
    composed: Callable[[str], list[Config]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for sweep in ("", "-m "):
        (one,) = composed(f"{sweep}runtime.output_dir=~/a runtime.data_dir=~")
        assert (one.runtime.output_dir, one.runtime.data_dir) == ("/home/somebody/a", "/home/somebody")
    (one,) = composed("runtime.output_dir='~/a,b' runtime.data_dir=./~")
    assert (one.runtime.output_dir, one.runtime.data_dir) == ("/home/somebody/a,b", "./~")


RUNTIME = [field.name for field in fields(Runtime)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        *((f"-m seed=0,1 runtime.{key}=1,2", f"runtime.{key} is no part of a run's name") for key in RUNTIME),
        ("-m runtime.device=choice(cpu,cuda)", "runtime.device is no part of a run's name"),
        ("-m runtime={device:cpu},{device:cuda}", "runtime is no part of a run's name"),
        ("-m ++runtime.num_threads=range(1,3)", "runtime.num_threads is no part of a run's name"),
        *((f"{key}=X", "runtime.output_dir=... names") for key in ("hydra.run.dir", "hydra.sweep.dir")),
        *((f"{key}=X", "runtime.output_dir=... names") for key in ("hydra.sweep.subdir", "hydra.output_subdir")),
        *((f"{key}=X", "runtime.output_dir=... names") for key in ("hydra.job.name", "hydra", "hydra.job.chdir")),
        ("-m hydra.sweeper.max_batch_size=1", "has no effect here"),
        ("-m +hydra.sweeper.params.seed='0,1'", "has no effect here"),
        ("hydra/launcher=basic", "there is no such launcher, only local, ray, slurm"),
        ("-m schedule.lr=interval(0.1,0.2)", "interval(0.1,0.2) has no values to go over one by one"),
        ("-m schedule.lr=range(0.1,inf,0.1)", "none of them is infinite or nan"),
        *((f"--config-name{sign}reproduce", "--config-name names a config that is not of one run") for sign in "= "),
        ("runtime.output_dir=o\udcff", "is no text in UTF-8"),
        ("runtime.output_dir='o\udcff'", "is no text in UTF-8"),
        ("--config-name=base", "--config-name names a config that is not of one run"),
    ],
)
def test_what_would_be_ignored_in_silence_is_refused(
    line: str, words: str, tmp_path: Path, composed: Callable[[str], list[Config]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        composed(line)
    check(Wrong("train", (line,), words), ended.value.code, *capsys.readouterr(), tmp_path)


@pytest.mark.parametrize("script", ["reproduce", "report", "reference", "profile_run"])
def test_a_config_of_another_command_is_one_sentence(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    other = "reproduce" if script == "profile_run" else "config"
    monkeypatch.setattr(sys, "argv", [f"scripts/{script}.py", f"--config-name={other}"])
    with pytest.raises(SystemExit) as ended:
        call(script)
    check(Wrong(script, (), "--config-name names a config"), ended.value.code, *capsys.readouterr(), tmp_path)


def test_what_is_right_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    def _train(composed: Any, launcher: Any) -> None:
        seen.append(composed if isinstance(composed, list) else [composed])

    monkeypatch.setattr(MODULES["train"], "_train", _train)
    for line in (
        "loss=lgl_inr loss.beta=2 runtime={device:cpu} ++seed=3 hydra.verbose=false",
        "-m loss=lgl,sml seed=range(0,2)",
        "loss=glob(lgl*) -m",
        "schedule.lr=${schedule.gamma} loss.scale='1'",
    ):
        monkeypatch.setattr(sys, "argv", ["scripts/train.py", *line.split()])
        call("train")
    assert [len(configs) for configs in seen] == [1, 4, 2, 1]
    assert (seen[0][0].loss.beta, seen[0][0].runtime.device, seen[0][0].seed) == (2.0, "cpu", 3)
    assert (seen[3][0].schedule.lr, seen[3][0].loss.scale) == (0.1, 1.0)
    assert [config.seed for config in seen[1]] == [0, 1, 0, 1]
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []
