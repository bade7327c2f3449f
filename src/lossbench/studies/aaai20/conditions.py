"""The conditions of docs/statistics.md, their runs, and the order of the reference runs.

A condition gives every loss a cell: the paper's learning rate, scales matched, each loss's own learning rate, or the
head as printed. Known accuracies come in as a function of a config, so later runs can follow from the curves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from lossbench.config.options import DatasetConfig, LossConfig
from lossbench.config.registry import LABELS, MODELS
from lossbench.config.run import Config, Runtime
from lossbench.data.cifar10 import Cifar10
from lossbench.data.mnist_type import MnistType
from lossbench.studies.aaai20 import grid
from lossbench.studies.aaai20.grid import LOSSES, SEEDS, cell_of
from lossbench.studies.aaai20.keys import CNN2C, CNN5C, LITERAL, key_of, with_beta
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.cells import Cell, Key, Part, made_for
from lossbench.studies.learning_rates import OwnLr, Rates, own_lr, wanted_lrs
from lossbench.studies.study import Accuracy


@dataclass(frozen=True)
class Place:
    """A network on a data set, where the conditions of scale and own learning rate are."""

    model: str
    dataset: str
    milestones: tuple[float, ...] | None = None
    """Fractions of the epochs at which the learning rate falls tenfold; None: the paper's schedule."""

    @property
    def labels(self) -> tuple[str, str]:
        """Network and data set, as tables write them."""
        return LABELS[self.model], LABELS[self.dataset]

    @property
    def parts(self) -> tuple[Part, str]:
        """Network and data set, as keys of cells have them."""
        return Part(self.model), self.dataset

    @property
    def num_seeds(self) -> int:
        """Runs a cell."""
        return SEEDS["paper"][4 if self.dataset == "cifar10" else 3]

    def config(self, loss: LossConfig, runtime: Runtime, num_validation: int | None = None) -> Config:
        """The selection seed's run at the paper's learning rate."""
        whole: DatasetConfig = Cifar10() if self.dataset == "cifar10" else MnistType(self.dataset)
        data, schedule = replace(whole, num_validation=num_validation), paper_schedule(self.dataset)
        if self.milestones is not None:
            schedule = replace(schedule, milestones=list(self.milestones))
        return Config(data, MODELS[self.model].options(), loss, schedule, SELECTION_SEED, runtime)


MARGINS = {"mnist": 0.0010, "fmnist": 0.0025, "kmnist": 0.0025, "cifar10": 0.0025}
"""Differences in accuracy that do not matter, fractions, by data set: docs/statistics.md."""

CONDITIONS = ("paper", "scale-up", "scale-down", "own-lr", "literal")
PLACES = (Place("cnn2c", "kmnist"), Place("cnn2c", "fmnist"))
"""Where the headline and the claims about the conditions are judged."""

LARGE = (Place("cnn5c", "kmnist"), Place("resnet18", "cifar10"))
"""Shown beside, where a GPU has been at work."""

NEXT_TO_GRID = (0.001, 3.0)
RATES = Rates((0.003, 0.01, 0.03, 0.1, 0.3, 1.0), (NEXT_TO_GRID[0], 0.0003), (NEXT_TO_GRID[1], 10.0), 2)
"""The grid and what it may be extended by, twice at most."""

SELECTION_SEED = 1000  # of the runs that choose a learning rate; no reported run has it
NUM_VALIDATION = {"mnist": 6000, "kmnist": 6000, "fmnist": 6000, "cifar10": 5000}  # a tenth of the training images
SCALES = {
    PLACES[0]: {"sml": 4.21, "lgl": 5.94, "lgl_inr": 0.238},
    PLACES[1]: {"sml": 4.21, "lgl": 6.15, "lgl_inr": 0.238},
    LARGE[0]: {"sml": 4.91, "lgl": 11.4, "lgl_inr": 0.204},
    LARGE[1]: {"sml": 5.89, "lgl": 21.2, "lgl_inr": 0.170},
}
"""Factors to LGL-INR's gradient norm for SML and LGL, to SML's for LGL-INR: tools/measure_scales.py."""


def cells(condition: str, accuracy: Accuracy) -> dict[Key, Cell]:
    """The cells of a condition, losses of Table 5 with their beta; of `own-lr` those whose learning rate is known."""
    if condition in ("paper", "literal"):
        tables = grid.TABLES if condition == "paper" else (3,)
        every = {key_of(cell): cell for table in tables for cell in grid.cells(table, "paper")}
        return {key: cell for key, cell in every.items() if (key.model == LITERAL) == (condition == "literal")}
    chosen = []
    for place, loss in product((*PLACES, *LARGE), LOSSES):
        best = own(place, loss, accuracy) if condition == "own-lr" else None
        if best is not None:
            chosen.append(cell_at(place, loss, best.lr))
        elif condition != "own-lr":
            scaled = (loss.name == "lgl_inr") == (condition == "scale-down")
            chosen.append(cell_at(place, _scaled(place, loss) if scaled else loss))
    return {key_of(cell): cell for cell in chosen}


def curve(place: Place, loss: LossConfig, runtime: Runtime) -> dict[float, Config]:
    """The runs of an accuracy-over-lr curve, by learning rate, those it may be extended by among them."""
    one = place.config(loss, runtime, NUM_VALIDATION[place.dataset])
    return {lr: replace(one, schedule=replace(one.schedule, lr=lr)) for lr in RATES.steps}


