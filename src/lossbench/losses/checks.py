"""Checks of a loss's arguments, class sizes and one-hot targets; nothing here synchronises with a GPU."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def checked(logits: "Tensor", target: "Tensor") -> "Tensor":
    """Check logits and target; returns the logits as float32, or float64 if they are float64.

    On a GPU the classes in `target` are not checked, since that would wait for the device, nor are they in a function
    compiled by `torch.compile`: a class outside 0..K-1 then gives wrong values without an error. A data set's labels
    are checked when it is read; check targets of your own.

    Raises:
        ValueError: logits are not [B, K] with K >= 2, or target is not [B], or, on a CPU, has a class outside 0..K-1.
    """
    import torch

    if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < 2:
        raise ValueError(f"logits must be [batch, classes] with batch >= 1 and classes >= 2, got {list(logits.shape)}")
    if target.shape != logits.shape[:1]:
        raise ValueError(
            f"target must be [{logits.shape[0]}] for logits {list(logits.shape)}, got {list(target.shape)}"
        )
    if target.device.type == "cpu" and not torch.compiler.is_compiling():
        least, most = (int(value) for value in target.aminmax())
        if least < 0 or most >= logits.shape[1]:
            raise ValueError(
                f"target must be in 0..{logits.shape[1] - 1} for {logits.shape[1]} classes, got {least}..{most}"
            )
    return logits if logits.dtype == torch.float64 else logits.float()


def checked_counts(class_counts: "Tensor", logits: "Tensor") -> "Tensor":
    """Check class sizes; returns them in the dtype of the logits, where a class without samples has size 1.

    Raises:
        ValueError: class_counts are not [K] for logits [B, K].
    """
    if class_counts.shape != logits.shape[1:]:
        raise ValueError(
            f"class_counts must be [{logits.shape[1]}] for logits {list(logits.shape)}, got {list(class_counts.shape)}"
        )
    return class_counts.to(logits.dtype).clamp_min(1)


def one_hot(logits: "Tensor", target: "Tensor") -> "Tensor":
    """One-hot targets, [B, K] in the dtype of the logits."""
    import torch

    return (target[:, None] == torch.arange(logits.shape[1], device=logits.device)).to(logits.dtype)
