"""What the report says beyond the paper, of invented and of committed runs."""

from pathlib import Path

import numpy as np
import pytest
from blocks import table, text
from drawn import check, legend_of, points
from invented import Known
from scipy import stats

from lossbench.data import labels
from lossbench.report.blocks import Picture
from lossbench.statistics import learning_property
from lossbench.statistics.calibration import calibration
from lossbench.studies.aaai20 import mechanism, variants
from lossbench.studies.aaai20.keys import labelled
from lossbench.studies.aaai20.sections import beyond, probabilities
from lossbench.studies.aaai20.verdicts import Judge

RESULTS = Path(__file__).parents[1] / "results"
KMNIST = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def test_calibration_is_that_of_the_committed_logits(committed: Judge) -> None:
    blocks = probabilities.calibrated(committed)
    frame = table(blocks, 1)
    cell = committed.conditions["paper"][labelled("CNN2C", "FMNIST", "SML")]
    found = []
    for config in cell.configs:
        arrays = committed.results.arrays(config)
        true = labels.test_labels({"name": "fmnist"})
        if arrays is not None and true is not None:
            found.append(calibration(arrays["test_logits"], true, "softmax"))
    line = frame.loc["FMNIST", "CNN2C", "SML", "softmax"]
    assert line["n"] == str(len(found))
    assert line["NLL"].startswith(f"{np.mean([one.scores.nll for one in found]):.4f}")
    assert line["ECE (%)"].startswith(f"{100 * np.mean([one.scores.ece for one in found]):.2f}")
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    panel = next(axes for axes in check(picture).axes if axes.get_title() == f"FMNIST, n={len(found)}")
    counts = np.sum([one.counts for one in found], axis=0)
    there = counts >= probabilities.SHOWN_FROM
    accuracy, confidence = (
        100 * np.nansum([one.counts * getattr(one, what) for one in found], axis=0)[there] / counts[there]
        for what in ("accuracy", "confidence")
    )
    line, small, large = points(panel, "SML")
    assert [y for _, y in line] == pytest.approx((accuracy - confidence).tolist())
    assert [x for x, _ in large] == pytest.approx(confidence[counts[there] >= probabilities.MANY].tolist())
    assert len(small) + len(large) == len(line)
    assert picture.data is not None
    rows = picture.data.query("dataset == 'FMNIST' and loss == 'SML'")
    assert rows["accuracy_percent"].tolist() == pytest.approx(accuracy.tolist())
    assert rows["predictions"].tolist() == counts[there].tolist()
    gap = 100 * np.mean([one.scores.overconfidence for one in found])
    assert f"FMNIST, SML: confidence minus accuracy {gap:+.2f} points, n={len(found)}." in picture.alt
    assert "No runs" in text(probabilities.calibrated(Judge(Known())))


def test_the_mechanism_is_that_of_the_committed_runs(committed: Judge) -> None:
    frame, named = (table(beyond.mechanism_blocks(committed), index) for index in (0, 1))
    cells_of = {
        loss: committed.conditions["paper"][labelled("CNN2C", "KMNIST", loss)] for loss in ("LGL", "LGL-INR", "SML")
    }
    found, shown = [], []
    for seed in range(5):
        arrays = [committed.results.arrays(cell.configs[seed]) for cell in cells_of.values()]
        if all(one is not None for one in arrays):
            lgl, inr, sml = (one["confusion_matrix"] for one in arrays if one is not None)
            weights = arrays[1]["class_weights"][-1] if arrays[1] is not None else np.zeros((10, 10))
            found.append(mechanism.ranks(lgl, inr, sml, weights.astype(float)))
            shown.append((lgl, weights.astype(float)))
    line = frame.loc["KMNIST"]
    assert line["n"] == str(len(found))
    assert line["Gain and weight"].startswith(f"{np.mean([one.gain_weight for one in found]):+.2f}")
    (j, k) = mechanism.named_pairs(np.mean([weights for _, weights in shown], axis=0))[0]
    assert (
        named.loc["KMNIST", f"{KMNIST[j]} for {KMNIST[k]}"]["LGL"] == f"{np.mean([lgl[j, k] for lgl, _ in shown]):.1f}"
    )
    assert "No runs" in text(beyond.mechanism_blocks(Judge(Known())))
    controls = np.array([one.gain_weight - one.control_weight for one in found])
    half = stats.t.ppf(0.975, len(controls) - 1) * controls.std(ddof=1) / np.sqrt(len(controls))
    sign = "positive" if controls.mean() > half else "negative" if controls.mean() < -half else "undecided"
    asked, beside = text(beyond.mechanism_blocks(committed)).rpartition("minus the same correlation for SML's gain: ")[
        ::2
    ]
    said = {part.split(" ")[0]: part for part in beside.removesuffix(".").split(", ")}
    assert f"KMNIST ({controls.mean():+.2f})" in said[sign]
    assert f"KMNIST ({np.mean([one.gain_weight for one in found]):+.2f})" in asked
    assert line["Gain and weight, minus control"].startswith(f"{controls.mean():+.2f}")
    of_both = [np.mean([getattr(one, f"control_{what}") for one in found]) for what in ("confusability", "weight")]
    assert [cell.partition(" ")[0] for cell in line["Control"]] == [f"{mean:+.2f}" for mean in of_both]


