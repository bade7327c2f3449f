"""What blind seeds make of the first round's words, on invented runs."""

import math

import numpy as np
import pytest
from blocks import table, text
from invented import LEVEL, Known, give_own_lr, level

from lossbench.config.run import Runtime
from lossbench.statistics.inference import Word
from lossbench.studies.aaai20 import second_runs
from lossbench.studies.aaai20.claims import between_losses
from lossbench.studies.aaai20.conditions import PLACES, curve
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.keys import CNN2C, EVEN, LGL, LGL_INR, SML, SUMMED, labelled
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, with_seeds
from lossbench.studies.aaai20.second_verdicts import SecondRound, Status, confirmed, tail
from lossbench.studies.aaai20.sections.second_round import blind_words, headline_status, second_round
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Cell


@pytest.mark.parametrize(
    ("first", "blind", "refuted", "status"),
    [
        ("higher", "higher", True, "confirmed"),
        ("higher", "higher, within the margin", False, "contradicted"),
        ("higher", "equivalent", False, "contradicted"),
        ("higher", "equal", False, "contradicted"),
        ("higher", "lower", True, "contradicted"),
        ("higher", "undecided", False, "undecided"),
        ("lower", "lower", True, "confirmed"),
        ("lower", "higher, within the margin", False, "contradicted"),
        ("lower", "undecided", False, "undecided"),
        ("equivalent", "equivalent", False, "confirmed"),
        ("equivalent", "equal", False, "confirmed"),
        ("equivalent", "lower, within the margin", False, "confirmed"),
        ("equivalent", "higher", True, "contradicted"),
        ("equivalent", "higher", False, "undecided"),
        ("equal", "undecided", False, "undecided"),
        ("higher, within the margin", "higher, within the margin", False, "confirmed"),
        ("higher, within the margin", "lower", False, "contradicted"),
        ("higher, within the margin", "lower, within the margin", False, "contradicted"),
        ("higher, within the margin", "higher", True, "contradicted"),
        ("higher, within the margin", "higher", False, "undecided"),
        ("higher, within the margin", "equivalent", False, "undecided"),
        ("undecided", "higher", True, "nothing to confirm"),
        ("too few", "lower", True, "nothing to confirm"),
    ],
)
def test_a_word_is_confirmed_or_contradicted_by_the_table_of_the_rules(
    first: Word, blind: Word, refuted: bool, status: Status
) -> None:
    assert confirmed(first, blind, refuted) == status


STEPS = {"LGL": 0.0001, "SML": 0.0002, "LGL-INR": 0.0004}
"""How far a loss's seeds scatter."""


def fill_blind(results: Known, cell: Cell, accuracy: float, step: float = 0.0, number: int = 5) -> None:
    for seed in list(BLIND_SEEDS)[:number]:
        results.add(with_seeds(cell, [seed]).config, accuracy + 0.004 * seed + step * (seed % 3 - 1))


def both_rounds(results: Known, sml: float, number: int = 5) -> None:
    """Blind seeds of all cells at the paper's and at the own learning rates; SML at the paper's as told."""
    give_own_lr(results, 0.0)
    for condition, found in second_runs.first_cells(results.accuracy).items():
        for key, cell in found.items():
            loss = key.loss.label
            own = {"LGL": 0.93, "SML": 0.9401, "LGL-INR": 0.94}[loss] if condition == "own-lr" else LEVEL[loss]
            own = sml if (condition, loss) == ("paper", "SML") else own
            alike = condition == "own-lr" and cell.key == second_runs.first_cells(results.accuracy)["paper"][key].key
            if not alike:
                fill_blind(results, cell, own, STEPS[loss], number)


def test_nothing_is_said_before_the_last_blind_seed(cnn2c: Known) -> None:
    both_rounds(cnn2c, 0.93, number=4)
    second = SecondRound(Judge(cnn2c))
    assert len(second.confirmations()) == 15
    assert {one.status for one in second.confirmations()} == {"not yet run"}
    assert {one.status for one in second.headlines()} == {"not yet run"}
    assert {one.outcome for one in second.numbers()} == {None}
    told = text(second_round(Judge(cnn2c)))
    assert "that were judged by seeds 0 to 4: 15 not yet run." in told
    frame = table(second_round(Judge(cnn2c)))
    assert set(frame["Seeds 5 to 9"]) == set(frame["Seeds 0 to 9"]) == {"not yet run"}


def test_blind_seeds_that_agree_confirm_and_others_contradict(cnn2c: Known) -> None:
    both_rounds(cnn2c, 0.93)
    second = SecondRound(Judge(cnn2c))
    status = {one.first.contrast: one.status for one in second.confirmations()}
    for condition in ("paper", "own-lr"):  # higher again, equivalent again
        assert status[between_losses(condition, CNN2C, "kmnist", (LGL_INR, SML))] == "confirmed"
    assert status == blind_words(Judge(cnn2c))
    assert {one.status for one in second.headlines()} == {"confirmed"}
    other = Known()
    other.records = dict(cnn2c.records)
    for dataset in ("KMNIST", "FMNIST", "MNIST"):
        cell = second.first_cells["paper"][labelled("CNN2C", dataset, "SML")]
        fill_blind(other, cell, 0.96, 0.0003)
    again = SecondRound(Judge(other))
    assert headline_status(Judge(other))[SML, "kmnist"] == "contradicted"
    words = {one.first.contrast: one for one in again.confirmations()}
    turned = next(one for contrast, one in words.items() if contrast.label == "LGL-INR - SML")
    assert (turned.first.word, turned.blind.word, turned.status) == ("higher", "lower", "contradicted")
    assert turned.blind.pooled.n == 10
    assert turned.first.pairs.n == turned.blind.comparison.pairs.n == 5


