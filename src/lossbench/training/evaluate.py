"""Evaluation of a network on a split: loss, metrics and predictions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lossbench.data.load import Split
from lossbench.training.metrics import METRICS, Scored
from lossbench.training.steps import State, autocast, loss_of

EVALUATION_BATCH = {"cpu": 100, "cuda": 2000}
"""Batch size of evaluations, by type of device: small enough for a core's caches, large enough to keep a GPU busy."""

MOST_CLASSES = 100
"""With more classes, no array of size [N, K] or [K, K] and no value per class is kept or shown."""


def has_few_classes(state: State) -> bool:
    """Whether results are kept and shown for each class."""
    return state.data.num_classes <= MOST_CLASSES


@dataclass(frozen=True)
class Evaluation:
    """Results of a network on a split."""

    loss: float  # of the entire split as one batch, in nats; a mean over batches if no logits are kept
    metrics: dict[str, float]  # those that the data set declares; "accuracy" is a fraction
    predictions: Tensor  # class with the highest logit as it is read, int64 [N]
    logits: Tensor | None  # as they are read, float32 [N, K]; None: more than `MOST_CLASSES` classes
    nll: Tensor | None = None  # with more classes, if asked for: of the softmax of these logits, in nats, float32 [N]


@contextmanager
def _own_draws(state: State) -> Iterator[None]:
    """In the block a loss's random draws are the same each time, and do not move those of training."""
    if state.draws is None:
        yield
        return
    before = state.draws.get_state()
    state.draws.manual_seed(0)
    try:
        yield
    finally:
        state.draws.set_state(before)


@torch.inference_mode()
def evaluate(state: State, split: Split, names: Sequence[str] = ("accuracy",), *, with_nll: bool = False) -> Evaluation:
    """Evaluate on a split, in evaluation mode and without augmentation.

    Args:
        state: network, loss and data.
        split: the inputs and labels.
        names: names of the metrics, as in `METRICS`.
        with_nll: whether to keep each sample's NLL if no logits are kept.
    """
    with _own_draws(state):
        return _evaluate(state, split, names, with_nll)


def _evaluate(state: State, split: Split, names: Sequence[str], with_nll: bool) -> Evaluation:
    state.model.eval()
    target = split.labels
    if has_few_classes(state):
        logits = predict(state, split)
        loss = _loss_by_batches(state, split) if state.by_features else state.loss(logits, target).item()
        found = Scored(logits, target)
        sums = {name: METRICS[name].of_samples(found).double().sum() for name in names}
        return Evaluation(loss, _final(sums, len(target)), found.predictions, logits)
    sums = dict.fromkeys(names, torch.zeros((), dtype=torch.float64, device=target.device))
    predictions, loss_sum = torch.empty_like(target), torch.zeros((), dtype=torch.float64, device=target.device)
    nll = torch.empty(len(target), device=target.device) if with_nll else None
    for part in _batches(split):
        inputs, own = state.data.inputs(split.images[part]), target[part]
        value, batch_logits = loss_of(state, inputs, own)
        if batch_logits is None:
            with autocast(own.device, state.precision):
                batch_logits = state.model(inputs)
        found = Scored(state.as_read(batch_logits), own)
        loss_sum += value.double() * len(own)
        predictions[part] = found.predictions
        if nll is not None:
            nll[part] = found.nll
        sums = {name: total + METRICS[name].of_samples(found).double().sum() for name, total in sums.items()}
    return Evaluation(loss_sum.item() / len(target), _final(sums, len(target)), predictions, None, nll)


def _final(sums: dict[str, Tensor], num: int) -> dict[str, float]:
    return {name: METRICS[name].from_mean(total.item() / num) for name, total in sums.items()}


def _loss_by_batches(state: State, split: Split) -> float:
    total = torch.zeros((), dtype=torch.float64, device=split.labels.device)
    for part in _batches(split):
        own = split.labels[part]
        total += loss_of(state, state.data.inputs(split.images[part]), own)[0].double() * len(own)
    return total.item() / len(split.labels)


def _batches(split: Split) -> Iterator[slice]:
    size = EVALUATION_BATCH.get(split.labels.device.type, 100)
    return (slice(start, start + size) for start in range(0, len(split.labels), size))


@torch.inference_mode()
def predict(state: State, split: Split) -> Tensor:
    """Logits as they are read, float32 [N, K], of a split, in evaluation mode and without augmentation."""
    state.model.eval()
    device = split.labels.device
    # Allocated once: small tensors kept between the large blocks of each batch would prevent the reuse of these.
    logits = torch.empty(len(split.labels), state.data.num_classes, device=device)
    for part in _batches(split):
        with autocast(device, state.precision):
            logits[part] = state.as_read(state.model(state.data.inputs(split.images[part])))
    return logits
