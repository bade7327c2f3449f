"""Intervals, tests and verdicts, against closed forms, scipy, numbers of statsmodels 0.15, and simulation."""

import math
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from scipy import stats

from lossbench.statistics.inference import (
    Pairs,
    Spread,
    area_under_curve,
    cell_outcome,
    claim_outcome,
    compare,
    epochs_to_end,
    false_alarms,
    headline,
    holm,
    intersection_union,
    non_inferiority,
    pair,
    paired_t,
    pooled_spread,
    prediction_interval,
    proportion,
    superiority_p,
    tost,
)
from lossbench.statistics.same_images import bootstrap_difference, mcnemar, mcnemar_seeds

NAN = math.nan
CELLS = ([99.29, 99.21, 99.33, 99.25, 99.30], [99.09, 99.15, 99.02, 99.11], [98.50, 98.62, 98.49])
FIRST, SECOND = [0.9612, 0.9607, 0.9621, 0.9598, 0.9633], [0.9598, 0.9611, 0.9603, 0.9602, 0.9615]
PAIRS = pair(FIRST, SECOND)


def near(*values: float) -> object:
    return pytest.approx(values, rel=1e-9, nan_ok=True)


def pairs(*differences: float, failed: tuple[int, int] = (0, 0)) -> Pairs:
    return Pairs(differences, *failed)


# Cells


def test_prediction_interval_with_the_own_spread() -> None:
    # statsmodels: OLS(y, ones(5)).fit().get_prediction([1]).summary_frame(0.05), columns obs_ci_*
    found = prediction_interval(CELLS[0])
    assert (found.low, found.high) == near(99.13399358586169, 99.41800641413828)
    assert (found.n, found.failed, found.mean, found.spread.df) == near(5, 0, 99.276, 4)
    assert found.sd == found.spread.sd == pytest.approx(np.std(CELLS[0], ddof=1))


def test_prediction_interval_with_the_pooled_spread() -> None:
    # statsmodels: OLS on three dummies, mse_resid ** 0.5 and summary_frame(0.05)
    pooled = pooled_spread(CELLS)
    assert astuple(pooled) == near(0.05583872279129697, 9)
    ends = [(99.13762779130455, 99.41437220869541), (98.95127445588095, 99.23372554411905)]
    for values, expected in zip(CELLS, [*ends, (98.39080955188479, 98.6825237814486)], strict=True):
        found = prediction_interval(values, pooled)
        assert (found.low, found.high) == near(*expected)
        assert found.sd == pytest.approx(np.std(values, ddof=1))


def test_pooling_leaves_out_what_cannot_be_known() -> None:
    with_gaps: list[list[float | None]] = [
        [*CELLS[0], NAN, None],
        [None, *CELLS[1]],
        [*CELLS[2]],
        [50.0],
        [None, NAN],
        [],
    ]
    assert pooled_spread(with_gaps) == pooled_spread(CELLS)
    assert astuple(pooled_spread([[1.0], []])) == near(NAN, 0)


def test_a_new_run_falls_within_the_interval_in_95_of_100_cases() -> None:
    generator = np.random.default_rng(1)
    draws, rounds = generator.normal([[97.0], [98.0], [99.0]], 0.2, (4000, 3, 6)), 4000
    within = 0
    for groups in draws:  # five runs of each of three cells are known, the sixth of the first cell is the new one
        found = prediction_interval(groups[0, :5], pooled_spread(groups[:, :5]))
        within += found.low <= groups[0, 5] <= found.high
    assert within / rounds == pytest.approx(0.95, abs=3.5 * math.sqrt(0.95 * 0.05 / rounds))


def test_cell_outcomes() -> None:
    found = prediction_interval([0.9, 0.91, 0.92])
    assert cell_outcome(found, found.high) == cell_outcome(found, found.low) == "consistent"
    assert cell_outcome(found, found.high + 1e-6) == "paper higher"
    assert cell_outcome(found, found.low - 1e-6) == "paper lower"


