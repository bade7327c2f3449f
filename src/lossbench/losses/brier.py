"""The Brier score, the squared distance of the softmax probabilities from the one-hot target."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked, one_hot

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(
    label="Brier",
    probabilities="softmax",
    properties=Properties(
        convex=False,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="0.617",
        gradient_bound="0.839",
        source="Brier 1950",
        notes=(
            "The derivative in z_y vanishes where p_y is near 0 as well as near 1, and the whole gradient where any "
            "p_k is near 1.",
        ),
    ),
)
@dataclass
class Brier(LossConfig):
    """Brier score (Brier 1950) of the softmax probabilities; its minimiser's softmax is the posterior."""

    name: str = "brier"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: brier(logits, target, class_weights=classes.weights)


def brier(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Brier score: sum_k (p_k - [k = y])^2 with softmax probabilities p, not halved and not divided by K.

    It is proper, but not convex in the logits; its derivative in z_y vanishes where p_y is near 0 as well as near 1.
    The predicted class has the largest logit.

    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss, the mean over the batch; without weights in [0, 2], no unit.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    logits = checked(logits, target)
    errors = logits.softmax(dim=1) - one_hot(logits, target)  # [B, K]
    return batch_mean(errors.square().sum(dim=1), target, class_weights)
