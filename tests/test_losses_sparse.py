"""Sparsemax, entmax, the square losses, Taylor softmax and Rankmax against their formulas, sample by sample."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from lossbench import losses
from lossbench.config.options import ClassWeights, LossConfig, TrainingClasses
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.build import build_loss
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.training.fit import fit

Twin = Callable[..., tuple[float, np.ndarray]]


def projection(z: np.ndarray) -> np.ndarray:
    """The nearest point of the simplex: classes with a negative value are dropped until there are none."""
    kept = np.ones(len(z), bool)
    while True:
        p = np.where(kept, z + (1 - z[kept].sum()) / kept.sum(), 0)
        if (p >= 0).all():
            return p
        kept &= p > 0


def tsallis_map(z: np.ndarray, alpha: float) -> np.ndarray:
    """[(alpha - 1) z - tau]_+^(1 / (alpha - 1)), with tau found by Brent's method."""
    scaled = (alpha - 1) * (z - z.max())

    def powers(tau: float) -> np.ndarray:
        return np.maximum(scaled - tau, 0) ** (1 / (alpha - 1))

    return powers(brentq(lambda tau: powers(tau).sum() - 1, -1, 0, xtol=1e-16, rtol=1e-15))


def sparsemax_as_defined(z: np.ndarray, y: int) -> tuple[float, np.ndarray]:
    p, e = projection(z), np.eye(len(z))[y]
    return (p - e) @ z + (1 - p @ p) / 2, p - e


def entmax_as_defined(z: np.ndarray, y: int, alpha: float = 1.5) -> tuple[float, np.ndarray]:
    p, e = tsallis_map(z, alpha), np.eye(len(z))[y]
    return (p - e) @ z + (1 - (p**alpha).sum()) / (alpha * (alpha - 1)), p - e


def squared_as_defined(z: np.ndarray, y: int, k: float = 1.0, m: float = 1.0) -> tuple[float, np.ndarray]:
    terms = [k * (score - m) ** 2 if j == y else score**2 for j, score in enumerate(z)]
    slopes = [2 * k * (score - m) if j == y else 2 * score for j, score in enumerate(z)]
    return sum(terms) / len(z), np.array(slopes) / len(z)


def taylor_softmax_as_defined(z: np.ndarray, y: int) -> tuple[float, np.ndarray]:
    f = 1 + z + z**2 / 2
    return -math.log(f[y] / f.sum()), (1 + z) / f * (f / f.sum() - np.eye(len(z))[y])


def rg2_as_defined(z: np.ndarray, y: int, a: float = 0.0) -> tuple[float, np.ndarray]:
    """The published form less its smallest value; at a = 0 the square loss with the targets K - 1 and -1, over 4 K."""
    num, e = len(z), np.eye(len(z))[y]
    if a == 0:
        return ((z - (num * e - 1)) ** 2).sum() / (4 * num), (1 + z) / (2 * num) - e / 2

    def published(z: np.ndarray) -> float:
        return ((z + 1) ** 2).sum() / (4 * num) + a / 2 * (z[y] - 1 - 1 / (2 * a)) ** 2

    lowest = np.full(num, -1.0)
    lowest[y] = (a + 1 / 2 - 1 / (2 * num)) / (a + 1 / (2 * num))  # where the derivative in z_y is 0
    slope = (1 + z) / (2 * num) + a * e * (z[y] - 1 - 1 / (2 * a))
    return published(z) - published(lowest), slope


def rankmax_as_defined(z: np.ndarray, y: int) -> tuple[float, np.ndarray]:
    terms = [max(score - z[y] + 1, 0) for score in z]
    active = np.array([float(term > 0) for term in terms])
    active[y] = 1 - active.sum()
    return math.log(sum(terms)), active / sum(terms)


TWINS: dict[str, Twin] = {
    "sparsemax": sparsemax_as_defined,
    "entmax": entmax_as_defined,
    "squared": squared_as_defined,
    "taylor_softmax": taylor_softmax_as_defined,
    "rg2": rg2_as_defined,
    "rankmax": rankmax_as_defined,
}
CASES: list[tuple[str, dict[str, float]]] = [
    ("sparsemax", {}),
    *(("entmax", {"alpha": alpha}) for alpha in (1.05, 1.3, 1.5, 1.7, 1.95, 2.0)),
    ("squared", {}),
    ("squared", {"k": 5.0, "m": 3.0}),
    ("taylor_softmax", {}),
    ("rg2", {}),
    ("rg2", {"a": 0.7}),
    ("rankmax", {}),
]
SHIFT_INVARIANT = ("sparsemax", "entmax", "rankmax")
SIZES = [2, 3, 10, 1000]


