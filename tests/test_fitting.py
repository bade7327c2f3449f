"""Fitting many small classifiers at once: against definitions in loops, finite differences and scipy."""

import math

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit

from lossbench.studies.aaai20.fitting import (
    NUM_HIDDEN,
    fit_logistic,
    fit_networks,
    loss_and_gradient,
    minimise,
    network_logits,
    num_parameters,
)

NUM = 60
GENERATOR = np.random.default_rng(5)
FEATURES = np.concatenate([GENERATOR.normal(size=(3, NUM)), np.ones((1, NUM))])
TARGET = (FEATURES[0] + GENERATOR.normal(size=NUM) > 0.3).astype(float)
WEIGHTS = GENERATOR.uniform(0.2, 1, (3, NUM))
WEIGHTS /= WEIGHTS.sum(axis=1, keepdims=True)
SIGNS = 2 * TARGET - 1
START = GENERATOR.uniform(-0.7, 0.7, (3, num_parameters(4)))


def logits_as_defined(parameters: np.ndarray, features: np.ndarray) -> list[float]:
    """One network with loops: hidden units first, each with its bias last, then the output's weights and its bias."""
    found = []
    for sample in features.T:
        units = []
        for unit in range(NUM_HIDDEN):
            own = parameters[unit * len(sample) : (unit + 1) * len(sample)]
            units.append(1 / (1 + math.exp(-sum(weight * value for weight, value in zip(own, sample, strict=True)))))
        output = parameters[NUM_HIDDEN * len(sample) : -1]
        found.append(float(parameters[-1] + sum(weight * unit for weight, unit in zip(output, units, strict=True))))
    return found


def loss_as_defined(logits: np.ndarray, weights: np.ndarray) -> float:
    return sum(
        weight * math.log(1 + math.exp(-logit if label else logit))
        for logit, label, weight in zip(logits, TARGET, weights, strict=True)
    )


@pytest.mark.parametrize("own", [False, True])
def test_logistic_regressions_are_those_of_scipy(own: bool) -> None:
    scales = np.array([1, 2, 0.5])[:, None, None]
    features = FEATURES * scales if own else FEATURES
    found = fit_logistic(features, TARGET, WEIGHTS)
    for place, weights in enumerate(WEIGHTS):
        mine = features[place] if own else features
        best = optimize.minimize(lambda c, x=mine, w=weights: loss_as_defined(c @ x, w), np.zeros(4), tol=1e-10)
        assert found[place] == pytest.approx(best.x, abs=1e-4)
        slopes = weights * (expit(found[place] @ mine) - TARGET)
        assert np.abs(mine @ slopes).max() < 1e-12
    start = found + 0.1
    assert fit_logistic(features, TARGET, WEIGHTS, start) == pytest.approx(found, abs=1e-9)
    assert (start == found + 0.1).all()


def test_a_regression_without_an_optimum_is_refused() -> None:
    with pytest.raises(ArithmeticError, match=r"^Newton's method ends with a gradient of nan$"):
        fit_logistic(FEATURES * np.nan, TARGET, WEIGHTS)


def test_a_network_is_as_defined() -> None:
    expected = [logits_as_defined(parameters, FEATURES) for parameters in START]
    assert network_logits(START, FEATURES) == pytest.approx(np.array(expected), rel=1e-12)
    loss, _ = loss_and_gradient(START, FEATURES, SIGNS, WEIGHTS)
    pairs = zip(expected, WEIGHTS, strict=True)
    assert loss == pytest.approx([loss_as_defined(np.array(logits), weights) for logits, weights in pairs], rel=1e-12)


def test_the_gradient_of_a_network_is_that_of_finite_differences() -> None:
    def loss_of(parameters: np.ndarray, place: int) -> float:
        return float(loss_and_gradient(parameters[None], FEATURES, SIGNS, WEIGHTS[place : place + 1])[0][0])

    _, gradient = loss_and_gradient(START, FEATURES, SIGNS, WEIGHTS)
    for place, parameters in enumerate(START):
        expected = optimize.approx_fprime(parameters, loss_of, 1e-7, place)
        assert gradient[place] == pytest.approx(expected, abs=1e-6)
        assert np.abs(expected).max() > 0.01


