"""The fast step: it never waits for the device, and its numbers are those of the conventional loop."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossbench.config.options import LossConfig, ModelConfig
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.load import Data, Split, plan_epoch
from lossbench.losses.build import build_loss
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import Counts, LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.training import capture
from lossbench.training.capture import WARM_UP_STEPS, CapturedStep
from lossbench.training.evaluate import predict
from lossbench.training.fit import start_state, step_for
from lossbench.training.optimizer import Sgd
from lossbench.training.steps import State, train_step

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
CPU = torch.device("cpu")


def config(folder: Path, model: ModelConfig, loss: LossConfig, **schedule: Any) -> Config:
    dataset = Digits()
    if isinstance(model, MobileNetV2):
        dataset = Digits(image_shape=[3, 32, 32], augment=True)
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, tensorboard=False)
    return Config(dataset, model, loss, Schedule(**schedule), 0, runtime)


def on_meta(value: Any) -> Any:
    """A split, or a field of the data, without its numbers."""
    if isinstance(value, Split):
        return Split(value.images.to("meta"), value.labels.to("meta"))
    return value.to("meta") if isinstance(value, Tensor) else value


def meta_state(config: Config) -> State:
    """The state of a run on a device that has shapes but no numbers: whatever asks for one raises."""
    state = start_state(config, CPU)
    data = Data(**{field.name: on_meta(getattr(state.data, field.name)) for field in fields(Data)})
    model = state.model.to("meta")
    return State(model, Sgd(model, config.schedule), build_loss(config.loss, data.class_counts), data)


LOSSES: list[LossConfig] = [Sml(), Lgl(), LglInr(), LglInr(counts=Counts.dataset, eps=1e-7)]


@pytest.mark.parametrize("model", [Cnn2c(), Cnn5c(), MobileNetV2()], ids=lambda model: model.name)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("size", [32, 7], ids=["by class", "by sample"])
def test_the_whole_step_never_asks_for_a_number(
    model: ModelConfig, loss: LossConfig, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated: list[int] = []  # torch's fused update knows no such device; it is one kernel and asks for nothing
    monkeypatch.setattr(torch, "_fused_sgd_", lambda parameters, *_, **__: updated.append(len(parameters)))
    state = meta_state(config(tmp_path, model, loss, momentum=0.9, weight_decay=1e-4))
    plan = torch.zeros(4 if state.data.padded is not None else 1, size, dtype=torch.int64, device="meta")
    state.model.train()
    train_step(state, plan)
    assert sum(updated) == sum(parameter.grad is not None for parameter in state.model.parameters()) > 0
    assert predict(state, state.data.test).shape == (300, 10)


def test_a_step_that_asks_for_a_number_would_be_noticed(tmp_path: Path) -> None:
    state = meta_state(config(tmp_path, Cnn2c(), Sml()))
    waits = replace_loss(state, lambda logits, target: logits.sum() * float(logits.sum() > 0))
    with pytest.raises(RuntimeError, match="meta"):
        train_step(waits, torch.zeros(1, 8, dtype=torch.int64, device="meta"))


def words_of(loss: LossConfig) -> str:
    return loss.name if loss == type(loss)() else f"{loss.name} with an option"


def replace_loss(state: State, loss: Any) -> State:
    return State(state.model, state.optimizer, loss, state.data)


@pytest.mark.parametrize("loss", [Sml(), Lgl(), LglInr(), LglInr(beta=2.0)], ids=words_of)
@pytest.mark.parametrize("model", [Cnn2c(), Cnn5c()], ids=lambda model: model.name)
def test_fifty_steps_equal_those_of_the_conventional_loop(model: ModelConfig, loss: LossConfig, tmp_path: Path) -> None:
    from baseline import Baseline

    size, num_steps = 24, 50 if isinstance(model, Cnn2c) else 5
    made = config(tmp_path, model, loss, batch_size=size, lr=0.01 if isinstance(model, Cnn2c) else 1e-4)
    state = start_state(made, CPU)
    plan = plan_epoch(state.data, made.seed, epoch=1)
    ours = []
    step = step_for(state, made)
    state.model.train()
    for start in range(0, num_steps * size, size):
        state.loss_sum.zero_()
        step(plan[:, start : start + size])
        ours.append(state.loss_sum.item() / size)
    conventional = Baseline(made, num_workers=0, sampler=plan[0].tolist()).steps(num_steps)
    assert ours == pytest.approx(conventional, rel=1e-4)
    assert len({round(value, 4) for value in ours}) > num_steps / 2


class FakeGraph:
    """What torch.cuda.CUDAGraph does, by doing the recorded calls again."""

    def replay(self) -> None:
        self.body()


class FakeStream:
    def wait_stream(self, other: "FakeStream") -> None: ...


class FakeCuda:
    """torch.cuda on a machine without it; what happens while a graph is recorded changes nothing."""

    CUDAGraph = FakeGraph

    def __init__(self, state: State, step: Any) -> None:
        self.state, self.step, self.recorded = state, step, 0
        self.streams, self.now, self.recording = list[FakeStream](), FakeStream(), False

    def current_device(self) -> int:
        return 0

    def current_stream(self) -> FakeStream:
        return self.now

    def Stream(self, device: int) -> FakeStream:  # noqa: N802
        self.streams.append(FakeStream())
        return self.streams[-1]

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        before, self.now = self.now, stream
        try:
            yield
        finally:
            self.now = before

    @contextmanager
    def graph(self, graph: FakeGraph, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        assert stream is self.streams[0]
        before, main = [tensor.clone() for tensor in self.state.changing()], self.now
        calls: list[Tensor] = self.step.calls
        calls.clear()
        self.now = stream
        yield  # where this raises, the stream stays: torch 2.11 does so
        self.now = main
        (argument,) = calls
        with torch.no_grad():
            for tensor, value in zip(self.state.changing(), before, strict=True):
                tensor.copy_(value)
        graph.body = lambda: self.step(argument)
        self.recorded += 1


class Noted:
    """The plain step, with the arguments it was given."""

    def __init__(self, state: State) -> None:
        self.state, self.calls = state, list[Tensor]()

    def __call__(self, plan: Tensor) -> None:
        self.calls.append(plan)
        train_step(self.state, plan)


def test_a_recorded_step_leaves_no_trace_of_its_warm_up_and_serves_both_batch_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(tmp_path, Cnn5c(), LglInr(), momentum=0.9, batch_size=8)
    plain, recorded = start_state(made, CPU), start_state(made, CPU)
    noted = Noted(recorded)
    fake = FakeCuda(recorded, noted)
    monkeypatch.setattr(capture.torch, "cuda", fake)
    monkeypatch.setattr(capture, "_side_stream", cache(capture._side_stream.__wrapped__))
    captured = CapturedStep(noted, recorded.changing())
    plan = plan_epoch(plain.data, 0, 1)
    for state in (plain, recorded):
        state.model.train()
    for step, (start, stop) in enumerate([(0, 8), (8, 16), (16, 20), (20, 28), (28, 32)]):
        for state in (plain, recorded):
            state.optimizer.set_lr(0.01 / (1 + step))
        train_step(plain, plan[:, start:stop])
        captured(plan[:, start:stop])
    assert fake.recorded == 2
    assert len(fake.streams) == 1  # for both sizes
    assert WARM_UP_STEPS >= 3
    for one, other in zip(plain.changing(), recorded.changing(), strict=True):
        assert torch.equal(one, other)


def _with_code(code: int) -> torch.AcceleratorError:
    """As CUDA's errors come: 700 is an illegal access, 900 something that cannot be recorded."""
    error = torch.AcceleratorError(f"code {code}")
    error.error_code = code
    return error