def test_a_cell_with_too_few_runs_or_no_spread_has_no_outcome() -> None:
    spread = Spread(0.002, 8)
    two = prediction_interval([0.9, 0.91, None, NAN], spread)
    assert (two.n, two.failed) == (2, 1)
    assert two.half_width == pytest.approx(stats.t.ppf(0.975, 8) * 0.002 * math.sqrt(1.5))
    assert cell_outcome(two, 0.1) == "too few"
    assert cell_outcome(prediction_interval([0.9, 0.9, 0.9]), 0.1) == "too few"
    assert cell_outcome(prediction_interval([0.1 + 0.2, 0.3, 0.3]), 0.1) == "too few", "rounding is no spread"
    one, none = prediction_interval([0.9], spread), prediction_interval([None, NAN], spread)
    assert (one.n, one.mean, one.sd) == near(1, 0.9, NAN)
    assert one.half_width == pytest.approx(stats.t.ppf(0.975, 8) * 0.002 * math.sqrt(2))
    assert (none.n, none.mean, none.half_width) == near(0, NAN, NAN)
    assert cell_outcome(one, 0.9) == cell_outcome(none, 0.9) == "too few"


def test_false_alarms() -> None:
    assert astuple(false_alarms(26)) == near(1.3, 3)
    assert stats.binom.sf(3, 26, 0.05) < 0.05 < stats.binom.sf(2, 26, 0.05)


# Comparisons


def test_paired_t() -> None:
    found, expected = paired_t(PAIRS), stats.ttest_rel(FIRST, SECOND)
    interval = expected.confidence_interval(0.95)
    differences = np.subtract(FIRST, SECOND)
    mean, sd = differences.mean(), differences.std(ddof=1)
    assert astuple(found) == near(5, mean, sd, interval.low, interval.high, expected.pvalue)
    assert found.p == pytest.approx(0.17586622610478503)  # statsmodels: DescrStatsW(d).ttest_mean(0)
    assert superiority_p(PAIRS) == found.p
    assert superiority_p(pair(SECOND, FIRST)) == 1.0


def test_pairs_keep_to_the_seeds_that_both_sides_finished() -> None:
    first, second = [0.9, None, 0.8, NAN, 0.7, NAN], [0.8, 0.9, NAN, 0.9, 0.7, None]
    found = pair(first, second)
    assert found.differences == near(0.1, 0.0)
    assert (found.n, found.failed_first, found.failed_second) == (2, 2, 1)
    with pytest.raises(ValueError, match="shorter"):
        pair([0.9, 0.8], [0.9])


def test_tost_and_non_inferiority() -> None:
    # statsmodels: ttost_paired(a, b, -0.0025, 0.0025)[0]; DescrStatsW(d).ttest_mean(-0.0025, "larger")[1]
    both, one_sided = tost(PAIRS, 0.0025), non_inferiority(PAIRS, 0.0025)
    ends = (-0.0002503724228212728, 0.0019303724228212655)
    assert astuple(both) == near(5, 0.00084, *ends, 0.0025, 0.01575391539072883, False)
    assert astuple(one_sided) == near(5, 0.00084, *ends, 0.0025, 0.0014203401554581047, False)
    mirrored = tost(pair(SECOND, FIRST), 0.0025)
    assert (mirrored.p, mirrored.low, mirrored.high) == near(both.p, -both.high, -both.low)


def test_what_lies_beyond_the_margin_is_refuted() -> None:
    above, below = pairs(0.010, 0.011, 0.012), pairs(-0.010, -0.011, -0.012)
    assert tost(above, 0.0025).refuted
    assert tost(below, 0.0025).refuted
    assert non_inferiority(below, 0.0025).refuted
    assert not non_inferiority(above, 0.0025).refuted
    assert not tost(above, 0.0110).refuted, "part of the interval is within"
    assert not non_inferiority(below, 0.0110).refuted


