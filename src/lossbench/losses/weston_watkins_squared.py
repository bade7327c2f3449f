"""The squared hinge loss of Weston and Watkins, on the margins to all other classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.weston_watkins import hinges

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(label="Weston-Watkins squared", probabilities="softmax")
@dataclass
class WestonWatkinsSquared(LossConfig):
    """Weston-Watkins hinge loss with squared hinges.

    Its minimiser's logits are ordered as the posterior, but no map gives its probabilities in closed form. The map
    "softmax" is for comparison alone.
    """

    name: str = "weston_watkins_squared"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: weston_watkins_squared(logits, target, class_weights=classes.weights)


def weston_watkins_squared(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Squared Weston-Watkins hinge loss: sum over j != y of max(0, 1 + z_j - z_y)^2.

    It is convex, with Hessian eigenvalues up to 2K and a gradient without bound, so it needs a smaller step than the
    hinge itself. It is K times torch's `multi_margin_loss` with p=2. The predicted class has the largest logit.

    Source: Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", ESANN 1999, there without
    the square.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in squared units of the logits, the mean over the batch; K - 1 if all logits are equal.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    return batch_mean(hinges(checked(logits, target), target).square().sum(dim=1), target, class_weights)
