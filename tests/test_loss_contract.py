"""What every loss keeps to: clear refusals, no waiting for a device, one graph, and an epoch of training."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import make_loss_values
import numpy as np
import pytest
import torch
from torch import Tensor

from lossbench import losses
from lossbench.config.options import Imbalance
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.training.fit import fit

NAMES = sorted(name for name in losses.__all__ if not name.endswith("_probabilities"))
NEED_COUNTS = ("logit_adjusted", "ldam")
OTHERWISE: dict[str, list[dict[str, float]]] = {
    "label_smoothing": [{"eps": 0.6}],
    "gce": [{"r": 0.05}, {"r": 1.0}],
    "poly1": [{"eps": -0.5}, {"eps": 3.0}],
    "entmax": [{"alpha": alpha} for alpha in (1.05, 1.3, 1.7, 1.95, 2.0)],
    "squared": [{"k": 5.0, "m": 3.0}],
    "rg2": [{"a": 0.7}],
    "logit_adjusted": [{"tau": 0.0}, {"tau": 2.5}],
    "ldam": [{"max_margin": 0.0}, {"max_margin": 2.0, "scale": 1.0}],
    "focal": [{"gamma": gamma} for gamma in (0.0, 0.5, 1.0, 5.0)],
    "asymmetric": [
        {"gamma_neg": 0.0, "clip": 0.0},
        {"gamma_neg": 0.0, "clip": 0.3},
        {"gamma_pos": 0.5, "gamma_neg": 0.5, "clip": 0.2},
        {"gamma_pos": 2.0, "gamma_neg": 1.0, "clip": 0.0},
    ],
}
"""Options by which a loss may take other branches than by default."""

CASES = [(name, options) for name in NAMES for options in [{}, *OTHERWISE.get(name, [])]]
every_name = pytest.mark.parametrize("name", NAMES)
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{options}" for name, options in CASES])


def loss_of(name: str, options: dict[str, float], counts: Tensor) -> Callable[..., Tensor]:
    """A loss as a function of logits and target, with class sizes where it needs them."""
    given: dict[str, Any] = {**options, **({"class_counts": counts} if name in NEED_COUNTS else {})}
    return lambda logits, target, **more: getattr(losses, name)(logits, target, **given, **more)


def batch(num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, target and class sizes."""
    generator = torch.Generator().manual_seed(num_classes)
    logits = 2 * torch.randn(8, num_classes, dtype=torch.float64, generator=generator)
    target = torch.randint(num_classes, (8,), generator=generator)
    return logits.requires_grad_(), target, torch.logspace(0, 3, num_classes).round().long()


def test_every_loss_is_exported_under_its_registered_name() -> None:
    assert {*NAMES, "sml", "lgl", "lgl_inr"} == {n for n, facts in LOSSES.items() if facts.options.needs == "logits"}
    for name in NAMES:
        assert LOSSES[name].options.name == name
        assert callable(getattr(losses, name))  # no module hides the function of the same name


@every_name
def test_no_loss_changes_unless_numerics_is_raised(name: str) -> None:
    known = json.loads(make_loss_values.PATH.read_text())
    assert name in known, "a new loss: run tests/make_loss_values.py"
    found, expected = make_loss_values.value_and_gradient(LOSSES[name].options()), known[name]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(found["gradient"], expected["gradient"], rtol=1e-10, atol=1e-13)  # type: ignore[arg-type]


@every_name
def test_wrong_arguments_are_refused(name: str) -> None:
    loss = loss_of(name, {}, torch.ones(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"^logits must be \[batch, classes\]"):
        loss(torch.zeros(3), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"^logits must be \[batch, classes\].*\[3, 1\]"):
        loss(torch.zeros(3, 1), torch.tensor([0, 0, 0]))
    with pytest.raises(ValueError, match=r"^target must be \[2\].*got \[3\]"):
        loss(torch.zeros(2, 4), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"^target must be in 0\.\.3"):
        loss(torch.zeros(2, 4), torch.tensor([0, 4]))
    if name in NEED_COUNTS:
        with pytest.raises(ValueError, match=r"^class_counts must be \[5\] for logits \[2, 5\], got \[4\]$"):
            loss(torch.zeros(2, 5), torch.tensor([0, 1]))


@every_case
def test_nothing_waits_for_the_device(name: str, options: dict[str, float]) -> None:
    logits = torch.empty(7, 4, device="meta", requires_grad=True)  # no values: whatever reads one raises
    target = torch.empty(7, device="meta", dtype=torch.int64)
    loss = loss_of(name, options, torch.empty(4, device="meta", dtype=torch.int64))
    for weights in (None, torch.empty(4, device="meta")):
        logits.grad = None
        value = loss(logits, target, class_weights=weights)
        value.backward()
        assert logits.grad is not None
        assert (value.shape, logits.grad.shape) == ((), logits.shape)


@pytest.mark.long
@every_case
def test_it_compiles_as_one_graph(name: str, options: dict[str, float]) -> None:
    torch.compiler.reset()
    logits, target, counts = batch(6)
    loss = loss_of(name, options, counts)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")  # a graph break raises
    found, expected = compiled(logits, target), loss(logits, target)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    slopes = torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-14)


@every_name
def test_an_epoch_of_training(name: str, tmp_path: Path) -> None:
    digits = Digits(num_train=200, imbalance=Imbalance.step, imbalance_ratio=4.0)
    runtime = Runtime("cpu", str(tmp_path), num_threads=1, tensorboard=False)
    config = Config(digits, Cnn2c(), LOSSES[name].options(), Schedule(epochs=1, batch_size=32), runtime=runtime)
    record = fit(config, open_run(config))
    assert math.isfinite(record["test_loss"])
    assert all(map(math.isfinite, record["curves"]["train/loss"]))
    assert 0 <= record["test_accuracy"] <= 1
    assert set(record["scores"]) >= set(LOSSES[name].maps)
