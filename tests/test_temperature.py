"""One temperature from held-out images: the best of a fine grid, the mean of several, and maps with zeros."""

import math
from functools import partial

import numpy as np
import pytest

from lossbench.statistics.calibration import FLOOR, calibration, log_probabilities
from lossbench.statistics.temperature import (
    common_temperature,
    fitted_temperature,
    mean_nll,
    scores_at,
    share_of_zeros,
)

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 4, 300)
LOGITS = 4 * (np.eye(4)[LABELS] + RANDOM.normal(0, 0.6, (300, 4)))


def clipped(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Logarithms of a sparse map's probabilities: softmax without what is below 5 %."""
    p = np.exp(log_probabilities(logits, "softmax", temperature))
    p[p < 0.05] = 0
    with np.errstate(divide="ignore"):
        return np.log(p / p.sum(axis=1, keepdims=True))


def best_of_grid(nll: "dict[float, float]") -> float:
    return min(nll, key=lambda temperature: nll[temperature])


GRID = [float(one) for one in np.exp(np.linspace(math.log(0.05), math.log(20), 4001))]


@pytest.mark.parametrize("name", ["softmax", "sigmoid_normalised", "shifted_normalised"])
def test_the_fitted_temperature_is_the_best_of_a_grid(name: str) -> None:
    def nll(temperature: float) -> float:
        log_p = log_probabilities(LOGITS, name, temperature)
        return -sum(log_p[row, label] for row, label in enumerate(LABELS)) / len(LABELS)

    wanted = best_of_grid({temperature: nll(temperature) for temperature in GRID[::10]})
    found = fitted_temperature(partial(log_probabilities, LOGITS, name), LABELS)
    assert found == pytest.approx(wanted, rel=0.02)
    assert nll(found) <= nll(wanted) + 1e-6


def test_logits_that_are_twice_as_sharp_have_twice_the_temperature() -> None:
    one = fitted_temperature(partial(log_probabilities, LOGITS, "softmax"), LABELS)
    two = fitted_temperature(partial(log_probabilities, 2 * LOGITS, "softmax"), LABELS)
    assert two == pytest.approx(2 * one, rel=5e-3)


def test_the_common_temperature_is_the_geometric_mean() -> None:
    assert common_temperature([0.5, 2.0, 1.0]) == pytest.approx(1.0)
    assert common_temperature([2.0, 8.0]) == pytest.approx(4.0)
    assert math.isnan(common_temperature([]))


def test_zeros_are_counted_and_have_a_floor() -> None:
    with np.errstate(divide="ignore"):
        log_p = np.log(np.array([[0.0, 1.0], [0.5, 0.5], [1e-15, 1 - 1e-15], [1.0, 0.0]]))
    labels = np.array([0, 1, 0, 0])
    assert share_of_zeros(log_p, labels) == 0.25
    assert mean_nll(log_p, labels, FLOOR) == pytest.approx(-(2 * math.log(FLOOR) + math.log(0.5)) / 4)
    assert mean_nll(log_p, labels) == math.inf
    assert mean_nll(log_p[1:], labels[1:]) == pytest.approx(-(math.log(0.5) + math.log(1e-15)) / 3)


def test_a_sparse_map_is_fitted_with_the_floor() -> None:
    def nll(temperature: float) -> float:
        own = clipped(LOGITS, temperature)[np.arange(len(LABELS)), LABELS]
        return float(np.mean([-max(one, math.log(FLOOR)) for one in own]))

    found = fitted_temperature(partial(clipped, LOGITS), LABELS, FLOOR)
    assert share_of_zeros(clipped(LOGITS, 1.0), LABELS) > 0
    assert 0.05 < found < 20
    assert nll(found) < nll(1.0)


def test_scores_at_temperature_1_are_those_of_the_map() -> None:
    predicted = LOGITS.argmax(axis=1)
    found, zeros = scores_at(partial(log_probabilities, LOGITS, "softmax"), LABELS, predicted, 1.0)
    assert found == calibration(LOGITS, LABELS, "softmax").scores
    assert zeros == 0
    halved, _ = scores_at(partial(log_probabilities, LOGITS, "softmax"), LABELS, predicted, 2.0)
    assert halved.nll == pytest.approx(calibration(LOGITS / 2, LABELS, "softmax").scores.nll)
    _, some = scores_at(partial(clipped, LOGITS), LABELS, predicted, 1.0)
    assert some == share_of_zeros(clipped(LOGITS, 1.0), LABELS)
