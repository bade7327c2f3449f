"""One temperature for a loss's probabilities, fitted on held-out images and used on others."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from lossbench.statistics.calibration import TEMPERATURES, Floats, Scores, scores_of

LogProbabilities = Callable[[float], Floats]
"""From a temperature to the logarithms of the probabilities of all images, [N, K], which sum to 1."""


def share_of_zeros(log_p: Floats, labels: np.ndarray) -> float:
    """Share of the images whose class has probability 0."""
    return float(np.isneginf(log_p[np.arange(len(labels)), labels]).mean())


def mean_nll(log_p: Floats, labels: np.ndarray, floor: float = 0.0) -> float:
    """Mean negative log-likelihood in nats, probabilities of the true classes below a floor counting as the floor."""
    own = log_p[np.arange(len(labels)), labels]
    return float(-(np.maximum(own, math.log(floor)) if floor else own).mean())


def fitted_temperature(log_probabilities: LogProbabilities, labels: np.ndarray, floor: float = 0.0) -> float:
    """The temperature in `calibration.TEMPERATURES` with the lowest NLL.

    Args:
        log_probabilities: of the held-out images.
        labels: their classes in 0..K-1, integers [N].
        floor: of probabilities in the NLL; a map with zeros needs one above 0.
    """
    from scipy.optimize import minimize_scalar  # here, since only this needs it, and it is slow to import

    def nll(log_temperature: float) -> float:
        return mean_nll(log_probabilities(math.exp(log_temperature)), labels, floor)

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return math.exp(float(found.x))


def common_temperature(temperatures: Sequence[float]) -> float:
    """The geometric mean, as a temperature acts by its ratio; nan without any."""
    return math.exp(float(np.mean(np.log(temperatures)))) if len(temperatures) else math.nan


def scores_at(
    log_probabilities: LogProbabilities,
    labels: np.ndarray,
    predicted: np.ndarray,
    temperature: float,
    floor: float = 0.0,
) -> tuple[Scores, float]:
    """Scores of the probabilities at a temperature, and the share of images whose class has probability 0.

    Args:
        log_probabilities: of the images.
        labels: their classes in 0..K-1, integers [N].
        predicted: the predicted classes, likewise.
        temperature: 1: the probabilities as they are.
        floor: of probabilities in the NLL; 0: none.
    """
    log_p = log_probabilities(temperature)
    scores = scores_of(np.exp(log_p), mean_nll(log_p, labels, floor), predicted, labels)
    return scores, share_of_zeros(log_p, labels)
