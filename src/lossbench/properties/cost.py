"""Time and memory of a loss, compared with torch's cross-entropy."""

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lossbench.properties.verdict import Cost

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = ((256, 10), (256, 1000))
"""Batch sizes and numbers of classes."""

SLOWEST_MS = 100.0
"""Time at the first shape above which the second is left out."""

SECONDS = 0.4
"""Time for the repetitions at one shape."""


def costs(loss: Callable[..., Any]) -> list[Cost]:
    """Cost at each of `SHAPES` whose number of classes the loss takes, unless it is slow."""
    import torch
    import torch.nn.functional as F

    found: list[Cost] = []
    for batch_size, num_classes in SHAPES:
        random = torch.Generator().manual_seed(6)
        if found and found[-1].ms > SLOWEST_MS:
            break  # with a hundred times the logits it would take too long
        logits = torch.randn(batch_size, num_classes, generator=random)
        target = torch.randint(num_classes, (batch_size,), generator=random)
        try:
            seconds = _seconds(loss, logits, target)
            kept = _kept(loss, logits, target)
        except Exception:  # a loss may raise anything for a number of classes that it does not take
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
            value.mean().backward()
        taken.append(time.perf_counter() - begin)
        if sum(taken) > 4 * SECONDS:
            break
    return statistics.median(taken[1:] or taken)


def _kept(loss: Callable[..., Any], logits: "Tensor", target: "Tensor") -> float:
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
        value = loss(given, target)  # noqa: F841  # the graph lives as long as the value
    return sum(sizes.values()) / (logits.numel() * logits.element_size())
