"""What can be known of the large networks without a GPU? Their runs on a CPU.

CNN5C is trained whole. Where bf16 is the faster, it is trained in bf16, apart from the paper's tables; that bf16 does
as fp32 is checked on a few epochs first. Elsewhere it is trained in fp32, which is a run of Table 3. Of CIFAR-10 no
more than the beginning is within reach: two epochs of a quarter of the images, which are no result.
"""

from collections.abc import Callable, Iterator
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
from lossbench.environment import num_cores
from lossbench.experiments import LABELS, Cell, cell_of, made_for

AGREEMENT_EPOCHS, AGREEMENT_SEEDS = 3, 3
PILOT_EPOCHS, PILOT_IMAGES = 2, 12_500
ORDER = ("kmnist", "fmnist", "mnist")
LOSSES = (Sml(), LglInr(), Lgl())
FP32_STUDY = "CNN5C in fp32, one seed"


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


def cnn5c(precision: Precision = Precision.bf16) -> list[Cell]:
    """CNN5C's cells of Table 3 in one precision, one seed."""
    return [
        cell_of(loss, MnistType(name), Cnn5c(), replace(paper_schedule(name), precision=precision), 1)
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


def blocks(
    runtime: Runtime, is_bf16_faster: bool = True, is_done: Callable[[Config], bool] = lambda config: False
) -> Iterator[tuple[str, list[Config]]]:
    """All of these runs, named, in order.

    In fp32 a run of CNN5C gets two cores, unless told otherwise: it fills them nearly as well as two runs would, and
    ends in half the time.

    Args:
        runtime: how they are to be done.
        is_bf16_faster: CNN5C is trained in bf16; else in fp32.
        is_done: whether a run is at hand; a cell that has its run in fp32 needs none in bf16.
    """
    both = agreement()
    fp32 = [cell.config for cell in cnn5c(Precision.fp32)]
    bf16 = [cell.config for cell, plain in zip(cnn5c(), fp32, strict=True) if not is_done(plain)]
    found = {
        "bf16 beside fp32 on CNN5C, three epochs": [
            config for pair in zip(both.fp32.configs, both.bf16.configs, strict=True) for config in pair
        ],
        **({"CNN5C in bf16, one seed": bf16} if is_bf16_faster else {FP32_STUDY: fp32}),
        "CIFAR-10, two epochs of a quarter": list(cifar10().values()),
    }
    for name, configs in found.items():
        yield name, made_for(name, configs, _two_cores_each(runtime) if name == FP32_STUDY else runtime)


def _two_cores_each(runtime: Runtime) -> Runtime:
    if runtime.parallel != "auto" or runtime.num_threads is not None:
        return runtime
    return replace(runtime, parallel=max(1, num_cores() // 2))
