"""SML, the cross-entropy of the softmax."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.checks import checked

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(
    label="SML",
    probabilities="softmax",
    law="softmax",
    style=1,
    properties=Properties(
        convex=True,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="1 / 2",
        gradient_bound="sqrt(2)",
        source="Eq. 1 and 2 of the paper",
    ),
)
@dataclass
class Sml(LossConfig):
    """SML: softmax cross-entropy (Eq. 1)."""

    name: str = "sml"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        if classes.weights is None:
            return sml
        return lambda logits, target: sml(logits, target, class_weights=classes.weights)


def sml(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """SML: softmax cross-entropy (Eq. 1, Eq. 2).

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        class_weights: lambda_k of Eq. 1, [K]; None: all 1.

    Returns:
        Scalar loss in nats: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    import torch.nn.functional as F

    logits = checked(logits, target)
    if class_weights is None:
        return F.cross_entropy(logits, target)
    return (class_weights.to(logits.dtype)[target] * F.cross_entropy(logits, target, reduction="none")).mean()
