"""The summary of the study `why_log`: sentences, picture and table, with all runs, with a part, with none."""

from collections.abc import Callable

import pytest
from invented import Known
from invented_why_log import FAST, HIGHER, LOWER, NEVER, SAME, SLOW, World, difference

from lossbench.config.registry import LABELS
from lossbench.config.run import Runtime
from lossbench.report.blocks import Items, Paragraph, Picture, Section, Table
from lossbench.report.drawing import saved
from lossbench.studies.study import STUDIES
from lossbench.studies.why_log import plan
from lossbench.studies.why_log.summary import _reason, sentences, summary
from lossbench.studies.why_log.verdicts import Evidence, verdicts

SQUARE = "(1 - p)²"
NAMES = [loss.name for loss in plan.LOSSES if loss.name != "sml"]
BOUNDED = [loss.name for loss in plan.BOUNDED[1:]]


def blocks_of(section: Section, kind: Callable[..., object]) -> list:
    return [block for block in section.blocks if isinstance(block, kind)]


def of_study(results: Known) -> Section:
    found = STUDIES["why_log"].summary(results)
    assert found is not None
    return found


def test_the_summary_without_runs() -> None:
    section = of_study(Known())
    assert section.title == STUDIES["why_log"].title
    (items,) = blocks_of(section, Items)
    assert list(items.texts) == [
        "From scratch, each loss at its own learning rate: not yet run for (1 - p)², Brier and Squared.",
        "From the same confidently wrong network: not yet run.",
        "The reason is not known yet, as the runs that decide are not all done.",
    ]
    assert blocks_of(section, Picture) == []
    (table,) = blocks_of(section, Table)
    assert set(table.frame["Verdict"]) == {"not yet tested"}
    assert len(table.frame) == 6
    change, state = (block.text for block in blocks_of(section, Paragraph))
    assert change.startswith("What would change our mind: ")
    total = len({one for _, configs in plan.blocks(lambda _: None, Runtime()) for one in map(Known().name, configs)})
    assert state == (
        f"0 of {total} runs planned so far are done; {total} are not. Not yet run: 20 and 40 % wrong labels."
    )
    (formulas,) = STUDIES["why_log"].sections(Known())
    assert formulas.title.endswith("In formulas")


@pytest.fixture(scope="module")
def whole() -> Known:
    """(1-p)² lower, Brier and squared as good, SML faster; SML and Brier leave, (1-p)² and MAE stay."""
    world = World()
    for dataset in ("fmnist", "kmnist"):
        gaps = dict.fromkeys(NAMES, SAME) | {"one_minus_p_squared": LOWER, "mae": -20.0}
        world.scratch(dataset, gaps, {"sml": FAST, "one_minus_p_squared": SLOW})
    for share in plan.NOISE:
        world.noise(share, dict.fromkeys(BOUNDED, HIGHER) | {"mae": LOWER})
    world.fits()
    for label in map(LABELS.__getitem__, ["sml", *NAMES]):
        world.from_wrong(label, (NEVER,) * 3 if label in (SQUARE, "MAE") else (100, 150, 200))
    world.trace(plan.rightings(world.results.accuracy)[0].config, (1, 2, 0, 0, 0, 0, 0, 0))
    return world.results


def test_the_summary_of_all_runs(whole: Known) -> None:
    scratch, wrong, reason = sentences(Evidence(whole))
    assert scratch == (
        "From scratch, each loss at its own learning rate, test accuracy less SML's. (1 - p)²: -1.00 points on "
        "Fashion-MNIST (lower, n=5), -1.00 points on KMNIST (lower, n=5); Brier: +0.02 points on Fashion-MNIST "
        "(equivalent, n=5), +0.02 points on KMNIST (equivalent, n=5); Squared: +0.02 points on Fashion-MNIST "
        "(equivalent, n=5), +0.02 points on KMNIST (equivalent, n=5)."
    )
    assert wrong == (
        "From the same confidently wrong network (the true class's median probability is between 1e-6 and 1e-4): SML "
        "reaches 80 % after a median of 150 steps (100 to 200, n=3) at learning rate 0.003, and in 3 of 3 seeds at one "
        "rate at least. (1 - p)² reaches 80 % in 0 of 3 seeds at any of 6 learning rates within 3,628 steps. Of "
        "the others, Brier, Spherical, "
        "GCE, Squared, LGL, LGL-INR and Sparsemax get there in all seeds; MAE in none."
    )
    assert reason == (
        "So the reason in these runs is the flat gradient where the network is wrong, and not convexity. What holds: "
        "“does not have good results” for (1 - p)²; “fast convergence”; “flat where it is wrong”, which the answers "
        "leave out (n=3). What fails: “does not have good results” for Brier and Squared; “not convex” as the reason."
    )


def test_the_verdicts_of_all_runs(whole: Known) -> None:
    (table,) = blocks_of(of_study(whole), Table)
    words = ["holds", "fails", "fails", "fails", "holds", "holds", "holds", "holds", "holds", "holds", "fails"]
    assert table.frame["Verdict"].tolist() == words
    assert [one.word for one in verdicts(Evidence(whole))] == words


