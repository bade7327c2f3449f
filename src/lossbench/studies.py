"""What else has to be run to see what the paper's conclusions hang on? Readings of what it leaves open, and beta.

A study varies one option at a time around the paper's cells; a variant that is the default has the runs of the paper's
own cell, so nothing is run twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from lossbench.arms import Accuracy, reference_blocks
from lossbench.choices import Counts, Head, Init, LglReduction, Missing, Normalization
from lossbench.config import Cnn2c, Config, Lgl, LglInr, LossConfig, MnistType, Runtime, paper_schedule
from lossbench.experiments import LABELS, LOSSES, Cell, cell_of_cnn2c

NUM_SEEDS = 3

LGL_SCALES = (2.0, 3.0, 5.0, 10.0)
"""Factors on LGL's mean over batch and classes; 10 is the sum over ten classes."""

BETAS = (0.0, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Variant:
    """One reading of one option: cells of CNN2C by loss, those of the losses that it changes."""

    option: str
    choice: str
    dataset: str
    cells: dict[str, Cell]


def readings(dataset: str = "kmnist") -> list[Variant]:
    """Every option of docs/defaults.md that changes a CNN2C run under the paper's schedule, one at a time."""
    of_losses: list[tuple[str, str, LossConfig]] = [
        ("LGL: mean or sum", "sum over classes", Lgl(reduction=LglReduction.sum_classes)),
        ("LGL-INR: logarithm", "eps 1e-7", LglInr(eps=1e-7)),
        ("LGL-INR: class sizes", "of the data set", LglInr(counts=Counts.dataset)),
        ("LGL-INR: absent classes", "kept", LglInr(missing=Missing.keep)),
        ("LGL-INR: over classifiers", "mean", LglInr(reduction=LglReduction.mean)),
        ("LGL-INR: gradient through the weights", "none", LglInr(detach_weights=True)),
    ]
    found = [
        Variant(option, choice, dataset, {LABELS[loss.name]: _cell(dataset, loss)})
        for option, choice, loss in of_losses
    ]
    of_all: list[tuple[str, str, dict[str, Any]]] = [
        ("head of CNN2C", "800-10", {"model": Cnn2c(head=Head.direct)}),
        ("initial weights", "He, fan out", {"model": Cnn2c(init=Init.he_fan_out)}),
        ("normalisation", "the set's own", {"normalization": Normalization.dataset}),
        ("normalisation", "none", {"normalization": Normalization.none}),
        ("last, smaller batch", "left out", {"drop_last": True}),
    ]
    for option, choice, changes in of_all:
        cells = {LABELS[loss.name]: _cell(dataset, loss, **changes) for loss in LOSSES}
        found.append(Variant(option, choice, dataset, cells))
    return found


def defaults(dataset: str = "kmnist") -> Variant:
    """The paper's cells as they are read here."""
    cells = {LABELS[loss.name]: _cell(dataset, loss) for loss in LOSSES}
    return Variant("as read here", "", dataset, cells)


def lgl_scales() -> list[Variant]:
    """LGL times a factor on all three data sets: does one reading give the paper's row?"""
    return [
        Variant("LGL: factor", f"{scale:g}", dataset, {"LGL": _cell(dataset, Lgl(scale=scale))})
        for dataset, scale in product(("kmnist", "fmnist", "mnist"), LGL_SCALES)
    ]


def betas(dataset: str = "kmnist") -> list[Variant]:
    """LGL-INR over beta, its weights in the gradient or not; at 0 they are constant and that makes no difference."""
    return [
        Variant("detached" if detach else "attached", f"{beta:g}", dataset, {"LGL-INR": _cell(dataset, loss)})
        for beta, detach in product(BETAS, (False, True))
        if (loss := LglInr(beta=beta, detach_weights=detach)) and (beta > 0 or not detach)
    ]


def plan(has_gpu: bool, runtime: Runtime, accuracy: Accuracy) -> Iterator[tuple[str, list[Config]]]:
    """All that `make reference` does: the runs that judge the paper, then those of the studies."""
    yield from reference_blocks(has_gpu, runtime, accuracy)
    yield from blocks(runtime)


def blocks(runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """The runs of all studies, named, first seeds first."""
    studies: dict[str, Sequence[Variant]] = {
        "readings on KMNIST": readings(),
        "beta and the weights": betas(),
        "LGL's factor": lgl_scales(),
    }
    for name, variants in studies.items():
        made_for = replace(runtime, experiment=name, profile="paper", num_seeds=NUM_SEEDS)
        configs = [config for variant in variants for cell in variant.cells.values() for config in cell.configs]
        yield name, sorted((replace(config, runtime=made_for) for config in configs), key=lambda config: config.seed)


def _cell(
    dataset: str,
    loss: LossConfig,
    model: Cnn2c | None = None,
    normalization: Normalization = Normalization.mnist,
    drop_last: bool = False,
) -> Cell:
    data = MnistType(dataset, normalization=normalization)
    return cell_of_cnn2c(loss, data, replace(paper_schedule(dataset), drop_last=drop_last), NUM_SEEDS, model)
