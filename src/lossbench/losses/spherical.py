"""The spherical score, the softmax probability of the target class divided by the length of all probabilities."""

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
    label="Spherical",
    probabilities="softmax",
    properties=Properties(
        convex=False,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="0.553",
        gradient_bound="0.545",
        source="Gneiting and Raftery 2007",
        notes=("The gradient vanishes where p_y is near 0 as well as near 1.",),
    ),
)
@dataclass
class Spherical(LossConfig):
    """Spherical score of the softmax probabilities, as a loss; its minimiser's softmax is the posterior."""

    name: str = "spherical"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: spherical(logits, target, class_weights=classes.weights)


def spherical(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Spherical loss: 1 - p_y / sqrt(sum_k p_k^2) with softmax probabilities p.

    It is computed as 1 - sqrt(q_y), q being the softmax of the doubled logits. It is proper, but not convex in the
    logits, and its gradient, sqrt(q_y) (q - e_y), vanishes where p_y is near 0 as well as near 1. The predicted class
    has the largest logit.

    Source: the spherical score in Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation",
    Journal of the American Statistical Association 102, 2007.

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
    log_q = -F.cross_entropy(2 * logits, target, reduction="none")  # [B], of the target class
    return batch_mean(1 - (log_q / 2).exp(), target, class_weights)
