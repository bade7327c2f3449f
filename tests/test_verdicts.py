"""Verdicts on invented runs: every word, family and claim against one worked out by hand or by scipy."""

import math

import numpy as np
import pytest
from invented import FAMILY, LEVEL, Known, give_own_lr, level, unknown
from scipy import stats

from lossbench.config.run import run_id
from lossbench.data import labels as known_labels
from lossbench.statistics import inference
from lossbench.studies.aaai20 import figure1 as classes
from lossbench.studies.aaai20.claims import FAMILIES, claims, contrasts_of
from lossbench.studies.aaai20.conditions import CONDITIONS, cells
from lossbench.studies.aaai20.keys import CNN2C, LGL, LGL_INR, LITERAL, labelled
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.results import area, best, epochs_to_end, last

SMALL = [("CNN2C", dataset) for dataset in ("MNIST", "FMNIST", "KMNIST")]


def test_cells_are_judged_with_the_spread_of_all_losses(cnn2c: Known) -> None:
    judged = {one.key: one for one in Judge(cnn2c).cells()}
    assert len(judged) == 24 + 2 + 9
    assert sum(one.cell.paper is not None and one.key.model != LITERAL for one in judged.values()) == 26
    one = judged[labelled("CNN2C", "FMNIST", "SML")]
    values = {
        key: np.array([level(key)(seed) for seed in range(5)]) for key in judged if key.place == (CNN2C, "fmnist")
    }
    pooled = math.sqrt(sum(v.var(ddof=1) for v in values.values()) / 3)
    half = stats.t.ppf(0.975, 12) * pooled * math.sqrt(1.2)
    assert one.last.half_width == pytest.approx(half, rel=1e-9)
    assert one.last.mean == pytest.approx(values[one.key].mean(), rel=1e-12)
    assert one.best.mean == pytest.approx(one.last.mean + 0.001, rel=1e-12)
    assert one.last.mean - half > 0.9115
    assert one.outcome == "paper lower"
    assert judged[labelled("CNN2C", "KMNIST", "SML")].last.spread.df == 20  # beta 2 and 4 as well, beta 1 once
    assert judged[labelled("CNN5C", "KMNIST", "SML")].outcome == "too few"
    assert judged[labelled("CNN2C", "KMNIST", "beta 2")].cell.paper == 96.29


def test_a_family_is_corrected_over_the_cells_it_will_have(cnn2c: Known) -> None:
    family = Judge(cnn2c).family(FAMILY["paper/LGL-INR - SML"])
    assert [one.contrast.first.labels[:2] for one in family] == [
        *((network, dataset) for network in ("CNN2C", "CNN5C") for dataset in ("MNIST", "FMNIST", "KMNIST")),
        ("MobileNetV2", "CIFAR-10"),
        ("ResNet-18", "CIFAR-10"),
    ]
    assert [one.word for one in family] == ["higher"] * 3 + ["too few"] * 5
    first = [level(labelled("CNN2C", "MNIST", "LGL-INR"))(seed) for seed in range(5)]
    second = [level(labelled("CNN2C", "MNIST", "SML"))(seed) for seed in range(5)]
    p = stats.ttest_rel(first, second).pvalue
    assert family[0].difference.p == pytest.approx(p, rel=1e-6)
    assert family[0].p_holm == pytest.approx(8 * p, rel=1e-6)  # the three p are alike, the five missing count as 1
    sizes = {family.label: len(Judge(cnn2c).family(family)) for family in FAMILIES}
    assert sizes == {
        "paper/LGL-INR - SML": 8,
        "paper/LGL-INR - LGL": 8,
        "paper/LGL - SML": 8,
        "paper/larger - smaller": 12,
        "literal/LGL-INR - SML": 3,
        "literal/LGL-INR - LGL": 3,
        "literal/LGL - SML": 3,
        "scale-up/LGL-INR - SML": 2,
        "scale-up/LGL-INR - LGL": 2,
        "scale-down/LGL-INR - SML": 2,
        "own-lr/LGL-INR - SML": 2,
        "own-lr/LGL-INR - LGL": 2,
        "own-lr/LGL - SML": 2,
    }


