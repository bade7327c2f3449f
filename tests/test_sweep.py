"""Lists of runs: which are skipped, which fail alone, how many run in parallel, and what survives a kill or Ctrl-C."""

import math
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossbench.cli.printing import say_summary
from lossbench.config.run import Config, Precision, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import Run, open_run
from lossbench.sweep import pool
from lossbench.sweep import run_all as sweep
from lossbench.sweep.progress import Progress
from lossbench.sweep.run_all import num_parallel, remaining, run_all, with_kernels
from lossbench.training import fit

SAME = ("run_id", "test_accuracy", "test_loss", "train_accuracy", "curves", "num_threads", "num_train")
"""What a record tells of the weights, not of the clock."""


def config(folder: Path, seed: int = 0, **runtime: Any) -> Config:
    """A run of a second or less, one at a time on one thread unless `runtime` says otherwise."""
    settings: dict[str, Any] = {"device": "cpu", "num_threads": 1, "parallel": 1, "tensorboard": False}
    schedule = Schedule(epochs=1, batch_size=32)
    runtime = settings | {"output_dir": str(folder)} | runtime
    return Config(Digits(num_train=64), Cnn2c(), Sml(), schedule, seed, Runtime(**runtime))


def longer(config: Config, epochs: int) -> Config:
    return replace(config, schedule=replace(config.schedule, epochs=epochs))


def moved(configs: list[Config], folder: Path, parallel: int = 1) -> list[Config]:
    """The same runs elsewhere."""
    return [
        replace(config, runtime=replace(config.runtime, output_dir=str(folder), parallel=parallel))
        for config in configs
    ]


def outcome(config: Config) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What must not depend on how a run was done."""
    run = open_run(config)
    with np.load(run.folder / "arrays.npz") as arrays:
        return {key: run.record()[key] for key in SAME}, {name: arrays[name].tobytes() for name in arrays}


class Fits:
    """A stand-in for training: notes what it was given, and fails or stops where told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **errors: BaseException) -> None:
        self.given: list[Config] = []
        self._errors = errors
        monkeypatch.setattr(sweep, "fit", self)

    def __call__(self, config: Config, run: Run, on_step: Callable[[int, float, str], None]) -> dict[str, Any]:
        self.given.append(config)
        run.start(config)
        on_step(1, 0.5, "")
        if error := self._errors.get(f"seed{config.seed}"):
            raise error
        record = {"run_id": run.id, "test_accuracy": 0.5}
        run.finish(record, {"confusion_matrix": np.eye(10)})
        return record

    @property
    def seeds(self) -> list[int]:
        return [config.seed for config in self.given]


def test_each_run_is_done_once_and_never_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(monkeypatch)
    one, two, three, four = configs = [config(tmp_path, seed) for seed in range(4)]
    again = replace(one, runtime=replace(one.runtime, experiment="table3"))
    assert [run_id(each) for each in remaining([two, one, two, again])] == [run_id(two), run_id(one)]
    first = run_all([two, one, two, again])
    assert fits.seeds == [1, 0]
    assert first.finished == [run_id(two), run_id(one)]
    assert first.skipped == []
    assert first.failed == {}
    second = run_all(configs, elsewhere={run_id(four)})
    assert fits.seeds == [1, 0, 2]
    assert second.finished == [run_id(three)]
    assert second.skipped == sorted(run_id(each) for each in (one, two, four))
    third = run_all(configs, elsewhere=[run_id(four)])
    assert (third.finished, third.failed, len(third.skipped)) == ([], {}, 4)
    assert not open_run(four).folder.exists()
    assert remaining(configs) == [four]
    assert remaining([]) == []


