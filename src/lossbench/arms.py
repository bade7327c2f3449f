"""Which runs do the arms of docs/statistics.md compare, and in what order are the reference runs done?

An arm gives every loss a cell: the paper's learning rate, scales matched, each loss's own learning rate, or the head as
printed. What is known so far comes in as a function of a config, so the plan can go on from the curves it asked for.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from lossbench import experiments
from lossbench.config import Cnn2c, Config, LossConfig, MnistType, Runtime, paper_schedule
from lossbench.experiments import LABELS, LITERAL_HEAD, LOSSES, Cell, cell_of_cnn2c

ARMS = ("paper", "scale-up", "scale-down", "own-lr", "literal")
DATASETS = ("kmnist", "fmnist")
"""Where the arms of scale and own learning rate are."""

LR_GRID = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
LR_STEPS = (0.0003, 0.001, *LR_GRID, 3.0, 10.0)
"""The grid and what it may be extended by, twice at most."""

SELECTION_SEED = 1000  # of the runs that choose a learning rate; no reported run has it
NUM_VALIDATION = 6000
SCALES = {
    "kmnist": {"sml": 4.21, "lgl": 5.94, "lgl_inr": 0.238},
    "fmnist": {"sml": 4.21, "lgl": 6.15, "lgl_inr": 0.238},
}
"""Factors to LGL-INR's gradient norm for SML and LGL, to SML's for LGL-INR: benchmarks/measure_scales.py."""

NUM_SEEDS = experiments.SEEDS["paper"][3]

Accuracy = Callable[[Config], float | None]
"""A run's accuracy; None where it is not done, nan where it failed."""

Key = tuple[str, str, str]
"""Labels of network, data set and loss, as tables write them."""


@dataclass(frozen=True)
class OwnLr:
    """A loss's own learning rate on a data set."""

    lr: float
    at_edge: bool  # of the rates tried: the best may lie beyond


def cells(arm: str, accuracy: Accuracy) -> dict[Key, Cell]:
    """The cells of an arm, losses of Table 5 as "beta 2"; of `own-lr` those whose learning rate is known."""
    if arm in ("paper", "literal"):
        every = {_key(cell): cell for table in (3, 4) for cell in experiments.cells(table, "paper")}
        found = {key: cell for key, cell in every.items() if (key[0] == LITERAL_HEAD) == (arm == "literal")}
        betas = experiments.cells(5, "paper") if arm == "paper" else []
        return found | {("CNN2C", "KMNIST", f"beta {cell.column}"): cell for cell in betas}
    small = []
    for dataset, loss in product(DATASETS, LOSSES):
        own = own_lr(points(dataset, loss, accuracy)) if arm == "own-lr" else None
        if own is not None:
            small.append(_cell(dataset, loss, own.lr))
        elif arm != "own-lr":
            scaled = (loss.name == "lgl_inr") == (arm == "scale-down")
            small.append(_cell(dataset, _scaled(dataset, loss) if scaled else loss))
    return {_key(cell): cell for cell in small}


def curve(dataset: str, loss: LossConfig, runtime: Runtime) -> dict[float, Config]:
    """The runs of an accuracy-over-lr curve, by learning rate, those it may be extended by among them."""
    held_out = MnistType(dataset, num_validation=NUM_VALIDATION)
    schedule = paper_schedule(dataset)
    return {lr: Config(held_out, Cnn2c(), loss, replace(schedule, lr=lr), SELECTION_SEED, runtime) for lr in LR_STEPS}


def points(dataset: str, loss: LossConfig, accuracy: Accuracy) -> dict[float, float | None]:
    """What is known of a curve: validation accuracy by learning rate."""
    return {lr: accuracy(config) for lr, config in curve(dataset, loss, Runtime()).items()}


def wanted_lrs(known: Mapping[float, float | None]) -> tuple[float, ...]:
    """The learning rates that a curve needs: the grid, and the next step as long as the best is at an edge."""
    low, high = LR_STEPS.index(LR_GRID[0]), LR_STEPS.index(LR_GRID[-1]) + 1
    for _ in range(2):
        lrs = LR_STEPS[low:high]
        if any(known.get(lr) is None for lr in lrs):
            break
        best = _best(lrs, known)
        low, high = low - (best == lrs[0]), high + (best == lrs[-1])
    return LR_STEPS[low:high]


