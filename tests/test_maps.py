"""Each loss's own map from logits to probabilities, and the scores of runs by it."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

from lossbench.config.options import Imbalance, LossConfig
from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.build import build_loss
from lossbench.models.cnn2c import Cnn2c
from lossbench.properties.minimisers import Problem, posteriors, smooth
from lossbench.report.own import _calibration as reliability_of
from lossbench.runs.checks import check_fields
from lossbench.runs.folder import open_run
from lossbench.runs.measures import compared_map
from lossbench.runs.records import Record
from lossbench.statistics.calibration import FLOOR, calibration, own_map, scores, tempered
from lossbench.statistics.ranking import ranking
from lossbench.training.evaluate_run import evaluate_run
from lossbench.training.fit import fit

Floats = NDArray[np.float64]

OPTIONS: dict[str, list[dict[str, float]]] = {
    "sparsemax": [{}],
    "entmax": [{}, {"alpha": 1.2}, {"alpha": 2.0}],
    "squared": [{}, {"k": 5.0, "m": 3.0}, {"k": 0.5}],
    "rg2": [{}, {"a": 0.7}],
    "taylor_softmax": [{}],
    "gce": [{}, {"r": 0.2}],
    "focal": [{}, {"gamma": 0.0}, {"gamma": 1.0}, {"gamma": 5.0}],
    "poly1": [{}, {"eps": -1.0}, {"eps": 3.0}, {"eps": 0.0}],
    "label_smoothing": [{}, {"eps": 0.4}],
    "logit_adjusted": [{}, {"tau": 0.5}],
    "ldam": [{}, {"max_margin": 2.0, "logit_scale": 1.0}],
    "asymmetric": [
        {},
        {"gamma_neg": 0.0, "clip": 0.0},
        {"gamma_neg": 0.5, "clip": 0.1},
        {"gamma_pos": 2.0, "gamma_neg": 1.0, "clip": 0.0},
    ],
    "weston_watkins_squared": [{}],
}
"""Losses with a map of their own, with options that change it."""

CASES = [(name, options) for name, several in OPTIONS.items() for options in several]
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{options}" for name, options in CASES])

SIZES = np.array([900, 300, 90, 10])
LOGITS = np.array(
    [[2.0, -1.0, 0.5, 0.0], [0.1, 0.2, -3.0, 1.5], [-0.7, 4.0, 1.0, -2.0], [0.0, 0.0, 0.0, 0.0], [9.0, 1.0, -40.0, 8.5]]
)


def built(name: str, options: dict[str, float]) -> LossConfig:
    return LOSSES[name].options(**options)


def by_own(loss: LossConfig, logits: Floats, sizes: Any = SIZES) -> Floats:
    found = loss.probabilities(logits, sizes)
    assert found is not None
    return found


def test_every_own_map_is_tested_here() -> None:
    assert {name for name, facts in LOSSES.items() if "own" in facts.maps} == {*OPTIONS, "rg2_features"}
    assert LOSSES["rg2_features"].options.probabilities is LOSSES["rg2"].options.probabilities


@every_case
def test_at_the_minimiser_the_own_map_gives_the_posterior(name: str, options: dict[str, float]) -> None:
    loss, counts = built(name, options), posteriors(4, 8, np.random.default_rng(2))
    problems = [Problem(one) for one in counts]
    of_loss = build_loss(loss, torch.from_numpy(SIZES))
    points, reached = smooth(of_loss, problems, "mean", np.random.default_rng(0))
    z = points[reached.argmin(axis=0), np.arange(len(counts))]
    np.testing.assert_allclose(by_own(loss, z), counts / 40, atol=1e-6)


@every_case
def test_its_values_are_probabilities(name: str, options: dict[str, float]) -> None:
    loss, random = built(name, options), np.random.default_rng(0)
    drawn = [scale * random.standard_normal((50, 4)) for scale in (0.1, 1.0, 10.0, 300.0)]
    far = np.array([[65504.0, -65504.0, 0.0, 1.0], [-65504.0] * 4, [65504.0] * 4, [65504.0, 65504.0, -65504.0, 0.0]])
    for logits in (*drawn, far):
        with np.errstate(all="raise", under="ignore"):
            p = by_own(loss, logits)
        assert p.dtype == np.float64
        assert p.shape == logits.shape
        assert ((p >= 0) & (p <= 1 + 1e-12)).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-9)


def softmaxes() -> Floats:
    found: Floats = softmax(LOGITS, axis=1)
    return found


def of_sum(values: Floats) -> Floats:
    return values / values.sum(axis=1, keepdims=True)


def phi(p: Floats, gamma: float) -> Floats:
    return (1 - p) ** gamma - gamma * (1 - p) ** (gamma - 1) * p * np.log(p)


def test_values_are_those_of_the_formulas() -> None:
    p, z = softmaxes()[:4], LOGITS[:4]
    expected: dict[str, Floats] = {
        "gce": of_sum(p**0.3),
        "focal": of_sum(p / phi(p, 2.0)),
        "poly1": of_sum(p / (1 + p)),
        "label_smoothing": of_sum(np.maximum(0, (p - 0.025) / 0.9)),
        "logit_adjusted": of_sum(p * SIZES),
        "squared": of_sum(z.clip(0, 1) + (z.max(axis=1, keepdims=True) <= 0)),
        "rg2": of_sum(((1 + z) / 4).clip(0, 1)),
        "taylor_softmax": of_sum(1 + z + z**2 / 2),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(by_own(built(name, {}), z), values, rtol=1e-12, atol=1e-15, err_msg=name)
    np.testing.assert_allclose(
        by_own(built("asymmetric", {"gamma_neg": 0.0, "clip": 0.0}), z), of_sum(expit(z)), rtol=1e-12
    )
    np.testing.assert_allclose(by_own(built("sparsemax", {}), z)[2], [0, 1, 0, 0])
    np.testing.assert_allclose(by_own(built("sparsemax", {}), z)[1], [0, 0, 0, 1])


def test_maps_without_class_sizes() -> None:
    for name in OPTIONS:
        loss, needs = built(name, {}), name in ("logit_adjusted", "ldam")
        assert (loss.probabilities(LOGITS, None) is None) == needs
        assert (own_map(loss, 4) is None) == needs
        assert ("own" in scores(LOGITS, np.arange(5) % 4, loss)) != needs


def test_gce_at_its_end_has_no_own_map() -> None:
    assert own_map(built("gce", {"r": 1.0}), 4) is None
    assert "own" not in scores(LOGITS, np.arange(5) % 4, built("gce", {"r": 1.0}), SIZES)


def test_the_squared_hinge_has_its_map_for_few_classes_alone() -> None:
    loss, logits = built("weston_watkins_squared", {}), np.random.default_rng(0).standard_normal((3, 21))
    assert loss.probabilities(logits, None) is None
    assert loss.probabilities(logits[:, :20], None) is not None
    assert list(scores(logits, np.arange(3), loss)) == ["softmax", "tempered"]


def test_losses_without_a_map_say_so() -> None:
    none = {"mae", "crammer_singer", "weston_watkins", "rankmax", "one_minus_p_squared"}
    assert {name for name, facts in LOSSES.items() if facts.posterior == "none"} == none
    for name in none:
        assert LOSSES[name].maps == ("softmax",)
        assert LOSSES[name].options().probabilities(LOGITS, SIZES) is None


def test_facts_of_the_paper_s_losses_are_as_before() -> None:
    known = {
        name: (LOSSES[name].maps, LOSSES[name].posterior, LOSSES[name].compared) for name in ("sml", "lgl", "lgl_inr")
    }
    sigmoids = ("sigmoid", "sigmoid_normalised", "softmax")
    assert known["sml"] == (("softmax",), "softmax", "softmax")
    assert known["lgl"] == (sigmoids, "sigmoid", "sigmoid_normalised")
    assert known["lgl_inr"][1:] == ("shifted", "shifted_normalised")


def test_zeros_are_counted_and_the_nll_has_a_floor() -> None:
    logits, labels = (
        np.array([[3.0, 0.0, 0.0], [0.2, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 5.0, 0.0]]),
        np.array([0, 0, 1, 1]),
    )
    loss = built("sparsemax", {})
    found = scores(logits, labels, loss)
    p = [1.0, (1 - 0.2) / 3 + 0.2, 0.0, 1.0]
    assert found["own"]["zeros"] == 0.25
    assert found["own"]["nll"] == pytest.approx(-np.log(np.maximum(p, FLOOR)).mean(), rel=1e-12)
    assert found["own"]["brier"] == pytest.approx((2 + (1 - p[1]) ** 2 + 2 * ((1 - p[1]) / 2) ** 2) / 4, rel=1e-12)
    assert math.isfinite(found["tempered"]["nll"])
    assert "zeros" not in found["softmax"]
    assert found["softmax"] == scores(logits, labels, "sml")["softmax"]


def test_temperature_divides_the_logits_of_the_own_map() -> None:
    random = np.random.default_rng(0)
    truth = 1.5 * random.standard_normal((3000, 4))
    p = by_own(built("entmax", {}), truth)
    labels = (p.cumsum(axis=1) < random.random((3000, 1))).sum(axis=1)
    own = own_map(built("entmax", {}), 4)
    found = tempered(3 * truth, labels, ["own", "softmax"], own)
    assert found.maps == ("own", "own")
    assert found.temperatures == pytest.approx((3, 3), rel=0.1)
    half = calibration(truth, labels, "own", own).scores.nll
    assert calibration(3 * truth, labels, "own", own).scores.nll > half


def test_the_own_map_must_be_given() -> None:
    with pytest.raises(ValueError, match="the map own needs the loss's options"):
        calibration(LOGITS, np.arange(5) % 4, "own")


@pytest.mark.parametrize("name", ["logit_adjusted", "sparsemax"])
def test_a_run_keeps_what_its_map_needs(name: str, tmp_path: Path) -> None:
    runtime = Runtime("cpu", str(tmp_path), num_threads=1, tensorboard=False)
    config = Config(Digits(num_train=200), Cnn2c(), built(name, {}), Schedule(epochs=1, batch_size=32), runtime=runtime)
    run = open_run(config)
    record = fit(config, run)
    with np.load(run.folder / "arrays.npz") as arrays:
        logits, labels = arrays["test_logits"], arrays["test_labels"]
    assert sum(record["class_counts"]) == 200
    assert record["scores"] == scores(logits, labels, config.loss, np.array(record["class_counts"]))
    assert list(record["scores"]) == ["own", "softmax", "tempered"]
    assert record["ranking"] == ranking(logits, labels)
    counts = np.array(record["class_counts"])
    positive = (config.loss.probabilities(logits.astype(float), counts) > 0).sum() / len(labels)
    assert record["positive_classes"] == pytest.approx(positive)
    assert (positive < 10) == (name == "sparsemax")
    assert compared_map(record) == "own"
    own = own_map(config.loss, 10, np.array(record["class_counts"]))
    assert record["scores"]["own"]["nll"] == calibration(logits, labels, "own", own).scores.nll
    if name == "logit_adjusted":
        log_p = log_softmax(logits.astype(float) + np.log(np.array(record["class_counts"]) / 200), axis=1)
        assert record["scores"]["own"]["nll"] == pytest.approx(-log_p[np.arange(len(labels)), labels].mean(), rel=1e-9)


def test_evaluation_of_the_weights_gives_the_same_scores(tmp_path: Path) -> None:
    runtime = Runtime("cpu", str(tmp_path), num_threads=1, tensorboard=False, save_weights=True)
    digits = Digits(num_train=200, imbalance=Imbalance.step, imbalance_ratio=4.0)
    config = Config(digits, Cnn2c(), built("ldam", {}), Schedule(epochs=1, batch_size=32), runtime=runtime)
    run = open_run(config)
    record = fit(config, run)
    assert max(record["class_counts"]) > 3 * min(record["class_counts"])
    found = evaluate_run(Record(record, run.folder / "arrays.npz"), run.folder, None, runtime)
    assert found.scores == record["scores"]
    assert found.as_recorded


def test_the_report_reads_a_run_by_its_own_map() -> None:
    labels = np.arange(5) % 4
    fields = {"run_id": "x", "config": {"loss": asdict(built("entmax", {"alpha": 1.2}))}, "class_counts": [9, 3, 1, 1]}
    given = fields | {"scores": scores(LOGITS, labels, built("entmax", {"alpha": 1.2}))}
    own = own_map(built("entmax", {"alpha": 1.2}), 4)
    found, expected = reliability_of(given, LOGITS, labels), calibration(LOGITS, labels, "own", own)
    assert found.scores == expected.scores
    assert found.scores != calibration(LOGITS, labels, "softmax").scores
    without = fields | {"config": {"loss": asdict(built("logit_adjusted", {}))}, "class_counts": None}
    assert reliability_of(without, LOGITS, labels).scores == calibration(LOGITS, labels, "softmax").scores


def test_a_record_from_before_its_loss_had_a_map_is_read(tmp_path: Path) -> None:
    runtime = Runtime("cpu", str(tmp_path), num_threads=1, tensorboard=False)
    config = Config(
        Digits(num_train=60), Cnn2c(), built("focal", {}), Schedule(epochs=1, batch_size=32), runtime=runtime
    )
    record = json.loads(json.dumps(fit(config, open_run(config))))
    assert asdict(config)["loss"]["name"] == "focal"
    check_fields(record)
    del record["scores"]["own"], record["class_counts"]
    check_fields(record)
    assert compared_map(record) == "softmax"
