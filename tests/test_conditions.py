"""The plan of docs/statistics.md: which runs, in which order, and what follows from the learning-rate curves."""

import math
from dataclasses import replace
from itertools import product

import pytest

from lossbench.config.run import Config, Runtime, run_id
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.aaai20 import conditions
from lossbench.studies.aaai20.conditions import (
    PLACES,
    RATES,
    SCALES,
    cells,
    curve,
    points,
    reference_blocks,
)
from lossbench.studies.aaai20.grid import LITERAL_HEAD
from lossbench.studies.aaai20.keys import labelled
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.learning_rates import OwnLr, own_lr, wanted_lrs

GRID = dict(zip(RATES.grid, (0.90, 0.93, 0.95, 0.94, 0.92, 0.10), strict=True))


def unknown(config: Config) -> float | None:
    return None


def best_at(**lrs: float) -> conditions.Accuracy:
    """Curves of single peaks, by loss."""

    def accuracy(config: Config) -> float | None:
        if not config.dataset.num_validation:
            return None
        return 0.9 - abs(math.log(config.schedule.lr / lrs[config.loss.name])) / 100

    return accuracy


def test_the_reference_runs_are_those_of_the_rules_in_their_order() -> None:
    blocks = list(reference_blocks(False, Runtime(), unknown))
    assert [len(configs) for _, configs in blocks] == [45, 10, 36, 0, 0, 30, 0, 27]
    names = [run_id(config) for _, configs in blocks for config in configs]
    assert len(set(names)) == 148
    first = blocks[0][1]
    for name, configs in blocks:
        assert [config.seed for config in configs] == sorted(config.seed for config in configs)
        assert len({repr(config.runtime) for config in configs}) <= 1, f"{name}: one sweep has one runtime"
    assert first[0].runtime == Runtime(experiment="table3", profile="paper", num_seeds=5)
    assert all(config.model == Cnn2c() for config in first)
    assert {(config.dataset.name, config.loss.name) for config in first[:9]} == {
        (dataset, loss) for dataset in ("mnist", "fmnist", "kmnist") for loss in ("lgl", "sml", "lgl_inr")
    }
    curves = blocks[2][1]
    assert {config.dataset.num_validation for config in curves} == {6000}
    assert {config.seed for config in curves} == {1000}
    assert [config.dataset.name for config in curves] == ["kmnist"] * 18 + ["fmnist"] * 18
    assert [config.schedule.lr for config in curves[:6]] == [0.003] * 3 + [0.01] * 3
    assert {(config.loss.name, config.schedule.lr) for config in curves[:18]} == set(
        product(("lgl", "sml", "lgl_inr"), RATES.grid)
    )
    assert all(replace(config.schedule, lr=0.01) == paper_schedule(config.dataset.name) for config in curves)
    scaled = blocks[5][1]
    assert {(config.dataset.name, config.loss.name, config.loss.scale) for config in scaled} == {
        (place.dataset, loss, scale) for place in PLACES for loss, scale in SCALES[place].items()
    }
    assert {config.seed for config in blocks[7][1]} == {0, 1, 2}
    with_gpu = list(reference_blocks(True, Runtime(), unknown))
    large = [18, 0, 0, 15, 0, 18, 0, 0, 9, 0]
    assert [len(configs) for _, configs in with_gpu] == [6, 9, 12, 36, 45, 10, 36, 0, 0, 30, 0, 27, *large]
    assert [config.seed for _, configs in with_gpu[:2] for config in configs] == [0] * 15
    assert [run_id(config) for config in with_gpu[4][1]] == [run_id(config) for config in first]
    for (_, configs), size, shape in ((with_gpu[12], 6000, "cnn5c"), (with_gpu[17], 5000, "resnet18")):
        assert {(config.dataset.num_validation, config.model.name) for config in configs} == {(size, shape)}
        assert {config.schedule.lr for config in configs} == set(RATES.grid)
    assert {config.schedule.weight_decay for config in with_gpu[20][1]} == {1e-4}


def test_the_plan_goes_on_from_the_curves() -> None:
    blocks = dict(reference_blocks(False, Runtime(), best_at(lgl=1.0, sml=0.1, lgl_inr=0.01)))
    beyond = blocks["learning rates of CNN2C, one step beyond an edge of the grid"]
    assert [(config.dataset.name, config.loss.name, config.schedule.lr) for config in beyond] == [
        ("kmnist", "lgl", 3.0),
        ("fmnist", "lgl", 3.0),
    ]
    assert not blocks["learning rates of CNN2C, two steps beyond"]  # the one step is not told twice
    further = dict(reference_blocks(False, Runtime(), best_at(lgl=3.0, sml=0.1, lgl_inr=0.001)))
    lrs = [
        {config.schedule.lr for config in further[f"learning rates of CNN2C, {steps}"]}
        for steps in ("one step beyond an edge of the grid", "two steps beyond")
    ]
    assert lrs == [{3.0, 0.001}, {10.0, 0.0003}]
    own = blocks["CNN2C, each loss at its own learning rate"]
    assert len(own) == 30
    assert {(config.loss.name, config.schedule.lr) for config in own} == {("lgl", 1.0), ("sml", 0.1), ("lgl_inr", 0.01)}
    assert {config.dataset.num_validation for config in own} == {None}
    paper = blocks["CNN2C at the paper's learning rate"]
    serving = {run_id(config) for config in own} & {run_id(config) for config in paper}
    assert len(serving) == 10  # LGL-INR's best is the paper's


