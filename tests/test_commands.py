"""The `lossbench` commands that manage runs: what they show, select, refuse and remove."""

import hashlib
import json
import multiprocessing
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from kinds_of_runs import EPOCHS, Invoke, Made

from lossbench.cli import main as cli
from lossbench.cli import printing
from lossbench.runs import inspect, removal
from lossbench.runs.archive import publish
from lossbench.runs.folder import Run


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command says to a user's mistake."""
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("lossbench: ")
    return said.err.removeprefix("lossbench: ").strip()


def listed(result: Result) -> list[str]:
    return [line["run_id"] for line in json.loads(result.stdout)]


def left(made: Made) -> set[str]:
    return {kind for kind, run in made.items() if run.folder.exists()}


def test_runs_lists_every_run_by_loss_and_seed(made: Made, invoke: Invoke) -> None:
    os.utime(made["failed"].folder / "failure.txt", (4e9, 4e9))
    head, *lines = invoke("runs").output.splitlines()
    assert head.split() == ["run", "status", "epoch", "accuracy", "age", "size", "note"]
    order = ["other", "finished", "superseded", "failed", "stopped"]
    assert [line.split()[0] for line in lines] == [made[kind].id for kind in order]
    shown = {kind: line.split()[1:4] for kind, line in zip(order, lines, strict=True)}
    assert shown == {
        "other": ["finished", "3/3", "0.3000"],
        "finished": ["finished", "3/3", "0.3000"],
        "superseded": ["finished", "3/3", "0.3000"],
        "failed": ["failed", "1/3", "0.1000"],
        "stopped": ["stopped", "2/3", "0.2000"],
    }
    assert [line.endswith("superseded") for line in lines] == [kind == "superseded" for kind in order]
    assert {line.index(line.split()[1]) for line in lines} == {head.index("status")}


def test_runs_as_json_has_every_fact(made: Made, invoke: Invoke) -> None:
    run = made["failed"]
    os.utime(run.folder / "failure.txt", (4e9, 4e9))
    (line,) = json.loads(invoke("runs", "--status", "failed", "--json").stdout)
    size = sum(path.stat().st_size for path in run.folder.iterdir())
    name = {"run_id": run.id, "dataset": "digits", "model": "cnn2c", "loss": "sml", "seed": 4}
    facts = {"status": "failed", "epoch": 1, "epochs": 3, "accuracy": 0.1, "age_s": 0.0, "bytes": size}
    reason = "FloatingPointError: the loss is nan"
    assert line == name | facts | {"superseded": False, "committed": False, "reason": reason}


FILTERS = [
    ("--loss lgl_inr", "other"),
    ("--loss sml --loss lgl_inr --status finished", "other finished superseded"),
    ("--seed 4 --seed 5", "failed stopped"),
    ("--status stopped", "stopped"),
    ("--dataset digits --model cnn2c --seed 10", "other"),
    ("--dataset mnist", ""),
    ("--model cnn5c", ""),
]


@pytest.mark.parametrize(("options", "kinds"), FILTERS)
def test_filters_choose(options: str, kinds: str, made: Made, invoke: Invoke) -> None:
    assert listed(invoke("runs", "--json", *options.split())) == [made[kind].id for kind in kinds.split()]


def test_nothing_to_list_is_said(made: Made, invoke: Invoke) -> None:
    assert invoke("runs", "--loss", "lgl").output == "none of 5 runs matches\n"
    here = Path.cwd()
    own = f"no runs in {here}/elsewhere/runs; --output-dir names another folder than elsewhere\n"
    records = f"no committed records in {here}/results; --results-dir names another folder than results\n"
    elsewhere = ("--output-dir", "elsewhere")
    assert invoke("runs", *elsewhere).output == own
    assert invoke("runs", "--committed", *elsewhere).output == own + records
    assert invoke("runs", "--committed", *elsewhere, "--json").stdout == "[]\n"
    assert invoke("runs", "--committed", *elsewhere, "--json").stderr == own + records
    assert invoke("runs", "--committed").output == invoke("runs").output + records
    assert invoke("verify", *elsewhere).output == f"0 runs, all intact\n{own}{records}"
    assert invoke("export", "none.zip", *elsewhere).stderr == invoke("publish", "none", *elsewhere).stderr == own
    assert not Path("elsewhere").exists()
    publish("outputs", "results")
    found = invoke("runs", "--committed", *elsewhere).output
    assert found.splitlines()[1:]
    assert "no committed records" not in found
    assert "no runs in" not in found


