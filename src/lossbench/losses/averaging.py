"""The mean of a loss over a batch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def batch_mean(values: "Tensor", target: "Tensor", class_weights: "Tensor | None") -> "Tensor":
    """Mean over the batch of each sample's loss times the weight of its class.

    Args:
        values: loss of each sample, [B].
        target: class indices in 0..K-1, int64 [B].
        class_weights: [K]; None: all 1.
    """
    return (values if class_weights is None else class_weights.to(values.dtype)[target] * values).mean()
