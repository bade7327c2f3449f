"""The squared distance of the target class's softmax probability from 1."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(
    label="(1 - p)²",
    probabilities="softmax",
    posterior="none",
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=False,
        top1_consistent=True,
        order_preserving=False,
        smoothness="0.309",
        gradient_bound="0.42",
        source="none",
        notes=(
            "With two classes it is half the Brier score, and strictly proper.",
            "With more the minimiser's softmax is p_k = max(0, 1 - m / eta_k) for the posterior eta: of ten classes "
            "68 % get probability 0 if eta is uniform on the simplex, and their order is lost.",
            "The gradient vanishes where p_y is near 0 as well as near 1.",
        ),
    ),
)
@dataclass
class OneMinusPSquared(LossConfig):
    """Squared distance of the target class's softmax probability from 1.

    With two classes it is half the Brier score. With more, its minimiser's softmax is not the posterior P: it is
    p_k = max(0, 1 - m / P_k) with m such that the sum is 1, so classes with a small P_k get probability 0.
    """

    name: str = "one_minus_p_squared"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: one_minus_p_squared(logits, target, class_weights=classes.weights)


def one_minus_p_squared(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """(1 - p_y)^2 with the softmax probability p_y of the target class.

    It is not convex in the logits, and its gradient, 2 p_y (1 - p_y) (p - e_y), vanishes where p_y is near 0 as well as
    near 1. The predicted class has the largest logit.

    Source: none; it is the square loss that comes to mind as an alternative to -log p_y.

    Args:
        logits: raw scores, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss, the mean over the batch; without weights in [0, 1], no unit.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    import torch.nn.functional as F

    logits = checked(logits, target)
    log_p = -F.cross_entropy(logits, target, reduction="none")  # [B], of the target class
    return batch_mean((1 - log_p.exp()).square(), target, class_weights)
