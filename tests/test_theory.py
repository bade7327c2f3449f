"""Class weights under imbalance: what is measured is what was put in, and each rule comes out each way."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from blocks import table, text
from drawn import check, finite, points
from invented import Known

from lossbench.config.options import ClassWeights
from lossbench.config.run import Config
from lossbench.data import labels as known_labels
from lossbench.data.labels import train_counts
from lossbench.report.blocks import Picture
from lossbench.statistics.adjustment import accuracies, logit_adjusted
from lossbench.statistics.inference import Pairs
from lossbench.statistics.learning_property import LAW_FACTOR
from lossbench.studies.imbalance import law as theory
from lossbench.studies.imbalance.law import Law
from lossbench.studies.imbalance.plan import Imbalanced, imbalanced
from lossbench.studies.imbalance.sections import imbalance

TWO, STEP = imbalanced()[:2]
INVERSE = ClassWeights.inverse


def add(results: Known, config: Config, means: Any, right: Any) -> None:
    """A run with these mean probabilities on all images, and so large a share of each class right, [K] each."""
    dataset = asdict(config.dataset)
    labels = known_labels.test_labels(dataset)
    assert labels is not None
    means, size = np.asarray(means, float), len(right)
    logits = np.full((len(labels), size), -4.0, np.float16)
    for label, share in enumerate(right):
        members = np.flatnonzero(labels == label)
        hit = members[: round(share * len(members))]
        logits[hit, label] = 4
        missed = np.setdiff1d(members, hit)
        logits[missed, (label + size // 2) % size] = 1  # a class of the other half, though not by far
        logits[missed, label] = 0
    predictions = logits.argmax(axis=1)
    confusion = np.zeros((size, size), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    results.add(config, 0.5)
    results.given[results.name(config)] = {
        "test_logits": logits,
        "test_predictions": predictions.astype(np.uint8),
        "confusion_matrix": confusion,
        "output_bias": np.zeros(size, np.float32),
        **{f"{split}_mean_{name}": means for split in ("train", "test") for name in ("softmax", "sigmoid")},
    }


def of_two(ratio: float, miss: float = 0.02) -> list[list[float]]:
    """Mean probabilities of two classes with (1 - p_00) / p_10 = ratio, and, were it SML, as much of class 1 missed."""
    return [[1 - miss, miss], [miss / ratio, 1 - miss / ratio]]


def weighted(one: Imbalanced, kind: ClassWeights | None) -> np.ndarray:
    counts = train_counts(asdict(one.dataset))
    assert counts is not None
    if kind is None:
        return counts / counts.sum()
    if kind is ClassWeights.effective:
        raw = counts / (1 - 0.999**counts)
    else:
        raw = counts ** (0.5 if kind is ClassWeights.sqrt_inverse else 0.0)
    return np.asarray(raw / raw.sum(), float)


def full_two(off: float = 1.0, right: dict[ClassWeights | None, tuple[float, float]] | None = None) -> Known:
    """All runs of two classes, each `off` times the predicted ratio, a little more or less by seed."""
    results = Known()
    for (loss, kind), cell in TWO.cells.items():
        shares = weighted(TWO, kind)
        for config in cell.configs if loss != "LGL-INR" else ():
            ratio = shares[1] / shares[0] * off * (1 + 0.01 * (config.seed - 1))
            hits = (right or {}).get(kind, (0.95, 0.60 + 0.001 * config.seed))
            add(results, config, of_two(float(ratio)), hits)
    return results


def test_eq_10_is_measured_beside_its_prediction() -> None:
    laws = theory.laws(theory.runs_of(full_two(), TWO))
    assert len(laws) == 2 * 4 * 2
    predicted = {law.weights: law.predicted for law in laws}
    assert predicted[None] == pytest.approx(0.1)
    assert predicted[ClassWeights.sqrt_inverse] == pytest.approx(math.sqrt(0.1))
    assert predicted[INVERSE] == pytest.approx(1)
    assert predicted[ClassWeights.effective] == pytest.approx(0.1 * (1 - 0.999**6000) / (1 - 0.999**600))
    for law in laws:
        assert law.measured == pytest.approx([law.predicted * factor for factor in (0.99, 1, 1.01)])
        assert law.test.mean == pytest.approx(math.log(0.99 * 1.01) / 3)
    assert theory.law_outcome(laws, "train") == "holds"


def shifted(law: Law, off: float, seeds: int = 3) -> Law:
    measured = tuple(law.predicted * off * factor for factor in (0.99, 1.0, 1.01)[:seeds])
    logs = Pairs(tuple(math.log(one / law.predicted) for one in measured), 0, 0)
    test = theory.inference.tost(logs, math.log(LAW_FACTOR))
    return Law(law.loss, law.weights, law.split, law.predicted, measured, test)


def test_one_cell_decides_against_the_law() -> None:
    laws = theory.laws(theory.runs_of(full_two(), TWO))
    assert theory.law_outcome([shifted(laws[0], 1.5), *laws[1:]], "train") == "fails"
    assert theory.law_outcome([shifted(laws[0], 1.5), *laws[1:]], "test") == "holds"
    assert theory.law_outcome([shifted(laws[0], 1.25), *laws[1:]], "train") == "undecided"
    assert theory.law_outcome([shifted(laws[0], 1.5, seeds=2), *laws[1:]], "train") == "undecided"
    assert theory.law_outcome(laws[2:], "train") == "undecided"  # a cell without runs
    assert theory.law_outcome([], "test") == "undecided"


def test_the_minority_gains_or_does_not() -> None:
    def outcome(plain: float, with_inverse: float) -> str:
        results = full_two(right={None: (0.95, plain), INVERSE: (0.9, with_inverse)})
        gains = theory.minority_gains(theory.runs_of(results, TWO))
        assert gains["SML"].differences == pytest.approx([with_inverse - plain] * 3)
        spread = {
            loss: Pairs(tuple(d + 0.001 * k for k, d in enumerate(p.differences)), 0, 0) for loss, p in gains.items()
        }
        return theory.gain_outcome(spread)

    assert outcome(0.5, 0.8) == "holds"
    assert outcome(0.8, 0.5) == "fails"
    assert theory.gain_outcome({"SML": Pairs((0.1, 0.11), 0, 0)}) == "undecided"
    assert (
        theory.gain_outcome({"SML": Pairs((0.1, 0.11, 0.12), 0, 0), "LGL": Pairs((-0.1, 0.1, 0.2), 0, 0)})
        == "undecided"
    )


def test_two_classes_are_determined_and_many_are_not() -> None:
    alike, apart = (0.01, 0.011, 0.012), (0.3, 0.31, 0.33)

    def both(sml: tuple[float, ...], lgl: tuple[float, ...], failed: int = 0) -> dict[str, Pairs]:
        return {"SML": Pairs(sml, 0, 0), "LGL": Pairs(lgl, failed, 0)}

    pairs = both(alike, alike), both(apart, apart)
    assert theory.determined_outcome(*pairs) == "holds"
    assert theory.determined_outcome(pairs[0], pairs[0]) == "fails"
    assert theory.determined_outcome(pairs[1], pairs[1]) == "fails"
    assert theory.determined_outcome(pairs[0], both(apart, apart[:2])) == "undecided"
    assert theory.determined_outcome(both((), alike), pairs[1]) == "undecided"
    assert theory.determined_outcome(both(alike, alike, failed=1), pairs[1]) == "undecided"


def test_spreads_are_of_own_probabilities_on_training_images() -> None:
    results = full_two()
    found = theory.spreads(theory.runs_of(results, TWO))
    for pairs in found.values():
        ratios = [1 + 0.01 * (seed - 1) for seed in range(3)]
        assert pairs.differences == pytest.approx([abs(0.02 - 0.02 / ratio) for ratio in ratios])


def test_nothing_good_is_said_of_a_loss_with_a_run_that_diverged() -> None:
    whole = full_two(right={None: (0.95, 0.5), INVERSE: (0.9, 0.8)})
    names = [whole.name(config) for config in TWO.cells["LGL", INVERSE].configs]
    whole.records = {name: record for name, record in whole.records.items() if name != names[0]}
    whole.diverged = frozenset(names[:1])
    two = theory.runs_of(whole, TWO)
    (law,) = [law for law in theory.laws(two) if (law.loss, law.weights, law.split) == ("LGL", INVERSE, "train")]
    assert (law.test.n, math.isnan(law.test.p), law.test.refuted) == (2, True, False)
    gains = theory.minority_gains(two)
    assert {loss: (pairs.n, pairs.failed_first, pairs.failed_second) for loss, pairs in gains.items()} == {
        "SML": (3, 0, 0),
        "LGL": (2, 1, 0),
    }
    assert [pairs.failed_first for pairs in theory.spreads(two).values()] == [0, 1]
    three = (0.3, 0.31, 0.33)
    ahead, ahead_of_failed = Pairs(three, 1, 0), Pairs(three, 0, 1)
    assert theory.gain_outcome({"SML": ahead_of_failed, "LGL": ahead_of_failed}) == "holds"
    assert theory.gain_outcome({"SML": ahead_of_failed, "LGL": ahead}) == "undecided"
    accuracy = table(imbalance(whole), 1).loc["coat and shirt, step 10", "LGL"]
    assert accuracy["inverse"] == "90.0 / 80.0 / 85.0 (n=2, 1 failed)"


def test_the_halves_of_many_classes_obey_eq_9_as_two_do() -> None:
    """Softmax outputs of a network whose biases have no gradient: halves in balance, though no class is alike."""
    draw = np.random.default_rng(5)
    counts = train_counts(asdict(STEP.dataset))
    assert counts is not None
    share = counts / counts.sum()
    flow = draw.random((10, 10)) * 0.002
    flow = (flow + flow.T) / 2  # what j gives k, it gets back, so each class's sides are equal
    means = flow / share[:, None]
    np.fill_diagonal(means, 0)
    np.fill_diagonal(means, 1 - means.sum(axis=1))
    results = Known()
    config = STEP.cells["SML", None].config
    add(results, config, means, [0.9] * 10)
    (run,) = theory.runs_of(results, STEP)["SML", None].values()
    assert run.balances["train"].relative == pytest.approx(np.zeros(10), abs=1e-12)
    assert theory.halves_ratio(run, "train") == pytest.approx(1)
    skewed = means.copy()
    skewed[0, 0] -= 0.01
    skewed[0, 9] += 0.01
    add(results, config, skewed, [0.9] * 10)
    (run,) = theory.runs_of(results, STEP)["SML", None].values()
    crossing = flow[:5, 5:].sum()
    assert theory.halves_ratio(run, "train") == pytest.approx(1 + 0.01 * share[0] / crossing)


def test_the_section_shows_what_was_put_in() -> None:
    assert "No runs" in text(imbalance(Known()))
    results = full_two(right={None: (0.95, 0.6), INVERSE: (0.9, 0.85)})
    for config in STEP.cells["LGL", INVERSE].configs:
        add(results, config, np.eye(10) * 0.5 + 0.02 * np.diag(range(10)), [0.9] * 5 + [0.7] * 5)
    blocks = imbalance(results)
    said = "within a factor of 1.25 for every loss and kind of weights: holds on training and holds on test images"
    assert f"With two classes, Eq. 10 is met {said}" in text(blocks)
    assert "raise the minority's accuracy: undecided (SML +25.00" in text(blocks)
    assert "but not with ten: undecided (largest minus smallest: SML 0.000 (n=3) with two" in text(blocks)
    assert "SML +25.00 points, n=3" in text(blocks)
    assert "missing with ten" in text(blocks)
    assert "LGL 0.000 (n=3) with two classes, 0.180 (n=3) with ten" in text(blocks)
    assert "(training images: 8 of 8 inside, 0 outside; test images: 8 of 8 inside, 0 outside)" in text(blocks)
    law = table(blocks).loc["coat and shirt, step 10", "SML", "inverse"]
    assert law["Predicted"] == "1.000"
    assert law["Training images"].startswith("1.00, 0.98 to 1.02 (n=3)")
    accuracy = table(blocks, 1)
    assert accuracy.loc["coat and shirt, step 10", "SML"]["inverse"] == "90.0 / 85.0 / 87.5 (n=3)"
    assert accuracy.loc["ten classes, step 10", "LGL"]["inverse"] == "90.0 / 70.0 / 80.0 (n=3)"
    assert accuracy.loc["ten classes, step 10", "LGL-INR"]["none"] == "missing"
    assert accuracy.loc["ten classes, step 10", "LGL-INR"]["inverse"] == "–"
    run = results.given[results.name(TWO.cells["LGL", None].config)]
    labels, counts = known_labels.test_labels(asdict(TWO.dataset)), train_counts(asdict(TWO.dataset))
    assert labels is not None
    assert counts is not None
    adjusted = accuracies(logit_adjusted(run["test_logits"], counts, "sigmoid"), labels, counts)
    assert adjusted.minority > 0.6
    shown = accuracy.loc["coat and shirt, step 10", "LGL"]["logit adjustment"]
    assert shown == f"{100 * adjusted.majority:.1f} / {100 * adjusted.minority:.1f} / {100 * adjusted.all:.1f} (n=3)"
    pictures = {block.name: block for block in blocks if isinstance(block, Picture)}
    assert "SML, inverse, train: predicted 1.000, measured 1.000, n=3." in pictures["imbalance-law"].alt
    assert "step 10, LGL, inverse: majority 90.0, minority 70.0, n=3." in pictures["imbalance-accuracy"].alt
    figure = check(pictures["imbalance-accuracy"])
    assert [axes.get_title() for axes in figure.axes] == ["coat and shirt,\nstep 10, n=3", "ten classes,\nstep 10, n=3"]
    two, step = figure.axes
    rows = [label.get_text() for label in two.get_yticklabels()]
    place = rows.index("LGL, inverse")
    line, majority, minority = (finite(places) for places in points(step, "LGL")[:3])
    assert line == [(pytest.approx(70), place), (pytest.approx(90), place)]
    assert (majority, minority) == ([(pytest.approx(90), place)], [(pytest.approx(70), place)])
    assert [x for x, _ in points(step, "LGL", "|")[0]] == pytest.approx([80])
    data = pictures["imbalance-accuracy"].data
    assert data is not None
    of_step = data[(data["training_images"] == STEP.label) & (data["method"] == "inverse")].iloc[0]
    assert of_step[["minority_percent", "majority_percent", "all_percent"]].tolist() == pytest.approx([70, 90, 80])
    law, own = check(pictures["imbalance-law"]).axes
    assert [label.get_text() for label in law.get_yticklabels()][-1] == "inverse\n(1.000)"
    assert [label.get_text() for label in own.get_yticklabels()][:3] == ["coat", "shirt", "T-shirt"]
    by_class = points(own, "LGL")[2:]
    assert [values[0][0] for values in by_class] == pytest.approx([0.5 + 0.02 * label for label in range(10)], abs=1e-3)
    data = pictures["imbalance-law"].data
    assert data is not None
    ratios = data[(data["weights"] == "inverse") & (data["loss"] == "SML") & (data["images"] == "train")]["value"]
    assert ratios[:3].tolist() == pytest.approx([1.0] * 3, abs=0.05)