@pytest.mark.parametrize("n", [3, 5])
def test_tost_errs_in_5_of_100_cases_at_the_margin_and_in_fewer_beyond(n: int) -> None:
    generator, rounds = np.random.default_rng(n), 2000
    small, large = 0.0002, 0.004
    for mean, test in ((0.0025, tost), (-0.0025, tost), (-0.0025, non_inferiority)):
        shown = [test(pairs(*row), 0.0025).p < 0.05 for row in generator.normal(mean, small, (rounds, n))]
        assert np.mean(shown) == pytest.approx(0.05, abs=3.5 * math.sqrt(0.05 * 0.95 / rounds))
    for mean, sd in ((0.0025, large), (0.0030, small)):
        shown = [tost(pairs(*row), 0.0025).p < 0.05 for row in generator.normal(mean, sd, (rounds // 2, n))]
        assert np.mean(shown) < 0.05


@pytest.mark.parametrize("differences", [(), (0.01,), (0.01, 0.02), (0.01, 0.01, 0.01)])
def test_too_few_pairs_or_no_spread_show_nothing(differences: tuple[float, ...]) -> None:
    few = pairs(*differences)
    for test in (tost(few, 1.0), non_inferiority(few, 1.0), tost(few, 1e-6), non_inferiority(few, 1e-6)):
        assert math.isnan(test.p)
        assert not test.refuted
    found = paired_t(few)
    assert math.isnan(found.p)
    assert math.isnan(superiority_p(few))
    assert math.isnan(found.low) == (len(differences) != 2), "two pairs have an interval"
    assert found.mean == pytest.approx(np.mean(differences) if differences else NAN, nan_ok=True)
    assert compare(few, 1.0, NAN) == ("too few" if len(differences) < 3 else "undecided")


def test_runs_that_are_exactly_alike_are_equal() -> None:
    alike = pairs(0.0, 0.0, 0.0)
    assert compare(alike, 0.001, NAN) == "equal"
    assert (tost(alike, 0.001).p, non_inferiority(alike, 0.001).p) == (0.0, 0.0)
    assert not tost(alike, 0.001).refuted
    assert math.isnan(superiority_p(alike))
    assert compare(pairs(0.0, 0.0), 0.001, NAN) == "too few"
    assert compare(Pairs((0.0, 0.0, 0.0), 1, 0), 0.001, NAN) == "undecided", "a failed run bars the word"


def test_holm() -> None:
    # statsmodels: multipletests(p, method="holm")[1]
    assert holm([0.001, 0.04, 0.03, 0.005, 0.2]) == near(0.005, 0.09, 0.09, 0.02, 0.2)
    assert holm([0.3, 0.4]) == near(0.6, 0.6)
    assert holm([0.7, 0.8]) == near(1.0, 1.0)
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_a_missing_p_counts_as_1_and_a_later_one_never_raises_the_others() -> None:
    assert holm([0.001, NAN, 0.03, 0.005, NAN]) == near(0.005, NAN, 0.09, 0.02, NAN)
    for late, later in product((0.0001, 0.004, 0.02, 0.5, 1.0), repeat=2):
        whole = holm([0.001, late, 0.03, 0.005, later])
        assert all(whole[i] <= early + 1e-12 for i, early in ((0, 0.005), (2, 0.09), (3, 0.02)))


def test_holm_errs_in_no_more_than_5_of_100_families() -> None:
    p_values = np.random.default_rng(3).uniform(size=(4000, 8))
    erred = np.mean([min(holm(list(row))) < 0.05 for row in p_values])
    assert erred == pytest.approx(1 - (1 - 0.05 / 8) ** 8, abs=0.012)


def test_intersection_union() -> None:
    assert intersection_union([0.01, 0.04, 0.02]) == 0.04
    assert math.isnan(intersection_union([0.01, NAN]))
    assert math.isnan(intersection_union([]))


def test_claim_outcomes() -> None:
    assert claim_outcome([0.01, 0.04], [False, False]) == "holds"
    assert claim_outcome([0.01, 0.06], [False, False]) == "undecided"
    assert claim_outcome([0.01, NAN], [False, False]) == "undecided"
    assert claim_outcome([], []) == "undecided"
    assert claim_outcome([0.01, NAN], [False, True]) == "fails"


SMALL, LARGE, WIDE = (0.0009, 0.0011, 0.0010), (0.0109, 0.0111, 0.0110), (0.012, 0.001, -0.004)


@pytest.mark.parametrize(
    ("differences", "p_holm", "word"),
    [
        (LARGE, 0.01, "higher"),
        (SMALL, 0.01, "higher, within the margin"),
        (SMALL, 0.06, "equivalent"),
        (SMALL, NAN, "equivalent"),
        (LARGE, 0.06, "undecided"),
        (WIDE, 0.06, "undecided"),
        (LARGE[:2], 0.01, "too few"),
    ],
)
def test_words_of_a_cell(differences: tuple[float, ...], p_holm: float, word: str) -> None:
    assert compare(pairs(*differences), 0.0025, p_holm) == word
    mirrored = compare(pairs(*(-value for value in differences)), 0.0025, p_holm)
    assert mirrored == word.replace("higher", "lower")


def test_a_loss_gains_nothing_by_failing() -> None:
    first, second, both = (1, 0), (0, 1), (2, 1)
    words = {failed: compare(pairs(*LARGE, failed=failed), 0.0025, 0.01) for failed in (first, second, both)}
    assert words == {first: "undecided", second: "higher", both: "undecided"}
    worse = tuple(-value for value in LARGE)
    words = {failed: compare(pairs(*worse, failed=failed), 0.0025, 0.01) for failed in (first, second, both)}
    assert words == {first: "lower", second: "undecided", both: "undecided"}
    for failed in (first, second):
        assert math.isnan(tost(pairs(*SMALL, failed=failed), 0.0025).p)
        assert not tost(pairs(*LARGE, failed=failed), 0.0025).refuted
    assert compare(pairs(*SMALL, failed=second), 0.0025, 0.06) == "undecided"
    assert superiority_p(pairs(*LARGE, failed=first)) == 1.0
    assert superiority_p(pairs(*LARGE, failed=second)) < 0.05
    assert math.isnan(non_inferiority(pairs(*LARGE, failed=first), 0.0025).p)
    assert non_inferiority(pairs(*worse, failed=first), 0.0025).refuted
    assert non_inferiority(pairs(*LARGE, failed=second), 0.0025).p < 0.05
    assert not non_inferiority(pairs(*worse, failed=second), 0.0025).refuted


def test_headline() -> None:
    within = ("equivalent", "higher, within the margin", "lower, within the margin")
    expected = {"higher": "remains", "lower": "reversed", "undecided": "open", "too few": "open"}
    expected |= dict.fromkeys(within, "gone")
    assert {word: headline("higher", word) for word in expected} == expected  # type: ignore[arg-type]
    for word in expected:
        assert headline("undecided", word) == headline("too few", word) == "undecided"  # type: ignore[arg-type]
        for paper in ("lower", *within):
            assert headline(paper, word) == "not found"  # type: ignore[arg-type]


# Images


def predictions(right: str) -> np.ndarray:
    """Predictions of class 1 where right, else 0; all labels are 1."""
    return np.array([[int(mark) for mark in row] for row in right.split()], np.uint8)


def test_mcnemar() -> None:
    # statsmodels: mcnemar([[., b], [c, .]], exact=True).pvalue
    labels = np.ones(10_000, np.uint8)
    for only_first, only_second, p in ((31, 52, 0.027534178012294533), (4, 4, 1.0), (0, 6, 0.03125), (0, 0, 1.0)):
        first, second = labels.copy(), labels.copy()
        second[:only_first] = 7
        first[only_first : only_first + only_second] = 3
        first[-5:] = second[-5:] = 0  # both wrong
        assert astuple(mcnemar(first, second, labels)) == near(only_first, only_second, p)
        assert astuple(mcnemar(second, first, labels)) == near(only_second, only_first, p)


def test_mcnemar_counts_seeds() -> None:
    first = predictions("1111111111 0000000011 1111111111 0000011111")
    second = predictions("0000000011 1111111111 1111100000 1111100000")
    assert astuple(mcnemar_seeds(first, second, np.ones(10, np.uint8))) == (1, 1, 4)  # 8:0, 0:8, 5:0 (p 0.06), 5:5


def test_bootstrap_draws_images_and_seeds() -> None:
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 10, 2000)
    first, second = (np.where(generator.random((4, 2000)) < share, labels, 10) for share in (0.9, 0.8))
    second[:2] = labels  # seeds differ
    found = bootstrap_difference(first, second, labels, num_draws=4000, seed=1)
    differences = (first == labels).astype(float) - (second == labels)
    draws = []
    for _ in range(4000):  # as it is defined, one by one
        seeds, images = generator.integers(0, 4, 4), generator.integers(0, 2000, 2000)
        draws.append(
            differences[np.ix_(np.unique(seeds), images)].mean(axis=1) @ np.bincount(seeds)[np.unique(seeds)] / 4
        )
    assert found.value == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.006)
    assert found == bootstrap_difference(first, second, labels, num_draws=4000, seed=1)
    assert found != bootstrap_difference(first, second, labels, num_draws=4000, seed=2)


def test_bootstrap_of_one_seed_is_that_of_the_images() -> None:
    generator = np.random.default_rng(6)
    labels = np.ones(5000, np.uint8)
    first, second = ((generator.random((1, 5000)) < share).astype(np.uint8) for share in (0.95, 0.90))
    found = bootstrap_difference(first, second, labels)
    error = (first.astype(float) - second).std() / math.sqrt(5000)
    expected = (found.value - 1.96 * error, found.value + 1.96 * error)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.05 * error + 0.0002)
    assert astuple(bootstrap_difference(first, first, labels)) == (0, 0, 0)
    assert astuple(bootstrap_difference(first[:0], first[:0], labels)) == near(NAN, NAN, NAN)


