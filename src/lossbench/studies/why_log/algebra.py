"""The algebra of a question and its answers on logarithm and square, in numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

POINTS = ((100.0, 1), (1.0, 1), (5.0, 0))
"""Inputs and labels of a logistic regression without intercept whose mean square has two local minima.

Found by a search over sets of three inputs of sizes 1, 2, 5, 10, 20, 50 and 100 for the highest barrier between two
minima.
"""


def right_square(t: Array | float) -> Array:
    """(1 - y^)² with y^ = 1 / (1 + e^-t), t = theta x: the square of e^-t / (1 + e^-t)."""
    from scipy.special import expit

    found: Array = expit(-np.asarray(t, float)) ** 2
    return found


def printed_square(t: Array | float) -> Array:
    """The formula that the answer prints in its place: the square of e^t / (1 + e^-t)."""
    from scipy.special import expit

    t = np.asarray(t, float)
    found: Array = (np.exp(t) * expit(t)) ** 2
    return found


def printed_curvature(t: Array | float) -> Array:
    """Second derivative of `printed_square`; with s = sigmoid(t) it is (16 - 18 s + 6 s²) times it, so above 0."""
    from scipy.special import expit

    s = expit(np.asarray(t, float))
    found: Array = printed_square(t) * (16 - 18 * s + 6 * s**2)
    return found


def mean_square(theta: Array | float, points: Sequence[tuple[float, int]] = POINTS) -> Array:
    """Mean over some points of (1 - probability of the label)², a logistic regression with one weight.

    Args:
        theta: the weight, any shape.
        points: inputs with their labels, 0 or 1.
    """
    return _mean([right_square(_margin(theta, x, label)) for x, label in points])


def mean_cross_entropy(theta: Array | float, points: Sequence[tuple[float, int]] = POINTS) -> Array:
    """The same with -log of the probability of the label."""
    return _mean([np.logaddexp(0, -_margin(theta, x, label)) for x, label in points])


def _margin(theta: Array | float, x: float, label: int) -> Array:
    return (2 * label - 1) * x * np.asarray(theta, float)


def _mean(values: Sequence[Array]) -> Array:
    found: Array = np.mean(values, axis=0)
    return found


@dataclass(frozen=True)
class Minimum:
    """A local minimum of a function of one weight."""

    theta: float
    value: float


_REFINEMENTS = 4
"""Finer grids around a minimum, each 50 times as fine."""


def local_minima(function: Callable[[Array], Array], reach: float = 10.0, num: int = 100_001) -> list[Minimum]:
    """Local minima inside an interval around 0, found on a grid and refined, from left to right.

    Args:
        function: of weights, float64 [N], giving values [N].
        reach: the interval is from -reach to reach.
        num: points of the grid.
    """
    grid = np.linspace(-reach, reach, num)
    values = function(grid)
    inner = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1
    found = []
    for place in inner:
        low, high = float(grid[place - 1]), float(grid[place + 1])
        for _ in range(_REFINEMENTS):
            finer = np.linspace(low, high, 101)
            best = int(np.argmin(function(finer)))
            low, high = float(finer[max(best - 1, 0)]), float(finer[min(best + 1, 100)])
        theta = (low + high) / 2
        found.append(Minimum(theta, float(function(np.array([theta]))[0])))
    return found
