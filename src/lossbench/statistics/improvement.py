"""The probability of improvement: how likely a run of one loss is better than a run of another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Improvement:
    """The probability that a new run of the first loss is better than one of the second, with its 95 % interval.

    Args:
        p: between 0 and 1; nan without runs on both sides.
        low: of the interval; nan with fewer than two runs on a side.
        high: likewise.
        n: runs of the first and of the second loss.
    """

    p: float
    low: float
    high: float
    n: tuple[int, int]


def improvement(first: Sequence[float], second: Sequence[float]) -> Improvement:
    """The share of pairs of runs, of whatever seeds, in which the first is higher; a tie counts half.

    It is the statistic of Mann and Whitney, used to compare runs of learning algorithms by Agarwal et al., "Deep
    Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021. The interval is method 5 of
    Newcombe, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic. Part 2", Statistics
    in Medicine 25, 2006: all values of p that differ from the share by at most 1.96 standard errors at p. It ignores
    that runs of the same seed share their initial weights, so it is wider than a paired one.

    Args:
        first: values of finished runs.
        second: likewise.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    n = len(a), len(b)
    if not len(a) or not len(b):
        return Improvement(math.nan, math.nan, math.nan, n)
    p = float(((a[:, None] > b).mean() + (a[:, None] >= b).mean()) / 2)
    if min(n) < 2:
        return Improvement(p, math.nan, math.nan, n)
    return Improvement(p, _end(p, n, -1), _end(p, n, 1), n)


def _variance(p: float, n: tuple[int, int]) -> float:
    """Of the share of pairs in which the first is higher, if its expectation is p: the method's approximation."""
    mean = sum(n) / 2 - 1
    return p * (1 - p) * (1 + mean * ((1 - p) / (2 - p) + p / (1 + p))) / (n[0] * n[1])


def _end(p: float, n: tuple[int, int], side: int) -> float:
    """An end of the interval, by bisection.

    Args:
        p: the share of pairs.
        n: runs of the first and of the second loss.
        side: -1 for the lower end, 1 for the upper one.
    """
    inside, outside = p, 0.0 if side < 0 else 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(middle - p) <= Z * math.sqrt(_variance(middle, n)):
            inside = middle
        else:
            outside = middle
    return inside
