"""Predictions once the prior is known, against the definitions, and accuracy by halves against loops."""

import numpy as np
import pytest
from scipy.special import expit, softmax

from lossbench.statistics.adjustment import accuracies, logit_adjusted, majority, threshold_moved

COUNTS = np.array([900, 60, 240])
LOGITS = np.random.default_rng(3).normal(0, 2, (500, 3))


def test_two_classes_with_softmax_have_their_threshold_moved_to_the_share() -> None:
    logits, counts = LOGITS[:, :2], np.array([900, 100])
    rare = softmax(logits, axis=1)[:, 1]
    expected = (rare > 0.1).astype(int)
    assert 0 < expected.sum() < 500
    assert (expected != (rare > 0.5)).any()
    assert np.array_equal(threshold_moved(logits, counts, "softmax"), expected)
    assert np.array_equal(logit_adjusted(logits, counts, "softmax"), expected)


def test_many_classes_are_those_of_the_definitions() -> None:
    shares = COUNTS / COUNTS.sum()
    moved = (softmax(LOGITS, axis=1) / shares).argmax(axis=1)
    assert np.array_equal(threshold_moved(LOGITS, COUNTS, "softmax"), moved)
    assert np.array_equal(logit_adjusted(LOGITS, COUNTS, "softmax"), moved)
    one_vs_all = (expit(LOGITS) / shares).argmax(axis=1)
    odds = (LOGITS - np.log(shares / (1 - shares))).argmax(axis=1)
    assert np.array_equal(threshold_moved(LOGITS, COUNTS, "sigmoid"), one_vs_all)
    assert np.array_equal(logit_adjusted(LOGITS, COUNTS, "sigmoid"), odds)
    assert not np.array_equal(one_vs_all, odds)


@pytest.mark.parametrize("probabilities", ["softmax", "sigmoid"])
def test_equal_classes_change_nothing(probabilities: str) -> None:
    for method in (threshold_moved, logit_adjusted):
        found = method(LOGITS, np.array([7, 7, 7]), probabilities)  # type: ignore[arg-type]
        assert np.array_equal(found, LOGITS.argmax(axis=1))


def test_far_logits_stay_apart() -> None:
    logits = np.array([[-900.0, -800.0], [900.0, 60.0]], np.float32)
    assert threshold_moved(logits, np.array([10, 1]), "sigmoid").tolist() == [1, 1]  # both sigmoids of the second are 1
    assert logit_adjusted(logits, np.array([10, 1]), "sigmoid").tolist() == [1, 0]


def test_halves_are_of_training_images() -> None:
    assert majority(np.array([5, 9, 9, 2, 9])).tolist() == [False, True, True, False, True]
    assert majority(np.array([5, 5, 5, 5])).tolist() == [True, True, False, False]
    labels = np.array([0] * 10 + [1] * 4 + [2] * 2 + [3] * 5)
    predictions = np.array([0] * 7 + [1] * 3 + [1, 1, 1, 0] + [2, 3] + [3] * 5)
    found = accuracies(predictions, labels, np.array([100, 10, 50, 20]))
    assert found.majority == pytest.approx((0.7 + 0.5) / 2)
    assert found.minority == pytest.approx((0.75 + 1.0) / 2)
    assert found.all == pytest.approx((0.7 + 0.75 + 0.5 + 1.0) / 4)