def own_lr(known: Mapping[float, float | None]) -> OwnLr | None:
    """The learning rate with the best validation accuracy, the smaller of equals; None while one is missing."""
    lrs = wanted_lrs(known)
    if any(known.get(lr) is None for lr in lrs):
        return None
    best = _best(lrs, known)
    return OwnLr(best, best in (lrs[0], lrs[-1]))


def _best(lrs: tuple[float, ...], known: Mapping[float, float | None]) -> float:
    def accuracy(lr: float) -> float:
        value = known[lr]
        return -1.0 if value is None or math.isnan(value) else value  # what diverges is worst

    return max(lrs, key=lambda lr: (accuracy(lr), -lr))


def reference_blocks(has_gpu: bool, runtime: Runtime, accuracy: Accuracy) -> Iterator[tuple[str, list[Config]]]:
    """The reference runs of docs/statistics.md in order of importance: named blocks, in each all first seeds first.

    A block is made when its turn comes, so the later ones follow from what the earlier ones gave. The networks that are
    out of a CPU's reach come first on a GPU, and are left to it.
    """

    def block(name: str, chosen: Iterable[Cell], experiment: str) -> tuple[str, list[Config]]:
        configs = [config for cell in chosen for config in cell.configs]
        seeds = {config.seed for config in configs}
        made_for = replace(runtime, experiment=experiment, profile="paper", num_seeds=len(seeds))
        return name, sorted((replace(config, runtime=made_for) for config in configs), key=lambda config: config.seed)

    def curves(name: str, lrs: Callable[[Mapping[float, float | None]], Iterable[float]]) -> tuple[str, list[Config]]:
        made_for = replace(runtime, experiment="learning_rates", profile="paper", num_seeds=1)
        wanted = [
            (dataset, lr, curve(dataset, loss, made_for)[lr])
            for dataset, loss in product(DATASETS, LOSSES)
            for lr in lrs(points(dataset, loss, accuracy))
        ]
        wanted.sort(key=lambda point: (DATASETS.index(point[0]), point[1]))  # all losses at a learning rate
        return name, [config for *_, config in wanted]

    def beyond(known: Mapping[float, float | None]) -> list[float]:
        return [lr for lr in wanted_lrs(known) if lr not in LR_GRID]

    table3 = experiments.cells(3, "paper")
    if has_gpu:
        yield block("Table 4, CIFAR-10", experiments.cells(4, "paper"), "table4")
        yield block("CNN5C at the paper's learning rate", [c for c in table3 if c.rows[0] == "CNN5C"], "table3")
    yield block("CNN2C at the paper's learning rate", [c for c in table3 if c.rows[0] == "CNN2C"], "table3")
    yield block("Table 5, beta 2 and 4", [c for c in experiments.cells(5, "paper") if c.column != "1"], "table5")
    yield curves("learning rates of CNN2C, on validation images", lambda known: LR_GRID)
    yield curves("learning rates one step beyond an edge of the grid", beyond)
    yield curves("learning rates two steps beyond", beyond)
    scaled = [_cell(dataset, _scaled(dataset, loss)) for dataset, loss in product(DATASETS, LOSSES)]
    yield block("CNN2C, scales matched", scaled, "scales")
    yield block("CNN2C, each loss at its own learning rate", cells("own-lr", accuracy).values(), "own_lr")
    yield block("CNN2C with the head as printed", [c for c in table3 if c.rows[0] == LITERAL_HEAD], "table3")


def scale_probes(runtime: Runtime) -> dict[tuple[str, str], Config]:
    """The runs whose first gradients give the scales, by data set and loss; none is trained."""
    return {
        (dataset, loss.name): Config(
            MnistType(dataset), Cnn2c(), loss, paper_schedule(dataset), SELECTION_SEED, runtime
        )
        for dataset, loss in product(DATASETS, LOSSES)
    }


def _cell(dataset: str, loss: LossConfig, lr: float | None = None) -> Cell:
    schedule = paper_schedule(dataset)
    schedule = schedule if lr is None else replace(schedule, lr=lr)
    return cell_of_cnn2c(loss, MnistType(dataset), schedule, NUM_SEEDS)


def _scaled(dataset: str, loss: LossConfig) -> LossConfig:
    return replace(loss, scale=SCALES[dataset][loss.name])


def _key(cell: Cell) -> Key:
    network = LITERAL_HEAD if cell.rows[0] == LITERAL_HEAD else LABELS[cell.config.model.name]
    return network, cell.dataset, cell.loss
