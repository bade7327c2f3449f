"""The runs of the second round of docs/statistics.md.

Blind seeds for the first round's cells, more seeds to choose a learning rate, two more contrasts, a second protocol.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product

from lossbench.config.options import LossConfig, Reduction
from lossbench.config.run import Config, Runtime
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.studies import learning_rates
from lossbench.studies.aaai20.conditions import (
    LARGE,
    PLACES,
    RATES,
    Place,
    block_of,
    cell_at,
    cells,
    curve,
    curve_blocks,
    own,
)
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.keys import CNN2C
from lossbench.studies.cells import Cell, Key, Part, made_for
from lossbench.studies.learning_rates import Choice, neighbours
from lossbench.studies.study import Accuracy

BLIND_SEEDS = range(5, 10)
FIRST_SEEDS = range(5)
"""Seeds of the first round, whose results were known when the rules of the second were written."""

CHOICE_SEEDS = range(1001, 1005)
"""Seeds of the runs that choose a learning rate once more, on validation images."""

MNIST = Place("cnn2c", "mnist")
GRAY = (MNIST, *reversed(PLACES))
"""CNN2C's three data sets, in the order of Table 3."""

DECAYED = tuple(replace(place, milestones=(0.5, 0.75)) for place in PLACES)
"""The second protocol: the learning rate falls tenfold after half and after three quarters of the epochs."""

MAX_EXTENSIONS = 3
"""Blocks of the plan that go beyond a window's edge; more would be needed only if a best ran away from the grid."""


def with_seeds(cell: Cell, seeds: Iterable[int]) -> Cell:
    """A cell with other seeds."""
    return replace(cell, configs=tuple(replace(cell.config, seed=seed) for seed in seeds))


def first_cells(accuracy: Accuracy) -> dict[str, dict[Key, Cell]]:
    """The first round's cells that get blind seeds: CNN2C's, by condition (the paper's and the own learning rates)."""
    every = {condition: cells(condition, accuracy) for condition in ("paper", "own-lr")}
    return {
        condition: {key: cell for key, cell in found.items() if key.model == CNN2C and key.loss.option is None}
        for condition, found in every.items()
    }


def mnist_own(accuracy: Accuracy) -> dict[Part, Cell]:
    """MNIST's own-lr cells by loss, of those whose learning rate is known, with blind seeds."""
    return _own(MNIST, accuracy)


def decayed(accuracy: Accuracy) -> dict[Key, Cell]:
    """The second protocol's own-lr cells of those whose learning rate is known, with blind seeds."""
    return {Key(*place.parts, loss): cell for place in DECAYED for loss, cell in _own(place, accuracy).items()}


def _own(place: Place, accuracy: Accuracy) -> dict[Part, Cell]:
    found = {}
    for loss in LOSSES:
        first = own(place, loss, accuracy)
        if first is not None:
            found[Part(loss.name)] = with_seeds(cell_at(place, loss, first.lr), BLIND_SEEDS)
    return found


def even_weights() -> dict[str, Cell]:
    """LGL-INR with beta 0 by data set, with the seeds of the first round."""
    return {place.dataset: cell_at(place, LglInr(beta=0.0)) for place in GRAY}


def lgl_sums() -> dict[str, Cell]:
    """LGL summed over the classes by data set, with the seeds of the first round."""
    return {place.dataset: cell_at(place, Lgl(reduction=Reduction.sum_classes)) for place in GRAY}


def choice(place: Place, loss: LossConfig, accuracy: Accuracy) -> Choice | None:
    """The own learning rate by `CHOICE_SEEDS`; None while the first round's is not known."""
    first = own(place, loss, accuracy)
    if first is None:
        return None
    runs, steps = choice_runs(place, loss, Runtime()), RATES.steps
    start = neighbours(steps, first.lr)
    return learning_rates.choice(steps, start, lambda lr: tuple(map(accuracy, runs[lr])), widens=True)


