"""What the page says of many classes: three sentences, the picture, verdicts, tables; and every state of the runs."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from invented_many_classes import Measured, Study, give_posterior, own

from lossbench.data.gaussian_classes import Frequencies
from lossbench.report.blocks import Block, Items, Page, Paragraph, Part, Picture, Section, Table
from lossbench.report.html import to_html
from lossbench.report.markdown import to_markdown
from lossbench.studies.many_classes import known_posterior, plan, sections, summary, verdicts
from lossbench.studies.many_classes.evidence import Evidence, InBand, Metric, macro_recall
from lossbench.studies.results import Results
from lossbench.studies.sentences import plan_state
from lossbench.studies.study import STUDIES

T95 = 2.7764451051977987

NLLS = {
    "Sampled softmax, m=20": {"nll": 0.15, "gain": -0.004},
    "Sampled softmax, m=500": {"nll": -0.02, "gain": 0.001},
    "Sampled softmax, uncorrected": {"nll": 2.5, "gain": -0.08, "ndcg": -0.1},
    "NCE, m=100, no prior biases": {"nll": 8.0, "gain": -0.17},
    "Sampled softmax, m=100, 12 epochs": {"nll": -0.2, "gain": 0.02},
    "RG2": {"nll": 300.0},
}
"""What differs from the others, which are 0.03 nats above SML and as accurate."""


@pytest.fixture(scope="module")
def study() -> Study:
    """All runs and measurements; Sparsemax diverged once, LGL-INR always."""
    found = Study().time().cost(0.95, 0.05).give_all(NLLS, nll=0.03)
    found.noise({"Sampled softmax, m=100": (0.41, 0.9)}, ("start", "trained"))
    found.diverge("Sparsemax", [1])
    found.diverge("LGL-INR")
    for frequencies in Frequencies:
        values = {"SML": (0.1, 0.2, 0.3)}
        give_posterior(found.results, frequencies, 10_000, values)
    return found


def told(nll: float) -> str:
    half = T95 * 0.002 / math.sqrt(5)
    return f"{nll:+.3f} nats ({nll - half:+.3f} to {nll + half:+.3f}), n=5"


def blocks(results: Results) -> list[Block]:
    found = STUDIES["many_classes"].summary(results)
    assert isinstance(found, Section)
    return list(found.blocks)


def test_three_sentences(study: Study) -> None:
    (items,) = [one for one in blocks(study.results) if isinstance(one, Items)]
    first, second, third = items.texts
    assert first == (
        "Quality at equal steps (3 epochs): SML ends at NLL 4.900 nats and 18.00 % accuracy (n=5). In NLL, of 16 "
        f"approximations 1 is lower and 15 are higher (Holm, n=5). Lowest: Sampled softmax, m=500, {told(-0.02)}, a "
        f"step in 5 % of SML's time. Highest: NCE, m=100, no prior biases, {told(8)}, a step in 5 % of SML's time."
    )
    assert second == (
        "Quality at equal cost: NLL of sampled softmax (m=100) after 12 epochs less that of SML after 0.6 epochs: "
        f"{told(-1.4)}."
    )
    assert third.startswith(
        "Gradients of sampled softmax (m=100) in the output layer after one epoch of SML, relative to the exact "
        "gradient: all logits corrected, bias 0.41 and standard deviation 0.9; target uncorrected, bias 0.5 and "
        "standard deviation 1. Rank correlation with the final NLL over 15 methods: bias "
    )


def test_diverged_runs_and_one_approximation_alone() -> None:
    study = Study()
    study.give("SML")
    study.give("NCE, m=20", nll=0.5, seeds=[0])
    study.diverge("NCE, m=20", [1])
    study.diverge("Adaptive softmax")
    assert summary.quality(study.known) == (
        "Quality at equal steps (3 epochs): SML ends at NLL 4.900 nats and 18.00 % accuracy (n=5). In NLL, of 1 "
        "approximation 1 is not shown to differ (Holm, n=1); diverged runs: NCE, m=20 1 of 5; Adaptive softmax 5 of 5. "
        f"Lowest: NCE, m=20, {0.5 + own('NCE, m=20', 0):+.3f} nats, n=1."
    )
    study.diverge("SML")
    assert summary.quality(study.known) == (
        "Quality at equal steps (3 epochs): no pair of runs with SML yet; diverged runs: SML 5 of 5; NCE, m=20 1 of 5; "
        "Adaptive softmax 5 of 5."
    )


def test_many_diverged_methods_are_counted(study: Study) -> None:
    again = study.copy()
    for label in ("NCE, m=20", "NCE, m=100", "Adaptive softmax"):
        again.diverge(label, [0])
    assert "; diverged runs: in 3 approximations. Lowest: " in summary.quality(again.known)


def test_sentences_of_equal_cost_while_something_is_missing(study: Study) -> None:
    again = study.copy().time(**{plan.LONG_LABEL: 0.01})
    assert summary.at_equal_cost(again.known).endswith(
        "equal cost: SML has no test at the cost of 12 epochs of sampled softmax (m=100)."
    )
    again = study.copy()
    again.drop(plan.LONG_LABEL)
    assert summary.at_equal_cost(again.known).endswith(
        ": no pair of runs of sampled softmax (m=100) with 12 epochs and SML yet."
    )
    again.results.measurements = {}
    assert summary.at_equal_cost(again.known).endswith(": the time of a step is not yet measured.")
    assert summary.gradients(again.known) == "Gradients: bias and variance not yet measured."


def test_what_would_change_our_mind(study: Study) -> None:
    text = next(one.text for one in blocks(study.results) if isinstance(one, Paragraph))
    assert text.endswith(
        "Seen so far: an approximation keeps SML's quality at a fifth of its cost; sampled softmax wins at equal cost."
    )
    assert summary.mind(Study().known).endswith("Seen so far: none of this.")
    every = study.copy()
    estimates = [one.label for one in plan.METHODS if plan.is_estimate(one)]
    for place, label in enumerate(estimates):
        every.give(label, nll=0.1 * place)
    every.noise({label: (0.1, 0.1 + place) for place, label in enumerate(estimates)})
    assert summary.mind(every.known).endswith("; bias and variance order the methods.")


def frame_of(section: Section, place: int = 0) -> pd.DataFrame:
    return [one for one in section.blocks if isinstance(one, Table)][place].frame


def test_differences(study: Study) -> None:
    quality = sections.sections(study.known)[0]
    frame = frame_of(quality)
    assert list(frame.index) == [one.label for one in plan.METHODS]
    assert frame.loc["SML"].tolist() == ["–", "baseline", "–", "baseline", "1", "0.1", "5"]
    half, points = T95 * 0.002 / math.sqrt(5), 100 * T95 * 0.0002 / math.sqrt(5)
    assert frame.loc["Sampled softmax, m=20"].tolist() == [
        f"+0.150 ({0.15 - half:+.3f} to {0.15 + half:+.3f})",
        "higher",
        f"-0.40 ({-0.4 - points:+.2f} to {-0.4 + points:+.2f})",
        "lower",
        "0.05",
        "0.1",
        "5",
    ]
    assert frame.loc["Sampled softmax, m=500", ["In NLL", "In accuracy"]].tolist() == [
        "lower, within the margin", "higher, within the margin"
    ]  # fmt: skip
    assert frame.loc["NCE, m=20", ["In NLL", "In accuracy"]].tolist() == ["higher, within the margin", "equivalent"]
    assert frame.loc[plan.LONG_LABEL, "Cost"] == "0.2", "12 epochs at a twentieth over 3 epochs"
    assert frame.loc["Sparsemax", "n"] == "4, 1 diverged"
    row = frame.loc["LGL-INR"]
    assert row[["NLL (nats)", "In NLL", "In accuracy", "n"]].tolist() == ["failed: diverged", "–", "–", "0, 5 diverged"]
    caption = quality.blocks[0].caption  # type: ignore[union-attr]
    assert "0.25 points of accuracy, 0.05 nats of NLL" in caption


def test_a_diverged_method_is_not_called_better() -> None:
    study = Study().give_all({"RG2": {"nll": -1.0}, "LGL": {"nll": 1.0}})
    for label in ("RG2", "LGL"):
        study.diverge(label, [0])
    frame = frame_of(sections.sections(study.known)[0])
    assert frame.loc["RG2", "In NLL"] == "undecided"
    assert frame.loc["LGL", "In NLL"] == "higher"
    study.choose("LGL", 3)
    study.give("LGL")
    frame = frame_of(sections.sections(study.known)[0])
    assert frame.loc["LGL", "Own rate"] == "3 (edge)"
    assert frame.loc["LGL", "Cost"] == "–"


def test_scores(study: Study) -> None:
    again = study.copy()
    again.give("LGL", nll=0.1, macro_recall=0.05, by_frequency={"head": {"accuracy": 0.45}})
    again.results.records[again.results.name(again.configs("LGL")[0])].fields.pop("macro_recall")
    frame = frame_of(sections.sections(again.known)[0], 1)
    assert frame.loc["SML"].to_dict() == {
        "n": "5", "NLL": "4.900", "Accuracy": "18.00", "Top 5": "38.00", "MRR": "28.00", "NDCG at 10": "30.00",
        "Macro recall": "3.00", "Head": "40.00", "Middle": "10.00", "Tail": "1.00",
    }  # fmt: skip
    assert frame.loc["LGL", ["NLL", "Macro recall", "Head", "Middle"]].tolist() == ["5.000", "5.00", "45.00", "–"]
    assert frame.loc["Sampled softmax, uncorrected", "NDCG at 10"] == "20.00"
    assert "LGL-INR" not in frame.index
    again.give("RG2", metrics={"test/perplexity": math.inf} | dict.fromkeys(
        ("test/top5_accuracy", "test/mrr", "test/ndcg10"), 0.1
    ), by_frequency={})  # fmt: skip
    frame = frame_of(sections.sections(again.known)[0], 1)
    assert frame.loc["RG2", ["n", "NLL", "MRR"]].tolist() == ["5", "–", "10.00"]


def test_numbers_of_a_run(study: Study) -> None:
    config = study.configs("SML")[1]
    found = [read(study.results, config) for read in (Metric("accuracy"), Metric("mrr"), macro_recall, InBand("tail"))]
    assert found == pytest.approx([0.179, 0.279, 0.03, 0.01])
    lost = study.configs("LGL-INR")[0]
    assert macro_recall(study.results, lost) is None
    assert InBand("tail")(study.results, lost) is None
    assert math.isnan(Metric("mrr")(study.results, lost) or 0.0)


def test_sections_are_there_while_they_have_something(study: Study) -> None:
    titles = [one.title.removeprefix("Many classes: ") for one in sections.sections(study.known)]
    both = ["bias and variance of the gradients", "cost by the number of classes"]
    assert titles == ["quality of each method", *both, "a known posterior"]
    assert [one.title.removeprefix("Many classes: ") for one in sections.sections(Study().known)] == both


def states(study: Study) -> dict[str, Results]:
    """The study with nothing, with parts of it, and with runs that diverged or lack what is read."""
    found: dict[str, Study] = {"rates": Study(), "all": study.copy()}
    found["sml"] = Study()
    found["sml"].give("SML", seeds=[0])
    found["without sml"] = Study().time().give_all()
    found["without sml"].drop("SML")
    for num in (1, 2, 3):
        found[f"{num} seeds"] = Study().time().noise({}).give_all(nll=0.1, seeds=range(num))
    found["fast"] = Study().give_all()
    for one in plan.METHODS:
        if one.is_slow:
            found["fast"].drop(one.label)
    found["diverged"] = study.copy()
    for one in plan.METHODS:
        found["diverged"].diverge(one.label)
    found["equal"] = Study().time().noise({}).cost(noise=0)
    for one in plan.METHODS:
        found["equal"].give(one.label)
        for config in found["equal"].configs(one.label):
            record = found["equal"].results.record(config)
            assert record is not None
            record.fields["metrics"] = dict.fromkeys(record.fields["metrics"], 2.0)
            record.fields["test_accuracy"] = 0.5
    found["older"] = Study().time().give_all()
    for record in found["older"].results.records.values():
        for key in ("macro_recall", "by_frequency", "within_epochs"):
            record.fields.pop(key, None)
    found["inf"] = Study().time().give_all()
    for one in plan.METHODS[1:]:
        metrics = dict.fromkeys(("test/top5_accuracy", "test/mrr", "test/ndcg10"), 0.1)
        curves = {"test/perplexity": [math.inf] * one.epochs}
        found["inf"].give(one.label, metrics=metrics | {"test/perplexity": math.inf}, by_frequency={}, curves=curves)
    found["gpu"] = study.copy()
    found["gpu"].give("SML", device="cuda")
    found["times"] = study.copy()
    found["times"].results.measurements = {}
    failed = study.copy().time()
    losses = next(one for key, one in failed.results.measurements.items() if "step_times" in key)["losses"]
    for label in (plan.LONG_LABEL, "LGL"):
        losses[label] = dict.fromkeys(losses[label]) | {"failed": "RuntimeError: no memory", "rounds": 0}
    found["failed"] = failed
    return {"nothing": Measured()} | {name: one.results for name, one in found.items()}


def test_every_state_makes_a_page(study: Study) -> None:
    words = {}
    for name, results in states(study).items():
        known, planned = Evidence(results), STUDIES["many_classes"].planned(results)
        made = summary.blocks(known, planned)
        assert [type(one) for one in made] == [Items, Table, Picture, Paragraph, Paragraph], name
        assert made[-1] == Paragraph(plan_state(planned, results))
        words[name] = [one.word for one in verdicts.judged(known)]
        folded = sections.sections(known)
        page = Page("", made, [Part("", folded)])
        text = to_markdown(page)
        texts = [text, *(one.alt for section in folded for one in section.blocks if isinstance(one, Picture))]
        for one in texts:
            assert not re.search(r"\b(nan|inf|None)\b", one), (name, re.findall(r".{60}\b(?:nan|inf|None)\b", one))
    not_yet = "not yet tested"
    assert words["nothing"] == words["rates"] == words["sml"] == [not_yet] * 6
    assert words["without sml"][:2] == [not_yet] * 2
    assert words["without sml"][4] == "fails", "pairs without SML"
    assert words["1 seeds"] == words["2 seeds"] == [not_yet] * 6
    assert words["3 seeds"] == ["fails", "holds", not_yet, "undecided", "fails", not_yet]
    assert words["all"] == ["holds", "holds", "undecided", "undecided", "undecided", "holds"]
    assert words["diverged"] == ["fails", "undecided", "undecided", "undecided", "undecided", "holds"]
    assert words["equal"][3:5] == ["undecided", "fails"]
    assert words["gpu"][:2] == [not_yet] * 2
    assert words["times"] == [not_yet, not_yet, not_yet, "undecided", "undecided", not_yet]
    assert words["failed"][:2] == ["holds", not_yet]


def test_the_page_of_all_runs_in_html(study: Study) -> None:
    page = Page("", blocks(study.results), [Part("", STUDIES["many_classes"].sections(study.results))])
    text = to_html(page)
    assert "nan" not in text.replace("nance", "")
    assert text.count("<svg") == 4
    shares = [f"{number:.3f}" for number in (0.2, np.std([0.1, 0.2, 0.3], ddof=1))]
    assert f"{shares[0]} ± {shares[1]} (n=3)" in text
    assert known_posterior.SIZES[-1] == 100_000


def test_nothing_is_said_in_three_sentences() -> None:
    (items,) = [one for one in blocks(Measured()) if isinstance(one, Items)]
    assert items.texts == [
        "Quality at equal steps (3 epochs): no pair of runs with SML yet.",
        "Quality at equal cost: the time of a step is not yet measured.",
        "Gradients: bias and variance not yet measured.",
    ]
