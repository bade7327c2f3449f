"""Verdicts as the report words and tables them, of invented runs: every number against one worked out here."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blocks import table, text
from drawn import figure_of, legend_of
from invented import FAMILY, Known, give_own_lr, level, unknown

from lossbench.config.run import Runtime, run_id
from lossbench.report.blocks import Picture, Table
from lossbench.report.wording import percent, points, predicted
from lossbench.statistics import inference
from lossbench.studies.aaai20 import table1
from lossbench.studies.aaai20.claims import claims
from lossbench.studies.aaai20.conditions import LARGE, PLACES, cells, curve
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.keys import CNN2C, LITERAL, labelled
from lossbench.studies.aaai20.sections import judged as sections
from lossbench.studies.aaai20.sections import learning_rates
from lossbench.studies.aaai20.sections.findings import (
    CONDITIONS,
    cells_sentence,
    claims_sentence,
    evidence,
    head_sentences,
    seen_blocks,
)
from lossbench.studies.aaai20.table1_verdicts import equation_10
from lossbench.studies.aaai20.verdicts import Judge

RESULTS = Path(__file__).parents[1] / "results"


def test_leads_are_shown_with_their_own_learning_rates(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    for key, cell in cells("own-lr", cnn2c.accuracy).items():
        if key.labels == ("CNN2C", "FMNIST", "SML"):
            cnn2c.fill(cell, level(key, SML=0.93))
    frame = sections.headlines(Judge(cnn2c), {}).frame
    assert list(frame["Verdict"]) == ["gone", "remains", "remains", "remains"]
    assert frame["Own lr"].iloc[0].startswith("+0.00 (-0.")
    assert frame["Own lr"].iloc[0].endswith("), equivalent")
    assert set(frame["n"]) == {"5/0/5"}
    assert set(frame["Scales matched"]) == {"missing"}


def test_where_the_papers_learning_rate_is_the_own_one_the_table_says_so(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    losses = {loss.name: loss for loss in LOSSES}
    for lr, config in curve(PLACES[1], losses["sml"], Runtime()).items():
        cnn2c.add(config, 0.9 if lr == 0.01 else 0.8)
    frame = sections.headlines(Judge(cnn2c), {}).frame
    assert list(frame["The own lrs"])[:2] == ["0.01 and 0.1", "0.01 and 0.01"]


def test_it_is_told_which_claims_hold_with_one_head_only(cnn2c: Known) -> None:
    assert head_sentences(Judge(cnn2c), Judge(cnn2c).cells()) == ""
    for key, cell in cells("literal", unknown).items():
        cnn2c.fill(cell, level(key, SML=0.95 if key.labels[1] == "MNIST" else 0.93), range(3))
    judge = Judge(cnn2c)
    judged = [one for one in judge.cells() if one.key.loss.option is None]
    default, printed = (
        sum(one.outcome == "consistent" for one in judged if one.key.model == model) for model in (CNN2C, LITERAL)
    )
    assert default != printed
    said = head_sentences(judge, judge.cells())
    assert f"9 numbers {default} lie in the prediction interval for one new run of ours with the head" in said
    assert f"with the head 800-500-10, {printed} with the printed one" in said
    assert "Over CNN2C's three data sets 1 claim holds with one head only: " in said
    assert 'is more accurate than SML ("notably"): holds with 800-500-10, fails with 800-10' in said
    assert "less accurate than SML: holds with both" in said


def test_cells_show_paper_ours_interval_and_verdict(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    judged = judge.cells()
    frame = table(sections.cells(judged))
    assert len(frame) == 35
    assert [*dict.fromkeys(frame.index.get_level_values(0))] == ["MNIST", "FMNIST", "KMNIST", "CIFAR-10"]
    one = next(one for one in judged if one.key.labels == ("CNN2C", "FMNIST", "SML"))
    line = frame.loc["FMNIST", "CNN2C", "SML"]
    assert dict(line) == {
        "Paper": "91.15",
        "Ours": f"{100 * one.last.mean:.2f}",
        "n": "5",
        "One new run": f"{100 * one.last.low:.2f} to {100 * one.last.high:.2f}",
        "±": f"{100 * one.last.half_width:.2f}",
        "Verdict": "paper lower",
        "Own s": f"{100 * one.last.sd:.2f}",
        "± by own s": f"{100 * one.own.half_width:.2f}",
        "Best epoch": f"{100 * one.best.mean:.2f}",
        "Verdict, best epoch": "paper lower",
    }
    assert list(frame.loc["CIFAR-10", "ResNet-18", "LGL"][["Paper", "Ours", "n", "Verdict"]]) == [
        "91.55",
        "missing",
        "0 of 3",
        "too few",
    ]
    printed = [one for one in judged if one.key.model != LITERAL]
    outcomes = [one.outcome for one in printed]
    sentence = cells_sentence(printed)
    assert sentence.startswith("Of the paper's 26 accuracies 11 can be judged: ")
    assert f"{outcomes.count('consistent')} lie in the 95 % prediction interval" in sentence
    assert f"{outcomes.count('paper higher')} above and {outcomes.count('paper lower')} below" in sentence
    assert "0.6 would lie outside by chance, and up to 2 would be no surprise" in sentence
    apart = {one.cell.loss for one in printed if one.outcome in ("paper higher", "paper lower")}
    assert apart == {"LGL", "SML", "LGL-INR"}
    assert " below (of LGL, SML and LGL-INR). If the cells were independent, " in sentence
    assert cells_sentence([one for one in printed if not one.last.n]).startswith("None of the paper's 15 accuracies")


def test_comparisons_show_every_cell_of_a_family_that_has_runs(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    blocks = sections.comparisons(judge, {})
    frame = table(blocks)
    assert set(frame.index.get_level_values(0)) == {"paper"}
    (one,) = [x for x in judge.family(FAMILY["paper/LGL-INR - SML"]) if x.contrast.first.place == (CNN2C, "kmnist")]
    line = frame.loc["paper", "LGL-INR - SML", "CNN2C KMNIST"]
    assert line["Difference"] == f"{100 * one.difference.mean:+.2f}"
    assert line["95 %"] == f"{100 * one.difference.low:+.2f} to {100 * one.difference.high:+.2f}"
    assert line["90 %"] == f"{100 * one.equivalence.low:+.2f} to {100 * one.equivalence.high:+.2f}"
    assert (line["Verdict"], line["Margin"], line["McNemar"]) == ("higher", "0.25", "–")
    assert frame.loc["paper", "LGL-INR - SML", "CNN5C KMNIST"]["Verdict"] == "missing"
    assert text(blocks).startswith("Without a pair of runs: paper/larger - smaller; literal/LGL-INR - SML; ")
    assert not [block for block in sections.comparisons(Judge(Known()), {}) if isinstance(block, Table)]


def test_the_curves_show_what_is_missing_diverged_and_best() -> None:
    runs = curve(PLACES[0], LOSSES[1], Runtime())
    assert LOSSES[1].name == "sml"
    results = Known(run_id(runs[1.0]))
    for lr, accuracy in {0.003: 0.90, 0.01: 0.91, 0.03: 0.92, 0.1: 0.93}.items():
        results.add(runs[lr], accuracy)
    line = table(learning_rates.confound(Judge(results))).loc["KMNIST", "SML"]
    assert list(line) == ["90.00", "91.00", "92.00", "93.00", "missing", "diverged", "not known yet", "× 4.21"]
    results.add(runs[0.3], 0.94)
    frame = table(learning_rates.confound(Judge(results)))
    assert list(frame.loc["KMNIST", "SML"])[4:7] == ["94.00", "diverged", "0.3"]
    assert set(frame.loc["FMNIST", "SML"][:6]) == {"missing"}
    for lr, accuracy in {0.003: 0.95, 0.001: 0.96, 0.0003: 0.97}.items():
        results.add(runs[lr], accuracy)
    frame = table(learning_rates.confound(Judge(results)))
    assert list(frame.columns)[:3] == ["lr 0.0003", "lr 0.001", "lr 0.003"]
    assert frame.loc["KMNIST", "SML"]["Own lr"] == "0.0003, at the edge"
    assert frame.loc["KMNIST", "LGL"]["lr 0.0003"] == "–"


def test_larger_networks_are_shown_once_they_have_runs() -> None:
    results = Known()
    assert len([block for block in learning_rates.confound(Judge(results)) if isinstance(block, Picture)]) == 1
    cnn5c, resnet18 = LARGE
    results.add(curve(cnn5c, LOSSES[1], Runtime())[0.1], 0.97)
    results.add(curve(resnet18, LOSSES[1], Runtime())[0.03], 0.93)
    for loss, accuracy in (("SML", 0.94), ("LGL-INR", 0.951)):
        cell = cells("scale-up", results.accuracy)[labelled("CNN5C", "KMNIST", loss)]
        results.fill(cell, lambda seed, level=accuracy: level + 0.001 * seed * (level > 0.95))  # type: ignore[misc]
    blocks = learning_rates.confound(Judge(results))
    pictures = [block for block in blocks if isinstance(block, Picture)]
    assert [picture.name for picture in pictures] == ["lr_curves", "lr_curves_cifar10"]
    assert "CIFAR-10, ResNet-18" in pictures[1].alt
    assert "the paper's rate, 0.1" in legend_of(figure_of(pictures[1]))
    data = pictures[1].data
    assert data is not None
    assert data[["loss", "learning_rate", "accuracy_percent"]].to_numpy().tolist() == [["SML", 0.03, 93]]
    assert data["matched_learning_rate"].isna().all()  # with weight decay a factor on the loss is no learning rate
    assert table(blocks).loc["KMNIST, CNN5C", "SML"]["lr 0.1"] == "97.00"
    assert table(blocks).loc["CIFAR-10, ResNet-18", "SML"]["lr 0.03"] == "93.00"
    line = table(blocks, 1).loc["CNN5C KMNIST", CONDITIONS["scale-up"], "LGL-INR - SML"]
    assert (line["n"], line["Difference"], line["Verdict"]) == ("5", "+1.30", "higher")


def test_claims_come_with_their_verdict_and_its_grounds(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    verdicts = judge.verdicts()
    simulations = table1.load(RESULTS, None)
    assert simulations is not None
    paper, further, ours = (table(sections.claims(verdicts, simulations), index) for index in (0, 1, 2))
    tested = [one for one in verdicts if one.outcome]
    assert len(paper) + len(further) + len(ours) == len(tested) + 2
    assert set(paper["Condition"]) == {"paper", "simulation"}
    assert set(further["Condition"]) == {"own-lr", "scale-up", "literal"}
    line = paper.loc['LGL-INR is more accurate than SML ("notably")']
    assert (line["Verdict"], line["Test"], line["Condition"]) == ("not yet tested", "superiority", "paper")
    assert line["Evidence"].startswith("higher after Holm in 3 of 8 cells, 5 without runs; CNN2C ")
    (eq10,) = {text.partition(" (Sim2")[0] for text in paper.index if "(Sim2's network" in text}
    assert paper.loc[f"{eq10} (Sim2's network converged)"]["Verdict"] == equation_10(simulations)["converged"]
    assert set(ours["Evidence"]) == {"no pairs of runs"}
    said = {one.claim.id: evidence(one) for one in verdicts}
    assert said["figure-1-ten-classes"] == "no runs"
    assert said["beta-insensitive"].startswith("within the margin in 3 of 3 cells; beta ")
    assert " on CNN2C KMNIST " in said["beta-insensitive"]
    assert said["inr-competes-sml"].startswith("not worse by more than the margin in 3 of 8 cells, 5 without")
    assert said["figure-2-inr-faster-sml"].startswith("FMNIST: ")
    assert said["lgl-under-sml"].startswith("higher after Holm in 3 of 6 cells, 3 without runs")
    of_paper = [one.outcome for one in tested if one.claim.id in set(known_ids("paper"))]
    counted = claims_sentence(verdicts)
    assert counted.startswith(f"Of the {len(of_paper)} claims of its text")
    num_held, num_failed = of_paper.count("holds"), of_paper.count("fails")
    assert num_held != 1
    assert f"{num_held} hold, {num_failed} fail{'s' if num_failed == 1 else ''}" in counted
    states = [one.state for one in tested if one.claim.id in set(known_ids("paper"))]
    few, many = states.count("inconclusive"), states.count("not yet tested")
    assert few + many == of_paper.count("undecided")
    assert (f"{few} came out inconclusive" in counted) == (few > 0)
    assert f"{many} are not yet tested; of " in counted
    assert f"of {len(further)} that extend them to other learning rates" in counted
    assert counted.endswith(f"0 hold, 0 fail and {len(further)} are not yet tested.")


def known_ids(condition: str) -> list[str]:
    """The paper's claims that are tested in a condition."""
    return [one.id for one in claims() if one.condition == condition and not one.place.startswith("ours")]


