"""Rankmax, the logarithm of a sum of margins."""

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
    label="Rankmax",
    posterior="none",
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=False,
        top1_consistent=True,
        order_preserving=False,
        gradient_bound="sqrt(K * (K - 1))",
        margin=1.0,
        map=None,
        source="Kong et al. 2020, whose text could not be read",
        notes=("The logits of its minimiser differ by whole numbers, so classes can tie.",),
    ),
)
@dataclass
class Rankmax(LossConfig):
    """Rankmax, in a closed form that could not be confirmed from the publication's text.

    It predicts the largest logit. Its own map depends on the class y that is asked for, p_y = 1 / S, so that no map
    from logits to probabilities belongs to it; the probabilities registered here are softmax.
    """

    name: str = "rankmax"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: rankmax(logits, target, class_weights=classes.weights)


def rankmax(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Rankmax: log S with S = sum over j of (z_j - z_y + 1)_+, the term j = y being 1; not convex in z.

    Source: Kong et al., NeurIPS 2020. Only the abstract and the reviews could be read; this closed form was not
    confirmed from the paper's text. It fits the abstract: (z_j - z_y + 1)_+ / S is the Euclidean projection of z / S
    onto the simplex, whose scale 1 / S adapts to the sample, and the loss is -log of its value for y.

    The loss is 0 once z_y exceeds every other logit by 1. The gradient is 1 / S for each class j != y with a positive
    term, and minus their number over S for y. The scores of its population minimiser differ by whole numbers, so
    classes can tie.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss, in nats: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    logits = checked(logits, target)
    margins = logits - logits.gather(1, target[:, None]) + 1
    return batch_mean(margins.relu().sum(dim=1).log(), target, class_weights)
