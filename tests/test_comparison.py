"""A comparison of losses: which runs it needs, how a learning rate is chosen, what is judged, and its fixed rules."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from invented import Known
from scipy import stats

from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.losses.focal import Focal
from lossbench.losses.lgl import Lgl
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.statistics.improvement import improvement
from lossbench.studies.aaai20.conditions import PLACES, cell_at, curve
from lossbench.studies.compared import Compared
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.eight_losses import study as eight_losses
from lossbench.studies.fixed_rules import default_name, fix_rules, read_rules

LOSSES = {"SML": Sml(), "LGL": Lgl(), "Focal": Focal()}
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def comparison(**changes: object) -> Comparison:
    losses = {label: Config(MnistType("kmnist"), Cnn2c(), loss, Schedule()) for label, loss in LOSSES.items()}
    rules = Rules("SML", 0.0025)
    return Comparison(losses, replace(rules, **changes))  # type: ignore[arg-type]


Peak = Callable[[Config], float | None]


def peaked(best: Mapping[str, float], shift: Callable[[Config], float] = lambda config: 0.0) -> Peak:
    """Validation curves of single peaks at each loss's best rate; a step of the grid costs 2 points."""

    def accuracy(config: Config) -> float | None:
        if config.dataset.num_validation is None:
            return None
        steps = abs(math.log10(config.schedule.lr / best[config.loss.name])) / math.log10(3.2)
        return 0.95 - 0.02 * steps + shift(config)

    return accuracy


def planned(one: Comparison, accuracy: Peak) -> dict[str, list[Config]]:
    return {name: configs for name, configs in one.plan(accuracy, "compare", Runtime()) if configs}


def test_the_first_block_is_the_grid_with_one_seed_on_held_out_images() -> None:
    found = planned(comparison(), lambda config: None)
    assert list(found) == ["learning rates", "all losses at the common learning rate"]
    grid = found["learning rates"]
    assert {(config.loss.name, config.schedule.lr) for config in grid} == {
        (loss.name, lr) for loss in LOSSES.values() for lr in GRID
    }
    assert {(config.seed, config.dataset.num_validation) for config in grid} == {(1000, 6000)}
    assert [config.seed for config in found["all losses at the common learning rate"]] == sorted([*range(5)] * 3)
    assert {config.schedule.lr for config in found["all losses at the common learning rate"]} == {0.01}
    assert {config.runtime.experiment for config in grid} == {"compare"}


def test_edges_are_extended_and_the_best_and_its_neighbours_get_two_more_seeds() -> None:
    one = comparison()
    accuracy = peaked({"sml": 0.1, "lgl": 10.0, "focal": 0.0001})
    assert one.wanted("SML", accuracy) == GRID
    assert one.wanted("LGL", accuracy) == (*GRID, 3.0, 10.0, 30.0)
    assert one.wanted("Focal", accuracy) == (0.00003, 0.0001, 0.0003, *GRID)
    again = planned(one, accuracy)["the best learning rates and their neighbours again"]
    windows = {
        name: sorted({config.schedule.lr for config in again if config.loss.name == name})
        for name in ("sml", "lgl", "focal")
    }
    assert windows == {"sml": [0.03, 0.1, 0.3], "lgl": [3.0, 10.0, 30.0], "focal": [0.00003, 0.0001, 0.0003]}
    assert {config.seed for config in again} == {1001, 1002}
    assert len(again) == 18
    at_own = planned(one, accuracy)["each loss at its own learning rate"]
    assert {(config.loss.name, config.schedule.lr) for config in at_own} == {
        ("sml", 0.1),
        ("lgl", 10.0),
        ("focal", 0.0001),
    }
    assert {config.dataset.num_validation for config in at_own} == {None}


def test_a_loss_takes_17_runs_to_choose_at_most() -> None:
    one = comparison()
    accuracy = peaked({"sml": 1e9, "lgl": 0.1, "focal": 1e-9})
    own = one.own_lr("SML", accuracy)
    assert own is not None
    assert (own.lr, own.at_edge) == (100.0, True)
    low = one.own_lr("Focal", accuracy)
    assert low is not None
    assert (low.lr, low.at_edge) == (0.00001, True)
    chosen = [config for name, configs in planned(one, accuracy).items() if "rate" in name for config in configs]
    selecting = {run_id(config) for config in chosen if config.dataset.num_validation}
    num = {name: sum(f"-{name}-" in run for run in selecting) for name in ("sml", "lgl", "focal")}
    assert num == {"sml": 15, "lgl": 13, "focal": 15}  # an edge has one neighbour
    assert Rules("SML", 0.0025).most_runs == (17, 10)


