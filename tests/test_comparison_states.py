"""The page of a comparison at every stage: no runs, the grid alone, divergence, missing arrays, 2 and 23 losses."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from invented_comparison import Invented, wobbling

from lossbench.config.registry import LOSSES
from lossbench.config.run import run_id
from lossbench.report.blocks import Items, Paragraph, Picture, Table
from lossbench.report.html import to_html
from lossbench.report.markdown import to_markdown
from lossbench.report.style import PALETTE, STYLES, style_at
from lossbench.runs.records import Record
from lossbench.studies.comparison_page import Facts, comparison_page, first_screen, sections, write_comparison
from lossbench.studies.comparison_words import answer, tiles

NAN = math.nan
MANY = ("sml", *(name for name, facts in LOSSES.items() if name != "sml" and facts.options.needs == "logits"))


def titles(invented: Invented) -> list[str]:
    return [section.title for section in sections(invented.compared)]


def blocks_of(invented: Invented, title: str) -> list:
    return next(one for one in sections(invented.compared) if one.title == title).blocks


def written(invented: Invented) -> str:
    return to_html(comparison_page(invented.compared))


def test_without_any_run() -> None:
    invented = Invented(["sml", "focal", "lgl"])
    assert answer(invented.compared) == ["There is no verdict at the own learning rates yet: no loss has one."]
    texts = [block.text for block in first_screen(invented.compared) if isinstance(block, Paragraph)]
    assert texts[1] == (
        "0 of 36 runs that are known to be needed are done; more follow when every loss has its own learning rate."
    )
    assert blocks_of(invented, "Learning rates") == [Paragraph("No run that chooses a learning rate is done yet.")]
    assert blocks_of(invented, "Beside SML at the own learning rates") == [Paragraph("No reported run is done yet.")]
    assert blocks_of(invented, "What it ran on") == [Paragraph("No runs yet.")]
    assert "All pairs" not in titles(invented)
    assert "Cost of a step" not in titles(invented)
    assert [one.number for one in tiles(invented.compared)[0].counts] == [0, 0, 0, 0, 2]
    assert "no verdict" in written(invented)


def test_with_the_grid_alone() -> None:
    invented = Invented(["sml", "focal", "lgl"])
    invented.choose("Focal", 0.1)
    invented.choose("SML", 0.1, seeds=1)
    assert answer(invented.compared) == [
        "There is no verdict at the own learning rates yet: one of three losses has one."
    ]
    picture = next(block for block in blocks_of(invented, "Learning rates") if isinstance(block, Picture))
    assert "LGL: no rate chosen yet; missing." in picture.alt
    assert "Focal: chosen 0.1;" in picture.alt
    frame = blocks_of(invented, "Accuracy")[0].frame
    assert frame.loc["Focal"].tolist() == ["0.1", "missing", "missing"]
    assert frame.loc["SML (baseline)", "Own lr"] == "–"
    written(invented)


def test_every_loss_has_its_rate_and_no_reported_run() -> None:
    invented = Invented(["sml", "focal"])
    for label in ("SML", "Focal"):
        invented.choose(label, 0.1)
    (text,) = answer(invented.compared)
    assert text == (
        "There is no verdict at the own learning rates yet: every loss has one, and no reported run there is finished."
    )
    invented.report(invented.at_own("Focal"), [0.9] * 5)
    (text,) = answer(invented.compared)
    assert text.endswith(": no loss has a pair of finished runs with the baseline.")


def test_a_loss_that_diverges_everywhere() -> None:
    invented = Invented(["sml", "focal", "mae"])
    invented.whole("SML", 0.1, wobbling(0.9), wobbling(0.93))
    invented.whole("Focal", 0.1, wobbling(0.9, (0.01, 0, 0.01, 0, 0.01)), wobbling(0.92, (0.001, 0, 0, 0.001, 0)))
    for lr in invented.comparison.rules.rates.steps:
        for config in invented.comparison.selecting("MAE", lr):
            invented.put(config, NAN)
    cells = invented.comparison.at("MAE"), invented.at_own("MAE")
    for cell in cells:
        invented.report(cell, [NAN] * 5)
    texts = answer(invented.compared)
    assert "MAE has too few runs for a verdict (no pair with the baseline)." in texts[0]
    assert "MAE is without a verdict" in texts[1]
    assert texts[2] == (
        "Diverged at the own learning rates: MAE 5 of 5; diverged at the common learning rate: MAE 5 of 5. A diverged "
        "run is in no mean."
    )
    assert texts[3:] == [
        "Every run that chooses the learning rate of MAE (1e-05) diverged; the smallest rate tried stands for its own."
    ]
    frame = blocks_of(invented, "Accuracy")[0].frame
    assert frame.loc["MAE", "Own lr"] == "1e-05 (all diverged)"
    assert frame.loc["MAE", "At 0.01 (%)"] == "failed: 5 of 5 diverged"
    line = blocks_of(invented, "Beside SML at the own learning rates")[0].frame.loc["MAE"]
    assert line["Verdict"] == "failed: all diverged"
    told = next(
        block for block in blocks_of(invented, "What is missing, diverged or failed") if isinstance(block, Items)
    )
    counts = blocks_of(invented, "What is missing, diverged or failed")[0].frame
    assert counts.loc["Learning rates"].tolist() == ["14", "7", "0", "21"]
    assert counts.loc["All losses at the common learning rate"].tolist() == ["10", "5", "0", "15"]
    (sentence,) = told.texts
    assert sentence.startswith("MAE diverged: runs that choose the learning rate, ")
    assert "reported runs, 5 at 0.01" in sentence
    written(invented)


def test_some_diverged_runs_are_told_and_never_averaged() -> None:
    invented = Invented(["sml", "focal"])
    invented.whole("SML", 0.1, wobbling(0.9), wobbling(0.93))
    invented.whole("Focal", 0.1, wobbling(0.9), [0.95, NAN, 0.952, 0.951, None])
    own, _, lost, *_ = answer(invented.compared)
    assert "the difference between Focal and SML is undecided (" in own, "higher, but a run diverged"
    assert lost == "Diverged at the own learning rates: Focal 1 of 5. A diverged run is in no mean."
    frame = blocks_of(invented, "Accuracy")[0].frame
    assert frame.loc["Focal", "At its own lr (%)"] == "95.10 ± 0.10 (n=3 of 5, 1 diverged)"
    picture = next(block for block in first_screen(invented.compared) if isinstance(block, Picture))
    assert "undecided, 1 diverged." in picture.alt


def test_failed_runs_are_told_with_their_reason() -> None:
    invented = Invented(["sml", "focal"])
    name = run_id(invented.comparison.at("Focal").configs[2])
    lost = run_id(invented.comparison.at("Focal").configs[3])
    invented.put(invented.comparison.at("Focal").configs[3], NAN)
    invented.results.failed = {name: "no space left", lost: "nan", "another-run": "not of this comparison"}
    told = [block for block in blocks_of(invented, "What is missing, diverged or failed") if isinstance(block, Items)]
    wanted = ["Focal diverged: reported runs, 1 at 0.01.", f"{name} failed: no space left"]
    assert told == [Items(wanted)]
    both = sections(invented.compared, Facts(problems=["a record is damaged"]))
    texts = next(one for one in both if one.title.startswith("What is missing")).blocks[-1].texts
    assert texts == [*wanted, "a record is damaged"]


def test_records_without_arrays_show_the_scores_they_keep() -> None:
    invented = Invented(["sml", "lgl"])
    invented.whole("SML", 0.1, wobbling(0.9), wobbling(0.93))
    invented.whole("LGL", 0.1, wobbling(0.9), wobbling(0.93))
    kept = {"nll": 0.25, "brier": 0.1, "ece": 0.02, "adaptive_ece": 0.03, "overconfidence": 0.0}
    for config in invented.at_own("SML").configs:
        name = run_id(config)
        record = invented.results.records[name]
        invented.results.records[name] = Record({**record.fields, "scores": {"softmax": kept}}, Path("nowhere.npz"))
    (table,) = blocks_of(invented, "Probabilities")
    assert isinstance(table, Table)
    assert table.frame.loc[("SML (baseline)", "softmax")].tolist() == ["5", "0.2500", "0.1000", "0.0200", "0.0300"]
    assert "temperature" not in table.caption
    assert blocks_of(invented, "Classes") == [Paragraph("No reported run has kept its confusion matrix.")]


def test_predictions_stand_in_for_a_confusion_matrix() -> None:
    invented = Invented(["sml", "lgl"])
    invented.report(invented.comparison.at("SML"), [0.5] * 5)
    for config in invented.comparison.at("SML").configs:
        arrays = {"test_labels": np.array([0, 0, 1, 1, 2]), "test_predictions": np.array([0, 1, 1, 1, 0])}
        invented.results.given[run_id(config)] = arrays
    (table,) = blocks_of(invented, "Classes")
    assert table.frame.loc["SML (baseline)"].tolist() == ["5", "50.00 ± 0.00", "2, 0.00 ± 0.00", "0.00 ± 0.00", "–"]
    assert "at the common learning rate" in table.caption


def test_a_rate_at_an_edge_and_a_single_selection_seed() -> None:
    invented = Invented(["sml", "focal"], selection_seeds=(1000,), num_seeds=2)
    invented.choose("SML", 0.1)
    invented.choose("Focal", 100.0)
    assert answer(invented.compared)[-1] == (
        "Of Focal (100) the own learning rate is at an edge of those tried; a better one may lie beyond."
    )
    assert blocks_of(invented, "Accuracy")[0].frame.loc["Focal", "Own lr"] == "100 (edge)"
    assert "again with seeds" not in " ".join(blocks_of(invented, "Rules")[0].texts)


def test_all_losses_at_once(tmp_path: Path) -> None:
    invented = Invented(MANY)
    random = np.random.default_rng(0)
    for place, label in enumerate(invented.labels.values()):
        noise = random.normal(0, 0.0005, 5)
        invented.whole(label, 0.1, wobbling(0.9, noise), wobbling(0.93 + 0.005 * (place % 3 - 1) * (place > 0), noise))
    own, common = answer(invented.compared)
    groups = re.fullmatch(r"At their own learning rates, (.*)\. The largest differences: (.*); (.*)\.", own)
    assert groups is not None
    assert re.match(r"[\w\s-]+ \+0\.\d\d points", groups[2])
    assert re.match(r"[\w\s-]+ -0\.\d\d points", groups[3])
    named = {word: text for text in groups[1].split("; ") for word in ("higher", "lower", "equivalent") if word in text}
    labels = list(invented.labels.values())
    for word, rest in (("higher", 2), ("lower", 0), ("equivalent", 1)):
        wanted = {label for place, label in enumerate(labels) if place % 3 == rest and place}
        assert set(re.split(", | and ", named[word].partition(" are ")[0])) == wanted, word
    assert (
        common == f"At the common learning rate 0.01, {len(MANY) - 1} losses are equivalent to SML within 0.25 points."
    )
    write_comparison(tmp_path, invented.compared)
    assert {path.name for path in tmp_path.glob("*.svg")} == {
        "differences.svg",
        "learning_rates_1.svg",
        "learning_rates_2.svg",
        "pairs.svg",
        "improvement.svg",
    }
    assert (tmp_path / "index.html").stat().st_size < 1_500_000


def test_no_two_losses_look_alike() -> None:
    shown = [
        (style["color"], style["marker"], style.get("markerfacecolor"), style["linestyle"]) for style in STYLES.values()
    ]
    assert len(set(shown)) == len(LOSSES)
    assert [style_at(place) for place in range(len(PALETTE))] == list(PALETTE)
    first32 = {(one["color"], one["marker"], one.get("markerfacecolor")) for one in map(style_at, range(32))}
    assert len(first32) == 32
    assert style_at(32) == style_at(0)


def test_losses_that_differ_in_an_option_keep_their_labels() -> None:
    invented = Invented(["sml", "focal"])
    config = invented.comparison.losses["Focal"]
    losses = {
        "SML": invented.comparison.losses["SML"],
        "Focal, gamma 5": replace(config, loss=replace(config.loss, gamma=5.0)),
        "Focal": config,
    }
    invented.comparison = replace(invented.comparison, losses=losses)
    for label in losses:
        invented.whole(label, 0.1, wobbling(0.9), wobbling(0.93))
    assert answer(invented.compared)[0] == (
        "At their own learning rates, Focal, gamma 5 is equal to SML in every run (n=5); Focal is equal to SML in "
        "every run (n=5)."
    )
    assert "Focal, gamma 5" in blocks_of(invented, "Accuracy")[0].frame.index
    assert "Focal, gamma 5: +0.00 points" in written(invented)


@dataclass(frozen=True)
class Limits:
    """Numbers that a picture must cope with."""

    common: tuple[float, ...]
    own: tuple[float, ...]


@pytest.mark.parametrize(
    "limits",
    [
        Limits((0.1,) * 5, (0.93, 0.934, 0.927, 0.932, 0.929)),  # a difference beyond the axis
        Limits((1.0,) * 5, (1.0,) * 5),
        Limits((0.0,) * 5, (0.0,) * 5),
        Limits((0.9, NAN, NAN, NAN, NAN), (NAN,) * 5),
    ],
)
def test_extreme_numbers_are_drawn(limits: Limits) -> None:
    invented = Invented(["sml", "focal", "lgl"])
    invented.whole("SML", 0.1, wobbling(0.9), wobbling(0.93))
    invented.whole("LGL", 0.1, wobbling(0.901), wobbling(0.932))
    invented.whole("Focal", 0.1, limits.common, limits.own)
    assert "<svg" in written(invented)


def any_runs(seed: int) -> Invented:
    """A comparison of which any runs are there: done, diverged or missing, with logits or without."""
    random = np.random.default_rng(seed)
    names = [str(name) for name in random.permutation(MANY[1:])[: random.integers(1, 5)]]
    invented = Invented(
        ["sml", *names],
        num_seeds=int(random.integers(1, 6)),
        selection_seeds=(1000, 1001, 1002)[: random.integers(1, 4)],
    )

    def values(mean: float) -> list[float | None]:
        return [(None, NAN, mean, 1.0, mean + 0.01)[random.integers(0, 5)] for _ in range(5)]

    for label in invented.labels.values():
        if random.random() < 0.2:
            continue
        invented.choose(label, float(random.choice([1e-5, 0.001, 0.1, 100])), seeds=int(random.integers(1, 4)))
        invented.report(invented.comparison.at(label), values(0.9))
        cell = invented.comparison.at_own(label, invented.results.accuracy)
        if cell is not None:
            invented.report(cell, values(0.93))
            for configs in (cell.configs, invented.comparison.selecting(label, cell.config.schedule.lr)):
                if random.random() < 0.5:
                    invented.give_logits(configs, float(random.choice([0, 3, 1e4])), int(random.choice([1, 3, 50])))
    return invented


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_there(seed: int) -> None:
    invented = any_runs(seed)
    page = comparison_page(invented.compared)
    assert not re.search(r"\b(nan|None|inf)\b", to_markdown(page))
    if seed < 4:
        assert "<svg" in to_html(page)
