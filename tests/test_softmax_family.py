"""The study of the Softmax family: its verdicts by their rules, and what it says while runs are missing or diverged."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from invented import Known
from invented_family import Study
from scipy import stats

from lossbench.losses.entmax import Entmax
from lossbench.losses.rankmax import Rankmax
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.report.tone import toned
from lossbench.statistics.ranking import ranking
from lossbench.studies.sentences import Judged, sentences_table
from lossbench.studies.softmax_family import measured, plan, theory, verdicts

SIX = ["Entmax, alpha 1.25", "Entmax", "Entmax, alpha 1.75", "Sparsemax", "LGL", "Squared"]
T95, T90 = 2.7764451051977987, 2.13184678133629
"""Quantiles of t with 4 degrees of freedom."""


@pytest.fixture(scope="module")
def chosen() -> Study:
    """The learning rates of all losses."""
    return Study()


@pytest.fixture(scope="module")
def lower(chosen: Study) -> Study:
    """All losses beside SML a little lower in accuracy and NDCG, with the same epochs."""
    return chosen.copy().give_all(lambda _, label: {} if label == "SML" else {"gain": -0.002, "ndcg": -0.001})


def judge(study: Study, sentence: str) -> Judged:
    return next(one for one in verdicts.judged(verdicts.family(study.results)) if one.sentence == sentence)


def test_softmax_aligns_if_no_loss_is_higher(lower: Study) -> None:
    found = judge(lower, verdicts.ALIGNS)
    assert found.outcome == "holds"
    assert found.evidence_for == (
        "Fashion-MNIST: in accuracy 0 of 12 losses higher than SML, 12 lower (n=5); in NDCG of the true class 0 of 12 "
        "losses higher than SML, 12 lower (n=5). KMNIST: in accuracy 0 of 7 losses higher than SML, 7 lower (n=5); in "
        "NDCG of the true class 0 of 7 losses higher than SML, 7 lower (n=5)"
    )
    assert found.evidence_against == ""
    assert found.setting == "Fashion-MNIST (13 losses) and KMNIST (8 losses), CNN2C, own learning rates"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"fmnist": {"gain": 0.002}}, "undecided"),
        ({"fmnist": {"gain": 0.002}, "kmnist": {"gain": 0.002}}, "fails"),
        ({"fmnist": {"gain": 0.002}, "kmnist": {"ndcg": 0.002}}, "fails"),
        ({"fmnist": {"ndcg": 0.002}, "kmnist": {"ndcg": 0.002}}, "fails"),
        ({"kmnist": {"ndcg": 0.002}}, "undecided"),
        ({"fmnist": {"gain": 0.0002}, "kmnist": {"gain": 0.0002}}, "holds"),  # no significant difference
    ],
)
def test_it_fails_if_a_loss_is_higher_on_both(lower: Study, changes: Mapping[str, Any], outcome: str) -> None:
    study = lower.copy()
    for dataset, change in changes.items():
        study.give(dataset, "Entmax", **{"gain": -0.002, "ndcg": -0.001} | change)
    assert judge(study, verdicts.ALIGNS).outcome == outcome


def test_the_evidence_has_the_numbers(lower: Study) -> None:
    study = lower.copy()
    study.give("fmnist", "Entmax", gain=0.002, ndcg=-0.001)
    of, results = study.sets["fmnist"], study.results
    own, base = ([results.accuracy(one) for one in of.at_own(label).configs] for label in ("Entmax", "SML"))
    gaps = np.array(own) - np.array(base)
    half = T95 * gaps.std(ddof=1) / math.sqrt(5)
    p = 2 * stats.t.sf(abs(gaps.mean()) / gaps.std(ddof=1) * math.sqrt(5), 4)
    (found,) = [one for one in verdicts.family(results).accuracy["fmnist"] if one.label == "Entmax"]
    assert p <= found.p_holm <= 12 * p
    assert (found.difference.low, found.difference.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half))
    text = judge(study, verdicts.ALIGNS).evidence_against
    assert text == f"Fashion-MNIST, accuracy: Entmax {100 * gaps.mean():+.2f} points (n=5)"


def test_evidence_names_two_losses_and_counts_the_rest(lower: Study) -> None:
    study = lower.copy()
    for place, label in enumerate(("Entmax", "LGL", "Focal", "RG2")):
        study.give("fmnist", label, gain=0.002 + 0.001 * place)
    text = judge(study, verdicts.ALIGNS).evidence_against
    assert text.index("RG2") < text.index("Focal")
    assert text.endswith("and 2 more")
    assert "LGL" not in text


def test_without_a_pair_there_is_no_verdict(lower: Study) -> None:
    study = lower.copy()
    study.drop("kmnist", "Brier", [3])
    found = judge(study, verdicts.ALIGNS)
    assert (found.outcome, found.word) == (None, "not yet tested")
    assert found.setting.endswith("; KMNIST: 1 of 35 pairs with SML missing")
    study = lower.copy()
    study.drop("kmnist", "SML", [3])
    assert judge(study, verdicts.ALIGNS).setting.endswith("; KMNIST: 7 of 35 pairs with SML missing")


def test_records_without_ranks_are_named_or_computed_from_logits(lower: Study) -> None:
    study = lower.copy()
    study.drop("fmnist", "LGL", range(5), "ranking")
    found = judge(study, verdicts.ALIGNS)
    assert found.outcome is None
    assert found.setting.endswith(
        "Fashion-MNIST: no NDCG of 5 finished pairs, whose records have neither it nor logits"
    )
    of = study.sets["fmnist"]
    configs = of.at_own("LGL").configs
    of.give_logits(configs)
    arrays = study.results.given[study.results.name(configs[1])]
    expected = ranking(arrays["test_logits"], arrays["test_labels"])
    assert measured.ranked("mrr")(study.results, configs[1]) == expected["mrr"]
    assert judge(study, verdicts.ALIGNS).outcome in ("holds", "undecided")


def test_a_diverged_loss_is_never_higher_and_its_runs_are_done(lower: Study) -> None:
    study = lower.copy()
    for dataset in plan.DATASETS:
        study.give(dataset, "Entmax", gain=0.01, ndcg=0.01)
        study.diverge(dataset, "Entmax", [2])
    assert judge(study, verdicts.ALIGNS).outcome == "holds"
    study = lower.copy()
    for dataset in plan.DATASETS:
        study.diverge(dataset, "SML", [0, 1, 2])
    assert judge(study, verdicts.ALIGNS).outcome == "undecided", "SML has too few runs for any test"


def test_runs_of_different_devices_are_no_pairs(lower: Study) -> None:
    study = lower.copy()
    study.give("kmnist", "Focal", gain=-0.002, ndcg=-0.001, device="cuda")
    assert judge(study, verdicts.ALIGNS).setting.endswith("KMNIST: 5 of 35 pairs with SML missing")


QUICK = (4, 5, 3, 6, 4)


def test_convergence_differs(lower: Study) -> None:
    study = lower.copy()
    study.give("fmnist", "Sparsemax", gain=-0.002, epochs=QUICK)
    found = judge(study, verdicts.CONVERGENCE)
    assert found.outcome == "holds"
    gaps = np.array(QUICK) - np.array((8, 9, 8, 10, 9))
    half = T95 * gaps.std(ddof=1) / math.sqrt(5)
    ends = f"{gaps.mean() - half:+.1f} to {gaps.mean() + half:+.1f}"
    assert found.evidence_for == f"Sparsemax {gaps.mean():+.1f} epochs, 95 % interval {ends}, n=5"
    assert found.evidence_against.startswith("5 of 6 losses within one epoch of SML (90 % interval, n=5): Entmax, ")
    (test,) = [one for one in verdicts.family(study.results).epochs if one.label == "Sparsemax"]
    p = 2 * stats.t.sf(abs(gaps.mean()) / gaps.std(ddof=1) * math.sqrt(5), 4)
    assert test.p_holm == pytest.approx(6 * p)
    study.diverge("fmnist", "Sparsemax", [4])
    assert judge(study, verdicts.CONVERGENCE).outcome == "undecided", "a loss whose runs diverged is not quicker"
    study.give("fmnist", "Sparsemax", gain=-0.002, epochs=(12, 14, 12, 14, 13), seeds=range(4))
    assert judge(study, verdicts.CONVERGENCE).outcome == "holds", "but it may be slower"


def test_convergence_is_alike_within_an_epoch_or_undecided(lower: Study) -> None:
    assert [one.label for one in verdicts.family(lower.results).epochs] == SIX
    assert judge(lower, verdicts.CONVERGENCE).outcome == "fails"
    study = lower.copy()
    wide = (8, 9, 10, 9, 9)
    study.give("fmnist", "LGL", gain=-0.002, epochs=wide)
    gaps = np.array(wide) - np.array((8, 9, 8, 10, 9))
    assert abs(gaps.mean()) + T90 * gaps.std(ddof=1) / math.sqrt(5) > 1
    found = judge(study, verdicts.CONVERGENCE)
    assert (found.outcome, found.evidence_for) == ("undecided", "")
    half = T95 * gaps.std(ddof=1) / math.sqrt(5)
    assert found.evidence_against.startswith(
        f"0 of 6 losses shown to differ, largest difference LGL {gaps.mean():+.1f} epochs, 95 % interval "
        f"{gaps.mean() - half:+.1f} to {gaps.mean() + half:+.1f}, n=5. 5 of 6 losses within one epoch of SML "
    )
    study.drop("fmnist", "LGL", [4])
    found = judge(study, verdicts.CONVERGENCE)
    assert found.outcome is None
    assert found.setting.endswith("1 of 30 pairs with SML missing")
    study.give("fmnist", "LGL", gain=-0.002, epochs=(10, 11, 10, 12, 11))
    assert judge(study, verdicts.CONVERGENCE).outcome == "undecided", "equal differences have no t"


def test_relatives_and_kmnist_do_not_decide_on_convergence(lower: Study) -> None:
    study = lower.copy()
    study.give("fmnist", "Focal", gain=-0.002, epochs=QUICK)
    study.give("kmnist", "Sparsemax", gain=-0.002, epochs=QUICK)
    study.drop("fmnist", "RG2", range(5))
    assert judge(study, verdicts.CONVERGENCE).outcome == "fails"


def test_what_theory_states_follows_the_options() -> None:
    for alpha in (1.25, 1.5, 1.75, 2.0):
        assert theory.smoothness(Entmax(alpha=alpha), 10) == pytest.approx(2 ** (alpha - 2))
        assert theory.margin(Entmax(alpha=alpha), 10) == pytest.approx(1 / (alpha - 1))
    assert theory.smoothness(Entmax(alpha=2.0), 10) == theory.smoothness(Sparsemax(), 10)
    assert theory.margin(Entmax(alpha=2.0), 10) == theory.margin(Sparsemax(), 10)
    registered = theory.LOSSES["entmax"].properties
    assert theory.smoothness(Entmax(), 10) == pytest.approx(registered.bound("smoothness", 10))
    assert theory.margin(Entmax(), 10) == registered.margin
    assert theory.margin(Sml(), 10) == math.inf
    assert theory.smoothness(Rankmax(), 10) == math.inf


def test_a_strong_order_is_seen(chosen: Study) -> None:
    compared = verdicts.family(chosen.results).compared["fmnist"]
    bounds = theory.stated(compared, "smoothness bound")
    study = chosen.copy().give_all(
        lambda dataset, label: {"gain": -0.01 * (bounds[label] or 0) if dataset == "fmnist" else 0.0}
    )
    found = {one.name: one for one in verdicts.family(study.results).orders}
    smooth = found["smoothness bound"].correlation
    fashion = verdicts.family(study.results).compared["fmnist"]
    means = [np.mean([study.results.accuracy(c) for c in one.at_own.cell.configs]) for one in fashion.losses]
    assert smooth.rho == pytest.approx(stats.spearmanr([bounds[one.label] for one in fashion.losses], means).statistic)
    assert smooth.rho < -0.97
    assert smooth.n == 13
    assert found["smoothness bound"].p_holm == pytest.approx(4 * smooth.p)
    assert math.isnan(found["order preserving"].p_holm), "all losses are"
    judged = judge(study, verdicts.ORDER)
    assert judged.word == "yes"
    z = math.atanh(smooth.rho)
    half = 1.959964 * math.sqrt(1.06 / 10)
    assert judged.evidence_for == (
        f"Rank correlations with 95 % intervals: smoothness bound {smooth.rho:+.2f} ({math.tanh(z - half):+.2f} to "
        f"{math.tanh(z + half):+.2f}); p < 0.001 (Holm)"
    )
    assert judged.evidence_against.endswith(" (Holm); order preserving: the same for all losses")


def test_no_order_and_no_verdict(lower: Study) -> None:
    assert judge(lower, verdicts.ORDER).word == "no order seen"
    study = lower.copy()
    study.drop("fmnist", "RG2", [0])
    found = judge(study, verdicts.ORDER)
    assert found.word == "not yet tested"
    assert found.setting.endswith("1 of 60 pairs with SML missing")
    assert "mean accuracies of 13 losses" in found.setting
    study = lower.copy()
    study.diverge("fmnist", "RG2", range(5))
    found = judge(study, verdicts.ORDER)
    assert found.word == "no order seen"
    assert "mean accuracies of 12 losses" in found.setting


def test_what_runs_cannot_decide_is_said(lower: Study) -> None:
    words = {one.sentence: one.word for one in verdicts.judged(verdicts.family(lower.results))}
    assert words[verdicts.CANONICAL] == "a property"
    assert words[verdicts.APPROXIMATIONS] == "not tested here"
    frame = sentences_table(verdicts.judged(verdicts.family(lower.results)), "").frame
    assert list(frame["Verdict"]) == ["holds", "fails", "a property", "not tested here", "no order seen"]
    assert frame["Verdict"].iloc[4].tone == toned("undecided").tone


def test_without_any_run() -> None:
    for one in verdicts.judged(verdicts.family(Known())):
        assert one.outcome is None
        if one.sentence in (verdicts.ALIGNS, verdicts.CONVERGENCE, verdicts.ORDER):
            assert one.word == "not yet tested"
            assert one.evidence_for == one.evidence_against == ""
    assert "KMNIST: 35 of 35 pairs with SML missing" in verdicts.judged(verdicts.family(Known()))[0].setting
