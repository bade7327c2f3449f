"""What every loss asks of its arguments; nothing here waits for the device."""

import torch
from torch import Tensor


def checked(logits: Tensor, target: Tensor) -> Tensor:
    """The logits in at least float32, float64 staying float64.

    Raises:
        ValueError: logits are not [B, K] with K >= 2, or target is not [B].
    """
    if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < 2:
        raise ValueError(f"logits must be [batch, classes] with at least 1 and 2, got {list(logits.shape)}")
    if target.shape != logits.shape[:1]:
        raise ValueError(
            f"target must be [{logits.shape[0]}] for logits {list(logits.shape)}, got {list(target.shape)}"
        )
    return logits if logits.dtype == torch.float64 else logits.float()


def one_hot(logits: Tensor, target: Tensor) -> Tensor:
    """1 where a column is the sample's class, else 0; [B, K] in the dtype of the logits."""
    return (target[:, None] == torch.arange(logits.shape[1], device=logits.device)).to(logits.dtype)
