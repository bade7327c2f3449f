"""Resolution of a test set, variance components, and power: the differences that a number of seeds can detect."""

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy import special

from lossbench.statistics.inference import ALPHA

POWER = 0.8
"""Probability with which a true difference should be detected."""

MOST_SEEDS = 1000

NUM_TEST = 10_000
"""Test images of each of the paper's data sets."""


@dataclass(frozen=True)
class Components:
    """Standard deviations of the sources of variation of an accuracy, in its unit; 0 for a negative variance."""

    rows: float
    columns: float
    rest: float  # interaction and everything else, which one run per combination cannot separate
    p_rows: float  # F test that rows differ by no more than the rest; nan if the rest is 0
    p_columns: float  # likewise for columns

    @property
    def total(self) -> float:
        """Standard deviation of runs whose rows and columns all differ."""
        return math.sqrt(self.rows**2 + self.columns**2 + self.rest**2)


def components(values: np.ndarray) -> Components:
    """Variance components of two crossed random effects by the analysis of variance.

    Args:
        values: one run per combination, [rows, columns], at least 2 of each.
    """
    num_rows, num_columns = values.shape
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns + values.mean()
    df = (num_rows - 1) * (num_columns - 1)
    within = float((rest**2).sum()) / df
    # The variance of row means is the variance of the rows plus `within` over the number of columns averaged.
    of_rows, of_columns = rows.var(ddof=1) - within / num_columns, columns.var(ddof=1) - within / num_rows
    sd_rows, sd_columns, sd_rest = (math.sqrt(max(0.0, float(one))) for one in (of_rows, of_columns, within))
    if within == 0:
        return Components(sd_rows, sd_columns, sd_rest, math.nan, math.nan)
    p_rows = special.fdtrc(num_rows - 1, df, num_columns * rows.var(ddof=1) / within)
    p_columns = special.fdtrc(num_columns - 1, df, num_rows * columns.var(ddof=1) / within)
    return Components(sd_rows, sd_columns, sd_rest, float(p_rows), float(p_columns))


def sd_interval(sd: float, df: int) -> tuple[float, float]:
    """95 % interval of a standard deviation estimated from normal values with `df` >= 1 degrees of freedom."""
    low, high = (math.sqrt(df / (2 * special.gammaincinv(df / 2, level))) for level in (1 - ALPHA / 2, ALPHA / 2))
    return sd * low, sd * high


def resolution(accuracy: float, num_images: int) -> float:
    """Standard error of an accuracy (a fraction) due to the choice of test images: the best possible resolution."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images)


def power(difference: float, sd: float, num_seeds: int) -> float:
    """Probability that a two-sided paired t test at 5 % detects a true mean difference.

    Args:
        difference: the true mean, >= 0, in the units of `sd`.
        sd: standard deviation of the differences, > 0.
        num_seeds: pairs, >= 2.
    """
    shift, df = difference / sd * math.sqrt(num_seeds), num_seeds - 1
    edge = special.stdtrit(df, 1 - ALPHA / 2)
    below, within = np.nan_to_num(special.nctdtr(df, shift, [-edge, edge]))  # nan: below 1e-12
    return float(below + 1 - within)


def seeds_needed(difference: float, sd: float) -> int | None:
    """The smallest number of seeds that detects a true mean difference with `POWER`; None beyond `MOST_SEEDS`."""
    numbers = range(2, MOST_SEEDS + 1)
    place = bisect_left(numbers, POWER, key=lambda n: power(difference, sd, n))  # power rises with n
    return numbers[place] if place < len(numbers) else None
