"""The largest logits of many classes, for losses whose other logits have probability 0 and no gradient."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FIRST = 100
"""Logits of a sample that are tried first; with so many classes or fewer all are taken."""


def centre(logits: "Tensor") -> "Tensor":
    """Logits minus the largest of each sample, [B, K]; for losses that do not change with such a shift."""
    return logits - logits.detach().amax(dim=1, keepdim=True)


def with_support(
    logits: "Tensor", target: "Tensor", bound: Callable[["Tensor"], "Tensor"]
) -> tuple["Tensor", "Tensor"]:
    """Logits of each sample that hold all with a positive probability, and the target's, less the largest.

    On a CPU with more than `FIRST` classes these are the k largest ones. A bound from some of the logits is at most
    that from all of them, so if the first k reach beyond theirs, the logits above it are enough. On another device,
    where the question would wait for it, and in a function that is compiled, they are all K.

    Args:
        logits: float [B, K].
        target: int64 [B].
        bound: from logits [B, k], the largest of each sample 0 and the first, to the number [B, 1] such that those at
            or below it have probability 0 if these are all the logits.

    Returns:
        Logits [B, k], 2 <= k <= K, and the target's logits [B].
    """
    import torch

    num_classes, own = logits.shape[1], target[:, None]
    if num_classes > FIRST and logits.device.type == "cpu" and not torch.compiler.is_compiling():
        fixed = logits.detach()
        found, places = fixed.topk(FIRST, dim=1)
        top = found[:, :1]
        least = bound(found - top)
        num = FIRST
        if (found[:, -1:] - top > least).any():
            num = int((fixed - top > least).sum(dim=1).max())
            if num <= num_classes // 2:
                places = fixed.topk(num, dim=1).indices
        if num <= num_classes // 2:
            chosen = logits.gather(1, torch.cat([places, own], dim=1)) - top
            return chosen[:, :-1], chosen[:, -1]
    centred = centre(logits)
    return centred, centred.gather(1, own)[:, 0]
