"""The noise of selection: points of a curve, and how sure the choice of a learning rate is."""

import math

import numpy as np
import pytest

from lossbench.statistics.selection import rate_points, selection

NAN = math.nan


def test_points_have_mean_range_and_what_is_lost() -> None:
    curve = {0.1: (0.9, 0.8, None), 0.01: (0.12, None, None), 1.0: (NAN, NAN, NAN), 0.3: (0.7, NAN, 0.9), 3.0: (None,)}
    points = {point.lr: point for point in rate_points(curve, 0.1)}
    assert list(points) == [0.01, 0.1, 0.3, 1.0, 3.0]
    both = points[0.1]
    assert (both.mean, both.low, both.high, both.n, both.diverged) == (pytest.approx(0.85), 0.8, 0.9, 2, 0)
    assert (both.has_learned, both.lost) == (True, False)
    assert (points[0.01].has_learned, points[0.01].lost) == (False, True), "near guessing"
    assert (points[0.3].n, points[0.3].diverged) == (2, 1)
    assert (points[0.3].has_learned, points[0.3].lost) == (True, True)
    assert (points[1.0].n, points[1.0].diverged, points[1.0].lost) == (0, 3, True)
    assert math.isnan(points[1.0].mean)
    assert math.isnan(points[1.0].low)
    assert (points[3.0].n, points[3.0].has_learned, points[3.0].lost) == (0, False, False)


def pooled_as_defined(groups: list[list[float]]) -> float:
    squares, df = 0.0, 0
    for values in groups:
        mean = sum(values) / len(values)
        squares += sum((value - mean) ** 2 for value in values)
        df += len(values) - 1
    return math.sqrt(squares / df)


def test_the_choice_beside_the_next_best() -> None:
    curve = {
        0.01: (0.95, None, None),  # tried by one seed alone: not the next best
        0.03: (0.90, 0.91, 0.92),
        0.1: (0.93, 0.90, 0.96),
        0.3: (0.91, 0.92, 0.90),
        1.0: (NAN, 0.99, 0.99),
    }
    found = selection(curve, 0.1)
    assert found.runner_up == 0.03, "the smaller of equals"
    assert found.lead.n == 3
    assert found.lead.mean == pytest.approx(0.02)
    gaps = np.array([0.03, -0.01, 0.04])
    half = 4.302652729911275 * gaps.std(ddof=1) / math.sqrt(3)
    assert (found.lead.low, found.lead.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))
    assert found.first_choices == (0.1, 0.3, 0.1)
    groups = [[0.90, 0.91, 0.92], [0.93, 0.90, 0.96], [0.91, 0.92, 0.90], [0.99, 0.99]]
    assert found.spread.sd == pytest.approx(pooled_as_defined(groups))
    assert found.spread.df == 7


def test_a_single_seed_has_no_noise() -> None:
    found = selection({0.1: (0.9,), 0.3: (0.8,)}, 0.1)
    assert math.isnan(found.spread.sd)
    assert (found.runner_up, found.lead.n, found.first_choices) == (0.3, 1, (0.1,))
    assert found.lead.mean == pytest.approx(0.1)
    assert math.isnan(found.lead.low)


def test_a_choice_without_finished_runs() -> None:
    found = selection({0.1: (NAN, NAN), 0.3: (NAN, NAN)}, 0.1)
    assert (found.runner_up, found.lead.n, found.first_choices) == (None, 0, ())
