"""Cost by the number of classes in the study of many classes: slopes, ratios, and what is shown of parts of it."""

import math
from pathlib import Path
from typing import Any

import pytest

from lossbench.report.blocks import Paragraph, Picture, Table
from lossbench.report.style import styles_of_groups
from lossbench.runs import measurements as store
from lossbench.studies.many_classes.step_costs import (
    BASELINE,
    METHODS,
    ROUNDS,
    SIZES,
    CostOf,
    Growth,
    cost,
    cost_blocks,
    costs,
    identity,
    measurements,
    told,
)
from lossbench.studies.results import Results, known_results

FULL = ("cross_entropy", "full_softmax", "lgl", "lgl_inr", "sparsemax")


def invented(num: int, noise: float = 0.01) -> dict[str, Any]:
    """Full losses take K / 1000 ms in the median, twice that with LGL-INR; all others 0.5 ms."""
    found = {}
    for one in METHODS:
        middle = (2 if one.name == "lgl_inr" else 1) * num / 1000 if one.name in FULL else 0.5
        wobble = [1 + noise * (nth - ROUNDS // 2) * (1 if num < 5000 else -1) for nth in range(ROUNDS)]
        found[one.name] = {
            "ms": [middle * factor for factor in wobble],
            "baseline_ms": [num / 1000 * factor for factor in wobble],
            "mb": 3 * num / 1000 if one.name in FULL else 0.25,
            "mflop": float(num),
        }
    return {"losses": found, "device": "a processor", "torch": "2.15.0"}


def with_sizes(folder: Path, *sizes: int, **changed: Any) -> Results:
    for num in sizes:
        store.write(identity(num), folder, invented(num) | changed)
    return known_results(folder, None)


def test_there_is_a_measurement_for_each_number_of_classes() -> None:
    assert [one.id for one in measurements()] == [identity(num).id for num in SIZES]
    assert len({one.id for one in measurements()}) == 5
    assert METHODS[0].name == BASELINE
    assert METHODS[0].loss is None
    assert len({one.name for one in METHODS}) == len(METHODS) == 13


def test_numbers_of_a_method_are_medians_over_its_turns(tmp_path: Path) -> None:
    found = cost(with_sizes(tmp_path, *SIZES), "lgl_inr")
    assert found.sizes == list(SIZES)
    assert found.ms(10_000) == pytest.approx(20)
    assert found.ratios(100) == pytest.approx([2.0] * ROUNDS)
    assert found.ratio(100) == pytest.approx(2)
    assert (found.mb(1000), found.mflop(100)) == pytest.approx((3, 100))


def test_slopes_are_least_squares_of_each_repetition(tmp_path: Path) -> None:
    results = with_sizes(tmp_path, *SIZES)
    full, flat = (cost(results, name).growth for name in ("lgl", "nce_100"))
    assert full is not None
    assert flat is not None
    assert (full.n, flat.n) == (ROUNDS, ROUNDS)
    assert full.slope == pytest.approx(1, abs=1e-3)
    assert flat.slope == pytest.approx(0, abs=1e-3)
    # over three places at equal distances the slope is that between the ends
    wobble = [1 + 0.01 * (nth - 4) for nth in range(ROUNDS)]
    slopes = [1 + math.log((2 - one) / one) / math.log(100) for one in wobble]
    mean = sum(slopes) / ROUNDS
    sd = math.sqrt(sum((one - mean) ** 2 for one in slopes) / (ROUNDS - 1))
    assert full.slope == pytest.approx(mean)
    assert full.high - full.slope == pytest.approx(2.306 * sd / 3, rel=1e-3)
    assert full.slope - full.low == pytest.approx(2.306 * sd / 3, rel=1e-3)
    assert cost(results, "lgl").growth_from(10) is not None


def test_without_a_size_there_is_no_slope(tmp_path: Path) -> None:
    found = cost(with_sizes(tmp_path, 10, 1000, 10_000), "lgl")
    assert found.growth is None
    assert math.isnan(found.ms(100_000))
    assert math.isnan(found.ratio(100_000))
    assert math.isnan(found.mb(100))
    assert told(found.growth) == "–"
    assert told(Growth(0.5, math.nan, math.nan, 1)) == "0.50"
    assert told(Growth(0.987, 0.951, 1.01, 9)) == "0.99 (0.95 to 1.01)"


def texts(results: Results) -> list[str]:
    return [block.text for block in cost_blocks(results) if isinstance(block, Paragraph)]


def test_all_sizes_give_a_picture_and_a_table(tmp_path: Path) -> None:
    blocks = cost_blocks(with_sizes(tmp_path, *SIZES))
    about, picture, table, sizes = blocks
    assert isinstance(about, Paragraph)
    assert isinstance(picture, Picture)
    assert isinstance(table, Table)
    assert isinstance(sizes, Table)
    assert "one thread of a processor, torch 2.15.0; n=9 repetitions" in picture.caption
    assert "LGL-INR: 0.02 ms and 0.03 MB with K=10, 200 ms and 300 MB with K=100,000." in picture.alt
    assert "NCE, m=100: 0.5 ms and 0.25 MB with K=10, 0.5 ms and 0.25 MB with K=100,000." in picture.alt
    assert picture.data is not None
    assert len(picture.data) == len(METHODS) * len(SIZES)
    row = table.frame.loc["LGL-INR"]
    assert row["ms, K=10"] == "0.02"
    assert row["ms, K=100,000"] == "200"
    assert row["Times cross-entropy, K=100,000"] == "2 (2 to 2)"
    of_sizes = sizes.frame.loc["LGL-INR"].to_dict()
    assert of_sizes == {
        "MB, K=10": "0.03",
        "MB, K=100,000": "300",
        "MFLOP, K=10": "10",
        "MFLOP, K=100,000": "100,000",
    }
    assert row["Slope from K=1,000"].startswith("1.00 (0.9")
    assert table.frame.loc["NCE, m=100"]["Times cross-entropy, K=100,000"].startswith("0.005 (")


def test_parts_of_it_are_shown_with_what_is_missing(tmp_path: Path) -> None:
    assert texts(known_results(tmp_path / "none", None)) == [
        "The cost of a step by the number of classes is not yet measured."
    ]
    one = with_sizes(tmp_path / "one", 100)
    assert texts(one)[1] == "Not yet measured: 10, 1,000, 10,000 and 100,000 classes."
    table, sizes = (block for block in cost_blocks(one) if isinstance(block, Table))
    assert list(sizes.frame.columns) == ["MB, K=100", "MFLOP, K=100"]
    assert list(table.frame.columns).count("ms, K=100") == 1
    assert table.frame.loc["LGL"]["Slope from K=1,000"] == "–"
    store.write(identity(10), tmp_path / "one", invented(10) | {"device": "another"})
    both = known_results(tmp_path / "one", None)
    assert "Not all numbers of classes were measured on the same kind of machine." in texts(both)[0]
    assert any("another and a processor" in block.caption for block in cost_blocks(both) if isinstance(block, Table))


def test_a_loss_that_failed_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    results = with_sizes(tmp_path, 10, 1000)
    broken = invented(100)
    broken["losses"]["adaptive_softmax"] = {"failed": "ValueError: too few classes"}
    store.write(identity(100), tmp_path, broken)
    assert texts(results)[-1] == "Failed: Adaptive softmax with 100 classes."
    found = cost(results, "adaptive_softmax")
    assert found.sizes == [10, 1000]
    assert found.failed == {100: "ValueError: too few classes"}
    everywhere = {num: {"failed": "ValueError: no"} for num in SIZES}
    assert CostOf(METHODS[-1], everywhere).sizes == []


def test_the_figure_has_a_line_for_each_loss(tmp_path: Path) -> None:
    picture = next(block for block in cost_blocks(with_sizes(tmp_path, *SIZES)) if isinstance(block, Picture))
    figure = picture.drawing.function(*picture.drawing.arguments)
    time, memory = figure.axes
    assert len(time.lines) == len(memory.lines) == len(METHODS)
    lgl = time.lines[[one.name for one in METHODS].index("lgl")]
    assert lgl.get_xdata().tolist() == list(SIZES)
    assert lgl.get_ydata() == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert len(costs(known_results(tmp_path, None))) == len(METHODS)


def test_labels_of_a_group_share_a_colour_and_no_marker() -> None:
    found = styles_of_groups({"a": "one", "b": "two", "c": "one"} | {f"d{n}": "one" for n in range(12)})
    assert found["a"]["color"] == found["c"]["color"] != found["b"]["color"]
    assert found["a"]["marker"] == found["b"]["marker"] != found["c"]["marker"]
    ones = [(style["marker"], "markerfacecolor" in style) for label, style in found.items() if label != "b"]
    assert len(set(ones)) == len(ones) == 14
