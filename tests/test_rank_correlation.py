"""Spearman's correlation, its permutation test and interval, beside scipy and by hand."""

import math

import numpy as np
import pytest

from lossbench.statistics.rank_correlation import rank_correlation


def test_four_things_by_hand() -> None:
    found = rank_correlation([1, 2, 3, 4], [10, 20, 40, 30])
    assert found.rho == pytest.approx(1 - 6 * 2 / (4 * 15))  # 0.8
    assert found.p == pytest.approx(8 / 24)  # of the 24 orders, 4 have 0.8 or 1, and 4 their opposites
    z = 1.959964 * math.sqrt(1.06 / 1)
    assert (found.low, found.high) == pytest.approx((math.tanh(math.atanh(0.8) - z), math.tanh(math.atanh(0.8) + z)))


def test_ties_and_infinite_bounds_have_mean_ranks() -> None:
    from scipy.stats import spearmanr

    x, y = [1.0, math.inf, math.inf, 2.0, 2.0], [0.3, 0.1, 0.2, 0.5, 0.4]
    assert rank_correlation(x, y).rho == pytest.approx(spearmanr([1, 4, 4, 2, 2], y).statistic)


def test_thirteen_things_beside_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    x = rng.normal(size=13)
    for y in (x + rng.normal(size=13), rng.normal(size=13)):
        found, known = rank_correlation(x.tolist(), y.tolist()), spearmanr(x, y)
        assert found.rho == pytest.approx(known.statistic)
        assert found.p == pytest.approx(known.pvalue, abs=0.01)  # scipy's is that of t, nearly the same for 13
        assert found == rank_correlation(x.tolist(), y.tolist()), "the same permutations every time"


def test_a_yes_or_no_of_13_has_the_exact_p_of_the_rank_sum() -> None:
    from scipy.stats import mannwhitneyu

    y = [3.0, 1.0, 9.0, 2.0, 5.0, 8.0, 7.0, 13.0, 11.0, 12.0, 10.0, 6.0, 4.0]
    found = rank_correlation([1.0] * 3 + [0.0] * 10, y)
    exact = mannwhitneyu(y[:3], y[3:], method="exact").pvalue
    assert found.p == pytest.approx(exact, abs=0.006)


def test_equal_numbers_have_no_correlation() -> None:
    found = rank_correlation([1.0] * 5, [1, 2, 3, 4, 5])
    assert found.n == 5
    assert all(map(math.isnan, (found.rho, found.low, found.high, found.p)))


def test_a_perfect_order_has_the_smallest_p() -> None:
    found = rank_correlation(range(13), [-one for one in range(13)])
    assert (found.rho, found.low, found.high) == pytest.approx((-1, -1, -1))
    assert found.p == pytest.approx(1e-5)
    assert rank_correlation([1, 2, 3], [1, 2, 3]).p == pytest.approx(2 / 6)
    assert math.isnan(rank_correlation([1, 2, 3], [1, 3, 2]).low)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="two equally long lists"):
        rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="two equally long lists"):
        rank_correlation([1, math.nan], [1, 2])
