"""Cells of tables: runs that differ in their seed alone, with labels and a number printed elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossbench.config.run import (
    Config,
    Runtime,
    name_of,
    run_id,
)

LABELS = {
    "mnist": "MNIST",
    "fmnist": "FMNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR-10",
    "digits": "digits",
    "cnn2c": "CNN2C",
    "cnn5c": "CNN5C",
    "mobilenetv2": "MobileNetV2",
    "resnet18": "ResNet-18",
    "lgl": "LGL",
    "sml": "SML",
    "lgl_inr": "LGL-INR",
}


@dataclass(frozen=True)
class Cell:
    """A place in a table: its labels, the paper's number, and the runs that fill it."""

    table: int
    rows: tuple[str, ...]  # labels of the row, outermost first
    column: str
    paper: float | None  # percent
    configs: tuple[Config, ...]  # one a seed

    @property
    def row(self) -> str:
        """The row's labels in one."""
        return " ".join(self.rows)

    @property
    def config(self) -> Config:
        """What the cell's runs have in common, with the first seed."""
        return self.configs[0]

    @property
    def loss(self) -> str:
        """The loss, as tables write it."""
        return LABELS[self.config.loss.name]

    @property
    def dataset(self) -> str:
        """The data set, as tables write it."""
        return LABELS[self.config.dataset.name]

    @property
    def key(self) -> str:
        """What the names of the cell's runs have in common: the run with seed 0."""
        return run_id(replace(self.config, seed=0))


def made_for(experiment: str, configs: Iterable[Config], runtime: Runtime) -> list[Config]:
    """The same runs under one runtime, whose record says what they were made for, with how many seeds."""
    chosen = list(configs)
    num_seeds = len({config.seed for config in chosen})
    own = replace(runtime, experiment=experiment, profile="paper", num_seeds=num_seeds)
    return [replace(config, runtime=own) for config in chosen]


def cell_key(record: Mapping[str, Any]) -> str:
    """The key of the cells that a run fills, from its record."""
    return name_of({**record["config"], "seed": 0}, record["numerics"])
