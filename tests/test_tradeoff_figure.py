"""Quality over cost: the Pareto front, what is beyond the axis, and every state of the runs."""

import math
from typing import Any

import pytest

from lossbench.report.tradeoff_figure import TradeoffPoint, front_of, highest, tradeoff_picture
from lossbench.statistics.pareto import pareto_front

NAN = math.nan


@pytest.mark.parametrize(
    ("costs", "losses", "front"),
    [
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [0, 1, 2]),
        ([3.0, 1.0, 2.0], [1.0, 3.0, 3.5], [1, 0]),  # the third is beaten by the second
        ([1.0, 1.0, 2.0], [2.0, 1.0, 1.0], [1]),  # equal in one number and larger in the other
        ([1.0, 1.0], [2.0, 2.0], [0, 1]),  # equals stay
        ([1.0, NAN, 0.5], [2.0, 1.0, math.inf], [0]),
        ([], [], []),
    ],
)
def test_the_front_has_what_none_beats(costs: list[float], losses: list[float], front: list[int]) -> None:
    assert pareto_front(costs, losses) == front


def test_the_front_is_that_of_all_pairs_compared() -> None:
    costs = [((7 * n) % 11) / 2 for n in range(40)]
    losses = [((5 * n * n) % 13) / 3 for n in range(40)]
    beaten = {
        a
        for a in range(40)
        for b in range(40)
        if costs[b] <= costs[a] and losses[b] <= losses[a] and (costs[b], losses[b]) != (costs[a], losses[a])
    }
    found = pareto_front(costs, losses)
    assert set(found) == set(range(40)) - beaten
    assert [costs[one] for one in found] == sorted(costs[one] for one in found)


def point(label: str, cost: float, mean: float, **more: Any) -> TradeoffPoint:
    known = {"group": "sampled softmax", "num": None, "low": mean - 0.01, "high": mean + 0.01, "n": 5}
    return TradeoffPoint(label=label, cost=cost, mean=mean, **(known | more))


POINTS = [
    point("SML", 1.0, 4.9, group="full"),
    point("Sampled softmax", 0.05, 5.1, num=20),
    point("Sampled softmax", 0.06, 5.0, num=100),
    point("Sampled softmax", 0.14, 4.95, num=500),
    point("Sampled softmax, uncorrected", 0.06, 7.7),
    point("NCE", 0.065, 5.05, group="binary", num=100, is_complete=False, n=2),
    point("NCE, no prior biases", 0.065, 13.2, group="binary", diverged=1, n=4),
    point("LGL", 1.4, NAN, group="full", low=NAN, high=NAN, n=0, is_complete=False, diverged=5),
    point("Adaptive softmax", 0.2, NAN, group="hierarchy", low=NAN, high=NAN, n=0, is_complete=False),
]


def picture(points: list[TradeoffPoint]) -> Any:
    return tradeoff_picture(points, "tradeoff", "cost of a step (times SML's)", "Austen, 3 epochs.")


def test_what_is_far_off_is_beyond_the_axis() -> None:
    known = [one.mean for one in POINTS if one.is_known]
    assert highest(known) == 5.1
    assert highest([4.9, 5.0, 5.8]) == 5.8, "within a nat"
    assert highest([4.0, 6.0, 8.0]) == 8.0
    assert highest([]) == 1.0


