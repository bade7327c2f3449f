"""Training: stopping and continuing, runs that do not affect each other, and each step as the schedule says."""

import io
import json
import math
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossbench import NUMERICS
from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Precision, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.load import Split, plan_epoch
from lossbench.losses.build import build_loss
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.runs.folder import FILES, Run, open_run
from lossbench.system import machine as environment
from lossbench.system.machine import is_bf16_faster, use_device
from lossbench.training import evaluate
from lossbench.training import fit as training
from lossbench.training.evaluate import predict
from lossbench.training.fit import fit
from lossbench.training.optimizer import Sgd
from lossbench.training.steps import State, train_epoch, train_step

UNREPEATABLE = ("wall_s", "images_per_s", "step_ms", "peak_memory_mb")


def config(folder: Path, **changes: Any) -> Config:
    """Three epochs of four steps on 100 digits, one thread."""
    schedule = Schedule(epochs=3, batch_size=32)
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, tensorboard=False)
    parts = {"dataset": Digits(num_train=100), "model": Cnn2c(head=Head.direct), "loss": LglInr()}
    return Config(**(parts | {"schedule": schedule, "runtime": runtime} | changes))


def colourful(folder: Path) -> Config:
    schedule = Schedule(epochs=3, batch_size=32, lr=0.02, momentum=0.9, weight_decay=1e-3, milestones=[0.4, 0.7])
    dataset = Digits(num_train=100, image_shape=[3, 32, 32], augment=True)
    return config(folder, dataset=dataset, schedule=schedule, loss=Sml())


def outcome(run: Run) -> dict[str, Any]:
    """All that a finished run says, but for its times and its memory."""
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    lines = [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]
    record = {key: value for key, value in run.record().items() if key not in UNREPEATABLE}
    record["config"] = {key: value for key, value in record["config"].items() if key != "runtime"}
    with np.load(run.folder / "arrays.npz") as arrays:
        return {"metrics": lines, "record": record, "arrays": {name: array.tobytes() for name, array in arrays.items()}}


def finished(config: Config) -> dict[str, Any]:
    """What a run says that nothing stopped."""
    run = open_run(config)
    fit(config, run)
    return outcome(run)


def stop_in(epoch: int, at: float) -> training.OnStep:
    """What stops a run at the beginning (0.0) or the end (1.0) of an epoch."""

    def on_step(now: int, fraction: float, line: str) -> None:
        if (now, fraction) == (epoch, at):
            raise KeyboardInterrupt

    return on_step


def stopped(config: Config, on_step: training.OnStep) -> Run:
    run = open_run(config)
    with pytest.raises(KeyboardInterrupt):
        fit(config, run, on_step)
    assert not run.finished
    return run


def change_checkpoint(run: Run, without: Collection[str] = (), **changes: Any) -> None:
    content = run.read_checkpoint()
    assert content is not None
    buffer = io.BytesIO()
    state = torch.load(io.BytesIO(content), weights_only=True) | changes
    torch.save({key: value for key, value in state.items() if key not in without}, buffer)
    run.write_checkpoint(buffer.getvalue())


@pytest.mark.parametrize("make", [config, colourful])
@pytest.mark.parametrize(("epoch", "at"), [(1, 0.0), (2, 0.0), (3, 1.0)], ids=["no epoch", "one epoch", "all epochs"])
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(
    make: Callable[[Path], Config], epoch: int, at: float, tmp_path: Path
) -> None:
    expected = finished(make(tmp_path / "a"))
    run = stopped(make(tmp_path / "b"), stop_in(epoch, at))
    record = fit(make(tmp_path / "b"), run)
    assert outcome(run) == expected
    assert record == run.record()
    assert len(expected["metrics"]) == 3
    assert {path.name for path in run.folder.iterdir()} == {*FILES, "train.log"}


def test_a_run_stopped_between_metrics_and_checkpoint_repeats_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = finished(config(tmp_path / "a"))

    def stop(run: Run, state: bytes) -> None:
        if len((run.folder / "metrics.jsonl").read_text().splitlines()) == 2:
            raise KeyboardInterrupt
        write(run, state)

    write = Run.write_checkpoint
    monkeypatch.setattr(Run, "write_checkpoint", stop)
    run = stopped(config(tmp_path / "b"), lambda *_: None)
    monkeypatch.undo()
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lr"')
    fit(config(tmp_path / "b"), run)
    assert outcome(run) == expected


