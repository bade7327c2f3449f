"""Cells of tables: runs that differ in their seed alone, with labels and a number printed elsewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lossbench.config import registry
from lossbench.config.options import DatasetConfig, LossConfig, ModelConfig
from lossbench.config.run import Config, Runtime, Schedule, name_of, run_id

LABELS: Mapping[str, str] = registry.LABELS
"""The labels of all registered losses, networks and data sets, by name, as tables write them."""


@dataclass(frozen=True)
class Part:
    """A network or a loss in a key: with its options as registered, or with one of them set otherwise.

    Args:
        name: as registered.
        option: the option that is set otherwise, and its value; None: none is.
        words: what tables write instead of its label; empty: the label.
    """

    name: str
    option: tuple[str, object] | None = None
    words: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """As tables write it."""
        return self.words or LABELS[self.name]


@dataclass(frozen=True)
class Key:
    """What a cell is about: a network on a data set with a loss, whatever its schedule and scale."""

    model: Part
    dataset: str  # as registered
    loss: Part

    @property
    def place(self) -> tuple[Part, str]:
        """The network and the data set."""
        return self.model, self.dataset

    @property
    def labels(self) -> tuple[str, str, str]:
        """Network, data set and loss, as tables write them."""
        return self.model.label, LABELS[self.dataset], self.loss.label


@dataclass(frozen=True)
class Cell:
    """A place in a table: its labels, a number printed elsewhere, and the runs that fill it."""

    table: int  # 0: of no printed table
    rows: tuple[str, ...]  # labels of the row, outermost first
    column: str
    paper: float | None  # the printed number in percent
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


def cell_of(loss: LossConfig, dataset: DatasetConfig, model: ModelConfig, schedule: Schedule, num_seeds: int) -> Cell:
    """A cell without a printed number: network and loss by data set, with seeds 0 to `num_seeds` - 1."""
    configs = tuple(Config(dataset, model, loss, schedule, seed) for seed in range(num_seeds))
    return Cell(0, (LABELS[model.name], LABELS[loss.name]), LABELS[dataset.name], None, configs)


def made_for(experiment: str, configs: Iterable[Config], runtime: Runtime) -> list[Config]:
    """The same runs under one runtime, whose record says what they were made for, with how many seeds."""
    chosen = list(configs)
    num_seeds = len({config.seed for config in chosen})
    own = replace(runtime, experiment=experiment, profile="paper", num_seeds=num_seeds)
    return [replace(config, runtime=own) for config in chosen]


def cell_key(record: Mapping[str, Any]) -> str:
    """The key of the cells that a run fills, from its record."""
    return name_of({**record["config"], "seed": 0}, record["numerics"])
