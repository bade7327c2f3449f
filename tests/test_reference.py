"""`make reference`: its plan, runs that are left out, and what is published."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from invented import plan_alone
from test_end_to_end import run, said

from lossbench.cli.reference import _reference
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.engines.options import Local
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.records import committed_records
from lossbench.studies.aaai20 import without_gpu
from lossbench.studies.options import Reproduce
from lossbench.studies.study import Known, studies
from lossbench.sweep import run_all as sweep


def test_the_reference_plan_is_listed_and_takes_no_other_options(tmp_path: Path) -> None:
    lines = said(tmp_path, "reference", "dry=true", "runtime.device=cpu", "results_dir=results").splitlines()
    names = [line.partition(":")[0] for line in lines]
    assert names[0] == "many classes, words, learning rates"
    first = names.index("why the log, the same wrong start, fitted")
    assert names[first : first + 3] == [
        "why the log, the same wrong start, fitted",
        "why the log, from the same wrong start",
        "why the log, Fashion-MNIST, learning rates",
    ]
    first = names.index("eight losses, learning rates")
    assert names[first : first + 8] == [
        "eight losses, learning rates",
        *(f"eight losses, learning rates beyond an edge of the grid ({nth})" for nth in range(1, 5)),
        "eight losses, the best learning rates and their neighbours again",
        "eight losses, each loss at its own learning rate",
        "eight losses, all losses at the common learning rate",
    ]
    after = names.index("CNN2C at the paper's learning rate")
    assert "Softmax family, KMNIST, each loss at its own learning rate" in names[first:after]
    assert names[after : after + 15] == [
        "CNN2C at the paper's learning rate",
        "Table 5, beta 2 and 4",
        "learning rates of CNN2C, on validation images",
        "learning rates of CNN2C, one step beyond an edge of the grid",
        "learning rates of CNN2C, two steps beyond",
        "CNN2C, scales matched",
        "CNN2C, each loss at its own learning rate",
        "CNN2C with the head as printed",
        *(f"studies beyond the paper, {nth} seed" for nth in ("first", "second", "third")),
        "initial weights crossed with order",
        "blind seeds of CNN2C",
        "learning rates of CNN2C on MNIST, on validation images",
        "learning rates of CNN2C on MNIST, one step beyond an edge of the grid",
    ]
    assert lines[-2].endswith("lossbench plan reference with the same options")
    assert names[-5:-2] == [
        "learning rates of CNN5C, two steps beyond",
        "class weights on imbalanced data",
        "class weights on other imbalances",
    ]
    assert re.search(r" runs known so far, about [\d.]+ core-hours, [\d.]+ kWh, from no measured run$", lines[-1])
    assert lines[after].startswith("CNN2C at the paper's learning rate: 45 of 45 runs to do, ")
    assert list(tmp_path.iterdir()) == []
    done = run(tmp_path, "reference", "seeds=1")
    assert done.returncode == 1
    assert "the reference runs are those of docs/statistics.md" in done.stderr


def test_reference_runs_in_bf16_wait_for_a_device_with_kernels_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, given = list(without_gpu.blocks(Runtime(device="cpu", output_dir=str(tmp_path)))), []

    def run_all(configs: Sequence[Config], *others: object) -> sweep.Summary:
        given.append([run_id(config) for config in configs])
        return sweep.Summary()

    plan_alone(monkeypatch, own)
    monkeypatch.setattr("lossbench.engines.launch.run_all", run_all)
    monkeypatch.setattr("lossbench.sweep.run_all.prepare", lambda *_: None)  # as if all data were there
    for kernels in (False, True):
        monkeypatch.setattr("lossbench.training.fit.has_bf16_kernels", lambda device, known=kernels: known)
        _reference(Reproduce(results_dir=str(tmp_path / "results"), runtime=own[0][1][0].runtime), Local())
    agreement, cifar10, cnn5c, *plain = ([run_id(config) for config in configs] for _, configs in own if configs)
    assert given == [agreement[::2], cifar10, *plain, agreement, cifar10, cnn5c, *plain]
    lines = [line for line in capsys.readouterr().out.splitlines() if "runs to do" in line]
    waits = " in bf16 wait for a device that has kernels for it"
    assert [line.partition("; ")[2] for line in lines] == [f"3{waits}", "", f"27{waits}", *[""] * 4, *[""] * 7]


def test_reference_runs_without_data_are_left_out_and_the_others_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOSSBENCH_DATA", raising=False)
    runtime = Runtime("cpu", str(tmp_path / "out"), download=False, num_threads=1, parallel=1, tensorboard=False)
    good = Config(Digits(num_train=64), Cnn2c(), Sml(), Schedule(1, 32), 0, runtime)
    others = [replace(good, dataset=MnistType(), seed=seed) for seed in (0, 1)]
    plan_alone(monkeypatch, [("first", [*others, good]), ("second", others[:1])])
    with pytest.raises(SystemExit, match="1"):
        _reference(Reproduce(results_dir=str(tmp_path / "results"), runtime=runtime), Local())
    assert [path.name for path in (tmp_path / "out" / "runs").iterdir()] == [run_id(good)]
    told = capsys.readouterr()
    lines = [line.partition("; ")[2] for line in told.out.splitlines() if "runs to do" in line]
    assert lines == ["2 wait for their data", "1 wait for their data"]
    assert [line.partition(": ")[0] for line in told.err.splitlines() if "mnist" in line] == [
        "mnist",  # why, once
        "some runs could not be done, because data are missing",
    ]
    assert len(committed_records(tmp_path / "results").records) == 1


def test_the_reference_runs_alone_are_published_also_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[set[str]] = []

    def stopped(configs: Sequence[Config], *others: object) -> None:
        raise KeyboardInterrupt

    def publish(output_dir: str, results_dir: str, names: set[str]) -> int:
        published.append(names)
        return 0

    monkeypatch.setattr("lossbench.engines.launch.run_all", stopped)
    monkeypatch.setattr("lossbench.sweep.run_all.prepare", lambda *_: None)  # as if all data were there
    monkeypatch.setattr("lossbench.runs.archive.publish", publish)
    runtime = Runtime(device="cpu", output_dir=str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        _reference(Reproduce(results_dir=str(tmp_path / "results"), runtime=runtime), Local())
    _, first = next(studies()[0].plan(Known(runtime=runtime)))
    assert published == [{run_id(config) for config in first}]


def test_runs_whose_weights_others_begin_with_are_done_again_where_they_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime("cpu", str(tmp_path / "out"), num_threads=1, parallel=2, tensorboard=False)
    first = Config(Digits(num_train=64), Cnn2c(), Sml(), Schedule(1, 32), 0, replace(runtime, save_weights=True))
    second = replace(first, schedule=Schedule(1, 32, warm_start=run_id(first)), runtime=runtime)
    plan = Reproduce(results_dir=str(tmp_path / "results"), runtime=runtime)
    plan_alone(monkeypatch, [("first", [first])])
    _reference(plan, Local())
    shutil.rmtree(tmp_path / "out")
    plan_alone(monkeypatch, [("first", [first]), ("second", [second])])
    _reference(plan, Local())
    assert {path.name for path in (tmp_path / "out" / "runs").iterdir()} == {run_id(first), run_id(second)}
    assert set(committed_records(tmp_path / "results").records) == {run_id(first), run_id(second)}