def outcomes(results: Known) -> dict[str, str | None]:
    return {one.claim.id: one.outcome for one in Judge(results).verdicts()}


def test_claims_over_cells_without_runs_are_undecided_unless_a_cell_refutes_them(cnn2c: Known) -> None:
    found = outcomes(cnn2c)
    assert set(found) == {claim.id for claim in claims() if claim.condition != "simulation"}
    assert (found["inr-over-sml"], found["inr-competes-sml"], found["lgl-under-sml"]) == ("undecided",) * 3
    assert found["figure-2-kmnist-better"] == "holds"
    assert found["figure-2-fmnist-comparable"] == "fails"  # a whole point apart
    assert (found["beta-insensitive"], found["beta-competitive"]) == ("holds", "holds")
    assert found["table-3"] is None
    for config in cells("paper", unknown)[labelled("CNN2C", "FMNIST", "LGL-INR")].configs:
        cnn2c.add(config, level(labelled("CNN2C", "FMNIST", "LGL-INR"), **{"LGL-INR": 0.9302})(config.seed))
    found = outcomes(cnn2c)
    assert found["inr-over-sml"] == "fails"  # equivalent on Fashion-MNIST
    assert found["figure-2-fmnist-comparable"] == "holds"
    assert found["inr-competes-sml"] == "undecided"


def test_all_cells_decide_the_claims_over_all_of_them(cnn2c: Known) -> None:
    for key, cell in cells("paper", unknown).items():
        if key.model != CNN2C:
            ahead = {"LGL": 0.02, "SML": 0.02, "LGL-INR": 0.02} if key.labels[0] in ("CNN5C", "ResNet-18") else {}
            cnn2c.fill(cell, level(key, **{loss: LEVEL[loss] + more for loss, more in ahead.items()}))
    found = outcomes(cnn2c)
    decided = {name: found[name] for name in ("inr-over-sml", "inr-competes-sml", "lgl-under-sml", "capacity-gray")}
    assert decided == dict.fromkeys(decided, "holds")
    assert found["lgl-over-sml-cifar10"] == "fails"
    assert found["capacity-cifar10"] == "holds"
    (mean,) = [one for one in Judge(cnn2c).verdicts() if one.claim.id == "lgl-under-sml"]
    assert inference.paired_t(mean.over_cells).mean == pytest.approx(0.03, abs=3e-4)
    assert len(mean.comparisons) == 6


def test_runs_are_paired_on_one_kind_of_device_and_precision(cnn2c: Known) -> None:
    cell = cells("paper", unknown)[labelled("CNN2C", "MNIST", "SML")]
    cnn2c.add(cell.configs[0], 0.93, device="cuda")
    cnn2c.add(cell.configs[1], 0.93, precision="bf16")
    pairs = Judge(cnn2c).family(FAMILY["paper/LGL-INR - SML"])[0].pairs
    assert pairs.n == 3


def test_a_failed_run_gains_nothing_and_a_missing_one_is_only_missing() -> None:
    failed = cells("paper", unknown)[labelled("CNN2C", "KMNIST", "LGL-INR")].configs[4]
    results = Known(run_id(failed))
    for key, cell in cells("paper", unknown).items():
        if key.labels[:2] == ("CNN2C", "KMNIST") and key.labels[2] in ("LGL", "SML"):
            results.fill(cell, level(key))
        if key.labels == ("CNN2C", "KMNIST", "LGL-INR"):
            results.fill(cell, level(key), range(4))
    judge = Judge(results)
    (inr,) = [one for one in judge.family(FAMILY["paper/LGL-INR - SML"]) if one.contrast.dataset == "kmnist"][:1]
    assert (inr.pairs.n, inr.pairs.failed_first, inr.word) == (4, 1, "undecided")
    (cell,) = [one for one in judge.cells() if one.key.labels == ("CNN2C", "KMNIST", "LGL-INR")]
    assert (cell.last.n, cell.last.failed) == (4, 1)
    assert outcomes(results)["figure-2-kmnist-better"] == "undecided"


