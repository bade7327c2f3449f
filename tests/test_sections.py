"""What the report says, part by part, of invented and of committed runs: every number against one worked out here."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_verdicts import LEVEL, Known, give_own_lr, level, unknown

from lossbench import diagnostics, inference, labels, mechanism, noise, simulation, studies
from lossbench.arms import LOSSES, cells, curve, reference_blocks
from lossbench.calibration import calibration
from lossbench.config import Runtime, run_id
from lossbench.report import beyond, context, sections
from lossbench.report.findings import (
    cells_sentence,
    claims_sentence,
    evidence,
    headline_sentences,
    percent,
    points,
    predicted,
    progress,
)
from lossbench.report.page import Paragraph, Picture, Table
from lossbench.results import results_at_hand
from lossbench.verdicts import Judge, equation_10

RESULTS = Path(__file__).parents[1] / "results"


def table(blocks: Any, index: int = 0) -> pd.DataFrame:
    return [block for block in blocks if isinstance(block, Table)][index].frame


def text(blocks: Any) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))


@pytest.fixture
def cnn2c() -> Known:
    """All CNN2C cells of the paper's arm with five seeds; LGL-INR a point above SML everywhere."""
    results = Known()
    for key, cell in cells("paper", unknown).items():
        if key[0] == "CNN2C" and key[2] != "beta 1":
            results.fill(cell, level(key))
    return results


def scale_up(results: Known, sml: float) -> None:
    for key, cell in cells("scale-up", unknown).items():
        if key[2] == "SML":
            results.fill(cell, level(key, SML=sml))


def test_the_headline_of_no_runs_says_so() -> None:
    sentences = headline_sentences(Judge(Known()))
    assert sentences == [
        f"On KMNIST and Fashion-MNIST, whether LGL-INR leads {other} at the paper's learning rate already is undecided "
        "(KMNIST: no pair of runs; FMNIST: no pair of runs)."
        for other in ("SML", "LGL")
    ]


def test_the_headline_is_open_until_the_own_learning_rates_are_run(cnn2c: Known) -> None:
    first, second = headline_sentences(Judge(cnn2c))
    assert "LGL-INR leads SML at the paper's learning rate; whether by its loss or by its step size is open" in first
    assert "as each loss's own learning rate has too few runs" in first
    assert first.count("+1.0") >= 2
    assert "n=5" in first
    assert second.startswith("On KMNIST and Fashion-MNIST, LGL-INR leads LGL")


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (-0.01, "LGL-INR's lead over SML remains at each loss's own learning rate"),
        (0.0, "LGL-INR's lead over SML is one of step size: at each loss's own learning rate it is gone"),
        (0.01, "LGL-INR's lead over SML turns round: at each loss's own learning rate SML is better"),
    ],
)
def test_the_headline_says_what_becomes_of_the_lead(cnn2c: Known, gain: float, said: str) -> None:
    give_own_lr(cnn2c, gain)
    sentences = headline_sentences(Judge(cnn2c))
    assert said in sentences[0]
    assert "scaling" not in sentences[0]
    scale_up(cnn2c, LEVEL["LGL-INR"])
    assert "and scaling SML's loss is enough for that" in headline_sentences(Judge(cnn2c))[0]
    scale_up(cnn2c, LEVEL["SML"])
    assert "yet scaling SML's loss is not enough to make up for it" in headline_sentences(Judge(cnn2c))[0]


def test_data_sets_that_differ_get_a_sentence_each(cnn2c: Known) -> None:
    give_own_lr(cnn2c, 0.0)
    for key, cell in cells("own-lr", cnn2c.accuracy).items():
        if key == ("CNN2C", "FMNIST", "SML"):
            cnn2c.fill(cell, level(key, SML=0.93))
    sentences = headline_sentences(Judge(cnn2c))
    assert [sentence.partition(",")[0] for sentence in sentences] == [
        "On KMNIST",
        "On Fashion-MNIST",
        "On KMNIST and Fashion-MNIST",
    ]
    assert "it is gone" in sentences[0]
    assert "remains" in sentences[1]
    frame = sections.headlines(Judge(cnn2c)).frame
    assert list(frame["Lead"]) == ["gone", "remains", "remains", "remains"]
    assert frame["Own lr"].iloc[0].endswith(", equivalent (n=5)")
    assert set(frame["Scales matched"]) == {"missing"}


