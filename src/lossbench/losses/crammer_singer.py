"""The hinge loss of Crammer and Singer, on the margin to the strongest other class."""

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
    label="Crammer-Singer",
    probabilities="softmax",
    posterior="none",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        recoverable=False,
        top1_consistent=False,
        order_preserving=False,
        gradient_bound="sqrt(2)",
        margin=1.0,
        map=None,
        source="Crammer and Singer 2001",
        notes=(
            "Without a majority class equal logits are a minimiser.",
            "With a majority class every minimiser has it first.",
        ),
    ),
)
@dataclass
class CrammerSinger(LossConfig):
    """Crammer-Singer hinge loss (Crammer and Singer 2001).

    No map gives its minimiser's probabilities: where no class has more than half of the posterior, equal logits are a
    minimiser. The map "softmax" is for comparison alone.
    """

    name: str = "crammer_singer"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: crammer_singer(logits, target, class_weights=classes.weights)


def crammer_singer(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Crammer-Singer hinge loss: max(0, 1 + max over j != y of z_j - z_y).

    It is convex. Its gradient is 1 at the strongest other class, shared evenly among equally strong ones, and -1 at y;
    it is 0 once z_y is ahead by 1 or more. The predicted class has the largest logit.

    Source: Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines", Journal
    of Machine Learning Research 2, 2001.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in units of the logits, the mean over the batch; 1 if all logits are equal.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    logits = checked(logits, target)
    y = target[:, None]
    strongest = logits.scatter(1, y, -float("inf")).amax(dim=1)  # [B], of the other classes
    return batch_mean((1 + strongest - logits.gather(1, y)[:, 0]).relu(), target, class_weights)
