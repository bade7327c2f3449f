"""The mean absolute error of the softmax probabilities."""

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
    label="MAE",
    probabilities="softmax",
    posterior="none",
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=False,
        top1_consistent=True,
        order_preserving=False,
        smoothness="2 / (3 * sqrt(3))",
        gradient_bound="1 / sqrt(2)",
        symmetric=True,
        map=None,
        source="Ghosh et al. 2017",
        notes=(
            "All probability goes to the most likely class: the minimiser is at infinity.",
            "The gradient vanishes where p_y is near 0 as well as near 1.",
        ),
    ),
)
@dataclass
class Mae(LossConfig):
    """Mean absolute error (Ghosh et al. 2017).

    Its minimiser puts all probability on the most likely class, so no map recovers the posterior, and the order of the
    other classes is lost.
    """

    name: str = "mae"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: mae(logits, target, class_weights=classes.weights)


def mae(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Mean absolute error: sum_k |p_k - [k = y]| = 2 (1 - p_y) with softmax probabilities p.

    "Mean" is over the batch alone: the K absolute errors of a sample are summed. The loss is not convex in the logits;
    its gradient, 2 p_y (p - e_y), vanishes where p_y is near 0 as well as near 1. The predicted class has the largest
    logit.

    Source: Ghosh, Kumar and Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017.

    Args:
        logits: raw scores, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss, the mean over the batch; without weights in [0, 2], no unit.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    import torch.nn.functional as F

    logits = checked(logits, target)
    log_p = -F.cross_entropy(logits, target, reduction="none")  # [B], of the target class
    return batch_mean(2 * (1 - log_p.exp()), target, class_weights)
