"""Margin, re-weighted and adjusted losses against their definitions, their gradients, libraries, and extreme inputs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

import lossbench.losses as losses
from lossbench.config.options import ClassWeights, TrainingClasses
from lossbench.config.registry import LOSSES
from lossbench.losses.lgl import lgl

Row = NDArray[np.float64]
Definition = Callable[..., float]
Gradient = Callable[..., Row]


def softmax(z: Row) -> Row:
    p = np.exp(z - z.max())
    return p / p.sum()


def sigmoid(z: Row) -> Row:
    return 1 / (1 + np.exp(-z))


def unit(z: Row, y: int) -> Row:
    return (np.arange(len(z)) == y).astype(np.float64)


def strongest_other(z: Row, y: int) -> int:
    return max((j for j in range(len(z)) if j != y), key=lambda j: z[j])


def crammer_singer(z: Row, y: int) -> float:
    return max(0.0, 1 + max(z[j] for j in range(len(z)) if j != y) - z[y])


def crammer_singer_gradient(z: Row, y: int) -> Row:
    return (crammer_singer(z, y) > 0) * (unit(z, strongest_other(z, y)) - unit(z, y))


def weston_watkins(z: Row, y: int, power: int = 1) -> float:
    return sum(max(0.0, 1 + z[j] - z[y]) ** power for j in range(len(z)) if j != y)


def weston_watkins_gradient(z: Row, y: int) -> Row:
    active = (1 + z - z[y] > 0) & (np.arange(len(z)) != y)
    return active - active.sum() * unit(z, y)


def weston_watkins_squared(z: Row, y: int) -> float:
    return weston_watkins(z, y, power=2)


def weston_watkins_squared_gradient(z: Row, y: int) -> Row:
    slopes = 2 * np.maximum(0, 1 + z - z[y]) * (1 - unit(z, y))
    return slopes - slopes.sum() * unit(z, y)


def logit_adjusted(z: Row, y: int, class_counts: Row, tau: float = 1.0) -> float:
    weights = [(n / sum(class_counts)) ** tau * math.exp(score) for n, score in zip(class_counts, z, strict=True)]
    return -math.log(weights[y] / sum(weights))


def logit_adjusted_gradient(z: Row, y: int, class_counts: Row, tau: float = 1.0) -> Row:
    return softmax(z + tau * np.log(class_counts)) - unit(z, y)


def ldam(z: Row, y: int, class_counts: Row, max_margin: float = 0.5, scale: float = 30.0) -> float:
    constant = max_margin / max(n**-0.25 for n in class_counts)
    own = scale * (z[y] - constant * class_counts[y] ** -0.25)
    others = [scale * z[j] for j in range(len(z)) if j != y]
    top = max(own, *others)
    return top + math.log(math.exp(own - top) + sum(math.exp(score - top) for score in others)) - own


def ldam_gradient(z: Row, y: int, class_counts: Row, max_margin: float = 0.5, scale: float = 30.0) -> Row:
    margin = max_margin * (class_counts.min() / class_counts[y]) ** 0.25
    return scale * (softmax(scale * (z - margin * unit(z, y))) - unit(z, y))


def focal(z: Row, y: int, gamma: float = 2.0) -> float:
    q = softmax(z)[y]
    return -((1 - q) ** gamma) * math.log(q)


def focal_gradient(z: Row, y: int, gamma: float = 2.0) -> Row:
    p = softmax(z)
    q = p[y]
    return ((1 - q) ** gamma - gamma * (1 - q) ** (gamma - 1) * q * math.log(q)) * (p - unit(z, y))


def asymmetric(z: Row, y: int, gamma_pos: float = 0.0, gamma_neg: float = 4.0, clip: float = 0.05) -> float:
    total = 0.0
    for k, s in enumerate(sigmoid(z)):
        m = max(0.0, s - clip)
        total -= (1 - s) ** gamma_pos * math.log(s) if k == y else m**gamma_neg * math.log(1 - m)
    return total


def asymmetric_gradient(z: Row, y: int, gamma_pos: float = 0.0, gamma_neg: float = 4.0, clip: float = 0.05) -> Row:
    s = sigmoid(z)
    own = gamma_pos * s * (1 - s) ** gamma_pos * np.log(s) - (1 - s) ** (gamma_pos + 1)
    m = np.where(s > clip, s - clip, 0.5)
    other = (m**gamma_neg / (1 - m) - gamma_neg * m ** (gamma_neg - 1) * np.log(1 - m)) * s * (1 - s) * (s > clip)
    return np.where(np.arange(len(z)) == y, own, other)


TWINS: dict[str, tuple[Definition, Gradient]] = {
    "crammer_singer": (crammer_singer, crammer_singer_gradient),
    "weston_watkins": (weston_watkins, weston_watkins_gradient),
    "weston_watkins_squared": (weston_watkins_squared, weston_watkins_squared_gradient),
    "logit_adjusted": (logit_adjusted, logit_adjusted_gradient),
    "ldam": (ldam, ldam_gradient),
    "focal": (focal, focal_gradient),
    "asymmetric": (asymmetric, asymmetric_gradient),
}
CASES: list[tuple[str, dict[str, float]]] = [
    *((name, {}) for name in TWINS),
    ("logit_adjusted", {"tau": 0.0}),
    ("logit_adjusted", {"tau": 2.5}),
    ("ldam", {"max_margin": 0.0}),
    ("ldam", {"max_margin": 2.0, "scale": 1.0}),
    *(("focal", {"gamma": gamma}) for gamma in (0.0, 0.5, 1.0, 5.0)),
    ("asymmetric", {"gamma_neg": 0.0, "clip": 0.0}),
    ("asymmetric", {"gamma_neg": 0.0, "clip": 0.3}),
    ("asymmetric", {"gamma_pos": 0.5, "gamma_neg": 0.5, "clip": 0.2}),
    ("asymmetric", {"gamma_pos": 2.0, "gamma_neg": 1.0, "clip": 0.0}),
]
IDS = ["-".join([name, *(f"{key}={value}" for key, value in options.items())]) for name, options in CASES]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)


def counts_of(num_classes: int) -> Tensor:
    """Class sizes from 1 to 1000, in no order."""
    generator = torch.Generator().manual_seed(3)
    return torch.logspace(0, 3, num_classes).round().long()[torch.randperm(num_classes, generator=generator)]


def given(name: str, options: dict[str, float], num_classes: int) -> dict[str, Any]:
    needs_counts = name in ("logit_adjusted", "ldam")
    return options | ({"class_counts": counts_of(num_classes)} if needs_counts else {})


def of_batch(name: str, options: dict[str, float], num_classes: int) -> Callable[..., Tensor]:
    """The loss as a function of logits and target."""
    arguments = given(name, options, num_classes)
    return lambda logits, target, **more: getattr(losses, name)(logits, target, **arguments, **more)


def batch(num_classes: int, num: int = 8, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    logits = scale * torch.randn(num, num_classes, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), torch.randint(num_classes, (num,), generator=generator)


@every_case
@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000])
def test_value_and_gradient_equal_the_definition(name: str, options: dict[str, float], num_classes: int) -> None:
    logits, target = batch(num_classes)
    arguments = given(name, options, num_classes)
    if "class_counts" in arguments:
        arguments["class_counts"] = arguments["class_counts"].double().numpy()
    rows = list(zip(logits.detach().numpy(), target.tolist(), strict=True))
    value, slope = TWINS[name]
    loss = of_batch(name, options, num_classes)(logits, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(np.mean([value(z, y, **arguments) for z, y in rows]), rel=1e-11)
    (gradient,) = torch.autograd.grad(loss, logits)
    expected = np.array([slope(z, y, **arguments) for z, y in rows]) / len(rows)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-9, atol=1e-13)


@every_case
def test_first_and_second_derivatives_are_those_of_the_value(name: str, options: dict[str, float]) -> None:
    logits, target = batch(5)
    loss = of_batch(name, options, 5)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits)
    assert torch.autograd.gradgradcheck(lambda z: loss(z, target), logits, atol=1e-4)


def test_values_by_hand() -> None:
    z, y = torch.tensor([[1.0, 0.5, -3.0, 1.5]], dtype=torch.float64), torch.tensor([0])
    assert losses.crammer_singer(z, y).item() == 1.5  # 1 + 1.5 - 1
    assert losses.weston_watkins(z, y).item() == 2.0  # 0.5 + 0 + 1.5
    assert losses.weston_watkins_squared(z, y).item() == 2.5  # 0.25 + 2.25
    even, counts = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([1, 16, 81])
    for k, share in enumerate((1 / 98, 16 / 98, 81 / 98)):
        assert losses.logit_adjusted(even, torch.tensor([k]), class_counts=counts).item() == pytest.approx(
            -math.log(share)
        )
        margin = (0.6, 0.3, 0.2)[k]  # as 1, 1/2 and 1/3
        found = losses.ldam(even, torch.tensor([k]), class_counts=counts, max_margin=0.6, scale=10.0).item()
        assert found == pytest.approx(math.log(1 + 2 * math.exp(10 * margin)))
    assert losses.focal(even[:, :2], y).item() == pytest.approx(math.log(2) / 4)
    expected = math.log(2) - 2 * 0.45**4 * math.log(0.55)
    assert losses.asymmetric(even, y).item() == pytest.approx(expected)


def test_libraries_give_the_same() -> None:
    logits, target = batch(10)
    weights = torch.linspace(0.5, 2, 10, dtype=torch.float64)
    for p, loss in ((1, losses.weston_watkins), (2, losses.weston_watkins_squared)):
        library = 10 * F.multi_margin_loss(logits, target, p=p)
        torch.testing.assert_close(loss(logits, target), library, rtol=1e-12, atol=0)
        library = 10 * F.multi_margin_loss(logits, target, p=p, weight=weights)
        torch.testing.assert_close(loss(logits, target, class_weights=weights), library, rtol=1e-12, atol=0)
    entropy, counts = F.cross_entropy(logits, target), counts_of(10)
    for same in (
        losses.focal(logits, target, gamma=0.0),
        losses.logit_adjusted(logits, target, class_counts=counts, tau=0.0),
        losses.logit_adjusted(logits, target, class_counts=torch.full((10,), 7)),
        losses.ldam(logits, target, class_counts=counts, max_margin=0.0, scale=1.0),
    ):
        torch.testing.assert_close(same, entropy, rtol=1e-12, atol=0)
    two, y = batch(2)
    for gamma in (0.0, 0.5, 2.0, 5.0):
        library = sigmoid_focal_loss(two[:, 1] - two[:, 0], y.double(), alpha=-1, gamma=gamma, reduction="mean")
        torch.testing.assert_close(losses.focal(two, y, gamma=gamma), library, rtol=1e-11, atol=0)
        own = F.one_hot(target, 10).double()
        library = sigmoid_focal_loss(logits, own, alpha=-1, gamma=gamma, reduction="sum") / len(target)
        ours = losses.asymmetric(logits, target, gamma_pos=gamma, gamma_neg=gamma, clip=0.0)
        torch.testing.assert_close(ours, library, rtol=1e-11, atol=0)
    ours = losses.asymmetric(logits, target, gamma_neg=0.0, clip=0.0)
    torch.testing.assert_close(ours, lgl(logits, target, reduction="sum_classes"), rtol=1e-12, atol=0)


@every_case
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [20.0, 200.0, 1e4])
def test_extreme_logits_have_finite_values_and_gradients(
    name: str, options: dict[str, float], dtype: torch.dtype, size: float
) -> None:
    for num_classes in (2, 1000):
        loss = of_batch(name, options, num_classes)
        rows = torch.zeros(6, num_classes)
        rows[0, 0], rows[1, 0] = size, -size  # target 0 far ahead, and far behind
        rows[2], rows[3] = size, -size  # all alike
        rows[4, 1], rows[5, 1] = size, -size
        logits = rows.to(dtype).requires_grad_()
        value = loss(logits, torch.zeros(6, dtype=torch.int64))
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert value.isfinite()
        (gradient,) = torch.autograd.grad(value, logits)
        wide = logits.detach().double().requires_grad_()
        (exact,) = torch.autograd.grad(loss(wide, torch.zeros(6, dtype=torch.int64)), wide)
        assert gradient.dtype == dtype
        assert exact.isfinite().all()
        fits = exact.abs() < torch.finfo(dtype).max  # squares have gradients above 65504, which float16 lacks
        torch.testing.assert_close(gradient[fits].double(), exact[fits], rtol=2e-3, atol=1e-6)
        assert not gradient.isnan().any()


def test_values_at_saturation_are_exact() -> None:
    behind, ahead, y = torch.tensor([[-1e4, 0.0]]), torch.tensor([[1e4, 0.0]]), torch.tensor([0])
    counts = torch.tensor([1, 1])
    assert losses.crammer_singer(behind, y).item() == 10001
    assert losses.weston_watkins(behind, y).item() == 10001
    assert losses.weston_watkins_squared(behind, y).item() == pytest.approx(10001**2, rel=1e-6)
    assert losses.logit_adjusted(behind, y, class_counts=counts).item() == 1e4
    assert losses.ldam(behind, y, class_counts=counts).item() == 30 * (1e4 + 0.5)
    assert losses.focal(behind, y).item() == 1e4
    assert losses.asymmetric(behind, y, clip=0.0).item() == pytest.approx(1e4 + math.log(2) / 16)
    for name in TWINS:
        value = of_batch(name, {}, 2)(ahead, y).item()
        assert value == pytest.approx(-math.log(0.55) * 0.45**4 if name == "asymmetric" else 0.0, rel=1e-6)
    wrong = torch.tensor([[0.0, 1e4]])  # a certain other class costs -log(clip), without clip its logit
    assert losses.asymmetric(wrong, y).item() == pytest.approx(math.log(2) - 0.95**4 * math.log(0.05))
    assert losses.asymmetric(wrong, y, clip=0.0).item() == pytest.approx(math.log(2) + 1e4)


@pytest.mark.parametrize("name", [name for name in TWINS if name != "asymmetric"])
def test_a_hopeless_sample_keeps_its_gradient(name: str) -> None:
    logits = torch.tensor([[-20.0, 0.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(of_batch(name, {}, 3)(logits, torch.tensor([0])), logits)
    expected = {"weston_watkins": 2.0, "weston_watkins_squared": 84.0, "ldam": 30.0}.get(name, 1.0)
    assert gradient[0, 0].item() == pytest.approx(-expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_exact_where_the_probability_rounds_to_one(gamma: float) -> None:
    logits = torch.tensor([[30.0, 0.0]], requires_grad=True)
    value = losses.focal(logits, torch.tensor([0]), gamma=gamma)
    (gradient,) = torch.autograd.grad(value, logits)
    u = math.exp(-30)  # 1 - p_y and -log p_y, to 1e-13
    assert value.item() == pytest.approx(u ** (1 + gamma), rel=1e-4)
    assert gradient[0, 0].item() == pytest.approx(-(1 + gamma) * u ** (1 + gamma), rel=1e-4)


@every_case
def test_symmetries_and_means(name: str, options: dict[str, float]) -> None:
    logits, target = batch(6)
    logits = logits.detach()
    loss, arguments = of_batch(name, options, 6), given(name, options, 6)
    expected = loss(logits, target)
    shifted = loss(logits + 3.0, target)
    assert torch.allclose(shifted, expected, rtol=1e-11) == (name != "asymmetric")
    single = [loss(logits[row : row + 1], target[row : row + 1]) for row in range(len(target))]
    torch.testing.assert_close(torch.stack(single).mean(), expected)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    if "class_counts" in arguments:
        arguments["class_counts"] = arguments["class_counts"][order]
    renamed = getattr(losses, name)(logits[:, order], torch.argsort(order)[target], **arguments)
    torch.testing.assert_close(renamed, expected)
    weights = torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0, 1.5], dtype=torch.float64)
    weighted = torch.stack([weights[y] * value for y, value in zip(target.tolist(), single, strict=True)]).mean()
    torch.testing.assert_close(loss(logits, target, class_weights=weights), weighted)


def test_ties_share_the_gradient_of_crammer_singer() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    losses.crammer_singer(logits, torch.tensor([2])).backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([1 / 3, 1 / 3, -1, 1 / 3])


def test_a_class_without_samples_counts_as_having_one() -> None:
    logits, target = batch(3)
    for loss in (losses.logit_adjusted, losses.ldam):
        found, one = (loss(logits, target, class_counts=torch.tensor([n, 5, 9])) for n in (0, 1))
        assert found.item() == one.item()


def test_minimisers() -> None:
    """Gradient of the expected loss at the logits that theory names."""
    posterior, counts = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64), torch.tensor([10, 70, 20])

    def slope(logits: Tensor, loss: Callable[..., Tensor], **options: Any) -> Tensor:
        logits = logits.clone().requires_grad_()
        values = [loss(logits[None], torch.tensor([k]), **options) for k in range(3)]
        return torch.autograd.grad((posterior * torch.stack(values)).sum(), logits)[0]

    adjusted = posterior.log() - 1.5 * (counts / counts.sum()).log()
    assert slope(adjusted, losses.logit_adjusted, class_counts=counts, tau=1.5).abs().max() < 1e-7
    p = torch.tensor([0.25, 0.42, 0.33], dtype=torch.float64)
    phi = (1 - p) ** 2 - 2 * (1 - p) * p * p.log()
    posterior = (p / phi) / (p / phi).sum()
    assert slope(p.log(), losses.focal).abs().max() < 1e-12
    # without a majority all logits equal is a minimiser of Crammer-Singer: no direction goes down
    posterior = torch.tensor([0.3, 0.45, 0.25], dtype=torch.float64)
    even = sum(posterior[k] * losses.crammer_singer(torch.zeros(1, 3), torch.tensor([k])) for k in range(3))
    for direction in torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        moved = sum(posterior[k] * losses.crammer_singer(direction[None], torch.tensor([k])) for k in range(3))
        assert moved >= even - 1e-12


REFUSED = [
    ("logit_adjusted", {"tau": -1.0}, "tau must be >= 0 and finite, got -1.0"),
    ("logit_adjusted", {"tau": math.inf}, "tau must be >= 0 and finite, got inf"),
    ("ldam", {"max_margin": -0.5}, "max_margin must be >= 0 and finite, got -0.5"),
    ("ldam", {"scale": 0.0}, "scale must be > 0 and finite, got 0.0"),
    ("focal", {"gamma": -1.0}, "gamma must be >= 0 and finite, got -1.0"),
    ("focal", {"gamma": math.nan}, "gamma must be >= 0 and finite, got nan"),
    ("asymmetric", {"gamma_pos": -1.0}, "gamma_pos must be >= 0 and finite, got -1.0"),
    ("asymmetric", {"gamma_neg": math.inf}, "gamma_neg must be >= 0 and finite, got inf"),
    ("asymmetric", {"clip": 1.0}, r"clip must be in \[0, 1\), got 1.0"),
    ("asymmetric", {"clip": -0.1}, r"clip must be in \[0, 1\), got -0.1"),
]


@pytest.mark.parametrize(("name", "options", "sentence"), REFUSED)
def test_options_out_of_range_are_refused(name: str, options: dict[str, float], sentence: str) -> None:
    logits, target = batch(3)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        of_batch(name, options, 3)(logits, target)
    renamed = {"logit_scale" if key == "scale" else key: value for key, value in options.items()}
    expected = sentence.replace("scale must", "logit_scale must")
    with pytest.raises(ValueError, match=rf"^loss\.{expected}$"):
        LOSSES[name].options(**renamed)


@pytest.mark.parametrize("name", TWINS)
def test_the_options_of_a_run_reach_the_function(name: str) -> None:
    logits, target = batch(4)
    counts, weights = counts_of(4), torch.tensor([0.5, 2.0, 1.0, 1.5], dtype=torch.float64)
    changed = {
        "logit_adjusted": {"tau": 2.0},
        "ldam": {"max_margin": 0.8, "logit_scale": 3.0},
        "focal": {"gamma": 1.0},
        "asymmetric": {"gamma_pos": 1.0, "gamma_neg": 2.0, "clip": 0.1},
    }.get(name, {})
    built = LOSSES[name].options(class_weights=ClassWeights.inverse, **changed)
    found = built.build(TrainingClasses(4, counts, weights))(logits, target)
    arguments = {key.replace("logit_", ""): value for key, value in changed.items()}
    expected = of_batch(name, arguments, 4)(logits, target, class_weights=weights)
    assert found.item() == expected.item()
    plain = LOSSES[name].options().build(TrainingClasses(4, counts))(logits, target)
    assert plain.item() == of_batch(name, {}, 4)(logits, target).item()
