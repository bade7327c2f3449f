"""The studies beyond the paper: one option at a time, and no run that the plan has already."""

from dataclasses import asdict

from lossbench import studies
from lossbench.arms import reference_blocks
from lossbench.config import Cnn2c, Runtime, run_id
from lossbench.experiments import cells
from lossbench.studies import betas, blocks, defaults, lgl_scales, readings


def test_a_reading_changes_one_option() -> None:
    known = defaults().cells
    for variant in readings():
        for loss, cell in variant.cells.items():
            one, other = (asdict(config) for config in (cell.config, known[loss].config))
            options = [(part, key) for part in ("dataset", "model", "loss", "schedule") for key in one[part]]
            changed = [option for option in options if one[option[0]][option[1]] != other[option[0]][option[1]]]
            assert len(changed) == 1, variant
            assert len(cell.configs) == studies.NUM_SEEDS


def test_the_default_reading_is_the_papers_cells() -> None:
    paper = {(cell.loss, cell.dataset): cell for cell in cells(3, "paper") if cell.rows[0] == "CNN2C"}
    for name, label in (("kmnist", "KMNIST"), ("fmnist", "FMNIST"), ("mnist", "MNIST")):
        for loss, cell in defaults(name).cells.items():
            assert cell.key == paper[loss, label].key
            assert cell.paper == paper[loss, label].paper
            assert cell.config.model == Cnn2c()


def test_the_runs_that_are_new() -> None:
    planned = {run_id(c) for _, configs in reference_blocks(False, Runtime(), lambda config: None) for c in configs}
    new = {name: {run_id(config) for config in configs} - planned for name, configs in blocks(Runtime())}
    assert {name: len(runs) for name, runs in new.items()} == {
        "readings on KMNIST": 54,
        "LGL's factor": 36,
        "beta and the weights": 18,
        "what the losses do, epoch by epoch": 9,
        "class weights on imbalanced data": 135,
        "initial weights crossed with order": 24,
    }
    for _, configs in blocks(Runtime()):
        assert [config.seed for config in configs] == sorted(config.seed for config in configs)
        assert len({repr(config.runtime) for config in configs}) == 1
    assert [(variant.option, variant.choice) for variant in betas()][:3] == [
        ("attached", "0"),
        ("attached", "1"),
        ("detached", "1"),
    ]
    assert {variant.dataset for variant in lgl_scales()} == {"kmnist", "fmnist", "mnist"}
