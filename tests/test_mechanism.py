"""The paper's mechanism on matrices whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from lossbench.studies.aaai20.mechanism import named_pairs, ranks, relative_gain

NUM = 6
OFF = ~np.eye(NUM, dtype=bool)


def errors(seed: int = 0) -> np.ndarray:
    counts = np.random.default_rng(seed).integers(5, 200, (NUM, NUM))
    np.fill_diagonal(counts, 9999)
    return counts


def test_gain_is_the_share_of_errors_avoided() -> None:
    lgl, inr = np.array([[50, 30], [0, 60]]), np.array([[70, 10], [0, 60]])
    gain = relative_gain(lgl, inr)
    assert gain[0, 1] == 0.5
    assert np.isnan(gain[[0, 1, 1], [0, 1, 0]]).all()


def test_gains_on_confusable_pairs_are_found_and_even_gains_are_not() -> None:
    sml, lgl = errors(), errors(1)
    hard = sml / 200
    helped = np.where(OFF, lgl * (1 - 0.8 * hard), lgl)
    weights = np.where(OFF, hard, 0)
    found = ranks(lgl, helped, sml, weights)
    assert found.gain_confusability == pytest.approx(1, abs=1e-3)
    assert found.weight_confusability == pytest.approx(1, abs=1e-3)
    assert found.num_pairs == NUM * (NUM - 1)
    harmed = np.where(OFF, lgl * (1 + 0.8 * hard), lgl)
    assert ranks(lgl, harmed, sml, weights).gain_weight == pytest.approx(-1, abs=1e-3)
    assert found.control_weight == pytest.approx(stats.spearmanr(relative_gain(lgl, sml)[OFF], hard[OFF]).statistic)
    assert ranks(lgl, errors(2), helped, weights).control_weight == pytest.approx(1, abs=1e-3)  # SML gains the same way
    noise = ranks(lgl, errors(2), errors(3), weights)
    gain = relative_gain(lgl, errors(2))[OFF]
    assert noise.gain_confusability == pytest.approx(stats.spearmanr(gain, errors(3)[OFF]).statistic)
    assert abs(noise.gain_confusability) < 0.5
    assert np.isnan(ranks(lgl, np.where(OFF, lgl / 2, lgl), sml, weights).gain_weight)  # all gains alike


def test_the_heaviest_pairs_are_named() -> None:
    weights = np.zeros((4, 4))
    weights[2, 1], weights[0, 3], weights[3, 0] = 0.9, 0.8, 0.7
    assert named_pairs(weights) == [(2, 1), (0, 3), (3, 0)]
