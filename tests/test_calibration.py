"""Calibration: scores against loops, scipy-free definitions and scikit-learn; binning at its edges."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from lossbench.calibration import NUM_BINS, Calibration, Map, calibration


def drawn(num: int = 4_000, num_classes: int = 5, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the softmax of some logits, and these times `sharpness`: 1 is calibrated."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (num, num_classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > generator.random((num, 1))).argmax(axis=1)
    return sharpness * logits, labels


def by_loops(logits: np.ndarray, labels: np.ndarray, probabilities: Map) -> tuple[float, float, float, list[int]]:
    """As the definitions read, image by image."""
    nll = brier = 0.0
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(NUM_BINS)]
    for row, label in zip(logits, labels, strict=True):
        if probabilities == "softmax":
            total = sum(math.exp(z) for z in row)
            p = [math.exp(z) / total for z in row]
            nll -= math.log(p[label])
        else:
            p = [1 / (1 + math.exp(-z)) for z in row]
            nll -= sum(math.log(p_k if k == label else 1 - p_k) for k, p_k in enumerate(p))
        brier += sum((p_k - (k == label)) ** 2 for k, p_k in enumerate(p))
        best = max(range(len(p)), key=lambda k: row[k])
        place = next(b for b in range(NUM_BINS) if p[best] <= (b + 1) / NUM_BINS)
        bins[place].append((p[best], best == label))
    ece = sum(abs(sum(right for _, right in b) - sum(p for p, _ in b)) for b in bins) / len(labels)
    return nll / len(labels), brier / len(labels), ece, [len(b) for b in bins]


@pytest.mark.parametrize("probabilities", ["softmax", "sigmoid"])
def test_scores_are_those_of_the_definitions(probabilities: Map) -> None:
    logits, labels = drawn(300)
    found = calibration(logits, labels, probabilities)
    nll, brier, ece, counts = by_loops(logits, labels, probabilities)
    assert (found.nll, found.brier, found.ece) == pytest.approx((nll, brier, ece), rel=1e-12)
    assert found.counts.tolist() == counts


def test_scores_are_those_of_scikit_learn() -> None:
    logits, labels = drawn()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = calibration(logits, labels, "softmax")
    assert found.nll == pytest.approx(log_loss(labels, p), rel=1e-9)
    sigmoid, one = 1 / (1 + np.exp(-logits)), np.eye(5)[labels]
    each = [brier_score_loss(one[:, k], sigmoid[:, k]) for k in range(5)]
    assert calibration(logits, labels, "sigmoid").brier == pytest.approx(sum(each), rel=1e-9)
    right = (p.argmax(axis=1) == labels).astype(int)
    accuracy, confidence = calibration_curve(right, p.max(axis=1), n_bins=NUM_BINS)
    there = found.counts > 0
    assert found.accuracy[there] == pytest.approx(accuracy)
    assert found.confidence[there] == pytest.approx(confidence)


def test_sharper_logits_are_overconfident_and_flatter_ones_the_reverse() -> None:
    honest, sharp, flat = (calibration(*drawn(sharpness=s), "softmax") for s in (1.0, 3.0, 0.3))
    assert honest.ece < 0.03
    assert abs(honest.overconfidence) < 0.02
    assert sharp.overconfidence > 0.1
    assert flat.overconfidence < -0.1
    assert min(sharp.ece, flat.ece) > 0.1
    assert min(sharp.nll, flat.nll) > honest.nll


def test_extremes_stay_finite_and_every_image_has_a_bin() -> None:
    logits = np.array([[800.0, -800.0], [-800.0, 800.0], [0.0, 0.0]], np.float32)
    found = [calibration(logits, np.array([0, 0, 0]), name) for name in ("softmax", "sigmoid")]
    assert [one.nll for one in found] == pytest.approx([(1600 + math.log(2)) / 3, (1600 + 2 * math.log(2)) / 3])
    for one in found:
        assert isinstance(one, Calibration)
        assert one.counts.sum() == 3
        assert one.counts[-1] == 2
        assert np.isnan(one.accuracy[one.counts == 0]).all()
    edge = calibration(np.array([[0.0, -1.0]]), np.array([0]), "sigmoid")  # 0.5 lies in the middle bin
    assert edge.counts[NUM_BINS // 2] == 1
