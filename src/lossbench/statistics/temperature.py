"""One temperature for a loss's probabilities, fitted on held-out images and used on others."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from lossbench.statistics.calibration import TEMPERATURES, Floats, Scores, scores_of

FLOOR = 1e-6
"""Where a map gives some images probability 0 for their class, probabilities below this count as this in the NLL."""

LogProbabilities = Callable[[float], Floats]
"""From a temperature to the logarithms of the probabilities of all images, [N, K], which sum to 1."""


def share_of_zeros(log_p: Floats, labels: np.ndarray) -> float:
    """Share of the images whose class has probability 0."""
    return float(np.isneginf(log_p[np.arange(len(labels)), labels]).mean())


def nll_with_floor(log_p: Floats, labels: np.ndarray) -> float:
    """Mean negative log-likelihood in nats; with `FLOOR` where a class of an image has probability 0."""
    own = log_p[np.arange(len(labels)), labels]
    return float(-(np.maximum(own, math.log(FLOOR)) if np.isneginf(own).any() else own).mean())


def fitted_temperature(log_probabilities: LogProbabilities, labels: np.ndarray) -> float:
    """The temperature in `calibration.TEMPERATURES` with the lowest NLL.

    Where the map gives a class of an image probability 0 at temperature 1, probabilities count as `FLOOR` at least, at
    every temperature.

    Args:
        log_probabilities: of the held-out images.
        labels: their classes in 0..K-1, integers [N].
    """
    from scipy.optimize import minimize_scalar  # here, since only this needs it, and it is slow to import

    rows = np.arange(len(labels))
    least = math.log(FLOOR) if np.isneginf(log_probabilities(1.0)[rows, labels]).any() else -math.inf

    def nll(log_temperature: float) -> float:
        own = log_probabilities(math.exp(log_temperature))[rows, labels]
        return float(-np.maximum(own, least).mean())

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return math.exp(float(found.x))


def common_temperature(temperatures: Sequence[float]) -> float:
    """The geometric mean, as a temperature acts by its ratio; nan without any."""
    return math.exp(float(np.mean(np.log(temperatures)))) if len(temperatures) else math.nan


def scores_at(
    log_probabilities: LogProbabilities, labels: np.ndarray, predicted: np.ndarray, temperature: float
) -> tuple[Scores, float]:
    """Scores of the probabilities at a temperature, NLL with the floor, and the share of images with probability 0.

    Args:
        log_probabilities: of the images.
        labels: their classes in 0..K-1, integers [N].
        predicted: the predicted classes, likewise.
        temperature: 1: the probabilities as they are.
    """
    log_p = log_probabilities(temperature)
    nll = nll_with_floor(log_p, labels)
    return scores_of(np.exp(log_p), nll, predicted, labels), share_of_zeros(log_p, labels)
