"""Bias and variance of sampled gradients: against all draws enumerated, and at the weights of a run."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_sampled_losses import drawn
from torch import Tensor, nn

from lossbench.config.options import LossConfig, Reduction
from lossbench.config.run import Config, Optimizer, Runtime, Schedule
from lossbench.data.words import Words
from lossbench.losses.build import build_loss
from lossbench.losses.full_softmax import FullSoftmax
from lossbench.losses.lgl import Lgl
from lossbench.losses.nce import Nce, nce
from lossbench.losses.sampled_lgl import SampledLgl, sampled_lgl
from lossbench.losses.sampled_softmax import Correction, Hits, SampledSoftmax, sampled_softmax
from lossbench.losses.sampling import logits_of
from lossbench.models.word2next import Word2Next
from lossbench.training.gradient_noise import PARTS, Estimator, exact_gradient, measured_gradient_noise, noise

COUNTS = torch.tensor([8, 5, 4, 2, 1])
Q = COUNTS.double() / COUNTS.sum()
TARGET = torch.tensor([0, 3, 1])


def layer() -> tuple[Tensor, nn.Linear]:
    """Features [3, 2] and an output layer of five classes."""
    draw = torch.Generator().manual_seed(0)
    head = nn.Linear(2, 5, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.randn(5, 2, generator=draw, dtype=torch.float64))
        head.bias.copy_(Q.log())
    return torch.randn(3, 2, generator=draw, dtype=torch.float64), head


def softmax_by_hand(features: Tensor, head: nn.Linear) -> dict[str, Tensor]:
    """Gradient of the full softmax by its formula, (p - e) / B times the features or the weights."""
    with torch.no_grad():
        slope = (head(features).softmax(dim=1) - torch.eye(5, dtype=torch.float64)[TARGET]) / 3
        ones = torch.ones(3, 1, dtype=torch.float64)
        return {"head": slope.T @ torch.cat([features, ones], dim=1), "features": slope @ head.weight}


def lgl_by_hand(features: Tensor, head: nn.Linear) -> dict[str, Tensor]:
    with torch.no_grad():
        slope = (head(features).sigmoid() - torch.eye(5, dtype=torch.float64)[TARGET]) / 3
        ones = torch.ones(3, 1, dtype=torch.float64)
        return {"head": slope.T @ torch.cat([features, ones], dim=1), "features": slope @ head.weight}


def enumerated(loss: Callable[..., Tensor], num: int, exact: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Squared bias and variance, relative, over all draws of `num` classes with their probabilities."""
    features, head = layer()
    draws = []
    for draw in itertools.product(range(5), repeat=num):
        classes, given = torch.tensor(draw), features.clone().requires_grad_()
        value = loss(logits_of(given, head, TARGET, classes), drawn(TARGET, classes, Q))
        weight, bias, own = torch.autograd.grad(value, [head.weight, head.bias, given])
        whole = torch.cat([weight.to_dense(), bias[:, None]], dim=1)
        draws.append((math.prod(Q[list(draw)].tolist()), {"head": whole, "features": own}))
    found = {}
    for part in PARTS:
        mean = sum(p * one[part] for p, one in draws)
        spread = sum(p * float((one[part] - mean).square().sum()) for p, one in draws)
        size = float(exact[part].square().sum())
        found[part] = float((mean - exact[part]).square().sum()) / size, spread / size
    return found


FORMS: list[tuple[LossConfig, Callable[..., Tensor]]] = [
    (SampledSoftmax(num_sampled=1), sampled_softmax),
    (
        SampledSoftmax(num_sampled=2, correction=Correction.sampled, hits=Hits.mask),
        lambda *given: sampled_softmax(*given, correction="sampled", hits="mask"),
    ),
    (
        SampledSoftmax(num_sampled=2, correction=Correction.none),
        lambda *given: sampled_softmax(*given, correction="none"),
    ),
    (Nce(num_sampled=2), nce),
    (SampledLgl(num_sampled=1), sampled_lgl),
]


@pytest.mark.parametrize(("config", "function"), FORMS, ids=["both", "sampled", "none", "nce", "lgl"])
def test_bias_and_variance_are_those_of_all_draws_enumerated(config: Any, function: Any) -> None:
    features, head = layer()
    exact = (lgl_by_hand if config.name == "sampled_lgl" else softmax_by_hand)(features, head)
    expected = enumerated(function, config.num_sampled, exact)
    loss = build_loss(config, COUNTS, torch.Generator().manual_seed(1))
    found = noise(loss, exact, features, head, TARGET, 2000)
    for part, (bias2, variance) in expected.items():
        one = found[part]
        assert one.variance == pytest.approx(variance, rel=0.1)
        assert abs(one.bias2 - bias2) < 4 * one.bias2_se + 1e-12
        assert one.bias2_se < 0.02 * max(variance, 1)
        assert one.bias2 == pytest.approx(bias2, abs=0.03 * max(variance, 1))
    if config.name == "sampled_lgl":
        assert [round(bias2, 12) for bias2, _ in expected.values()] == [0, 0]


