"""Quality over the cost spent so far: means over runs, what is beyond the axis, and every state of the runs."""

import math
from typing import Any

import pytest

from lossbench.report.course_figure import CourseLine, CoursePoint, course_picture, mean_course
from lossbench.report.grouped_legend import legend_height, shortened


def test_means_are_over_runs_at_costs_that_all_have() -> None:
    first, second = [(1.0, 5.0), (2.0, 4.8), (3.0, 4.7)], [(2.0, 4.9), (1.0, 5.2)]
    assert mean_course([first, second]) == (CoursePoint(1.0, 5.1, 2), CoursePoint(2.0, pytest.approx(4.85), 2))
    assert mean_course([first]) == tuple(CoursePoint(cost, value, 1) for cost, value in first)
    assert mean_course([]) == ()
    assert mean_course([[(1.0, math.nan), (2.0, 4.0)], [(1.0, 5.0), (2.0, 5.0)]]) == (CoursePoint(2.0, 4.5, 2),)


def line(label: str, group: str, *values: float, step: float = 1.0) -> CourseLine:
    return CourseLine(label, group, tuple(CoursePoint(step * (n + 1), value, 5) for n, value in enumerate(values)))


COURSES = [
    line("SML", "full", 5.2, 5.0, 4.9),
    line("Sampled softmax", "sampled softmax", 5.4, 5.1, 5.0, step=0.06),
    line("Sampled softmax, uncorrected", "sampled softmax", 8.1, 7.8, 7.7, step=0.06),
    line("Adaptive softmax", "hierarchy"),
]


def picture(courses: list[CourseLine]) -> Any:
    return course_picture(courses, "course", "cost (epochs of SML)", "Austen, 3 epochs.")


def test_the_picture_says_its_numbers() -> None:
    found = picture(COURSES)
    assert "mean over runs (n=5). Beyond the axis: Sampled softmax, uncorrected. Austen, 3 epochs." in found.caption
    assert "SML: 5.200 at cost 1 to 4.900 at cost 3, n=5." in found.alt
    assert found.alt.endswith("Adaptive softmax: not yet run.")
    assert len(found.data) == 9
    assert found.data[found.data.method == "Sampled softmax"].cost.tolist() == [0.06, 0.12, 0.18]


def drawn(courses: list[CourseLine]) -> Any:
    found = picture(courses).drawing
    return found.function(*found.arguments)


def test_the_axis_reaches_the_first_tests_of_what_is_not_far_off() -> None:
    (axes,) = drawn(COURSES).axes
    low, high = axes.get_ylim()
    assert low < 4.9
    assert 5.4 <= high < 5.6
    assert axes.lines[0].get_ydata().tolist() == [5.2, 5.0, 4.9]
    assert len(axes.lines) == 3


@pytest.mark.parametrize("num", range(5))
def test_every_number_of_lines_gives_a_figure(num: int) -> None:
    waiting = [CourseLine(one.label, one.group, ()) for one in COURSES[num:]]
    figure = drawn([*COURSES[:num], *waiting])
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert ("not yet run" in texts) == (num == 0)
    shown = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert sorted(shown) == sorted(
        ["Full", "SML", "Sampled softmax", "Sampled softmax", "uncorrected", "Hierarchy", "Adaptive softmax"]
    )


def test_without_methods_there_is_a_figure() -> None:
    (axes,) = drawn([]).axes
    assert [text.get_text() for text in axes.texts] == ["not yet run"]


def test_a_legend_leaves_out_what_its_heading_says() -> None:
    assert shortened("Sampled softmax, hits masked", "sampled softmax") == "hits masked"
    assert shortened("Sampled softmax", "sampled softmax") == "Sampled softmax"
    assert shortened("Sampled LGL", "binary") == "Sampled LGL"
    few, many = ({f"a{n}": "one" for n in range(num)} | {"b": "two"} for num in (2, 9))
    assert legend_height(many) - legend_height(few) == pytest.approx(7 * 0.16)
    assert legend_height(few, more=3) > legend_height(few)
