"""RG2 from features and output layer equals RG2 of the logits, in value, gradients and training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossbench.config.options import ClassWeights
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.build import build_loss
from lossbench.losses.rg2 import Rg2, rg2
from lossbench.losses.rg2_features import Rg2Features, rg2_features
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.training.fit import fit


def case(num_classes: int, with_bias: bool) -> tuple[Tensor, nn.Linear, Tensor]:
    """Features [7, 5], output layer and target."""
    draw = torch.Generator().manual_seed(num_classes)
    head = nn.Linear(5, num_classes, bias=with_bias).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(2 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    features = torch.randn(7, 5, generator=draw, dtype=torch.float64).requires_grad_()
    return features, head, torch.randint(num_classes, (7,), generator=draw)


@pytest.mark.parametrize("a", [0.0, 0.3, 20.0])
@pytest.mark.parametrize("num_classes", [2, 10, 3000])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("weights", [None, ClassWeights.inverse])
def test_value_and_gradients_are_those_of_rg2_on_the_logits(
    a: float, num_classes: int, with_bias: bool, weights: ClassWeights | None
) -> None:
    features, head, target = case(num_classes, with_bias)
    counts = torch.arange(1, num_classes + 1)
    whole, from_features = (
        build_loss(kind(a=a, class_weights=weights, scale=1.5), counts) for kind in (Rg2, Rg2Features)
    )
    given = [features, *head.parameters()]
    expected, found = whole(head(features), target), from_features(features, head, target)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    for one, other in zip(torch.autograd.grad(found, given), torch.autograd.grad(expected, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10 * other.abs().max().item())


def test_it_is_zero_at_the_smallest_value() -> None:
    """The logits K - 1 of the class and -1 of the others, of features that are one-hot."""
    head = nn.Linear(4, 4, bias=False).double()
    with torch.no_grad():
        head.weight.copy_(4 * torch.eye(4) - 1)
    for y in range(4):
        target = torch.tensor([y])
        assert rg2_features(torch.eye(4).double()[y : y + 1], head, target).item() == pytest.approx(0, abs=1e-12)


def test_no_array_is_samples_by_classes() -> None:
    class Watching(torch.overrides.TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.shapes: set[tuple[int, ...]] = set()

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            if isinstance(found, Tensor):
                self.shapes.add(tuple(found.shape))
            return found

    features, head, target = case(3000, True)
    with Watching() as watching:
        rg2_features(features, head, target, a=0.2)
    assert (3000, 6) in watching.shapes
    assert all(3000 not in shape or 7 not in shape for shape in watching.shapes)


def test_it_is_read_as_rg2_is() -> None:
    assert LOSSES["rg2_features"].maps == LOSSES["rg2"].maps
    assert LOSSES["rg2_features"].compared == LOSSES["rg2"].compared == "own"
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    found, expected = (kind(a=0.4).probabilities(logits, None) for kind in (Rg2Features, Rg2))
    assert found.tolist() == expected.tolist()


def test_it_trains_as_rg2(tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", output_dir=str(tmp_path), num_threads=1, parallel=1, tensorboard=False)
    first = Config(Digits(num_train=64), Cnn2c(), Rg2(a=0.1), Schedule(epochs=2, batch_size=16), 0, runtime)
    records = [fit(made, open_run(made)) for made in (first, replace(first, loss=Rg2Features(a=0.1)))]
    one, other = (record["curves"]["train/loss"] for record in records)
    assert one == pytest.approx(other, rel=1e-4)
    assert records[0]["scores"]["own"]["brier"] == pytest.approx(records[1]["scores"]["own"]["brier"], rel=1e-3)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^loss\.a must be >= 0 and finite, got -1"):
        Rg2Features(a=-1)
    with pytest.raises(ValueError, match=r"^a must be >= 0 and finite, got inf"):
        rg2_features(*case(3, True), a=float("inf"))


@pytest.mark.parametrize("a", [0.0, 0.7])
def test_biases_at_the_prior_logits_are_the_minimiser_without_inputs(a: float) -> None:
    counts = torch.tensor([60, 30, 9, 1])
    z, share = Rg2(a=a).prior_logits(counts).requires_grad_(), counts.double() / 100
    risk = sum(share[k] * rg2(z[None], torch.tensor([k]), a=a) for k in range(4))
    assert torch.autograd.grad(risk, z)[0].abs().max() < 1e-12
    assert Rg2(a=a).probabilities(z.detach()[None].numpy(), None)[0].tolist() == pytest.approx(share.tolist())
