"""The study of many classes: minimiser or bias, consistency with ranks, and how cost grows; by the rules."""

import math
from typing import Any

import pytest
from invented_many_classes import OWN, Study, own
from scipy import stats

from lossbench.statistics.inference import holm
from lossbench.studies.many_classes import plan, verdicts
from lossbench.studies.sentences import Judged

T95 = 2.7764451051977987

ALL, TARGET = "Sampled softmax, m=100", "Sampled softmax, target uncorrected, hits masked"
UNCORRECTED, IN_BATCH, NEGATIVE = plan.TWINS


@pytest.fixture(scope="module")
def same() -> Study:
    """All methods at SML's level."""
    return Study().time().give_all()


def judge(study: Study, sentence: str) -> Judged:
    if sentence == verdicts.EFFICIENCY:
        return verdicts.efficiency(study.results)
    return {verdicts.MINIMISER: verdicts.minimiser, verdicts.CONSISTENCY: verdicts.consistency}[sentence](study.known)


def p_of(differences: list[float]) -> float:
    return float(stats.ttest_1samp(differences, 0).pvalue)


@pytest.mark.parametrize(("nll", "word"), [(0.02, "the minimiser"), (-0.02, "the bias"), (0.0004, "undecided")])
def test_minimiser_or_bias(same: Study, nll: float, word: str) -> None:
    study = same.copy()
    study.give(TARGET, nll=nll)
    found = judge(study, verdicts.MINIMISER)
    assert (found.outcome, found.word) == (None, word)
    gaps = [own(ALL, seed) - nll - own(TARGET, seed) for seed in range(5)]
    mean = sum(gaps) / 5
    half = T95 * math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / 4 / 5)
    text = (
        f"NLL with all logits corrected less that with the target uncorrected: {mean:+.3f} nats ({mean - half:+.3f} to "
        f"{mean + half:+.3f}), n=5"
    )
    told = (found.evidence_for, found.evidence_against)
    assert told in ((text, ""), ("", text))
    if nll:
        assert told == ((text, "") if nll > 0 else ("", text))
    study.noise({ALL: (0.41, 1.0), TARGET: (0.12, 2.0)})
    found = judge(study, verdicts.MINIMISER)
    assert (found.evidence_for or found.evidence_against) == f"{text}; relative bias of the gradient 0.41 and 0.12"


def test_minimiser_without_runs_or_with_diverged_ones(same: Study) -> None:
    study = same.copy()
    study.give(TARGET, nll=0.02)
    study.drop(ALL, [0, 1])
    assert judge(study, verdicts.MINIMISER).word == "the minimiser"
    assert judge(study, verdicts.MINIMISER).setting.endswith("m=100; 2 pairs missing")
    study.drop(ALL, [2])
    found = judge(study, verdicts.MINIMISER)
    assert (found.word, found.evidence_for, found.evidence_against) == ("not yet tested", "", "")
    assert found.setting == "next of 9,580 words, own learning rates, sampled softmax with m=100; 3 pairs missing"
    study.give(ALL)
    study.diverge(ALL, [0])
    found = judge(study, verdicts.MINIMISER)
    assert found.word == "undecided", "a method whose run diverged is not better"
    assert found.evidence_for.endswith("n=4; diverged runs: 1 with all corrected")
    study.give(ALL)
    study.diverge(TARGET, [0])
    assert judge(study, verdicts.MINIMISER).word == "the minimiser"
    study.diverge(TARGET)
    found = judge(study, verdicts.MINIMISER)
    assert found.word == "undecided"
    assert "no pair of runs; diverged runs: 5 with the target uncorrected" in found.evidence_against
    study = same.copy()
    study.give(TARGET, nll=0.02, device="cuda")
    assert judge(study, verdicts.MINIMISER).word == "not yet tested", "runs of different devices are no pairs"


LOWER = -0.01


@pytest.mark.parametrize(
    ("lower", "outcome"),
    [
        ((UNCORRECTED, IN_BATCH, NEGATIVE), "holds"),
        ((UNCORRECTED, NEGATIVE), "undecided"),
        ((IN_BATCH,), "undecided"),
        ((), "fails"),
    ],
)
def test_consistency(same: Study, lower: tuple[str, ...], outcome: str) -> None:
    study = same.copy()
    for label in plan.TWINS:
        study.give(label, ndcg=LOWER if label in lower else 0.01)
    found = judge(study, verdicts.CONSISTENCY)
    assert found.outcome == outcome
    for label in plan.TWINS:
        sign = "-" if label in lower else "+"
        text = f"{label} {sign}1.00 points, p < 0.001, n=5"
        assert (text in found.evidence_for) == (label in lower), "higher is not lower"
        assert (text in found.evidence_against) == (label not in lower)
    assert found.setting == "next of 9,580 words, own learning rates"


def test_consistency_compares_with_the_corrected_twin(same: Study) -> None:
    study = same.copy()
    for label, twin in plan.TWINS.items():
        study.give(label, ndcg=0.04)
        study.give(twin, ndcg=0.05)
    study.give("SML", ndcg=-0.5)
    assert judge(study, verdicts.CONSISTENCY).outcome == "holds"
    assert plan.TWINS == {
        "Sampled softmax, uncorrected": "Sampled softmax, m=100",
        "Sampled softmax, in-batch, uncorrected": "Sampled softmax, in-batch",
        "Negative sampling": "NCE, m=100",
    }