def test_single_precision_is_near() -> None:
    singles = FEATURES.astype(np.float32), SIGNS.astype(np.float32), WEIGHTS.astype(np.float32)
    loss, gradient = loss_and_gradient(START, *singles)
    assert (loss.dtype, gradient.dtype) == (np.float64, np.float32)
    exact_loss, exact_gradient = loss_and_gradient(START, FEATURES, SIGNS, WEIGHTS)
    assert loss == pytest.approx(exact_loss, rel=1e-6)
    assert gradient == pytest.approx(exact_gradient, abs=1e-6)


def test_an_impossible_sample_makes_the_loss_infinite_without_a_warning() -> None:
    surely_wrong = np.zeros((1, num_parameters(4)))
    surely_wrong[0, -1] = 1000
    with np.errstate(all="raise"):
        loss, _ = loss_and_gradient(surely_wrong, FEATURES, SIGNS, WEIGHTS[:1])
    assert loss == math.inf


CENTRES = np.array([[1.0, -2.0, 3.0], [0.5, 0.5, 0.5], [-4.0, 0.0, 2.0]])
CURVATURES = np.array([[1.0, 10.0, 100.0], [1.0, 1.0, 1.0], [0.01, 1.0, 3.0]])


def bowls(parameters: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quadratic bowls, their minima at `CENTRES`."""
    apart, curvatures = parameters - CENTRES[which], CURVATURES[which]
    return (curvatures * apart**2).sum(axis=1) / 2, curvatures * apart


def test_minima_are_found() -> None:
    _, found = minimise(bowls, np.zeros((3, 3)), stop=1, last=np.full(3, 100))
    assert found == pytest.approx(CENTRES, abs=1e-6)

    def rosenbrock(parameters: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([*map(optimize.rosen, parameters)]), np.array([*map(optimize.rosen_der, parameters)])

    _, found = minimise(rosenbrock, np.array([[-1.2, 1.0, 0.7], [2.0, 2.0, 2.0]]), stop=1, last=np.full(2, 200))
    assert found == pytest.approx(np.ones((2, 3)), abs=1e-5)


def test_every_problem_goes_its_own_way() -> None:
    start, last = np.zeros((3, 3)), np.array([4, 2, 7])
    stopped, found = minimise(bowls, start, 4, last)
    for place in range(3):

        def alone(parameters: np.ndarray, which: np.ndarray, place: int = place) -> tuple[np.ndarray, np.ndarray]:
            return bowls(parameters, which + place)

        one = minimise(alone, start[:1], 4, last[place : place + 1])
        assert one[0][0] == pytest.approx(stopped[place], rel=1e-12)
        assert one[1][0] == pytest.approx(found[place], rel=1e-12)
    assert stopped == pytest.approx(minimise(bowls, start, 9, np.array([4, 2, 4]))[1], rel=1e-12)
    assert (stopped[0] == found[0]).all()
    assert np.abs(stopped[2] - found[2]).max() > 1e-9
    assert (stopped[1] == found[1]).all()
    assert not start.any()


def test_the_end_is_where_no_step_helps() -> None:
    calls = []

    def counted(parameters: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(which))
        return bowls(parameters, which)

    stopped, found = minimise(counted, CENTRES, 5, np.full(3, 1_000_000))
    assert (found == CENTRES).all()
    assert (stopped == CENTRES).all()
    assert sum(calls) < 100

    def flat(parameters: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(len(parameters)), bowls(parameters, which)[1]

    assert not minimise(flat, np.zeros((3, 3)), 5, np.full(3, 1_000_000))[1].any()


def test_networks_end_where_scale_and_bias_of_the_output_have_no_slope() -> None:
    stopped, ended = fit_networks(FEATURES, TARGET, WEIGHTS, START, 5, np.array([40, 5, 20]))
    losses = [loss_and_gradient(parameters, FEATURES, SIGNS, WEIGHTS)[0] for parameters in (START, stopped, ended)]
    assert (losses[0] > losses[1]).all()
    assert (losses[1] > losses[2]).all()
    for parameters, exact in ((stopped, False), (ended, True)):
        logits = network_logits(parameters, FEATURES)
        slopes = WEIGHTS * (expit(logits) - TARGET)
        assert (np.abs(slopes.sum(axis=1)) < 1e-11).all() == exact
        assert (np.abs((slopes * logits).sum(axis=1)) < 1e-11).all() == exact
