"""The study of many classes: its verdicts by their rules, and what it says while runs are missing or diverged."""

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from invented_many_classes import LEVEL, OWN, Study, own
from scipy import stats

from lossbench.studies.many_classes import evidence, plan, verdicts
from lossbench.studies.many_classes.evidence import AtCost, nll
from lossbench.studies.sentences import Judged

T95, T90 = 2.7764451051977987, 2.13184678133629
"""Quantiles of t with 4 degrees of freedom."""

SE = 0.002 / math.sqrt(5)
"""Standard error of the mean difference of a method's NLL to SML's: `OWN` has mean 0 and standard deviation 0.002."""

WIDE = {"nll": 0.3}
"""A method that is worse by more than the margin."""

ESTIMATES = [one.label for one in plan.METHODS if plan.is_estimate(one)]
APPROXIMATIONS = [one.label for one in plan.METHODS if plan.approximates(one)]


@pytest.fixture(scope="module")
def chosen() -> Study:
    """The learning rates of all methods, and the times of their steps: approximations at a twentieth of SML's."""
    return Study().time()


@pytest.fixture(scope="module")
def worse(chosen: Study) -> Study:
    """All methods but SML 0.3 nats above it."""
    return chosen.copy().give_all(**WIDE)


def judge(study: Study, sentence: str) -> Judged:
    of = {verdicts.RETAIN: verdicts.retain, verdicts.EQUAL_COST: verdicts.equal_cost}
    return (of | {verdicts.GUARANTEES: verdicts.guarantees})[sentence](study.known)


def test_the_approximations_and_the_estimates_are_those_of_the_rules() -> None:
    sampled = [f"Sampled softmax, {words}" for words in (
        "m=20", "m=100", "m=500", "hits masked", "target uncorrected, hits masked", "uncorrected", "uniform",
        "log-uniform", "unigram^0.75",
    )]  # fmt: skip
    batch = ["Sampled softmax, in-batch", "Sampled softmax, in-batch, uncorrected"]
    nce = [f"NCE, m={num}" for num in (20, 100, 500)]
    assert [*sampled, *batch, *nce, "NCE, m=100, no prior biases", "Adaptive softmax"] == APPROXIMATIONS
    assert [*sampled, *nce, *(f"Sampled LGL, m={num}" for num in (20, 100, 500))] == ESTIMATES


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"nll": 0.048}, "holds"),  # 90 % interval to 0.0499
        ({"nll": 0.0485}, "undecided"),  # to 0.0504
        ({"nll": 0.0522}, "undecided"),  # 95 % interval from 0.0497
        ({"nll": 0.0528}, "fails"),  # from 0.0503
        ({"nll": 0.0, "gain": -0.0023}, "holds"),  # accuracy: 90 % interval from -0.249 points
        ({"nll": 0.0, "gain": -0.0024}, "undecided"),  # from -0.259
        ({"nll": 0.0, "gain": -0.0027}, "undecided"),  # 95 % interval to -0.245
        ({"nll": 0.0, "gain": -0.0028}, "fails"),  # to -0.255
        ({"nll": -0.5, "gain": -0.0028}, "fails"),  # one beyond a margin is enough
        ({"nll": -0.5, "gain": 0.05}, "holds"),  # better is not worse
    ],
)
def test_an_approximation_keeps_quality_within_both_margins(worse: Study, changes: Any, outcome: str) -> None:
    assert (LEVEL - LEVEL + 0.048 + T90 * SE < 0.05, 0.0485 + T90 * SE < 0.05) == (True, False)
    assert (0.0522 - T95 * SE > 0.05, 0.0528 - T95 * SE > 0.05) == (False, True)
    study = worse.copy()
    study.give("Adaptive softmax", **changes)
    assert judge(study, verdicts.RETAIN).outcome == outcome


def test_evidence_of_what_is_kept_and_lost(worse: Study) -> None:
    study = worse.copy()
    study.give("Adaptive softmax", nll=0.01, gain=-0.001)
    study.give("NCE, m=500", nll=0.02)
    study.give("NCE, m=20", nll=0.7)
    study.give("Sampled softmax, m=500", nll=0.0522)
    study.diverge("Sampled softmax, uniform", [3])
    study.time(**{"Sampled softmax, m=20": 0.201})
    found = judge(study, verdicts.RETAIN)
    ends = [f"{0.01 + sign * T95 * SE:+.3f}" for sign in (-1, 1)]
    assert found.evidence_for == (
        f"2 of 16 approximations do; lowest NLL: Adaptive softmax (NLL +0.010 nats ({ends[0]} to {ends[1]}), n=5; "
        "accuracy -0.10 points, a step in 5 % of SML's time)"
    )
    ends = [f"{0.7 + sign * T95 * SE:+.3f}" for sign in (-1, 1)]
    assert found.evidence_against == (
        "Of 16 approximations 11 are worse by more than a margin (Sampled softmax, m=100; Sampled softmax, hits "
        "masked; 9 more), 1 takes more than a fifth of SML's time (Sampled softmax, m=20) and 1 has diverged runs "
        f"(Sampled softmax, uniform); highest NLL: NCE, m=20 +0.700 nats ({ends[0]} to {ends[1]}), n=5. Undecided: "
        "Sampled softmax, m=500"
    )
    assert found.setting == "next of 9,580 words, own learning rates"