def called(name: str, options: dict[str, float]) -> Callable[..., Tensor]:
    return lambda logits, target, **more: getattr(losses, name)(logits, target, **options, **more)


def named(value: Any) -> str:
    return value if isinstance(value, str) else "-".join(f"{key}={number}" for key, number in value.items()) or "plain"


every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=named)


def drawn(num: int, num_classes: int, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(num, num_classes, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), torch.randint(num_classes, (num,), generator=generator)


def value_and_grad(loss: Callable[..., Tensor], logits: Tensor, target: Tensor, **more: Any) -> tuple[float, Tensor]:
    value = loss(logits, target, **more)
    return value.item(), torch.autograd.grad(value, logits)[0]


@every_case
@pytest.mark.parametrize("num_classes", SIZES)
@pytest.mark.parametrize("scale", [0.1, 2.0, 30.0])
def test_value_and_gradient_are_those_of_the_formula(
    name: str, options: dict[str, float], num_classes: int, scale: float
) -> None:
    logits, target = drawn(6, num_classes, scale)
    value, grad = value_and_grad(called(name, options), logits, target)
    rows = zip(logits.detach().numpy(), target.tolist(), strict=True)
    values, slopes = zip(*(TWINS[name](row, label, **options) for row, label in rows), strict=True)
    assert value == pytest.approx(np.mean(values), rel=1e-10, abs=1e-10)
    assert grad.numpy() == pytest.approx(np.array(slopes) / 6, rel=1e-8, abs=1e-11)


@every_case
@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_first_and_second_derivatives_are_those_of_the_value(
    name: str, options: dict[str, float], num_classes: int
) -> None:
    logits, target = drawn(4, num_classes, scale=1.0, seed=1)
    loss = called(name, options)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target), logits)


@every_case
def test_class_weights_multiply_the_loss_of_each_sample(name: str, options: dict[str, float]) -> None:
    logits, target = drawn(6, 4)
    weights = torch.tensor([0.5, 2.0, 0.0, 3.0])
    loss = called(name, options)
    single = [loss(logits[i : i + 1], target[i : i + 1]).item() for i in range(6)]
    assert loss(logits, target).item() == pytest.approx(np.mean(single), rel=1e-12)
    expected = np.mean([weights[label].item() * value for label, value in zip(target, single, strict=True)])
    assert loss(logits, target, class_weights=weights).item() == pytest.approx(expected, rel=1e-12)


@every_case
def test_names_of_classes_do_not_matter_nor_where_it_holds_a_shift(name: str, options: dict[str, float]) -> None:
    logits, target = drawn(6, 5)
    loss, order = called(name, options), torch.tensor([3, 0, 4, 1, 2])
    value = loss(logits, target).item()
    assert loss(logits[:, order], torch.argsort(order)[target]).item() == pytest.approx(value, rel=1e-12)
    shifted = loss(logits + torch.arange(6)[:, None], target).item()
    assert (shifted == pytest.approx(value, rel=1e-10)) == (name in SHIFT_INVARIANT)


