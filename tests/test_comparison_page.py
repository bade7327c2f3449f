"""The page of a comparison whose runs are all there: sentences, tiles, tables, files, against numbers made by hand."""

import csv
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented_comparison import UPS_AND_DOWNS, Invented, wobbling
from scipy import stats

from lossbench.report.blocks import Items, Paragraph, Picture, Table, Tiles
from lossbench.report.wording import NO_NUMBER
from lossbench.statistics.calibration import FLOOR, calibration, log_probabilities
from lossbench.statistics.temperature import common_temperature, fitted_temperature
from lossbench.studies.comparison_page import Facts, comparison_page, first_screen, sections, write_comparison
from lossbench.studies.comparison_scores import all_scores, class_scores
from lossbench.studies.comparison_tables import csv_frame
from lossbench.studies.comparison_words import answer, conditions, tiles

OWN = {
    "lgl": (0.0009, 0.0002, 0.0012, 0.0003, 0.0004),
    "focal": (0.0005, -0.0005, 0.0002, 0.0003, -0.0005),
    "brier": (0.02, -0.02, 0.01, -0.01, 0.0),
}
"""What a loss's accuracies have beside its mean and the ups and downs of all."""


@pytest.fixture
def invented() -> Invented:
    """LGL equivalent, focal lower and Brier undecided at the own rates; LGL higher at the common one."""
    found = Invented(["sml", "lgl", "focal", "brier"])
    found.whole("SML", 0.1, wobbling(0.90), wobbling(0.93))
    found.whole("LGL", 0.3, wobbling(0.91, OWN["lgl"]), wobbling(0.93, OWN["lgl"]))
    found.whole("Focal", 0.03, wobbling(0.89, OWN["focal"]), wobbling(0.925, OWN["focal"]))
    found.whole("Brier", 0.1, wobbling(0.90, OWN["brier"]), wobbling(0.93, OWN["brier"]))
    return found


def interval(values: tuple[float, ...], quantile: float) -> tuple[float, float]:
    mean, half = np.mean(values), quantile * np.std(values, ddof=1) / math.sqrt(len(values))
    return 100 * (mean - half), 100 * (mean + half)


T95, T90 = 2.7764451051977987, 2.13184678133629
"""Quantiles of t with 4 degrees of freedom."""


def test_the_sentences_follow_from_the_verdicts(invented: Invented) -> None:
    lower = tuple(one - 0.005 for one in OWN["focal"])
    ninety, low, wide = interval(OWN["lgl"], T90), interval(lower, T95), interval(OWN["brier"], T95)
    own, common = answer(invented.compared)
    assert own == (
        "At their own learning rates, LGL is equivalent to SML within 0.25 points "
        f"({np.mean(OWN['lgl']) * 100:+.2f} points, 90 % interval {ninety[0]:+.2f} to {ninety[1]:+.2f}, n=5); "
        f"Focal is lower than SML by 0.50 points (95 % interval {low[0]:+.2f} to {low[1]:+.2f}, n=5); "
        "the difference between Brier and SML is undecided "
        f"(+0.00 points, 95 % interval {wide[0]:+.2f} to {wide[1]:+.2f}, n=5)."
    )
    assert common == (
        "At the common learning rate 0.01, LGL is higher than SML; Brier is undecided; Focal is lower than SML."
    )


def test_the_tiles_count_the_verdicts(invented: Invented) -> None:
    own, common = tiles(invented.compared)
    assert [(one.words, one.number) for one in own.counts] == [
        ("higher", 0),
        ("equivalent", 1),
        ("undecided", 1),
        ("lower", 1),
    ]
    assert [one.number for one in common.counts] == [1, 0, 1, 1]
    assert common.heading == "At the common learning rate 0.01"


def table_of(invented: Invented, title: str, **facts: object) -> pd.DataFrame:
    section = next(one for one in sections(invented.compared, Facts(**facts)) if one.title == title)
    return next(block for block in section.blocks if isinstance(block, Table)).frame