def test_runs_in_one_process_do_not_influence_each_other(tmp_path: Path) -> None:
    def settings() -> tuple[Any, ...]:
        backends = torch.backends
        precisions = (backends.cuda.matmul.fp32_precision, backends.cudnn.conv.fp32_precision)
        rng = bytes(torch.get_rng_state().tolist())
        return torch.get_num_threads(), backends.cudnn.benchmark, *precisions, rng

    before = settings()
    alone = finished(config(tmp_path / "a"))
    other = config(tmp_path / "b", loss=Lgl(), seed=1, schedule=Schedule(1, 10, lr=0.5, precision=Precision.bf16))
    finished(replace(other, runtime=replace(other.runtime, num_threads=2)))
    with pytest.raises(KeyboardInterrupt):
        fit(config(tmp_path / "b"), open_run(config(tmp_path / "b")), stop_in(2, 0.0))
    assert settings() == before
    torch.rand(1)
    assert finished(config(tmp_path / "c")) == alone
    assert finished(config(tmp_path / "d", seed=1))["metrics"] != alone["metrics"]


def test_every_loss_starts_from_the_same_weights_and_sees_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[Tensor]] = []
    shown: list[list[int]] = []

    def spying(config: LossConfig, class_counts: Tensor, draws: object) -> Callable[[Tensor, Tensor], Tensor]:
        loss, targets = build_loss(config, class_counts), shown[-1]

        def recorded(logits: Tensor, target: Tensor) -> Tensor:
            targets.extend(target.tolist())
            return loss(logits, target)

        return recorded

    def measured(state: State) -> Tensor:
        started.append([parameter.detach().clone() for parameter in state.model.parameters()])
        return torch.zeros(10)

    monkeypatch.setattr(training, "build_loss", spying)
    monkeypatch.setattr(training, "gradient_norms", measured)
    for loss in (Sml(), Lgl(), LglInr()):
        shown.append([])
        made = config(tmp_path, loss=loss)
        fit(made, open_run(made))
    assert shown[0] == shown[1] == shown[2]
    assert shown[0][:100] != shown[0][400:500]  # three epochs and after each the 300 test images
    assert sorted(shown[0][:100]) == sorted(shown[0][400:500])
    for first, *others in zip(*started, strict=True):
        assert all(torch.equal(first, other) for other in others)


def test_a_resumed_run_keeps_its_number_of_threads(tmp_path: Path) -> None:
    run = stopped(config(tmp_path), stop_in(2, 0.0))
    made = replace(config(tmp_path), runtime=replace(config(tmp_path).runtime, num_threads=None))
    seen = set()
    torch.set_num_threads(2)
    try:
        fit(made, run, lambda *_: seen.add(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == {1}
    assert run.record()["num_threads"] == 1


def test_a_run_begun_on_another_device_starts_afresh_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = finished(config(tmp_path / "a"))
    run = stopped(config(tmp_path / "b"), stop_in(3, 0.0))
    change_checkpoint(run, device="cuda")
    epochs: list[int] = []
    fit(config(tmp_path / "b"), run, lambda epoch, fraction, line: epochs.append(epoch))
    assert sorted(set(epochs)) == [1, 2, 3]
    assert "begun on cuda and starts afresh on cpu" in capsys.readouterr().out
    assert "begun on cuda, starting afresh on cpu" in (run.folder / "train.log").read_text()
    assert outcome(run) == expected


def test_drop_last_leaves_out_the_smaller_batch(tmp_path: Path) -> None:
    sizes: dict[bool, list[int]] = {}
    for drop_last in (False, True):
        made = config(tmp_path, schedule=Schedule(epochs=1, batch_size=32, drop_last=drop_last))
        data = training.load_data(made.dataset, made.runtime, torch.device("cpu"))
        seen = sizes.setdefault(drop_last, [])
        model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))

        def loss(logits: Tensor, target: Tensor, seen: list[int] = seen) -> Tensor:
            seen.append(len(target))
            return logits.sum() * 0 + len(target)

        state = State(model, Sgd(model, made.schedule), loss, data)
        num = train_epoch(state, partial(train_step, state), made, 1, lambda *_: None)
        assert num == sum(seen)
        assert state.loss_sum.item() == sum(size * size for size in seen)
        assert 0 <= state.correct_sum.item() <= num
    assert sizes == {False: [32, 32, 32, 4], True: [32, 32, 32]}


