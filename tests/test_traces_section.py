"""The report's pictures of what a loss does by epoch, of committed and of invented runs."""

import numpy as np
import pytest
from blocks import table, text
from drawn import check, legend_of
from invented import Known

from lossbench.report.blocks import Picture
from lossbench.report.style import PALETTE
from lossbench.statistics import learning_property
from lossbench.studies.aaai20 import mechanism, variants
from lossbench.studies.aaai20.keys import labelled
from lossbench.studies.aaai20.sections.traces import HUES, traced, weights_by_epoch
from lossbench.studies.aaai20.verdicts import Judge

KMNIST = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def test_the_weights_are_those_of_the_committed_runs(committed: Judge) -> None:
    assert "No runs" in text(weights_by_epoch(Judge(Known())))
    (picture,) = weights_by_epoch(committed)
    assert isinstance(picture, Picture)
    cell = committed.conditions["paper"][labelled("CNN2C", "KMNIST", "LGL-INR")]
    arrays = [found for config in cell.configs if (found := committed.results.arrays(config)) is not None]
    weights = np.array([one["class_weights"] for one in arrays], float)
    figure = check(picture)
    left, right = figure.axes
    color = PALETTE[HUES["kmnist"]]["color"]
    (line,) = [line for line in left.lines if line.get_color() == color]
    expected = [np.mean([learning_property.unevenness(seed[epoch]) for seed in weights]) for epoch in range(20)]
    assert line.get_ydata() == pytest.approx(np.array(expected))
    (j, k) = mechanism.named_pairs(weights.mean(axis=0)[-1])[0]
    pair = f"{KMNIST[j]} for {KMNIST[k]}"
    assert f"KMNIST: {pair}" in legend_of(figure)
    line, _ = [line for line in right.lines if line.get_color() == color]
    assert line.get_ydata() == pytest.approx(weights[:, :, j, k].mean(axis=0))
    assert f"{pair} {weights[:, -1, j, k].mean():.3f}" in picture.alt
    assert picture.data is not None
    rows = picture.data.query("quantity == 'lambda' and dataset == 'KMNIST' and pair == @pair")
    assert rows["middle"].tolist() == pytest.approx(weights[:, :, j, k].mean(axis=0))
    assert rows["high"].tolist() == pytest.approx(weights[:, :, j, k].max(axis=0))
    uneven = picture.data.query("quantity == 'unevenness' and dataset == 'KMNIST'")
    assert uneven["middle"].tolist() == pytest.approx(expected)
    assert f"n={len(arrays)}." in picture.alt


def test_traces_tell_the_range_of_the_classes() -> None:
    results, draw = Known(), np.random.default_rng(2)
    assert "No runs" in text(traced(results))
    pulls = draw.uniform(0.1, 1, (3, 20, 10))
    own = draw.uniform(0.5, 1, (3, 20, 10))
    for seed, config in enumerate(variants.traced()["SML"].configs):
        results.add(config, 0.9)
        results.given[results.name(config)] = {
            "gradient_norms": pulls[seed],
            "test_mean_softmax_by_epoch": own[seed][:, :, None] * np.eye(10),
            "test_mean_sigmoid_by_epoch": np.zeros((20, 10, 10)),
        }
    line = table(traced(results)).loc["SML"]
    assert line["n"] == "3"
    last = pulls.mean(axis=0)[-1]
    assert line["Gradient norm, last"] == f"{last.min():.2g} to {last.max():.2g}"
    first = own.mean(axis=0)[0]
    assert line["Own probability, first epoch"].startswith(f"{first.min():.3f} ({KMNIST[first.argmin()]}) to")
    (picture,) = [block for block in traced(results) if isinstance(block, Picture)]
    figure = check(picture)
    assert legend_of(figure) == ["SML"]
    median = np.median(own.mean(axis=0), axis=1)
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx(median)
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx(np.median(pulls.mean(axis=0), axis=1))
    assert picture.data is not None
    rows = picture.data.query("quantity == 'own probability' and loss == 'SML'")
    assert rows["middle"].tolist() == pytest.approx(median)
    assert rows["low"].tolist() == pytest.approx(own.mean(axis=0).min(axis=1))
    assert set(rows["n"]) == {3}