def test_the_mean_of_three_seeds_decides_and_divergence_is_worst() -> None:
    one = comparison()

    def later(config: Config) -> float:
        lucky = config.seed == 1000 and config.schedule.lr == 0.1
        return 0.03 if lucky else -0.02 if config.schedule.lr == 0.1 else 0.0

    accuracy = peaked({"sml": 0.03, "lgl": 0.1, "focal": 0.1}, later)
    own = one.own_lr("SML", accuracy)
    assert own is not None
    assert own.lr == 0.03

    def diverges(config: Config) -> float | None:
        bad = config.seed == 1001 and config.schedule.lr == 0.03 and config.dataset.num_validation
        return math.nan if bad else accuracy(config)

    own = one.own_lr("SML", diverges)
    assert own is not None
    assert own.lr != 0.03
    missing = one.own_lr("SML", lambda config: None if config.seed == 1002 else accuracy(config))
    assert missing is None


def test_runs_are_those_of_the_papers_study() -> None:
    one = comparison()
    theirs = curve(PLACES[0], Sml(), Runtime())
    for lr in theirs:
        assert run_id(one.selecting("SML", lr)[0]) == run_id(
            replace(theirs[lr], dataset=one.selecting("SML", lr)[0].dataset)
        )
        assert run_id(one.selecting("SML", lr)[0]) == run_id(theirs[lr])
    assert list(map(run_id, one.at("SML", 0.1).configs)) == list(map(run_id, cell_at(PLACES[0], Sml(), 0.1).configs))


@pytest.mark.parametrize(
    ("dataset", "held_out", "num_train"),
    [
        (MnistType("mnist"), 6000, None),
        (MnistType("mnist", num_train=500), 6000, 500),
        (MnistType("mnist", num_train=59_000), 6000, None),
        (MnistType("mnist", classes=[4, 6]), 1200, None),
        (Digits(), 149, None),
    ],
)
def test_a_tenth_of_the_training_images_is_held_out(
    dataset: MnistType | Digits, held_out: int, num_train: int | None
) -> None:
    losses = {label: Config(dataset, Cnn2c(), loss, Schedule()) for label, loss in LOSSES.items()}
    chosen = Comparison(losses, Rules("SML", 0.0025)).selecting("SML", 0.1)[0].dataset
    assert (chosen.num_validation, chosen.num_train) == (held_out, num_train)


def filled(one: Comparison, own: Mapping[str, tuple[float, ...]], common: Mapping[str, tuple[float, ...]]) -> Known:
    """Whole curves with the best at 0.1, and reported accuracies by seed; nan: diverged."""
    accuracy, diverged = peaked({"sml": 0.1, "lgl": 0.1, "focal": 0.1}), []
    given = {0.1: own, None: common}
    results = [
        (config, values[config.seed])
        for lr, of in given.items()
        for label, values in of.items()
        for config in one.at(label, lr).configs
    ]
    diverged = [run_id(config) for config, value in results if math.isnan(value)]
    known = Known(*diverged)
    for label in one.losses:
        for lr in GRID:
            for config in one.selecting(label, lr):
                known.add(config, float(accuracy(config) or 0.0))
    for config, value in results:
        if not math.isnan(value):
            known.add(config, value)
    return known


SML = (0.900, 0.902, 0.898, 0.901, 0.899)
LGL = (0.890, 0.893, 0.887, 0.892, 0.889)
FOCAL = (0.9003, 0.9021, 0.8984, 0.9012, 0.8993)


def test_verdicts_are_paired_t_with_holm_and_equivalence_within_the_margin() -> None:
    one = comparison()
    done = Compared(one, filled(one, {"SML": SML, "LGL": LGL, "Focal": FOCAL}, {"SML": SML, "LGL": SML, "Focal": LGL}))
    lgl, focal = (next(loss for loss in done.losses if loss.label == label) for label in ("LGL", "Focal"))
    assert done.baseline.against_own is None
    assert lgl.against_own is not None
    assert focal.against_own is not None
    p_lgl = stats.ttest_rel(LGL, SML).pvalue
    p_focal = stats.ttest_rel(FOCAL, SML).pvalue
    assert lgl.against_own.difference.p == pytest.approx(p_lgl)
    assert (lgl.against_own.word, focal.against_own.word) == ("lower", "higher, within the margin")
    assert lgl.against_own.p_holm == pytest.approx(2 * min(p_lgl, p_focal))
    assert focal.against_own.p_holm == pytest.approx(max(p_focal, 2 * min(p_lgl, p_focal)))
    assert lgl.against_own.difference.mean == pytest.approx(np.mean(np.subtract(LGL, SML)))
    assert lgl.against_own.improvement.p == 0.0
    assert focal.against_own.improvement.p == pytest.approx(
        np.mean([[(a > b) + (a == b) / 2 for b in SML] for a in FOCAL])
    )
    assert lgl.against_common is not None
    assert lgl.against_common.word == "equal"
    assert focal.against_common is not None
    assert focal.against_common.word == "lower"