@pytest.mark.parametrize(
    ("changes", "wanted", "found"),
    [
        ({}, RATES.grid, OwnLr(0.03, False)),
        ({0.1: 0.95}, RATES.grid, OwnLr(0.03, False)),  # the smaller of equals
        ({0.03: math.nan}, RATES.grid, OwnLr(0.1, False)),
        ({0.3: None}, RATES.grid, None),
        ({1.0: 0.96}, (*RATES.grid, 3.0), None),
        ({1.0: 0.96, 3.0: 0.9}, (*RATES.grid, 3.0), OwnLr(1.0, False)),
        ({1.0: 0.96, 3.0: 0.97}, (*RATES.grid, 3.0, 10.0), None),
        ({1.0: 0.96, 3.0: 0.97, 10.0: 0.98}, (*RATES.grid, 3.0, 10.0), OwnLr(10.0, True)),
        ({0.003: 0.99}, (0.001, *RATES.grid), None),
        ({0.003: 0.99, 0.001: 0.991, 0.0003: 0.98}, (0.0003, 0.001, *RATES.grid), OwnLr(0.001, False)),
        (dict.fromkeys((0.0003, 0.001, *RATES.grid), math.nan), (0.0003, 0.001, *RATES.grid), OwnLr(0.0003, True)),
    ],
)
def test_the_own_learning_rate_is_the_best_of_a_grid_that_grows_at_its_edges(
    changes: dict[float, float | None], wanted: tuple[float, ...], found: OwnLr | None
) -> None:
    known = {**GRID, **changes}
    assert wanted_lrs(RATES, known) == wanted
    assert own_lr(RATES, known) == found


def test_arms_differ_in_what_their_name_says() -> None:
    paper, up, down, own, literal = (
        cells(condition, best_at(lgl=0.3, sml=0.1, lgl_inr=0.03)) for condition in ("paper", *conditions.CONDITIONS[1:])
    )
    assert len(paper) == 24 + 3
    assert {key.labels[2] for key in paper} == {"LGL", "SML", "LGL-INR", "beta 1", "beta 2", "beta 4"}
    assert paper[labelled("CNN2C", "KMNIST", "beta 1")].key == paper[labelled("CNN2C", "KMNIST", "LGL-INR")].key
    assert {key.labels for key in literal} == {
        (LITERAL_HEAD, d, loss) for d in ("MNIST", "FMNIST", "KMNIST") for loss in ("LGL", "SML", "LGL-INR")
    }
    networks = (("CNN2C", "KMNIST"), ("CNN2C", "FMNIST"), ("CNN5C", "KMNIST"), ("ResNet-18", "CIFAR-10"))
    places = {labelled(*network, loss) for network in networks for loss in ("LGL", "SML", "LGL-INR")}
    assert set(up) == set(down) == set(own) == places
    same_up = {key.labels[2] for key in places if up[key].key == paper[key].key}
    same_down = {key.labels[2] for key in places if down[key].key == paper[key].key}
    assert (same_up, same_down) == ({"LGL-INR"}, {"LGL", "SML"})
    assert up[labelled("CNN2C", "FMNIST", "LGL")].config.loss == Lgl(scale=6.15)
    assert down[labelled("CNN2C", "KMNIST", "LGL-INR")].config.loss == LglInr(scale=0.238)
    assert own[labelled("CNN2C", "KMNIST", "SML")].config.loss == Sml()
    assert own[labelled("CNN2C", "KMNIST", "SML")].config.schedule.lr == 0.1
    assert cells("own-lr", unknown) == {}
    for cell in (*up.values(), *down.values(), *own.values()):
        assert len(cell.configs) == (3 if cell.dataset == "CIFAR-10" else 5)
        assert cell.config.dataset.num_validation is None


def test_a_curve_is_read_from_its_own_runs() -> None:
    runs = curve(PLACES[0], Sml(), Runtime())
    known = {run_id(runs[0.1]): 0.95, run_id(replace(runs[0.3], seed=0)): 0.1}
    found = points(PLACES[0], Sml(), lambda config: known.get(run_id(config)))
    assert {lr: value for lr, value in found.items() if value is not None} == {0.1: 0.95}
