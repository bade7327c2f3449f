"""How do the weights move, fast? Plain SGD; nothing inside an epoch waits for the device."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lossbench.config.run import Config, Precision
from lossbench.data.load import Data, Split, batch, plan_epoch
from lossbench.training import metrics
from lossbench.training.optimizer import Sgd

EVALUATION_BATCH = {"cpu": 100, "cuda": 2000}
"""Images at a time when nothing is learned: as many as a core's caches hold, or as keep a GPU busy."""

REPORT_EVERY_S = 0.2

OnStep = Callable[[int, float, str], None]
"""Called now and then with the epoch, from 1, the fraction of it that has been queued, and at its end its log line."""


@dataclass
class State:
    """All that training changes, and what it is changed with."""

    model: nn.Module
    optimizer: Sgd
    loss: Callable[[Tensor, Tensor], Tensor]  # of logits [B, K] and target [B]
    data: Data
    precision: Precision = Precision.fp32
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


def train_step(state: State, plan: Tensor) -> None:
    """One step of SGD on the images that the columns of an epoch's plan name; all of it stays on the device."""
    images, target = batch(state.data, plan)
    with autocast(target.device, state.precision):
        logits = state.model(images)
    loss = state.loss(logits, target)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
    state.optimizer.step()
    with torch.no_grad():
        state.loss_sum += loss * len(target)
        state.correct_sum += metrics.num_correct(logits, target)
        state.finite_steps += torch.isfinite(state.loss_sum)


def train_epoch(state: State, step: Callable[[Tensor], None], config: Config, epoch: int, on_step: OnStep) -> int:
    """Train one epoch with `step`, which is given the plan's columns of each batch; returns the images seen.

    The sums of loss and of correct predictions are in the state.
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
    for start in range(0, num, size):
        step(plan[:, start : min(start + size, num)])
        if time.monotonic() - told > REPORT_EVERY_S:
            told = time.monotonic()
            on_step(epoch, start / num, "")
    return num


@torch.inference_mode()
def predict(state: State, split: Split) -> Tensor:
    """Logits [N, K], float32, of all images of a split, in evaluation mode and without augmentation."""
    state.model.eval()
    device = split.labels.device
    # Made at once: small results kept among the large blocks of each batch would keep those from being used again.
    logits = torch.empty(len(split.labels), state.data.num_classes, device=device)
    size = EVALUATION_BATCH.get(device.type, 100)
    for start in range(0, len(logits), size):
        with autocast(device, state.precision):
            logits[start : start + size] = state.model(state.data.inputs(split.images[start : start + size]))
    return logits