def test_diverged_runs_are_counted_and_never_averaged() -> None:
    one = comparison()
    own = {"SML": SML, "LGL": (math.nan, *LGL[1:]), "Focal": FOCAL}
    done = Compared(one, filled(one, own, {}))
    lgl = next(loss for loss in done.losses if loss.label == "LGL")
    assert lgl.at_own.diverged == 1
    assert lgl.at_own.moments.mean == pytest.approx(np.mean(LGL[1:]))
    assert lgl.against_own is not None
    assert lgl.against_own.pairs.n == 4
    assert lgl.at_common.values == (None,) * 5


def test_the_probability_of_improvement_has_the_interval_of_newcombe() -> None:
    found = improvement([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert (found.p, found.n) == (pytest.approx(8.5 / 9), (3, 3))

    def z(p: float) -> float:  # the score whose square is 1.96^2 at the ends
        variance = p * (1 - p) * (1 + 2 * ((1 - p) / (2 - p) + p / (1 + p))) / 9
        return (found.p - p) / math.sqrt(variance)

    assert z(found.low) == pytest.approx(1.96, abs=1e-3)
    assert z(found.high) == pytest.approx(-1.96, abs=1e-3)
    none = improvement([], [1.0])
    assert math.isnan(none.p)
    assert none.n == (0, 1)
    assert math.isnan(improvement([1.0], [2.0, 3.0]).low)
    assert improvement([1.0, 1.0], [1.0, 1.0]).p == 0.5
    assert improvement([2.0] * 5, [1.0] * 5).high == 1.0


def test_rules_are_fixed_once_and_say_what_was_known(tmp_path: Path) -> None:
    one = comparison()
    known = filled(one, {"SML": SML}, {})
    fixed = fix_rules(tmp_path, "mine", one, known)
    assert fixed.runs_before == 3 * 7 * 3 + 5
    assert fixed.rules["margin"] == 0.0025
    assert fixed.rules["baseline"] == "SML"
    assert fix_rules(tmp_path, "mine", one, Known()) == fixed == read_rules(tmp_path, "mine")
    for changes, said in (
        ({"margin": 0.005}, "fixed margin 0.25 on .*, and now it is 0.5; name="),
        ({"baseline": "LGL"}, "fixed baseline SML on .*, and now it is LGL; name="),
        ({"num_seeds": 3}, "fixed num seeds 5 on .*, and now it is 3; name="),
    ):
        with pytest.raises(ValueError, match=said):
            fix_rules(tmp_path, "mine", comparison(**changes), known)
    assert read_rules(tmp_path, "mine") == fixed
    assert fix_rules(tmp_path, "other", comparison(margin=0.005), known).runs_before == fixed.runs_before
    assert default_name(one) == default_name(comparison(margin=0.005, baseline="LGL"))
    (tmp_path / "comparisons" / "mine" / "rules.json").write_text("{")
    with pytest.raises(ValueError, match=r"rules.json is damaged; remove it"):
        fix_rules(tmp_path, "mine", one, known)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline": "Brier"}, "the baseline Brier is not among the losses compared: SML, LGL, Focal"),
        ({"margin": 0.0}, "margin must be > 0 and < 100 points, got 0"),
        ({"num_seeds": 0}, "seeds must be >= 1, got 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        comparison(**changes)


def test_the_eight_losses_share_the_runs_of_the_paper_on_fashion_mnist() -> None:
    one = eight_losses.comparison()
    assert list(one.losses) == ["SML", "LGL", "LGL-INR", "Squared", "Entmax", "Brier", "Focal", "Label smoothing"]
    assert run_id(one.at("LGL").config) == run_id(cell_at(PLACES[1], Lgl()).config)
    assert run_id(one.selecting("LGL", 0.3)[0]) == run_id(curve(PLACES[1], Lgl(), Runtime())[0.3])
