"""Runs beyond the paper's that show what its conclusions depend on: readings, beta, traces and noise.

A study varies one option at a time around the paper's cells; a variant that is the default has the runs of the paper's
own cell, so nothing is run twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from lossbench.config.options import Init, LossConfig, ModelConfig, Normalization, Reduction
from lossbench.config.registry import LABELS, MODELS
from lossbench.config.run import Config, Runtime
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import Counts, LglInr, Missing
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.models.cnn5c import Padding
from lossbench.studies.aaai20 import second_runs, without_gpu
from lossbench.studies.aaai20.conditions import LARGE, PLACES, Place, reference_blocks
from lossbench.studies.aaai20.grid import LOSSES, cell_of
from lossbench.studies.aaai20.grid import cells as table_cells
from lossbench.studies.aaai20.keys import LITERAL, key_of
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.cells import Cell, made_for
from lossbench.studies.study import Accuracy

NUM_SEEDS = 3
ORDINALS = ("first", "second", "third")  # as many

TRACED_STUDY = "what the losses do, epoch by epoch"  # whose runs keep a trace of every epoch
CROSSED_STUDY = "initial weights crossed with order"  # says nothing before all of its runs are there
LARGE_STUDY = "readings of CNN5C on KMNIST"  # for a GPU
LATER = (CROSSED_STUDY, LARGE_STUDY)
"""Variants that are run completely, one after the other, once the others have all their seeds."""

LGL_SCALES = (1.0, 2.0, 3.0, 5.0, 10.0)
"""Factors on LGL's mean over batch and classes; 10 is the sum over ten classes."""

BETAS = (0.0, 1.0, 2.0, 4.0, 8.0)

TRACE_SEED = 2000  # and on: seeds of the traced runs alone, since a run at a reported seed has no trace
CROSSED = range(4)
"""Seeds of initial weights and, crossed with them, of the order of the images."""


@dataclass(frozen=True)
class Variant:
    """One reading of one option: its cells by loss, those of the losses that it changes."""

    option: str
    choice: str
    cells: dict[str, Cell]
    best: bool = False  # the best epoch's accuracy is reported, not the last one's


READ = (PLACES[0], LARGE[0])
"""Where every reading is tried: CNN2C on KMNIST, with a GPU CNN5C too."""


def readings(place: Place) -> list[Variant]:
    """Every option of docs/defaults.md that changes a run of an MNIST-type network, one at a time."""
    of_losses: list[tuple[str, str, LossConfig]] = [
        ("LGL: mean or sum", "sum over classes", Lgl(reduction=Reduction.sum_classes)),
        ("LGL-INR: logarithm", "eps 1e-7", LglInr(eps=1e-7)),
        ("LGL-INR: class sizes", "of the data set", LglInr(counts=Counts.dataset)),
        ("LGL-INR: absent classes", "kept", LglInr(missing=Missing.keep)),
        ("LGL-INR: over classifiers", "mean", LglInr(reduction=Reduction.mean)),
        ("LGL-INR: gradient through the weights", "none", LglInr(detach_weights=True)),
    ]
    found = [Variant(option, choice, {LABELS[loss.name]: _cell(place, loss)}) for option, choice, loss in of_losses]
    model = MODELS[place.model].options()
    of_network: list[tuple[str, str, dict[str, Any]]] = [("head of CNN2C", "800-10", {"head": Head.direct})]
    if place.model == "cnn5c":
        others = [padding for padding in Padding if padding is not Padding.first]
        of_network = [("padding of CNN5C", padding.value.replace("_", " "), {"padding": padding}) for padding in others]
    of_network.append(("initial weights", "He, fan out", {"init": Init.he_fan_out}))
    of_all: list[tuple[str, str, dict[str, Any]]] = [
        *((option, choice, {"model": replace(model, **changes)}) for option, choice, changes in of_network),
        ("normalisation", "the set's own", {"normalization": Normalization.dataset}),
        ("normalisation", "none", {"normalization": Normalization.none}),
        ("last, smaller batch", "left out", {"drop_last": True}),
    ]
    for option, choice, changes in of_all:
        found.append(Variant(option, choice, {LABELS[loss.name]: _cell(place, loss, **changes) for loss in LOSSES}))
    return [*found, replace(defaults(place), option="epoch that counts", choice="best on test images", best=True)]


def defaults(place: Place) -> Variant:
    """The paper's cells in our reading."""
    return Variant("default reading", "", {LABELS[loss.name]: _cell(place, loss) for loss in LOSSES})


def lgl_factors() -> dict[float, list[Cell]]:
    """CNN2C with LGL times each factor, on every data set, to see whether one reading gives the paper's row."""
    places = [*PLACES, Place("cnn2c", "mnist")]
    return {scale: [_cell(place, Lgl(scale=scale)) for place in places] for scale in LGL_SCALES}