def test_what_is_not_cheap_or_diverged_keeps_nothing(worse: Study) -> None:
    study = worse.copy()
    study.give("NCE, m=20", nll=0.0)
    assert judge(study.time(**{"NCE, m=20": 0.2}), verdicts.RETAIN).outcome == "holds", "at most a fifth"
    assert judge(study.time(**{"NCE, m=20": 0.2001}), verdicts.RETAIN).outcome == "fails"
    study.time()
    study.diverge("NCE, m=20", [0])
    assert judge(study, verdicts.RETAIN).outcome == "fails", "four runs are within the margins, one diverged"
    study.diverge("NCE, m=20")
    assert judge(study, verdicts.RETAIN).outcome == "fails"
    for label in APPROXIMATIONS:
        study.diverge(label)
    found = judge(study, verdicts.RETAIN)
    assert found.outcome == "fails"
    assert found.evidence_against.startswith("Of 16 approximations 16 have diverged runs (Sampled softmax, m=20; ")


def test_full_losses_and_other_maps_retain_nothing(worse: Study) -> None:
    study = worse.copy()
    for label in ("LGL", "RG2", "Sampled LGL, m=20", "Negative sampling", plan.LONG_LABEL):
        study.give(label, nll=-1.0)
    study.time(**dict.fromkeys(("LGL", "RG2"), 0.05))
    assert judge(study, verdicts.RETAIN).outcome == "fails"


def test_without_runs_or_costs_it_is_not_yet_tested(worse: Study) -> None:
    study = worse.copy()
    study.drop("NCE, m=20", [0, 1, 2])
    found = judge(study, verdicts.RETAIN)
    assert (found.word, found.setting) == (
        "not yet tested", "next of 9,580 words, own learning rates; 1 of 16 approximations not yet tested"
    )  # fmt: skip
    study.give("Adaptive softmax", nll=0.0)
    assert judge(study, verdicts.RETAIN).outcome == "holds", "one is enough"
    study.results.measurements = {}
    found = judge(study, verdicts.RETAIN)
    assert found.outcome is None, "its cost is not known"
    assert found.setting.endswith("; 2 of 16 approximations not yet tested")
    study = worse.copy()
    study.drop("NCE, m=20", [0, 1])
    assert judge(study, verdicts.RETAIN).outcome == "fails", "three pairs are enough"
    study.drop("SML")
    assert judge(study, verdicts.RETAIN).outcome is None
    study = worse.copy()
    study.diverge("SML", [0, 1, 2])
    assert judge(study, verdicts.RETAIN).outcome == "undecided", "no more pairs will come"
    study = worse.copy()
    study.give("NCE, m=20", device="cuda")
    assert judge(study, verdicts.RETAIN).setting.endswith("; 1 of 16 approximations not yet tested"), "no pairs"


LONG_AT = 1.2
"""What SML's NLL is above its end after 0.6 epochs, its last test at a cost of 12 times 0.05."""


@pytest.mark.parametrize(("nll", "outcome"), [(1.19, "holds"), (1.21, "fails"), (1.2, "undecided")])
def test_sampled_softmax_at_equal_cost(worse: Study, nll: float, outcome: str) -> None:
    study = worse.copy()
    study.give(plan.LONG_LABEL, nll=nll)
    found = judge(study, verdicts.EQUAL_COST)
    assert found.outcome == outcome
    ends = [f"{nll - LONG_AT + sign * T95 * SE:+.3f}" for sign in (-1, 1)]
    text = f"NLL less that of SML after 0.6 epochs: {nll - LONG_AT:+.3f} nats ({ends[0]} to {ends[1]}), n=5"
    if outcome != "undecided":
        assert (found.evidence_for, found.evidence_against) == ((text, "") if outcome == "holds" else ("", text))
    assert found.setting == "next of 9,580 words, own learning rates, Sampled softmax, m=100, 12 epochs"


