"""SML."""

import torch.nn.functional as F
from torch import Tensor

from lossbench.losses.checks import checked


def sml(logits: Tensor, target: Tensor) -> Tensor:
    """SML: softmax loss, the cross-entropy of the softmax (Eq. 1 with equal weights, Eq. 2).

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].

    Returns:
        Scalar loss in nats, mean over the batch.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    return F.cross_entropy(checked(logits, target), target)
