"""The trace of gradients in the logits: against hand-made gradients and Hessians, and whole after a stop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.build import build_loss
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.one_minus_p_squared import OneMinusPSquared
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.losses.squared import Squared
from lossbench.losses.taylor_softmax import TaylorSoftmax
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.runs.checks import load_arrays
from lossbench.runs.folder import Run, open_run
from lossbench.runs.gradient_arrays import COUNTS, NORMS, P_EDGES, SPECTRUM, SPECTRUM_STEPS, STEPS, ZEROS
from lossbench.training import gradient_trace
from lossbench.training.fit import fit, start_state
from lossbench.training.steps import State

SIZE = 8


def config(folder: Path, loss: LossConfig, **schedule: int) -> Config:
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, tensorboard=False, gradient_trace=True)
    made = Schedule(**({"epochs": 2, "batch_size": SIZE} | schedule))  # type: ignore[arg-type]
    return Config(Digits(num_train=20), Cnn2c(head=Head.direct), loss, made, runtime=runtime)


def prepared(loss: LossConfig, folder: Path) -> tuple[State, Config, Tensor, Tensor]:
    """A state, and the logits, spread out, and labels of its two whole batches of 8."""
    made = config(folder, loss)
    state = start_state(made, torch.device("cpu"))
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.mul_(2)
    labels = state.data.train.labels[: 2 * SIZE]
    with torch.no_grad():
        logits = state.model.eval()(state.data.inputs(state.data.train.images[: 2 * SIZE])).double()
    return state, made, logits, labels


def test_softmax_has_the_gradient_and_the_hessian_of_the_textbook(tmp_path: Path) -> None:
    state, made, logits, labels = prepared(Sml(), tmp_path)
    found = gradient_trace.slopes(state, made, with_spectrum=True)
    p = logits.softmax(dim=1)
    expected = p - torch.nn.functional.one_hot(labels, 10)
    assert found.slope == pytest.approx(expected, abs=1e-12)
    assert found.probability == pytest.approx(p[torch.arange(16), labels], abs=1e-12)
    hessians = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    assert found.spectrum == pytest.approx(torch.linalg.eigvalsh(hessians), abs=1e-12)


def test_a_point_counts_and_averages_in_bins_of_p(tmp_path: Path) -> None:
    state, made, logits, labels = prepared(OneMinusPSquared(), tmp_path)
    point = gradient_trace.gradient_trace(state, made, 7, with_spectrum=False)
    p = logits.softmax(dim=1).numpy()
    edges = [0, *P_EDGES, 1]
    norms: dict[int, list[float]] = {}
    for nth, label in enumerate(labels.tolist()):
        q = p[nth, label]
        slope = 2 * q * (1 - q) * (p[nth] - np.eye(10)[label])
        (place,) = (k for k in range(8) if edges[k] < q <= edges[k + 1])
        norms.setdefault(place, []).append(float(np.linalg.norm(slope)))
    assert len(norms) > 2  # the bins are tried
    assert point[COUNTS].tolist() == [len(norms.get(k, [])) for k in range(8)]
    means = [float(np.mean(norms[k])) if k in norms else float("nan") for k in range(8)]
    assert point[NORMS].tolist() == pytest.approx(means, rel=1e-6, nan_ok=True)
    assert int(point[STEPS]) == 7
    assert SPECTRUM not in point


def test_zeros_are_those_of_sparsemax(tmp_path: Path) -> None:
    state, made, logits, labels = prepared(Sparsemax(), tmp_path)
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.mul_(3)
        logits = state.model(state.data.inputs(state.data.train.images[:16])).double()
    point = gradient_trace.gradient_trace(state, made, 0, with_spectrum=True)
    zero, whole = 0, 0
    for values, label in zip(logits.numpy(), labels.tolist(), strict=True):
        ordered = np.sort(values)[::-1]
        size = max(k for k in range(1, 11) if 1 + k * ordered[k - 1] > ordered[:k].sum())
        p = np.maximum(values - (ordered[:size].sum() - 1) / size, 0)
        slope = p - np.eye(10)[label]
        zero += int((slope == 0).sum())
        whole += int((slope == 0).all())
    assert zero > 0
    assert point[ZEROS].tolist() == pytest.approx([zero / 160, whole / 16])
    assert set(point[SPECTRUM][-2:].round(decimals=5).tolist()) <= {0.0, 1.0, -0.0}


def test_the_hessian_of_lgl_inr_is_that_of_each_samples_own_logits(tmp_path: Path) -> None:
    state, made, logits, labels = prepared(LglInr(), tmp_path)
    found = gradient_trace.slopes(state, made, with_spectrum=True)
    loss = build_loss(LglInr(), state.data.class_counts)
    for start in (0, SIZE):
        part = slice(start, start + SIZE)
        whole = torch.autograd.functional.hessian(lambda z, y=labels[part]: SIZE * loss(z, y), logits[part])
        for nth in range(SIZE):
            eigenvalues = torch.linalg.eigvalsh(whole[nth, :, nth, :])
            assert found.spectrum is not None
            assert found.spectrum[start + nth] == pytest.approx(eigenvalues, abs=1e-9)


def test_a_quadratic_has_one_hessian_and_taylor_softmax_reads_its_own_way(tmp_path: Path) -> None:
    state, made, logits, labels = prepared(Squared(), tmp_path / "squared")
    spectrum = gradient_trace.gradient_trace(state, made, 0, with_spectrum=True)[SPECTRUM]
    z = logits[:1].clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(lambda z: state.loss(z, labels[:1]), z)[0, :, 0, :]
    assert spectrum[:10].tolist() == pytest.approx(torch.linalg.eigvalsh(hessian).tolist(), abs=1e-7)
    assert spectrum[10:].tolist() == pytest.approx([float(spectrum[0]), float(spectrum[9])])
    state, made, logits, labels = prepared(TaylorSoftmax(), tmp_path / "taylor")
    read = ((logits + 1).abs() - 1).softmax(dim=1)[torch.arange(16), labels]
    assert gradient_trace.slopes(state, made, with_spectrum=False).probability == pytest.approx(read, abs=1e-12)


def arrays_of(run: Run) -> dict[str, np.ndarray]:
    return load_arrays((run.folder / "arrays.npz").read_bytes())


@pytest.mark.parametrize("loss", [Sml(), LglInr()])
def test_a_trace_changes_nothing_else_and_is_whole_after_a_stop(loss: LossConfig, tmp_path: Path) -> None:
    def stop(epoch: int, fraction: float, line: str) -> None:
        if (epoch, fraction) == (1, 1.0):
            raise KeyboardInterrupt

    made = config(tmp_path / "whole", loss, evaluate_every_steps=2)
    fit(made, open_run(made))
    whole = arrays_of(open_run(made))
    other = replace(made, runtime=replace(made.runtime, output_dir=str(tmp_path / "plain"), gradient_trace=False))
    fit(other, open_run(other))
    plain = arrays_of(open_run(other))
    assert set(whole) - set(plain) == {STEPS, COUNTS, NORMS, ZEROS, SPECTRUM, SPECTRUM_STEPS}
    assert all(np.array_equal(array, whole[name]) for name, array in plain.items())
    assert whole[STEPS].tolist() == [0, 2, 3, 4, 6, 6]  # three steps an epoch
    assert whole[SPECTRUM_STEPS].tolist() == [0, 3, 6]
    assert (whole[COUNTS].sum(axis=1) == 16).all()

    made.runtime.output_dir = str(tmp_path / "stopped")
    run = open_run(made)
    with pytest.raises(KeyboardInterrupt):
        fit(made, run, stop)
    fit(replace(made, runtime=replace(made.runtime, gradient_trace=False)), run)
    again = arrays_of(run)
    assert set(again) == set(whole)
    assert all(np.array_equal(array, again[name], equal_nan=True) for name, array in whole.items())


def test_the_network_stays_as_it_is(tmp_path: Path) -> None:
    state, made, _, _ = prepared(Sml(), tmp_path)
    state.model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(28 * 28, 10))
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    gradient_trace.gradient_trace(state, made, 0, with_spectrum=True)
    assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())
    assert all(parameter.grad is None for parameter in state.model.parameters())
