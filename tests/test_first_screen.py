"""The first screen and the four steps, of invented runs: every sentence and number against one worked out here."""

import re

import numpy as np
import pytest
from blocks import table
from invented import Known, give_own_lr, level, unknown

from lossbench.config.run import Runtime
from lossbench.report.blocks import Items, Paragraph, Picture, Section, Terms, Tile, Tiles
from lossbench.statistics import inference
from lossbench.statistics.inference import Pairs
from lossbench.studies.aaai20 import second_runs, variants
from lossbench.studies.aaai20.claims import claims
from lossbench.studies.aaai20.conditions import PLACES, cells, curve
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.keys import CNN2C, LGL, LGL_INR, LITERAL, SML, SUMMED, labelled
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, with_seeds
from lossbench.studies.aaai20.second_verdicts import SecondRound
from lossbench.studies.aaai20.sections import estimates
from lossbench.studies.aaai20.sections.first_screen import first_screen, sentences
from lossbench.studies.aaai20.sections.story import accuracies, story
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Key


def said(results: Known) -> list[str]:
    judge = Judge(results)
    return sentences(SecondRound(judge), [one for one in judge.cells() if one.key.model != LITERAL])


def repeat(results: Known, own: float, paper: float = 0.0) -> None:
    """Blind seeds of CNN2C: as the first ones, SML `own` and `paper` above its level at the two learning rates."""
    for condition, above in (("paper", paper), ("own-lr", own)):
        for key, cell in second_runs.first_cells(results.accuracy)[condition].items():
            again = with_seeds(cell, BLIND_SEEDS)
            base = {
                "SML": (0.93 if condition == "paper" else 0.94) + above,
                "LGL": 0.90 if condition == "paper" else 0.93,
            }
            results.fill(again, level(key, **base), BLIND_SEEDS)


def tiles(results: Known) -> dict[str, Tile]:
    judge = Judge(results)
    found = first_screen(SecondRound(judge), judge.cells(), judge.verdicts(), set(results.records))
    (block,) = [block for block in found if isinstance(block, Tiles)]
    return {tile.heading: tile for tile in block.tiles}


def test_without_runs_nothing_is_claimed() -> None:
    assert said(Known()) == [
        "None of the paper's 26 accuracies is judged yet.",
        "LGL-INR's lead over SML on KMNIST has no runs yet.",
        "Further seeds have not repeated this yet.",
    ]


@pytest.mark.parametrize(("gain", "told"), [(-0.01, "it remains"), (0.0, "gone"), (0.01, "reversed")])
def test_the_lead_is_said_at_both_learning_rates(cnn2c: Known, gain: float, told: str) -> None:
    give_own_lr(cnn2c, gain)
    pattern = "LGL-INR's lead over SML on KMNIST is (.*) points at the paper's learning rate, (.*) at each loss's own"
    mean = re.fullmatch(f"{pattern}: {told} [(]seeds 0 to 4[)][.]", said(cnn2c)[1])
    assert mean is not None
    assert float(mean[1]) == pytest.approx(1.0, abs=0.05)
    assert float(mean[2]) == pytest.approx(-100 * gain, abs=0.05)


