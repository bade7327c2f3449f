"""What every loss asks of its arguments; nothing here waits for the device."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def checked(logits: "Tensor", target: "Tensor") -> "Tensor":
    """The logits in at least float32, float64 staying float64.

    On a GPU the classes in target are not looked at, since that would wait for the device: there a class outside
    0..K-1 goes wrong unseen, and whoever makes the target checks it (a data set's labels are, when it is read).

    Raises:
        ValueError: logits are not [B, K] with K >= 2, target is not [B], or on a CPU holds a class outside 0..K-1.
    """
    import torch

    if logits.ndim != 2 or logits.shape[0] < 1 or logits.shape[1] < 2:
        raise ValueError(f"logits must be [batch, classes] with at least 1 and 2, got {list(logits.shape)}")
    if target.shape != logits.shape[:1]:
        raise ValueError(
            f"target must be [{logits.shape[0]}] for logits {list(logits.shape)}, got {list(target.shape)}"
        )
    if target.device.type == "cpu":
        least, most = (int(value) for value in target.aminmax())
        if least < 0 or most >= logits.shape[1]:
            raise ValueError(
                f"target must be in 0..{logits.shape[1] - 1} for {logits.shape[1]} classes, got {least}..{most}"
            )
    return logits if logits.dtype == torch.float64 else logits.float()


def one_hot(logits: "Tensor", target: "Tensor") -> "Tensor":
    """1 where a column is the sample's class, else 0; [B, K] in the dtype of the logits."""
    import torch

    return (target[:, None] == torch.arange(logits.shape[1], device=logits.device)).to(logits.dtype)