def test_the_picture_of_the_answer(whole: Known) -> None:
    (picture,) = blocks_of(of_study(whole), Picture)
    assert "n=5" in picture.caption
    assert "not all runs are done" not in picture.caption
    assert "SML: 150 steps from the wrong start (n=3). (1 - p)²: not in 3,628 steps from the wrong start (n=3); " in (
        picture.alt
    )
    mean, low, high = difference(LOWER)
    assert f"Fashion-MNIST {mean:+.2f} points ({low:+.2f} to {high:+.2f}), n=5" in picture.alt
    assert picture.data is not None
    square = picture.data[(picture.data.loss == SQUARE) & (picture.data.dataset == "KMNIST")].iloc[0]
    assert (square.steps_to_80_percent, square.seeds, square.n) == (NEVER, 3, 5)
    assert [square.difference_points, square.low_points, square.high_points] == pytest.approx(
        [mean, low, high], abs=1e-3
    )
    figure = picture.drawing.function(*picture.drawing.arguments)
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["SML", *map(LABELS.__getitem__, NAMES)]
    marks = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "o"]
    assert marks[0] == 150
    assert marks[1] > 3628  # censored
    assert right.get_xlim()[1] < 5  # a loss 20 points off is an arrow at the edge
    assert [text.get_text() for text in right.texts] == ["baseline", "-20.0", "-20.0"]
    assert saved(figure, "svg", picture.name).startswith(b"<?xml")


def test_the_picture_has_either_half_alone(whole: Known) -> None:
    starts = {whole.name(one.config) for one in plan.rightings(whole.accuracy)}
    (picture,) = blocks_of(of_study(whole_without(whole, starts)), Picture)
    assert "median at the best of the learning rates (not yet run)" in picture.caption
    assert picture.alt.count("from the wrong start not yet run") == 10
    picture.drawing.function(*picture.drawing.arguments)
    world = World()
    world.from_wrong("SML", (50,), lrs=(0.1,))
    (picture,) = blocks_of(of_study(world.results), Picture)
    assert "SML: 50 steps from the wrong start (n=1) so far." in picture.alt
    assert "for 1 of 10 losses not all runs are done" in picture.caption
    texts = picture.drawing.function(*picture.drawing.arguments).axes[1].texts
    assert [text.get_text() for text in texts] == ["baseline", *["not yet run"] * 9]


def whole_without(whole: Known, names: set[str]) -> Known:
    fewer = Known(*whole.diverged)
    fewer.records = {name: one for name, one in whole.records.items() if name not in names}
    return fewer


def test_the_sections(whole: Known) -> None:
    titles = [
        section.title.removeprefix(STUDIES["why_log"].title).strip() for section in STUDIES["why_log"].sections(whole)
    ]
    assert titles == [
        "In formulas",
        "The same wrong start",
        "Fashion-MNIST, from scratch",
        "KMNIST, from scratch",
        "Fashion-MNIST, 20 % wrong labels",
        "Fashion-MNIST, 40 % wrong labels",
    ]


@pytest.mark.parametrize(
    ("flat", "convex", "square", "says"),
    [
        ("holds", "fails", None, "is the flat gradient where the network is wrong, and not convexity."),
        ("holds", "holds", None, "both are supported"),
        ("holds", None, None, "whether convexity is one is not yet tested."),
        ("holds", "undecided", None, "whether convexity is one is undecided."),
        ("fails", "fails", "fails", "From scratch, (1 - p)² does as well as SML."),
        (
            "fails",
            "fails",
            "holds",
            "neither a flat gradient nor convexity is the reason in these runs: (1 - p)² leaves",
        ),
        ("fails", "holds", None, "the reason in these runs is convexity, and not a flat gradient: (1 - p)² leaves"),
        ("fails", None, None, "(1 - p)² leaves the wrong start too. Whether convexity is one is not yet tested."),
        ("undecided", "fails", None, "The reason is undecided"),
        (None, "fails", None, "not known yet"),
    ],
)
def test_the_reason_follows_from_the_verdicts(flat: str, convex: str, square: str, says: str) -> None:
    assert says in _reason(flat, convex, square, sml_stays=False)


def test_the_reason_where_the_baseline_stays() -> None:
    assert _reason("fails", "fails", None, sml_stays=True).endswith("SML does not leave the wrong start.")


def test_where_both_leave_the_steps_are_compared() -> None:
    world = World()
    world.from_wrong("SML", (50, 100, 150), lrs=(0.1,))
    world.from_wrong(SQUARE, (2600, 3000, NEVER), lrs=(0.1,))
    assert "times as many steps" not in sentences(Evidence(world.results))[2]
    world.from_wrong(SQUARE, (NEVER, NEVER, 2500), lrs=(0.3,))
    assert sentences(Evidence(world.results))[2].startswith(
        "By the rules a flat gradient is not the reason: (1 - p)² leaves the wrong start too. Whether convexity is one "
        "is not yet tested. (1 - p)² needs 30.0 times as many steps as SML (3,000 and 100, medians at the best rates, "
        "n=3), which decides nothing. What fails: “flat where it is wrong”, which the answers leave out (n=3). Not yet"
    )


def test_the_summary_is_what_the_study_gives(whole: Known) -> None:
    study = STUDIES["why_log"]
    assert of_study(whole).blocks[0] == summary(whole, study.title, study.planned(whole)).blocks[0]
