"""Calibration: scores against loops, scipy-free definitions and scikit-learn; binning at its edges."""

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from lossbench.statistics.calibration import (
    NUM_BINS,
    Calibration,
    Map,
    calibration,
    log_probabilities,
    scores,
    tempered,
)


def drawn(num: int = 4_000, num_classes: int = 5, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the softmax of some logits, and these times `sharpness`: 1 is calibrated."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (num, num_classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > generator.random((num, 1))).argmax(axis=1)
    return sharpness * logits, labels


MAPS: list[Map] = ["softmax", "sigmoid", "shifted", "sigmoid_normalised", "shifted_normalised"]


def by_loops(logits: np.ndarray, labels: np.ndarray, name: Map) -> tuple[float, float, float, list[int], float]:
    """As the definitions read, image by image."""
    nll = brier = 0.0
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(NUM_BINS)]
    ranked: list[tuple[float, bool]] = []
    for row, label in zip(logits, labels, strict=True):
        z = [z_k - math.log(len(row) - 1) if name.startswith("shifted") else z_k for z_k in row]
        p = [math.exp(z_k) if name == "softmax" else 1 / (1 + math.exp(-z_k)) for z_k in z]
        if name in ("sigmoid", "shifted"):
            nll -= sum(math.log(p_k if k == label else 1 - p_k) for k, p_k in enumerate(p))
        else:
            p = [p_k / sum(p) for p_k in p]
            nll -= math.log(p[label])
        brier += sum((p_k - (k == label)) ** 2 for k, p_k in enumerate(p))
        best = max(range(len(p)), key=lambda k: row[k])
        place = next(b for b in range(NUM_BINS) if p[best] <= (b + 1) / NUM_BINS)
        bins[place].append((p[best], best == label))
        ranked.append((p[best], best == label))
    ece = sum(abs(sum(right for _, right in b) - sum(p for p, _ in b)) for b in bins) / len(labels)
    ranked.sort(key=lambda one: one[0])
    size = len(ranked) // NUM_BINS
    parts = [ranked[start : start + size] for start in range(0, len(ranked), size)]
    adaptive = sum(abs(sum(right - p for p, right in part)) for part in parts) / len(labels)
    return nll / len(labels), brier / len(labels), ece, [len(b) for b in bins], adaptive


@pytest.mark.parametrize("name", MAPS)
def test_scores_are_those_of_the_definitions(name: Map) -> None:
    logits, labels = drawn(300)  # 15 bins of 20
    found = calibration(logits, labels, name)
    nll, brier, ece, counts, adaptive = by_loops(logits, labels, name)
    assert (found.scores.nll, found.scores.brier, found.scores.ece) == pytest.approx((nll, brier, ece), rel=1e-12)
    assert found.scores.adaptive_ece == pytest.approx(adaptive, rel=1e-12)
    assert found.counts.tolist() == counts


def test_the_shifted_map_gives_back_the_posterior_at_lgl_inrs_minimum() -> None:
    """At beta 0 its population minimiser is s_k = b_k / (b_k + (1 - b_k) / (K - 1)) for the balanced posterior b."""
    b = np.random.default_rng(1).dirichlet(np.ones(7), 50)
    s = b / (b + (1 - b) / 6)
    logits = np.log(s / (1 - s))
    assert np.exp(log_probabilities(logits, "shifted")) == pytest.approx(b, rel=1e-9)
    assert np.exp(log_probabilities(logits, "shifted_normalised")) == pytest.approx(b, rel=1e-9)
    assert np.abs(np.exp(log_probabilities(logits, "sigmoid")) - b).max() > 0.2