def test_consistency_takes_holm_over_the_three(same: Study) -> None:
    """A difference that is significant alone and not among three."""
    study = same.copy()
    label, twin = NEGATIVE, plan.TWINS[NEGATIVE]
    ndcg = next(
        shift / 1e6
        for shift in range(0, -2000, -1)
        if p_of([shift / 1e6 - (own(label, seed) - own(twin, seed)) / 10 for seed in range(5)]) < 0.03
    )
    study.give(label, ndcg=ndcg)
    others = [
        p_of([-(own(one, seed) - own(plan.TWINS[one], seed)) / 10 for seed in range(5)])
        for one in (UNCORRECTED, IN_BATCH)
    ]
    alone = p_of([ndcg - (own(label, seed) - own(twin, seed)) / 10 for seed in range(5)])
    assert 0.025 < alone < 0.03
    assert 0.05 < holm([*others, alone])[2] == pytest.approx(3 * alone)
    found = judge(study, verdicts.CONSISTENCY)
    assert found.outcome == "fails"
    assert f"{label} {100 * ndcg:+.2f} points, p {3 * alone:.3f}, n=5" in found.evidence_against


def test_consistency_without_runs_or_with_diverged_ones(same: Study) -> None:
    study = same.copy()
    for label in plan.TWINS:
        study.give(label, ndcg=LOWER)
    study.drop(UNCORRECTED, [0, 1, 2])
    found = judge(study, verdicts.CONSISTENCY)
    assert (found.word, found.setting) == (
        "not yet tested", "next of 9,580 words, own learning rates; 1 of 3 methods not yet tested"
    )  # fmt: skip
    study.give(UNCORRECTED, ndcg=LOWER)
    study.diverge(UNCORRECTED, [0])
    assert judge(study, verdicts.CONSISTENCY).outcome == "holds", "it is worse for its diverged run"
    study.give(UNCORRECTED, ndcg=LOWER)
    study.diverge(plan.TWINS[NEGATIVE], [0])
    found = judge(study, verdicts.CONSISTENCY)
    assert found.outcome == "undecided", "the corrected one is not better"
    assert found.evidence_against == (
        "Not shown to be lower: Negative sampling -1.00 points, p < 0.001, n=4; diverged runs: 1 of the corrected one"
    )
    study = same.copy()
    for label in plan.TWINS:
        study.diverge(label)
    found = judge(study, verdicts.CONSISTENCY)
    assert found.outcome == "undecided", "no pair says that they are not lower"
    assert found.evidence_against.endswith("; Negative sampling: no pair of runs; diverged runs: 5 of it")


@pytest.mark.parametrize(
    ("slopes", "outcome"),
    [
        ({"full": 0.83, "sampled": 0.17}, "holds"),
        ({"full": 0.8, "sampled": 0.17}, "undecided"),  # 0.8 lies in the interval
        ({"full": 0.83, "sampled": 0.2}, "undecided"),
        ({"full": 0.8, "sampled": 0.2}, "fails"),
        ({"full": 0.3, "sampled": 0.5}, "fails"),
    ],
)
def test_efficiency(same: Study, slopes: dict[str, float], outcome: str) -> None:
    found = judge(same.copy().cost(**slopes), verdicts.EFFICIENCY)
    assert found.outcome == outcome
    assert found.setting == "output layer, loss and update alone, 1,000 to 100,000 classes"
    # the slope over three places at equal distances is that between the ends, by the repetition's factor
    factors = [(1 - 0.01 * nth, 1 + 0.01 * nth) for nth in range(-4, 5)]
    shifts = [math.log(last / first) / math.log(100) for last, first in factors]
    mean = sum(shifts) / 9
    half = stats.t.ppf(0.975, 8) * math.sqrt(sum((one - mean) ** 2 for one in shifts) / 8 / 9)
    texts = [
        f"he time of {name} grows as K to the power of {slope + mean:.2f} ({slope + mean - half:.2f} to "
        f"{slope + mean + half:.2f}, n=9)"
        for name, slope in (("SML", slopes["full"]), ("sampled softmax (m=100)", slopes["sampled"]))
    ]
    is_so = [slopes["full"] == 0.83, slopes["sampled"] == 0.17]
    for text, flag in zip(texts, is_so, strict=True):
        assert (text in found.evidence_for, text in found.evidence_against) == (flag, not flag)


def test_efficiency_without_all_sizes(same: Study) -> None:
    assert judge(same, verdicts.EFFICIENCY).word == "not yet tested"
    assert judge(same, verdicts.EFFICIENCY).setting.endswith("classes; not yet measured")
    study = same.copy().cost(noise=0.0)
    assert judge(study, verdicts.EFFICIENCY).outcome is None, "without spread there is no interval"


def test_sentences_stand_in_the_order_of_the_rules(same: Study) -> None:
    expected: list[Any] = [verdicts.RETAIN, verdicts.EQUAL_COST, verdicts.GUARANTEES]
    expected += [verdicts.MINIMISER, verdicts.CONSISTENCY, verdicts.EFFICIENCY]
    assert [one.sentence for one in verdicts.judged(same.known)] == expected
    assert len(set(OWN)) > 1
