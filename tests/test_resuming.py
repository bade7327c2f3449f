"""Resumed runs: whose a checkpoint and its metrics are, whether they are complete, and the record of sessions."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_training import change_checkpoint, config, finished, outcome, stop_in, stopped

from lossbench.cli.main import lossbench
from lossbench.config.run import Schedule
from lossbench.losses.lgl import Lgl
from lossbench.losses.sml import Sml
from lossbench.training import record as record_module
from lossbench.training.fit import fit
from lossbench.training.resume import CIRCUMSTANCES


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    other = stopped(config(tmp_path, loss=Sml(), schedule=Schedule(3, 32, lr=0.1)), stop_in(3, 0.0))
    made = config(tmp_path, loss=Lgl())
    run = stopped(made, stop_in(2, 0.0))
    for name in ("checkpoint.pt", "metrics.jsonl"):
        shutil.copy(other.folder / name, run.folder / name)
    said = f"checkpoint.pt is the checkpoint of '{other.id}', not of {run.id}; remove it, and the run starts afresh"
    with pytest.raises(ValueError, match=re.escape(said)):
        fit(made, run)
    (run.folder / "checkpoint.pt").unlink()
    fit(made, run)
    assert outcome(run) == finished(config(tmp_path / "alone", loss=Lgl()))


def test_metrics_of_another_run_are_refused(tmp_path: Path) -> None:
    other = stopped(config(tmp_path, loss=Sml()), stop_in(3, 0.0))
    run = stopped(config(tmp_path), stop_in(3, 0.0))
    shutil.copy(other.folder / "metrics.jsonl", run.folder / "metrics.jsonl")
    with pytest.raises(
        ValueError, match=r"metrics\.jsonl is not the file that was written with its checkpoint; remove"
    ):
        fit(config(tmp_path), run)


def test_an_older_checkpoint_that_does_not_say_whose_it_is_is_gone_on_with(tmp_path: Path) -> None:
    expected = finished(config(tmp_path / "a"))
    run = stopped(config(tmp_path / "b"), stop_in(3, 0.0))
    change_checkpoint(run, without=("run_id", "metrics_sha256", "sessions"))
    epochs: list[int] = []
    fit(config(tmp_path / "b"), run, lambda epoch, fraction, line: epochs.append(epoch))
    assert set(epochs) == {3}
    before, now = run.record()["sessions"]
    assert before == {"epoch": 1, "num_threads": 1} | dict.fromkeys(
        ("commit", "versions", "device_name", "deterministic")
    )
    assert now == expected["record"]["sessions"][0] | {"epoch": 3}
    assert {**outcome(run)["record"], "sessions": None} == {**expected["record"], "sessions": None}


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    run = stopped(config(tmp_path), stop_in(2, 0.0))
    for changes in ({"model": {}}, {"model": 1}, {"velocities": []}, {"velocities": None}):
        whole = run.read_checkpoint()
        change_checkpoint(run, **changes)
        with pytest.raises(
            ValueError, match=r"checkpoint\.pt holds the state of another network; remove it, and the run"
        ):
            fit(config(tmp_path), run)
        run.write_checkpoint(whole or b"")
    change_checkpoint(run, without=("wall_s",))
    with pytest.raises(ValueError, match=r"checkpoint\.pt is no checkpoint of this run; remove it"):
        fit(config(tmp_path), run)


@pytest.mark.parametrize("signed", [True, False], ids=["now", "an older checkpoint"])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("test/accuracy", None, "test/accuracy is None"),
        ("test/accuracy", math.nan, "test/accuracy is nan"),
        ("train/loss", math.inf, "train/loss is inf"),
        ("lr", "0.1", "lr is '0.1'"),
        ("time/step_ms", 0, "time/step_ms is 0"),
        ("test/class_accuracy", 0.5, "test/class_accuracy is not a list of numbers"),
        ("test/class_accuracy", [math.nan] * 10, "test/class_accuracy is not a list of numbers"),
        ("time/train_s", ..., "time/train_s is missing"),
        ("epoch", ..., "holds a damaged line among the first 2"),
    ],
)
def test_a_damaged_line_of_metrics_is_refused_with_a_way_out(
    signed: bool, key: str, value: Any, said: str, tmp_path: Path
) -> None:
    run = stopped(config(tmp_path), stop_in(3, 0.0))
    path = run.folder / "metrics.jsonl"
    first, second = map(json.loads, path.read_text().splitlines())
    first[key] = value
    first = {name: kept for name, kept in first.items() if kept is not ...}
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    if not signed:
        change_checkpoint(run, without=("metrics_sha256",))
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        fit(config(tmp_path), run)
    assert str(caught.value).startswith(f"{path} ")
    assert str(caught.value).endswith("; remove checkpoint.pt beside it, and the run starts afresh")
    (run.folder / "checkpoint.pt").unlink()
    fit(config(tmp_path), run)
    assert run.finished


def test_a_changed_number_in_a_line_of_metrics_is_noticed(tmp_path: Path) -> None:
    run = stopped(config(tmp_path), stop_in(3, 0.0))
    path = run.folder / "metrics.jsonl"
    path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.02', 1))
    with pytest.raises(ValueError, match="is not the file that was written with its checkpoint"):
        fit(config(tmp_path), run)


def test_a_run_under_changing_circumstances_records_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = config(tmp_path)
    monkeypatch.setattr(record_module, "commit", lambda: "first")
    run = stopped(made, stop_in(2, 0.0))
    stopped(made, stop_in(2, 0.0))  # an attempt that leads nowhere leaves nothing
    monkeypatch.setattr(record_module, "commit", lambda: "second")
    monkeypatch.setattr(record_module, "versions", lambda: {"torch": "9.9"})
    stopped(made, stop_in(2, 0.0))
    stopped(made, stop_in(3, 0.0))
    made.runtime.deterministic = True
    fit(made, run)
    record = run.record()
    begun = [(part["epoch"], part["commit"], part["deterministic"]) for part in record["sessions"]]
    assert begun == [(1, "first", False), (2, "second", False), (3, "second", True)]
    assert all(set(part) == {"epoch", *CIRCUMSTANCES} for part in record["sessions"])
    assert {key: record["sessions"][-1][key] for key in CIRCUMSTANCES} == {key: record[key] for key in CIRCUMSTANCES}
    shown = CliRunner().invoke(lossbench, ["show", run.id, "--output-dir", str(tmp_path)]).output
    assert "sessions, from epoch\n  1  commit first, " in shown
    assert "\n  3  commit second, versions.torch 9.9, " in shown
    alone = finished(config(tmp_path / "alone"))
    assert [part["epoch"] for part in alone["record"]["sessions"]] == [1]
    assert (
        "sessions"
        not in CliRunner().invoke(lossbench, ["show", run.id, "--output-dir", str(tmp_path / "alone")]).output
    )