def test_holm_counts_the_cells_of_the_family_alone(cnn2c: Known) -> None:
    both_rounds(cnn2c, 0.93)
    family = [
        one.blind.comparison
        for one in SecondRound(Judge(cnn2c)).confirmations()
        if one.first.contrast.condition == "paper" and one.first.contrast.label == "LGL - SML"
    ]
    assert [one.contrast.dataset for one in family] == ["mnist", "fmnist", "kmnist"]
    smallest = min(one.difference.p for one in family)
    assert min(one.p_holm for one in family) == pytest.approx(3 * smallest)


def test_a_diverged_blind_seed_is_done_and_a_failure(cnn2c: Known) -> None:
    both_rounds(cnn2c, 0.93)
    cell = SecondRound(Judge(cnn2c)).first_cells["paper"][labelled("CNN2C", "KMNIST", "LGL-INR")]
    name = cnn2c.name(with_seeds(cell, [7]).config)
    cnn2c.records = {key: record for key, record in cnn2c.records.items() if key != name}
    cnn2c.diverged = frozenset({name})
    (found,) = [
        one
        for one in SecondRound(Judge(cnn2c)).confirmations()
        if (one.first.contrast.condition, one.first.contrast.label, one.first.contrast.dataset)
        == ("paper", "LGL-INR - SML", "kmnist")
    ]
    assert found.blind.whole
    assert found.blind.comparison.pairs.n == 4
    assert found.blind.comparison.pairs.failed_first == 1
    assert found.status == "undecided"


def test_the_secondary_endpoint_is_the_mean_of_the_last_five_epochs(cnn2c: Known) -> None:
    record = next(iter(cnn2c.records.values()))
    assert tail(record) == pytest.approx(np.mean(record.fields["curves"]["test/accuracy"][15:20]))


def test_the_ranking_is_answered_once_both_protocols_are_decided(cnn2c: Known) -> None:
    both_rounds(cnn2c, 0.93)
    inr_and_sml = ((LGL_INR, SML), "kmnist")
    constant, decaying, answer = SecondRound(Judge(cnn2c)).ranking()[inr_and_sml]
    assert (constant, decaying, answer) == ("equivalent", None, "undecided")
    for place in second_runs.DECAYED:
        for loss in LOSSES:
            for lr, config in curve(place, loss, Runtime()).items():
                cnn2c.add(config, 0.9 - abs(math.log(lr / 0.1)) / 100)
    for key, cell in second_runs.decayed(cnn2c.accuracy).items():
        loss = key.loss.label
        fill_blind(cnn2c, cell, {"LGL": 0.93, "SML": 0.94, "LGL-INR": 0.95}[loss], STEPS[loss])
    ranking = SecondRound(Judge(cnn2c)).ranking()
    assert ranking[inr_and_sml] == ("equivalent", "higher", "yes")
    assert ranking[(LGL, SML), "kmnist"] == ("lower", "lower", "no")
    further = SecondRound(Judge(cnn2c)).further()
    assert [one.comparison.contrast.dataset for one in further["decaying learning rate", (LGL, SML)]] == [
        place.dataset for place in PLACES
    ]


def test_even_weights_and_sums_are_compared_with_the_papers_cells(cnn2c: Known) -> None:
    both_rounds(cnn2c, 0.93)
    for found, accuracy in ((second_runs.even_weights(), 0.94), (second_runs.lgl_sums(), 0.935)):
        for cell in found.values():
            fill_blind(cnn2c, cell, accuracy, 0.0002)
    further = SecondRound(Judge(cnn2c)).further()
    assert {one.word for one in further["even weights", (LGL_INR, EVEN)]} == {"equivalent"}
    assert {one.word for one in further["LGL as a sum", (LGL_INR, SUMMED)]} == {"higher"}
    datasets = [one.comparison.contrast.dataset for one in further["even weights", (LGL_INR, EVEN)]]
    assert datasets == ["mnist", "fmnist", "kmnist"]
    assert [one.comparison.margin for one in further["even weights", (LGL_INR, EVEN)]] == [0.001, 0.0025, 0.0025]


def test_how_firm_a_choice_is(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    assert level(labelled("CNN2C", "KMNIST", "SML"))(0) > 0
    place, loss = PLACES[0], LOSSES[1]
    accuracies = {0.03: 0.91, 0.1: 0.93, 0.3: 0.92}
    for lr, configs in second_runs.choice_runs(place, loss, Runtime()).items():
        for config in configs if lr in accuracies else ():
            cnn2c.add(config, accuracies[lr] + (0.02 if (lr, config.seed) == (0.3, 1004) else 0.0))
    blocks = second_round(Judge(cnn2c))
    frame = next(frame for index in range(10) if "Best in" in (frame := table(blocks, index)).columns)
    line = frame.loc["KMNIST", "SML"]
    assert (line["Seed 1000"], line["Seeds 1001 to 1004"], line["Best in"]) == ("0.1", "0.1", "3 of 4")
    assert line["Lead"] == "+0.50 (-1.09 to +2.09) over 0.3"
    assert frame.loc["KMNIST", "LGL"]["Best in"] == "not yet run"
