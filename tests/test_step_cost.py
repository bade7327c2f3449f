"""The cost of a training step: ratios to a baseline, peak memory, and losses that fail."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.lgl import Lgl
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.training import step_cost
from lossbench.training.step_cost import ROUNDS, measured_step_costs, peak_mb, step_costs

CPU = torch.device("cpu")
DELAY_S = 0.004


@dataclass
class Slow(Sml):
    """SML that waits in every call."""

    def build(self, classes: TrainingClasses) -> Callable[..., Tensor]:
        inner = super().build(classes)

        def slow(logits: Tensor, target: Tensor) -> Tensor:
            time.sleep(DELAY_S)
            return inner(logits, target)

        return slow


@dataclass
class Wasteful(Sml):
    """SML with a tensor of 4 MB that lives for the call."""

    def build(self, classes: TrainingClasses) -> Callable[..., Tensor]:
        inner = super().build(classes)

        def wasteful(logits: Tensor, target: Tensor) -> Tensor:
            waste = torch.zeros(1_000_000)
            return inner(logits, target) + waste.sum()

        return wasteful


@dataclass
class Failing(Sml):
    """SML that fails at its 30th call, in a round."""

    def build(self, classes: TrainingClasses) -> Callable[..., Tensor]:
        inner, calls = super().build(classes), []

        def failing(logits: Tensor, target: Tensor) -> Tensor:
            calls.append(1)
            if len(calls) > 30:
                raise RuntimeError("no more")
            return inner(logits, target)

        return failing


def config(loss: LossConfig, folder: Path, **runtime: Any) -> Config:
    options = Runtime(device="cpu", num_threads=1, output_dir=str(folder), **runtime)
    return Config(Digits(), Cnn2c(), loss, Schedule(batch_size=32), 0, options)


def test_time_and_memory_are_those_of_the_losses(tmp_path: Path) -> None:
    losses = {"LGL": Lgl(), "SML": Sml(), "Slow": Slow(), "Wasteful": Wasteful()}
    configs = {label: config(loss, tmp_path) for label, loss in losses.items()}
    before = torch.get_num_threads()
    found = step_costs(configs, "SML", budget_s=0.1)
    assert torch.get_num_threads() == before
    assert list(found) == list(configs)
    assert {one.rounds for one in found.values()} == {ROUNDS[0]}
    assert {one.failed for one in found.values()} == {None}
    base, slow, wasteful = found["SML"], found["Slow"], found["Wasteful"]
    assert (base.step.median, base.step.low, base.step.high) == (1, 1, 1)
    assert slow.step_ms > 1e3 * DELAY_S
    assert slow.loss_ms > 1e3 * DELAY_S
    assert slow.step.low <= slow.step.median <= slow.step.high
    assert slow.loss_mb == pytest.approx(base.loss_mb, abs=1e-3)
    assert wasteful.loss_mb == pytest.approx(base.loss_mb + 4, abs=0.01)
    assert base.step_mb > 1 > base.loss_mb


class Clock:
    """A clock that losses put forward, in place of the module `time`; other processes do not change its times."""

    def __init__(self) -> None:
        self.now_s, self.speed = 0.0, 1.0

    def perf_counter(self) -> float:
        return self.now_s

    def loss(self, ms: float, slower: float = 1.0) -> LossConfig:
        """SML that takes so many ms, and makes the machine slower by a factor at each call."""

        @dataclass
        class Timed(Sml):
            def build(self_, classes: TrainingClasses) -> Callable[..., Tensor]:  # noqa: N805
                inner = super().build(classes)

                def timed(logits: Tensor, target: Tensor) -> Tensor:
                    self.now_s += 1e-3 * ms / self.speed
                    self.speed /= slower
                    return inner(logits, target)

                return timed

        return Timed()


def test_ratios_are_those_of_the_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(step_cost, "time", clock)
    configs = {label: config(clock.loss(ms), tmp_path) for label, ms in {"Half": 5, "SML": 10, "Slow": 32}.items()}
    found = step_costs(configs, "SML", budget_s=0.1)
    for label, ms in {"Half": 5, "SML": 10, "Slow": 32}.items():
        one = found[label]
        assert (one.step_ms, one.loss_ms) == (pytest.approx(ms), pytest.approx(ms))
        for ratio in (one.step, one.loss):
            assert (ratio.low, ratio.median, ratio.high) == pytest.approx((ms / 10,) * 3)
    assert {one.rounds for one in found.values()} == {ROUNDS[0]}


def test_a_machine_that_slows_down_changes_times_and_no_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(step_cost, "time", clock)
    configs = {label: config(clock.loss(ms, 1.005), tmp_path) for label, ms in {"SML": 10, "Slow": 30}.items()}
    found = step_costs(configs, "SML", budget_s=0.1)
    assert found["SML"].step_ms > 12
    assert found["Slow"].step.median == pytest.approx(3, rel=0.1)
    assert found["Slow"].step.high / found["Slow"].step.low == pytest.approx(1, abs=0.05)


def test_a_failing_loss_leaves_the_others(tmp_path: Path) -> None:
    @dataclass
    class Wrong(Sml):
        def build(self, classes: TrainingClasses) -> Callable[..., Tensor]:
            return lambda logits, target: logits[0, 99]

    configs = {
        label: config(loss, tmp_path)
        for label, loss in {"SML": Sml(), "Wrong": Wrong(), "Later": Failing(), "LGL": Lgl()}.items()
    }
    found = step_costs(configs, "SML", budget_s=0.1)
    assert found["Wrong"].failed.startswith("IndexError: ")
    assert found["Wrong"].step is None
    assert found["Later"].failed == "RuntimeError: no more"
    assert found["Later"].step_ms is None
    assert found["LGL"].failed is None
    assert found["LGL"].step.median > 0
    alone = step_costs({"LGL": config(Lgl(), tmp_path), "Wrong": config(Wrong(), tmp_path)}, "Wrong", budget_s=0.1)
    assert alone["LGL"].step_ms > 0
    assert alone["LGL"].step is None, "without the baseline there are no ratios"


def test_all_is_plain_json(tmp_path: Path) -> None:
    configs = {"SML": config(Sml(), tmp_path), "LGL": config(Lgl(), tmp_path)}
    found = measured_step_costs(configs, "SML", budget_s=0.1)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["num_threads"] == 1
    assert found["batch_size"] == 32
    assert found["torch"] == torch.__version__
    assert found["baseline"] == "SML"
    assert list(found["losses"]) == ["SML", "LGL"]
    assert not list(tmp_path.rglob("result.json"))


def test_the_baseline_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the baseline LGL is not among the losses: SML"):
        step_costs({"SML": config(Sml(), tmp_path)}, "LGL")


def test_peak_memory_counts_what_is_alive_at_a_time() -> None:
    def in_turn() -> None:
        for _ in range(3):
            torch.zeros(250_000)

    def together() -> None:
        first = torch.zeros(250_000)
        second = first + 1
        second.view(500, 500).add_(first.view(500, 500))

    assert peak_mb(in_turn, CPU) == 1
    assert peak_mb(together, CPU) == 2

    logits = torch.randn(64, 1000, requires_grad=True)
    target = torch.zeros(64, dtype=torch.int64)
    used = peak_mb(lambda: torch.nn.functional.cross_entropy(logits, target).backward(), CPU)
    assert used == pytest.approx(3 * 0.256, rel=1e-3)  # log-softmax and two gradients


def test_memory_of_a_sparse_tensor_is_that_of_its_places_and_values() -> None:
    weight = torch.zeros(1000, 25).requires_grad_()
    rows = torch.arange(50)

    def step() -> None:
        gradient = torch.autograd.grad(torch.nn.functional.embedding(rows, weight, sparse=True).sum(), weight)[0]
        assert gradient.is_sparse
        gradient.coalesce()

    assert 50 * 25 * 4 <= 1e6 * peak_mb(step, CPU) < 6 * 50 * 25 * 4  # and not 1000 x 25