@every_case
@pytest.mark.parametrize("num_classes", SIZES)
@pytest.mark.parametrize("low", [-20.0, -1e4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_saturated_and_half_precision_logits_have_finite_exact_values(
    name: str, options: dict[str, float], num_classes: int, low: float, dtype: torch.dtype
) -> None:
    logits = torch.zeros(4, num_classes, dtype=dtype)
    logits[0, 0], logits[1, 0], logits[2], logits[3, 1] = low, -low, low, -low
    logits.requires_grad_()
    target = torch.zeros(4, dtype=torch.int64)
    value, grad = value_and_grad(called(name, options), logits, target)
    assert grad.dtype == dtype
    assert grad.isfinite().all()
    rows = logits.detach().double().numpy()
    values, slopes = zip(*(TWINS[name](row, 0, **options) for row in rows), strict=True)
    assert value == pytest.approx(np.mean(values), rel=1e-5)
    rough = 2e-3 if dtype == torch.float16 else 2e-5  # of the largest slope; the gradient has the logits' dtype
    assert grad.double().numpy() == pytest.approx(np.array(slopes) / 4, abs=rough * max(1, np.abs(slopes).max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
@every_case
def test_losses_compute_in_at_least_float32(name: str, options: dict[str, float], dtype: torch.dtype) -> None:
    logits, target = drawn(6, 5)
    logits = logits.detach().to(dtype)
    wider = torch.float64 if dtype == torch.float64 else torch.float32
    value = called(name, options)(logits, target)
    assert value.dtype == wider
    assert torch.equal(value, called(name, options)(logits.to(wider), target))


@pytest.mark.parametrize(("name", "options", "margin"), [("sparsemax", {}, 1), ("entmax", {}, 2), ("rankmax", {}, 1)])
def test_the_loss_is_zero_beyond_the_margin_alone(name: str, options: dict[str, float], margin: float) -> None:
    logits = torch.tensor([[0.0, -0.3, -2.0]], dtype=torch.float64)
    for gap, is_zero in ((margin, True), (margin + 5.0, True), (margin - 1e-3, False)):
        logits[0, 0] = -0.3 + gap
        value, grad = value_and_grad(called(name, options), logits.clone().requires_grad_(), torch.tensor([0]))
        assert (value <= 1e-15) == is_zero
        assert bool((grad.abs() <= 1e-15).all()) == is_zero


def test_classes_outside_the_support_get_no_gradient() -> None:
    logits = torch.tensor([[0.2, 0.0, -3.0]], requires_grad=True)
    _, grad = value_and_grad(losses.sparsemax, logits, torch.tensor([1]))
    assert grad.tolist()[0] == pytest.approx([0.6, -0.6, 0.0])
    assert grad[0, 2] == 0


@pytest.mark.parametrize("a", [0.3, 2.0])
def test_rg2_is_the_published_form_but_for_a_constant(a: float) -> None:
    for seed in range(3):
        logits, target = drawn(1, 6, seed=seed)
        z, y = logits.detach().numpy()[0], int(target)
        published = ((z + 1) ** 2).sum() / 24 + a / 2 * (z[y] - 1 - 1 / (2 * a)) ** 2
        origin = 1 / 4 + a / 2 * (1 + 1 / (2 * a)) ** 2  # both differences are to the value at z = 0
        ours = losses.rg2(logits, target, a=a) - losses.rg2(0 * logits, target, a=a)
        assert ours.item() == pytest.approx(published - origin, rel=1e-10)


def test_twice_rg2_is_the_expansion_of_cross_entropy_without_the_product_term() -> None:
    logits, target = drawn(5, 6, scale=1e-3)
    origin = torch.zeros_like(logits)
    change = 2 * (losses.rg2(logits, target) - losses.rg2(origin, target)).item()
    exact = torch.nn.functional.cross_entropy
    product = logits.mean(dim=1).square().mean().item() / 2
    assert change == pytest.approx((exact(logits, target) - math.log(6)).item() + product, abs=1e-9)


def minimiser(loss: Callable[..., Tensor], posterior: Tensor) -> Tensor:
    """Logits that minimise the mean loss over classes drawn from the posterior, [K]."""
    logits = torch.zeros(len(posterior), dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, **SEARCH)

    def closure() -> Tensor:
        search.zero_grad()
        weights = len(posterior) * posterior
        value = loss(logits.expand(len(posterior), -1), torch.arange(len(posterior)), class_weights=weights)
        value.backward()
        return value

    search.step(closure)
    return logits.detach()


SEARCH: dict[str, Any] = {"line_search_fn": "strong_wolfe", "history_size": 20}
POSTERIOR = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)  # no class has a majority
MAPS: dict[str, Callable[..., Tensor]] = {
    "sparsemax": losses.sparsemax_probabilities,
    "entmax": losses.entmax_probabilities,
    "squared": lambda z, k=1.0, m=1.0: z / (k * m - (k - 1) * z),
    "taylor_softmax": lambda z: (1 + z + z**2 / 2) / (1 + z + z**2 / 2).sum(),
    "rg2": lambda z, a=0.0: (1 + z) / (z.shape[-1] * (1 + 2 * a * (1 - z))),
}


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] in MAPS], ids=named)
def test_the_documented_map_turns_the_population_minimiser_into_the_posterior(
    name: str, options: dict[str, float]
) -> None:
    best = minimiser(called(name, options), POSTERIOR)
    found = MAPS[name](best[None], **options)[0]
    assert torch.allclose(found, POSTERIOR, rtol=0, atol=1e-5)


def test_rankmax_values_are_the_projection_of_the_scaled_logits() -> None:
    logits, _ = drawn(1, 6)
    for y in range(6):
        terms = (logits - logits[0, y] + 1).relu()
        scaled = losses.sparsemax_probabilities(logits / terms.sum())[0]
        assert torch.allclose(scaled, terms[0] / terms.sum(), rtol=0, atol=1e-12)
        assert losses.rankmax(logits, torch.tensor([y])).item() == pytest.approx(-math.log(scaled[y].item()))


