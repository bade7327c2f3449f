"""Spearman's rank correlation of a few things, with its permutation test and a rough interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from lossbench.statistics.inference import ALPHA

MOST_EXACT = 8
"""Things up to which every permutation is counted; 8! is 40,320."""

NUM_PERMUTATIONS = 99_999
"""Random permutations of more things, always the same ones."""

LEAST = 4
"""Fewest things whose correlation has an interval."""

_VARIANCE = 1.06
"""Of Fisher's z of a rank correlation, times n - 3 (Fieller, Hartley and Pearson 1957)."""

_EQUAL = 1e-12


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of n pairs of numbers.

    Args:
        n: pairs.
        rho: in -1..1; nan: one side has no two different numbers.
        low: of the 95 % interval by Fisher's z, rough with few things or many ties; nan: fewer than `LEAST`.
        high: likewise.
        p: two-sided, of no correlation, by permutations; nan: as `rho`.
    """

    n: int
    rho: float
    low: float
    high: float
    p: float


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's correlation, tied numbers at their mean rank; inf is larger than any other number.

    The p is the share of permutations of one side whose correlation is at least as far from 0: of all of them up to
    `MOST_EXACT` things; of more, of `NUM_PERMUTATIONS` random ones and the one that was seen.

    Args:
        x: numbers, no nan.
        y: as many.

    Raises:
        ValueError: there are not as many on both sides, or one is nan.
    """
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if first.shape != second.shape or np.isnan(first).any() or np.isnan(second).any():
        raise ValueError(f"a rank correlation needs two equally long lists of numbers, got {list(x)} and {list(y)}")
    n = len(first)
    if len(set(first)) < 2 or len(set(second)) < 2:
        return RankCorrelation(n, math.nan, math.nan, math.nan, math.nan)
    a, b = (pd.Series(one).rank().to_numpy() - (n + 1) / 2 for one in (first, second))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    rho = float(np.clip(a @ b, -1, 1))
    return RankCorrelation(n, rho, *_interval(rho, n), _p(a, b, abs(rho)))


def _interval(rho: float, n: int) -> tuple[float, float]:
    if n < LEAST:
        return math.nan, math.nan
    if abs(rho) >= 1 - _EQUAL:
        return rho, rho
    z, half = math.atanh(rho), float(ndtri(1 - ALPHA / 2)) * math.sqrt(_VARIANCE / (n - 3))
    return math.tanh(z - half), math.tanh(z + half)


def _p(a: np.ndarray, b: np.ndarray, size: float) -> float:
    n = len(a)
    if n <= MOST_EXACT:
        others = a[np.array(list(permutations(range(n))))] @ b
        return float((np.abs(others) >= size - _EQUAL).mean())
    others = np.random.default_rng(0).permuted(np.tile(a, (NUM_PERMUTATIONS, 1)), axis=1) @ b
    return float((1 + (np.abs(others) >= size - _EQUAL).sum()) / (1 + NUM_PERMUTATIONS))
