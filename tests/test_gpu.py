"""Tests that need a GPU; all other tests run without one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lossbench.config.options import LossConfig, ModelConfig
from lossbench.config.run import Config, Precision, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.load import plan_epoch
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18
from lossbench.runs.folder import open_run
from lossbench.sweep.run_all import run_all
from lossbench.training.fit import fit, process_settings, start_state, step_for

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is present")


def config(folder: Path, model: ModelConfig, precision: str = "fp32", **runtime: Any) -> Config:
    large = isinstance(model, (MobileNetV2, ResNet18))
    dataset = Digits(image_shape=[3, 32, 32] if large else [1, 28, 28], augment=large)
    schedule = Schedule(epochs=3, batch_size=24, lr=1e-3, momentum=0.9, precision=Precision(precision))
    settings = {"device": "cuda", "output_dir": str(folder), "num_threads": 2, "tensorboard": False} | runtime
    return Config(dataset, model, LglInr(), schedule, 0, Runtime(**settings))


def losses(config: Config, device: str, num_steps: int) -> list[float]:
    """Training losses of the first steps."""
    found = []
    with process_settings(2, config.schedule.precision, config.runtime.deterministic):
        state = start_state(config, torch.device(device))
        step, plan = step_for(state, config), plan_epoch(state.data, config.seed, 1)
        state.model.train()
        for start in range(0, num_steps * 24, 24):
            state.loss_sum.zero_()
            step(plan[:, start : start + 24])
            found.append(state.loss_sum.item() / 24)
    return found


def test_steps_on_the_gpu_equal_those_on_the_cpu(tmp_path: Path) -> None:
    """The first ones: training magnifies rounding, so that after 50 steps equally right kernels are 1e-3 apart."""
    made = config(tmp_path, Cnn2c())
    assert losses(made, "cuda", 10) == pytest.approx(losses(made, "cpu", 10), rel=1e-4)


@pytest.mark.parametrize("model", [Cnn2c(), Cnn5c(), MobileNetV2()], ids=lambda model: model.name)
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_recorded_step_equals_the_plain_one(model: ModelConfig, precision: str, tmp_path: Path) -> None:
    made = config(tmp_path, model, precision, deterministic=True)
    plain = replace(made, runtime=replace(made.runtime, cuda_graphs=False))
    rel = 1e-4 if precision == "fp32" else 1e-2
    assert losses(made, "cuda", 20) == pytest.approx(losses(plain, "cuda", 20), rel=rel)


@pytest.mark.parametrize("model", [Cnn5c(), MobileNetV2(), ResNet18()], ids=lambda model: model.name)
def test_a_recorded_step_of_the_fastest_kernels_equals_the_plain_one(model: ModelConfig, tmp_path: Path) -> None:
    """As reference runs are done; each time others may be the fastest, and training magnifies their rounding."""
    made = config(tmp_path, model)
    plain = replace(made, runtime=replace(made.runtime, cuda_graphs=False))
    assert losses(made, "cuda", 10) == pytest.approx(losses(plain, "cuda", 10), rel=1e-2)


@pytest.mark.parametrize("loss", [Lgl(), Sml(), LglInr()], ids=lambda loss: loss.name)
@pytest.mark.parametrize("model", [Cnn2c(), Cnn5c(), MobileNetV2(), ResNet18()], ids=lambda model: model.name)
def test_an_epoch_of_replayed_steps_ends_as_one_of_plain_ones(
    model: ModelConfig, loss: LossConfig, tmp_path: Path
) -> None:
    """To the bit, in all that a step changes, over both batch sizes and two learning rates."""
    made = replace(config(tmp_path, model, deterministic=True), loss=loss)
    ends = []
    for one in (made, replace(made, runtime=replace(made.runtime, cuda_graphs=False))):
        with process_settings(2, Precision.fp32, deterministic=True):
            state = start_state(one, torch.device("cuda"))
            step, plan = step_for(state, one), plan_epoch(state.data, one.seed, 1)[:, :249]  # the last batch has 9
            state.model.train()
            for start in range(0, plan.shape[1], 24):
                state.optimizer.set_lr(1e-3 if start < 120 else 1e-4)
                step(plan[:, start : start + 24])
            ends.append([tensor.detach().cpu() for tensor in state.changing()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_a_step_does_not_wait_for_the_device(tmp_path: Path) -> None:
    made = config(tmp_path, Cnn2c())
    state = start_state(made, torch.device("cuda"))
    step, plan = step_for(state, made), plan_epoch(state.data, made.seed, 1)
    step(plan[:, :24])
    torch.cuda.set_sync_debug_mode("error")
    try:
        for start in range(0, 240, 24):
            step(plan[:, start : start + 24])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_a_deterministic_run_repeats_to_the_bit_also_over_a_stop(cuda_graphs: bool, tmp_path: Path) -> None:
    def made(name: str) -> Config:
        return config(tmp_path / name, Cnn5c(), deterministic=True, cuda_graphs=cuda_graphs)

    def stop(epoch: int, fraction: float, line: str) -> None:
        if epoch == 2 and line:
            raise KeyboardInterrupt

    whole = [fit(made(name), open_run(made(name))) for name in ("a", "b")]
    with pytest.raises(KeyboardInterrupt):
        fit(made("c"), open_run(made("c")), stop)
    whole.append(fit(made("c"), open_run(made("c"))))
    assert len({str(record["curves"]) for record in whole}) == 1


def test_runs_side_by_side_give_what_they_give_alone(tmp_path: Path) -> None:
    def curves(folder: str, parallel: int) -> list[str]:
        made = [
            replace(config(tmp_path / folder, Cnn2c(), deterministic=True, parallel=parallel), seed=seed)
            for seed in range(3)
        ]
        assert len(run_all(made).finished) == 3
        return [str(open_run(one).record()["curves"]) for one in made]

    assert curves("together", 3) == curves("alone", 1)
