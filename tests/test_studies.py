"""The studies beyond the paper: one option at a time, and no run that the plan has already."""

from dataclasses import asdict

import pytest
from invented import unknown

from lossbench.config.run import Runtime, run_id
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.cnn5c import Cnn5c, Padding
from lossbench.studies.aaai20 import second_runs, variants
from lossbench.studies.aaai20.conditions import Place, reference_blocks
from lossbench.studies.aaai20.grid import cells
from lossbench.studies.aaai20.variants import READ, betas, blocks, defaults, lgl_factors, plan, readings


@pytest.mark.parametrize("place", READ, ids=lambda place: place.model)
def test_a_reading_changes_one_option(place: Place) -> None:
    known = defaults(place).cells
    for variant in readings(place):
        for loss, cell in variant.cells.items():
            one, other = (asdict(config) for config in (cell.config, known[loss].config))
            options = [(part, key) for part in ("dataset", "model", "loss", "schedule") for key in one[part]]
            changed = [option for option in options if one[option[0]][option[1]] != other[option[0]][option[1]]]
            assert len(changed) == (0 if variant.best else 1), variant
            assert len(cell.configs) == variants.NUM_SEEDS
            assert cell.config.model.name == place.model


def test_every_padding_of_cnn5c_is_a_reading() -> None:
    paddings = [variant for variant in readings(READ[1]) if variant.option == "padding of CNN5C"]
    models = [cell.config.model for variant in paddings for cell in variant.cells.values()]
    assert {model.padding for model in models if isinstance(model, Cnn5c)} == set(Padding) - {Padding.first}
    assert [len(variant.cells) for variant in paddings] == [3, 3, 3, 3]


def test_the_default_reading_is_the_papers_cells() -> None:
    paper = {(cell.loss, cell.dataset): cell for cell in cells(3, "paper") if cell.rows[0] == "CNN2C"}
    for name, label in (("kmnist", "KMNIST"), ("fmnist", "FMNIST"), ("mnist", "MNIST")):
        for loss, cell in defaults(Place("cnn2c", name)).cells.items():
            assert cell.key == paper[loss, label].key
            assert cell.paper == paper[loss, label].paper
            assert cell.config.model == Cnn2c()


def test_the_runs_that_are_new() -> None:
    planned = {run_id(c) for _, configs in reference_blocks(True, Runtime(), unknown) for c in configs}
    new = {name: {run_id(config) for config in configs} - planned for name, configs in blocks(True, Runtime())}
    assert {name: len(runs) for name, runs in new.items()} == {
        "readings of CNN2C on KMNIST": 54,
        "LGL's factor": 36,
        "beta and the weights": 18,
        "what the losses do, epoch by epoch": 9,
        "initial weights crossed with order": 24,
        "readings of CNN5C on KMNIST": 90,
    }
    assert [name for name, _ in blocks(False, Runtime())] == list(new)[:-1]
    for _, configs in blocks(True, Runtime()):
        assert [config.seed for config in configs] == sorted(config.seed for config in configs)
        assert len({repr(config.runtime) for config in configs}) == 1
    first, second = reference_blocks(True, Runtime(), unknown), second_runs.blocks(Runtime(), unknown)
    planned_studies = list(plan(True, Runtime(), unknown))[len(list(first)) : -len(list(second))]
    assert len(planned_studies) == 5
    assert [name for name, _ in planned_studies[-2:]] == list(new)[-2:]
    assert sorted(run_id(c) for _, configs in planned_studies for c in configs) == sorted(
        run_id(c) for _, configs in blocks(True, Runtime()) for c in configs
    )
    name, second = planned_studies[1]
    assert name == "studies beyond the paper, second seed"
    assert {(config.seed, config.runtime.class_trace) for config in second} == {(1, False), (2001, True)}
    made_for = list(dict.fromkeys(config.runtime.experiment for config in second))
    assert made_for == list(new)[:4]
    assert [(variant.option, variant.choice) for variant in betas()][:3] == [
        ("attached", "0"),
        ("attached", "1"),
        ("detached", "1"),
    ]
    assert [cell.dataset for cell in lgl_factors()[5.0]] == ["KMNIST", "FMNIST", "MNIST"]
    assert {cell.config.loss.scale for cells in lgl_factors().values() for cell in cells} == {1.0, 2.0, 3.0, 5.0, 10.0}