def test_the_accuracies(invented: Invented) -> None:
    frame = table_of(invented, "Accuracy")
    sd = 100 * np.std(UPS_AND_DOWNS, ddof=1)
    assert list(frame.index) == ["SML (baseline)", "LGL", "Focal", "Brier"]
    assert frame.loc["SML (baseline)"].tolist() == ["0.1", f"90.04 ± {sd:.2f} (n=5)", f"93.04 ± {sd:.2f} (n=5)"]
    assert frame.loc["LGL", "Own lr"] == "0.3"


def test_the_losses_beside_the_baseline(invented: Invented) -> None:
    frame = table_of(invented, "Beside SML at the own learning rates")
    assert frame["Verdict"].tolist() == ["equivalent", "lower", "undecided"]
    assert frame["Difference"].tolist() == ["+0.06 (n=5)", "-0.50 (n=5)", "+0.00 (n=5)"]
    lower = tuple(one - 0.005 for one in OWN["focal"])
    assert frame.loc["Focal", "95 %"] == "{:+.2f} to {:+.2f}".format(*interval(lower, T95))
    assert frame.loc["LGL", "90 %"] == "{:+.2f} to {:+.2f}".format(*interval(OWN["lgl"], T90))
    mean, sd = np.mean(lower), np.std(lower, ddof=1)
    assert mean / sd * math.sqrt(5) < -20
    assert frame.loc["Focal", "p (Holm)"] == "< 0.001"
    assert frame.loc["Brier", "p (Holm)"] == "1.000"
    t = np.mean(OWN["lgl"]) / np.std(OWN["lgl"], ddof=1) * math.sqrt(5)
    assert frame.loc["LGL", "p (Holm)"] == f"{2 * 2 * stats.t.sf(t, 4):.3f}"
    first, second = wobbling(0.925, OWN["focal"]), wobbling(0.93)
    share = np.mean([(a > b) + (a == b) / 2 for a in first for b in second])
    assert frame.loc["Focal", "Probability of improvement"].startswith(f"{share:.2f} (")
    common = table_of(invented, "Beside SML at the common learning rate 0.01")
    assert common["Verdict"].tolist() == ["higher", "lower", "undecided"]


def test_the_learning_rates(invented: Invented) -> None:
    section = next(one for one in sections(invented.compared) if one.title == "Learning rates")
    picture, how_sure = section.blocks
    assert isinstance(picture, Picture)
    assert isinstance(how_sure, Table)
    data = picture.data[picture.data.loss == "Focal"].set_index("learning_rate")
    assert data.index[data.chosen].tolist() == [0.03]
    assert data.n.to_dict() == {0.001: 1, 0.003: 1, 0.01: 3, 0.03: 3, 0.1: 3, 0.3: 1, 1.0: 0}
    assert data.diverged.loc[1.0] == 1
    assert data.mean_percent.loc[0.03] == pytest.approx(95 + 0.1 * np.mean([0, 1, -0.75]), abs=1e-4)
    assert (data.lowest_percent.loc[0.03], data.highest_percent.loc[0.03]) == pytest.approx((94.925, 95.1))
    line = how_sure.frame.loc["Focal"]
    assert line["Own lr"] == "0.03"
    assert line["By each seed alone"] == "0.03, 0.03, 0.03"
    assert line["Next best"] == "0.01"
    assert line["Ahead by (points)"] == f"{2 * math.log10(3):+.2f}"
    assert line["Noise (points)"] == f"{100 * np.std([0, 0.001, -0.00075], ddof=1):.2f}"


