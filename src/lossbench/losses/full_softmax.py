"""SML computed from features and output layer, without all logits in memory at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.registry import register_loss

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 2**22
"""Logits in memory at once."""


@register_loss(label="Full softmax")
@dataclass
class FullSoftmax(LossConfig):
    """SML of all classes from features and output layer, in parts."""

    name: str = "full_softmax"

    needs = "features"

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of features, output layer and target."""
        return full_softmax


def full_softmax(features: "Tensor", head: Any, target: "Tensor") -> "Tensor":
    """Softmax cross-entropy of all classes (Eq. 1), a scalar in nats.

    Args:
        features: [B, F].
        head: the output layer, with weight [K, F] and bias [K] or None.
        target: int64 [B].
    """
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    rows = max(CHUNK // len(head.weight), 1)
    if rows >= len(target):
        return F.cross_entropy(F.linear(features, head.weight, head.bias), target)
    if hasattr(nn, "LinearCrossEntropyOptions"):
        parts_of = nn.LinearCrossEntropyOptions(batch_chunk_size=rows)
        value: Tensor = F.linear_cross_entropy(features, head.weight, target, linear_bias=head.bias, options=parts_of)
        return value

    def part(some: "Tensor", labels: "Tensor") -> "Tensor":
        return F.cross_entropy(F.linear(some, head.weight, head.bias), labels, reduction="sum")

    parts = [
        checkpoint(part, features[start : start + rows], target[start : start + rows], use_reentrant=False)
        for start in range(0, len(target), rows)
    ]
    return torch.stack(parts).sum() / len(target)
