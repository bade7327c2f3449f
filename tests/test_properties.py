"""What each loss states of itself is what computation finds."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor

from lossbench import losses
from lossbench.config.properties import BOUNDS, FLAGS, Properties
from lossbench.config.registry import LOSSES
from lossbench.losses.build import build_loss
from lossbench.properties import shape
from lossbench.properties.estimate import Estimate, estimate
from lossbench.properties.facts import METHODS, link_of, stated

Floats = NDArray[np.float64]

OTHERWISE_TESTED = {("ldam", "top1_consistent"), ("ldam", "order_preserving")}
"""Where a counterexample is too close to a tie to be drawn: tests/test_properties_worlds.py has it."""

SHARPEST = {"rankmax": 0.75}
"""Share of a stated bound that must be reached, where its supremum is hard to come near."""

OF_LOGITS = [name for name, facts in LOSSES.items() if facts.options.needs == "logits"]
every_loss = pytest.mark.parametrize("name", OF_LOGITS)


def counts_of(num_classes: int) -> Tensor:
    """Sizes of classes, from 1,000 down to 10."""
    return torch.logspace(3, 1, num_classes).round().long()


def map_of(name: str | None, loss: str, num_classes: int) -> Callable[[Floats], Floats] | None:
    """A map from logits to probabilities by its name; None: there is none."""
    options, counts = LOSSES[loss].options(), counts_of(num_classes).double().numpy()
    maps: dict[str | None, Callable[[Floats], Floats] | None] = {
        None: None,
        "softmax": lambda z: softmax(z, axis=1),
        "sigmoid": expit,
        "shifted": lambda z: expit(z - np.log(num_classes - 1)),
        "own": lambda z: options.probabilities(z, counts),  # type: ignore[dict-item, return-value]
    }
    return maps[name]


@cache
def found_by(name: str, num_classes: int) -> Estimate:
    properties = properties_of(name)
    loss = build_loss(LOSSES[name].options(), counts_of(num_classes))
    read = LOSSES[name].options().as_read
    return estimate(loss, num_classes, 0, map_of(properties.map, name, num_classes), read)


def properties_of(name: str) -> Properties:
    properties = LOSSES[name].properties
    assert properties is not None, f"{name} states no properties"
    return properties


def assert_as_stated(name: str, num_classes: int) -> None:
    stated_, found = properties_of(name), found_by(name, num_classes)
    for flag in (*FLAGS, "symmetric", "batch_dependent"):
        if (name, flag) not in OTHERWISE_TESTED:
            finding = getattr(found, flag)
            assert finding.value == getattr(stated_, flag), f"{flag}: {finding.evidence}"
            assert type(finding.value) is type(getattr(stated_, flag))
    for bound in BOUNDS:
        known, finding = stated_.bound(bound, num_classes), getattr(found, bound)
        if known is None:
            assert finding.value is None, bound
        else:
            assert SHARPEST.get(name, 0.93) * known <= finding.value <= known * (1 + 1e-6), bound
    assert found.margin.value == (None if stated_.margin is None else pytest.approx(stated_.margin, abs=1e-6))


@every_loss
def test_properties_are_as_stated(name: str) -> None:
    assert_as_stated(name, 4)


@pytest.mark.long
@pytest.mark.parametrize("num_classes", [3, 5])
@pytest.mark.parametrize("name", [name for name in OF_LOGITS if name != "one_minus_p_squared"])
def test_properties_are_as_stated_for_other_numbers_of_classes(name: str, num_classes: int) -> None:
    assert_as_stated(name, num_classes)


@pytest.mark.long
@pytest.mark.parametrize("num_classes", [2, 10])
@pytest.mark.parametrize("name", [name for name in OF_LOGITS if name != "lgl_inr"])
def test_bounds_are_as_stated_for_two_and_ten_classes(name: str, num_classes: int) -> None:
    loss, random = build_loss(LOSSES[name].options(), counts_of(num_classes)), np.random.default_rng(0)
    norm, _ = shape.gradient_norms(loss, num_classes, "mean", random)
    bound = properties_of(name).bound("gradient_bound", num_classes)
    assert norm == float("inf") if bound is None else norm <= bound * (1 + 1e-6)
    bound = properties_of(name).bound("smoothness", num_classes)
    if bound is not None:
        found = shape.curvature(loss, num_classes, "mean", random)
        assert found.most <= bound * (1 + 1e-6)
        assert properties_of(name).convex is not True or found.least > -1e-6 * max(1, bound)


@every_loss
def test_zeros_of_the_map_are_as_stated(name: str) -> None:
    own = map_of(link_of(LOSSES[name]), name, 4)
    z = 3 * np.random.default_rng(0).standard_normal((400, 4))
    assert bool(own is not None and (own(z) == 0).any()) == properties_of(name).sparse


@every_loss
def test_a_link_stands_where_the_posterior_is_recoverable(name: str) -> None:
    recoverable = properties_of(name).recoverable
    assert recoverable is None or recoverable == (link_of(LOSSES[name]) is not None)


@every_loss
def test_each_property_says_how_it_is_established(name: str) -> None:
    properties, line = properties_of(name), stated(LOSSES[name])
    left_out = {"smoothness", "gradient_bound", "margin", "symmetric", "recoverable"}
    assert METHODS.keys() - line["established"].keys() == (left_out if properties.batch_dependent else set())
    assert all(text.startswith(("tested: ", "cited: ")) for text in line["established"].values())


def one(logits: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy with the wrong sign of the target's logit."""
    return (logits.logsumexp(dim=1) + logits.gather(1, target[:, None])[:, 0]).mean()