def test_the_rate_of_each_epoch_follows_the_milestones(tmp_path: Path) -> None:
    schedule = Schedule(epochs=100, lr=0.1, milestones=[0.5, 0.75])
    rates = [schedule.lr_at(epoch) for epoch in range(1, 101)]
    assert rates == pytest.approx([0.1] * 50 + [0.01] * 25 + [0.001] * 25, rel=1e-12)
    assert [line["lr"] for line in finished(colourful(tmp_path))["metrics"]] == pytest.approx([0.02, 0.02, 0.002])


def test_the_weights_move_at_the_rate_of_the_epoch(tmp_path: Path) -> None:
    schedule = Schedule(epochs=4, batch_size=32, lr=0.02, momentum=0.0, milestones=[0.5], gamma=1e-30)
    metrics = finished(config(tmp_path, schedule=schedule))["metrics"]
    losses = [line["test/loss"] for line in metrics]
    assert losses[0] != losses[1] == losses[2] == losses[3]  # nothing moves at 2e-32


def test_a_loss_that_is_not_finite_stops_the_run_with_its_epoch_and_rate(tmp_path: Path) -> None:
    made = config(tmp_path, schedule=Schedule(epochs=2, batch_size=32, lr=1e20))
    run = open_run(made)
    with pytest.raises(
        FloatingPointError, match=r"epoch 1, step 2: the loss lgl_inr is (nan|inf) at lr 1e\+20"
    ) as caught:
        fit(made, run)
    assert not run.finished
    said = json.loads(run.read_divergence() or b"")
    assert (said["run_id"], said["numerics"], said["config"]) == (run.id, NUMERICS, asdict(made))
    assert (said["epoch"], said["step"], said["reason"]) == (1, 2, str(caught.value))
    assert run.failure() == said["reason"]
    fit(config(tmp_path), open_run(config(tmp_path)))
    record = open_run(config(tmp_path)).record()
    machine = ("device", "device_name", "num_threads", "precision", "deterministic", "versions", "commit")
    assert {key: said[key] for key in machine} == {key: record[key] for key in machine}
    assert said["sessions"] == record["sessions"]
    assert len(said) == 8 + len(machine)


def test_a_loss_that_is_not_finite_on_the_test_images_alone_has_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(state: State, split: Split) -> Tensor:
        return predict(state, split) * (math.nan if state.optimizer._lr < 0.001 else 1)

    monkeypatch.setattr(evaluate, "predict", poisoned)
    made = config(tmp_path, schedule=Schedule(epochs=4, batch_size=32, milestones=[0.5], gamma=0.01))
    run = open_run(made)
    with pytest.raises(FloatingPointError, match="epoch 3, after its last step: the loss lgl_inr is nan"):
        fit(made, run)
    said = json.loads(run.read_divergence() or b"")
    assert (said["epoch"], said["step"]) == (3, None)
    assert [line["epoch"] for line in run.metrics(2)] == [1, 2]


def test_the_seed_of_the_initial_weights_may_be_another_than_that_of_the_order(tmp_path: Path) -> None:
    def weights_and_order(seed: int, init_seed: int | None) -> tuple[list[Tensor], Tensor]:
        made = config(tmp_path, model=Cnn2c(head=Head.direct, init_seed=init_seed), seed=seed)
        state = training.start_state(made, torch.device("cpu"))
        return list(state.model.parameters()), plan_epoch(state.data, made.seed, epoch=1)

    plain, crossed = weights_and_order(2, None), weights_and_order(1, 2)
    assert all(torch.equal(first, second) for first, second in zip(plain[0], crossed[0], strict=True))
    assert torch.equal(crossed[1], weights_and_order(1, None)[1])
    assert not torch.equal(crossed[1], plain[1])
    assert not torch.equal(crossed[0][0], weights_and_order(1, None)[0][0])


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path) -> None:
    made = config(tmp_path, schedule=Schedule(batch_size=101))
    with pytest.raises(ValueError, match=r"schedule\.batch_size must be <= 100.* got 101"):
        fit(made, open_run(made))
    assert not list(tmp_path.iterdir())


