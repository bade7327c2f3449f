"""What the page says of the Softmax family: three sentences, the picture, what would change our mind, and tables."""

import math

import numpy as np
import pandas as pd
import pytest
from invented import Known
from invented_comparison import UPS_AND_DOWNS
from invented_family import LEVEL, OWN, Study

from lossbench.report.blocks import Block, Items, Paragraph, Picture, Section, Table, plain_page
from lossbench.report.family_figure import NOT_YET
from lossbench.report.html import to_html
from lossbench.studies.results import Results
from lossbench.studies.sentences import plan_state
from lossbench.studies.softmax_family import plan, sections, summary, verdicts
from lossbench.studies.study import STUDIES

T95 = 2.7764451051977987

GAINS = {"Entmax": 0.004, "Sparsemax": -0.004, "Squared": 0.001, "Taylor softmax": -0.05}
NLL = {"Entmax": -0.02, "LGL": -0.01, "Sparsemax": 0.03}


@pytest.fixture(scope="module")
def study() -> Study:
    """Entmax higher and Sparsemax lower on both data sets, Taylor softmax much; KMNIST lacks Focal and Brier."""
    found = Study()
    for dataset, of in found.sets.items():
        for label in of.comparison.losses:
            if (dataset, label) not in (("kmnist", "Focal"), ("kmnist", "Brier")):
                found.give(dataset, label, gain=GAINS.get(label, 0.0), nll=NLL.get(label, 0.0) if label != "SML" else 0)
    found.give("fmnist", "Sparsemax", gain=-0.004, nll=0.03, epochs=(4, 5, 3, 6, 4))
    found.diverge("kmnist", "Squared", [1])
    return found


def blocks(results: Results) -> list[Block]:
    found = STUDIES["softmax_family"].summary(results)
    assert isinstance(found, Section)
    return list(found.blocks)


def difference(study: Study, dataset: str, label: str) -> tuple[float, float, float]:
    """Mean and 95 % interval of the accuracies' differences to SML, in points, from the invented formula."""
    place = list(study.sets[dataset].comparison.losses).index(label)
    gaps = 100 * (GAINS.get(label, 0.0) + np.array([OWN[place % 2][(seed + place) % 5] for seed in range(5)]))
    half = T95 * gaps.std(ddof=1) / math.sqrt(5)
    return float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half)


def test_three_sentences(study: Study) -> None:
    first, second, third = blocks(study.results)[0].texts
    high, low = difference(study, "fmnist", "Entmax")[0], difference(study, "fmnist", "Taylor softmax")[0]
    base = {name: 100 * (level + np.mean(UPS_AND_DOWNS)) for name, level in LEVEL.items()}
    assert first.startswith(
        f"Accuracy, each loss at its own learning rate beside SML: on Fashion-MNIST (SML {base['fmnist']:.2f} %), of "
        "12 losses 1 is higher, 9 are equivalent within 0.25 points and 2 are lower, "
        f"from Taylor softmax {low:+.2f} to Entmax {high:+.2f} points (n=5); on KMNIST (SML {base['kmnist']:.2f} %), "
        "of 7 losses 1 is higher, "
    )
    high, low = difference(study, "kmnist", "Entmax")[0], difference(study, "kmnist", "Sparsemax")[0]
    assert first.endswith(
        "1 is lower and 2 are not yet run (diverged: Squared 1 of 5), "
        f"from Sparsemax {low:+.2f} to Entmax {high:+.2f} points (n=4 to 5)."
    )
    sml = 0.25 + np.mean(UPS_AND_DOWNS)
    assert second.startswith(
        f"Probabilities, NLL after one temperature: on Fashion-MNIST, SML {sml:.3f} nats, of 12 losses 2 are lower, 1 "
        "is higher and 9 are not shown to differ, at best Entmax -0.020 nats (n=5); on KMNIST, "
    )
    assert second.endswith(
        " (n=4 to 5). Test images whose class gets probability 0, an infinite NLL: 2 % on Fashion-MNIST "
        "with Entmax, alpha 1.25 (the most of 4 losses) and 2 % on KMNIST with Entmax (the most of 2 losses)."
    )
    assert third.startswith(
        "Gradients: SML comes within 0.5 points of its end after 8.8 epochs on Fashion-MNIST (n=5); 1 of 6 "
        "Fenchel-Young losses beside it differs (Holm): Sparsemax -4.4 epochs, 95 % interval "
    )
    assert third.endswith("; no run with traced gradients yet.")