def test_committed_records_are_listed_behind_own_ones(made: Made, invoke: Invoke) -> None:
    publish("outputs", "records")
    shutil.rmtree(made["other"].folder)
    found = json.loads(invoke("runs", "--committed", "--results-dir", "records", "--json").stdout)
    assert {line["run_id"]: line["committed"] for line in found} == {
        run.id: kind == "other" for kind, run in made.items()
    }
    assert listed(invoke("runs", "--results-dir", "records", "--json")) == [line["run_id"] for line in found]
    assert "there is no folder nowhere" in str(invoke("runs", "--results-dir", "nowhere", code=1).exception)
    assert len(listed(invoke("runs", "--json"))) == 4
    known = json.loads(invoke("show", made["other"].id, "--results-dir", "records", "--json").stdout)
    assert (known["folder"], known["class_accuracy"], known["problems"]) == (None, [0.25, 0.35], [])


def test_show_tells_all_of_a_run(made: Made, invoke: Invoke) -> None:
    run = made["other"]
    for name in (run.id, run.id[:20], f"outputs/runs/{run.id}/"):
        known = json.loads(invoke("show", name, "--json").stdout)
        assert known["run_id"] == run.id
    assert known["config"] == json.loads((run.folder / "config.json").read_text())
    assert known["result"]["test_accuracy_best"] == 0.5
    assert known["class_accuracy"] == [0.25, 0.75]
    assert known["metrics"]["epoch"] == EPOCHS
    assert known["files"] == {path.name: path.stat().st_size for path in run.folder.iterdir()}
    assert known["arrays_sha256"] == hashlib.sha256((run.folder / "arrays.npz").read_bytes()).hexdigest()
    assert known["problems"] == []
    output = invoke("show", run.id).output
    assert output.startswith(f"{run.id}: finished, epoch 3/3, 0 s ago\n")
    assert re.search(r"^  loss\.beta +2\.0$", output, re.MULTILINE)
    assert "\naccuracy by class\n  0  0.2500\n  1  0.7500\n" in output
    assert "all intact; the arrays are those that the run wrote" in output
    assert "reason: FloatingPointError: the loss is nan\n" in invoke("show", made["failed"].id).output
    assert "superseded: made under another NUMERICS" in invoke("show", made["superseded"].id).output


