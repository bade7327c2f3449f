"""Differences that n seeds can detect, against simulation and textbook values."""

import numpy as np
import pytest
from scipy import stats

from lossbench.statistics.noise import POWER, components, power, resolution, seeds_needed


def test_the_resolution_is_the_binomial_standard_error() -> None:
    assert resolution(0.9, 10_000) == pytest.approx(0.003)
    draws = np.random.default_rng(0).binomial(10_000, 0.96, 20_000) / 10_000
    assert resolution(0.96, 10_000) == pytest.approx(draws.std(), rel=0.02)


@pytest.mark.parametrize(("difference", "num_seeds"), [(0.0, 5), (1.0, 5), (1.5, 5), (2.0, 3), (0.5, 30)])
def test_power_is_how_often_the_test_finds_it(difference: float, num_seeds: int) -> None:
    draws = np.random.default_rng(0).normal(difference, 1, (20_000, num_seeds))
    found = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert power(3 * difference, 3.0, num_seeds) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("num_seeds", [2, 3, 4, 5, 10, 100])
def test_power_rises_with_the_difference_however_large(num_seeds: int) -> None:
    found = [power(difference, 0.16, num_seeds) for difference in np.geomspace(0.001, 20, 400)]
    assert np.isfinite(found).all()
    assert (np.diff(found) > -1e-9).all()
    assert found[-1] == pytest.approx(1, abs=0.01)


def test_seeds_needed_are_those_of_the_textbook() -> None:
    assert seeds_needed(0.5, 1.0) == 34  # Cohen: d = 0.5, 80 %, paired, two-sided
    assert seeds_needed(1.0, 1.0) == 10
    n = seeds_needed(0.0025, 0.004)
    assert n is not None
    assert power(0.0025, 0.004, n) >= POWER > power(0.0025, 0.004, n - 1)
    assert seeds_needed(0.001, 1.0) is None
    for ratio in (0.1, 0.7, 1.3, 4.0, 30.0):
        assert seeds_needed(ratio, 1.0) == next(n for n in range(2, 1001) if power(ratio, 1.0, n) >= POWER)


def test_components_are_those_that_were_drawn() -> None:
    draw = np.random.default_rng(1)
    found = [
        components(draw.normal(0, 3, (4, 1)) + draw.normal(0, 2, (1, 5)) + draw.normal(0, 1, (4, 5)) + 90)
        for _ in range(4000)
    ]
    variances = np.mean([[one.rows**2, one.columns**2, one.rest**2] for one in found], axis=0)
    assert variances == pytest.approx([9, 4, 1], rel=0.05)  # the estimates are seldom below 0 here


def test_components_without_an_effect_are_zero_and_of_two_by_two_by_hand() -> None:
    found = components(np.array([[1.0, 3.0], [3.0, 1.0]]))  # interaction alone: its mean square is 4
    assert (found.rows, found.columns, found.rest) == (0, 0, pytest.approx(2))
    found = components(np.array([[1.0, 2.0], [5.0, 6.0]]))  # rows 4 apart, columns 1, nothing left
    assert (found.rows, found.columns, found.rest) == pytest.approx((np.sqrt(8), np.sqrt(0.5), 0))


def test_components_are_those_of_the_mean_squares() -> None:
    values = np.random.default_rng(3).normal(0, 1, (3, 6)) + np.array([[0], [3], [-2]]) + np.arange(6)
    whole, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_rows = sum(6 * (row - whole) ** 2 for row in rows) / 2
    of_columns = sum(3 * (column - whole) ** 2 for column in columns) / 5
    rest = sum((values[i, j] - rows[i] - columns[j] + whole) ** 2 for i in range(3) for j in range(6)) / 10
    found = components(values)
    assert found.rows == pytest.approx(np.sqrt((of_rows - rest) / 6))
    assert found.columns == pytest.approx(np.sqrt((of_columns - rest) / 3))
    assert found.rest == pytest.approx(np.sqrt(rest))
