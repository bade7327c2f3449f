"""LGL, a logistic loss for each class against all others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, Reduction, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.checks import checked, one_hot

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(
    label="LGL",
    probabilities="sigmoid",
    law="sigmoid",
    style=0,
    properties=Properties(
        convex=True,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="1 / (4 * K)",
        gradient_bound="1 / sqrt(K)",
        map="sigmoid",
        source='the paper, section "Preliminaries"',
        notes=('With reduction "sum_classes" both bounds are K times larger.',),
    ),
)
@dataclass
class Lgl(LossConfig):
    """LGL: one-vs-all logistic loss."""

    name: str = "lgl"
    reduction: Reduction = Reduction.mean

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: lgl(logits, target, reduction=self.reduction, class_weights=classes.weights)


def lgl(
    logits: "Tensor", target: "Tensor", *, reduction: str = "mean", class_weights: "Tensor | None" = None
) -> "Tensor":
    """LGL: logistic loss with one sigmoid for each class against all others (section "Preliminaries", one-vs-all).

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        reduction: "mean": over batch and classes, torch's default; "sum_classes": mean over the batch, sum over
            classes, K times larger. The paper does not say; with "mean" LGL falls behind SML as in Table 3.
        class_weights: lambda_k of Eq. 1, [K], a factor on all K terms of a sample of class k; None: all 1.

    Returns:
        Scalar loss in nats.

    Raises:
        ValueError: logits and target disagree in shape, or the reduction is unknown.
    """
    import torch.nn.functional as F

    summed = Reduction(reduction) is Reduction.sum_classes
    logits = checked(logits, target)
    weights = None if class_weights is None else class_weights.to(logits.dtype)[target][:, None]
    loss = F.binary_cross_entropy_with_logits(logits, one_hot(logits, target), weights)
    return loss * logits.shape[1] if summed else loss
