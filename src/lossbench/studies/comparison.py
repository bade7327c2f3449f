"""A comparison of losses on one data set with one network: its rules and its runs.

Each loss gets its own learning rate, chosen on held-out training images. Then all losses are trained on all training
images, at their own rates and at a common one, with the same seeds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from lossbench.config.options import DatasetConfig, require
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.sizes import sizes
from lossbench.studies import learning_rates
from lossbench.studies.cells import Cell, cell_of, made_for
from lossbench.studies.learning_rates import Choice, OwnLr, Rates, neighbours, wanted_lrs
from lossbench.studies.study import Accuracy, Planned

RATES = Rates(
    grid=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
    below=(0.0003, 0.0001, 0.00003, 0.00001),
    above=(3.0, 10.0, 30.0, 100.0),
    most_extensions=4,
)

SELECTION_SEEDS = (1000, 1001, 1002)
"""Seeds of the runs that choose a learning rate, which no reported run has: the first of the whole grid, the others of
the best rate and its neighbours."""

HELD_OUT = 10
"""One in so many training images is held out when a learning rate is chosen."""


@dataclass(frozen=True)
class Rules:
    """What is fixed before the first run.

    Args:
        baseline: label of the loss that the others are compared with.
        margin: of equivalence, a fraction.
        num_seeds: reported runs of each loss and learning rate, with seeds 0, 1, ...
        rates: learning rates that are tried.
        selection_seeds: of the runs that choose.
        has_common: whether the losses are trained at the common learning rate too.
        selection_epochs: of the runs that choose; None: as many as reported runs have.
    """

    baseline: str
    margin: float
    num_seeds: int = 5
    rates: Rates = RATES
    selection_seeds: tuple[int, ...] = SELECTION_SEEDS
    has_common: bool = True
    selection_epochs: int | None = None

    def __post_init__(self) -> None:
        require(0 < self.margin < 1, "margin", "> 0 and < 100 points", 100 * self.margin)
        require(self.num_seeds >= 1, "seeds", ">= 1", self.num_seeds)

    @property
    def most_runs(self) -> tuple[int, int]:
        """Runs of a loss that choose its learning rate, and reported ones, at most."""
        grid = len(self.rates.grid) + self.rates.most_extensions
        return grid + 3 * (len(self.selection_seeds) - 1), (1 + self.has_common) * self.num_seeds


@dataclass(frozen=True)
class Comparison:
    """Losses that are compared, and the rules.

    Args:
        losses: the reported run with seed 0 at the common learning rate, by the loss's label, in the page's order.
        rules: fixed before the first run.
    """

    losses: Mapping[str, Config]
    rules: Rules

    def __post_init__(self) -> None:
        if self.rules.baseline not in self.losses:
            known = ", ".join(self.losses)
            raise ValueError(f"the baseline {self.rules.baseline} is not among the losses compared: {known}")
        if len(self.losses) < 2:
            raise ValueError(f"a comparison needs two losses or more, got {self.rules.baseline} alone")
        held_out = self.config.dataset.num_validation
        require(held_out is None, "dataset.num_validation", "null, as compare holds out images itself", held_out)

    @property
    def config(self) -> Config:
        """What the runs of all losses have in common, with the first loss."""
        return next(iter(self.losses.values()))

    @property
    def others(self) -> list[str]:
        """The labels of the losses that are compared with the baseline."""
        return [label for label in self.losses if label != self.rules.baseline]

    def at(self, label: str, lr: float | None = None) -> Cell:
        """The reported runs of a loss at a learning rate; None: the common one."""
        one = self.losses[label]
        schedule = one.schedule if lr is None else replace(one.schedule, lr=lr)
        cell = cell_of(one.loss, one.dataset, one.model, schedule, self.rules.num_seeds)
        return replace(cell, configs=tuple(replace(config, runtime=one.runtime) for config in cell.configs))

    def selecting(self, label: str, lr: float) -> tuple[Config, ...]:
        """The runs of a loss that choose its learning rate, at one rate, one a selection seed."""
        return self._selecting[label, lr]

    @cached_property
    def _selecting(self) -> dict[tuple[str, float], tuple[Config, ...]]:
        """All runs that may choose a learning rate, made once: looking up a run again is faster by its object."""
        dataset = _held_out(self.config.dataset)
        return {
            (label, lr): tuple(
                replace(one, dataset=dataset, schedule=self._selecting_schedule(one, lr), seed=seed)
                for seed in self.rules.selection_seeds
            )
            for label, one in self.losses.items()
            for lr in self.rules.rates.steps
        }

    def _selecting_schedule(self, one: Config, lr: float) -> Schedule:
        """The schedule of a run that chooses; a short one is tested at its end alone."""
        epochs = self.rules.selection_epochs
        if epochs is None:
            return replace(one.schedule, lr=lr)
        return replace(one.schedule, lr=lr, epochs=epochs, evaluate_every_steps=None)

    def points(self, label: str, accuracy: Accuracy) -> dict[float, tuple[float | None, ...]]:
        """Validation accuracies of a loss by learning rate, one a selection seed; of all rates that may be tried."""
        return {lr: tuple(map(accuracy, self.selecting(label, lr))) for lr in self.rules.rates.steps}

    def wanted(self, label: str, accuracy: Accuracy) -> tuple[float, ...]:
        """The learning rates that the curve of a loss needs as far as is known."""
        return wanted_lrs(self.rules.rates, self._first_points(label, accuracy))

    def choice(self, label: str, accuracy: Accuracy) -> Choice | None:
        """The own learning rate of a loss, by all selection seeds; None while its curve is not whole."""
        known = self._first_points(label, accuracy)
        first = learning_rates.own_lr(self.rules.rates, known)
        if first is None:
            return None
        lrs = wanted_lrs(self.rules.rates, known)

        def accuracies(lr: float) -> tuple[float | None, ...]:
            return tuple(map(accuracy, self.selecting(label, lr)))

        return learning_rates.choice(lrs, neighbours(lrs, first.lr), accuracies, widens=False)

    def own_lr(self, label: str, accuracy: Accuracy) -> OwnLr | None:
        """The own learning rate of a loss, and whether it is at an edge of its curve; None while it is not known."""
        found = self.choice(label, accuracy)
        if found is None or found.best is None:
            return None
        lrs = self.wanted(label, accuracy)
        return OwnLr(found.best, found.best in (lrs[0], lrs[-1]))

    def at_own(self, label: str, accuracy: Accuracy) -> Cell | None:
        """The reported runs of a loss at its own learning rate; None while that is not known."""
        own = self.own_lr(label, accuracy)
        return None if own is None else self.at(label, own.lr)

    def _first_points(self, label: str, accuracy: Accuracy) -> dict[float, float | None]:
        return {lr: accuracy(self.selecting(label, lr)[0]) for lr in self.rules.rates.steps}

    def with_logits(self, accuracy: Accuracy, num_seeds: int) -> Iterator[Config]:
        """The runs whose logits a study keeps: of each loss at its own rate some reported ones and the first selecting.

        Args:
            accuracy: what is known.
            num_seeds: reported runs of each loss.
        """
        for label in self.losses:
            own = self.own_lr(label, accuracy)
            if own is not None:
                yield from self.at(label, own.lr).configs[:num_seeds]
                yield self.selecting(label, own.lr)[0]

    def plan(self, accuracy: Accuracy, experiment: str, runtime: Runtime) -> Iterator[Planned]:
        """The runs to do in named blocks; a block is made when its turn comes, as it follows from those before.

        Args:
            accuracy: what is known.
            experiment: what the records say that the runs were made for.
            runtime: how they are done.
        """

        def block(name: str, configs: Iterable[Config]) -> Planned:
            return name, sorted(made_for(experiment, configs, runtime), key=lambda config: config.seed)

        grid = self.rules.rates.grid
        first = [self.selecting(label, lr)[0] for lr in grid for label in self.losses]
        yield block("learning rates", first)
        for nth in range(1, self.rules.rates.most_extensions + 1):
            beyond = [
                self.selecting(label, lr)[0]
                for label in self.losses
                for lr in self.wanted(label, accuracy)
                if lr not in grid
            ]
            yield block(f"learning rates beyond an edge of the grid ({nth})", beyond)
        if len(self.rules.selection_seeds) > 1:
            found = [(label, self.choice(label, accuracy)) for label in self.losses]
            again = [
                config for label, one in found if one for lr in one.window for config in self.selecting(label, lr)[1:]
            ]
            yield block("the best learning rates and their neighbours again", again)
        own = [self.at_own(label, accuracy) for label in self.losses]
        yield block("each loss at its own learning rate", (one for cell in own if cell for one in cell.configs))
        if self.rules.has_common:
            common = [self.at(label) for label in self.losses]
            yield block("all losses at the common learning rate", (one for cell in common for one in cell.configs))


def _held_out(dataset: DatasetConfig) -> DatasetConfig:
    """The data set with a part of its training samples held out as test samples."""
    whole = replace(dataset, num_train=None, imbalance=None, imbalance_ratio=None)
    total = sizes(whole).num_train
    num = max(total // HELD_OUT, 1)
    few = dataset.num_train is not None and dataset.num_train < total - num
    return replace(dataset, num_validation=num, num_train=dataset.num_train if few else None)
