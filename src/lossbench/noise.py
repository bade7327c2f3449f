"""How small a difference can be seen, and with how many seeds? Resolution, variance components and power; no torch."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lossbench.inference import ALPHA

POWER = 0.8
"""Probability with which a difference that is there should be found."""

MOST_SEEDS = 1000

NUM_TEST = 10_000
"""Test images of each of the paper's data sets."""


@dataclass(frozen=True)
class Components:
    """What scatters an accuracy, as standard deviations in its unit; 0 where an estimate came out negative."""

    rows: float
    columns: float
    rest: float  # of a combination, which one run each cannot tell from what else varies


def components(values: np.ndarray) -> Components:
    """Variance components of two crossed random effects by the analysis of variance.

    Args:
        values: one run a combination, [rows, columns], at least 2 of each.
    """
    num_rows, num_columns = values.shape
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns + values.mean()
    within = float((rest**2).sum()) / ((num_rows - 1) * (num_columns - 1))
    # The variance of the rows' means is that of the rows themselves, and what is within, over the columns averaged.
    of_rows, of_columns = rows.var(ddof=1) - within / num_columns, columns.var(ddof=1) - within / num_rows
    return Components(math.sqrt(max(0.0, of_rows)), math.sqrt(max(0.0, of_columns)), math.sqrt(within))


def resolution(accuracy: float, num_images: int) -> float:
    """Standard error of an accuracy, a fraction, for the images drawn: what a test set can resolve at best."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images)


def power(difference: float, sd: float, num_seeds: int) -> float:
    """Probability that a two-sided paired t test at 5 % finds a true mean difference.

    Args:
        difference: the true mean, >= 0, in the units of `sd`.
        sd: standard deviation of the differences, > 0.
        num_seeds: pairs, >= 2.
    """
    shift, df = difference / sd * math.sqrt(num_seeds), num_seeds - 1
    edge = stats.t.ppf(1 - ALPHA / 2, df)
    other = float(stats.nct.cdf(-edge, df, shift))
    return float(stats.nct.sf(edge, df, shift)) + (0.0 if math.isnan(other) else other)  # nan is below 1e-12 there


def seeds_needed(difference: float, sd: float) -> int | None:
    """The fewest seeds with which a true mean difference is found with `POWER`; None beyond `MOST_SEEDS`."""
    numbers = range(2, MOST_SEEDS + 1)
    place = bisect_left(numbers, POWER, key=lambda n: power(difference, sd, n))  # which rises with n
    return numbers[place] if place < len(numbers) else None