def test_a_name_that_fits_no_run_or_several_is_a_mistake(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    said = mistake(capsys, "show", "digits-cnn2c-sml-s")
    assert said.startswith("digits-cnn2c-sml-s is the beginning of 4 runs: digits-cnn2c-sml-s2-")
    assert mistake(capsys, "show", "digits-cnn2c") == (
        f"digits-cnn2c is the beginning of 5 runs: "
        f"{', '.join(made[kind].id for kind in ('other', 'finished', 'superseded', 'failed'))} and 1 more"
    )
    said = mistake(capsys, "show", "digit-cnn2c-lgl_inr")
    assert said == f"there is no run digit-cnn2c-lgl_inr; did you mean {made['other'].id}?"
    assert mistake(capsys, "diff", "zzz", "zzz") == "there is no run zzz"
    for name in ("", "/", ".."):
        assert mistake(capsys, "remove", "--yes", name) == f"there is no run {name}".strip()
    assert left(made) == set(made)


def test_diff_shows_only_what_differs_and_the_results(made: Made, invoke: Invoke) -> None:
    pair = [made["finished"].id, made["other"].id]
    found = json.loads(invoke("diff", *pair, "--json").stdout)
    assert found["runs"] == pair
    assert found["config"]["loss.name"] == ["sml", "lgl_inr"]
    assert found["config"]["loss.beta"] == [None, 2.0]
    assert found["config"]["seed"] == [2, 10]
    assert {key.partition(".")[0] for key in found["config"]} == {"loss", "seed"}
    assert found["result"]["wall_s"] == [62.0, 70.0]
    assert found["result"]["versions.torch"] == ["2.0", "2.0"]
    lines = invoke("diff", *pair, made["stopped"].id).output.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:] if line}
    assert rows["loss.beta"] == ["-", "2.0", "-"]
    assert rows["epoch"] == ["3", "3", "2"]
    assert rows["test_accuracy"] == ["0.3000", "0.3000", "0.2000"]
    assert rows["test_accuracy_best"] == ["0.5000", "0.5000", "-"]
    assert "schedule.lr" not in rows


def test_remove_lists_runs_and_removes_them_only_with_yes(made: Made, invoke: Invoke) -> None:
    output = invoke("remove").output
    assert [line.split()[0] for line in output.splitlines()[1:-1]] == [made["superseded"].id, made["failed"].id]
    assert output.splitlines()[-1].startswith("2 runs, ")
    assert output.endswith(" would be removed; nothing is removed without --yes\n")
    wanted = {made[kind].id for kind in ("superseded", "failed")}
    found = json.loads(invoke("remove", "--json").stdout)
    assert (set(found["chosen"]), found["removed"], found["bytes"]) == (wanted, [], 0)
    assert left(made) == set(made)
    found = json.loads(invoke("remove", "--json", "--yes").stdout)
    assert set(found["removed"]) == wanted
    assert found["bytes"] == sum(found["chosen"].values()) > 0
    assert left(made) == {"finished", "other", "stopped"}
    assert invoke("remove", "--yes").output == "nothing to remove\n"


REMOVALS = [
    (["--status", "stopped"], {"stopped"}),
    (["--status", "finished"], {"superseded"}),
    (["--loss", "sml", "--seed", "4"], {"failed"}),
    (["--loss", "lgl_inr"], set()),
    (["digits-cnn2c-lgl_inr", "digits-cnn2c-sml-s5"], {"other", "stopped"}),
]


@pytest.mark.parametrize(("words", "gone"), REMOVALS)
def test_remove_takes_what_is_chosen_or_named(words: list[str], gone: set[str], made: Made, invoke: Invoke) -> None:
    invoke("remove", "--yes", *words)
    assert left(made) == set(made) - gone


@pytest.mark.parametrize(("answer", "gone"), [("y\n", {"superseded", "failed"}), ("n\n", set()), ("\n", set())])
def test_remove_asks_on_a_terminal(answer: str, gone: set[str], made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "on_terminal", lambda: True)
    result = CliRunner().invoke(cli.lossbench, ["remove"], input=answer)
    assert result.exit_code == 0
    assert "remove 2 runs, " in result.output
    assert left(made) == set(made) - gone


def _hold(folder: Path, ready: Any, done: Any) -> None:
    with Run(folder).held() as free:
        assert free
        ready.set()
        done.wait(60)


