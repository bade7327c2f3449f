"""Losses of softmax probabilities: against loops over their formulas, at extreme logits, and at their minimisers."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbench.config.options import ClassWeights, LossConfig
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses import brier, gce, label_smoothing, mae, one_minus_p_squared, poly1, spherical
from lossbench.losses.brier import Brier
from lossbench.losses.build import build_loss
from lossbench.losses.gce import Gce
from lossbench.losses.label_smoothing import LabelSmoothing
from lossbench.losses.mae import Mae
from lossbench.losses.one_minus_p_squared import OneMinusPSquared
from lossbench.losses.poly1 import Poly1
from lossbench.losses.sml import sml
from lossbench.losses.spherical import Spherical
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.training.fit import fit

NUM = 5
KS = (2, 3, 10, 1000)
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "label_smoothing": label_smoothing,
    "brier": brier,
    "one_minus_p_squared": one_minus_p_squared,
    "spherical": spherical,
    "gce": gce,
    "mae": mae,
    "poly1": poly1,
}


def value(name: str, p: list[float], y: int, **options: float) -> float:
    """The formula of a sample's loss, with probabilities p and class y."""
    num_classes, q = len(p), p[y]
    match name:
        case "label_smoothing":
            targets = [options["eps"] / num_classes + (1 - options["eps"]) * (k == y) for k in range(num_classes)]
            return -sum(share * math.log(one) for share, one in zip(targets, p, strict=True))
        case "brier":
            return sum((one - (k == y)) ** 2 for k, one in enumerate(p))
        case "one_minus_p_squared":
            return (1 - q) ** 2
        case "spherical":
            return 1 - q / math.sqrt(sum(one**2 for one in p))
        case "gce":
            return (1 - q ** options["r"]) / options["r"]
        case "mae":
            return sum(abs(one - (k == y)) for k, one in enumerate(p))
        case "poly1":
            return -math.log(q) + options["eps"] * (1 - q)
    raise KeyError(name)


def gradient(name: str, p: np.ndarray, y: int, **options: float) -> np.ndarray:
    """The derivatives of a sample's loss in its logits, [K], in closed form."""
    e, q = np.eye(len(p))[y], p[y]
    match name:
        case "label_smoothing":
            return p - (1 - options["eps"]) * e - options["eps"] / len(p)
        case "brier":
            return 2 * p * ((p - e) - p @ (p - e))
        case "one_minus_p_squared":
            return 2 * q * (1 - q) * (p - e)
        case "spherical":
            return q / math.sqrt(p @ p) * (p**2 / (p @ p) - e)
        case "gce":
            return q ** options["r"] * (p - e)
        case "mae":
            return 2 * q * (p - e)
        case "poly1":
            return (1 + options["eps"] * q) * (p - e)
    raise KeyError(name)


def posterior(name: str, p: np.ndarray, **options: float) -> np.ndarray:
    """The posterior [K] at which the expected loss is least where the softmax is p."""
    match name:
        case "label_smoothing":
            raw = p - options["eps"] / len(p)
        case "brier" | "spherical":
            raw = p
        case "one_minus_p_squared":
            raw = 1 / (1 - p)
        case "gce":
            raw = p ** (1 - options["r"])
        case "poly1":
            raw = p / (1 + options["eps"] * p)
    return raw / raw.sum()