def test_cells_of_a_family_are_counted_after_holm() -> None:
    """As before Holm all three would be ahead: p of about 0.04 each, of eight."""
    results, leads = Known(), (0.003, 0.001, 0.005, 0.0005, 0.006)
    for key, cell in cells("paper", unknown).items():
        if key.model == CNN2C and key.labels[2] in ("SML", "LGL-INR"):
            results.fill(cell, lambda seed, inr=key.labels[2] == "LGL-INR": 0.9 + inr * leads[seed])
    one = next(one for one in Judge(results).verdicts() if one.claim.id == "inr-over-sml")
    assert 0.02 < one.comparisons[0].difference.p < 0.05
    assert evidence(one).startswith("higher after Holm in 0 of 8 cells")


def test_what_hangs_on_the_runs_seen_before_the_rules_is_told(cnn2c: Known) -> None:
    told = text(seen_blocks(Judge(cnn2c), Judge(cnn2c).verdicts()))
    assert told.startswith(
        "The 9 runs of CNN2C with seed 0 at the paper's learning rate had been seen before the rules"
    )
    assert told.endswith("Verdicts that change without them, with one pair of runs fewer: none.")
    for key, cell in cells("paper", unknown).items():
        if key.labels[:2] in (("CNN2C", "KMNIST"), ("CNN2C", "FMNIST")) and key.labels[2] == "LGL-INR":
            for config in cell.configs[1:]:
                cnn2c.add(config, 0.93 + 0.005 * config.seed + (0.0002, -0.0001, 0.0003, -0.0004)[config.seed - 1])
            cnn2c.add(cell.configs[0], 0.99)
    told = text(seen_blocks(Judge(cnn2c), Judge(cnn2c).verdicts()))
    assert "LGL-INR's lead over SML on KMNIST: undecided becomes not found " in told
    assert "LGL-INR - SML on CNN2C KMNIST, the paper's learning rate: undecided becomes " in told
    for key, cell in cells("literal", unknown).items():  # no run of these had been seen
        cnn2c.fill(cell, level(key), range(3))
    assert "printed" not in text(seen_blocks(Judge(cnn2c), Judge(cnn2c).verdicts()))