def test_accuracy_notices_beta_or_not() -> None:
    results = Known()
    cells = {(variant.option, variant.choice): variant.cells["LGL-INR"] for variant in variants.betas()}
    for place, values in {
        ("attached", "0"): (0.96, 0.961, 0.962),
        ("attached", "4"): (0.96, 0.9611, 0.9619),
        ("detached", "4"): (0.9501, 0.951, 0.952),
    }.items():
        results.fill(cells[place], values.__getitem__, seeds=range(3))
    results.fill(cells["attached", "8"], lambda seed: 0.96, seeds=range(2))
    frame = table(beyond.beta(results), 1)
    assert list(frame.loc["beta 4 - beta 0, attached"]) == ["3", "+0.00", "-0.02 to +0.02", "equivalent"]
    assert frame.loc["beta 4 - beta 0, detached"]["Difference"] == "-1.00"
    assert frame.loc["beta 4 - beta 0, detached"]["Verdict"] == "lower"
    assert frame.loc["attached - detached, beta 4"]["Verdict"] == "higher"
    assert frame.loc["beta 8 - beta 0, attached"]["Verdict"] == "too few"
    assert list(frame.loc["attached - detached, beta 2"]) == ["0", "missing", "–", "–"]
    assert len(frame) == 12


def test_beta_is_shown_with_its_weights(committed: Judge) -> None:
    blocks = beyond.beta(committed.results)
    frame = table(blocks)
    line = frame.loc["attached", "1"]
    cell = committed.conditions["paper"][labelled("CNN2C", "KMNIST", "LGL-INR")]
    arrays = [found for config in cell.configs[:3] if (found := committed.results.arrays(config)) is not None]
    last = [learning_property.unevenness(found["class_weights"][-1].astype(float)) for found in arrays]
    assert line["n"] == str(len(arrays))
    assert line["Unevenness, last epoch"] == f"{np.mean(last):.3f}"
    true = labels.test_labels({"name": "kmnist"})
    assert true is not None
    for column, beta in (("1", 1.0), ("8", 8.0)):
        (variant,) = [one for one in variants.betas() if (one.option, one.choice) == ("attached", column)]
        of_beta = [committed.results.arrays(config) for config in variant.cells["LGL-INR"].configs]
        given = [(one["test_logits"], true, beta) for one in of_beta if one is not None]
        turned = [100 * learning_property.reversed_share(*one) for one in given]
        by_batch = [100 * learning_property.reversed_share_of_batches(*one, 64) for one in given]
        assert frame.loc["attached", column]["Raised (%), one batch"] == f"{np.mean(turned):.2f}"
        assert frame.loc["attached", column]["Raised (%)"] == f"{np.mean(by_batch):.2f}"
    assert np.mean(by_batch) > 5 > np.mean(turned)
    assert len(frame) == 9
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    figure = check(picture)
    (axes,) = figure.axes
    assert legend_of(figure) == ["attached", "detached", "the paper's number"]
    (diamonds,) = [line for line in axes.lines if line.get_marker() == "D"]
    assert np.asarray(diamonds.get_xydata()).tolist() == [[1, 96.43], [2, 96.29], [3, 96.43]]  # beta 1, 2 and 4
    accuracies = [100 * value for value in committed.results.values(cell)[:3] if value is not None]
    attached, _ = points(axes, "LGL-INR", "^")
    assert attached[1][1] == pytest.approx(np.mean(accuracies))
    dots, _ = points(axes, "LGL-INR", ".")
    assert [y for _, y in dots[len(dots) // 5 :][:3]] == pytest.approx(accuracies)
    assert picture.data is not None
    own = picture.data.query("weights == 'attached' and beta == 1")
    assert own["accuracy_percent"].tolist() == pytest.approx([*accuracies, np.mean(accuracies)])
    results = Known()
    results.fill(variants.betas()[0].cells["LGL-INR"], lambda seed: 0.96, seeds=range(1))
    assert table(beyond.beta(results)).loc["detached", "4"]["Accuracy (%)"] == "missing"
    assert "No runs" in text(beyond.beta(Known()))