def test_a_temperature_mends_what_one_factor_broke_and_is_scored_on_the_other_half() -> None:
    logits, labels = drawn(sharpness=3.0)
    found = tempered(logits, labels, ["softmax"])
    assert found.maps == ("softmax", "softmax")
    assert found.temperatures == pytest.approx((3.0, 3.0), rel=0.1)
    halves = [tempered(np.roll(logits, shift, axis=0), np.roll(labels, shift), ["softmax"]) for shift in (0, 1)]
    assert halves[0].temperatures == pytest.approx(halves[1].temperatures[::-1], rel=1e-3)
    one, two = (calibration(logits / t, labels, "softmax").scores.nll for t in found.temperatures)
    whole = scores(logits, labels, "sml")["tempered"]
    assert whole["nll"] == pytest.approx((one + two) / 2, rel=0.02)
    assert whole["nll"] < scores(logits, labels, "sml")["softmax"]["nll"]
    swapped = labels.copy()
    swapped[::2] = 0  # the even half's own labels do not touch the map that it is scored with
    assert tempered(logits, swapped, ["softmax"]).temperatures[1] == found.temperatures[1]


def test_the_best_map_is_the_one_that_fits() -> None:
    logits, labels = drawn()
    log_odds = np.log(
        1 / np.exp(-log_probabilities(logits, "softmax")) / -np.expm1(log_probabilities(logits, "softmax"))
    )
    assert set(tempered(log_odds, labels, ["softmax", "sigmoid_normalised"]).maps) == {"sigmoid_normalised"}
    assert set(tempered(logits, labels, ["softmax", "sigmoid_normalised"]).maps) == {"softmax"}


def test_a_record_keeps_the_maps_of_its_loss() -> None:
    logits, labels = drawn(100)
    assert list(scores(logits, labels, "sml")) == ["softmax", "tempered"]
    assert list(scores(logits, labels, "lgl")) == ["sigmoid", "sigmoid_normalised", "softmax", "tempered"]
    assert list(scores(logits, labels, "lgl_inr")) == [*sorted(MAPS, key=MAPS.index)[1:], "softmax", "tempered"]
    assert list(scores(logits, labels, "another")) == ["softmax", "tempered"]
    assert "tempered" not in scores(logits[:1], labels[:1], "sml")
    wide = np.zeros((4, 101))
    assert list(scores(wide, np.arange(4), "sml")) == ["softmax"]


def test_scores_are_those_of_scikit_learn() -> None:
    logits, labels = drawn()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = calibration(logits, labels, "softmax")
    assert found.scores.nll == pytest.approx(log_loss(labels, p), rel=1e-9)
    sigmoid, one = 1 / (1 + np.exp(-logits)), np.eye(5)[labels]
    each = [brier_score_loss(one[:, k], sigmoid[:, k]) for k in range(5)]
    assert calibration(logits, labels, "sigmoid").scores.brier == pytest.approx(sum(each), rel=1e-9)
    right = (p.argmax(axis=1) == labels).astype(int)
    accuracy, confidence = calibration_curve(right, p.max(axis=1), n_bins=NUM_BINS)
    there = found.counts > 0
    assert found.accuracy[there] == pytest.approx(accuracy)
    assert found.confidence[there] == pytest.approx(confidence)


def test_sharper_logits_are_overconfident_and_flatter_ones_the_reverse() -> None:
    honest, sharp, flat = (calibration(*drawn(sharpness=s), "softmax") for s in (1.0, 3.0, 0.3))
    assert honest.scores.ece < 0.03
    assert abs(honest.scores.overconfidence) < 0.02
    assert sharp.scores.overconfidence > 0.1
    assert flat.scores.overconfidence < -0.1
    assert min(sharp.scores.ece, flat.scores.ece) > 0.1
    assert min(sharp.scores.nll, flat.scores.nll) > honest.scores.nll


def test_extremes_stay_finite_and_every_image_has_a_bin() -> None:
    logits = np.array([[800.0, -800.0], [-800.0, 800.0], [0.0, 0.0]], np.float32)
    found = [calibration(logits, np.array([0, 0, 0]), name) for name in ("softmax", "sigmoid")]
    assert [one.scores.nll for one in found] == pytest.approx([(1600 + math.log(2)) / 3, (1600 + 2 * math.log(2)) / 3])
    for one in found:
        assert isinstance(one, Calibration)
        assert one.counts.sum() == 3
        assert one.counts[-1] == 2
        assert np.isnan(one.accuracy[one.counts == 0]).all()
    edge = calibration(np.array([[0.0, -1.0]]), np.array([0]), "sigmoid")  # 0.5 lies in the middle bin
    assert edge.counts[NUM_BINS // 2] == 1