def points(place: Place, loss: LossConfig, accuracy: Accuracy) -> dict[float, float | None]:
    """What is known of a curve: validation accuracy by learning rate."""
    return {lr: accuracy(config) for lr, config in curve(place, loss, Runtime()).items()}


def own(place: Place, loss: LossConfig, accuracy: Accuracy) -> OwnLr | None:
    """A loss's own learning rate by the selection seed; None while a run of its curve is missing."""
    return own_lr(RATES, points(place, loss, accuracy))


def cell_at(place: Place, loss: LossConfig, lr: float | None = None) -> Cell:
    """A cell of a place, at the paper's learning rate or another."""
    one = place.config(loss, Runtime())
    schedule = one.schedule if lr is None else replace(one.schedule, lr=lr)
    return cell_of(loss, one.dataset, one.model, schedule, place.num_seeds)


def block_of(name: str, chosen: Iterable[Cell], experiment: str, runtime: Runtime) -> tuple[str, list[Config]]:
    """The runs of some cells as a named block, all first seeds first."""
    configs = made_for(experiment, (config for cell in chosen for config in cell.configs), runtime)
    return name, sorted(configs, key=lambda config: config.seed)


def curve_blocks(
    name: str, places: Sequence[Place], runtime: Runtime, accuracy: Accuracy
) -> Iterator[tuple[str, list[Config]]]:
    """The runs of every loss's accuracy-over-lr curve, and what an edge of the grid asks for, all losses of a rate."""

    def curves(title: str, lrs: Callable[[Mapping[float, float | None]], Iterable[float]]) -> tuple[str, list[Config]]:
        wanted = [
            (place, lr, curve(place, loss, runtime)[lr])
            for place, loss in product(places, LOSSES)
            for lr in lrs(points(place, loss, accuracy))
        ]
        wanted.sort(key=lambda point: (places.index(point[0]), point[1]))
        return title, made_for("learning_rates", (config for *_, config in wanted), runtime)

    def beyond(next_to_grid: bool) -> Callable[[Mapping[float, float | None]], list[float]]:
        return lambda known: [
            lr for lr in wanted_lrs(RATES, known) if lr not in RATES.grid and (lr in NEXT_TO_GRID) == next_to_grid
        ]

    yield curves(f"learning rates of {name}, on validation images", lambda known: RATES.grid)
    yield curves(f"learning rates of {name}, one step beyond an edge of the grid", beyond(True))
    yield curves(f"learning rates of {name}, two steps beyond", beyond(False))


def reference_blocks(has_gpu: bool, runtime: Runtime, accuracy: Accuracy) -> Iterator[tuple[str, list[Config]]]:
    """The reference runs of docs/statistics.md in order of importance: named blocks, in each all first seeds first.

    A block is made when its turn comes, so the later ones follow from what the earlier ones gave. The networks that are
    out of a CPU's reach come first on a GPU, and are left to it.
    """

    def block(name: str, chosen: Iterable[Cell], experiment: str) -> tuple[str, list[Config]]:
        return block_of(name, chosen, experiment, runtime)

    def seeds(chosen: Iterable[Cell], first: int, last: int | None = None) -> list[Cell]:
        return [replace(cell, configs=cell.configs[first:last]) for cell in chosen]

    def arms_of(name: str, places: tuple[Place, ...]) -> Iterator[tuple[str, list[Config]]]:
        """The curves, what their edges ask for, and the conditions that follow."""
        yield from curve_blocks(name, places, runtime, accuracy)
        scaled = [cell_at(place, _scaled(place, loss)) for place, loss in product(places, LOSSES)]
        yield block(f"{name}, scales matched", scaled, "scales")
        parts = {place.parts for place in places}
        at_own = [cell for key, cell in cells("own-lr", accuracy).items() if key.place in parts]
        yield block(f"{name}, each loss at its own learning rate", at_own, "own_lr")

    table3, table4 = grid.cells(3, "paper"), grid.cells(4, "paper")
    cnn5c, cnn2c, literal = ([cell for cell in table3 if key_of(cell).model == one] for one in (CNN5C, CNN2C, LITERAL))
    if has_gpu:
        yield block("Table 4, CIFAR-10, first seed", seeds(table4, 0, 1), "table4")
        yield block("CNN5C at the paper's learning rate, first seed", seeds(cnn5c, 0, 1), "table3")
        yield block("Table 4, CIFAR-10, further seeds", seeds(table4, 1), "table4")
        yield block("CNN5C at the paper's learning rate, further seeds", seeds(cnn5c, 1), "table3")
    yield block("CNN2C at the paper's learning rate", cnn2c, "table3")
    table5 = [cell for cell in grid.cells(5, "paper") if key_of(cell).loss != with_beta(1.0)]
    yield block("Table 5, beta 2 and 4", table5, "table5")
    yield from arms_of("CNN2C", PLACES)
    yield block("CNN2C with the head as printed", literal, "table3")
    if has_gpu:
        yield from arms_of("CNN5C", LARGE[:1])
        yield from arms_of("ResNet-18", LARGE[1:])


def scale_probes(runtime: Runtime) -> dict[tuple[Place, str], Config]:
    """The runs whose first gradients give the scales, by place and loss; none is trained."""
    return {(place, loss.name): place.config(loss, runtime) for place, loss in product((*PLACES, *LARGE), LOSSES)}


def _scaled(place: Place, loss: LossConfig) -> LossConfig:
    return replace(loss, scale=SCALES[place][loss.name])
