"""Bias and variance of the gradient of losses that draw classes, beside the exact gradient at the same weights."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.config.options import LossConfig
from lossbench.config.run import Config
from lossbench.data.load import batch, plan_epoch
from lossbench.losses.build import build_loss
from lossbench.system.machine import commit, device_name, keep_freed_memory, versions
from lossbench.system.seeds import derived_seed
from lossbench.training.fit import check, process_settings, start_state, step_for
from lossbench.training.steps import State, train_epoch

PARTS = ("head", "features")
"""What the gradient is taken in: weights and biases of the output layer, and the features of the batch."""

GROUPS = 10
"""Equal groups of draws; leaving out one after the other gives the standard error."""


@dataclass(frozen=True)
class Estimator:
    """A loss whose gradient is an estimate of another one's.

    Args:
        loss: that draws classes, with `needs="features"`.
        reference: whose gradient it estimates, without draws; of logits or of features.
    """

    loss: LossConfig
    reference: LossConfig


@dataclass(frozen=True)
class Noise:
    """Bias and variance of a gradient estimate for one batch, relative to the squared norm of the exact gradient.

    Args:
        bias2: ||E g' - g||^2 / ||g||^2, an unbiased estimate, so that it can be below 0.
        bias2_se: its standard error, by a jackknife over groups of draws.
        variance: E ||g' - E g'||^2 / ||g||^2.
    """

    bias2: float
    bias2_se: float
    variance: float


def measured_gradient_noise(
    config: Config, estimators: Mapping[str, Estimator], trained: bool, num_batches: int, num_draws: int
) -> dict[str, Any]:
    """`Noise` of estimators at the weights of a run, as plain JSON.

    Args:
        config: the run, whose loss has `needs="features"`; its first batches of epoch 2 are used in both states.
        estimators: by name.
        trained: at the weights after its first epoch; otherwise at its initial weights.
        num_batches: batches of `schedule.batch_size` training samples.
        num_draws: draws of classes for a batch.

    Returns:
        "estimators": for each name and each of `PARTS` "bias2", "bias2_se" and "variance", means over the batches, and
        "by_batch", the `bias2` of each. "references": the norm of the exact gradients by batch, by name of the loss and
        part. "log_sum_exp": mean of log sum exp of the logits by batch. The rest says what was measured on what.

    Raises:
        ValueError: the config cannot be executed here.
    """
    device = check(config)
    threads = config.runtime.num_threads or torch.get_num_threads()
    keep_freed_memory()
    with process_settings(threads, config.schedule.precision, config.runtime.deterministic):
        state = start_state(config, device)
        if trained:
            state.optimizer.set_lr(config.schedule.lr_at(1))
            train_epoch(state, step_for(state, config), config, 1, lambda epoch, fraction, line: None)
        found = noise_of_state(state, config, estimators, num_batches, num_draws)
    about: dict[str, Any] = {"draws": num_draws, "batches": num_batches, "batch_size": config.schedule.batch_size}
    about |= {"classes": state.data.num_classes, "device": device_name(device), "num_threads": threads}
    return about | {"torch": versions()["torch"], "commit": commit()} | found


def noise_of_state(
    state: State, config: Config, estimators: Mapping[str, Estimator], num_batches: int, num_draws: int
) -> dict[str, Any]:
    """The entries of `measured_gradient_noise` that are computed at the weights of a state, which may be any."""
    network: Any = state.model
    network.eval()
    plan, size = plan_epoch(state.data, config.seed, 2), config.schedule.batch_size
    by_batch: dict[str, dict[str, list[Noise]]] = {name: {part: [] for part in PARTS} for name in estimators}
    norms: dict[str, dict[str, list[float]]] = {}
    log_sums: list[float] = []
    for nth in range(num_batches):
        inputs, target = batch(state.data, plan[:, nth * size : (nth + 1) * size])
        with torch.no_grad():
            features = network.features(inputs)
            log_sums.append(float(network.head(features).double().logsumexp(dim=1).mean()))
        exact: dict[str, dict[str, Tensor]] = {}
        for one in estimators.values():
            if one.reference.name not in exact:
                loss = build_loss(one.reference, state.data.class_counts)
                exact[one.reference.name] = exact_gradient(one.reference, loss, features, network.head, target)
        for name, gradient in exact.items():
            for part in PARTS:
                norm = float(gradient[part].double().norm())
                norms.setdefault(name, {key: [] for key in PARTS})[part].append(norm)
        for name, one in estimators.items():
            draws = torch.Generator(features.device)  # the same for all, so that they differ in what they do with it
            draws.manual_seed(derived_seed(config.seed, nth, "draws of the gradient"))
            estimate = build_loss(one.loss, state.data.class_counts, draws)
            found = noise(estimate, exact[one.reference.name], features, network.head, target, num_draws)
            for part in PARTS:
                by_batch[name][part].append(found[part])
    every = {name: {part: _mean(of_part) for part, of_part in parts.items()} for name, parts in by_batch.items()}
    return {"estimators": every, "references": norms, "log_sum_exp": log_sums}


def _mean(by_batch: list[Noise]) -> dict[str, Any]:
    num = len(by_batch)
    return {
        "bias2": _short(sum(one.bias2 for one in by_batch) / num),
        "bias2_se": _short(math.sqrt(sum(one.bias2_se**2 for one in by_batch)) / num),
        "variance": _short(sum(one.variance for one in by_batch) / num),
        "by_batch": [_short(one.bias2) for one in by_batch],
    }


def _short(value: float) -> float:
    """Five digits, which is more than is known of it."""
    return float(f"{value:.5g}")


def exact_gradient(
    config: LossConfig, loss: Callable[..., Tensor], features: Tensor, head: nn.Linear, target: Tensor
) -> dict[str, Tensor]:
    """The gradient of a loss of a batch in each of `PARTS`: [K, F + 1], the biases last, and [B, F]."""
    given = features.detach().requires_grad_()
    value = loss(given, head, target) if config.needs == "features" else loss(head(given), target)
    weight, bias, own = torch.autograd.grad(value, [head.weight, head.bias, given])
    return {"head": torch.cat([weight.to_dense(), bias[:, None]], dim=1), "features": own}


def noise(
    loss: Callable[..., Tensor],
    exact: Mapping[str, Tensor],
    features: Tensor,
    head: nn.Linear,
    target: Tensor,
    num_draws: int,
) -> dict[str, Noise]:
    """Bias and variance of a loss's gradient over its draws, in each of `PARTS`; no draw's gradient is kept.

    Args:
        loss: of features, output layer and target; draws anew in each call.
        exact: the gradient it estimates, [K, F + 1] and [B, F].
        features: [B, F].
        head: with biases.
        target: int64 [B].
        num_draws: a multiple of `GROUPS`, at least twice as many.

    Raises:
        ValueError: it is not.
    """
    if num_draws % GROUPS or num_draws < 2 * GROUPS:
        raise ValueError(f"the number of draws must be a multiple of {GROUPS} from {2 * GROUPS} on, got {num_draws}")
    each = num_draws // GROUPS
    sums = {part: _Sums(exact[part].shape, features) for part in PARTS}
    for nth in range(num_draws):
        for part, rows, values in _gradient(loss, features, head, target):
            sums[part].add(nth // each, rows, values)
    return {part: sums[part].noise(exact[part], each) for part in PARTS}


def _gradient(
    loss: Callable[..., Tensor], features: Tensor, head: nn.Linear, target: Tensor
) -> Iterator[tuple[str, Tensor | None, Tensor]]:
    """The gradient by part: rows [R] and their values [R, F + 1]; None: all rows."""
    given = features.detach().requires_grad_()
    weight, bias, own = torch.autograd.grad(loss(given, head, target), [head.weight, head.bias, given])
    if weight.is_sparse:
        weight = weight.coalesce()
        rows = weight.indices()[0]
        yield "head", rows, torch.cat([weight.values(), bias[rows, None]], dim=1)
    else:
        yield "head", None, torch.cat([weight, bias[:, None]], dim=1)
    yield "features", None, own


class _Sums:
    """Sums of gradients by group of draws, and of their squares."""

    def __init__(self, shape: torch.Size, like: Tensor) -> None:
        self._sums = [torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in range(GROUPS)]
        self._squares = [0.0] * GROUPS

    def add(self, group: int, rows: Tensor | None, values: Tensor) -> None:
        """Add a draw: rows [R], each once, and their values; None: all rows."""
        if rows is None:
            self._sums[group] += values
        else:
            self._sums[group].index_add_(0, rows, values)
        self._squares[group] += float(values.double().square().sum())

    def noise(self, exact: Tensor, each: int) -> Noise:
        """Bias and variance from groups of `each` draws."""
        means = torch.stack([one.flatten().double() / each for one in self._sums])
        goal = exact.flatten().double()
        products = means @ means.T  # [G, G]
        with_goal, goal2 = means @ goal, float(goal @ goal)

        def of(groups: list[int]) -> tuple[float, float]:
            """Squared bias and variance from some groups."""
            num = each * len(groups)
            mean2 = float(products[groups][:, groups].mean())
            variance = (sum(self._squares[group] for group in groups) - num * mean2) / (num - 1)
            off = mean2 - 2 * float(with_goal[groups].mean()) + goal2
            return (off - variance / num) / goal2, variance / goal2

        bias2, variance = of(list(range(GROUPS)))
        without = [of([other for other in range(GROUPS) if other != one])[0] for one in range(GROUPS)]
        middle = sum(without) / GROUPS
        se = math.sqrt((GROUPS - 1) / GROUPS * sum((one - middle) ** 2 for one in without))
        return Noise(bias2, se, variance)
