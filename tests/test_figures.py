"""Figures of results from rows made by hand: what is drawn, what the CSV holds, and what is said without runs."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn import check, finite, legend_of, points, words
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lossbench.report.cells_figure import cells_beside_paper
from lossbench.report.finding_figure import finding
from lossbench.report.intervals import comparisons, even_weights, leads
from lossbench.report.property_figure import learning_property
from lossbench.report.rows import (
    CellRow,
    ComparisonRow,
    Estimate,
    FindingRow,
    LeadRow,
    PropertyRow,
    WeightRow,
)
from lossbench.statistics.inference import Difference, Pairs, Spread, paired_t, prediction_interval

NAN = math.nan


def segments(axes: Axes) -> list[list[float]]:
    """From where to where the horizontal intervals go, from the top."""
    found = [
        (float(segment[0][1]), [round(float(x), 6) for x, _ in segment])
        for lines in axes.collections
        for segment in lines.get_segments()  # type: ignore[attr-defined]
    ]
    return [ends for _, ends in sorted(found)]


def marks(axes: Axes) -> list[Line2D]:
    """The single markers in black, from the top."""
    found = [line for line in axes.lines if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1]  # type: ignore[arg-type]
    return sorted(found, key=lambda line: float(np.asarray(line.get_ydata())[0]))


def values(lines: Sequence[Line2D]) -> list[float]:
    return [round(float(np.asarray(line.get_xdata())[0]), 6) for line in lines]


def bands(axes: Axes) -> list[Any]:
    """Where the margins begin and how wide they are."""
    return [(patch.get_x(), patch.get_width()) for patch in axes.patches]  # type: ignore[attr-defined]


def labels(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def exact(mean: float, half: float = 0.001, n: int = 5) -> Estimate:
    return Estimate(mean, mean - half, mean + half, n)


FINDINGS = [
    FindingRow("MNIST", "SML", exact(0.99), exact(0.992, 0.002), 0.1, 0.9909),
    FindingRow("KMNIST", "LGL", exact(0.91), exact(0.965), 1.0, 0.9437, exact(0.95, NAN, 1)),
    FindingRow("KMNIST", "LGL-INR", exact(0.962), exact(0.962), 0.01, 0.9643),
]


def test_the_finding_shows_both_learning_rates_and_the_papers_number() -> None:
    picture = finding(FINDINGS, 0.01)
    (axes,) = check(picture).axes
    assert labels(axes) == ["SML", "LGL", "LGL-INR"]
    assert words(axes) == ["MNIST", "KMNIST", "0.1", "1", "0.01", "own lr"]
    dumbbell, *single = points(axes, "LGL", "None"), *points(axes, "LGL", "o")
    assert dumbbell == [[(pytest.approx(91), 3), (pytest.approx(96.5), 3)]]
    assert single == [[(pytest.approx(91), 3)], [(pytest.approx(96.5), 3)]]
    hollow, filled = (line for line in axes.lines if line.get_marker() == "o" and line.get_ydata() == [3])
    assert (hollow.get_markerfacecolor(), filled.get_markerfacecolor()) == ("white", filled.get_color())
    assert points(axes, "LGL", "x") == [[(95, pytest.approx(2.65))]]  # above its row
    ticks = [(line.get_xdata(), line.get_ydata()) for line in axes.lines if line.get_marker() == "|"]
    assert ticks == [([pytest.approx(99.09)], [1]), ([pytest.approx(94.37)], [3]), ([pytest.approx(96.43)], [4])]
    ends = [[98.9, 99.1], [99.0, 99.4], [90.9, 91.1], [96.4, 96.6], [96.1, 96.3], [96.1, 96.3]]
    assert sorted(segments(axes)) == sorted(ends)  # none for the single run
    assert legend_of(axes.figure)[-1] == "LGL summed over classes"  # type: ignore[arg-type]
    assert picture.data is not None
    sml = picture.data.query("loss == 'SML'")
    assert sml["mark"].tolist() == ["at the paper's learning rate", "at its own learning rate"]
    assert sml["accuracy_percent"].tolist() == [99, 99.2]
    assert sml["low_percent"].tolist() == [98.9, 99.0]
    assert sml["own_learning_rate"].tolist()[1] == 0.1
    assert set(sml["paper_percent"]) == {99.09}
    assert len(picture.data) == 7
    assert len(picture.caption.split()) <= 45
    assert (
        "at its own learning rate, 1, 96.50 %; summed over classes 95.00 %; printed in the paper 94.37 %" in picture.alt
    )


def test_what_is_not_yet_run_is_said_in_its_row() -> None:
    rows = [
        replace(FINDINGS[0], at_own=None),
        replace(FINDINGS[1], at_paper=None, other_reading=None),
        replace(FINDINGS[2], at_paper=None, at_own=None, own_lr=None, paper=None),
    ]
    picture = finding(rows, 0.01)
    (axes,) = check(picture).axes
    told = words(axes)
    assert [one for one in told if "run" in one] == ["own lr not yet run", "paper's lr not yet run", "not yet run"]
    assert not [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 2]  # no dumbbell
    assert len(legend_of(axes.figure)) == 3  # type: ignore[arg-type]
    assert "LGL-INR: at the paper's learning rate not yet run" in picture.alt
    check(finding([], 0.01))


def lead(setting: str, seeds: str, mean: float, **changes: Any) -> LeadRow:
    row = LeadRow("LGL-INR - SML", "KMNIST", setting, seeds, exact(mean), 0.0025)
    return replace(row, **changes)


def test_leads_are_beside_the_margin_on_one_axis() -> None:
    rows = [
        lead("the paper's", "0 to 4", 0.012),
        lead("the paper's", "5 to 9", 0.013),
        lead("own", "0 to 4", 0.0005, lead=exact(0.0005, NAN, 1)),
        lead("own", "5 to 9", 0.004, dataset="MNIST", margin=0.001),
        lead("the paper's", "0 to 4", 0.05, contrast="LGL-INR - LGL"),
    ]
    picture = leads(rows)
    figure = check(picture)
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["LGL-INR - SML", "LGL-INR - LGL"]
    assert (labels(first), labels(second)) == (["KMNIST", "MNIST"], ["", ""])
    assert first.get_ylim() == second.get_ylim()
    shown = marks(first)
    assert values(shown) == [1.2, 1.3, 0.05, 0.4]
    assert [line.get_marker() for line in shown] == ["o", "s", "o", "s"]
    assert [line.get_markerfacecolor() for line in shown] == ["white", "white", "black", "black"]
    assert segments(first) == [[1.1, 1.3], [1.2, 1.4], [0.3, 0.5]]
    assert bands(first) == [pytest.approx((-0.25, 0.5)), pytest.approx((-0.1, 0.2))]
    assert bands(second) == [pytest.approx((-0.25, 0.5))]
    told = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert told == ["the paper's", "own", "seeds 0 to 4", "seeds 5 to 9", "margin"]
    assert picture.data is not None
    assert picture.data["lead_points"].tolist() == [1.2, 1.3, 0.05, 0.4, 5]
    assert picture.data["margin_points"].tolist() == [0.25, 0.25, 0.25, 0.1, 0.25]
    assert picture.data["low_points"].tolist() == pytest.approx([1.1, 1.2, NAN, 0.3, 4.9], nan_ok=True)
    assert picture.data["n"].tolist() == [5, 5, 1, 5, 5]
    assert "Hollow: the paper's; filled: own." in picture.caption
    assert "LGL-INR - SML, KMNIST, own, seeds 0 to 4: +0.05, n=1." in picture.alt
    check(leads([]))


def test_weights_are_compared_with_even_ones() -> None:
    rows = [
        WeightRow("KMNIST", 8.0, "0 to 2", exact(0.002), 0.0025),
        WeightRow("KMNIST", 1.0, "0 to 2", exact(-0.0005), 0.0025),
        WeightRow("MNIST", 1.0, "0 to 2", exact(0.0001, n=3), 0.001),
    ]
    picture = even_weights(rows)
    kmnist, mnist = check(picture).axes
    assert labels(kmnist) == ["beta 1", "beta 8"]
    (line,) = [line for line in kmnist.lines if line.get_marker() == "o"]
    assert np.asarray(line.get_xydata()) == pytest.approx(np.array([(0.2, 1), (-0.05, 0)]))
    assert segments(kmnist) == [[-0.15, 0.05], [0.1, 0.3]]
    assert (bands(kmnist), bands(mnist)) == ([pytest.approx((-0.25, 0.5))], [pytest.approx((-0.1, 0.2))])
    assert kmnist.get_xlim() == mnist.get_xlim()
    assert kmnist.get_xlim()[0] < -0.25 < 0.3 < kmnist.get_xlim()[1]
    assert picture.data is not None
    assert picture.data["difference_points"].tolist() == [0.2, -0.05, 0.01]
    assert picture.data["beta"].tolist() == [8, 1, 1]
    assert "KMNIST, beta 8: +0.20 (+0.10 to +0.30), n=5." in picture.alt
    check(even_weights([]))


def cell(dataset: str, network: str, loss: str, *accuracies: float | None, **changes: Any) -> CellRow:
    row = CellRow(dataset, network, loss, prediction_interval(accuracies, Spread(0.01, 4)), 0.9, "consistent")
    return replace(row, **changes)


def test_cells_are_differences_to_the_papers_number() -> None:
    half = 100 * prediction_interval([0.9, 0.92], Spread(0.01, 4)).half_width
    rows = [
        cell("KMNIST", "CNN2C", "LGL", 0.9, 0.92, None, NAN),
        cell("KMNIST", "CNN5C", "LGL", outcome="too few"),
        cell("KMNIST", "CNN2C", "SML", NAN, NAN, outcome="too few"),
        cell("MNIST", "CNN2C", "SML", 0.99, prediction=prediction_interval([0.99]), outcome="too few"),
        cell("KMNIST", "CNN2C, beta 2", "LGL-INR", 0.89, prediction=prediction_interval([0.89])),
        cell("digits", "CNN2C", "LGL", 0.99, paper=None, outcome=None),
    ]
    picture = cells_beside_paper(rows)
    (axes,) = check(picture).axes
    assert labels(axes) == ["KMNIST", "MNIST", "KMNIST, beta 2"]
    assert words(axes) == ["CNN2C", "n=2, 1 failed", "n=1", "n=1"]
    assert segments(axes) == [[round(1 - half, 6), round(1 + half, 6)]]
    assert points(axes, "LGL", "s") == [[(pytest.approx(1), 1)]]
    assert points(axes, "SML", "o") == [[(pytest.approx(9), 2)]]
    assert points(axes, "LGL-INR", "^") == [[(pytest.approx(-1), 3)]]
    assert axes.get_xlim()[0] < 1 - half < 9 < axes.get_xlim()[1]
    assert legend_of(axes.figure) == ["LGL", "SML", "LGL-INR", "the paper's number"]  # type: ignore[arg-type]
    assert "Not yet run: CNN5C on KMNIST (LGL). All runs failed: CNN2C on KMNIST (SML)." in picture.caption
    assert "Not printed in the paper: CNN2C on digits (LGL)." in picture.caption
    assert f"KMNIST, CNN2C, LGL: 91.00 %, consistent ±{half:.2f}, n=2, 1 failed, paper 90.00 %." in picture.alt
    assert "KMNIST, CNN5C, LGL: missing, paper 90.00 %." in picture.alt
    assert "KMNIST, CNN2C, SML: 2 failed, paper 90.00 %." in picture.alt
    assert picture.data is not None
    assert picture.data["n"].tolist() == [2, 0, 0, 1, 1, 1]
    assert picture.data["accuracy_percent"].tolist() == pytest.approx([91, NAN, NAN, 99, 89, 99], nan_ok=True)
    assert picture.data["high_percent"][0] == pytest.approx(91 + half, abs=1e-4)
    assert picture.data["outcome"].tolist()[:2] == ["consistent", "too few"]


def test_losses_of_a_cell_do_not_cover_each_other() -> None:
    rows = [cell("KMNIST", "CNN2C", loss, 0.9, 0.92) for loss in ("LGL", "SML", "LGL-INR")]
    picture = cells_beside_paper(rows)
    (axes,) = check(picture).axes
    heights = [points(axes, loss)[0][0][1] for loss in ("LGL", "SML", "LGL-INR")]
    assert heights == [pytest.approx(0.72), pytest.approx(1), pytest.approx(1.28)]
    assert words(axes) == ["CNN2C", "n=2"]
    assert "Not" not in picture.caption
    check(cells_beside_paper([]))


CONDITIONS = {"paper": "the paper's learning rate", "own-lr": "each loss at its own", "literal": "the head as printed"}


def test_comparisons_of_a_contrast_share_an_axis() -> None:
    ours = Difference(5, 0.004, 0.001, 0.003, 0.005, 0.001)
    equivalent = replace(ours, mean=0.0, low=-0.001, high=0.001)
    rows = [
        ComparisonRow("LGL-INR - SML", "paper", "CNN2C KMNIST", ours, 0.0025, "higher"),
        ComparisonRow("LGL-INR - SML", "paper", "CNN2C MNIST", equivalent, 0.001, "equivalent"),
        ComparisonRow("LGL - SML", "paper", "CNN2C KMNIST", paired_t(Pairs((-0.01,), 0, 0)), 0.0025, "too few"),
        ComparisonRow("LGL - SML", "paper", "CNN5C KMNIST", paired_t(Pairs((), 0, 0)), 0.0025, "too few"),
        ComparisonRow("LGL-INR - SML", "own-lr", "CNN2C KMNIST", equivalent, 0.0025, "undecided"),
    ]
    picture = comparisons(rows, CONDITIONS)
    first, second = check(picture).axes
    assert [axes.get_title() for axes in (first, second)] == ["LGL-INR - SML", "LGL - SML"]
    assert labels(first) == ["paper", "own-lr", "paper"]  # the conditions of a cell stand together
    assert words(first) == ["CNN2C KMNIST", "CNN2C MNIST", "higher, n=5", "undecided, n=5", "equivalent, n=5"]
    assert words(second) == ["CNN2C KMNIST", "CNN5C KMNIST", "too few, n=1", "missing"]
    assert segments(first) == [[0.3, 0.5], [-0.1, 0.1], [-0.1, 0.1]]
    assert segments(second) == []
    assert bands(first) == [pytest.approx((-0.25, 0.5)), pytest.approx((-0.1, 0.2))]
    higher, undecided, same = marks(first)
    assert values([higher, undecided, same]) == [0.4, 0, 0]
    assert [line.get_marker() for line in (higher, undecided, same)] == ["o", "o", "s"]
    assert [line.get_markerfacecolor() for line in (higher, undecided, same)] == ["black", "white", "black"]
    (few,) = marks(second)
    assert (values([few]), few.get_markerfacecolor()) == ([-1], "white")
    assert second.get_xlim()[0] < -1 < 0 < second.get_xlim()[1]
    assert "LGL-INR - SML, CNN2C KMNIST, paper: +0.40 points, higher, n=5." in picture.alt
    assert "LGL - SML, CNN5C KMNIST, paper: missing." in picture.alt
    assert "Conditions: paper, the paper's learning rate; own-lr, each loss at its own." in picture.caption
    assert picture.data is not None
    assert picture.data["difference_points"].tolist() == pytest.approx([0.4, 0, -1, NAN, 0], nan_ok=True)
    assert picture.data["word"].tolist() == ["higher", "equivalent", "too few", "", "undecided"]


def side(loss: str, split: Any, name: str, left: float, right: float, cell: str = "CNN2C KMNIST") -> PropertyRow:
    return PropertyRow(cell, loss, split, name, left, right)


def test_both_sides_of_the_property_are_means_over_runs() -> None:
    rows = [
        side("LGL", "train", "o", 0.02, 0.01),
        side("LGL", "train", "ki", 0.03, 0.03),
        side("LGL", "train", "ki", 0.12, 0.03),
        side("LGL", "train", "su", 0.0, 0.03),
        side("SML", "test", "o", 0.5, NAN),
        side("SML", "test", "ki", 0.5, 0.25),
        side("SML", "test", "ki", 0.5, 0.5, "CNN2C MNIST"),
    ]
    picture = learning_property(rows, ("LGL", "SML", "LGL-INR"))
    train, test = check(picture).axes
    assert points(train, "LGL", "s") == [
        [(pytest.approx(0.01), pytest.approx(2)), (pytest.approx(0.03), pytest.approx(2))]
    ]
    assert points(test, "SML", "o") == [[(pytest.approx(0.25), pytest.approx(2)), (0.5, 1)]]
    assert finite(points(test, "LGL-INR", "^")[0]) == []
    assert (train.get_xlim(), train.get_ylim()) == (test.get_xlim(), test.get_ylim())
    assert (train.get_xscale(), train.get_yscale()) == ("log", "log")
    assert legend_of(train.figure) == ["LGL, n=2 and 0", "SML, n=0 and 2", "LGL-INR, missing"]  # type: ignore[arg-type]
    assert "2 values without two positive sides are left out" in picture.caption
    assert (
        "LGL, train: n=2, left over right from 2 (class o, CNN2C KMNIST) to 2 (class ki, CNN2C KMNIST)." in picture.alt
    )
    assert picture.data is not None
    ki = picture.data.query("loss == 'LGL' and `class` == 'ki'")
    assert (ki["left_hand_side"].tolist(), ki["n"].tolist()) == ([0.06], [2])
    empty = learning_property([], ("LGL", "SML", "LGL-INR"))
    check(empty)
    assert "left out" not in empty.caption
