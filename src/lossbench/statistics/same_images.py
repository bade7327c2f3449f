"""Comparisons of two networks on the same test images: exact McNemar test, bootstrap over images and seeds."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from lossbench.statistics.inference import ALPHA


@dataclass(frozen=True)
class McNemar:
    """Numbers of images that only one of two networks classifies correctly, and p for equal error rates."""

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class SeedCounts:
    """Numbers of seeds, of n, in which the first or the second network is significantly better on the images."""

    first: int
    second: int
    n: int


@dataclass(frozen=True)
class Interval:
    """A value and its interval."""

    value: float
    low: float
    high: float


def mcnemar(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> McNemar:
    """Exact two-sided McNemar test of two networks' predictions [N] on the same images; p is 1 if none differ."""
    assert first.shape == second.shape == labels.shape, (first.shape, second.shape, labels.shape)
    right, other = first == labels, second == labels
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    tail = float(special.bdtr(min(only_first, only_second), only_first + only_second, 0.5))
    return McNemar(only_first, only_second, min(1.0, 2 * tail))


def mcnemar_seeds(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> SeedCounts:
    """Numbers of seeds in which either network is better by the exact McNemar test at 5 %; predictions [seeds, N]."""
    tests = [mcnemar(a, b, labels) for a, b in zip(first, second, strict=True)]
    ahead = [test.only_first > test.only_second for test in tests if test.p < ALPHA]
    return SeedCounts(sum(ahead), len(ahead) - sum(ahead), len(tests))


def bootstrap_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, num_draws: int = 10_000, seed: int = 0
) -> Interval:
    """Difference in accuracy with a 95 % bootstrap interval; images and seeds are resampled with replacement.

    Images with the same outcomes in all seeds are interchangeable, so the number of images of each kind is drawn. With
    a single seed the interval covers the choice of images only; without seeds the result is nan.

    Args:
        first: predictions of the runs that both sides finished, [seeds, N].
        second: likewise, paired by row.
        labels: true classes, [N].
        num_draws: bootstrap samples.
        seed: of the draws.
    """
    assert first.shape == second.shape == (len(first), len(labels)), (first.shape, second.shape, labels.shape)
    num_seeds, num_images = first.shape
    if not num_seeds:
        return Interval(math.nan, math.nan, math.nan)
    differences = (first == labels).astype(np.int8) - (second == labels).astype(np.int8)
    as_text = np.ascontiguousarray((differences + ord("1")).T).view(f"S{num_seeds}").ravel()  # [N], such as "0121"
    _, places, counts = np.unique(as_text, return_index=True, return_counts=True)  # [kinds]; faster than with axis=1
    kinds = differences[:, places]  # [seeds, kinds]
    generator = np.random.default_rng(seed)
    images = generator.multinomial(num_images, counts / num_images, size=num_draws) / num_images  # [draws, kinds]
    seeds = generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_draws) / num_seeds
    drawn = ((images @ kinds.T) * seeds).sum(axis=1)
    low, high = np.quantile(drawn, (ALPHA / 2, 1 - ALPHA / 2))
    return Interval(float(differences.mean()), float(low), float(high))