def betas() -> list[Variant]:
    """LGL-INR over beta, its weights in the gradient or not; at 0 they are constant and that makes no difference."""
    return [
        Variant("detached" if detach else "attached", f"{beta:g}", {"LGL-INR": _cell(PLACES[0], loss)})
        for beta, detach in product(BETAS, (False, True))
        if (loss := LglInr(beta=beta, detach_weights=detach)) and (beta > 0 or not detach)
    ]


def traced() -> dict[str, Cell]:
    """The paper's cells on KMNIST with seeds of their own, by loss, for runs that keep what happens in every epoch."""
    return {
        LABELS[loss.name]: replace(
            cell,
            configs=tuple(replace(config, seed=TRACE_SEED + config.seed) for config in cell.configs),
        )
        for loss in LOSSES
        for cell in [_cell(PLACES[0], loss)]
    }


def crossed(loss: LossConfig, dataset: str = "fmnist") -> list[list[Config]]:
    """Initial weights (rows) crossed with the order of the images (columns); the diagonal are the paper's runs."""
    cell = cell_of(loss, MnistType(dataset), Cnn2c(), paper_schedule(dataset), len(CROSSED))
    return [
        [config if init == config.seed else replace(config, model=Cnn2c(init_seed=init)) for config in cell.configs]
        for init in CROSSED
    ]


CROSSED_LOSSES: tuple[LossConfig, ...] = (Sml(), LglInr())


def plan(
    has_gpu: bool, runtime: Runtime, accuracy: Accuracy, is_bf16_faster: bool = True
) -> Iterator[tuple[str, list[Config]]]:
    """All that `make reference` does: the runs that judge the paper, the studies, the second round, CNN5C on a CPU."""
    yield from reference_blocks(has_gpu, runtime, accuracy)
    yield from _by_seed(list(blocks(has_gpu, runtime)))
    yield from second_runs.blocks(runtime, accuracy)
    if not has_gpu:
        yield from without_gpu.blocks(runtime, is_bf16_faster, accuracy)


def _by_seed(studies: list[tuple[str, list[Config]]]) -> Iterator[tuple[str, list[Config]]]:
    """A seed of every study before the next seed of any, so that each can be read early; then what is done later.

    The studies of a seed are one block, since a block's last runs leave processors idle.
    """
    sooner = [configs for name, configs in studies if name not in LATER]
    seeds = [sorted({config.seed for config in configs}) for configs in sooner]
    for rank, nth in enumerate(ORDINALS):
        chosen = [
            config for configs, own in zip(sooner, seeds, strict=True) for config in configs if config.seed == own[rank]
        ]
        yield f"studies beyond the paper, {nth} seed", chosen
    yield from (study for study in studies if study[0] in LATER)


def blocks(has_gpu: bool, runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """The runs of all studies, named, first seeds first; those of a large network last, where a GPU can do them."""

    def runs(cells: Iterable[Cell]) -> list[Config]:
        return [config for cell in cells for config in cell.configs]

    def of_variants(variants: Iterable[Variant]) -> list[Config]:
        return runs(cell for variant in variants for cell in variant.cells.values())

    studies: dict[str, list[Config]] = {
        "readings of CNN2C on KMNIST": of_variants(readings(READ[0])),
        "LGL's factor": runs(cell for cells in lgl_factors().values() for cell in cells),
        "beta and the weights": of_variants(betas()),
        TRACED_STUDY: runs(traced().values()),
        CROSSED_STUDY: [config for loss in CROSSED_LOSSES for row in crossed(loss) for config in row],
    }
    if has_gpu:
        studies[LARGE_STUDY] = of_variants(readings(READ[1]))
    for name, configs in studies.items():
        own = replace(runtime, class_trace=name == TRACED_STUDY)
        yield name, sorted(made_for(name, configs, own), key=lambda config: config.seed)


def _cell(
    place: Place,
    loss: LossConfig,
    model: ModelConfig | None = None,
    normalization: Normalization = Normalization.mnist,
    drop_last: bool = False,
) -> Cell:
    data, schedule = MnistType(place.dataset, normalization=normalization), paper_schedule(place.dataset)
    return cell_of(
        loss, data, model or MODELS[place.model].options(), replace(schedule, drop_last=drop_last), NUM_SEEDS
    )


def read_logits(accuracy: Accuracy) -> Iterator[Config]:
    """The runs whose logits a section of the report reads; of the others no logits are committed.

    Calibration: Table 3's cells. Turned negatives: LGL-INR over beta. Held-out images: the runs at a loss's own
    learning rate, its window while that is open.
    """
    cells = [cell for cell in table_cells(3, "paper") if key_of(cell).model != LITERAL]
    cells += [cell for variant in betas() if variant.option == "attached" for cell in variant.cells.values()]
    yield from (config for cell in cells for config in cell.configs)
    yield from second_runs.chosen_runs(accuracy)
