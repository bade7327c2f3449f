"""Runs of the large networks on a CPU.

CNN5C is trained fully: first in bf16 where that is faster, apart from the paper's tables, then in fp32, which gives the
runs of Table 3. A few epochs are run in both precisions for comparison. On CIFAR-10 a CPU can do
only the beginning: two epochs of a quarter of the images, which are no result.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lossbench.config.registry import LABELS
from lossbench.config.run import Config, Precision, Runtime
from lossbench.data.cifar10 import Cifar10
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18
from lossbench.studies.aaai20.conditions import LARGE, block_of, curve_blocks
from lossbench.studies.aaai20.grid import cell_of
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.cells import Cell, made_for
from lossbench.studies.study import Accuracy
from lossbench.system.machine import num_cores

AGREEMENT_EPOCHS, AGREEMENT_SEEDS = 3, 3
CIFAR10_EPOCHS, CIFAR10_IMAGES = 2, 12_500
ORDER = ("kmnist", "fmnist", "mnist")
LOSSES = (Sml(), LglInr(), Lgl())
SEEDS = {Precision.bf16: 3, Precision.fp32: 5}
"""Runs a cell of CNN5C."""


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
    """CNN5C's cells of Table 3: in fp32 the table's own, in bf16 a second table with fewer seeds."""
    return [
        cell_of(loss, MnistType(name), Cnn5c(), replace(paper_schedule(name), precision=precision), SEEDS[precision])
        for name in ORDER
        for loss in LOSSES
    ]


def cifar10() -> dict[tuple[str, str], Config]:
    """The beginnings of Table 4's runs, by network and loss."""
    dataset, schedule = Cifar10(num_train=CIFAR10_IMAGES), replace(paper_schedule("cifar10"), epochs=CIFAR10_EPOCHS)
    return {
        (LABELS[model.name], LABELS[loss.name]): Config(dataset, model, loss, schedule)
        for model in (MobileNetV2(), ResNet18())
        for loss in LOSSES
    }


def apart() -> list[Config]:
    """The runs that no table of the paper's has."""
    both = agreement()
    beside = [config for cell in (both.fp32, both.bf16, *cnn5c(Precision.bf16)) for config in cell.configs]
    return [*beside, *cifar10().values()]


def blocks(
    runtime: Runtime, is_bf16_faster: bool = True, accuracy: Accuracy = lambda config: None
) -> Iterator[tuple[str, list[Config]]]:
    """All of these runs, named, in order.

    In fp32 a run of CNN5C gets two cores, unless set otherwise: it fills them nearly as well as two runs would, and
    ends in half the time.

    Args:
        runtime: how they are to be done.
        is_bf16_faster: CNN5C is trained in bf16 first, then in fp32; else in fp32 alone.
        accuracy: what is known, for the learning rates that an edge of the grid asks for.
    """
    both = agreement()
    pairs = [config for pair in zip(both.fp32.configs, both.bf16.configs, strict=True) for config in pair]
    wide = _two_cores_each(runtime)
    yield _block("bf16 beside fp32 on CNN5C, three epochs", pairs, runtime)
    yield _block("CIFAR-10, two epochs of a quarter", list(cifar10().values()), runtime)
    if is_bf16_faster:
        yield block_of("CNN5C in bf16", cnn5c(), "CNN5C in bf16", runtime)
    for dataset in ORDER:
        own = [cell for cell in cnn5c(Precision.fp32) if cell.config.dataset.name == dataset]
        yield block_of(f"CNN5C in fp32 on {LABELS[dataset]}", own, "table3", wide)
    yield from curve_blocks("CNN5C", LARGE[:1], wide, accuracy)


def _block(name: str, configs: list[Config], runtime: Runtime) -> tuple[str, list[Config]]:
    return name, made_for(name, configs, runtime)


def _two_cores_each(runtime: Runtime) -> Runtime:
    if runtime.parallel != "auto" or runtime.num_threads is not None:
        return runtime
    return replace(runtime, parallel=max(1, num_cores() // 2))
