"""The figure of accuracy over the learning rate, from curves made by hand."""

import math
from typing import Any

import numpy as np
import pytest
from drawn import check, figure_of, legend_of, points, words
from matplotlib.axes import Axes

from lossbench.report.lr_figure import lr_curves
from lossbench.report.rows import LrCurve
from lossbench.report.style import STYLES

NAN = math.nan


def curve(loss: str, *accuracies: Any, **changes: Any) -> LrCurve:
    """A curve with one run a point, or as many as a tuple has."""
    lrs = (0.003, 0.01, 0.03, 0.1)[: len(accuracies)]
    runs = tuple(one if isinstance(one, tuple) else (one,) for one in accuracies)
    given: dict[str, Any] = {"dataset": "KMNIST", "best": None, "at_edge": False, "scaled_lr": None, "chance": 0.1}
    return LrCurve(loss=loss, lrs=lrs, accuracies=runs, **given | changes)


def lines(axes: Axes, loss: str) -> list[list[tuple[float, float]]]:
    """The lines of a loss without its marks: its curve, and what is in the strip."""
    found = points(axes, loss, STYLES[loss]["marker"])
    return [[(x, y) for x, y in line if math.isfinite(y)] for line in found]


def overlap(axes: Axes) -> bool:
    """Whether two of the tick labels at the left touch each other."""
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_learning_rates_show_errors_best_and_edge() -> None:
    curves = [
        curve("LGL", 0.90, 0.92, 0.94, 0.95, best=0.1, at_edge=True, scaled_lr=0.0594),
        curve("SML", 0.95, None, 0.1, NAN, best=0.003, scaled_lr=0.0421),
        curve("LGL-INR", None, 0.96, NAN, 0.14, scaled_lr=0.00238),
    ]
    picture = lr_curves(curves, 0.01)
    figure = check(picture)
    (axes,) = figure.axes
    assert axes.get_title() == "KMNIST"
    assert (axes.get_xscale(), axes.get_yscale(), axes.yaxis_inverted()) == ("log", "log", True)
    best = [(0.003, 10), (0.01, 8), (0.03, 6), (0.1, 5)]
    shown, strip = lines(axes, "LGL")
    assert np.array(shown) == pytest.approx(np.array(best))
    assert strip == []
    places = {loss: [x for x, _ in lines(axes, loss)[1]] for loss in ("SML", "LGL-INR")}
    assert places == {"SML": [0.03, 0.1], "LGL-INR": [0.03, 0.1]}  # at chance and diverged alike
    heights = [{y for _, y in lines(axes, loss)[1]} for loss in ("SML", "LGL-INR")]
    assert [len(found) for found in heights] == [1, 1]
    assert 10 < heights[0].pop() < heights[1].pop() < axes.get_ylim()[0]
    rings = [line for line in axes.lines if line.get_markersize() == 12]
    assert [(list(line.get_xdata()), line.get_color()) for line in rings] == [  # type: ignore[arg-type]
        ([0.1], STYLES["LGL"]["color"]),
        ([0.003], STYLES["SML"]["color"]),
    ]
    bars = {loss: points(axes, loss, "|")[0][0] for loss in STYLES if loss in ("LGL", "SML", "LGL-INR")}
    assert {loss: x for loss, (x, _) in bars.items()} == {"LGL": 0.0594, "SML": 0.0421, "LGL-INR": 0.00238}
    part = math.log(0.0594 / 0.03) / math.log(0.1 / 0.03)
    assert bars["LGL"][1] == pytest.approx(6 ** (1 - part) * 5**part)
    assert bars["LGL-INR"][1] == pytest.approx(4)  # beyond its end, as high as that
    assert axes.get_xlim()[0] < 0.00238
    assert words(axes) == ["at chance or diverged"]
    assert not overlap(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.003", "0.01", "0.03", "0.1"]
    signs = ["the paper's rate, 0.01", "its own rate", "gradient norm matched"]
    assert legend_of(figure) == ["LGL", "SML", "LGL-INR", *signs]
    assert "KMNIST, LGL, best at 0.1 (at the edge): 90.00 % at 0.003, 92.00 % at 0.01 (the paper)," in picture.alt
    assert "KMNIST, SML, best at 0.003: 95.00 % at 0.003, at chance or diverged at 0.03," in picture.alt
    assert "one run a point" in picture.caption
    assert "within 5 points of guessing" in picture.caption
    assert picture.data is not None
    sml = picture.data.query("loss == 'SML'")
    assert sml["learning_rate"].tolist() == [0.003, 0.03, 0.1]
    assert sml["state"].tolist() == ["", "at chance", "diverged"]
    assert sml["accuracy_percent"].tolist() == pytest.approx([95, 10, NAN], nan_ok=True)
    assert set(sml["matched_learning_rate"]) == {0.0421}


def test_an_axis_ends_at_the_worst_run_that_has_learned() -> None:
    learned = figure_of(lr_curves([curve("SML", 0.9, 0.95, 0.1)], 0.01)).axes[0]
    low = figure_of(lr_curves([curve("SML", 0.9, 0.95, 0.16)], 0.01)).axes[0]
    assert [float(label.get_text()) for label in learned.get_yticklabels()][-1] == 90
    assert learned.get_ylim()[0] < 15
    assert low.get_ylim()[0] > 84


def test_several_runs_a_point_give_their_mean_and_what_is_lost() -> None:
    picture = lr_curves([curve("LGL", (0.90, 0.92, None), (0.95, 0.1, NAN), (None, None, None), best=0.01)], 0.01)
    (axes,) = check(picture).axes
    shown, strip = lines(axes, "LGL")
    assert np.array(shown) == pytest.approx(np.array([(0.003, 9), (0.01, 5)]))
    assert [x for x, _ in strip] == [0.01]
    assert "mean of up to 3 runs a point" in picture.caption
    assert "91.00 % at 0.003, 95.00 % or at chance or diverged at 0.01 (the paper)." in picture.alt
    assert picture.data is not None
    assert picture.data["run"].tolist() == [1, 2, 1, 2, 3]


def test_learning_rates_without_runs_are_missing_and_nothing_is_scaled() -> None:
    curves = [curve("LGL", 0.956, 0.957, 1.0), curve("LGL", None, None, dataset="FMNIST")]
    picture = lr_curves(curves, 0.01)
    figure = check(picture)
    known, missing = figure.axes
    assert [y for _, y in lines(known, "LGL")[0]] == pytest.approx([4.4, 4.3, 0.01])
    assert words(missing) == ["at chance or diverged", "missing"]
    assert "FMNIST, LGL: missing." in picture.alt
    assert "gradient norm matched" not in legend_of(figure)
    assert "loss times" not in picture.caption


def test_panels_stand_three_in_a_row() -> None:
    figure = check(lr_curves([curve("SML", 0.9, 0.95, dataset=name) for name in "abcd"], 0.01))
    boxes = [axes.get_position() for axes in figure.axes]
    assert len({round(box.y0, 6) for box in boxes[:3]}) == 1
    assert boxes[3].x0 == pytest.approx(boxes[0].x0)
    assert boxes[3].y1 < boxes[0].y0
    assert [axes.get_ylabel() != "" for axes in figure.axes] == [True, False, False, True]


@pytest.mark.parametrize("accuracies", [(0.95, 0.956, 0.957), (0.9, 0.97, 0.2), (0.7, 0.9, 0.1), (0.999, 0.9995, 0.5)])
def test_an_axis_of_errors_has_marks_that_can_be_read(accuracies: tuple[float, ...]) -> None:
    axes = figure_of(lr_curves([curve("SML", *accuracies)], 0.01)).axes[0]
    ticks = {
        round(float(tick), 4): label.get_text()
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    assert 3 <= len(ticks) <= 18
    assert all(float(label) == pytest.approx(100 - tick, abs=1e-3) for tick, label in ticks.items())
    assert not overlap(axes)