def test_the_bias_of_few_draws_is_right_on_average_and_so_is_its_error() -> None:
    features, head = layer()
    exact = lgl_by_hand(features, head)
    loss = build_loss(SampledLgl(num_sampled=1), COUNTS, torch.Generator().manual_seed(2))
    found = [noise(loss, exact, features, head, TARGET, 20)["head"] for _ in range(60)]
    values = torch.tensor([one.bias2 for one in found])
    variance = sum(one.variance for one in found) / 60
    error = float(values.std()) / math.sqrt(60)
    assert abs(float(values.mean())) < 3 * error
    assert variance / 20 > 6 * error, "without the correction the mean would be off by this"
    typical = math.sqrt(sum(one.bias2_se**2 for one in found) / 60)
    assert typical == pytest.approx(float(values.std()), rel=0.5)


def test_the_exact_gradients_are_those_of_the_formulas() -> None:
    features, head = layer()
    for config, formula in ((FullSoftmax(), softmax_by_hand), (Lgl(reduction=Reduction.sum_classes), lgl_by_hand)):
        found = exact_gradient(config, build_loss(config, COUNTS), features, head, TARGET)
        expected = formula(features, head)
        for part in PARTS:
            torch.testing.assert_close(found[part], expected[part])


def test_an_estimate_without_draws_has_neither() -> None:
    features, head = layer()
    found = noise(build_loss(FullSoftmax(), COUNTS), softmax_by_hand(features, head), features, head, TARGET, 20)
    for part in PARTS:
        assert vars(found[part]) == pytest.approx({"bias2": 0, "bias2_se": 0, "variance": 0}, abs=1e-12)


@pytest.mark.parametrize("num", [10, 25])
def test_draws_come_in_equal_groups(num: int) -> None:
    features, head = layer()
    with pytest.raises(ValueError, match=f"must be a multiple of 10 from 20 on, got {num}"):
        noise(build_loss(Nce(), COUNTS), softmax_by_hand(features, head), features, head, TARGET, num)


def run(folder: Path) -> Config:
    path = folder / "own.txt"
    path.write_text("one two three two one . four one two . " * 60)
    schedule = Schedule(epochs=1, batch_size=32, lr=0.1, momentum=0.0, optimizer=Optimizer.adagrad)
    dataset = Words(path=str(path), vocabulary=4, context=2)
    runtime = Runtime(device="cpu", num_threads=1, output_dir=str(folder / "out"), data_dir=str(folder))
    return Config(dataset, Word2Next(embedding=3, hidden=4), FullSoftmax(), schedule, 0, runtime)


ESTIMATORS = {
    "softmax": Estimator(SampledSoftmax(num_sampled=3), FullSoftmax()),
    "one-vs-all": Estimator(SampledLgl(num_sampled=3), Lgl(reduction=Reduction.sum_classes)),
}


def test_it_is_measured_at_the_weights_of_a_run(tmp_path: Path) -> None:
    start, again = (measured_gradient_noise(run(tmp_path), ESTIMATORS, False, 2, 40) for _ in range(2))
    trained = measured_gradient_noise(run(tmp_path), ESTIMATORS, True, 2, 40)
    assert again == start
    assert json.loads(json.dumps(start, allow_nan=False)) == start
    assert (start["draws"], start["batches"], start["batch_size"], start["classes"]) == (40, 2, 32, 4)
    assert list(start["estimators"]) == list(ESTIMATORS)
    assert set(start["references"]) == {"full_softmax", "lgl"}
    for found in (start, trained):
        for parts in found["estimators"].values():
            for one in parts.values():
                assert one["bias2"] == pytest.approx(sum(one["by_batch"]) / 2, rel=1e-3, abs=1e-6)
                assert one["variance"] > 0
                assert one["bias2_se"] > 0
    first, after = (one["references"]["full_softmax"]["head"] for one in (start, trained))
    assert len(first) == 2
    assert after[0] != pytest.approx(first[0], rel=0.01), "an epoch of training changes the gradient"
    assert start["log_sum_exp"][0] == pytest.approx(0, abs=0.3), "the biases begin at the logarithm of the shares"
    assert not list((tmp_path / "out").rglob("result.json"))
