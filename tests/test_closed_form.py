"""Losses in closed form beside autograd, the algebra of the answers, and what the page says of them."""

import math
import pickle
import re

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit

from lossbench.config.options import TrainingClasses
from lossbench.config.registry import LABELS, LOSSES
from lossbench.report.blocks import Items, Paragraph, Picture, Table
from lossbench.studies.why_log import algebra, closed_form, plan
from lossbench.studies.why_log.curves import (
    OF_LOGITS,
    OF_P,
    concave_below,
    curve,
    logit,
    lowest_curvature,
    probability,
    time_to_rise,
)

NAMES = (*OF_P, *OF_LOGITS)
GRID = np.linspace(-12, 12, 49) + 0.003  # not where sparsemax has its kinks


def by_autograd(name: str, z: float, num_classes: int) -> tuple[float, float, float]:
    """Value and two derivatives in z_y of the registered loss, the true class being the second."""
    loss = LOSSES[name].options().build(TrainingClasses(num_classes, torch.full((num_classes,), 100)))
    own = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([own if k == 1 else torch.zeros((), dtype=torch.float64) for k in range(num_classes)])
    value = loss(logits[None], torch.tensor([1]))
    (slope,) = torch.autograd.grad(value, own, create_graph=True)
    if not slope.requires_grad:
        return value.item(), slope.item(), 0.0
    (curvature,) = torch.autograd.grad(slope, own, allow_unused=True)
    return value.item(), slope.item(), 0.0 if curvature is None else curvature.item()


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("name", NAMES)
def test_the_closed_forms_are_the_registered_losses(name: str, num_classes: int) -> None:
    found = curve(name, GRID, num_classes)
    right = np.array([by_autograd(name, float(z), num_classes) for z in GRID])
    assert found.value == pytest.approx(right[:, 0], rel=1e-9, abs=1e-13)
    assert found.slope == pytest.approx(right[:, 1], rel=1e-7, abs=1e-13)
    assert found.curvature == pytest.approx(right[:, 2], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("num_classes", [2, 10])
def test_probability_and_logit_are_inverse(num_classes: int) -> None:
    p = np.array([1e-6, 0.01, 0.5, 0.999])
    z = logit(p, num_classes)
    assert probability(z, num_classes) == pytest.approx(p, rel=1e-12)
    direct = [math.exp(one) / (math.exp(one) + num_classes - 1) for one in z]
    assert direct == pytest.approx(p, rel=1e-12)


def test_every_loss_but_lgl_inr_is_there() -> None:
    assert {*NAMES, "lgl_inr"} == {loss.name for loss in plan.LOSSES}


def test_slopes_at_small_probabilities() -> None:
    p = np.array([1e-6, 0.01, 0.5])
    for num_classes in (2, 10):
        slopes = {name: np.abs(curve(name, logit(p, num_classes), num_classes).slope) for name in OF_P}
        assert slopes["sml"] == pytest.approx([1 - 1e-6, 0.99, 0.5])
        assert slopes["one_minus_p_squared"] / slopes["sml"] == pytest.approx(2 * p * (1 - p))
        assert slopes["mae"] == pytest.approx([2e-6 * (1 - 1e-6), 0.0198, 0.5])
        assert slopes["gce"] == pytest.approx(p**0.7 * (1 - p))
        factor = num_classes / (num_classes - 1)
        assert slopes["brier"] == pytest.approx(factor * slopes["one_minus_p_squared"])


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("name", OF_P)
def test_a_loss_is_concave_exactly_below_the_stated_probability(name: str, num_classes: int) -> None:
    below = concave_below(name, num_classes)
    p = np.geomspace(1e-5, 0.9, 2_000)
    negative = curve(name, logit(p, num_classes), num_classes).curvature < 0
    if below is None:
        assert name == "sml"
        assert not negative.any()
    else:
        assert (negative == (p < below)).all()


def test_lowest_curvatures() -> None:
    s = np.linspace(0.0, 1.0, 1_000_001)
    square = (-2 * s * (1 - s) ** 2 * (1 - 3 * s)).min()
    assert lowest_curvature("one_minus_p_squared", 2) == pytest.approx(square, abs=1e-7)
    assert lowest_curvature("brier", 2) == pytest.approx(2 * square, abs=1e-7)
    assert lowest_curvature("squared", 10) == pytest.approx(0.2)
    assert 0 <= lowest_curvature("sml", 10) < 1e-12


def test_the_time_to_rise_is_the_integral() -> None:
    """With dz = dp / (p (1 - p)): SML, dp / (p (1 - p)²); (1 - p)², dp / (2 p² (1 - p)³)."""
    sml = quad(lambda p: 1 / (p * (1 - p) ** 2), 1e-3, 0.5)[0]
    square = quad(lambda p: 1 / (2 * p**2 * (1 - p) ** 3), 1e-3, 0.5, limit=200)[0]
    assert time_to_rise("sml", 1e-3, 0.5) == pytest.approx(sml, rel=1e-6)
    assert time_to_rise("one_minus_p_squared", 1e-3, 0.5) == pytest.approx(square, rel=1e-6)
    start = math.log(1e-6 / (1 - 1e-6))
    assert time_to_rise("sml", 1e-6, 0.5) == pytest.approx(-start + 1 - math.exp(start), rel=1e-6)


def test_the_gradient_of_brier_need_not_vanish() -> None:
    logits = torch.tensor([[-60.0, math.log(0.7), math.log(0.3)]], dtype=torch.float64, requires_grad=True)
    loss = LOSSES["brier"].options().build(TrainingClasses(3, torch.full((3,), 100)))
    (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([0])), logits)
    assert closed_form.brier_norm((0.0, 0.7, 0.3)) == pytest.approx(float(gradient.norm()), rel=1e-9)
    assert abs(float(gradient[0, 0])) < 1e-20