def test_pairs_are_described(invented: Invented) -> None:
    section = next(one for one in sections(invented.compared) if one.title == "All pairs")
    gaps, chances = section.blocks
    assert isinstance(gaps, Picture)
    assert isinstance(chances, Picture)
    assert "no verdict" in gaps.caption
    frame = gaps.data.set_index(["loss", "other"])
    assert len(frame) == 12
    assert frame.loc[("SML", "Focal"), "difference_points"] == pytest.approx(0.5)
    assert frame.loc[("Focal", "SML"), "difference_points"] == pytest.approx(-0.5)
    both = frame.probability_of_improvement
    assert both[("SML", "Focal")] + both[("Focal", "SML")] == pytest.approx(1)


def test_probabilities_after_a_temperature_from_held_out_images(invented: Invented) -> None:
    reported, held_out = {}, {}
    for label, own in (("SML", 0.1), ("LGL", 0.3)):
        reported[label] = invented.at_own(label).configs
        held_out[label] = invented.comparison.selecting(label, own)
        invented.give_logits(reported[label], sharpness=6.0)
        invented.give_logits(held_out[label], sharpness=2.0)
        invented.give_logits(invented.comparison.selecting(label, 1.0), sharpness=20.0)  # of another learning rate
    own, _ = conditions(invented.compared)
    found = {(one.label, one.words): one for one in all_scores(invented.compared, own)}
    assert list(found) == [("SML", "softmax"), ("LGL", "own (sigmoid, normalised)"), ("LGL", "softmax")]
    for (label, words), name in zip(found, ("softmax", "sigmoid_normalised", "softmax"), strict=True):
        one = found[label, words]
        runs = [invented.results.arrays(config) for config in reported[label]]
        logits = [(run["test_logits"].astype(float), run["test_labels"]) for run in runs]
        assert one.raw == tuple(calibration(values, labels, name).scores for values, labels in logits)
        temperatures = []
        for config in held_out[label]:
            run = invented.results.arrays(config)

            def log_p(at: float, run: dict = run, name: str = name) -> np.ndarray:
                return log_probabilities(run["test_logits"].astype(float), name, at)

            temperatures.append(fitted_temperature(log_p, run["test_labels"]))
        assert one.seeds == 3
        assert one.temperature == pytest.approx(common_temperature(temperatures))
        assert len(one.tempered) == 5
        if name == "softmax":
            again = calibration(logits[0][0] / one.temperature, logits[0][1], name).scores
            assert asdict(one.tempered[0]) == pytest.approx(asdict(again))
    frame = table_of(invented, "Probabilities")
    line = frame.loc[("SML (baseline)", "softmax")]
    sml = found["SML", "softmax"]
    assert line["n"] == "5"
    assert line["T"] == f"{sml.temperature:.2f}"
    assert line["NLL"] == f"{np.mean([run.nll for run in sml.raw]):.4f}"
    assert line["ECE at T"] == f"{np.mean([run.ece for run in sml.tempered]):.4f}"
    assert not any("Focal" in index[0] for index in frame.index), "no logits, no scores"


