"""Verdicts of the study `why_log`: each outcome, and states with missing and with diverged runs."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from invented import Known
from invented_why_log import FAST, HIGHER, LOWER, NEVER, SAME, SLOW, World, difference
from scipy import stats

from lossbench.studies.sentences import Judged
from lossbench.studies.why_log import plan
from lossbench.studies.why_log.verdicts import (
    Evidence,
    fast_convergence,
    flat_where_wrong,
    good_results,
    not_convex,
    wrong_labels,
)

SQUARE = "(1 - p)²"
NAMES = [loss.name for loss in plan.LOSSES if loss.name != "sml"]
BOUNDED = [loss.name for loss in plan.BOUNDED[1:]]


def from_scratch(
    fmnist: Mapping[str, float | None], kmnist: Mapping[str, float | None], others: float | None = SAME
) -> Evidence:
    """Both data sets; losses that are not named have the same difference."""
    world = World()
    for dataset, gaps in (("fmnist", fmnist), ("kmnist", kmnist)):
        world.scratch(dataset, dict.fromkeys(NAMES, others) | dict(gaps), {})
    return Evidence(world.results)


SETS = {
    "holds": (LOWER, LOWER),
    "fails, both same": (SAME, SAME),
    "fails, one higher": (HIGHER, SAME),
    "undecided": (LOWER, SAME),
    "undecided, other way": (HIGHER, LOWER),
}


@pytest.mark.parametrize("case", SETS)
def test_good_results(case: str) -> None:
    first, second = SETS[case]
    one, *others = good_results(from_scratch({"one_minus_p_squared": first}, {"one_minus_p_squared": second}))
    assert one.sentence.endswith(f"does not have good results”: {SQUARE}")
    assert one.outcome == case.partition(",")[0]
    assert [other.outcome for other in others] == ["fails", "fails"]


def test_the_evidence_has_the_numbers_on_either_side() -> None:
    one = good_results(from_scratch({"one_minus_p_squared": LOWER}, {"one_minus_p_squared": SAME}))[0]
    told = {
        gap: "{:+.2f} points, 95 % interval {:+.2f} to {:+.2f}, n=5".format(*difference(gap))
        for gap in SETS["undecided"]
    }
    assert one.evidence_for == f"Fashion-MNIST: lower, {told[LOWER]}"
    assert one.evidence_against == f"KMNIST: equivalent, {told[SAME]}"
    assert one.setting == (
        "Fashion-MNIST and KMNIST, CNN2C, 20 epochs, from scratch, own learning rates; test accuracy less SML's"
    )


def test_one_data_set_alone_gives_no_verdict_and_is_visible() -> None:
    one = good_results(from_scratch({}, {"one_minus_p_squared": None}))[0]
    assert one.outcome is None
    assert one.evidence_against.startswith("Fashion-MNIST: equivalent, +0.02 points")
    assert one.setting.endswith("; open: KMNIST: not yet run")


def test_holds_and_fails_need_no_other_loss_but_undecided_does() -> None:
    gaps = {"one_minus_p_squared": LOWER, "brier": SAME, "squared": LOWER}
    alone = good_results(from_scratch(gaps, gaps | {"squared": SAME}, others=None))
    assert [one.outcome for one in alone] == ["holds", "fails", None]
    assert good_results(from_scratch(gaps, gaps | {"squared": SAME}))[2].outcome == "undecided"


def test_a_diverged_run_is_done_and_told() -> None:
    world = World()
    for dataset in ("fmnist", "kmnist"):
        world.scratch(dataset, dict.fromkeys(NAMES, LOWER), {})
    world.lose(plan.from_scratch("fmnist"), "one_minus_p_squared", 0)
    one = good_results(Evidence(world.results))[0]
    assert one.outcome == "holds"
    assert "n=4; diverged: 1 run of (1 - p)²" in one.evidence_for
    for seed in (1, 2, 3):
        world.lose(plan.from_scratch("fmnist"), "one_minus_p_squared", seed)
    one = good_results(Evidence(world.results))[0]
    assert one.outcome == "undecided"
    assert "open: Fashion-MNIST: too few, " in one.setting
    world.lose(plan.from_scratch("fmnist"), "one_minus_p_squared", 4)
    one = good_results(Evidence(world.results))[0]
    assert one.outcome == "undecided"
    assert "Fashion-MNIST: too few, no pair of runs; diverged: 5 runs of (1 - p)²" in one.setting


CONVEX = {
    "fails": ({"brier": SAME, "spherical": LOWER}, {"brier": HIGHER, "spherical": LOWER}),
    "holds": ({"brier": LOWER, "spherical": LOWER}, {"brier": LOWER, "spherical": LOWER}),
    "undecided": ({"brier": SAME, "spherical": LOWER}, {"brier": LOWER, "spherical": SAME}),
}


@pytest.mark.parametrize("outcome", CONVEX)
def test_not_convex(outcome: str) -> None:
    one = not_convex(from_scratch(*CONVEX[outcome]))
    assert one.outcome == outcome
    sides = one.evidence_for.count("lower, "), one.evidence_against.count("equivalent, ")
    assert sides == {"fails": (2, 1), "holds": (4, 0), "undecided": (2, 2)}[outcome]


def test_one_loss_is_enough_against_convexity_and_both_are_needed_for_it() -> None:
    def outcome(brier: float | None, spherical: float | None) -> str | None:
        gaps = {"brier": brier, "spherical": spherical}
        return not_convex(from_scratch(gaps, gaps, others=None)).outcome

    assert outcome(None, SAME) == "fails"
    assert outcome(LOWER, None) is None
    assert outcome(LOWER, LOWER) == "holds"


def epochs(speeds: tuple[float, ...]) -> list[float]:
    """To within 0.5 points of the end: the first whole epoch with 0.3 exp(-speed e) <= 0.005."""
    return [math.ceil(math.log(0.3 / 0.005) / speed) for speed in speeds]


def convergence(fmnist: tuple[tuple[float, ...], ...], kmnist: tuple[tuple[float, ...], ...]) -> Judged:
    """Speeds of SML and of (1-p)² on both data sets."""
    world = World()
    for dataset, (sml, square) in (("fmnist", fmnist), ("kmnist", kmnist)):
        world.scratch(dataset, {"one_minus_p_squared": 0.0}, {"sml": sml, "one_minus_p_squared": square})
    return fast_convergence(Evidence(world.results))


def test_fast_convergence_holds() -> None:
    one = convergence((FAST, SLOW), (FAST, SLOW))
    assert one.outcome == "holds"
    assert one.evidence_against == ""
    gaps = np.subtract(epochs(FAST), epochs(SLOW))
    p = stats.ttest_rel(epochs(FAST), epochs(SLOW)).pvalue
    half = stats.t.ppf(0.975, 4) * gaps.std(ddof=1) / math.sqrt(5)
    told = f"{gaps.mean():+.1f} epochs ({gaps.mean() - half:+.1f} to {gaps.mean() + half:+.1f})"
    first, second, *_ = one.evidence_for.split("; ")
    assert first == f"Fashion-MNIST: {told} to within 0.5 points of its end, p {'< 0.001' if p < 0.001 else p}, n=5"
    assert second.startswith("Fashion-MNIST: area +")
    assert one.evidence_for.count("KMNIST") == 2


def test_fast_convergence_fails_if_the_opposite_is_seen_once() -> None:
    one = convergence((FAST, SLOW), (SLOW, FAST))
    assert one.outcome == "fails"
    assert one.evidence_for.count("Fashion-MNIST") == one.evidence_against.count("KMNIST") == 2
    assert "Fashion-MNIST" not in one.evidence_against


def test_fast_convergence_is_undecided_without_a_difference_on_one() -> None:
    turned = tuple(reversed(FAST))
    one = convergence((FAST, SLOW), (FAST, turned))
    assert one.outcome == "undecided"
    assert "not significant: KMNIST: " in one.setting


def test_fast_convergence_waits_for_all_runs() -> None:
    world = World()
    world.scratch("fmnist", {"one_minus_p_squared": 0.0}, {"sml": FAST, "one_minus_p_squared": SLOW})
    one = fast_convergence(Evidence(world.results))
    assert one.outcome is None
    assert one.setting.endswith("not all runs done: KMNIST")
    world.scratch("fmnist", {"one_minus_p_squared": 0.0}, {"sml": SLOW, "one_minus_p_squared": FAST})
    assert fast_convergence(Evidence(world.results)).outcome == "fails"


def test_a_loss_whose_run_diverged_does_not_gain_by_it() -> None:
    world = World()
    for dataset in ("fmnist", "kmnist"):
        world.scratch(dataset, {"one_minus_p_squared": 0.0}, {"sml": FAST, "one_minus_p_squared": SLOW})
    world.lose(plan.from_scratch("fmnist"), "one_minus_p_squared", 0)
    one = fast_convergence(Evidence(world.results))
    assert one.outcome == "holds"
    assert (one.evidence_for.count("Fashion-MNIST"), one.evidence_for.count("n=4")) == (2, 2)
    world.lose(plan.from_scratch("kmnist"), "sml", 0)
    one = fast_convergence(Evidence(world.results))
    assert one.outcome == "undecided"
    assert "KMNIST" not in one.evidence_for
    assert one.setting.count("KMNIST: ") == 2


FLAT = {
    "holds": ((100, 100, 50), (NEVER, NEVER, NEVER)),
    "fails": ((100, 100, 50), (100, 2000, 50)),
    "fails, SML stays": ((NEVER, NEVER, NEVER), (NEVER, NEVER, NEVER)),
    "undecided": ((100, 100, 50), (NEVER, 100, NEVER)),
    "undecided, SML": ((100, 100, NEVER), (NEVER, NEVER, NEVER)),
}


@pytest.mark.parametrize("case", FLAT)
def test_flat_where_it_is_wrong(case: str) -> None:
    world = World()
    for label, steps in zip(("SML", SQUARE), FLAT[case], strict=True):
        world.from_wrong(label, steps)
    assert flat_where_wrong(Evidence(world.results)).outcome == case.partition(",")[0]


def test_flat_evidence_and_missing_runs() -> None:
    world = World()
    world.from_wrong("SML", (100, 150, 50))
    world.from_wrong(SQUARE, (NEVER, NEVER), lrs=(0.1, 1.0))
    one = flat_where_wrong(Evidence(world.results))
    assert one.outcome is None
    assert one.evidence_for == (
        "SML reaches 80 % after a median of 100 steps (50 to 150, n=3) at learning rate 0.003, and in 3 of 3 seeds at "
        "one rate at least"
    )
    assert one.setting.endswith(
        "open: (1 - p)² reaches 80 % in 0 of 2 seeds at any of 2 learning rates within 3,628 steps "
        "(4 of 18 runs are done)"
    )
    world.from_wrong(SQUARE, (None, None, NEVER))
    one = flat_where_wrong(Evidence(world.results))
    assert one.outcome == "holds"
    assert "reaches 80 % in 0 of 3 seeds at any of 6 learning rates within 3,628 steps" in (one.evidence_for)


def noisy(first: float | None, second: float | None, others: float | None = SAME) -> Judged:
    """The verdict on (1-p)² with differences at 20 and at 40 % wrong labels."""
    world = World()
    for share, gap in zip(plan.NOISE, (first, second), strict=True):
        world.noise(share, dict.fromkeys(BOUNDED, others) | {"one_minus_p_squared": gap})
    return wrong_labels(Evidence(world.results))[0]


@pytest.mark.parametrize(
    ("first", "second", "others", "outcome"),
    [
        (HIGHER, HIGHER, SAME, "holds"),
        (HIGHER, HIGHER, None, "holds"),
        (HIGHER, LOWER, SAME, "fails"),
        (LOWER, None, None, "fails"),
        (HIGHER, None, SAME, None),
        (None, None, None, None),
        (0.0, HIGHER, SAME, "fails"),  # equivalent
        (0.0, HIGHER, None, None),  # equivalent, but Holm's correction is not complete
        (-0.15, HIGHER, SAME, "fails"),  # lower, within the margin
        (0.15, HIGHER, SAME, "undecided"),  # higher, within the margin
        (0.15, HIGHER, None, None),
    ],
)
def test_wrong_labels(first: float | None, second: float | None, others: float | None, outcome: str | None) -> None:
    assert noisy(first, second, others).outcome == outcome


def test_every_bounded_loss_is_judged() -> None:
    every = wrong_labels(Evidence(Known()))
    assert [one.sentence.rpartition(": ")[2] for one in every] == [SQUARE, "Brier", "Spherical", "GCE", "MAE"]
    one = noisy(HIGHER, None)
    assert one.evidence_for.startswith("20 % wrong: higher, +1.00 points, 95 % interval ")
    assert one.evidence_for.endswith("n=3")
    assert one.setting.endswith("true test labels; open: 40 % wrong: not yet run")