@dataclass(frozen=True)
class Case:
    """A loss with options, the same in its config and its function."""

    config: LossConfig
    options: dict[str, float]

    def __call__(self, logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
        return FUNCTIONS[self.config.name](logits, target, class_weights=class_weights, **self.options)

    def __str__(self) -> str:
        return "-".join([self.config.name, *(f"{name}={number}" for name, number in self.options.items())])


CASES = [
    Case(LabelSmoothing(), {"eps": 0.1}),
    Case(LabelSmoothing(eps=0.6), {"eps": 0.6}),
    Case(Brier(), {}),
    Case(OneMinusPSquared(), {}),
    Case(Spherical(), {}),
    Case(Gce(), {"r": 0.7}),
    Case(Gce(r=0.05), {"r": 0.05}),
    Case(Gce(r=1.0), {"r": 1.0}),
    Case(Mae(), {}),
    Case(Poly1(), {"eps": 1.0}),
    Case(Poly1(eps=-0.5), {"eps": -0.5}),
    Case(Poly1(eps=3.0), {"eps": 3.0}),
]
CONVEX = {"label_smoothing-eps=0.1", "label_smoothing-eps=0.6", "poly1-eps=1.0", "poly1-eps=-0.5"}
each = pytest.mark.parametrize("case", CASES, ids=str)


def batch(num_classes: int, num: int = NUM, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random logits in float64 [num, K], and targets."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(num, num_classes, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), torch.randint(num_classes, (num,), generator=generator)


def softmax(logits: Tensor) -> np.ndarray:
    powers = np.exp(logits.detach().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


def value_and_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@each
@pytest.mark.parametrize("num_classes", KS)
def test_value_and_gradient_are_those_of_the_formula(case: Case, num_classes: int) -> None:
    logits, target = batch(num_classes)
    p = softmax(logits)
    name = case.config.name
    expected = [value(name, row.tolist(), y, **case.options) for row, y in zip(p, target.tolist(), strict=True)]
    slopes = [gradient(name, row, y, **case.options) / NUM for row, y in zip(p, target.tolist(), strict=True)]
    found, slope = value_and_gradient(case(logits, target), logits)
    assert found.item() == pytest.approx(sum(expected) / NUM, rel=1e-10)
    assert slope.numpy() == pytest.approx(np.array(slopes), rel=1e-9, abs=1e-13)


@each
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_gradient_is_that_of_the_value(case: Case, num_classes: int) -> None:
    logits, target = batch(num_classes)
    assert torch.autograd.gradcheck(lambda logits: case(logits, target), logits)
    assert torch.autograd.gradgradcheck(lambda logits: case(logits, target), logits)


@each
def test_a_batch_has_the_mean_of_its_samples(case: Case) -> None:
    logits, target = batch(10)
    alone = [case(logits[i : i + 1], target[i : i + 1]) for i in range(NUM)]
    torch.testing.assert_close(case(logits, target), torch.stack(alone).mean())
    weights = torch.arange(1.0, 11.0)
    expected = sum(weights[target[i]] * alone[i] for i in range(NUM)) / NUM
    torch.testing.assert_close(case(logits, target, weights), expected)


@each
def test_a_shift_of_all_logits_and_the_names_of_the_classes_do_not_matter(case: Case) -> None:
    logits, target = batch(10)
    shift = torch.tensor([[0.0], [3.0], [-50.0], [700.0], [1e4]])
    torch.testing.assert_close(case(logits + shift, target), case(logits, target), rtol=1e-9, atol=1e-12)
    order = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    torch.testing.assert_close(case(logits[:, order], torch.argsort(order)[target]), case(logits, target))


@each
def test_the_config_builds_the_function_with_its_options(case: Case) -> None:
    logits, target = batch(4)
    counts = torch.tensor([40, 10, 30, 20])
    torch.testing.assert_close(build_loss(case.config, counts)(logits, target), case(logits, target))
    weighted = replace(case.config, class_weights=ClassWeights.inverse, scale=2.5)
    weights = 25 / counts.double()  # their mean over the training samples is 1
    torch.testing.assert_close(build_loss(weighted, counts)(logits, target), 2.5 * case(logits, target, weights))


def test_the_defaults_are_those_of_the_functions() -> None:
    logits, target = batch(4)
    for name, function in FUNCTIONS.items():
        built = build_loss(LOSSES[name].options(), torch.ones(4, dtype=torch.int64))
        assert built(logits, target).item() == function(logits, target).item()
    assert (LabelSmoothing().eps, Gce().r, Poly1().eps) == (0.1, 0.7, 1.0)


def extreme(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Logits of size 20 and 10,000 with a right, a wrong and an undecided winner, [6, 3]."""
    rows = [[1e4, -1e4, 0], [-1e4, 1e4, 0], [1e4, 1e4, 1e4], [-20, 0, 0], [20, 0, 0], [-104, 0, -1e4]]
    return torch.tensor(rows, dtype=dtype).requires_grad_(), torch.zeros(6, dtype=torch.int64)


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_extreme_logits_give_the_value_and_slope_of_float64(case: Case, dtype: torch.dtype) -> None:
    logits, target = extreme(dtype)
    found, slope = value_and_gradient(case(logits, target), logits)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    exact = logits.detach().double().requires_grad_()
    expected, exact_slope = value_and_gradient(case(exact, target), exact)
    assert slope.isfinite().all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(slope.double(), exact_slope, rtol=1e-2, atol=1e-6)


@each
@pytest.mark.parametrize("num_classes", [2, 1000])
def test_a_winner_at_ten_thousand_gives_the_limit_of_the_loss(case: Case, num_classes: int) -> None:
    """Right, and wrong with all the others at 0: the limits of the formulas as p_y goes to 1 and to 0."""
    logits = torch.zeros(2, num_classes)
    logits[0, 0] = logits[1, 1] = 1e4
    logits.requires_grad_()
    eps, r = case.options.get("eps", 0.0), case.options.get("r", 1.0)
    spread = 1e4 * (num_classes - 1) / num_classes  # log p is 0 for one class and -1e4 for the others
    right, wrong = {
        "label_smoothing": (eps * spread, (1 - eps) * 1e4 + eps * spread),
        "brier": (0, 2),
        "one_minus_p_squared": (0, 1),
        "spherical": (0, 1),
        "gce": (0, 1 / r),
        "mae": (0, 2),
        "poly1": (0, 1e4 + eps),
    }[case.config.name]
    for row, expected in enumerate((right, wrong)):
        found, slope = value_and_gradient(case(logits[row : row + 1], torch.tensor([0])), logits)
        assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-7)
        assert slope.isfinite().all()


@each
def test_a_small_gradient_keeps_its_digits_in_float32(case: Case) -> None:
    """At p_y = 2e-10, where a gradient that is rounded against 1 would be 0 or noise."""
    slopes = []
    for dtype in (torch.float32, torch.float64):
        logits = torch.zeros(1, 10, dtype=dtype)
        logits[0, 0] = -20
        logits.requires_grad_()
        slopes.append(value_and_gradient(case(logits, torch.tensor([0])), logits)[1][0, 0].item())
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)
    assert slopes[1] < 0


def test_gce_keeps_its_digits_with_a_small_exponent() -> None:
    logits, target = batch(10)
    exact, narrow = (gce(logits.to(dtype), target, r=1e-4).item() for dtype in (torch.float64, torch.float32))
    assert narrow == pytest.approx(exact, rel=1e-6)
    assert gce(logits, target, r=1e-9).item() == pytest.approx(sml(logits, target).item(), rel=1e-7)


def test_losses_that_coincide() -> None:
    logits, target = batch(10)
    cross_entropy = sml(logits, target)
    torch.testing.assert_close(label_smoothing(logits, target, eps=0.0), cross_entropy)
    torch.testing.assert_close(poly1(logits, target, eps=0.0), cross_entropy)
    torch.testing.assert_close(2 * gce(logits, target, r=1.0), mae(logits, target))
    two, target = batch(2)
    torch.testing.assert_close(2 * one_minus_p_squared(two, target), brier(two, target))


def test_label_smoothing_is_the_cross_entropy_of_smoothed_targets_as_torch_has_it() -> None:
    logits, target = batch(10)
    smoothed = 0.8 * torch.eye(10, dtype=torch.float64)[target] + 0.02
    expected = torch.nn.functional.cross_entropy(logits, smoothed)
    torch.testing.assert_close(label_smoothing(logits, target, eps=0.2), expected)


def test_brier_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    logits, target = batch(10, num=40)
    expected = brier_score_loss(target.numpy(), softmax(logits), labels=range(10), scale_by_half=False)
    assert brier(logits, target).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("case", [case for case in CASES if str(case) not in ("mae", "gce-r=1.0")], ids=str)
@pytest.mark.parametrize("num_classes", [3, 10])
def test_the_minimiser_gives_the_posterior_by_the_stated_map(case: Case, num_classes: int) -> None:
    """The expected gradient is 0 there, and nowhere near or far is the expected loss less."""
    best = batch(num_classes, num=1, scale=0.3, seed=3)[0].detach()
    true = torch.tensor(posterior(case.config.name, softmax(best)[0], **case.options))
    assert true.min() > 0

    def expected(logits: Tensor) -> Tensor:
        return case(logits.expand(num_classes, -1), torch.arange(num_classes), num_classes * true)

    best.requires_grad_()
    least, slope = value_and_gradient(expected(best), best)
    assert slope.abs().max() < 1e-14
    for scale in (0.1, 1.0, 10.0):
        steps, _ = batch(num_classes, num=50, scale=scale)
        assert all(expected(best.detach() + step) > least for step in steps.detach())


def test_the_minimiser_of_mae_is_one_hot() -> None:
    true = torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64)
    logits = torch.cat([torch.eye(3, dtype=torch.float64) * 50, batch(3, num=50)[0].detach()])
    expected = [mae(row.expand(3, -1), torch.arange(3), class_weights=3 * true).item() for row in logits]
    assert min(expected) == expected[0] == pytest.approx(2 * (1 - 0.4))


@each
def test_convexity_is_as_stated(case: Case) -> None:
    least = math.inf
    for num_classes, scale, seed in itertools.product((2, 3, 10), (0.5, 2.0), range(20)):
        logits, target = batch(num_classes, num=1, scale=scale, seed=seed)
        curvature = torch.autograd.functional.hessian(lambda row, y=target: case(row[None], y), logits.detach()[0])
        least = min(least, torch.linalg.eigvalsh(curvature)[0].item())
    if str(case) in CONVEX:
        assert least > -1e-12
    elif str(case) != "poly1-eps=3.0":  # not stated
        assert least < -0.01


@pytest.mark.parametrize(
    ("function", "options", "key", "wrong", "rule"),
    [
        (label_smoothing, LabelSmoothing, "eps", (-0.1, 1.0, math.nan), "in [0, 1)"),
        (gce, Gce, "r", (0.0, -0.5, 1.1, math.nan), "in (0, 1]"),
        (poly1, Poly1, "eps", (-1.1, math.inf, math.nan), ">= -1 and finite"),
    ],
    ids=["label_smoothing", "gce", "poly1"],
)
def test_wrong_options_are_refused_with_their_rule(
    function: Callable[..., Tensor], options: Any, key: str, wrong: tuple[float, ...], rule: str
) -> None:
    logits, target = batch(3)
    for number in wrong:
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            function(logits, target, **{key: number})
        assert str(refused.value) == f"{key} must be {rule}, got {number}"
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            options(**{key: number})
        assert str(refused.value) == f"loss.{key} must be {rule}, got {number}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_network_is_trained_with_it(name: str, tmp_path: Path) -> None:
    schedule = Schedule(epochs=1, batch_size=16, lr=0.1)
    runtime = Runtime(device="cpu", output_dir=str(tmp_path), tensorboard=False)
    config = Config(Digits(num_train=1024), Cnn2c(), LOSSES[name].options(), schedule, 0, runtime)
    record = fit(config, open_run(config))
    equal = FUNCTIONS[name](torch.zeros(1, 10), torch.tensor([0])).item()  # the loss of equal probabilities
    assert 0 < record["test_loss"] < 0.6 * equal
    assert record["test_accuracy"] > 0.5
