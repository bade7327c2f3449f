"""Steps of training: a batch, its loss, its gradient, SGD. Nothing inside an epoch waits for the device."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.config.run import Config, Precision
from lossbench.data.load import Data, batch, plan_epoch
from lossbench.training import metrics
from lossbench.training.optimizer import Sgd

REPORT_EVERY_S = 0.2

OnStep = Callable[[int, float, str], None]
"""Called now and then with the epoch, from 1, the fraction of it that has been queued, and at its end its log line."""


@dataclass
class State:
    """All that training changes, and what it is changed with."""

    model: nn.Module
    optimizer: Sgd
    loss: Callable[..., Tensor]  # of logits [B, K] and target [B]; with `by_features` of features, output layer, target
    data: Data
    precision: Precision = Precision.fp32
    by_features: bool = False  # the model has the parts `features` and `head`; no step computes the logits
    loss_sum: Tensor = field(init=False)  # over the images of the epoch so far
    correct_sum: Tensor = field(init=False)
    finite_steps: Tensor = field(init=False)  # steps of the epoch up to which the loss was finite

    def __post_init__(self) -> None:
        device = self.data.train.labels.device
        self.loss_sum = torch.zeros((), device=device, dtype=torch.float64)
        self.correct_sum = torch.zeros((), device=device, dtype=torch.int64)
        self.finite_steps = torch.zeros((), device=device, dtype=torch.int64)

    def changing(self) -> list[Tensor]:
        """Every tensor that a step changes in place."""
        sums = [self.loss_sum, self.correct_sum, self.finite_steps]
        return [*self.model.state_dict().values(), *self.optimizer.state(), *sums]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Mixed precision for bf16, nothing otherwise; losses compute in float32 all the same."""
    if precision is not Precision.bf16:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=device.type == "cpu")


def loss_of(state: State, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """The loss of a batch, a scalar, and its logits [B, K]; None where the loss does without."""
    network: Any = state.model
    with autocast(target.device, state.precision):
        outputs = network.features(inputs) if state.by_features else network(inputs)
    if state.by_features:
        return state.loss(outputs.float(), network.head, target), None
    return state.loss(outputs, target), outputs


def train_step(state: State, plan: Tensor) -> None:
    """One step of SGD on the images that the columns of an epoch's plan name; all of it stays on the device."""
    inputs, target = batch(state.data, plan)
    loss, logits = loss_of(state, inputs, target)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    state.optimizer.step()
    with torch.no_grad():
        state.loss_sum += loss * len(target)
        if logits is not None:
            state.correct_sum += metrics.num_correct(logits, target)
        state.finite_steps += torch.isfinite(state.loss_sum)


def train_epoch(
    state: State,
    step: Callable[[Tensor], None],
    config: Config,
    epoch: int,
    on_step: OnStep,
    evaluate: Callable[[int], None] | None = None,
) -> int:
    """Train one epoch with `step`, which is given the plan's columns of each batch; returns the images seen.

    The sums of loss and of correct predictions are in the state.

    Args:
        state: what is trained.
        step: does a step.
        config: the run.
        epoch: from 1.
        on_step: called now and then.
        evaluate: called with the number of steps that the run has done, every `schedule.evaluate_every_steps` steps.
    """
    state.model.train()
    state.loss_sum.zero_()
    state.correct_sum.zero_()
    state.finite_steps.zero_()
    plan, size = plan_epoch(state.data, config.seed, epoch), config.schedule.batch_size
    num = plan.shape[1]
    if config.schedule.drop_last:
        num -= num % size
    told = -math.inf
    every, done = config.schedule.evaluate_every_steps, (epoch - 1) * math.ceil(num / size)
    for start in range(0, num, size):
        step(plan[:, start : min(start + size, num)])
        done += 1
        if evaluate is not None and every is not None and done % every == 0:
            evaluate(done)
            state.model.train()
        if time.monotonic() - told > REPORT_EVERY_S:
            told = time.monotonic()
            on_step(epoch, start / num, "")
    return num