# Proportions and curves


def test_proportion() -> None:
    # statsmodels: proportion_confint(k, n, 0.1, method="beta")
    for k, n, low, high in (
        (4, 5, 0.3425916819988613, 0.9897937816869885),
        (7, 9, 0.45035835049338985, 0.9589768324930035),
    ):
        found = proportion([True] * k + [False] * (n - k) + [None])
        assert (found.k, found.n, found.low, found.high) == near(k, n, low, high)
        exact = stats.binomtest(k, n).proportion_ci(0.90, "exact")
        assert (found.low, found.high) == near(exact.low, exact.high)
    assert astuple(proportion([None])) == (0, 0, 0, 1, "undecided")


def test_a_proportion_holds_where_the_one_sided_test_says_so() -> None:
    for n in range(1, 12):
        for k in range(n + 1):
            more, fewer = (stats.binomtest(k, n, 0.5, side).pvalue < 0.05 for side in ("greater", "less"))
            expected = "holds" if more else "fails" if fewer else "undecided"
            assert proportion([index < k for index in range(n)]).outcome == expected
    assert proportion([True] * 5).outcome == "holds"
    assert proportion([True] * 4 + [False]).outcome == proportion([True] * 3).outcome == "undecided"


def test_epochs_to_the_own_end() -> None:
    assert epochs_to_end([0.80, 0.904, 0.905, 0.91]) == 3
    assert epochs_to_end([0.80, 0.92, 0.85, 0.91]) == 2, "the first, even if later ones fall back"
    assert epochs_to_end([0.80, 0.906, 0.92, 0.91]) == 2, "the end, not the best"
    assert epochs_to_end([0.01, 0.4997, 0.5047]) == 2, "0.5 points, whatever the rounding"
    assert epochs_to_end([0.95, 0.90]) == 1
    assert epochs_to_end([0.7]) == 1
    assert math.isnan(epochs_to_end([]))
    assert math.isnan(epochs_to_end([0.8, NAN]))


def test_area_under_the_curve() -> None:
    assert area_under_curve([0.8, 0.9, 1.0]) == pytest.approx(0.9)
    assert math.isnan(area_under_curve([]))
    assert math.isnan(area_under_curve([NAN, 0.9]))