def test_a_failing_run_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(monkeypatch, seed1=ZeroDivisionError("two\nlines"))
    configs = [config(tmp_path, seed) for seed in range(3)]
    summary = run_all(configs)
    assert fits.seeds == [0, 1, 2]
    assert summary.finished == [run_id(configs[0]), run_id(configs[2])]
    assert summary.failed == {run_id(configs[1]): "ZeroDivisionError: two lines"}
    story = (open_run(configs[1]).folder / "failure.txt").read_text()
    assert story.startswith("Traceback (most recent call last):")
    assert "in __call__" in story
    assert story.endswith("ZeroDivisionError: two\nlines\n\nZeroDivisionError: two lines")
    assert not any((open_run(configs[seed]).folder / "failure.txt").exists() for seed in (0, 2))
    assert not open_run(configs[1]).finished
    Fits(monkeypatch)
    assert run_all(configs).finished == [run_id(configs[1])]
    assert not (open_run(configs[1]).folder / "failure.txt").exists()


@pytest.mark.parametrize("kernels", [True, False])
def test_bf16_without_kernels_is_reported_once_and_done(
    kernels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = Fits(monkeypatch)
    monkeypatch.setattr(fit, "has_bf16_kernels", lambda device: kernels)
    plain = config(tmp_path)
    low = [replace(config(tmp_path, seed), schedule=Schedule(1, 32, precision=Precision.bf16)) for seed in (1, 2)]
    assert with_kernels([plain, *low]) == ([plain, *low] if kernels else [plain])
    assert run_all([plain, *low]).failed == {}
    assert fits.seeds == [0, 1, 2]
    assert capsys.readouterr().out.count("2 of 3 runs use schedule.precision=bf16") == (not kernels)


def test_after_a_gpu_broke_down_no_run_is_begun_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = Fits(monkeypatch, seed1=torch.AcceleratorError("an illegal access"))
    configs = [config(tmp_path, seed) for seed in range(3)]
    summary = run_all(configs)
    assert fits.seeds == [0, 1]
    assert list(summary.failed) == [run_id(configs[1])]
    assert summary.failed[run_id(configs[1])] == "AcceleratorError: an illegal access"
    assert summary.broken
    assert summary.postponed == [run_id(configs[2])]
    say_summary(summary)
    assert "the GPU failed; 1 runs are left; run the same command again to continue them" in capsys.readouterr().out
    ended: list[int] = []
    monkeypatch.setattr(pool, "_attempt", sweep.attempt, raising=False)
    monkeypatch.setattr(pool, "_messages", queue.Queue())
    monkeypatch.setattr(pool, "_device", "cpu")
    monkeypatch.setattr(pool.os, "_exit", ended.append)
    pool._do(pickle.dumps(config(tmp_path / "pool", 1)), math.inf, None)
    assert ended == [1]  # the pool begins anew
    pool._do(pickle.dumps(config(tmp_path / "pool", 2)), math.inf, None)
    assert ended == [1]


def test_a_run_whose_process_ended_keeps_the_reason_that_it_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [config(tmp_path, seed, parallel=2) for seed in range(2)]

    def ended(waiting: dict[str, Config], names: list[str], *_: Any) -> bool:
        if names == [run_id(configs[0])]:
            open_run(configs[0]).start(configs[0])
            open_run(configs[0]).fail("AcceleratorError: an illegal access")
        return False

    monkeypatch.setattr(pool, "_run_pool", ended)
    assert run_all(configs).failed == {
        run_id(configs[0]): "AcceleratorError: an illegal access",
        run_id(configs[1]): "its process died (killed, or out of memory)",
    }


def test_runs_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "num_cores", lambda: 8)
    few, many = [config(tmp_path, seed, parallel="auto") for seed in range(5)], [config(tmp_path, parallel="auto")] * 20
    assert num_parallel(few) == 5
    assert num_parallel(many) == 8
    assert num_parallel([config(tmp_path, parallel=3)] * 5) == 3
    assert num_parallel([config(tmp_path, parallel=12)] * 20) == 12
    assert num_parallel([config(tmp_path, parallel="auto", num_threads=3)] * 20) == 2
    assert num_parallel([config(tmp_path, parallel="auto", num_threads=9)] * 20) == 1
    given: list[tuple[int, set[int | None]]] = []

    def note(todo: list[Config], parallel: int, *_: Any) -> None:
        given.append((parallel, {each.runtime.num_threads for each in todo}))

    monkeypatch.setattr(sweep, "run_in_processes", note)
    for parallel, num_threads in (("auto", None), (3, None), (12, None), (2, 3), ("auto", 2)):
        run_all([config(tmp_path, seed, parallel=parallel, num_threads=num_threads) for seed in range(16)])
    assert given == [(8, {1}), (3, {2}), (12, {1}), (2, {3}), (4, {2})]
    fits = Fits(monkeypatch)
    run_all([config(tmp_path, 0, parallel="auto", num_threads=None)])
    run_all([config(tmp_path, seed, parallel=1, num_threads=None) for seed in (1, 2)])
    run_all([config(tmp_path, 3, parallel=1, num_threads=5)])
    assert [each.runtime.num_threads for each in fits.given] == [8, 8, 8, 5]