def test_the_printed_formula_is_another_function() -> None:
    t = np.array([5.0, -5.0])
    assert algebra.right_square(t) == pytest.approx([(1 - 1 / (1 + math.exp(-one))) ** 2 for one in t], rel=1e-9)
    printed = [(math.exp(one) / (1 + math.exp(-one))) ** 2 for one in t]
    assert algebra.printed_square(t) == pytest.approx(printed, rel=1e-12)
    assert printed[0] > 20_000
    assert printed[1] < 1e-8


def test_the_printed_formula_is_convex() -> None:
    t, h = np.linspace(-6, 6, 49), 1e-3
    differences = (algebra.printed_square(t + h) - 2 * algebra.printed_square(t) + algebra.printed_square(t - h)) / h**2
    assert algebra.printed_curvature(t) == pytest.approx(differences, rel=1e-4)
    assert (algebra.printed_curvature(t) > 0).all()


def test_three_points_give_the_square_two_local_minima() -> None:
    found = algebra.local_minima(algebra.mean_square)
    assert len(found) == 2
    for one in found:
        s = [expit((2 * y - 1) * x * one.theta) for x, y in algebra.POINTS]
        slopes = [-2 * q * (1 - q) ** 2 * (2 * y - 1) * x / 3 for q, (x, y) in zip(s, algebra.POINTS, strict=True)]
        assert sum(slopes) == pytest.approx(0, abs=1e-6)
        near = np.array([one.theta - 1e-3, one.theta + 1e-3])
        assert (algebra.mean_square(near) > one.value).all()
        assert one.value == pytest.approx(np.mean([(1 - q) ** 2 for q in s]))
    left, right = found
    assert left.value > right.value + 0.2
    between = algebra.mean_square(np.linspace(left.theta, right.theta, 1_000)).max()
    assert between > left.value + 0.02
    wide = np.linspace(-200, 200, 400_001)
    slope = np.diff(algebra.mean_square(wide))
    assert ((slope[:-1] < 0) & (slope[1:] > 0)).sum() == 2, "none outside the interval"


