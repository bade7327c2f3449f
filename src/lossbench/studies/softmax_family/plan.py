"""The runs: every member of the family at its own learning rate, on Fashion-MNIST, and eight of them on KMNIST."""

from collections.abc import Iterator
from dataclasses import replace

from lossbench.config.naming import named_loss
from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.mnist_type import MnistType
from lossbench.losses.brier import Brier
from lossbench.losses.entmax import Entmax
from lossbench.losses.focal import Focal
from lossbench.losses.label_smoothing import LabelSmoothing
from lossbench.losses.lgl import Lgl
from lossbench.losses.poly1 import Poly1
from lossbench.losses.rg2 import Rg2
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.losses.squared import Squared
from lossbench.losses.taylor_softmax import TaylorSoftmax
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.cells import made_for
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.study import Accuracy

FAMILY: tuple[LossConfig, ...] = (
    *(Sml(), Entmax(alpha=1.25), Entmax(), Entmax(alpha=1.75), Sparsemax()),
    *(Lgl(), Squared()),
)
"""Fenchel-Young losses: softmax, entmax between it and sparsemax, one-vs-all logistic, squared."""

RELATIVES: tuple[LossConfig, ...] = (LabelSmoothing(), Focal(), Brier(), Poly1(), TaylorSoftmax(), Rg2())

ON_KMNIST: tuple[LossConfig, ...] = (
    *(Sml(), Entmax(), Sparsemax(), Lgl(), Squared()),
    *(LabelSmoothing(), Focal(), Brier()),
)

DATASETS = {"fmnist": "Fashion-MNIST", "kmnist": "KMNIST"}

MARGIN = 0.0025
"""Of equivalence, a fraction."""

NUM_WITH_LOGITS = 2
"""Reported runs of each loss whose logits are committed."""

TRACED_SEEDS = (2001, 2002)
"""Seeds of the runs whose gradients are traced; no reported run has them."""

EXPERIMENT = "softmax_family"


def comparison(dataset: str) -> Comparison:
    """The losses at their own learning rates on `fmnist` or `kmnist`, SML as the baseline."""
    losses = (*FAMILY, *RELATIVES) if dataset == "fmnist" else ON_KMNIST
    configs = [Config(MnistType(dataset), Cnn2c(), loss, Schedule()) for loss in losses]
    return Comparison({named_loss(one): one for one in configs}, Rules("SML", MARGIN, has_common=False))


def traced(accuracy: Accuracy) -> dict[str, list[Config]]:
    """The runs whose gradients are traced, by the loss's label: on Fashion-MNIST, where its own rate is known."""
    one, found = comparison("fmnist"), {}
    for label in one.losses:
        own = one.at_own(label, accuracy)
        if own is not None:
            found[label] = [replace(own.config, seed=seed) for seed in TRACED_SEEDS]
    return found


def blocks(accuracy: Accuracy, runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """All runs in named blocks, Fashion-MNIST first."""
    for dataset, label in DATASETS.items():
        for name, configs in comparison(dataset).plan(accuracy, EXPERIMENT, runtime):
            yield f"Softmax family, {label}, {name}", configs
        if dataset == "fmnist":
            tracing = replace(runtime, gradient_trace=True)
            configs = [config for runs in traced(accuracy).values() for config in runs]
            yield "Softmax family, gradients traced", made_for(EXPERIMENT, configs, tracing)
