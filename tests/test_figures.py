"""Figures from inputs made by hand: what lines, dots, bars and texts hold, and what is told where runs are missing."""

import hashlib
import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from lossbench.report.blocks import Picture
from lossbench.report.plots import (
    CellRow,
    ComparisonRow,
    LrCurve,
    PropertyRow,
    cells_beside_paper,
    comparisons,
    learning_property,
    lr_curves,
)
from lossbench.report.style import STYLES
from lossbench.runs.records import Record
from lossbench.statistics.inference import Difference, Pairs, Spread, paired_t, prediction_interval
from lossbench.studies.aaai20.grid import figure_cells
from lossbench.studies.aaai20.sections.figures import Confusions, confusions, figure1, figure1_classes, figure2
from lossbench.studies.tables import Filled

NAN = math.nan


def check(picture: Picture) -> None:
    """Fits on a page, can be read on any background, and is drawn without a warning."""
    figure = picture.figure
    figure.draw_without_rendering()
    assert type(figure) is Figure
    assert figure.get_size_inches()[0] <= 10
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]
    assert min(float(text.get_fontsize()) for text in texts) >= 8
    assert all(line.get_color() != "white" for line in figure.findobj(Line2D) if isinstance(line, Line2D))
    boxes = [legend.get_frame_on() for axes in figure.axes if (legend := axes.get_legend())]
    assert not any([*boxes, *(legend.get_frame_on() for legend in figure.legends)])
    assert picture.caption.endswith(".")
    assert "nan" not in picture.alt


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def points(axes: Axes, loss: str, marker: str | None = None) -> list[list[Any]]:
    """The lines in a loss's colour: their points, those with a given marker only."""
    found = [line for line in axes.lines if line.get_color() == STYLES[loss]["color"]]
    found = [line for line in found if marker in (None, line.get_marker())]
    return [[tuple(point) for point in np.asarray(line.get_xydata()).tolist()] for line in found]