REFUSED: list[tuple[str, str, list[float], str]] = [
    ("entmax", "alpha", [1.0, 0.5, 2.1, math.nan], r"in \(1, 2\]"),
    ("squared", "k", [0.0, -1.0, math.inf, math.nan], "> 0 and finite"),
    ("squared", "m", [0.0, -1.0, math.inf, math.nan], "> 0 and finite"),
    ("rg2", "a", [-0.1, math.inf, math.nan], ">= 0 and finite"),
]


@pytest.mark.parametrize(("name", "key", "values", "rule"), REFUSED, ids=[f"{case[0]}.{case[1]}" for case in REFUSED])
def test_options_out_of_range_are_refused_in_one_sentence(name: str, key: str, values: list[float], rule: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"^loss.{key} must be {rule}, got {value}$"):
            LOSSES[name].options(**{key: value})
        with pytest.raises(ValueError, match=f"^{key} must be {rule}, got {value}$"):
            called(name, {key: value})(torch.zeros(2, 3), torch.tensor([0, 1]))


@every_case
def test_the_registered_options_reach_the_function(name: str, options: dict[str, float]) -> None:
    logits, target = drawn(6, 4)
    counts = torch.tensor([40, 10, 30, 20])
    config: LossConfig = LOSSES[name].options(**options, scale=2.5)
    expected = called(name, options)(logits, target).item()
    assert build_loss(config, counts)(logits, target).item() == pytest.approx(2.5 * expected, rel=1e-12)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    weighted = replace(config, class_weights=ClassWeights.inverse).build(TrainingClasses(4, counts, weights))
    assert weighted(logits, target).item() == called(name, options)(logits, target, class_weights=weights).item()


@pytest.mark.parametrize("name", TWINS)
def test_an_epoch_of_training_ends_with_finite_numbers(name: str, tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", output_dir=str(tmp_path), num_threads=1, tensorboard=False)
    schedule = Schedule(epochs=1, batch_size=32, lr=0.05)
    config = Config(Digits(num_train=320), Cnn2c(), LOSSES[name].options(), schedule, 0, runtime)
    record = fit(config, open_run(config))
    assert math.isfinite(record["test_loss"])
    assert record["test_loss"] < called(name, {})(torch.zeros(10, 10), torch.arange(10)).item()


SATURATED = {  # derivative in z_y at z_y = -20, nine other logits at 0
    "sparsemax": -1.0,
    "entmax": -1.0,
    "squared": 2 * -21 / 10,
    "taylor_softmax": 19 / 181 * 9 / 190,  # of the wrong sign
    "rg2": -19 / 20 - 1 / 2,
    "rankmax": -9 / 190,
}


@pytest.mark.parametrize("name", SATURATED)
def test_slope_of_a_badly_wrong_sample(name: str) -> None:
    logits = torch.zeros(1, 10, dtype=torch.float64)
    logits[0, 4] = -20
    _, grad = value_and_grad(called(name, {}), logits.requires_grad_(), torch.tensor([4]))
    assert grad[0, 4].item() == pytest.approx(SATURATED[name], rel=1e-12)


CURVATURE: dict[str, Callable[..., float]] = {  # the largest that a convex loss has anywhere
    "sparsemax": lambda num: 1.0,
    "entmax": lambda num, alpha=1.5: 2 ** (alpha - 2),
    "squared": lambda num, k=1.0, m=1.0: 2 * max(k, 1) / num,
    "rg2": lambda num, a=0.0: 1 / (2 * num) + a,
}


@every_case
@pytest.mark.parametrize("num_classes", [2, 5])
def test_curvature_is_that_of_a_convex_loss_or_somewhere_negative(
    name: str, options: dict[str, float], num_classes: int
) -> None:
    eigenvalues = []
    for seed in range(40):
        logits, target = drawn(1, num_classes, scale=1.0, seed=seed)
        loss = called(name, options)
        hessian = torch.autograd.functional.hessian(lambda z: loss(z[None], target), logits[0])  # noqa: B023
        assert torch.allclose(hessian, hessian.T, rtol=0, atol=1e-10)
        eigenvalues.append(torch.linalg.eigvalsh(hessian))
    lowest, highest = torch.cat(eigenvalues).aminmax()
    if name in CURVATURE:
        bound = CURVATURE[name](num_classes, **options)
        assert lowest > -1e-10
        assert 0.7 * bound < highest <= bound + 1e-10
    else:
        assert lowest < -0.02
