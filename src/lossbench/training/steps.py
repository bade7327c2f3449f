"""Training steps and epochs: batch, loss, gradient, SGD. Nothing inside an epoch waits for a GPU."""

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
from lossbench.system.seeds import derived_seed
from lossbench.training import metrics
from lossbench.training.optimizer import Steps

REPORT_EVERY_S = 0.2
"""Smallest interval between reports of progress, in s."""

OnStep = Callable[[int, float, str], None]
"""Called regularly with the epoch, from 1, the fraction of it that has been queued, and, at its end, its log line."""


@dataclass
class State:
    """Everything that training changes, with the loss, the data and the precision it uses."""

    model: nn.Module
    optimizer: Steps
    loss: Callable[..., Tensor]  # of logits [B, K] and target [B]; with `by_features` of features, output layer, target
    data: Data
    precision: Precision = Precision.fp32
    by_features: bool = False  # the model has the parts `features` and `head`; steps compute no logits
    as_read: Callable[[Tensor], Tensor] = lambda logits: logits  # the prediction is the largest of what it returns
    draws: torch.Generator | None = None  # of the loss's random draws, seeded anew in each epoch
    loss_sum: Tensor = field(init=False)  # over the samples of the epoch so far
    correct_sum: Tensor = field(init=False)  # correctly predicted samples of the epoch so far
    finite_steps: Tensor = field(init=False)  # steps of the epoch before the loss became infinite or nan

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
    """Context of mixed precision for bf16, an empty context otherwise; losses are always computed in float32."""
    if precision is not Precision.bf16:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=device.type == "cpu")


def loss_of(state: State, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
    """The loss of a batch, a scalar, and the logits [B, K]; None if the loss needs features only."""
    network: Any = state.model
    with autocast(target.device, state.precision):
        outputs = network.features(inputs) if state.by_features else network(inputs)
    if state.by_features:
        return state.loss(outputs.float(), network.head, target), None
    return state.loss(outputs, target), outputs


def train_step(state: State, plan: Tensor) -> None:
    """One step of SGD on the samples in the given columns of an epoch's plan; it does not wait for a GPU."""
    inputs, target = batch(state.data, plan)
    loss, logits = loss_of(state, inputs, target)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
    state.optimizer.step()
    with torch.no_grad():
        state.loss_sum += loss * len(target)
        if logits is not None:
            state.correct_sum += metrics.num_correct(state.as_read(logits), target)
        state.finite_steps += torch.isfinite(state.loss_sum)


def train_epoch(
    state: State,
    step: Callable[[Tensor], None],
    config: Config,
    epoch: int,
    on_step: OnStep,
    evaluate: Callable[[int], None] | None = None,
) -> int:
    """Train one epoch; returns the number of samples used.

    The sums of loss and of correct predictions are kept in the state.

    Args:
        state: the state, which is changed.
        step: the training step, called with the plan's columns of each batch.
        config: the run's config.
        epoch: the epoch, from 1.
        on_step: called with the progress, at most every `REPORT_EVERY_S`.
        evaluate: called every `schedule.evaluate_every_steps` steps with the number of steps done in the run.
    """
    state.model.train()
    if state.draws is not None:
        state.draws.manual_seed(derived_seed(config.seed, epoch, "draws of the loss"))
    state.loss_sum.zero_()
    state.correct_sum.zero_()
    state.finite_steps.zero_()
    plan, size = plan_epoch(state.data, config.seed, epoch), config.schedule.batch_size
    num = plan.shape[1]
    if config.schedule.drop_last:
        num -= num % size
    reported = -math.inf
    every, done = config.schedule.evaluate_every_steps, (epoch - 1) * math.ceil(num / size)
    for start in range(0, num, size):
        step(plan[:, start : min(start + size, num)])
        done += 1
        if evaluate is not None and every is not None and done % every == 0:
            evaluate(done)
            state.model.train()
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            on_step(epoch, start / num, "")
    return num