def test_tensorboard_has_each_epoch_of_a_resumed_run_once(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = config(tmp_path)
    made.runtime.tensorboard = True
    run = stopped(made, stop_in(3, 0.0))
    fit(made, run)
    (file,) = run.folder.glob("*/events.out.tfevents.*")  # in a folder that names what differs from the defaults
    events = EventAccumulator(str(file.parent), size_guidance={"images": 0}).Reload()
    metrics = run.metrics(3)
    for name in ("train/loss", "train/accuracy", "test/loss", "test/accuracy"):
        points = [(event.step, event.value) for event in events.Scalars(name)]
        assert points == [(line["epoch"], pytest.approx(line[name])) for line in metrics]
    assert [event.step for event in events.Scalars("schedule/lr")] == [1, 2, 3]
    assert [event.step for event in events.Images("lgl_inr/class_weights")] == [1, 2, 3]
    assert [event.step for event in events.Images("test/confusion_matrix")] == [3]


@pytest.mark.parametrize("loss", [Lgl(), Sml(), LglInr()])
def test_without_weight_decay_a_factor_on_the_loss_is_one_on_the_learning_rate(
    loss: LossConfig, tmp_path: Path
) -> None:
    def trained(scale: float, lr: float, weight_decay: float) -> bytes:
        schedule = Schedule(epochs=2, batch_size=32, lr=lr, momentum=0.5, weight_decay=weight_decay)
        made = config(tmp_path, loss=replace(loss, scale=scale), schedule=schedule)
        logits: bytes = finished(made)["arrays"]["test_logits"]
        return logits

    assert trained(4.0, 0.01, 0.0) == trained(1.0, 0.04, 0.0)  # to the bit, as 4 is a power of 2
    assert trained(4.0, 0.01, 0.01) != trained(1.0, 0.04, 0.01)  # decay was scaled as well


@pytest.mark.parametrize(("name", "calls"), [("cpu", []), ("cuda", ["init"]), ("cuda:1", ["init", "cuda:1"])])
def test_the_gpu_that_is_named_is_the_one_in_use(name: str, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its streams and graphs are the first one's, and its statistics are asked for before it is started."""
    called: list[str] = []
    monkeypatch.setattr(torch.cuda, "init", lambda: called.append("init"))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: called.append(str(device)))
    use_device(torch.device(name))
    assert called == calls


@pytest.mark.parametrize("is_faster", [True, False])
def test_whether_bf16_is_the_faster_on_a_cpu_is_timed(monkeypatch: pytest.MonkeyPatch, is_faster: bool) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(environment, "has_bf16_kernels", lambda device: True)
    monkeypatch.setattr(environment, "_convolution_seconds", lambda dtypes: [1.0, 0.5 if is_faster else 2.0])
    assert is_bf16_faster(cpu) == is_faster
    monkeypatch.setattr(environment, "has_bf16_kernels", lambda device: False)
    assert not is_bf16_faster(cpu)


def test_the_timed_convolution_is_one_of_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, plain = [], functional.conv2d
    monkeypatch.setattr(functional, "conv2d", lambda *given, **named: (seen.append(given), plain(*given, **named))[1])
    wanted, state = (torch.float32, torch.float64), torch.get_rng_state()
    seconds = environment._convolution_seconds(wanted, times=2)
    assert len(seconds) == 2
    assert all(0 < found < 60 for found in seconds)
    assert [inputs.dtype for inputs, _ in seen] == [*wanted, *wanted]
    assert all(tensor.grad is not None and bool(tensor.grad.gt(0).all()) for pair in seen for tensor in pair)
    assert torch.equal(torch.get_rng_state(), state)  # no run's weights depend on it
