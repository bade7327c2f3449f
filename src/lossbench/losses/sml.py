"""SML."""

import torch.nn.functional as F
from torch import Tensor

from lossbench.losses.checks import checked


def sml(logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None) -> Tensor:
    """SML: softmax loss, the cross-entropy of the softmax (Eq. 1, Eq. 2).

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        class_weights: lambda_k of Eq. 1, [K]; None: all 1.

    Returns:
        Scalar loss in nats, mean over the batch of each sample's loss times its class's weight.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    logits = checked(logits, target)
    if class_weights is None:
        return F.cross_entropy(logits, target)
    return (class_weights.to(logits.dtype)[target] * F.cross_entropy(logits, target, reduction="none")).mean()