def test_verdicts_by_a_cells_own_spread_are_compared(cnn2c: Known) -> None:
    def caption(results: Known) -> str:
        return next(block.caption for block in sections.cells(Judge(results).cells()) if isinstance(block, Table))

    assert "With each cell's own s instead of the pooled one" in caption(cnn2c)
    cell = cells("paper", unknown)[labelled("CNN2C", "MNIST", "LGL-INR")]
    for config in cell.configs:
        cnn2c.add(config, 0.9940 + 0.0001 * config.seed)  # the paper has 99.29
    assert "CNN2C, LGL-INR on MNIST: paper lower" in caption(cnn2c)


def test_figure_1s_counts_stand_beside_ours() -> None:
    results = Known()
    matrices = iter(range(20))
    for key, cell in cells("paper", unknown).items():
        if key.labels[:2] == ("CNN2C", "KMNIST") and key.labels[2] in ("SML", "LGL-INR"):
            results.fill(cell, lambda seed: 0.9)
            for config in cell.configs[:3]:
                counts = np.eye(10, dtype=int) * 940
                counts[0, 4] = next(matrices)
                results.given[run_id(config)] = {"confusion_matrix": counts}
    frame = table(sections.figure1_text(Judge(results)))
    line = frame.loc["SML: class 0 (o) as 4 (na)"]
    assert (line["Paper"], line["Ours"], line["n"]) == ("18", "1.0", "3")
    assert line["Verdict"] == "paper higher"
    assert frame.loc["LGL-INR: class 1 (ki) as 1 (ki)"]["Verdict"] == "too few"  # three equal counts have no spread


def test_numbers_are_written_in_percent_and_points() -> None:
    assert (percent(0.96434), points(-0.00125), points(math.nan)) == ("96.43", "-0.12", "–")
    one = inference.prediction_interval([0.9, 0.91, 0.92])
    assert predicted(one) == f"{100 * one.low:.2f} to {100 * one.high:.2f}"
    assert predicted(inference.prediction_interval([0.9])) == "–"


FAULTS: list[tuple[str, Callable[..., Any]]] = [
    ("lossbench.studies.aaai20.sections.judged.percent", lambda fraction, digits=2: f"{fraction:.2f}"),
    ("lossbench.studies.aaai20.sections.judged.points", lambda fraction, digits=2: f"{fraction:+.2f}"),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_faulty_cell_is_noticed(
    name: str, fault: Callable[..., Any], cnn2c: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name, fault)
    with pytest.raises(AssertionError):
        test_cells_show_paper_ours_interval_and_verdict(cnn2c)
