"""Notes on single losses: minimisers over whole worlds of inputs, near ties, other options, vanishing gradients."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, softmax

from lossbench import losses
from lossbench.config.registry import LOSSES
from lossbench.losses.build import build_loss
from lossbench.losses.lgl_inr import lgl_inr
from lossbench.properties import shape
from lossbench.properties.estimate import estimate
from lossbench.properties.minimisers import CuttingPlanes, Problem, minimise_world, posteriors, smooth

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NUM_INPUTS, NUM_CLASSES = 72, 10


def unequal_world() -> tuple[Ints, Floats]:
    """Samples of each of 72 inputs and ten classes of Zipf sizes, [72, 10], and the class-balanced posterior."""
    random = np.random.default_rng(0)
    shares = np.log(1 / np.arange(1, NUM_CLASSES + 1))
    eta = softmax(shares + 2 * random.standard_normal((NUM_INPUTS, NUM_CLASSES)), axis=1)
    counts = (1 + np.round(200 * eta)).astype(np.int64)
    balanced = counts / counts.sum(axis=0)
    return counts, balanced / balanced.sum(axis=1, keepdims=True)


def of_lgl_inr(beta: float) -> tuple[Floats, int, int]:
    """The population minimiser, and for how many inputs it has the first class and the order of balanced posteriors."""
    counts, balanced = unequal_world()
    start = np.log(balanced) - np.log(balanced).mean(axis=1, keepdims=True)
    z = minimise_world(lambda logits, target: lgl_inr(logits, target, beta=beta), counts, start)
    same = np.argsort(-z, axis=1, kind="stable") == np.argsort(-balanced, axis=1, kind="stable")
    return z, int(same[:, 0].sum()), int(same.all(axis=1).sum())


@pytest.mark.long
def test_lgl_inr_without_sharpness_gives_the_class_balanced_posterior() -> None:
    z, first, whole = of_lgl_inr(0.0)
    counts, balanced = unequal_world()
    np.testing.assert_allclose(expit(z - np.log(NUM_CLASSES - 1)), balanced, atol=1e-6)
    assert (first, whole) == (72, 72)
    assert (z.argmax(axis=1) == counts.argmax(axis=1)).sum() == 57  # it is not the most likely class that it aims at


@pytest.mark.parametrize(("beta", "first", "whole"), [(1.0, 69, 43), (4.0, 64, 19)])
def test_lgl_inr_with_sharpness_loses_the_order(beta: float, first: int, whole: int) -> None:
    _, found_first, found_whole = of_lgl_inr(beta)
    assert abs(found_first - first) <= 1
    assert abs(found_whole - whole) <= 2
    properties = LOSSES["lgl_inr"].properties
    assert properties is not None
    assert "for 43 inputs and its first class for 69; with beta 4 for 19 and 64" in " ".join(properties.notes)


def test_lgl_inr_is_convex_without_sharpness_alone() -> None:
    least = [
        shape.batch_curvature(lambda z, y, b=beta: lgl_inr(z, y, beta=b), 3, np.random.default_rng(0), 20)
        for beta in (0.0, 1.0, 4.0)
    ]
    assert least[0] > -1e-6
    assert least[1] < -1e-3
    assert least[2] < least[1]


def minimiser(loss: Callable[..., torch.Tensor], counts: Ints) -> Floats:
    points, reached = smooth(loss, [Problem(one) for one in counts], "mean", np.random.default_rng(0))
    found: Floats = points[reached.argmin(axis=0), np.arange(len(counts))]
    return found


@pytest.mark.parametrize(("scale", "ratio"), [(30.0, 1.05), (1.0, 1.19)])
def test_ldam_puts_two_classes_in_the_wrong_order_near_a_tie(scale: float, ratio: float) -> None:
    sizes = torch.tensor([6250, 10])  # margins 0.1 and 0.5
    counts = np.array([[500 + gap, 500 - gap] for gap in range(-50, 51, 2)])
    z = minimiser(lambda logits, target: losses.ldam(logits, target, class_counts=sizes, scale=scale), counts)
    wrong = (z[:, 0] > z[:, 1]) != (counts[:, 0] > counts[:, 1])
    ratios = (counts[wrong].max(axis=1) / counts[wrong].min(axis=1))[counts[wrong, 0] != 500]
    expected = (1 + np.exp(-0.1 * scale)) / (1 + np.exp(-0.5 * scale))
    assert expected == pytest.approx(ratio, abs=0.01)
    assert ratios.max() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", ["ldam", "logit_adjusted"])
def test_with_classes_of_equal_size_the_order_is_kept(name: str) -> None:
    found = estimate(build_loss(LOSSES[name].options(), torch.tensor([50, 50, 50])), 3)
    assert (found.top1_consistent.value, found.order_preserving.value) == (True, True)


def test_logit_adjusted_targets_the_class_balanced_error() -> None:
    sizes = np.array([900, 90, 10])
    counts = posteriors(3, 8, np.random.default_rng(0))
    z = minimiser(build_loss(LOSSES["logit_adjusted"].options(), torch.from_numpy(sizes)), counts)
    np.testing.assert_array_equal(z.argmax(axis=1), (counts / sizes).argmax(axis=1))
    assert (z.argmax(axis=1) != counts.argmax(axis=1)).any()


def minimiser_of_one_minus_p_squared(eta: Floats) -> Floats:
    """The closed form p_k = max(0, 1 - m / eta_k), for a posterior eta [K]."""
    for size in range(len(eta), 1, -1):
        active = np.sort(eta)[-size:]
        m = (size - 1) / (1 / active).sum()
        if m < active[0]:
            break
    found: Floats = np.maximum(0, 1 - m / eta)
    return found


def test_one_minus_p_squared_gives_most_of_ten_classes_probability_0() -> None:
    eta = np.random.default_rng(0).dirichlet(np.ones(10), size=2000)
    p = np.array([minimiser_of_one_minus_p_squared(one) for one in eta])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p == 0).mean() == pytest.approx(0.68, abs=0.01)
    counts = posteriors(4, 6, np.random.default_rng(1))
    z = minimiser(losses.one_minus_p_squared, counts)
    closed = [minimiser_of_one_minus_p_squared(one / one.sum()) for one in counts]
    np.testing.assert_allclose(softmax(z, axis=1), closed, atol=1e-4)


def test_one_minus_p_squared_of_two_classes_is_strictly_proper() -> None:
    found = estimate(losses.one_minus_p_squared, 2, 0, lambda z: softmax(z, axis=1))
    assert (found.strictly_proper.value, found.recoverable.value) == (True, True)


@pytest.mark.parametrize("name", ["crammer_singer", "weston_watkins"])
def test_hinges_are_right_where_a_class_has_the_majority(name: str) -> None:
    loss = getattr(losses, name)
    planes = CuttingPlanes(loss, 4, "mean")
    for counts in posteriors(4, 8, np.random.default_rng(3)):
        first = int(counts.argmax())
        _, least = planes.minimise(Problem(counts))
        gaps = [planes.minimise(Problem(counts, (first, k)))[1] - least for k in range(4) if k != first]
        if 2 * counts.max() > counts.sum():
            assert min(gaps) > 1e-3
        elif name == "crammer_singer":
            assert min(gaps) < 1e-9
            assert least == pytest.approx(1.0)


def test_poly1_is_convex_for_eps_up_to_1_alone() -> None:
    random = np.random.default_rng(0)
    least = {
        eps: shape.curvature(lambda z, y, e=eps: losses.poly1(z, y, eps=e), 3, "mean", random).least
        for eps in (-1.0, 1.0, 1.5, 3.0)
    }
    assert min(least[-1.0], least[1.0]) > -1e-6
    assert max(least[1.5], least[3.0]) < -1e-3


@pytest.mark.parametrize("name", ["one_minus_p_squared", "spherical", "gce", "mae"])
def test_gradients_vanish_where_the_notes_say_so(name: str) -> None:
    properties = LOSSES[name].properties
    assert properties is not None
    assert any("vanishes where p_y is near 0 as well as near 1" in note for note in properties.notes)
    z = np.array([[-20.0, 0.0, -1.0], [20.0, 0.0, -1.0]])
    assert np.abs(shape.gradients(getattr(losses, name), z, np.array([0, 0]))).max() < 2e-6
    assert np.abs(shape.gradients(losses.focal, z, np.array([0, 0]))[0]).max() > 0.9


def test_the_gradient_of_brier_vanishes_where_any_probability_is_near_1() -> None:
    slopes = shape.gradients(losses.brier, np.array([[-20.0, 0.0, -1.0], [-20.0, 20.0, 0.0]]), np.array([0, 0]))
    assert np.abs(slopes[0]).max() > 0.1
    assert np.abs(slopes[:, 0]).max() < 1e-7
    assert np.abs(slopes[1]).max() < 1e-7


def test_asymmetric_has_no_finite_minimiser_for_a_posterior_near_1() -> None:
    options = LOSSES["asymmetric"].options()
    raw = options.probabilities(np.array([[700.0, -700.0, -700.0]]), None)
    assert raw is not None
    np.testing.assert_array_equal(raw, [[1, 0, 0]])
    z = minimiser(losses.asymmetric, np.array([[960, 20, 20], [968, 16, 16]]))
    assert np.abs(z[0]).max() < 15
    assert z[1, 0] > 25