def test_zeros_of_traced_gradients(study: Study) -> None:
    again = study.copy()
    runs = plan.traced(again.results.accuracy)
    assert list(runs)[:2] == ["SML", "Entmax, alpha 1.25"]
    for label, ends in {"SML": (0.0, 0.0), "Sparsemax": (0.5, 0.7), "Entmax": (0.3, 0.3)}.items():
        for config, end in zip(runs[label], ends, strict=True):
            again.results.given[again.results.name(config)] = {"gradient_trace_zeros": np.array([[0.9, 0], [end, 0]])}
    text = summary.gradients(verdicts.family(again.results), again.results)
    assert text.endswith(
        "; entries of a sample's gradient that are exactly 0 after the last epoch: SML 0.0 % (n=2), Sparsemax 60.0 % "
        "(n=2), the most of 3 losses."
    )


def test_what_would_change_our_mind(study: Study) -> None:
    text = next(one.text for one in blocks(study.results) if isinstance(one, Paragraph))
    assert text.startswith("What would change our mind: a loss of the family that is higher than SML on both data sets")
    assert text.endswith(
        "Seen so far: higher than SML in accuracy on both: Entmax; lower NLL than SML after one temperature on both: "
        "Entmax and LGL."
    )
    none = study.copy()
    none.give("kmnist", "Entmax", gain=0.0, nll=0.0)
    none.give("kmnist", "LGL")
    assert summary.mind(verdicts.family(none.results)).endswith("Seen so far: none of this.")


def test_the_picture(study: Study) -> None:
    found = next(one for one in blocks(study.results) if isinstance(one, Picture))
    data = found.data.set_index(["loss", "dataset"])
    assert list(dict.fromkeys(found.data.loss)) == list(study.sets["fmnist"].comparison.losses)
    assert len(data) == 13 + 8
    mean, low, high = difference(study, "kmnist", "Sparsemax")
    line = data.loc[("Sparsemax", "KMNIST")]
    assert (line.difference_points, line.low_points, line.high_points) == pytest.approx((mean, low, high), abs=1e-4)
    assert line.n == 5
    assert line.nll_nats == pytest.approx(0.43 + np.mean(UPS_AND_DOWNS), abs=1e-3)
    assert line.nll_tempered_nats == pytest.approx(0.28 + np.mean(UPS_AND_DOWNS), abs=1e-3)
    assert line.zero_percent == 2
    assert data.loc[("Squared", "KMNIST"), "n"] == 4
    assert data.loc[("Squared", "KMNIST"), "diverged"] == 1
    assert math.isnan(data.loc[("Focal", "KMNIST"), "difference_points"])
    assert math.isnan(data.loc[("SML", "KMNIST"), "difference_points"])
    assert f"Sparsemax: Fashion-MNIST {difference(study, 'fmnist', 'Sparsemax')[0]:+.2f} points" in found.alt
    assert f"KMNIST accuracy {NOT_YET}" in found.alt
    assert "probability 0 for the class of 2 % of the images" in found.alt
    assert "(n=4 to 5)" in found.caption
    figure = found.drawing.function(*found.drawing.arguments)
    gaps, nlls = figure.axes
    assert gaps.get_xlim()[1] < 2, "Taylor softmax is beyond the axis"
    assert [text.get_text() for text in gaps.texts if text.get_text()[0] in "+-"] == ["-5.0"]
    assert nlls.get_xlim()[1] > 0.43
    assert "baseline" in [text.get_text() for text in gaps.texts]


def test_a_loss_that_always_diverged_is_not_called_missing(study: Study) -> None:
    again = study.copy()
    again.diverge("fmnist", "RG2", range(5))
    first, _, picture, *_ = (*blocks(again.results)[0].texts[:2], *blocks(again.results)[1:])
    assert "2 are lower and 1 diverged (diverged: RG2 5 of 5)" in first
    assert "RG2: Fashion-MNIST all 5 runs diverged." in picture.alt
    figure = picture.drawing.function(*picture.drawing.arguments)
    assert "diverged" in [text.get_text() for text in figure.axes[0].texts]


def frame_of(section: Section, place: int = 0) -> pd.DataFrame:
    return [one for one in section.blocks if isinstance(one, Table)][place].frame


