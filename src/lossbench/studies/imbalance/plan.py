"""The runs on imbalanced data: Fashion-MNIST thinned out, with each loss and each kind of class weights."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lossbench.config.options import ClassWeights, Imbalance
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.cells import LABELS, Cell, cell_of, made_for

NUM_SEEDS = 3
NUM_SEEDS_BALANCED = 5

WEIGHTS: tuple[ClassWeights | None, ...] = (
    None,
    ClassWeights.sqrt_inverse,
    ClassWeights.effective,
    ClassWeights.inverse,
)
SML, LGL, LGL_INR = (LABELS[options.name] for options in (Sml, Lgl, LglInr))
"""The losses of this study, as its tables write them."""

WEIGHTED = SML, LGL
"""Those that take class weights, and in whose law (Eq. 10) the class sizes stand."""

PAIR = [4, 6]
"""Coat and shirt of Fashion-MNIST, two similar classes."""

NUM_JUDGED = 2
"""Imbalances that docs/statistics.md has rules for: the first of `imbalanced`."""

SETTLED = [0.7, 0.9]
"""Fractions of the epochs at which the learning rate falls, so that a run ends near a stationary point."""


@dataclass(frozen=True)
class Imbalanced:
    """Fashion-MNIST, or two classes of it, with fewer training images of the later classes."""

    label: str
    dataset: MnistType
    cells: dict[tuple[str, ClassWeights | None], Cell]  # by loss and class weights; LGL-INR has none


def imbalanced() -> list[Imbalanced]:
    """Two classes at ratio 10, then all ten by a step and by a long tail, with every loss and class weights."""
    chosen: list[tuple[list[int] | None, Imbalance, float]] = [(PAIR, Imbalance.step, 10.0)]
    chosen += [(None, kind, ratio) for kind in (Imbalance.step, Imbalance.long_tail) for ratio in (10.0, 100.0)]
    losses: list[Lgl | Sml | LglInr] = [Sml(class_weights=kind) for kind in WEIGHTS]
    losses += [*(Lgl(class_weights=kind) for kind in WEIGHTS), LglInr()]
    found = []
    for classes, kind, ratio in chosen:
        dataset = MnistType("fmnist", classes=classes, imbalance=kind, imbalance_ratio=ratio)
        schedule = Schedule(milestones=SETTLED)
        cells = {
            (LABELS[loss.name], getattr(loss, "class_weights", None)): cell_of(
                loss, dataset, Cnn2c(), schedule, NUM_SEEDS
            )
            for loss in losses
        }
        what = "coat and shirt" if classes else "ten classes"
        found.append(Imbalanced(f"{what}, {kind.value.replace('_', ' ')} {ratio:g}", dataset, cells))
    return found


def balanced() -> list[Cell]:
    """LGL and SML on all of Fashion-MNIST, for comparison; another study plans these runs."""
    return [cell_of(loss, MnistType("fmnist"), Cnn2c(), Schedule(), NUM_SEEDS_BALANCED) for loss in (Lgl(), Sml())]


def blocks(runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """The runs, named, first seeds first: the imbalances that have rules, then the others."""

    def block(name: str, chosen: Iterable[Imbalanced]) -> tuple[str, list[Config]]:
        configs = [config for one in chosen for cell in one.cells.values() for config in cell.configs]
        return name, sorted(made_for(name, configs, runtime), key=lambda config: config.seed)

    every = imbalanced()
    yield block("class weights on imbalanced data", every[:NUM_JUDGED])
    yield block("class weights on other imbalances", every[NUM_JUDGED:])


def read_logits() -> Iterator[Config]:
    """The runs whose logits are adjusted for imbalance: those without class weights, and LGL-INR."""
    for one in imbalanced():
        for (_, weights), cell in one.cells.items():
            if weights is None:
                yield from cell.configs