def test_without_a_lead_nothing_is_said_of_its_end(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    cell = cells("paper", unknown)[labelled("CNN2C", "KMNIST", "SML")]
    cnn2c.fill(cell, lambda seed: float(level(labelled("CNN2C", "KMNIST", "LGL-INR"))(seed)) + 0.02 * (-1) ** seed)
    assert re.fullmatch(
        ".* points at the paper's learning rate, which is undecided [(]seeds 0 to 4[)][.]", said(cnn2c)[1]
    )


@pytest.mark.parametrize(
    ("own", "paper", "told"),
    [
        (0.0, 0.0, "confirm this; all ten give "),
        (-0.01, 0.0, "contradict this (+1.0"),
        (0.0, 0.01, "contradict this (+0.0"),
    ],
)
def test_further_seeds_confirm_or_contradict(cnn2c: Known, own: float, paper: float, told: str) -> None:
    give_own_lr(cnn2c, 0.0)
    repeat(cnn2c, own, paper)
    assert said(cnn2c)[2].startswith(f"Seeds 5 to 9 {told}")


def test_further_seeds_that_decide_nothing_say_what_they_show(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    repeat(cnn2c, 0.0)
    cell = second_runs.first_cells(cnn2c.accuracy)["own-lr"][Key(CNN2C, "kmnist", SML)]
    for config in with_seeds(cell, BLIND_SEEDS).configs:
        cnn2c.add(config, float(cnn2c.accuracy(config) or 0) + 0.01 * (-1) ** config.seed)
    inr = second_runs.first_cells(cnn2c.accuracy)["own-lr"][Key(CNN2C, "kmnist", LGL_INR)]
    seeds = range(10)
    pairs = cnn2c.pairs(with_seeds(inr, seeds), with_seeds(cell, seeds))
    pooled, blind = inference.paired_t(pairs), np.mean(pairs.differences[5:])
    assert said(cnn2c)[2] == (
        f"Seeds 5 to 9 show the lead again and leave its end undecided ({100 * blind:+.2f}); "
        f"all ten give {100 * pooled.mean:+.2f} ({100 * pooled.low:+.2f} to {100 * pooled.high:+.2f})."
    )


def test_sentences_are_short(cnn2c: Known) -> None:
    for gain in (-0.01, 0.0, 0.01):
        give_own_lr(cnn2c, gain)
        repeat(cnn2c, gain)
        found = said(cnn2c)
        assert len(found) == 3
        assert max(len(sentence.split()) for sentence in found) <= 25


def test_a_loss_that_does_not_replicate_is_named(cnn2c: Known) -> None:
    for name in ("mnist", "fmnist", "kmnist"):
        for loss, paper in (("SML", None), ("LGL-INR", None), ("LGL", 0.7)):
            cell = cells("paper", unknown)[Key(CNN2C, name, {"SML": SML, "LGL-INR": LGL_INR, "LGL": LGL}[loss])]
            printed = float(cell.paper or 0) / 100
            cnn2c.fill(cell, lambda seed, to=paper or printed: to + 0.0001 * (seed % 3))
    for cell in (one for key, one in cells("paper", unknown).items() if key.labels[2].startswith("beta")):
        cnn2c.fill(cell, lambda seed, to=float(cell.paper or 0) / 100: to + 0.0001 * (seed % 3))
    told = "The paper's accuracies replicate for SML and LGL-INR (8 of 8 judged), not for LGL (0 of 3)"
    assert said(cnn2c)[0] == f"{told}, whose scale the paper leaves open."


def test_where_all_judged_accuracies_replicate_no_loss_is_named_apart() -> None:
    results = Known()
    cell = cells("paper", unknown)[labelled("CNN2C", "KMNIST", "SML")]
    results.fill(cell, lambda seed: float(cell.paper or 0) / 100 + 0.0001 * seed)
    assert said(results)[0] == "The paper's accuracies replicate for SML (1 of 1 judged)."


def test_losses_are_defined_before_they_are_used(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    terms, paragraph, picture, _ = first_screen(SecondRound(judge), judge.cells(), judge.verdicts(), set())
    assert isinstance(terms, Terms)
    assert [name for name, _ in terms.lines] == ["SML", "LGL", "LGL-INR"]
    assert isinstance(paragraph, Paragraph)
    assert isinstance(picture, Picture)


def test_tiles_count_what_is_judged_and_what_is_not(cnn2c: Known) -> None:
    printed = [one for one in Judge(cnn2c).cells() if one.key.model != LITERAL]
    found = tiles(cnn2c)
    numbers = {one.words: one.number for one in found["26 accuracies of the paper"].counts}
    outcomes = [one.outcome for one in printed]
    assert numbers == {
        "agree with ours": outcomes.count("consistent"),
        "higher in the paper": outcomes.count("paper higher"),
        "lower in the paper": outcomes.count("paper lower"),
        "not yet run": 15,
    }
    assert sum(numbers.values()) == 26
    assert found["26 accuracies of the paper"].lines == ["Not yet: CNN5C, MobileNetV2 and ResNet-18"]
    own = [one for one in Judge(cnn2c).verdicts() if one.outcome and one.claim.whose == "paper"]
    counted = {one.words: one.number for one in found[f"{len(own)} claims of the paper"].counts}
    assert sum(counted.values()) == len(own)
    assert counted["are not yet tested"] == sum(one.state == "not yet tested" for one in own)
    rests = found["What it rests on"].lines
    assert rests[0] == f"{len(cnn2c.records)} runs, 0 hours on CPU"
    assert rests[1] == "Judged so far: CNN2C on MNIST, FMNIST and KMNIST, n=5 a cell"


def test_hours_are_those_of_the_records(cnn2c: Known) -> None:
    for record in cnn2c.records.values():
        record.fields["wall_s"] = 1800.0
    assert (
        f"{len(cnn2c.records)} runs, {len(cnn2c.records) / 2:,.0f} hours" in tiles(cnn2c)["What it rests on"].lines[0]
    )


def test_central_claims_are_those_of_abstract_introduction_and_conclusion() -> None:
    central = {one.id for one in claims() if one.is_central}
    assert central == {"inr-over-lgl", "inr-competes-sml", "inr-competes-lgl", "lgl-under-sml"}


def test_an_accuracy_has_the_interval_of_its_mean(cnn2c: Known) -> None:
    cell = estimates.at_papers(Judge(cnn2c))["kmnist", SML]
    values = inference.finished(cnn2c.values(cell))
    found = estimates.mean_accuracy(cnn2c, cell)
    assert found is not None
    assert (found.n, found.mean) == (5, pytest.approx(np.mean(values)))
    half = 2.776 * np.std(values, ddof=1) / np.sqrt(5)
    assert found.high - found.mean == pytest.approx(half, rel=1e-3)
    assert estimates.mean_accuracy(Known(), cell) is None


def test_a_lead_shrinks_by_its_difference_over_the_same_seeds(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.004)
    for config in cells("own-lr", cnn2c.accuracy)[labelled("CNN2C", "KMNIST", "SML")].configs:
        cnn2c.add(config, float(cnn2c.accuracy(config) or 0) + (0.001, 0.0, -0.001, 0.002, 0.0)[config.seed])
    judge = Judge(cnn2c)
    (one,) = [one for one in estimates.shrinkages(judge) if (one.pair, one.dataset) == ((LGL_INR, SML), "kmnist")]
    paper, own = estimates.at_papers(judge), estimates.at_own(judge)
    four = [cnn2c.values(at["kmnist", loss]) for at in (paper, own) for loss in (LGL_INR, SML)]
    by_seed = np.array([values[:5] for values in four], float)
    less = (by_seed[0] - by_seed[1]) - (by_seed[2] - by_seed[3])
    expected = inference.paired_t(Pairs(tuple(less), 0, 0))
    assert one.less.n == 5
    assert (one.less.mean, one.less.low, one.less.high) == pytest.approx((expected.mean, expected.low, expected.high))
    cnn2c.records = {name: record for name, record in cnn2c.records.items() if record.fields["config"]["seed"] != 3}
    assert {one.less.n for one in estimates.shrinkages(Judge(cnn2c))} == {4}


def test_where_nothing_can_shrink_no_shrinkage_is_told(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    (sml,) = [loss for loss in LOSSES if loss.name == "sml"]
    for lr, config in curve(PLACES[1], sml, Runtime()).items():
        cnn2c.add(config, 0.9 if lr == 0.01 else 0.8)
    found = {(one.pair, one.dataset) for one in estimates.shrinkages(Judge(cnn2c))}
    assert ((LGL_INR, SML), "kmnist") in found
    assert ((LGL_INR, SML), "fmnist") not in found


def test_blind_seeds_are_shown_once_all_of_a_comparison_are_there(cnn2c: Known) -> None:
    def seeds(setting: str = "") -> set[str]:
        rows = estimates.lead_rows(Judge(cnn2c))
        chosen = [row for row in rows if (row.contrast, row.dataset) == ("LGL-INR - SML", "KMNIST")]
        return {row.seeds for row in chosen if setting in row.setting}

    give_own_lr(cnn2c, 0.0)
    assert seeds() == {"0 to 4"}
    repeat(cnn2c, 0.0)
    assert seeds() == {"0 to 4", "5 to 9", "0 to 9"}
    gone = with_seeds(estimates.at_papers(Judge(cnn2c))["kmnist", SML], [9]).config
    cnn2c.records = {name: one for name, one in cnn2c.records.items() if name != cnn2c.name(gone)}
    assert seeds("paper") == {"0 to 4"}
    assert seeds("own") == {"0 to 4", "5 to 9", "0 to 9"}


def test_estimates_leave_blind_seeds_out_until_all_of_a_cell_are_there(cnn2c: Known) -> None:
    def num() -> int:
        found = estimates.mean_accuracy(cnn2c, estimates.at_papers(Judge(cnn2c))["kmnist", SML])
        assert found is not None
        return found.n

    cell = with_seeds(cells("paper", unknown)[labelled("CNN2C", "KMNIST", "SML")], BLIND_SEEDS)
    cnn2c.fill(cell, lambda seed: 0.95, range(5, 9))
    assert num() == 5
    cnn2c.fill(cell, lambda seed: 0.95, range(9, 10))
    assert num() == 10


def test_both_readings_of_lgl_stand_in_the_first_table(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    summed = second_runs.lgl_sums()["kmnist"]
    for config in summed.configs[:3]:
        cnn2c.add(config, 0.9437 + 0.0005 * config.seed)
    frame = accuracies(judge, [one for one in judge.cells() if one.key.model != LITERAL]).frame
    assert list(frame.columns) == ["LGL (mean)", "LGL (sum)", "SML", "LGL-INR"]
    assert frame.loc[("KMNIST", "CNN2C"), "LGL (sum)"] == "94.42 ± 0.05 (n=3); 94.37, consistent"
    assert frame.loc[("KMNIST", "CNN2C"), "LGL (mean)"].endswith("; 94.37, paper higher")
    assert frame.loc[("MNIST", "CNN2C"), "LGL (sum)"] == "not yet run"
    assert frame.loc[("KMNIST", "CNN2C, beta 2"), "SML"] == "–"
    assert SUMMED.label == "LGL (sum)"


def test_the_sum_of_lgl_is_whichever_of_its_cells_has_most_runs(cnn2c: Known) -> None:
    def accuracies_of(name: str) -> list[float]:
        return inference.finished(cnn2c.values(estimates.at_papers(Judge(cnn2c))[name, SUMMED]))

    for cell in variants.lgl_factors()[10.0]:
        cnn2c.fill(cell, lambda seed: 0.95 + seed / 1000, range(3))
    assert accuracies_of("mnist") == [0.95, 0.951, 0.952]
    give_own_lr(cnn2c, 0.0)  # LGL's own rate is 0.1, ten times the paper's, with five seeds
    own = estimates.at_own(Judge(cnn2c))["fmnist", LGL]
    assert own.config.schedule.lr == 0.1
    assert accuracies_of("fmnist") == inference.finished(cnn2c.values(own))
    assert len(accuracies_of("fmnist")) == 5


def steps(results: Known) -> list[Section]:
    judge = Judge(results)
    return story(judge, judge.cells(), judge.verdicts(), [], [], [], ["Strength: here."])


def test_the_evidence_has_four_steps_each_a_sentence(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    found = steps(cnn2c)
    assert [one.short for one in found] == [
        "The paper's numbers",
        "Learning rates",
        "The adaptive weights",
        "Limits",
    ]
    assert all(one.title.endswith(".") and len(one.title.split()) <= 20 for one in found)
    assert (
        found[1].title
        == "At each loss's own learning rate LGL-INR's lead over SML is gone on KMNIST and Fashion-MNIST."
    )
    give_own_lr(cnn2c, -0.01)
    assert "remains on KMNIST" in steps(cnn2c)[1].title


def test_the_weights_are_called_immaterial_only_where_the_interval_says_so(cnn2c: Known) -> None:
    assert steps(cnn2c)[2].title == "Whether LGL-INR's adaptive weights matter is not yet tested."
    even = second_runs.even_weights()["kmnist"]
    inr = cells("paper", unknown)[labelled("CNN2C", "KMNIST", "LGL-INR")]
    for config, other in zip(even.configs[:3], inr.configs[:3], strict=True):
        cnn2c.add(config, float(cnn2c.accuracy(other) or 0) + (0.0001, -0.0001, 0.0002)[config.seed])
    assert steps(cnn2c)[2].title == (
        "LGL-INR's adaptive weights change nothing measurable at the paper's setting on KMNIST."
    )
    (row,) = [row for row in estimates.weight_rows(Judge(cnn2c)) if row.beta == 1]
    assert (row.difference.n, row.difference.mean) == (3, pytest.approx(-0.0002 / 3))
    for config in even.configs[:3]:
        cnn2c.add(config, 0.5 + 0.1 * config.seed)
    assert steps(cnn2c)[2].title == "LGL-INR's adaptive weights change accuracy at the paper's setting on KMNIST."
    for config in even.configs[:3]:
        cnn2c.add(config, 0.94 + 0.1 * (-1) ** config.seed)
    assert steps(cnn2c)[2].title == "What LGL-INR's adaptive weights change at the paper's setting is not settled."


def test_what_is_not_tested_is_said_with_its_numbers(cnn2c: Known) -> None:
    (items,) = [block for block in steps(cnn2c)[3].blocks if isinstance(block, Items)]
    (told,) = [text for text in items.texts if text.startswith("Not judged yet, ")]
    assert told.startswith("Not judged yet, with fewer than 3 runs: 15 of 26 accuracies (CNN5C on MNIST, ")
    assert "four of them central ones" in told


def test_the_own_rates_table_says_accuracy_at_both(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    frame = table(steps(cnn2c)[1].blocks, 1)
    line = frame.loc[("KMNIST", "SML")]
    values = [100 * value for value in inference.finished(cnn2c.values(estimates.at_own(Judge(cnn2c))["kmnist", SML]))]
    assert line["Own rate"] == "0.1"
    assert line["At its own rate"] == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} (n=5)"
    assert frame.loc[("MNIST", "SML"), "Own rate"] == "–"
    assert LGL.label in frame.index.get_level_values("Loss")