def test_sections(study: Study) -> None:
    found = sections.sections(verdicts.family(study.results))
    ranks, zeros, convergence, order = found
    frame = frame_of(ranks)
    assert len(frame) == 21
    ndcg = 100 * (0.96 + np.array(UPS_AND_DOWNS) / 2)
    assert frame.loc[("KMNIST", "SML"), "NDCG"] == f"{ndcg.mean():.2f} ± {ndcg.std(ddof=1):.2f} (n=5)"
    assert frame.loc[("KMNIST", "SML"), "Verdict"] == "baseline"
    assert frame.loc[("KMNIST", "Focal"), "NDCG"] == "missing"
    assert "n=4, 1 diverged" in frame.loc[("KMNIST", "Squared"), "MRR"]
    assert frame.loc[("Fashion-MNIST", "LGL"), "Verdict"] == "undecided"
    assert "at most 0.03 % of a run's images" in ranks.blocks[0].caption
    frame = frame_of(zeros)
    assert list(frame.loc["KMNIST"].index) == ["Entmax", "Sparsemax"]
    assert frame.loc[("KMNIST", "Entmax"), "p = 0 for the true class (%)"] == "2.000 ± 0.000 (n=5)"
    assert frame.loc[("KMNIST", "Entmax"), "Classes with p > 0"] == "1.50 ± 0.00 (n=5)"
    frame = frame_of(convergence)
    assert list(frame.index) == list(study.sets["fmnist"].comparison.losses)[:7]
    assert frame.loc["SML", "Epochs"] == f"8.8 ± {np.std([8, 9, 8, 10, 9], ddof=1):.1f} (n=5)"
    assert frame.loc["Sparsemax", "Less SML's"] == "-4.4 (n=5)"
    assert frame.loc["Sparsemax", "Within one epoch"] == "no"
    assert frame.loc["Entmax", "Within one epoch"] == "yes", "all epochs are equal"
    frame = frame_of(order)
    assert list(frame["Orders the accuracies"]) == ["no order seen"] * 4
    frame = frame_of(order, 1)
    assert frame.loc["Entmax, alpha 1.25"].tolist()[1:] == ["0.595", "4", "yes", "yes"]
    assert frame.loc["Label smoothing", "Strictly proper"] == "no"
    assert frame.loc["SML", "Margin"] == "none"


def test_every_state_makes_a_page(study: Study) -> None:
    """Nothing, learning rates alone, SML alone, one loss, all diverged, records without scores: always a sentence."""
    bare = Study()
    alone = bare.copy()
    alone.give("fmnist", "SML", seeds=[0])
    one = alone.copy()
    one.give("fmnist", "Taylor softmax", seeds=[0])
    lost = study.copy()
    for dataset, of in lost.sets.items():
        for label in of.comparison.losses:
            lost.diverge(dataset, label, range(5))
    older = study.copy()
    for label in older.sets["fmnist"].comparison.losses:
        older.drop("fmnist", label, range(5), "scores", "ranking")
    for results in (Known(), bare.results, alone.results, one.results, lost.results, older.results):
        made = blocks(results)
        assert isinstance(made[0], Items)
        assert len(made[0].texts) == 3
        known = verdicts.family(results)
        page = plain_page("", made, sections.sections(known))
        text = to_html(page)
        assert "nan" not in text.replace("nance", ""), results
        assert made[-1] == Paragraph(plan_state(STUDIES["softmax_family"].planned(results), results))
    assert blocks(Known())[0].texts == [
        "Accuracy, each loss at its own learning rate beside SML: on Fashion-MNIST not yet run; on KMNIST not yet run.",
        "Probabilities, NLL after one temperature: on Fashion-MNIST not yet run; on KMNIST not yet run.",
        "Gradients: epochs to within 0.5 points of the end not yet run for the Fenchel-Young losses; no run with "
        "traced gradients yet.",
    ]
    assert sections.sections(verdicts.family(Known())) == []
    assert blocks(lost.results)[0].texts[0] == (
        "Accuracy, each loss at its own learning rate beside SML: on Fashion-MNIST no pair of finished runs with SML "
        "(diverged: SML 5 of 5 and 12 losses); on KMNIST no pair of finished runs with SML "
        "(diverged: SML 5 of 5 and 7 losses)."
    )