def test_a_loss_that_rewards_errors_is_found_out() -> None:
    found = estimate(one, 3, 1, lambda z: softmax(z, axis=1))
    assert not found.top1_consistent.value
    assert not found.strictly_proper.value
    assert "posterior" in found.top1_consistent.evidence


def test_a_sum_over_the_batch_is_no_dependence_on_the_batch() -> None:
    def summed(logits: Tensor, target: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits, target, reduction="sum")

    found = estimate(summed, 3, 0, lambda z: softmax(z, axis=1))
    assert found.batch_dependent.value is False
    assert found.smoothness.value == pytest.approx(0.5, abs=1e-3)
    assert (found.strictly_proper.value, found.recoverable.value) == (True, True)


def test_a_wrong_second_derivative_changes_nothing() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(context: object, logits: Tensor, target: Tensor) -> Tensor:
            p = logits.softmax(dim=1)
            e = torch.nn.functional.one_hot(target, logits.shape[1])
            context.slope = (p - e) / len(target)  # type: ignore[attr-defined]
            return (logits.logsumexp(dim=1) - (logits * e).sum(dim=1)).mean()

        @staticmethod
        def backward(context: object, by: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
            return by * context.slope, None  # type: ignore[attr-defined]

    found = estimate(Square.apply, 3, 0)  # type: ignore[arg-type]
    assert found.convex.value is True
    assert found.smoothness.value == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
@pytest.mark.parametrize("name", ["sml", "crammer_singer", "mae"])
def test_a_factor_changes_only_the_bounds(name: str, factor: float) -> None:
    plain = build_loss(LOSSES[name].options(), counts_of(3))
    scaled = estimate(lambda z, y: factor * plain(z, y), 3, 0, map_of(properties_of(name).map, name, 3))
    for flag in (*FLAGS, "symmetric", "margin"):
        assert getattr(scaled, flag).value == getattr(found_by(name, 3), flag).value, flag
    bound = properties_of(name).bound("gradient_bound", 3)
    assert scaled.gradient_bound.value == pytest.approx(factor * (bound or 0), rel=0.05)
    assert (scaled.smoothness.value is None) == (name == "crammer_singer")


def test_a_convex_loss_with_kinks_and_curvature() -> None:
    def both(logits: Tensor, target: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(logits, target) + 0.1 * losses.crammer_singer(logits, target)

    found = estimate(both, 3, 0, lambda z: softmax(z, axis=1))
    assert (found.convex.value, found.smoothness.value, found.margin.value) == (True, None, None)
    assert (found.strictly_proper.value, found.batch_dependent.value) == (False, False)


def test_a_loss_in_half_the_precision_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^the loss returns float32 for logits in float64; it must be computed in the "
    ):
        estimate(lambda z, y: torch.nn.functional.cross_entropy(z.float(), y), 3)


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the loss is not finite at logits drawn"):
        estimate(lambda z, y: z.log().mean(), 3)


def test_the_same_seed_finds_the_same() -> None:
    loss = build_loss(LOSSES["brier"].options(), counts_of(3))
    first, second = (estimate(loss, 3, 5, lambda z: softmax(z, axis=1)) for _ in range(2))
    assert first == second
    assert "eigenvalue" in first.convex.evidence
