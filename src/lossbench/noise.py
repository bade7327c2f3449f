"""How small a difference can be seen, and with how many seeds? The test set's resolution, and power; pure, no torch."""

import math

from scipy import stats

from lossbench.inference import ALPHA

POWER = 0.8
"""Probability with which a difference that is there should be found."""

MOST_SEEDS = 1000

NUM_TEST = 10_000
"""Test images of each of the paper's data sets."""


def resolution(accuracy: float, num_images: int) -> float:
    """Standard error of an accuracy, a fraction, for the images drawn: what a test set can resolve at best."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images)


def power(difference: float, sd: float, num_seeds: int) -> float:
    """Probability that a two-sided paired t test at 5 % finds a true mean difference.

    Args:
        difference: the true mean, in the units of `sd`.
        sd: standard deviation of the differences, > 0.
        num_seeds: pairs, >= 2.
    """
    shift, df = difference / sd * math.sqrt(num_seeds), num_seeds - 1
    edge = stats.t.ppf(1 - ALPHA / 2, df)
    return float(stats.nct.sf(edge, df, shift) + stats.nct.cdf(-edge, df, shift))


def seeds_needed(difference: float, sd: float) -> int | None:
    """The fewest seeds with which a true mean difference is found with `POWER`; None beyond `MOST_SEEDS`."""
    found = (n for n in range(2, MOST_SEEDS + 1) if power(difference, sd, n) >= POWER)
    return next(found, None)
