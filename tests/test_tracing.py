"""What a run keeps of every epoch: class weights, class means and gradient norms, also after a stop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.load import Data, Split, load_data
from lossbench.losses.build import build_loss
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import WEIGHTS, LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.runs.folder import Run, open_run
from lossbench.training.fit import fit, start_state
from lossbench.training.optimizer import Sgd
from lossbench.training.steps import State
from lossbench.training.trace import MEANS, NORMS, PROBE_PER_CLASS, gradient_norms

EPOCHS = 3


def config(folder: Path, loss: LossConfig, class_trace: bool = True) -> Config:
    """Three epochs of four steps on 100 digits, one thread."""
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, tensorboard=False, class_trace=class_trace)
    return Config(
        Digits(num_train=100), Cnn2c(head=Head.direct), loss, Schedule(epochs=EPOCHS, batch_size=32), runtime=runtime
    )


def arrays_of(run: Run) -> dict[str, np.ndarray]:
    with np.load(run.folder / "arrays.npz") as arrays:
        return dict(arrays)


def stop_after_one(epoch: int, fraction: float, line: str) -> None:
    if (epoch, fraction) == (1, 1.0):
        raise KeyboardInterrupt


def stopped(made: Config) -> Run:
    run = open_run(made)
    with pytest.raises(KeyboardInterrupt):
        fit(made, run, stop_after_one)
    return run


@pytest.mark.parametrize("loss", [Sml(), Lgl(), LglInr()])
def test_the_last_epoch_kept_is_that_of_the_finished_run(loss: LossConfig, tmp_path: Path) -> None:
    made = config(tmp_path, loss)
    fit(made, open_run(made))
    kept = arrays_of(open_run(made))
    for name in ("softmax", "sigmoid"):
        by_epoch = kept[MEANS.format(name)]
        assert by_epoch.shape == (EPOCHS, 10, 10)
        assert by_epoch[-1] == pytest.approx(kept[f"test_mean_{name}"], abs=1e-6)
        assert np.abs(np.diff(by_epoch, axis=0)).max(axis=(1, 2)).min() > 1e-4  # each epoch its own
    assert kept[NORMS].shape == (EPOCHS, 10)
    assert (WEIGHTS in kept) == isinstance(loss, LglInr)


@pytest.mark.parametrize("loss", [Sml(), LglInr()])
def test_a_trace_changes_nothing_else(loss: LossConfig, tmp_path: Path) -> None:
    both = []
    for class_trace in (False, True):
        made = config(tmp_path / str(class_trace), loss, class_trace)
        fit(made, open_run(made))
        both.append(arrays_of(open_run(made)))
    plain, whole = both
    assert set(whole) - set(plain) == {MEANS.format("softmax"), MEANS.format("sigmoid"), NORMS}
    assert all(np.array_equal(array, whole[name]) for name, array in plain.items())


def test_norms_of_the_first_epoch_are_those_of_a_network_trained_so_far(tmp_path: Path) -> None:
    made = config(tmp_path, Sml())
    fit(made, open_run(made))
    state = stopped(replace(made, runtime=replace(made.runtime, output_dir=str(tmp_path / "stopped"))))
    checkpoint: dict[str, Any] = torch.load(state.folder / "checkpoint.pt", weights_only=True)
    rebuilt = start_state(made, torch.device("cpu"))
    rebuilt.model.load_state_dict(checkpoint["model"])
    assert arrays_of(open_run(made))[NORMS][0] == pytest.approx(gradient_norms(rebuilt).numpy(), rel=1e-5)


def test_a_stop_leaves_no_gap_and_the_first_setting_stays(tmp_path: Path) -> None:
    whole = config(tmp_path / "whole", LglInr())
    fit(whole, open_run(whole))
    made = config(tmp_path / "stopped", LglInr())
    run = stopped(made)
    fit(replace(made, runtime=replace(made.runtime, class_trace=False)), run)
    expected, kept = arrays_of(open_run(whole)), arrays_of(run)
    assert set(kept) == set(expected)
    assert all(np.array_equal(array, kept[name]) for name, array in expected.items())
    assert "begun with runtime.class_trace=True" in (run.folder / "train.log").read_text()


def test_tensorboard_shows_each_epoch_kept_once_after_a_stop(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = config(tmp_path, Lgl())
    made.runtime.tensorboard = True
    run = stopped(made)
    fit(made, run)
    (file,) = run.folder.glob("*/events.out.tfevents.*")  # in a folder that names what differs from the defaults
    events = EventAccumulator(str(file.parent), size_guidance={"images": 0}).Reload()
    kept = arrays_of(run)
    for label in (0, 9):
        points = [(event.step, event.value) for event in events.Scalars(f"{NORMS}/{label}")]
        assert points == [(epoch + 1, pytest.approx(kept[NORMS][epoch, label])) for epoch in range(EPOCHS)]
    assert [event.step for event in events.Images(MEANS.format("sigmoid"))] == [1, 2, 3]


@pytest.mark.parametrize("loss", [Sml(), Lgl()], ids=["sml", "lgl"])
def test_gradient_norms_equal_a_loop_over_the_samples(loss: LossConfig) -> None:
    torch.manual_seed(0)
    images, labels = (
        torch.randint(256, (12, 1, 5, 5), dtype=torch.uint8),
        torch.tensor([0, 1, 2, 0, 0, 1, 2, 2] + [1] * 4),
    )
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3))
    counts = torch.bincount(labels)
    split = Split(images, labels)
    data = Data(split, split, (1, 5, 5), 3, counts, torch.tensor([[[1 / 255]]]), torch.tensor([[[0.0]]]), None)
    first = {0: [0, 3, 4], 1: [1, 5, 8], 2: [2, 6, 7]}
    per_class = PROBE_PER_CLASS
    expected = []
    for label, members in first.items():
        total = [torch.zeros_like(parameter) for parameter in model.parameters()]
        for member in members[:per_class]:
            logits = model(images[member][None] / 255)[0]
            if isinstance(loss, Sml):
                value = -torch.log_softmax(logits, dim=0)[label] / (3 * per_class)
            else:
                signs = torch.tensor([1.0 if k == label else -1.0 for k in range(3)])
                value = -torch.nn.functional.logsigmoid(signs * logits).sum() / (3 * 3 * per_class)
            gradients = torch.autograd.grad(value, list(model.parameters()))
            total = [before + gradient for before, gradient in zip(total, gradients, strict=True)]
        expected.append(sum(float(part.square().sum()) for part in total) ** 0.5)
    state = State(model, Sgd(model, Schedule()), build_loss(loss, counts), data)
    assert gradient_norms(state).tolist() == pytest.approx(expected, rel=1e-5)


def test_gradient_norms_leave_the_network_alone(tmp_path: Path) -> None:
    made = config(tmp_path, LglInr())
    data = load_data(made.dataset, made.runtime, torch.device("cpu"))
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(28 * 28, 10))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gradient_norms(State(model, Sgd(model, made.schedule), build_loss(made.loss, data.class_counts), data))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