def choice_runs(place: Place, loss: LossConfig, runtime: Runtime) -> dict[float, list[Config]]:
    """The runs that choose a learning rate, by rate, one a seed."""
    return {
        lr: [replace(config, seed=seed) for seed in CHOICE_SEEDS] for lr, config in curve(place, loss, runtime).items()
    }


def otherwise(accuracy: Accuracy) -> dict[Key, Cell]:
    """Cells where four more seeds choose another learning rate than the first round, with blind seeds."""
    found = {}
    for place, loss in product(PLACES, LOSSES):
        first, second = own(place, loss, accuracy), choice(place, loss, accuracy)
        if first and second and second.best is not None and second.best != first.lr:
            found[Key(*place.parts, Part(loss.name))] = with_seeds(cell_at(place, loss, second.best), BLIND_SEEDS)
    return found


def blocks(runtime: Runtime, accuracy: Accuracy) -> Iterator[tuple[str, list[Config]]]:
    """All of these runs, named, in the order of the rules; each block follows from what the earlier ones gave."""

    def again(chosen: Iterable[Cell], seeds: Iterable[int] = BLIND_SEEDS) -> list[Cell]:
        return [with_seeds(cell, seeds) for cell in chosen]

    first = [cell for found in first_cells(accuracy).values() for cell in found.values()]
    unique = {cell.key: cell for cell in first}
    yield block_of("blind seeds of CNN2C", again(unique.values()), "blind", runtime)
    yield from curve_blocks("CNN2C on MNIST", (MNIST,), runtime, accuracy)
    yield block_of("MNIST, each loss at its own learning rate", mnist_own(accuracy).values(), "own_lr", runtime)
    yield _choices("learning rates of CNN2C again, four seeds", runtime, accuracy)
    for nth in range(1, MAX_EXTENSIONS + 1):
        yield _choices(f"learning rates of CNN2C again, beyond an edge ({nth})", runtime, accuracy, beyond=True)
    yield block_of("where four seeds choose another learning rate", otherwise(accuracy).values(), "own_lr", runtime)
    for name, found in (("beta 0", even_weights()), ("LGL as a sum over classes", lgl_sums())):
        yield block_of(f"{name}, blind seeds", again(found.values()), name, runtime)
        yield block_of(f"{name}, first seeds", again(found.values(), FIRST_SEEDS), name, runtime)
    yield from curve_blocks("CNN2C, decaying learning rate", DECAYED, runtime, accuracy)
    yield block_of("CNN2C, decaying learning rate, own ones", decayed(accuracy).values(), "decay", runtime)


def _choices(title: str, runtime: Runtime, accuracy: Accuracy, beyond: bool = False) -> tuple[str, list[Config]]:
    """The window's runs of every loss, or those beyond it that its results ask for, all losses of a seed."""
    wanted = []
    for place, loss in product(PLACES, LOSSES):
        first, second = own(place, loss, accuracy), choice(place, loss, accuracy)
        if first is None or second is None:
            continue
        inner, runs = neighbours(RATES.steps, first.lr), choice_runs(place, loss, runtime)
        wanted += [config for lr in second.window if (lr not in inner) == beyond for config in runs[lr]]
    return title, made_for("learning_rates", sorted(wanted, key=lambda config: config.seed), runtime)


def chosen_runs(accuracy: Accuracy) -> Iterator[Config]:
    """The runs on held-out images at each loss's own learning rate; while that is not known, all that could be it."""
    for place, loss in product((*GRAY, *DECAYED, *LARGE), LOSSES):
        first, again = own(place, loss, accuracy), choice(place, loss, accuracy)
        lrs = {first.lr} if first else set(RATES.steps)
        if place in PLACES and again is not None:
            lrs |= set(again.window) if again.best is None else {again.best}
        for lr in sorted(lrs):
            yield curve(place, loss, Runtime())[lr]
            yield from choice_runs(place, loss, Runtime())[lr] if place in PLACES else ()