def test_a_running_run_is_never_removed(made: Made, invoke: Invoke, capsys: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    run = made["failed"]
    before = inspect.entries("outputs")  # as a list that was read a moment too early
    other = context.Process(target=_hold, args=(run.folder, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        assert listed(invoke("runs", "--json", "--status", "running")) == [run.id]
        assert mistake(capsys, "remove", "--yes", run.id) == f"{run.id} is running; nothing is removed"
        invoke("remove", "--yes", "--status", "running")
        invoke("remove", "--yes")
        assert left(made) == set(made) - {"superseded"}
        failed = [entry for entry in before if entry.id == run.id]
        assert removal.remove(failed) == ([], {run.id: "it is running"})
    finally:
        done.set()
        other.join()
    assert run.folder.exists()


def test_a_run_that_has_changed_since_it_was_chosen_stays(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inspect.entries("outputs")
    made["failed"].fail("another reason")
    monkeypatch.setattr(inspect, "entries", lambda *folders: before)
    result = CliRunner().invoke(cli.lossbench, ["remove", "--yes"])
    assert result.exit_code == 1
    assert result.stderr == f"kept: {made['failed'].id}: it has changed meanwhile\n"
    assert result.stdout.splitlines()[-1].startswith("1 of 2 runs, ")
    assert left(made) == set(made) - {"superseded"}


USAGE = [
    "diff one",
    "runs --status done",
    "show",
    "show a b",
    "remove a --loss sml",
    "nothing",
    "export",
]


@pytest.mark.parametrize("words", USAGE)
def test_wrong_usage_is_exit_code_2(words: str, made: Made, invoke: Invoke) -> None:
    result = invoke(*words.split(), code=2)
    assert result.stdout == ""
    assert "Usage: lossbench" in result.stderr
    assert left(made) == set(made)


def test_help_names_every_command_and_those_that_train_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    shown = [
        line.split()[0] for line in capsys.readouterr().out.partition("Commands:\n")[2].splitlines() if line[2] != " "
    ]
    first = "train compare reproduce reference report profile"
    others = (
        "evaluate runs table tensorboard show diff remove verify losses models datasets check-loss studies export "
        "import publish prune simulate"
    )
    assert " ".join(shown) == f"{first} {others}"
    without_runs = ("losses", "models", "datasets", "check-loss")
    for name in others.split():
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0
        assert ("--output-dir" in capsys.readouterr().out) == (name not in without_runs)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("lossbench 0.")


def test_a_command_of_hydra_gets_its_words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def command() -> None:
        seen.append(sys.argv[1:])

    monkeypatch.setattr("sys.argv", ["lossbench"])
    words = ["-m", "--help", "loss=sml,lgl", "--", "--cfg", "job", "--json", "a b"]
    assert CliRunner().invoke(cli.HydraCommand("train", command), words).exit_code == 0
    assert seen == [words]


def test_names_of_runs_are_completed(made: Made) -> None:
    complete = ShellComplete(cli.lossbench, {}, "lossbench", "_LOSSBENCH_COMPLETE")
    found = complete.get_completions(["show"], "digits-cnn2c-l")
    assert [item.value for item in found] == [made["other"].id]
    assert complete.get_completions(["show", "--output-dir", "elsewhere"], "digits") == []


def test_a_table_on_a_terminal_has_the_same_cells(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    printing.print_rich(["run", "size"], [[run.id, "[1] kB"] for run in made.values()], ["size"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["run", "size"], *([run.id, "[1]", "kB"] for run in made.values())]


def test_a_tilde_is_the_home_folder_for_every_command(
    made: Made, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert len(listed(invoke("runs", "--output-dir=~/outputs", "--json"))) == len(listed(invoke("runs", "--json")))
    assert "written to" in invoke("export", "~/all.zip", "--output-dir=~/outputs").output
    invoke("import", "~/all.zip", "--output-dir=~/others")
    invoke("publish", "~/records", "--output-dir=~/others")
    assert len(listed(invoke("runs", "--committed", "--results-dir=~/records", "--output-dir=~/none", "--json")))
    assert {path.name for path in Path().iterdir()} == {"outputs", "all.zip", "others", "records"}
    for word, path in (("--output-dir", "~nobody-there"), ("--results-dir", "o\udcff")):
        assert mistake(capsys, "runs", word, path).startswith(f"{word} must be a path")
    assert mistake(capsys, "export", "~nobody-there/x").startswith("FILE must be a path")