def test_probabilities_of_maps_of_a_loss_itself() -> None:
    invented = Invented(["sml", "sparsemax", "mae", "logit_adjusted"])
    for label in invented.labels.values():
        invented.whole(label, 0.1, wobbling(0.9), wobbling(0.93))
        invented.give_logits(invented.at_own(label).configs, sharpness=1.5)
        invented.give_logits(invented.comparison.selecting(label, 0.1), sharpness=1.5)
    own, _ = conditions(invented.compared)
    found = {(one.label, one.words): one for one in all_scores(invented.compared, own)}
    assert ("MAE", "softmax, no link") in found
    assert [words for label, words in found if label == "Logit-adjusted"] == ["softmax"], "class sizes are not known"
    sparse = found["Sparsemax", "own"]
    nlls, zeros = [], []
    for config in invented.at_own("Sparsemax").configs:
        arrays = invented.results.arrays(config)
        for z, label in zip(arrays["test_logits"].astype(float), arrays["test_labels"], strict=True):
            ranked = sorted(z, reverse=True)
            size = max(k for k in range(1, 11) if 1 + k * ranked[k - 1] > sum(ranked[:k]))
            p = max(z[label] - (sum(ranked[:size]) - 1) / size, 0.0)
            nlls.append(-math.log(max(p, FLOOR)))
            zeros.append(p == 0)
    assert 0 < np.mean(zeros) < 0.5
    assert np.mean(sparse.zeros) == pytest.approx(np.mean(zeros))
    assert np.mean([run.nll for run in sparse.raw]) == pytest.approx(np.mean(nlls))
    assert np.mean([run.nll for run in sparse.tempered]) < np.mean(nlls)
    frame = table_of(invented, "Probabilities")
    assert frame.loc[("Sparsemax", "own"), "p = 0 (%)"] == f"{100 * np.mean(zeros):.2f}"
    assert frame.loc[("SML (baseline)", "softmax"), "p = 0 (%)"] == "0.00"
    section = next(one for one in sections(invented.compared) if one.title == "Probabilities")
    assert "probabilities below 1e-12 count as 1e-12" in section.blocks[0].caption
    assert "No link: " in section.blocks[0].caption


def test_classes(invented: Invented) -> None:
    configs = invented.at_own("Focal").configs
    invented.give_logits(configs)
    for config in configs:
        arrays = invented.results.arrays(config)
        arrays["confusion_matrix"][3] = [0, 0, 0, 4, 0, 6, 0, 0, 0, 0]
        one = class_scores(invented.compared, config)
        assert one.recalls[3] == 0.4
        logits, labels = arrays["test_logits"], arrays["test_labels"]
        top = [
            label in np.argsort(-row.astype(float), kind="stable")[:5]
            for row, label in zip(logits, labels, strict=True)
        ]
        assert one.top == pytest.approx(np.mean(top), abs=0.01)
    frame = table_of(invented, "Classes")
    assert list(frame.index) == ["Focal"]
    assert frame.loc["Focal", "Worst class"] == "3, 40.00 ± 0.00"
    assert frame.loc["Focal", "Lowest"] == "40.00 ± 0.00"
    recalls = [class_scores(invented.compared, config).recalls.mean() for config in configs]
    assert frame.loc["Focal", "Macro recall"] == f"{100 * np.mean(recalls):.2f} ± {100 * np.std(recalls, ddof=1):.2f}"


def test_costs_are_relative_to_the_baseline(invented: Invented) -> None:
    whole = {"step_ms": 8.0, "step": {"median": 1.25, "low": 1.2, "high": 1.5}, "loss_ms": 0.5, "loss": None}
    whole |= {"step_mb": 10.0, "loss_mb": 0.0125, "rounds": 9, "failed": None}
    failed = dict.fromkeys(whole) | {"rounds": 0, "failed": "ValueError: no"}
    costs = {"baseline": "SML", "device": "a processor", "precision": "fp32", "batch_size": 64, "num_threads": 1}
    base = whole | {"step_mb": 8.0, "loss_mb": 0.01}
    costs |= {"torch": "2.0", "commit": None, "losses": {"SML": base, "LGL": whole, "Focal": failed}}
    frame = table_of(invented, "Cost of a step", costs=costs)
    assert frame.loc["LGL"].tolist() == [
        "1.25 (1.20 to 1.50)",
        "8.00",
        NO_NUMBER,
        "0.500",
        "1.25 (10.00)",
        "1.25 (0.013)",
    ]
    assert frame.loc["Focal", "Step"] == "failed"
    section = next(one for one in sections(invented.compared, Facts(costs=costs)) if one.title == "Cost of a step")
    assert section.blocks[-1] == Items(["Focal: ValueError: no"])
    assert "on a processor with 1 thread, fp32, torch 2.0" in section.blocks[0].caption


