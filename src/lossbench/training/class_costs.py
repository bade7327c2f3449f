"""Time, memory and operations of output layer, loss and update by the number of classes; measured apart from runs."""

import math
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lossbench.config.options import LossConfig
from lossbench.config.run import Optimizer, Precision, Schedule
from lossbench.losses.build import build_loss
from lossbench.system.machine import commit, device_name, keep_freed_memory, versions
from lossbench.system.seeds import derived_seed, generator
from lossbench.training.fit import process_settings
from lossbench.training.optimizer import Steps, build_optimizer
from lossbench.training.step_cost import peak_mb

BASELINE = "cross_entropy"
"""Name of what the losses are compared with: PyTorch's cross-entropy on the logits of all classes."""

CPU = torch.device("cpu")

TURN_S, MOST_STEPS = 0.02, 50
"""A turn has as many steps as take about this time, in s, and no more than so many."""

WARM_UP = 2
"""Steps before the first that is timed."""

SAMPLES = 1_000_000
"""Training samples of all classes together, whose sizes follow Zipf's law; a class has one at least."""


def measured_class_costs(
    losses: Mapping[str, LossConfig], num_classes: int, num_features: int, batch_size: int, rounds: int
) -> dict[str, Any]:
    """Cost of a step with each loss and with the baseline, on one thread, as plain JSON.

    A step is the output layer, the loss, the gradient in the layer and in the features, and Adagrad's update of the
    layer. Each loss takes turns with the baseline. Features are normal, targets from Zipf's law. Times are those of the
    processor, so that other work on the machine changes them little.

    Args:
        losses: by name.
        num_classes: K.
        num_features: F.
        batch_size: B.
        rounds: turns of each.

    Returns:
        "losses": for each name "ms", the processor's time of a step in each of its turns, "baseline_ms", that of the
        baseline in the turns just before, "mb", the peak of the tensors of a step beyond layer and optimiser, in 10^6
        bytes, and "mflop", the operations of its matrix products in 10^6; or "failed", why there is none of them. The
        baseline is among them, with the same times twice. The rest says what was measured on what.
    """
    keep_freed_memory()
    found: dict[str, Any] = {}
    with process_settings(1, Precision.fp32, deterministic=False):
        baseline = _Step(None, num_classes, num_features, batch_size)
        baseline.prepare()
        mine: list[float] = []
        for name, config in losses.items():
            try:
                step = _Step(config, num_classes, num_features, batch_size)
                step.prepare()
                turns = [(baseline.turn(), step.turn()) for _ in range(rounds)]
                found[name] = step.costs() | {"ms": [one for _, one in turns], "baseline_ms": [one for one, _ in turns]}
                mine += [one for one, _ in turns]
            except Exception as error:  # a loss can raise anything
                found[name] = {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        found[BASELINE] = baseline.costs() | {"ms": mine, "baseline_ms": mine}
    about: dict[str, Any] = {"classes": num_classes, "features": num_features, "batch_size": batch_size}
    about |= {"rounds": rounds, "device": device_name(CPU), "num_threads": 1, "torch": versions()["torch"]}
    return about | {"commit": commit(), "losses": found}


def zipf_counts(num_classes: int) -> Tensor:
    """Training samples of each class by Zipf's law, int64 [K], the most frequent class first."""
    share = 1 / torch.arange(1, num_classes + 1, dtype=torch.float64)
    return (SAMPLES * share / share.sum()).round().clamp_min(1).long()


class _Step:
    """A step with a loss, or with the baseline, on the CPU.

    Args:
        config: of the loss; None: the baseline.
        num_classes: K.
        num_features: F.
        batch_size: B.
    """

    def __init__(self, config: LossConfig | None, num_classes: int, num_features: int, batch_size: int) -> None:
        counts = zipf_counts(num_classes)
        draw = generator(0, num_classes, "features and targets")
        self._features = torch.randn(batch_size, num_features, generator=draw).requires_grad_()
        targets = torch.multinomial(counts.double(), 8 * batch_size, replacement=True, generator=draw)
        self._targets = [targets[start : start + batch_size] for start in range(0, len(targets), batch_size)]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(0, num_classes, "output layer"))
            own = config.output_layer(num_features, num_classes) if config else None
            self._head: nn.Module = own or nn.Linear(num_features, num_classes)
        draws = torch.Generator().manual_seed(derived_seed(0, num_classes, "draws of the loss"))
        self._by_features = config is not None and config.needs == "features"
        self._loss: Callable[..., Tensor] = (
            build_loss(config, counts, draws) if config else torch.nn.functional.cross_entropy
        )
        self._optimizer: Steps = build_optimizer(self._head, adagrad())
        self._place = 0
        self._steps = 1
        self._mb = self._mflop = math.nan

    def step(self) -> None:
        """One step on the next targets."""
        target = self._targets[self._place % len(self._targets)]
        self._place += 1
        if self._by_features:
            loss = self._loss(self._features, self._head, target)
        else:
            loss = self._loss(self._head(self._features), target)
        self._clear()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _clear(self) -> None:
        self._features.grad = None
        self._optimizer.zero_grad()

    def prepare(self) -> None:
        """Measure memory and operations, warm up, and find out how many steps a turn has."""
        self.step()
        self._clear()
        self._mb = peak_mb(self.step, CPU)
        with _Operations() as counted:
            self.step()
        self._mflop = counted.total / 1e6
        about_s = median(self._seconds(1) for _ in range(WARM_UP))
        self._steps = max(1, min(MOST_STEPS, math.ceil(TURN_S / about_s)))

    def costs(self) -> dict[str, float]:
        """Memory and operations."""
        return {"mb": self._mb, "mflop": self._mflop}

    def turn(self) -> float:
        """Time of a step in ms, mean over a turn; five digits."""
        return float(f"{1e3 * self._seconds(self._steps):.5g}")

    def _seconds(self, steps: int) -> float:
        began = time.process_time()
        for _ in range(steps):
            self.step()
        return (time.process_time() - began) / steps


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Counts the operations of matrix products in the block by PyTorch's formulas.

    `FlopCounterMode` gives the same number, but loads the compiler first, which takes seconds.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=found)
        return found


def adagrad() -> Schedule:
    """The schedule whose optimiser updates the layer: Adagrad at 0.1, as for next-word prediction."""
    return Schedule(lr=0.1, momentum=0.0, optimizer=Optimizer.adagrad)