def test_the_picture_says_its_numbers() -> None:
    found = picture(POINTS)
    assert [one.name for one in front_of(POINTS)] == [
        "Sampled softmax, m=20",
        "Sampled softmax, m=100",
        "Sampled softmax, m=500",
        "SML",
    ]
    assert "mean (n=2 to 5) and 95 % interval" in found.caption
    assert "Arrow: beyond the axis (Sampled softmax, uncorrected: 7.70; NCE, no prior biases: 13.20)." in found.caption
    assert "Hollow: not all runs are done." in found.caption
    assert "Not shown, without a finished run or a cost: LGL; Adaptive softmax." in found.caption
    assert "a larger marker is a larger m (20, 100 and 500)" in found.caption
    assert found.caption.endswith("Austen, 3 epochs.")
    assert "Pareto front by rising cost: Sampled softmax, m=20; Sampled softmax, m=100; " in found.alt
    assert "SML: cost 1, 4.900 (4.890 to 4.910), n=5." in found.alt
    assert "NCE, no prior biases: cost 0.065, 13.200 (13.190 to 13.210), n=4, 1 diverged." in found.alt
    assert "LGL: all runs diverged. Adaptive softmax: not yet run." in found.alt
    data = found.data
    assert len(data) == len(POINTS)
    assert data[data.on_front].method.tolist() == ["SML", *["Sampled softmax"] * 3]
    assert data[data.m == 500].iloc[0].nll_nats == pytest.approx(4.95)


def drawn(points: list[TradeoffPoint]) -> Any:
    found = picture(points).drawing
    return found.function(*found.arguments)


def test_points_lie_at_their_cost_and_nll_and_the_far_ones_at_the_edge() -> None:
    (axes,) = drawn(POINTS).axes
    marked = [line for line in axes.lines if line.get_marker() != "None"]
    places = {(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in marked}
    top = axes.get_ylim()[1]
    assert {(0.05, 5.1), (0.06, 5.0), (0.14, 4.95), (1.0, 4.9), (0.065, 5.05)} <= places
    arrows = [place for place in places if place[1] > 5.11]
    assert sorted(x for x, _ in arrows) == [0.06, 0.065]
    assert all(y < top for _, y in arrows)
    assert all(y > 5.11 for _, y in arrows)
    assert len({y for _, y in arrows}) == 2, "their values do not overlap"
    assert {"↑ 7.7", "↑ 13.2"} == {text.get_text() for text in axes.texts}
    sizes = {float(line.get_xdata()[0]): line.get_markersize() for line in marked if line.get_ydata()[0] < 5.11}
    assert sizes[0.05] < sizes[0.06] < sizes[0.14]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [float(line.get_ydata()[0]) for line in hollow] == [5.05]


def test_the_front_is_a_stepped_line_down_to_the_edge() -> None:
    (axes,) = drawn(POINTS).axes
    steps = next(line for line in axes.lines if len(line.get_xdata()) > 5)
    xs, ys = steps.get_xdata().tolist(), steps.get_ydata().tolist()
    assert xs[:-1] == [0.05, 0.05, 0.05, 0.06, 0.06, 0.14, 0.14, 1.0, 1.0]
    assert ys == [axes.get_ylim()[1], axes.get_ylim()[1], 5.1, 5.1, 5.0, 5.0, 4.95, 4.95, 4.9, 4.9]
    assert xs[-1] == axes.get_xlim()[1]


@pytest.mark.parametrize("num", [0, 1, len(POINTS)])
def test_every_number_of_known_points_gives_a_figure(num: int) -> None:
    waiting = [point(one.label, NAN, NAN, low=NAN, high=NAN, n=0) for one in POINTS[num:]]
    found = picture([*POINTS[:num], *waiting])
    (axes,) = drawn([*POINTS[:num], *waiting]).axes
    assert ("not yet run" in {text.get_text() for text in axes.texts}) == (num == 0)
    assert ("No point." in found.alt) == (num == 0)
    assert ("Arrow" in found.caption) == (num > 1)


def test_many_points_that_are_missing_are_counted() -> None:
    waiting = [point(f"method {n}", NAN, NAN, n=0) for n in range(6)]
    assert "Not shown, without a finished run or a cost: 6 methods." in picture([POINTS[0], *waiting]).caption


def test_without_a_cost_or_an_interval_it_is_told() -> None:
    found = picture([point("SML", NAN, 4.9), point("NCE", 0.5, 5.0, low=NAN, high=NAN, n=1)])
    assert "SML: cost not measured, 4.900 (4.890 to 4.910), n=5." in found.alt
    assert "NCE: cost 0.5, 5.000, n=1." in found.alt
    assert "Not shown, without a finished run or a cost: SML." in found.caption