def overlap(axes: Axes) -> bool:
    """Whether two of the tick labels at the left touch each other."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def curve(loss: str, *accuracies: float | None, **changes: Any) -> LrCurve:
    lrs = (0.003, 0.01, 0.03, 0.1)[: len(accuracies)]
    given: dict[str, Any] = {"dataset": "KMNIST", "best": None, "at_edge": False, "scaled_lr": None} | changes
    return LrCurve(loss=loss, lrs=lrs, accuracies=accuracies, **given)


def test_learning_rates_show_errors_best_and_edge() -> None:
    curves = [
        curve("LGL", 0.90, 0.92, 0.94, 0.95, best=0.1, at_edge=True, scaled_lr=0.0594),
        curve("SML", 0.95, None, 0.1, NAN, best=0.003, scaled_lr=0.0421),
        curve("LGL-INR", None, None, NAN, NAN, scaled_lr=0.00238),
    ]
    picture = lr_curves(curves, 0.01)
    check(picture)
    strip, axes = picture.figure.axes
    assert strip.get_title() == "KMNIST"
    assert (axes.get_xscale(), axes.get_yscale(), axes.yaxis_inverted()) == ("log", "log", True)
    line, scaled, ring, *_ = points(axes, "LGL")
    assert line == [
        (0.003, pytest.approx(10)),
        (0.01, pytest.approx(8)),
        (0.03, pytest.approx(6)),
        (0.1, pytest.approx(5)),
    ]
    assert {x for x, _ in scaled} == {0.0594}
    assert ring == [(0.1, pytest.approx(5))]
    assert [y for _, y in points(axes, "SML")[0]] == pytest.approx([5, NAN, 90, NAN], nan_ok=True)
    assert [x for (x, _), *_ in points(axes, "SML", "x")] == [0.1]
    assert [x for x, _ in points(axes, "LGL-INR", "x")[0]] == [0.03, 0.1]
    assert points(axes, "LGL", "x") == [[]]
    height = points(axes, "LGL-INR", "x")[0][0][1]
    assert 90 < points(axes, "SML", "x")[0][0][1] < height < axes.get_ylim()[0]
    assert axes.get_yticklabels()[-1].get_text() == "diverged"
    assert axes.get_yticks()[-1] == pytest.approx(points(axes, "SML", "x")[0][0][1])  # the middle one of three rows
    assert {label.get_text() for label in axes.get_yticklabels()} >= {"95", "93", "90", "50", "30"}
    assert not overlap(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.003", "0.01", "0.03", "0.1"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "LGL, best at 0.1 (at the edge)",
        "SML, best at 0.003",
        "LGL-INR",
    ]
    assert words(strip) == ["LGL × 5.94", "SML × 4.21", "LGL-INR × 0.238"]
    assert [[x for x, _ in points(strip, loss)[0]] for loss in STYLES] == [
        [0.01, 0.0594],
        [0.01, 0.0421],
        [0.01, 0.00238],
    ]
    assert axes.get_xlim()[0] < 0.00238
    assert "KMNIST, SML, best at 0.003; 95.00 % at 0.003, 10.00 % at 0.03, diverged at 0.1." in picture.alt
    assert "KMNIST, LGL-INR: diverged at 0.03, diverged at 0.1." in picture.alt
    assert "n=1 a point" in picture.caption


def test_learning_rates_without_runs_are_missing_and_nothing_is_scaled() -> None:
    curves = [curve("LGL", 0.956, 0.957, 1.0), curve("LGL", None, None, dataset="FMNIST")]
    picture = lr_curves(curves, 0.01)
    check(picture)
    _, axes, _, missing = picture.figure.axes
    assert [y for _, y in points(axes, "LGL")[0]] == pytest.approx([4.4, 4.3, 0.01])
    assert "diverged" not in [label.get_text() for label in axes.get_yticklabels()]
    assert words(missing) == ["missing"]
    legend = missing.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["LGL, missing"]
    assert "FMNIST, LGL: missing." in picture.alt
    assert "loss times" not in picture.caption


@pytest.mark.parametrize("accuracies", [(0.95, 0.956, 0.957), (0.9, 0.97, 0.2), (0.7, 0.9, 0.1), (0.999, 0.9995, 0.5)])
def test_an_axis_of_errors_has_marks_that_can_be_read(accuracies: tuple[float, ...]) -> None:
    axes = lr_curves([curve("SML", *accuracies)], 0.01).figure.axes[1]
    ticks = {
        round(float(tick), 4): label.get_text()
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    assert 3 <= len(ticks) <= 18
    assert all(float(label) == pytest.approx(100 - tick, abs=1e-3) for tick, label in ticks.items())
    assert not overlap(axes)


def cell(dataset: str, network: str, loss: str, *values: float | None, **changes: Any) -> CellRow:
    row = CellRow(dataset, network, loss, prediction_interval(values, Spread(0.01, 4)), 0.9, "consistent")
    return replace(row, **changes)


def segments(axes: Axes) -> list[list[float]]:
    """From where to where the horizontal intervals go."""
    return [
        [round(float(x), 6) for x, _ in segment]
        for lines in axes.collections
        for segment in lines.get_segments()  # type: ignore[attr-defined]
    ]


def test_cells_beside_the_paper() -> None:
    half = 100 * prediction_interval([0.9, 0.92], Spread(0.01, 4)).half_width
    rows = [
        cell("KMNIST", "CNN2C", "LGL", 0.9, 0.92, None, NAN),
        cell("KMNIST", "CNN5C", "LGL", outcome="too few"),
        cell("KMNIST", "CNN2C", "SML", NAN, NAN, outcome="too few"),
        cell("MNIST", "CNN2C", "SML", 0.99, prediction=prediction_interval([0.99]), outcome="too few"),
    ]
    picture = cells_beside_paper(rows)
    check(picture)
    first, second = picture.figure.axes
    assert [first.get_title(), second.get_title()] == ["KMNIST", "MNIST"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["CNN2C  LGL", "CNN2C  SML", "CNN5C  LGL"]
    assert words(first) == [f"consistent ±{half:.2f}, n=2, 1 failed", "2 failed", "missing"]
    assert segments(first) == [[round(91 - half, 6), round(91 + half, 6)]]
    (ours,) = points(first, "LGL", "s")
    assert ours == [(pytest.approx(91), 0)]
    diamonds = [line for line in first.lines if line.get_marker() == "D"]
    assert [(line.get_xdata(), line.get_ydata()) for line in diamonds] == [([90], [y]) for y in (0, 1, 2)]
    assert words(second) == ["too few, n=1"]
    assert points(second, "SML", "o") == [[(99, 0)]]
    assert segments(second) == []
    assert f"KMNIST, CNN2C, LGL: 91.00 %, consistent ±{half:.2f}, n=2, 1 failed, paper 90.00 %." in picture.alt
    assert "KMNIST, CNN5C, LGL: missing, paper 90.00 %." in picture.alt


def test_cells_without_a_number_of_the_paper_and_beyond_100_percent() -> None:
    picture = cells_beside_paper([cell("digits", "CNN2C", "SML", 0.99, 0.98, paper=None, outcome=None)])
    check(picture)
    (axes,) = picture.figure.axes
    assert axes.get_xlim()[1] == 100
    assert not [line for line in axes.lines if line.get_marker() == "D"]
    assert words(axes)[0].startswith("±")
    assert "paper" not in picture.alt.removeprefix("Our runs beside the paper") + picture.caption


def test_comparisons_show_interval_margin_and_word() -> None:
    ours = Difference(5, 0.004, 0.001, 0.003, 0.005, 0.001)
    rows = [
        ComparisonRow("LGL-INR - SML", "CNN2C, KMNIST", ours, 0.0025, "higher"),
        ComparisonRow(
            "LGL-INR - SML", "CNN2C, MNIST", replace(ours, mean=0.0, low=-0.001, high=0.001), 0.001, "equivalent"
        ),
        ComparisonRow("LGL - SML", "CNN2C, KMNIST", paired_t(Pairs((-0.01,), 0, 0)), 0.0025, "too few"),
        ComparisonRow("LGL - SML", "CNN5C, KMNIST", paired_t(Pairs((), 0, 0)), 0.0025, "too few"),
    ]
    picture = comparisons(rows)
    check(picture)
    first, second = picture.figure.axes
    assert [axes.get_title() for axes in picture.figure.axes] == ["LGL-INR - SML", "LGL - SML"]
    assert words(first) == ["higher, n=5", "equivalent, n=5"]
    assert words(second) == ["too few, n=1", "missing"]
    assert segments(first) == [[0.3, 0.5], [-0.1, 0.1]]
    assert segments(second) == []
    bands = [(patch.get_x(), patch.get_width()) for patch in first.patches]  # type: ignore[attr-defined]
    assert bands == [pytest.approx((-0.25, 0.5)), pytest.approx((-0.1, 0.2))]
    assert first.get_xlim()[0] < -0.25
    higher, equivalent = [line for line in first.lines if line.get_marker() in ("o", "s")]
    assert (higher.get_marker(), higher.get_xdata(), higher.get_ydata()) == ("o", [0.4], [0])
    assert (equivalent.get_marker(), equivalent.get_ydata()) == ("s", [1])
    (few,) = [line for line in second.lines if line.get_marker() == "o"]
    assert (few.get_xdata(), few.get_markerfacecolor(), higher.get_markerfacecolor()) == ([-1], "none", "black")
    assert second.get_xlim()[0] < -1 < 0 < second.get_xlim()[1]
    assert "LGL-INR - SML, CNN2C, KMNIST: +0.40 points, higher, n=5." in picture.alt
    assert "LGL - SML, CNN5C, KMNIST: missing." in picture.alt


def test_both_sides_of_the_property_meet_on_the_diagonal() -> None:
    rows = [
        PropertyRow("LGL", "train", 0, 0.02, 0.01),
        PropertyRow("LGL", "train", 1, 0.03, 0.03),
        PropertyRow("LGL", "train", 2, 0.0, 0.03),
        PropertyRow("SML", "test", 0, 0.5, NAN),
        PropertyRow("SML", "test", 1, 0.5, 0.25),
    ]
    picture = learning_property(rows, ("LGL", "SML", "LGL-INR"))
    check(picture)
    train, test = picture.figure.axes
    assert points(train, "LGL", "s") == [[(0.01, 0.02), (0.03, 0.03)]]
    assert points(test, "SML", "o") == [[(0.25, 0.5)]]
    assert (train.get_xlim(), train.get_xscale(), train.get_yscale()) == (train.get_ylim(), "log", "log")
    legend = test.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["LGL, missing", "SML, n=1", "LGL-INR, missing"]
    assert "2 without two positive numbers, not drawn" in picture.caption
    assert "LGL, train: n=2, left over right from 1 (class 1) to 2 (class 0)." in picture.alt
    empty = learning_property([], ("LGL", "SML", "LGL-INR"))
    check(empty)
    assert "not drawn" not in empty.caption