def test_the_first_screen_and_the_facts(invented: Invented) -> None:
    page = comparison_page(invented.compared, Facts("2026-11-30", 0, "lossbench compare loss=lgl,sml", "A quick form."))
    assert page.title == "4 losses on MNIST with CNN2C"
    assert page.about == "Baseline SML, margin 0.25 points, 20 epochs, 5 seeds"
    first, others, picture, counted = page.lead
    assert isinstance(first, Paragraph)
    assert isinstance(counted, Tiles)
    assert others == Items([answer(invented.compared)[1], "A quick form."])
    data = picture.data.set_index(["loss", "learning_rate"])
    assert [loss for loss, _ in data.index[::2]] == ["LGL", "Brier", "Focal"], "from the best to the worst"
    assert data.loc[("Focal", "own"), "difference_points"] == pytest.approx(-0.5)
    assert data.loc[("LGL", "common"), "difference_points"] == pytest.approx(1.06)
    rules = page.parts[0].sections[-1].blocks[0].texts
    assert rules[0] == "The rules were fixed on 2026-11-30, before any of its runs was done."
    assert rules[-1] == "Command: lossbench compare loss=lgl,sml"
    later = sections(invented.compared, Facts("2026-11-30", 7))[-1].blocks[0].texts
    assert later[0] == "The rules were fixed on 2026-11-30; 7 of its runs were done by then."


def test_pictures_of_several_comparisons_have_names_of_their_own(invented: Invented) -> None:
    blocks = [block for section in sections(invented.compared, stem="mnist_") for block in section.blocks]
    blocks += first_screen(invented.compared, stem="mnist_")
    names = {block.name for block in blocks if isinstance(block, Picture)}
    assert names == {"mnist_differences", "mnist_learning_rates", "mnist_pairs", "mnist_improvement"}


def test_all_files_are_written(invented: Invented, tmp_path: Path) -> None:
    summary = write_comparison(tmp_path / "page", invented.compared)
    names = {path.name for path in (tmp_path / "page").iterdir()}
    pictures = {
        f"{stem}.{form}" for stem in ("differences", "learning_rates", "pairs", "improvement") for form in FORMS
    }
    texts = {"index.html", "report.md", "summary.md", "table.csv", "probabilities.csv"}
    assert names - {".claim", ".drawn.json"} == texts | pictures
    assert (tmp_path / "page" / "summary.md").read_text() == summary
    assert summary.startswith("At their own learning rates, LGL is equivalent to SML within 0.25 points")
    lines = list(csv.DictReader((tmp_path / "page" / "table.csv").open()))
    assert [(line["loss"], line["learning_rate"], line["lr"]) for line in lines[:4]] == [
        ("SML", "common", "0.01"),
        ("SML", "own", "0.1"),
        ("LGL", "common", "0.01"),
        ("LGL", "own", "0.3"),
    ]
    assert lines[3]["verdict"] == "equivalent"
    assert lines[5]["difference_points"] == "-0.5"
    assert lines[5]["accuracies_percent"].split() == [f"{100 * one:.4f}" for one in wobbling(0.925, OWN["focal"])]
    page = (tmp_path / "page" / "index.html").read_text()
    assert summary.splitlines()[0] in page


FORMS = ("svg", "pdf", "csv")


def test_the_csv_has_the_tests(invented: Invented) -> None:
    frame = csv_frame(invented.compared).set_index(["loss", "learning_rate"])
    line = frame.loc[("Focal", "own")]
    lower = [one - 0.005 for one in OWN["focal"]]
    t = np.mean(lower) / np.std(lower, ddof=1) * math.sqrt(5)
    assert line.p == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert line.p_holm == pytest.approx(3 * line.p)
    assert (line.low_95_points, line.high_95_points) == pytest.approx(interval(tuple(lower), T95), abs=1e-4)
    assert (line.margin_points, line.pairs, line.diverged) == (0.25, 5, 0)
    assert math.isnan(frame.loc[("SML", "own")].p)