def test_a_gpu_does_one_run_at_a_time_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device in ("auto", "cuda", "cuda:0"):
        assert num_parallel([config(tmp_path, device=device, parallel="auto")] * 4) == 1
        assert num_parallel([config(tmp_path, device=device, parallel=3)] * 4) == 3


def test_runs_are_dealt_out_over_all_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    for device in ("auto", "cuda"):
        assert num_parallel([config(tmp_path, device=device, parallel="auto")] * 20) == 3
        assert num_parallel([config(tmp_path, device=device, parallel="auto", runs_per_gpu=4)] * 20) == 12
        assert sweep._devices(config(tmp_path, device=device)) == ["cuda:0", "cuda:1", "cuda:2"]
    assert num_parallel([config(tmp_path, device="cuda:1", parallel="auto", runs_per_gpu=4)] * 20) == 4
    assert sweep._devices(config(tmp_path, device="cuda:1")) == ["cuda:1"]
    assert sweep._devices(config(tmp_path, device="cpu")) == ["cpu"]


@pytest.mark.parametrize("parallel", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_budget_stops_in_time_and_the_same_command_continues(parallel: int, tmp_path: Path) -> None:
    budget_s = 6.0 if parallel == 1 else 20.0  # other processes have to import torch first
    configs = [
        longer(config(tmp_path / "a", seed, parallel=parallel, budget_min=budget_s / 60), 1000) for seed in range(3)
    ]
    began = time.monotonic()
    summary = run_all(configs)
    assert time.monotonic() - began < budget_s
    assert summary.postponed == sorted(run_id(each) for each in configs)
    assert (summary.finished, summary.failed) == ([], {})
    done = [epochs_done(each) for each in configs]
    assert done[0] > 0  # of the others, how far they came is the machine's business: one that pauses ends a run early
    assert not any((open_run(each).folder / "failure.txt").exists() for each in configs)
    first = [replace(configs[0], runtime=replace(configs[0].runtime, budget_min=1e-4))]
    assert run_all(first).postponed == [run_id(configs[0])]
    assert epochs_done(configs[0]) >= done[0]


def test_nothing_is_written_when_one_run_cannot_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fits, folder = Fits(monkeypatch), tmp_path / "outputs"
    good, tf32 = config(folder), Schedule(epochs=1, batch_size=32, precision=Precision.tf32)
    for bad, said in (
        (config(folder, 1, device="cuda"), "runtime.device=cuda: no CUDA device"),
        (replace(config(folder, 1), schedule=tf32), "schedule.precision=tf32 needs a CUDA device"),
        (replace(config(folder, 1, device="auto"), schedule=tf32), "schedule.precision=tf32 needs a CUDA device"),
        (replace(config(folder, 1), schedule=Schedule(batch_size=65)), "schedule.batch_size must be <= 64"),
    ):
        with pytest.raises(ValueError, match=said):
            run_all([good, bad])
        assert list(tmp_path.iterdir()) == []
    assert fits.given == []


def test_sigterm_stops_like_ctrl_c_and_only_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    fits = Fits(monkeypatch)

    def killed(config: Config, run: Run, on_step: Any) -> dict[str, Any]:
        if config.seed == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return fits(config, run, on_step)

    monkeypatch.setattr(sweep, "fit", killed)
    configs = [config(tmp_path, seed) for seed in range(3)]
    with pytest.raises(KeyboardInterrupt):
        run_all(configs)
    assert fits.seeds == [0]
    assert signal.getsignal(signal.SIGTERM) == before
    fits = Fits(monkeypatch)
    assert run_all(configs).skipped == [run_id(configs[0])]
    assert fits.seeds == [1, 2]


def test_after_ctrl_c_runs_continue_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [longer(replace(config(tmp_path / "a", seed), loss=LglInr()), 3) for seed in (0, 1)]
    whole = moved(configs, tmp_path / "b")
    assert len(run_all(whole).finished) == 2
    step = Progress.step

    def interrupted(self: Progress, config: Config, epoch: int, fraction: float, line: str) -> None:
        step(self, config, epoch, fraction, line)
        if (config.seed, epoch, fraction) == (1, 2, 1.0):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Progress, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_all(configs)
    stopped = open_run(configs[1])
    assert open_run(configs[0]).finished
    assert not stopped.finished
    assert len((stopped.folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert not (stopped.folder / "failure.txt").exists()
    summary = run_all(configs)
    assert summary.skipped == [run_id(configs[0])]
    assert summary.finished == [run_id(configs[1])]
    assert [outcome(each) for each in configs] == [outcome(each) for each in whole]


def soon(condition: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """A thread that waits for `condition`, then does `then`; it gives up after two minutes."""

    def watch() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if condition():
                return then()
            time.sleep(0.02)
        return None

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def epochs_done(config: Config) -> int:
    path = open_run(config).folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.long
def test_neither_a_kill_nor_a_stop_costs_anything_but_time(tmp_path: Path) -> None:
    configs = [longer(replace(config(tmp_path / "a", parallel=2), loss=loss), 40) for loss in (LglInr(), Lgl())]
    whole = moved(configs, tmp_path / "b")
    assert len(run_all(whole).finished) == 2
    killed: list[list[int]] = []

    def kill() -> None:
        multiprocessing.active_children()[0].kill()
        killed.append([epochs_done(each) for each in configs])

    def on_the_way() -> bool:
        return bool(killed) and any(
            epochs_done(each) > before + 1 for each, before in zip(configs, *killed, strict=True)
        )

    threads = [
        soon(lambda: all(epochs_done(each) >= 2 for each in configs), kill),
        soon(on_the_way, lambda: os.kill(os.getpid(), signal.SIGTERM)),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_all(configs)
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 5  # a dead process is struck off by the thread that reaped it
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert multiprocessing.active_children() == []
    assert any(4 <= epochs_done(each) < 40 for each in configs)
    assert not any((open_run(each).folder / "failure.txt").exists() for each in configs)
    summary = run_all(moved(configs, tmp_path / "a"))
    assert summary.finished
    assert sorted(summary.finished + summary.skipped) == sorted(run_id(each) for each in configs)
    assert [outcome(each) for each in configs] == [outcome(each) for each in whole]


class Deadly(Config):
    """A run that takes its process with it."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_neither_an_error_nor_a_dying_process_takes_other_runs_with_it(tmp_path: Path) -> None:
    good = longer(config(tmp_path, parallel=2), 40)
    deadly = Deadly(**vars(replace(good, seed=1)))
    diverging = replace(good, schedule=replace(good.schedule, lr=1e30), seed=2)
    summary = run_all([good, deadly, diverging])
    assert summary.finished == [run_id(good)]
    assert set(summary.failed) == {run_id(deadly), run_id(diverging)}
    assert summary.failed[run_id(deadly)] == "its process died (killed, or out of memory)"
    assert summary.failed[run_id(diverging)].startswith("FloatingPointError: epoch 1, step 2: the loss sml is ")
    stories = [(open_run(each).folder / "failure.txt").read_text() for each in (deadly, diverging)]
    assert "its process died" in stories[0]
    assert "Traceback" in stories[1]