@pytest.mark.parametrize(
    ("ratio", "epochs", "above"),
    [(0.0499, 0.4, 1.3), (0.05, 0.6, 1.2), (1 / 12, 1.0, 1.0), (0.0999, 1.0, 1.0), (0.5, 3.0, 0.0)],
)
def test_the_test_of_sml_is_the_last_that_costs_no_more(
    worse: Study, ratio: float, epochs: float, above: float
) -> None:
    study = worse.copy().time(**{plan.LONG_LABEL: ratio})
    found = study.known.equal_cost
    assert found is not None
    assert found.epochs == pytest.approx(epochs)
    expected = 0.3 - above + np.array([own(plan.LONG_LABEL, seed) for seed in range(5)])
    assert found.pairs.differences == pytest.approx(expected)


def test_no_verdict_at_equal_cost(worse: Study) -> None:
    study = worse.copy().time(**{plan.LONG_LABEL: 0.016})
    found = judge(study, verdicts.EQUAL_COST)
    assert (found.outcome, found.evidence_for, found.evidence_against) == (None, "", "")
    assert found.setting.endswith("12 epochs; SML has no test at so low a cost")
    study.results.measurements = {}
    assert judge(study, verdicts.EQUAL_COST).setting.endswith("12 epochs; cost not measured")
    study = worse.copy()
    study.drop(plan.LONG_LABEL, [0, 1])
    assert judge(study, verdicts.EQUAL_COST).outcome == "holds"
    assert judge(study, verdicts.EQUAL_COST).setting.endswith("; 2 pairs missing")
    study.drop(plan.LONG_LABEL, [2])
    found = judge(study, verdicts.EQUAL_COST)
    assert found.outcome is None
    assert found.evidence_for.endswith(", n=2")
    study = worse.copy()
    study.diverge(plan.LONG_LABEL, [0])
    found = judge(study, verdicts.EQUAL_COST)
    assert (found.outcome, found.setting[-9:]) == ("undecided", "12 epochs"), "lower, but a run diverged"
    assert found.evidence_for.endswith("n=4; diverged runs: 1 of sampled softmax")
    study.diverge(plan.LONG_LABEL)
    assert judge(study, verdicts.EQUAL_COST).outcome == "undecided"
    study = worse.copy()
    study.diverge("SML", [1])
    assert judge(study, verdicts.EQUAL_COST).outcome == "holds", "SML is not better for it"
    study.give(plan.LONG_LABEL, nll=1.5)
    assert judge(study, verdicts.EQUAL_COST).outcome == "undecided", "it is barred from winning"


def test_tests_of_a_run_are_in_epochs(worse: Study) -> None:
    config = worse.configs("SML")[0]
    record = worse.results.record(config)
    assert record is not None
    assert math.ceil(744_502 / 512) == 1455
    found = evidence.tests_of(record)
    assert [one.epochs for one in found] == pytest.approx([nth / 5 for nth in range(1, 16)]), "none twice"
    assert [one.nll for one in found] == pytest.approx([LEVEL + 0.1 * (15 - nth) for nth in range(1, 16)])
    record = worse.results.record(worse.configs("LGL")[0])
    assert record is not None
    assert [one.epochs for one in evidence.tests_of(record)] == [1, 2, 3]
    record.fields["curves"]["test/perplexity"][0] = sys.float_info.max
    assert [one.epochs for one in evidence.tests_of(record)] == [2, 3], "no number to show"
    assert AtCost(0.1)(worse.results, config) is None


def ordered(chosen: Study, sizes: Mapping[str, float], nlls: Mapping[str, float], biased: bool = False) -> Study:
    """All methods with given NLLs, and gradients whose error is nearly the standard deviation, or nearly the bias."""
    study = chosen.copy().give_all({label: {"nll": value} for label, value in nlls.items()})
    pairs = {label: (size, 0.01) if biased else (0.01, size) for label, size in sizes.items()}
    return study.noise(pairs)


RISING = {label: 1.0 + place for place, label in enumerate(ESTIMATES)}


@pytest.mark.parametrize("biased", [False, True])
def test_error_orders_the_methods(chosen: Study, biased: bool) -> None:
    up = {label: 0.1 * size for label, size in RISING.items()}
    found = judge(ordered(chosen, RISING, up, biased), verdicts.GUARANTEES)
    assert found.outcome == "holds"
    text = "+1.00 (+1.00 to +1.00), p < 0.001"
    told = ("bias " + text, "standard deviation not computable")
    told = told if biased else ("bias not computable", "standard deviation " + text)
    assert found.evidence_for == (
        f"Rank correlation with the final NLL over 15 methods: {told[0]}; {told[1]}; root mean square {text}"
    )
    down = {label: -value for label, value in up.items()}
    found = judge(ordered(chosen, RISING, down, biased), verdicts.GUARANTEES)
    assert (found.outcome, found.evidence_for) == ("fails", "")
    assert "root mean square -1.00" in found.evidence_against


