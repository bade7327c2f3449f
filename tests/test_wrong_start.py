"""Steps from the confidently wrong start: censoring, medians, best rates, who leaves, how wrong it is, in numbers."""

import math

import pytest
from invented_why_log import EPOCH, World, add_tests

from lossbench.report.blocks import Block, Paragraph, Picture, Table
from lossbench.report.drawing import saved
from lossbench.runs.records import Record
from lossbench.studies.why_log import plan
from lossbench.studies.why_log import wrong_start as wrong
from lossbench.studies.why_log.wrong_start import AtRate, FromWrong, Run, Start, WrongStart
from lossbench.studies.why_log.wrong_start_page import how_wrong, wrong_start_blocks

NEVER = math.inf
SQUARE = "(1 - p)²"


def at(lr: float, *steps: float | None) -> AtRate:
    """Runs by seed; None: not done, nan: diverged."""
    runs = [
        None if one is None else Run(seed, NEVER if math.isnan(one) else one, NEVER, math.isnan(one), 0.5)
        for seed, one in enumerate(steps)
    ]
    return AtRate(lr, tuple(runs))


def test_the_steps_of_a_run() -> None:
    assert wrong.steps_of_epoch(58000, 64) == EPOCH
    assert wrong.steps_of_epoch(64, 64) == 1
    assert wrong.steps_of_epoch(65, 64) == 2
    assert wrong.most_steps() == 4 * EPOCH == 3628


def record(within: list[tuple[int, float]], ends: list[float], **changes: object) -> Record:
    world = World()
    config = plan.rightings(world.results.accuracy)[0].config
    lines = [{"step": step, "test/accuracy": accuracy} for step, accuracy in within]
    add_tests(world.results, config, NEVER, NEVER, within_epochs=lines, curves={"test/accuracy": ends}, **changes)
    found = world.results.record(config)
    assert found is not None
    return found


def test_the_first_test_that_has_the_accuracy_counts() -> None:
    one = record([(50, 0.3), (100, 0.7999), (150, 0.8), (200, 0.7), (250, 0.9)], [0.7, 0.7, 0.7, 0.7])
    assert wrong.steps_to(one, 0.8) == 150
    assert wrong.steps_to(one, 0.9) == 250
    assert wrong.steps_to(one, 0.95) == NEVER


def test_the_end_of_an_epoch_is_a_test_as_well() -> None:
    one = record([(1800, 0.79), (1850, 0.81)], [0.1, 0.805, 0.1, 0.91])
    assert wrong.steps_to(one, 0.8) == 1814
    assert wrong.steps_to(one, 0.9) == 3628
    assert wrong.steps_to(record([], [0.1, 0.1, 0.9, 0.9], num_train=57000), 0.9) == 3 * 891
    assert wrong.steps_to(record([], [0.1, 0.1, 0.9, 0.9], num_train=None), 0.9) == 3 * EPOCH


@pytest.mark.parametrize(
    ("steps", "median"),
    [
        ((60, 100, 80), 80),
        ((60, 80, NEVER), 80),
        ((60, NEVER, NEVER), NEVER),
        ((60, NEVER, math.nan), NEVER),
        ((60, math.nan, 70), 70),
        ((60, 100, None), 80),
        ((60, None, NEVER), NEVER),
        ((None, None, 60), 60),
    ],
)
def test_a_censored_run_is_the_largest_and_in_no_mean(steps: tuple[float | None, ...], median: float) -> None:
    assert at(0.1, *steps).median(0.8) == median


def test_without_runs_there_is_no_median() -> None:
    assert math.isnan(at(0.1, None, None, None).median(0.8))


def test_the_best_rate_has_the_smallest_median_the_smaller_of_equals() -> None:
    one = FromWrong("SML", (at(0.01, 100, 100, 100), at(0.03, 50, 60, NEVER), at(0.1, 60, 60, 60), at(1.0, 60, 0, 90)))
    assert one.best(0.8) == one.rates[1]
    assert FromWrong("MAE", (at(0.01, NEVER, NEVER, 50), at(0.1, None, None, None))).best(0.8) is None
    assert FromWrong("MAE").best(0.8) is None