@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (RuntimeError("not permitted"), RuntimeError, "runtime.cuda_graphs=false avoids it"),
        (torch.AcceleratorError("an illegal access"), torch.AcceleratorError, "an illegal access"),
        (_with_code(700), torch.AcceleratorError, "code 700"),
        (_with_code(900), RuntimeError, "runtime.cuda_graphs=false avoids it"),
    ],
)
def test_a_step_that_cannot_be_recorded_says_so_and_leaves_the_side_stream(
    error: RuntimeError, raised: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start_state(config(tmp_path, Cnn2c(), Sml()), CPU)
    fake = FakeCuda(state, Noted(state))

    def step(plan: Tensor) -> None:
        if fake.recording:
            raise error

    graph = fake.graph

    @contextmanager
    def recording(*arguments: Any, **options: Any) -> Iterator[None]:
        fake.recording = True
        with graph(*arguments, **options):
            yield

    monkeypatch.setattr(fake, "graph", recording)
    monkeypatch.setattr(capture.torch, "cuda", fake)
    monkeypatch.setattr(capture, "_side_stream", cache(capture._side_stream.__wrapped__))
    main = fake.now
    with pytest.raises(raised, match=words) as found:
        CapturedStep(step, state.changing())(torch.zeros(2, 8, dtype=torch.int64))
    assert type(found.value) is raised
    assert fake.now is main


def test_all_that_a_step_changes_is_known(tmp_path: Path) -> None:
    state = start_state(config(tmp_path, Cnn5c(), Sml(), momentum=0.9), CPU)
    known = {tensor.data_ptr() for tensor in state.changing()}
    batch_norms = [layer for layer in state.model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {tensor.data_ptr() for layer in batch_norms for tensor in layer.buffers()} <= known
    assert {parameter.data_ptr() for parameter in state.model.parameters()} <= known
    assert {tensor.data_ptr() for tensor in state.optimizer.state()} <= known


def test_on_a_cpu_the_step_is_plain(tmp_path: Path) -> None:
    made = config(tmp_path, Cnn2c(), Sml())
    assert isinstance(step_for(start_state(made, CPU), made), partial)
    assert isinstance(step_for(start_state(made, CPU), replace(made, runtime=replace(made.runtime))), partial)


def test_nothing_slow_is_imported_before_the_first_step(tmp_path: Path) -> None:
    code = """
import sys
from lossbench.training import steps
train_step = steps.train_step
def only_step(*arguments):
    train_step(*arguments)
    slow = "torchvision pandas matplotlib tensorboard sklearn scipy torch._dynamo torch._inductor".split()
    print("LOADED", sorted({name for name in slow if name in sys.modules}), flush=True)
    sys.exit()
steps.train_step = only_step
from lossbench.cli.train import train
train()
"""
    script = tmp_path / "first.py"
    script.write_text(code)
    arguments = [
        "dataset=digits",
        f"runtime.output_dir={tmp_path / 'out'}",
        "schedule.epochs=1",
        "dataset.num_train=64",
    ]
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "LOADED []" in done.stdout