SOME = (5, 1, 9, 3, 12, 2, 4, 8, 15, 7, 6, 14, 10, 11, 13)
"""Ranks whose correlation with 1..15 has p < 5 % alone and more with Holm's correction."""


def test_correlations_and_holm(chosen: Study) -> None:
    nlls = {label: 0.1 * rank for label, rank in zip(ESTIMATES, SOME, strict=True)}
    study = ordered(chosen, RISING, nlls)
    found = verdicts.correlations(study.known)
    whole, p = found["root mean square"]
    expected = stats.spearmanr(list(RISING.values()), SOME)
    assert whole.rho == pytest.approx(expected.statistic)
    assert whole.p == pytest.approx(expected.pvalue, abs=0.005)
    assert whole.p < 0.05 < 3 * whole.p
    assert p == pytest.approx(3 * whole.p)
    assert judge(study, verdicts.GUARANTEES).outcome == "undecided"


def test_bias_and_standard_deviation_are_both_in_the_error(chosen: Study) -> None:
    pairs = {label: (0.3 * (place % 4), 0.2 * (place % 5) + 0.1) for place, label in enumerate(ESTIMATES)}
    nlls = {
        label: math.sqrt(bias**2 + sd**2) + 0.001 * place for place, (label, (bias, sd)) in enumerate(pairs.items())
    }
    study = chosen.copy().give_all({label: {"nll": value} for label, value in nlls.items()}).noise(pairs)
    found = verdicts.correlations(study.known)
    assert [one.n for one, _ in found.values()] == [15] * 3
    for place, key in enumerate(("bias", "standard deviation")):
        expected = stats.spearmanr([pair[place] for pair in pairs.values()], list(nlls.values())).statistic
        assert found[key][0].rho == pytest.approx(expected)
    sizes, sums = ([of(pair) for pair in pairs.values()] for of in (lambda pair: math.hypot(*pair), sum))
    expected, other = (stats.spearmanr(numbers, list(nlls.values())).statistic for numbers in (sizes, sums))
    assert found["root mean square"][0].rho == pytest.approx(expected)
    assert expected > other + 0.01


def test_a_diverged_method_is_the_worst(chosen: Study) -> None:
    up = {label: 0.1 * size for label, size in RISING.items()}
    study = ordered(chosen, RISING, up)
    study.diverge(ESTIMATES[0], [4])
    found, _ = verdicts.correlations(study.known)["root mean square"]
    assert found.rho == pytest.approx(1 - 6 * (14**2 + 14) / (15 * (15**2 - 1)))
    study = ordered(chosen, RISING, up)
    for label in ESTIMATES[-2:]:
        study.diverge(label)
    found, _ = verdicts.correlations(study.known)["root mean square"]
    assert found.rho == pytest.approx(stats.spearmanr(range(15), [*range(13), 99, 99]).statistic)
    assert judge(study, verdicts.GUARANTEES).outcome == "holds"


def test_methods_without_runs_or_gradients_leave_it_open(chosen: Study) -> None:
    up = {label: 0.1 * size for label, size in RISING.items()}
    study = ordered(chosen, RISING, up)
    study.drop("NCE, m=20", [2])
    found = judge(study, verdicts.GUARANTEES)
    assert found.word == "not yet tested"
    assert found.setting.endswith("; 1 of 15 methods lack runs or the measured gradient")
    assert "over 15 methods" in found.evidence_for
    study.drop("NCE, m=20")
    assert "over 14 methods" in judge(study, verdicts.GUARANTEES).evidence_for
    study = chosen.copy().give_all()
    found = judge(study, verdicts.GUARANTEES)
    assert (found.word, found.evidence_for, found.evidence_against) == ("not yet tested", "", "")
    study.noise({}, states=["start"])
    assert judge(study, verdicts.GUARANTEES).outcome is None, "those after one epoch decide"
    study = ordered(chosen, RISING, up)
    study.drop("Negative sampling")
    study.drop("NCE, m=100, no prior biases")
    assert judge(study, verdicts.GUARANTEES).outcome == "holds", "they are not among the methods"


def test_nll_of_a_perplexity_too_large_for_a_float(worse: Study) -> None:
    study = worse.copy()
    bands = {
        "head": {"nll": 800.0, "test_samples": 300, "accuracy": 0.1},
        "middle": {"nll": 1200.0, "test_samples": 100, "accuracy": 0.0},
        "tail": {"nll": None, "test_samples": 0, "accuracy": None},
    }
    study.give("RG2", metrics={"test/perplexity": math.inf}, by_frequency=bands)
    config = study.configs("RG2")[0]
    assert nll(study.results, config) == pytest.approx(900)
    study.give("RG2", metrics={"test/perplexity": math.inf}, by_frequency={})
    assert nll(study.results, config) is None
    assert sum(OWN) == pytest.approx(0)
