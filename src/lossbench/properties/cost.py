"""Time and memory of a loss, compared with torch's cross-entropy."""

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lossbench.properties.probe import LossError, Probe
from lossbench.properties.verdict import Cost

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = ((256, 10), (256, 1000))
"""Batch sizes and numbers of classes."""

SECONDS = 0.4
"""Time for the repetitions at one shape."""


def costs(probe: Probe) -> list[Cost]:
    """Cost at each of `SHAPES` whose number of classes the loss takes."""
    import torch
    import torch.nn.functional as F

    found = []
    for batch_size, num_classes in SHAPES:
        random = torch.Generator().manual_seed(6)
        logits = torch.randn(batch_size, num_classes, generator=random)
        target = torch.randint(num_classes, (batch_size,), generator=random)
        try:
            seconds = _seconds(lambda z, y: probe.number(probe.loss(z, y)), logits, target)
            kept = _kept(probe, logits, target)
        except (LossError, Exception):  # a loss may raise anything for a number of classes that it does not take
            continue
        usual = _seconds(F.cross_entropy, logits, target)
        found.append(Cost(batch_size, num_classes, 1000 * seconds, seconds / usual, kept))
    return found


def _seconds(loss: Callable[..., Any], logits: "Tensor", target: "Tensor") -> float:
    """Median time of forward and backward."""
    leaf = logits.clone().requires_grad_()
    taken: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(taken) < 3 or (time.perf_counter() < end and len(taken) < 200):
        begin = time.perf_counter()
        value = loss(leaf * 1, target)
        if value.requires_grad:
            value.backward()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[1:])


def _kept(probe: Probe, logits: "Tensor", target: "Tensor") -> float:
    """Memory that is kept for the backward pass, in multiples of the logits."""
    import torch

    sizes: dict[int, int] = {}

    def kept(tensor: "Tensor") -> "Tensor":
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    leaf = logits.clone().requires_grad_()
    given = leaf * 1
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        value = probe.number(probe.loss(given, target))  # noqa: F841  # the graph lives as long as the value
    return sum(sizes.values()) / (logits.numel() * logits.element_size())