def test_cross_entropy_has_one_minimum_on_them() -> None:
    (one,) = algebra.local_minima(algebra.mean_cross_entropy)
    slopes = [-(2 * y - 1) * x * expit(-(2 * y - 1) * x * one.theta) for x, y in algebra.POINTS]
    assert sum(slopes) == pytest.approx(0, abs=1e-5)
    theta = np.linspace(-1, 1, 2_001)
    assert (np.diff(algebra.mean_cross_entropy(theta), 2) > 0).all()


def test_the_page_says_the_numbers() -> None:
    blocks = closed_form.closed_form_blocks()
    (first,) = [block for block in blocks if isinstance(block, Paragraph)]
    assert "-1 and -2e-6" in first.text
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert list(table.frame.index) == [LABELS[name] for name in OF_P]
    assert list(table.frame["p = 0.01"]) == ["0.99", "0.0196", "0.0218", "0.0303", "0.0394", "0.0198"]
    assert table.frame.loc["SML", "Concave for p below"] == "nowhere"
    assert table.frame.loc["SML", "Lowest curvature"] == "0"
    assert table.frame.loc["MAE", "Concave for p below"] == "0.500"
    (items,) = [block for block in blocks if isinstance(block, Items)]
    assert "2e-6 at p = 1e-6, 0.0198 at p = 0.01, 0.5 at p = 0.5" in items.texts[0]
    ratio = time_to_rise("one_minus_p_squared", 1e-6, 0.5) / time_to_rise("sml", 1e-6, 0.5)
    told = re.search(r"([\d,]+) times as long", items.texts[1])
    assert told is not None
    assert float(told[1].replace(",", "")) == pytest.approx(ratio, rel=5e-3)


def test_the_pictures_have_their_numbers() -> None:
    pictures = [block for block in closed_form.closed_form_blocks() if isinstance(block, Picture)]
    assert [picture.name for picture in pictures] == ["why_log_curves_p", "why_log_curves_z"]
    over_p, over_z = pictures
    assert over_p.data is not None
    assert over_z.data is not None
    assert set(over_p.data["loss"]) == {LABELS[name] for name in OF_P}
    assert set(over_z.data["loss"]) == {LABELS[name] for name in NAMES}
    assert over_p.data["p"].min() == pytest.approx(1e-6, rel=1e-4)
    assert over_p.data["p"].max() == pytest.approx(0.999, rel=1e-4)
    line = over_z.data[(over_z.data["loss"] == "SML") & (over_z.data["z"] == 0)].iloc[0]
    assert line["value"] == pytest.approx(math.log(10), rel=1e-5)
    assert line["slope"] == pytest.approx(-0.9)
    assert "SML: value 13.8" in over_p.alt
    for picture in pictures:
        pickle.dumps(picture.drawing.arguments)
        figure = picture.drawing.function(*picture.drawing.arguments)
        titles = [axes.get_ylabel() for axes in figure.axes]
        assert titles == ["value of the loss L", "size of the slope, |dL/dz|", "curvature, d²L/dz²"]
        steep = {line.get_color(): line for line in figure.axes[1].lines if line.get_linewidth() > 2}
        assert len(steep) == 2, "the two of the question"


def test_what_was_said_and_what_is_right() -> None:
    (table,) = closed_form.algebra_blocks()
    assert isinstance(table, Table)
    right = dict(zip(table.frame.index, table.frame["What is right"], strict=True))
    assert len(right) == 7
    said = iter(right.values())
    assert "4.48e-5 and 0.987; of the printed formula: 21,700 and 2.03e-9" in next(said)
    assert "s < 1/3. The lowest is -0.12." in next(said)
    minima = next(said)
    assert "2 local minima, at θ = -0.296 (mean loss 0.454) and θ = 0.025 (mean loss 0.177)" in minima
    assert "cross-entropy has 1, at 0.038" in minima
    assert "1.050 and 0." in next(said)
