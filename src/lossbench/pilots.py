"""What can be known of the large networks without a GPU? Their runs on a CPU, apart from the paper's tables.

CNN5C is trained whole, in bf16, which halves its time; that bf16 does as fp32 is checked on a few epochs first. Of
CIFAR-10 no more than the beginning is within reach: two epochs of a quarter of the images, which are no result.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lossbench.choices import Precision
from lossbench.config import (
    Cifar10,
    Cnn5c,
    Config,
    Lgl,
    LglInr,
    MnistType,
    MobileNetV2,
    ResNet18,
    Runtime,
    Sml,
    paper_schedule,
)
from lossbench.experiments import LABELS, Cell, cell_of, made_for

AGREEMENT_EPOCHS, AGREEMENT_SEEDS = 3, 3
PILOT_EPOCHS, PILOT_IMAGES = 2, 12_500
ORDER = ("kmnist", "fmnist", "mnist")
LOSSES = (Sml(), LglInr(), Lgl())


@dataclass(frozen=True)
class Agreement:
    """The same runs in two precisions."""

    fp32: Cell
    bf16: Cell


def agreement() -> Agreement:
    """SML's first epochs on KMNIST with CNN5C."""
    schedule = replace(paper_schedule("kmnist"), epochs=AGREEMENT_EPOCHS)
    cells = [
        cell_of(Sml(), MnistType("kmnist"), Cnn5c(), replace(schedule, precision=precision), AGREEMENT_SEEDS)
        for precision in (Precision.fp32, Precision.bf16)
    ]
    fp32, bf16 = (replace(cell, paper=None) for cell in cells)
    return Agreement(fp32, bf16)


def cnn5c() -> list[Cell]:
    """CNN5C's cells of Table 3 in bf16, one seed."""
    return [
        cell_of(loss, MnistType(name), Cnn5c(), replace(paper_schedule(name), precision=Precision.bf16), 1)
        for name in ORDER
        for loss in LOSSES
    ]


def cifar10() -> dict[tuple[str, str], Config]:
    """The beginnings of Table 4's runs, by network and loss."""
    dataset, schedule = Cifar10(num_train=PILOT_IMAGES), replace(paper_schedule("cifar10"), epochs=PILOT_EPOCHS)
    return {
        (LABELS[model.name], LABELS[loss.name]): Config(dataset, model, loss, schedule)
        for model in (MobileNetV2(), ResNet18())
        for loss in LOSSES
    }


def blocks(runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """All of these runs, named, in order."""
    both = agreement()
    found = {
        "bf16 beside fp32 on CNN5C, three epochs": [
            config for pair in zip(both.fp32.configs, both.bf16.configs, strict=True) for config in pair
        ],
        "CNN5C in bf16, one seed": [cell.config for cell in cnn5c()],
        "CIFAR-10, two epochs of a quarter": list(cifar10().values()),
    }
    for name, configs in found.items():
        yield name, made_for(name, configs, runtime)