@pytest.mark.parametrize(
    ("rates", "state"),
    [
        ([at(0.1, 50, 60, 3600), at(1.0, NEVER, NEVER, NEVER)], "leaves"),
        ([at(0.1, 50, NEVER, NEVER), at(1.0, math.nan, 60, 70)], "leaves"),
        ([at(0.1, 50, 60, 70), at(1.0, None, None, None)], "leaves"),
        ([at(0.1, NEVER, NEVER, NEVER), at(1.0, NEVER, NEVER, NEVER)], "stays"),
        ([at(0.1, NEVER, NEVER, NEVER), at(1.0, math.nan, math.nan, math.nan)], "stays"),
        ([at(0.1, NEVER, NEVER, NEVER), at(1.0, NEVER, NEVER, None)], None),
        ([at(0.1, 50, 60, NEVER), at(1.0, NEVER, NEVER, NEVER)], "undecided"),
        ([at(0.1, 50, 60, NEVER), at(1.0, NEVER, NEVER, None)], None),
        ([at(0.1, None, None, None)], None),
        ([], None),
    ],
)
def test_who_leaves(rates: list[AtRate], state: str | None) -> None:
    assert FromWrong("SML", tuple(rates)).state == state


def test_how_wrong_a_start_is() -> None:
    start = Start(counts=(761, 795, 421, 43, 28, 0, 0, 0))
    assert start.median_between == (1e-6, 1e-4)
    assert start.share_below(1e-6) == 761 / 2048
    assert start.share_below(1e-4) == 1556 / 2048
    assert Start(counts=(2, 1, 0, 0, 0, 0, 0, 0)).median_between == (0.0, 1e-6)
    assert Start(counts=(0, 0, 0, 0, 0, 0, 1, 3)).median_between == (0.99, 1.0)
    assert Start().median_between is None
    assert math.isnan(Start().share_below(1e-6))


@pytest.fixture
def world() -> World:
    """From the common start: SML leaves, (1-p)² stays, Brier undecided, of spherical a run is missing."""
    found = World()
    found.fits()
    found.from_wrong("SML", (100, 150, 200))
    found.righting("SML", 0.1, 0, 50, 1000)
    found.righting("SML", 0.1, 1, 100, 900)
    found.righting("SML", 0.1, 2, 50)
    found.righting("SML", 1.0, 2, None)
    found.from_wrong(SQUARE, (NEVER, NEVER, NEVER))
    found.righting(SQUARE, 1.0, 1, None)
    found.from_wrong("Brier", (300, NEVER, NEVER))
    found.from_wrong("Spherical", (NEVER, NEVER), lrs=(0.003,))
    found.trace(plan.rightings(found.results.accuracy)[1].config, (5, 10, 1, 0, 0, 0, 0, 0))
    return found


def test_the_runs_from_the_common_start(world: World) -> None:
    by_label = WrongStart(world.results).by_label
    assert list(by_label) == [
        *("SML", SQUARE, "Brier", "Spherical", "GCE", "MAE"),
        *("Squared", "LGL", "LGL-INR", "Sparsemax"),
    ]
    states = {label: one.state for label, one in by_label.items() if one.state}
    assert states == {"SML": "leaves", SQUARE: "stays", "Brier": "undecided"}
    sml = by_label["SML"]
    best = sml.best(0.8)
    assert best is not None
    assert (best.lr, best.steps(0.8), best.median(0.8)) == (0.1, [50, 100, 50], 50)
    assert (sml.best(0.9), best.median(0.9), best.reached(0.9)) == (best, 1000, 2)
    assert (sml.num_done, sml.num_planned, sml.diverged) == (18, 18, 1)
    assert (by_label["Spherical"].num_done, by_label["MAE"].num_done) == (2, 0)
    assert (by_label["Brier"].seeds_reaching(0.8), by_label["Brier"].num_seeds) == (1, 3)


def texts(blocks: list[Block]) -> list[str]:
    return [block.text for block in blocks if isinstance(block, Paragraph)]


def table_of(blocks: list[Block], place: int = 0) -> dict[str, dict[str, str]]:
    return [block for block in blocks if isinstance(block, Table)][place].frame.to_dict("index")


