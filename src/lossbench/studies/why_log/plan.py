"""The runs: from scratch at own learning rates, from confidently wrong networks, and with wrong labels."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from lossbench.config.options import LossConfig
from lossbench.config.registry import LABELS
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.mnist_type import MnistType
from lossbench.losses.brier import Brier
from lossbench.losses.gce import Gce
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.mae import Mae
from lossbench.losses.one_minus_p_squared import OneMinusPSquared
from lossbench.losses.sml import Sml
from lossbench.losses.sparsemax import Sparsemax
from lossbench.losses.spherical import Spherical
from lossbench.losses.squared import Squared
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.cells import made_for
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.study import Accuracy

LOSSES: tuple[LossConfig, ...] = (
    *(Sml(), OneMinusPSquared(), Brier(), Spherical(), Gce(), Mae()),
    *(Squared(), Lgl(), LglInr(), Sparsemax()),
)

BOUNDED: tuple[LossConfig, ...] = LOSSES[:6]
"""SML, and the losses of the probability, which are bounded."""

MARGIN = 0.0025
"""Of equivalence, a fraction."""

NOISE = (0.2, 0.4)
"""Fractions of wrong labels."""

NOISE_SEEDS = 3
"""Reported runs of each loss with wrong labels."""

NUM_WITH_LOGITS = 2
"""Reported runs of each loss whose logits are committed."""

EXPERIMENT = "why_log"

FITTING = Schedule(epochs=4, lr=0.1)
"""How a network is fitted to wrong labels: each class called the next one."""

RIGHTING = Schedule(epochs=4, evaluate_every_steps=50)
"""How it is then trained on true labels; tested every 50 steps on held-out images."""

RIGHTING_LRS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RIGHTING_SEEDS = range(3)
TRACED_SEED = 0
"""Of the runs from a wrong network, the seed whose gradients are traced."""

NUM_VALIDATION = 2000
"""Training images held out, on which the steps to an accuracy are counted."""


@dataclass(frozen=True)
class Righting:
    """A run that starts from a confidently wrong network.

    Args:
        loss: label of the loss that it is trained with.
        own_start: whether the wrong network was fitted with the same loss; otherwise with SML.
        lr: learning rate.
        start: the run that fitted the wrong network.
        config: the run.
    """

    loss: str
    own_start: bool
    lr: float
    start: Config
    config: Config


def from_scratch(dataset: str) -> Comparison:
    """All losses at their own learning rates, on `fmnist` or `kmnist`."""
    return _comparison(MnistType(dataset), Rules(LABELS["sml"], MARGIN, has_common=False))


def with_noise(noise: float) -> Comparison:
    """SML and bounded losses at own learning rates on Fashion-MNIST with wrong labels, held-out ones among them."""
    rules = Rules(LABELS["sml"], MARGIN, num_seeds=NOISE_SEEDS, has_common=False)
    return _comparison(MnistType("fmnist", label_noise=noise), rules, BOUNDED)


def comparisons() -> dict[tuple[str, str], Comparison]:
    """All comparisons at own learning rates, by a short name and in words."""
    found = {
        ("fmnist", "Fashion-MNIST, from scratch"): from_scratch("fmnist"),
        ("kmnist", "KMNIST, from scratch"): from_scratch("kmnist"),
    }
    return found | {
        (f"noise{100 * noise:.0f}", f"Fashion-MNIST, {100 * noise:g} % wrong labels"): with_noise(noise)
        for noise in NOISE
    }


def _comparison(dataset: MnistType, rules: Rules, losses: tuple[LossConfig, ...] = LOSSES) -> Comparison:
    return Comparison({LABELS[loss.name]: Config(dataset, Cnn2c(), loss, Schedule()) for loss in losses}, rules)


def start(seed: int, loss: LossConfig, lr: float) -> Config:
    """The run that fits a network to wrong labels."""
    dataset = MnistType("fmnist", num_validation=NUM_VALIDATION, label_shift=1)
    return Config(dataset, Cnn2c(), loss, replace(FITTING, lr=lr), seed)


def rightings(accuracy: Accuracy) -> list[Righting]:
    """All runs from a wrong network: from the one that SML fitted, and from each loss's own.

    A loss fits its own wrong network at its own learning rate from scratch; those whose rate is not known are left out.
    """
    scratch, found = from_scratch("fmnist"), []
    for own_start, seed, lr, loss in product((False, True), RIGHTING_SEEDS, RIGHTING_LRS, LOSSES):
        label = LABELS[loss.name]
        if own_start and loss.name == "sml":
            continue  # that is the common start
        fitting: LossConfig = Sml()
        fitting_lr = FITTING.lr
        if own_start:
            own = scratch.own_lr(label, accuracy)
            if own is None:
                continue
            fitting, fitting_lr = loss, own.lr
        before = start(seed, fitting, fitting_lr)
        schedule = replace(RIGHTING, lr=lr, warm_start=run_id(before))
        dataset = replace(before.dataset, label_shift=None)
        found.append(
            Righting(label, own_start, lr, before, replace(before, dataset=dataset, loss=loss, schedule=schedule))
        )
    return found


def blocks(accuracy: Accuracy, runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """All runs in named blocks, such that every beginning of them is a result."""

    def of(name: str, one: Comparison) -> Iterator[tuple[str, list[Config]]]:
        for block, configs in one.plan(accuracy, EXPERIMENT, runtime):
            yield f"why the log, {name}, {block}", configs

    def from_wrong(own_start: bool) -> Iterator[tuple[str, list[Config]]]:
        which = "each loss's own" if own_start else "the same"
        chosen = [one for one in rightings(accuracy) if one.own_start == own_start]
        starts = {run_id(one.start): one.start for one in chosen}
        saving = replace(runtime, save_weights=True)
        yield f"why the log, {which} wrong start, fitted", made_for(EXPERIMENT, starts.values(), saving)
        made = made_for(EXPERIMENT, (one.config for one in chosen), runtime)
        yield f"why the log, from {which} wrong start", list(map(traced, made))

    def traced(config: Config) -> Config:
        return replace(config, runtime=replace(config.runtime, gradient_trace=config.seed == TRACED_SEED))

    yield from from_wrong(own_start=False)
    yield from of("Fashion-MNIST", from_scratch("fmnist"))
    yield from of("KMNIST", from_scratch("kmnist"))
    yield from from_wrong(own_start=True)
    for noise in NOISE:
        yield from of(f"{100 * noise:g} % wrong labels", with_noise(noise))