@pytest.mark.parametrize(
    ("gain", "word", "headline"),
    [(-0.01, "higher", "remains"), (0.01, "lower", "reversed"), (0.0, "equivalent", "gone")],
)
def test_the_headline_is_decided_at_the_own_learning_rates(cnn2c: Known, gain: float, word: str, headline: str) -> None:
    before = {(one.dataset, one.other): one.headline for one in Judge(cnn2c).headlines()}
    assert set(before.values()) == {"open"}
    give_own_lr(cnn2c, gain)
    found = [one for one in Judge(cnn2c).headlines() if one.other.label == "SML"]
    assert [(one.dataset, one.paper.word, one.own_lr.word, one.headline) for one in found] == [
        ("kmnist", "higher", word, headline),
        ("fmnist", "higher", word, headline),
    ]
    assert {one.headline for one in Judge(cnn2c).headlines() if one.other.label == "LGL"} == {"remains"}
    said = outcomes(cnn2c)
    assert said["hard-classes-help"] == ("holds" if headline == "remains" else "fails")
    assert said["ours-gone-own-lr"] == ("holds" if headline == "gone" else "fails")
    assert said["reweighting-helps-lgl"] == "holds"


def test_convergence_asks_for_fewer_epochs_and_a_larger_area(cnn2c: Known) -> None:
    paper = cells("paper", unknown)
    for network, dataset in SMALL[1:]:
        for loss in ("LGL", "SML", "LGL-INR"):
            for config in paper[labelled(network, dataset, loss)].configs:
                speed = (1.0 if loss == "LGL-INR" else 0.3) + 0.02 * config.seed * (loss != "LGL-INR")
                cnn2c.add(config, level(labelled(network, dataset, loss))(config.seed), speed=speed)
    found = outcomes(cnn2c)
    assert found["figure-2-inr-faster-lgl"] == "holds"
    shown, one, other = Judge(cnn2c).curves((LGL_INR, LGL))
    assert [c.contrast.dataset for c in (shown, one, other)] == ["mnist", "fmnist", "kmnist"]
    assert math.isnan(shown.p_holm_area)
    p_values = [inference.paired_t(pairs).p for c in (one, other) for pairs in (c.epochs, c.area)]
    assert [one.p_holm_epochs, one.p_holm_area, other.p_holm_epochs, other.p_holm_area] == inference.holm(p_values)
    for network, dataset in SMALL[1:]:
        for config in paper[labelled(network, dataset, "SML")].configs:
            cnn2c.add(config, level(labelled(network, dataset, "SML"))(config.seed), speed=2.0 + 0.02 * config.seed)
    assert outcomes(cnn2c)["figure-2-inr-faster-sml"] != "holds"


def matrix(right: list[int], zero_as_four: int = 5) -> dict[str, np.ndarray]:
    wrong = np.zeros((10, 10), np.int64)
    for row, count in enumerate(right):
        wrong[row, row] = count
        wrong[row, (row + 1) % 10] += 1000 - count
    wrong[0, 4] += zero_as_four
    wrong[0, 1] -= zero_as_four
    return {"confusion_matrix": wrong}


def test_figure_1_is_judged_by_seeds(cnn2c: Known) -> None:
    paper = cells("paper", unknown)
    right = {"LGL": [880, 800, 810, *[900] * 7], "SML": [930, 945, *[930] * 8], "LGL-INR": [950, 940, *[950] * 8]}
    fours = {"LGL": 30, "SML": 18, "LGL-INR": 6}
    for loss, numbers in right.items():
        for config in paper[labelled("CNN2C", "KMNIST", loss)].configs:
            rising = [number + config.seed for number in numbers]
            cnn2c.given[run_id(config)] = matrix(rising, fours[loss] + config.seed)
    found = outcomes(cnn2c)
    figure1 = {name: outcome for name, outcome in found.items() if name.startswith("figure-1") and outcome}
    assert set(figure1.values()) == {"holds"}
    assert len(figure1) == 6
    counts = classes.counts(cnn2c, {key.loss: cell for key, cell in paper.items() if key.place == (CNN2C, "kmnist")})
    assert [(one.loss.label, one.true, one.predicted, one.paper, one.ours.mean) for one in counts] == [
        ("LGL-INR", 1, 1, 940, 942.0),
        ("LGL-INR", 0, 4, 6, 8.0),
        ("SML", 1, 1, 945, 947.0),
        ("SML", 0, 4, 18, 20.0),
    ]
    swapped = paper[labelled("CNN2C", "KMNIST", "LGL-INR")].configs
    for config in swapped:
        cnn2c.given[run_id(config)] = matrix([850] * 10, 40)
    found = outcomes(cnn2c)
    assert found["figure-1-nine-classes"] == found["figure-1-zero-four"] == "fails"
    del cnn2c.given[run_id(swapped[0])]
    assert outcomes(cnn2c)["figure-1-nine-classes"] == "undecided"  # 0 of 4