def test_the_common_start_on_the_page(world: World) -> None:
    blocks = wrong_start_blocks(WrongStart(world.results))
    how, who = texts(blocks)
    assert how == (
        "The start: SML is fitted to labels that call each class of Fashion-MNIST the next one (4 epochs, learning "
        "rate 0.1). On held-out images it then predicts the wrong label in 89.0 to 89.2 % (2,000 images, n=3). The "
        "true class then has a small probability p_y: its median is between 1e-6 and 1e-4, and it is below 1e-6 for "
        "31 % of 16 training images (seed 0)."
    )
    assert who.startswith(
        "From the same wrong start, within 3,628 steps, SML reached 80 % in all 3 seeds; (1 - p)² in none at any of 6 "
        "learning rates; Brier in some seeds but not in all. Not all runs that decide are done for Spherical, GCE, MAE"
    )
    assert who.endswith("(56 of 180 runs of this start are done).")
    rows = table_of(blocks)
    assert rows["SML"] == {
        "Steps to 80 %": "50 (50 to 100; n=3)",
        "lr, 80 %": "0.1",
        "Seeds, 80 %": "3 of 3",
        "Steps to 90 %": "1,000 (900 to > 3,628; n=3)",
        "lr, 90 %": "0.1",
        "Seeds, 90 %": "2 of 3",
        "Runs": "18 of 18",
        "Diverged": "1",
        "Leaves": "yes",
    }
    assert [rows[SQUARE][key] for key in ("Steps to 80 %", "lr, 80 %", "Seeds, 80 %", "Leaves", "Diverged")] == [
        *("> 3,628", "–", "0 of 3", "no", "1"),
    ]
    assert [rows["Spherical"][key] for key in ("Seeds, 80 %", "Runs", "Leaves")] == ["0 of 2", "2 of 18", "not yet run"]
    assert [rows["MAE"][key] for key in ("Steps to 80 %", "Seeds, 80 %", "Runs")] == ["missing", "–", "0 of 18"]


def test_the_picture_of_the_rates(world: World) -> None:
    (picture,) = (one for one in wrong_start_blocks(WrongStart(world.results)) if isinstance(one, Picture))
    assert picture.name == "why_log_wrong_start"
    assert "SML: 150 at 0.003, 150 at 0.01, 150 at 0.03, 50 at 0.1, 150 at 0.3, 150 at 1 (1 diverged)." in picture.alt
    assert "Spherical: not in 3,628 at 0.003. GCE: missing." in picture.alt
    assert picture.data is not None
    sml = picture.data[(picture.data.loss == "SML") & (picture.data.learning_rate == 0.1)]
    assert sml.steps_to_80_percent.tolist() == [50, 100, 50]
    assert sml.steps_to_90_percent.tolist() == [1000, 900, NEVER]
    assert picture.data.diverged.sum() == 2
    figure = picture.drawing.function(*picture.drawing.arguments)
    assert [axes.get_title(loc="left") for axes in figure.axes][:2] == ["SML", SQUARE]
    heights = [line.get_ydata()[0] for line in figure.axes[1].lines if line.get_marker() in ("o", "x")]
    assert len(heights) == 18
    assert min(heights) > 3628  # all censored: above the last step
    assert saved(figure, "svg", picture.name).startswith(b"<?xml")


def test_without_a_trace_and_with_a_fit_that_diverged(world: World) -> None:
    world.results.given.clear()
    world.diverge(plan.start(2, plan.LOSSES[0], plan.FITTING.lr))
    start = WrongStart(world.results).start
    assert (start.accuracies, start.diverged, start.counts) == ((0.89, 0.891), 1, ())
    assert how_wrong(start).endswith(
        "in 89.0 to 89.1 % (2,000 images, n=2). 1 fit diverged, so that its runs are missing. Where p_y lies was not "
        "traced yet."
    )


def test_nothing_is_said_without_runs() -> None:
    empty = WrongStart(World().results)
    assert wrong_start_blocks(empty) == []
    assert empty.start == Start()
    assert wrong_start_blocks(WrongStart(World().results, own_start=True)) == []


def test_each_loss_has_its_own_start_once_its_rate_is_known() -> None:
    world = World()
    world.scratch("fmnist", {"one_minus_p_squared": None}, {})
    world.from_wrong(SQUARE, (400, 500, NEVER), own=True)
    planned = [one for one in plan.rightings(world.results.accuracy) if one.own_start]
    assert {one.loss for one in planned} == {SQUARE}
    world.results.add(planned[0].start, 0.4)
    world.trace(planned[0].config, (0, 0, 0, 0, 10, 30, 0, 0))
    found = WrongStart(world.results, own_start=True)
    assert "SML" not in found.by_label
    assert found.by_label[SQUARE].state == "undecided"
    assert found.by_label[SQUARE].start == Start((0.4,), (0, 0, 0, 0, 10, 30, 0, 0))
    blocks = wrong_start_blocks(found)
    (who,) = texts(blocks)
    assert who.startswith(
        f"From each loss's own wrong start, within 3,628 steps, {SQUARE} in some seeds but not in all."
    )
    assert "(18 of 18 runs of this start are done; no own learning rate yet: Brier, Spherical, GCE" in who
    assert who.endswith("These runs decide nothing: description.")
    assert table_of(blocks)["Brier"]["Runs"] == "–"
    assert table_of(blocks, 1)[SQUARE] == {
        "Wrong label predicted (%)": "40.0 to 40.0 (n=1)",
        "Fits that diverged": "0",
        "Median p_y between": "0.5 and 0.9",
    }
