"""The hinge loss of Weston and Watkins, on the margins to all other classes."""

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
    label="Weston-Watkins",
    probabilities="softmax",
    posterior="none",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        recoverable=False,
        top1_consistent=False,
        order_preserving=False,
        gradient_bound="sqrt(K * (K - 1))",
        margin=1.0,
        map=None,
        source="Weston and Watkins 1999",
        notes=(
            "Without a majority class the most likely classes can tie.",
            "With a majority class every minimiser has it first.",
        ),
    ),
)
@dataclass
class WestonWatkins(LossConfig):
    """Weston-Watkins hinge loss (Weston and Watkins 1999).

    No map gives its minimiser's probabilities: where no class has more than half of the posterior, the most probable
    classes can tie. The map "softmax" is for comparison alone.
    """

    name: str = "weston_watkins"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: weston_watkins(logits, target, class_weights=classes.weights)


def weston_watkins(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Weston-Watkins hinge loss: sum over j != y of max(0, 1 + z_j - z_y).

    It is convex. Its gradient is 1 at each other class with z_j > z_y - 1, and minus their number at y. It is K times
    torch's `multi_margin_loss`. The predicted class has the largest logit.

    Source: Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", ESANN 1999, where the
    margin is 2, the same up to the scale of the logits.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in units of the logits, the mean over the batch; K - 1 if all logits are equal.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    return batch_mean(hinges(checked(logits, target), target).sum(dim=1), target, class_weights)


def hinges(logits: "Tensor", target: "Tensor") -> "Tensor":
    """max(0, 1 + z_j - z_y) for each class j, and 0 for the target class y; [B, K].

    Args:
        logits: z, floating point [B, K].
        target: class indices y, int64 [B].
    """
    y = target[:, None]
    return (1 + (logits - logits.gather(1, y))).relu().scatter(1, y, 0)
