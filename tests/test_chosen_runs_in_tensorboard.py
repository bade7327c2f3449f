"""`lossbench tensorboard`: a folder of links to the runs that are chosen."""

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from kinds_of_runs import Invoke
from tables_of_runs import add, config

from lossbench.cli.main import lossbench
from lossbench.losses.lgl import Lgl
from lossbench.losses.sml import Sml


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make() -> dict[str, str]:
    """Two runs with events and one without; their names."""
    runs = {"sml": add(config(Sml()), 0.9), "lgl": add(config(Lgl()), 0.9), "bare": add(config(Sml(), 1), 0.9)}
    for name in ("sml", "lgl"):
        (runs[name].folder / "lr 0.1").mkdir()
        (runs[name].folder / "lr 0.1" / "events.out.tfevents.1.vm.2.0").write_bytes(b"events")
    return {name: run.id for name, run in runs.items()}


def folder_in(output: str) -> Path:
    return Path(output.splitlines()[0].partition(" in ")[2].partition(",")[0])


def test_links_lead_to_the_chosen_runs_and_the_same_choice_has_the_same_folder(invoke: Invoke) -> None:
    names = make()
    said = invoke("tensorboard", "loss=sml", "--link-only").output
    folder = folder_in(said)
    assert said.startswith("1 of 3 runs in outputs/tensorboard/")
    assert "1 without events are left out" in said
    assert [path.name for path in folder.iterdir()] == [names["sml"]]
    events = folder / names["sml"] / "lr 0.1" / "events.out.tfevents.1.vm.2.0"
    assert events.read_bytes() == b"events"
    assert folder_in(invoke("tensorboard", "--loss", "sml", "--link-only").output) == folder
    assert folder_in(invoke("tensorboard", "loss=lgl", "--link-only").output) != folder


def test_tensorboard_is_started_on_the_folder(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    assert "open http://localhost:7000/" in invoke("tensorboard", "loss=lgl", "--port", "7000").output
    (words,) = started
    assert words[:3] == [sys.executable, "-m", "tensorboard.main"]
    assert Path(words[words.index("--logdir") + 1]).parent == Path("outputs/tensorboard")
    assert words[words.index("--port") + 1] == "7000"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss=focal"], "none of 3 runs has loss=focal"),
        (["seed=1"], "1 run without events for TensorBoard"),
        (["los=sml"], "there is no option los; did you mean"),
        (["--output-dir", "nowhere"], "no runs in"),
    ],
)
def test_nothing_to_show_is_a_sentence(words: list[str], said: str) -> None:
    make()
    error = CliRunner().invoke(lossbench, ["tensorboard", *words]).exception
    assert isinstance(error, ValueError)
    assert said in str(error)
    assert not Path("outputs/tensorboard").exists()
