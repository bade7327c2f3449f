"""Bias and variance of gradients in the study of many classes: what is measured, what is shown, what is missing."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from lossbench.config.run import Runtime
from lossbench.losses.sampling import Proposal
from lossbench.report.blocks import Paragraph, Picture, Table
from lossbench.report.drawing import saved
from lossbench.report.noise_figure import NoiseMark, noise_picture
from lossbench.runs import measurements as store
from lossbench.studies.many_classes import gradient_noise, plan
from lossbench.studies.many_classes.gradient_noise import (
    HEADINGS,
    PARTS,
    STATES,
    identity,
    methods,
    noise_blocks,
    noise_of,
    noises,
    told,
)
from lossbench.studies.results import Results, known_results


def invented(unbiased: str = "sampled_lgl") -> dict[str, Any]:
    """A result with bias^2 = 0.16 m / 100 - tiny differences by part - and variance 4; of some losses no bias."""
    found = {}
    for one in methods():
        bias2 = 1e-5 if one.name.startswith(unbiased) else 16 / one.num
        entry = {"bias2": bias2, "bias2_se": 1e-4, "variance": 400 / one.num, "by_batch": [bias2] * 4}
        found[one.name] = {"head": entry, "features": entry | {"bias2": -bias2}}
    norms = {"head": [0.2, 0.25], "features": [0.02, 0.03]}
    about = {"draws": 200, "batches": 4, "batch_size": 512, "classes": 9580}
    return {
        "estimators": found,
        "references": {"full_softmax": norms, "lgl": norms},
        "log_sum_exp": [0.0, 1.25],
    } | about


def with_states(folder: Path, *states: str) -> Results:
    for state in states:
        store.write(identity(state), folder, invented())
    return known_results(folder, None)


def test_the_methods_are_those_of_the_rules() -> None:
    names = [one.name for one in methods()]
    assert len(names) == len(set(names)) == (4 + 2 * 4 + 1 + 2) * 3
    by_words = {(one.words, one.proposal) for one in methods()}
    assert ("uncorrected", "unigram") in by_words
    assert ("uncorrected", "uniform") not in by_words
    assert ("target uncorrected", "unigram^0.75") in by_words
    for one in methods():
        assert one.loss.needs == "features"
        assert one.reference.name == ("lgl" if one.loss.name == "sampled_lgl" else "full_softmax")
    powers = {one.loss.power for one in methods() if one.proposal == "unigram^0.75"}  # type: ignore[attr-defined]
    assert powers == {0.75}
    once = {(one.words, one.num) for one in methods() if one.loss.replacement is False}  # type: ignore[attr-defined]
    assert once == {
        (words, num) for words in ("all corrected", "target uncorrected", "sampled LGL") for num in (20, 100, 500)
    }
    drawn = {one.loss.proposal for one in methods() if one.proposal == "log-uniform"}  # type: ignore[attr-defined]
    assert drawn == {Proposal.log_uniform}


def test_there_is_a_measurement_for_each_state() -> None:
    both = gradient_noise.measurements(Runtime(device="cpu"))
    assert [one.id for one in both] == [identity(state).id for state in STATES]
    assert both[0].id != both[1].id
    assert identity("start").parameters["draws"] == 200


def test_numbers_are_roots_of_the_mean_squares_with_their_ends(tmp_path: Path) -> None:
    found = noises(with_states(tmp_path, "start"), "start")
    assert len(found) == 2 * len(methods())
    one = next(one for one in found if one.method.name == "nce 100" and one.part == "head")
    assert (one.bias, one.sd) == pytest.approx((0.4, 2.0))
    assert (one.low, one.high) == pytest.approx((math.sqrt(0.16 - 1.96e-4), math.sqrt(0.16 + 1.96e-4)))
    assert one.is_biased
    assert told(one) == "0.4 (0.4 to 0.4)"
    assert one.error == pytest.approx(math.sqrt(0.16 + 4))
    free = next(one for one in found if one.method.name == "sampled_lgl unigram 20" and one.part == "head")
    assert not free.is_biased
    assert (free.low, free.high) == pytest.approx((0, math.sqrt(1e-5 + 1.96e-4)))
    assert told(free) == "below 0.014"
    below = next(one for one in found if one.method.name == "nce 20" and one.part == "features")
    assert (below.bias, below.low, below.high) == (0, 0, 0), "an estimate below 0 counts as 0"
    assert noises(with_states(tmp_path / "other", "trained"), "start") == []


def test_a_method_of_the_study_is_found_by_its_options(tmp_path: Path) -> None:
    results = with_states(tmp_path, "trained")
    known = {one.label: noise_of(results, one.loss, "trained", "head") for one in plan.METHODS}
    assert known["Sampled softmax, m=20"] is not None
    assert known["Sampled softmax, m=20"].bias == pytest.approx(math.sqrt(16 / 20))
    drawing = [one.label for one in plan.METHODS if one.num_sampled and one.label != "Negative sampling"]
    assert [label for label in drawing if known[label] is None] == []
    assert [known[label] for label in ("SML", "Negative sampling", "Sampled softmax, in-batch")] == [None] * 3
    assert noise_of(results, plan.method("NCE, m=20").loss, "start", "head") is None


@pytest.mark.parametrize("states", [("start",), ("trained",), ("start", "trained")])
def test_the_section_shows_what_is_measured(states: tuple[str, ...], tmp_path: Path) -> None:
    blocks = noise_blocks(with_states(tmp_path, *states))
    texts = [block.text for block in blocks if isinstance(block, Paragraph)]
    missing = [STATES[state] for state in STATES if state not in states]
    assert [text for text in texts if text.startswith("Not yet")] == [f"Not yet measured: {one}." for one in missing]
    pictures = [block for block in blocks if isinstance(block, Picture)]
    tables = [block for block in blocks if isinstance(block, Table)]
    assert [one.name for one in pictures] == ["many_classes_noise"]
    assert len(tables) == len(PARTS)
    assert "Next word in Austen, K=9,580, 4 batches of 512 positions, 200 draws each, seed 0" in tables[0].caption
    assert len(tables[0].frame) == len(methods()) / 3
    row = tables[0].frame.loc[("NCE", "unigram")].iloc[0]
    assert row == "0.4 (0.4 to 0.4)"
    assert list(tables[0].frame.columns) == [f"{kind} {HEADINGS[state]}" for state in states for kind in ("Bias", "Sd")]
    assert "NCE, unigram: bias 0.4, sd 2;" in pictures[0].alt
    assert "sampled LGL, unigram: bias below 0.014, sd 2;" in pictures[0].alt
    data = pictures[0].data
    assert data is not None
    assert len(data) == len(states) * len(methods())
    chosen = data[(data.method == "NCE") & (data.m == 500)].iloc[0]
    assert (chosen.bias, chosen.sd) == pytest.approx((math.sqrt(16 / 500), math.sqrt(400 / 500)), abs=1e-4)
    assert "Norm of the exact gradient in the output layer: 0.2 to 0.25" in texts[0]
    assert f"Mean of log sum exp z here: 0 to 1.2 ({STATES[states[0]]})" in texts[-2]


def test_without_a_measurement_there_is_a_sentence(tmp_path: Path) -> None:
    (block,) = noise_blocks(known_results(tmp_path, None))
    assert isinstance(block, Paragraph)
    assert block.text == "Bias and variance of the gradients are not yet measured."


def test_a_damaged_measurement_counts_as_missing(tmp_path: Path) -> None:
    results = with_states(tmp_path, "start")
    (store.folder_of(identity("start"), tmp_path) / "result.json").write_text("{")
    assert len(noise_blocks(results)) == 1


def mark(**changed: Any) -> NoiseMark:
    known = {"state": "start", "method": "NCE", "proposal": "unigram", "num": 20}
    return NoiseMark(**(known | {"bias": 0.3, "low": 0.2, "high": 0.4, "sd": 0.5} | changed))


def test_a_bias_that_is_not_shown_is_drawn_at_its_upper_end() -> None:
    marks = [mark(), mark(num=100, bias=0.01, low=0.0, high=0.05, sd=0.2), mark(state="trained", num=100)]
    picture = noise_picture(marks, "noise", "the features", 100, "Setting.")
    axes = picture.drawing.function(*picture.drawing.arguments).axes
    assert [one.get_title(loc="left") for one in axes] == ["start", "trained"]
    drawn = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes[0].lines
        if line.get_marker() != "None"
    }
    assert drawn == {(0.5, 0.3), (0.2, 0.05)}
    fills = [line.get_markerfacecolor() for line in axes[0].lines if line.get_marker() != "None"]
    assert [fill == "white" for fill in fills] == [False, True]
    assert "Hollow: the interval of the bias has 0" in picture.caption
    assert picture.caption.endswith("Setting.")
    assert picture.alt.endswith(
        "Start, m=100: NCE, unigram: bias below 0.05, sd 0.2. Trained, m=100: NCE, unigram: bias 0.3, sd 0.5."
    )
    alone = noise_picture([mark()], "noise", "the features", 100, "Setting.")
    assert "Hollow" not in alone.caption
    assert "Start, m=100: no point." in alone.alt


def test_bias_and_sd_of_0_leave_a_figure() -> None:
    none = mark(bias=0.0, low=0.0, high=0.0, sd=0.0)
    picture = noise_picture([none], "noise", "the features", 20, "Setting.")
    svg = saved(picture.drawing.function(*picture.drawing.arguments), "svg", "noise")
    assert re.search(rb"relative bias", svg)