def test_cells_show_paper_ours_interval_and_verdict(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    judged = judge.cells()
    frame = table(sections.cells(judged))
    assert len(frame) == 35
    assert [*dict.fromkeys(frame.index.get_level_values(0))] == ["MNIST", "FMNIST", "KMNIST", "CIFAR-10"]
    one = next(one for one in judged if one.key == ("CNN2C", "FMNIST", "SML"))
    line = frame.loc["FMNIST", "CNN2C", "SML"]
    assert dict(line) == {
        "Paper": "91.15",
        "Ours": f"{100 * one.last.mean:.2f}",
        "n": "5",
        "One new run": f"{100 * one.last.low:.2f} to {100 * one.last.high:.2f}",
        "±": f"{100 * one.last.half_width:.2f}",
        "Own s": f"{100 * one.last.sd:.2f}",
        "Verdict": "paper lower",
        "Best": f"{100 * one.best.mean:.2f}",
        "By the best": "paper lower",
    }
    assert list(frame.loc["CIFAR-10", "ResNet-18", "LGL"][["Paper", "Ours", "n", "Verdict"]]) == [
        "91.55",
        "missing",
        "0 of 3",
        "too few",
    ]
    printed = [one for one in judged if one.key[0] != "CNN2C (800-10)"]
    outcomes = [one.outcome for one in printed]
    sentence = cells_sentence(printed)
    assert sentence.startswith("Of the paper's 26 accuracies 11 can be judged: ")
    assert f"{outcomes.count('consistent')} lie where one new run" in sentence
    assert f"{outcomes.count('paper higher')} above and {outcomes.count('paper lower')} below" in sentence
    assert "by chance 0.6 would lie outside, and up to 2 are no surprise" in sentence
    assert cells_sentence([one for one in printed if not one.last.n]).startswith("None of the paper's 15 accuracies")


def test_comparisons_show_every_cell_of_a_family_that_has_runs(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    blocks = sections.comparisons(judge)
    frame = table(blocks)
    assert set(frame.index.get_level_values(0)) == {"paper"}
    (one,) = [x for x in judge.family("paper/LGL-INR - SML") if x.contrast.keys[0] == ("CNN2C", "KMNIST", "LGL-INR")]
    line = frame.loc["paper", "LGL-INR - SML", "CNN2C KMNIST"]
    assert line["Difference"] == f"{100 * one.difference.mean:+.2f}"
    assert line["95 %"] == f"{100 * one.difference.low:+.2f} to {100 * one.difference.high:+.2f}"
    assert line["90 %"] == f"{100 * one.equivalence.low:+.2f} to {100 * one.equivalence.high:+.2f}"
    assert (line["Word"], line["Margin"], line["McNemar"]) == ("higher", "0.25", "–")
    assert frame.loc["paper", "LGL-INR - SML", "CNN5C KMNIST"]["Word"] == "missing"
    assert text(blocks).startswith("Without a pair of runs: paper/larger - smaller; literal/LGL-INR - SML; ")
    assert not [block for block in sections.comparisons(Judge(Known())) if isinstance(block, Table)]


def test_the_curves_show_what_is_missing_diverged_and_best() -> None:
    runs = curve("kmnist", LOSSES[1], Runtime())
    assert LOSSES[1].name == "sml"
    results = Known(run_id(runs[1.0]))
    for lr, accuracy in {0.003: 0.90, 0.01: 0.91, 0.03: 0.92, 0.1: 0.93}.items():
        results.add(runs[lr], accuracy)
    line = table(sections.confound(Judge(results))).loc["KMNIST", "SML"]
    assert list(line) == ["90.00", "91.00", "92.00", "93.00", "missing", "diverged", "not known yet", "× 4.21"]
    results.add(runs[0.3], 0.94)
    frame = table(sections.confound(Judge(results)))
    assert list(frame.loc["KMNIST", "SML"])[4:7] == ["94.00", "diverged", "0.3"]
    assert set(frame.loc["FMNIST", "SML"][:6]) == {"missing"}
    for lr, accuracy in {0.003: 0.95, 0.001: 0.96, 0.0003: 0.97}.items():
        results.add(runs[lr], accuracy)
    frame = table(sections.confound(Judge(results)))
    assert list(frame.columns)[:3] == ["lr 0.0003", "lr 0.001", "lr 0.003"]
    assert frame.loc["KMNIST", "SML"]["Own lr"] == "0.0003, at the edge"
    assert frame.loc["KMNIST", "LGL"]["lr 0.0003"] == "–"


def test_claims_come_with_their_verdict_and_its_grounds(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    verdicts = judge.verdicts()
    simulations = simulation.load(RESULTS, None)
    assert simulations is not None
    paper, ours = (table(sections.claims(verdicts, simulations), index) for index in (0, 1))
    tested = [one for one in verdicts if one.outcome]
    assert len(paper) + len(ours) == len(tested) + 2
    line = paper.loc["LGL-INR is notably more accurate than SML"]
    assert (line["Verdict"], line["Test"], line["Arm"]) == ("undecided", "superiority", "paper")
    assert line["Evidence"].startswith("ahead at 5 % in 3 of 8 cells, 5 without runs; CNN2C ")
    (eq10,) = {text.partition(" (Sim2")[0] for text in paper.index if "(Sim2's network" in text}
    assert paper.loc[f"{eq10} (Sim2's network converged)"]["Verdict"] == equation_10(simulations)["converged"]
    assert set(ours["Evidence"]) == {"no pairs of runs"}
    said = {one.claim.id: evidence(one) for one in verdicts}
    assert said["figure-1-ten-classes"] == "no runs"
    assert said["beta-insensitive"].startswith("within the margin in 3 of 3 cells; beta ")
    assert " on CNN2C KMNIST " in said["beta-insensitive"]
    assert said["inr-competes-sml"].startswith("worse by less than the margin in 3 of 8 cells, 5 without runs")
    assert said["figure-2-inr-faster-sml"].startswith("FMNIST: ")
    assert said["lgl-under-sml"].startswith("ahead at 5 % in 3 of 6 cells, 3 without runs")
    of_paper = [one.outcome for one in tested if not one.claim.place.startswith("ours")]
    counted = claims_sentence(verdicts)
    assert counted.startswith(f"Of {len(of_paper)} claims")
    assert f"{of_paper.count('holds')} hold and {of_paper.count('fails')} fail" in counted


def test_figure_1s_counts_stand_beside_ours() -> None:
    results = Known()
    matrices = iter(range(20))
    for key, cell in cells("paper", unknown).items():
        if key[:2] == ("CNN2C", "KMNIST") and key[2] in ("SML", "LGL-INR"):
            results.fill(cell, lambda seed: 0.9)
            for config in cell.configs[:3]:
                counts = np.eye(10, dtype=int) * 940
                counts[0, 4] = next(matrices)
                results.given[run_id(config)] = {"confusion_matrix": counts}
    frame = table(sections.figure1_text(Judge(results)))
    line = frame.loc["SML: class 0 as 4"]
    assert (line["Paper"], line["Ours"], line["n"]) == ("18", "1.0", "3")
    assert line["Verdict"] == "paper higher"
    assert frame.loc["LGL-INR: class 1 as 1"]["Verdict"] == "too few"  # three equal counts have no spread


def test_table_1_has_both_readings_and_both_ends_of_training() -> None:
    simulations = simulation.load(RESULTS, None)
    assert simulations is not None
    blocks = context.table1(simulations)
    frame = table(blocks)
    assert len(frame) == 13
    (cell,) = [c for c in simulations.cells if (c.simulation, c.reading, c.rhs) == ("Sim1", "corrected", 0.5)]
    line = frame.loc["Sim1", "converged", "corrected", "2N1/(2N1+N0)"]
    half = inference.paired_t(inference.Pairs(cell.lhs, 0, 0))
    reach = (half.high - half.mean) * math.sqrt(2)
    assert line["Ours"] == f"{cell.mean:.2f} ({cell.sd:.2f})"
    assert line["Another mean"] == f"{cell.mean - reach:.2f} to {cell.mean + reach:.2f}"
    assert line["Verdict"] == "consistent"
    printed = frame.loc["Sim1", "converged", "printed", "N0/(N0+N1)"]
    assert (printed["Right side"], printed["Verdict"]) == ("100", "paper lower")
    assert "holds with Sim2's network stopped and fails with Sim2's network converged" in text(blocks)
    assert "missing" in text(context.table1(None))


def test_table_2_adds_up() -> None:
    frame = table(context.table2())
    totals = {name: frame.loc[name, "all"]["Parameters"] for name in dict.fromkeys(frame.index.get_level_values(0))}
    assert totals["CNN2C"] == "431,080"
    assert totals["CNN2C (800-10)"] == "33,580"
    assert totals["CNN5C"] == "1,573,834"
    for name, total in totals.items():
        counts = [int(count.replace(",", "")) for count in frame.loc[name]["Parameters"]]
        assert sum(counts[:-1]) == counts[-1] == int(total.replace(",", ""))
    assert "ReLU" not in set(frame["Layer"])


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    return Judge(results_at_hand(tmp_path_factory.mktemp("none"), RESULTS))


def test_the_learning_property_is_that_of_the_committed_runs(committed: Judge) -> None:
    frame = table(context.learning_property(committed))
    cell = committed.arms["paper"]["CNN2C", "KMNIST", "SML"]
    balances = []
    for config in cell.configs:
        record, arrays = committed.results.record(config), committed.results.arrays(config)
        if record is not None and arrays is not None:
            dataset = record.fields["config"]["dataset"]
            counts = labels.train_counts(dataset)
            assert counts is not None
            balances.append(diagnostics.balances(record.fields["config"], arrays, counts)["train"])
    ratios = np.concatenate([one.ratio for one in balances])
    line = frame.loc["SML", "KMNIST", "CNN2C", "train"]
    assert line["n"] == str(len(balances))
    assert line["Left / right"] == f"{np.median(ratios):.2f}"
    assert line["Range"] == f"{ratios.min():.2f} to {ratios.max():.2f}"
    assert "No runs" in text(context.learning_property(Judge(Known())))


def test_calibration_is_that_of_the_committed_logits(committed: Judge) -> None:
    blocks = beyond.calibrated(committed)
    frame = table(blocks)
    cell = committed.arms["paper"]["CNN2C", "FMNIST", "SML"]
    found = []
    for config in cell.configs:
        arrays = committed.results.arrays(config)
        true = labels.test_labels({"name": "fmnist"})
        if arrays is not None and true is not None:
            found.append(calibration(arrays["test_logits"], true, "softmax"))
    line = frame.loc["FMNIST", "CNN2C", "SML", "softmax"]
    assert line["n"] == str(len(found))
    assert line["NLL"].startswith(f"{np.mean([one.nll for one in found]):.4f}")
    assert line["ECE (%)"].startswith(f"{100 * np.mean([one.ece for one in found]):.2f}")
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    panel = next(axes for axes in picture.figure.axes if axes.get_title() == "FMNIST")
    (drawn,) = [line for line in panel.lines if line.get_label() == "SML (softmax)"]
    counts = np.sum([one.counts for one in found], axis=0)
    there = counts >= beyond.SHOWN_FROM
    sums = np.nansum([one.counts * one.accuracy for one in found], axis=0)
    assert drawn.get_ydata() == pytest.approx(sums[there] / counts[there])
    gap = 100 * np.mean([one.overconfidence for one in found])
    assert f"FMNIST, SML: confidence less accuracy {gap:+.2f} points, n={len(found)}." in picture.alt
    assert "No runs" in text(beyond.calibrated(Judge(Known())))


def test_the_papers_errors_come_with_numbers_or_say_that_they_are_missing(committed: Judge) -> None:
    simulations = simulation.load(RESULTS, None)
    frame = table(context.audit(committed, simulations))
    said = " ".join(frame["Evidence"])
    assert len(frame) == 15
    assert "missing" not in said
    assert "{" not in said
    assert "printed: LGL 99.15, SML 99.09" in said
    assert "512 features before the last layer, 1,573,834 parameters" in said
    without = " ".join(table(context.audit(Judge(Known()), None))["Evidence"])
    assert "missing and missing" in without
    assert "printed: MobileNetV2 92.40, ResNet-18 91.55" in without


def test_what_it_ran_on_and_what_is_missing_are_counted(cnn2c: Known) -> None:
    def record(hours: float, **changes: Any) -> Any:
        fields = {
            "device_name": "Some GPU",
            "precision": "fp32",
            "versions": {"torch": "9.8.7"},
            "commit": "0123456789abcdef-dirty",
            "wall_s": 3600 * hours,
        }
        return SimpleNamespace(fields=fields | changes)

    records = {"a": record(1), "b": record(0.5), "c": record(2, precision="bf16"), "d": record(9)}
    held: Any = SimpleNamespace(records=records)
    frame = table(context.provenance(held, ["a", "b", "c"]))
    assert [tuple(line) for line in frame.itertuples()] == [
        (("Some GPU", "fp32", "9.8.7", "0123456789-dirty"), "2", "1.5"),
        (("Some GPU", "bf16", "9.8.7", "0123456789-dirty"), "1", "2.0"),
    ]
    assert "No runs" in text(context.provenance(held, []))
    done = progress(cnn2c, reference_blocks(False, Runtime(), cnn2c.accuracy))
    assert done[:2] == [("CNN2C at the paper's learning rate", 45, 0, 45), ("Table 5, beta 2 and 4", 10, 0, 10)]
    assert done[-1] == ("CNN2C with the head as printed", 0, 0, 27)
    blocks = context.missing(done, ["something lies there"])
    frame = table(blocks)
    assert list(frame.loc["CNN2C, each loss at its own learning rate"]) == ["0", "0", "follows from the curves"]
    assert len(context.missing(done, [])) == len(blocks) - 1


def test_numbers_are_written_in_percent_and_points() -> None:
    assert (percent(0.96434), points(-0.00125), points(math.nan)) == ("96.43", "-0.12", "–")
    one = inference.prediction_interval([0.9, 0.91, 0.92])
    assert predicted(one) == f"{100 * one.low:.2f} to {100 * one.high:.2f}"
    assert predicted(inference.prediction_interval([0.9])) == "–"


def test_readings_show_how_far_they_move_and_what_depends_on_them(cnn2c: Known) -> None:
    assert "No runs" in text(beyond.sensitivity(Known()))
    assert "No runs" in text(beyond.beta(Known()))
    variants = {(variant.option, variant.choice): variant for variant in studies.readings()}
    summed = variants["LGL: mean or sum", "sum over classes"]
    cnn2c.fill(summed.cells["LGL"], level(("CNN2C", "KMNIST", "LGL"), LGL=0.95))
    moved, conclusions, nearest = (table(beyond.sensitivity(cnn2c), index) for index in range(3))
    assert len(moved) == len(conclusions) == 1 + len(variants)
    assert moved.loc["LGL: mean or sum", "sum over classes"]["LGL"].startswith("+5.00: 95.5")
    assert list(moved.loc["LGL: mean or sum", "sum over classes"])[1:] == ["–", "–"]
    assert moved.loc["normalisation", "none"]["SML"] == "missing"
    assert moved.loc["as read here", ""]["SML"] == "93.49 (n=3)"
    assert conclusions.loc["as read here", ""]["LGL - SML"].endswith("lower")
    assert conclusions.loc["LGL: mean or sum", "sum over classes"]["LGL - SML"].endswith("higher")
    assert list(nearest.loc["LGL"]) == [
        "94.37",
        "LGL: mean or sum, sum over classes",
        moved.loc["LGL: mean or sum", "sum over classes"]["LGL"].partition(": ")[2],
        "consistent",
    ]
    assert nearest.loc["SML"]["Nearest"] == "as read here"
    row = table(beyond.lgl_row(cnn2c)).loc["FMNIST"]
    assert (row["Paper"], row["x 2"]) == ("89.44", "missing")
    assert row["x 1"].endswith(" (n=3)")
    assert float(row["x 1"].partition(" ")[0]) == pytest.approx(90.5, abs=0.1)


def test_the_mechanism_is_that_of_the_committed_runs(committed: Judge) -> None:
    frame, named = (table(beyond.mechanism_blocks(committed), index) for index in (0, 1))
    cells_of = {loss: committed.arms["paper"]["CNN2C", "KMNIST", loss] for loss in ("LGL", "LGL-INR", "SML")}
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
    assert named.loc["KMNIST", f"{j} for {k}"]["LGL"] == f"{np.mean([lgl[j, k] for lgl, _ in shown]):.1f}"
    assert "No runs" in text(beyond.mechanism_blocks(Judge(Known())))


def test_noise_is_told_with_the_seeds_to_ask_for(cnn2c: Known) -> None:
    judge = Judge(cnn2c)
    (one,) = [x for x in judge.family("paper/LGL-INR - SML") if x.contrast.keys[0] == ("CNN2C", "KMNIST", "LGL-INR")]
    line = table(beyond.noise_blocks(judge)).loc["KMNIST", "CNN2C"]
    mean = np.mean([level(("CNN2C", "KMNIST", "SML"))(seed) for seed in range(5)])
    assert line["Test set"] == f"{100 * math.sqrt(mean * (1 - mean) / 10_000):.2f}"
    assert line["Difference"] == f"{100 * one.difference.sd:.2f}"
    assert line["Seeds to ask for"] == str(noise.seeds_needed(0.0025, one.difference.sd))
    assert "No two pairs" in text(beyond.noise_blocks(Judge(Known())))


def test_beta_is_shown_with_its_weights(committed: Judge) -> None:
    blocks = beyond.beta(committed.results)
    frame = table(blocks)
    line = frame.loc["attached", "1"]
    cell = committed.arms["paper"]["CNN2C", "KMNIST", "LGL-INR"]
    arrays = [found for config in cell.configs[:3] if (found := committed.results.arrays(config)) is not None]
    last = [diagnostics.unevenness(found["class_weights"][-1].astype(float)) for found in arrays]
    assert line["n"] == str(len(arrays))
    assert line["last"] == f"{np.mean(last):.3f}"
    true = labels.test_labels({"name": "kmnist"})
    assert true is not None
    turned = [100 * diagnostics.reversed_share(found["test_logits"], true, 1.0) for found in arrays]
    assert line["Turned (%)"] == f"{np.mean(turned):.2f}"
    assert frame.loc["detached", "4"]["Accuracy"] == "missing"
    assert len(frame) == 9


FAULTS: list[tuple[str, Callable[..., Any]]] = [
    ("lossbench.report.sections.percent", lambda fraction, digits=2: f"{fraction:.2f}"),
    ("lossbench.report.sections.points", lambda fraction, digits=2: f"{fraction:+.2f}"),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_faulty_cell_is_noticed(
    name: str, fault: Callable[..., Any], cnn2c: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name, fault)
    with pytest.raises(AssertionError):
        test_cells_show_paper_ours_interval_and_verdict(cnn2c)