def test_similar_classes_are_counted_both_ways(cnn2c: Known) -> None:
    paper = cells("paper", unknown)
    lgl, sml = paper[labelled("CNN2C", "FMNIST", "LGL")], paper[labelled("CNN2C", "FMNIST", "SML")]
    assert classes.similar_classes(cnn2c, lgl, sml) is None
    for cell, coats in ((lgl, 100), (sml, 60)):
        for config in cell.configs:
            counts = np.diag([1000] * 10)
            counts[6, 4], counts[4, 6], counts[0, 1] = coats, coats // 2, coats // 10
            cnn2c.given[run_id(config)] = {"confusion_matrix": counts}
    found = classes.similar_classes(cnn2c, lgl, sml)
    assert found is not None
    assert (found.n, found.lgl, found.sml, found.num_more) == (5, 150.0, 90.0, 5)
    assert found.share == pytest.approx(60 / 64)
    assert (found.share_of_lgl, found.share_of_sml) == pytest.approx((150 / 160, 90 / 96))


def test_images_are_compared_where_the_true_classes_are_known(cnn2c: Known) -> None:
    paper = cells("paper", unknown)
    inr, sml = paper[labelled("CNN2C", "KMNIST", "LGL-INR")], paper[labelled("CNN2C", "KMNIST", "SML")]
    labels = known_labels.test_labels({"name": "kmnist"})
    assert labels is not None
    assert classes.images(cnn2c, inr, sml) is None
    for cell, wrong in ((inr, 300), (sml, 500)):
        for config in cell.configs[:3]:
            predictions = labels.copy()
            predictions[:wrong] = (labels[:wrong] + 1) % 10
            cnn2c.given[run_id(config)] = {"test_predictions": predictions}
    found = classes.images(cnn2c, inr, sml)
    assert found is not None
    assert (found.seeds.first, found.seeds.second, found.seeds.n) == (3, 0, 3)
    assert found.bootstrap.value == pytest.approx(0.02)
    assert found.bootstrap.low == pytest.approx(0.02 - 1.96 * math.sqrt(0.02 * 0.98 / 10_000), abs=4e-4)
    first = cnn2c.given[run_id(inr.configs[0])]
    first["test_predictions"] = labels[:-1]
    with pytest.raises(ValueError, match=f"holds test_predictions of 9999 images, and {run_id(inr.configs[0])} is"):
        classes.images(cnn2c, inr, sml)
    first |= {"test_predictions": labels, "test_labels": labels[::-1]}  # which count before the data set's
    with pytest.raises(ValueError, match=f"{run_id(inr.configs[0])} and .* were not tested on the same images as"):
        classes.images(cnn2c, inr, sml)


def test_statistics_read_a_record() -> None:
    results = Known()
    config = cells("paper", unknown)[labelled("CNN2C", "MNIST", "LGL")].configs[0]
    results.add(config, 0.9, speed=0.5)
    record = results.records[run_id(config)]
    expected = 0.9 - 0.3 * np.exp(-0.5 * np.arange(1, 21))
    expected[-1] = 0.9
    assert (last(record), best(record)) == (0.9, 0.901)
    assert area("test")(record) == pytest.approx(expected.mean())
    assert epochs_to_end("train")(record) == 1 + np.argmax(expected >= 0.895)


def test_every_claim_names_what_there_is() -> None:
    judge = Judge(Known())
    assert {claim.condition for claim in claims()} == {*CONDITIONS, "simulation"}
    for claim in claims():
        if claim.condition != "simulation" and claim.kind != "descriptive":
            for contrast in contrasts_of(claim):
                assert claim.condition == "own-lr" or set(contrast.keys) <= set(judge.conditions[claim.condition]), (
                    claim.id
                )
