"""RG2, a quadratic loss from the Taylor expansion of softmax cross-entropy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.maps import normalised

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats


PROPERTIES = Properties(
    convex=True,
    strictly_proper=True,
    recoverable=True,
    top1_consistent=True,
    order_preserving=True,
    smoothness="1 / (2 * K)",
    sparse=True,
    map="own",
    source="Pu et al. 2024",
    notes=("The posterior is (1 + z) / (K (1 + 2 a (1 - z))); its map clips to [0, 1] and normalises.",),
)
"""Of RG2 as a function of the logits, however it is computed."""


@register_loss(label="RG2", properties=PROPERTIES)
@dataclass
class Rg2(LossConfig):
    """RG2.

    It predicts the largest logit. Its minimiser gives the posterior (1 + z) / (K (1 + 2 a (1 - z))), for a = 0
    (1 + z) / K; of other logits these values need not lie in 0..1 or sum to 1, so its own map clips and normalises.
    """

    name: str = "rg2"
    a: float = 0.0  # weight of a further square of the target's logit, >= 0

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.a < float("inf"), "loss.a", ">= 0 and finite", self.a)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: rg2(logits, target, a=self.a, class_weights=classes.weights)

    def prior_logits(self, class_counts: "Tensor") -> "Tensor":
        """Logits whose values by its own map are the class shares, which are its minimiser without an input."""
        counts = class_counts.double()
        weighted = len(counts) * counts / counts.sum()  # K times the share
        return (weighted * (1 + 2 * self.a) - 1) / (1 + 2 * self.a * weighted)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """(1 + z) / (K (1 + 2 a (1 - z))), clipped to [0, 1] and normalised; float64 [N, K]."""
        num_classes = logits.shape[1]
        z = logits.clip(-1, (num_classes * (1 + 2 * self.a) - 1) / (1 + 2 * num_classes * self.a))
        return normalised((1 + z) / (num_classes * (1 + 2 * self.a * (1 - z))))


def rg2(logits: "Tensor", target: "Tensor", *, a: float = 0.0, class_weights: "Tensor | None" = None) -> "Tensor":
    """RG2: |z + 1|^2 / (4 K) - (z_y - 1) / 2 + (a / 2) (z_y - 1)^2 plus a constant, convex in z.

    The constant, which depends on a and K alone, makes 0 the smallest value: with c = (2 K a + K - 1) / (2 K a + 1) the
    loss is (sum over j != y of (z_j + 1)^2 + (1 + 2 K a) (z_y - c)^2) / (4 K), a square loss with the target values c
    and -1. Twice the loss at a = 0 is the second-order Taylor expansion of softmax cross-entropy around z = 0 without
    the product term -(mean of z)^2 / 2. The gradient in z_k is (1 + z_k) / (2 K) + e_k (a (z_k - 1) - 1/2), e the
    one-hot target; it is not bounded.

    Source: Pu et al., "Learning-Efficient Yet Generalizable Collaborative Filtering for Item Recommendation", ICML 2024
    (PMLR 235:41183). The form with a is derived from their published code, where it is
    |z + 1|^2 / (4 K) + (a / 2) (z_y - 1 - 1 / (2 a))^2 for a > 0, the same but for the constant.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        a: weight of a further square of the target's logit, >= 0.
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss, without unit: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape, or a is not >= 0 and finite.
    """
    require(0 <= a < float("inf"), "a", ">= 0 and finite", a)
    logits, own = checked(logits, target), target[:, None]
    num_classes = logits.shape[1]
    factor = 1 + 2 * num_classes * a
    others = (logits + 1).scatter(1, own, 0.0).square().sum(dim=1)
    centre = (factor + num_classes - 2) / factor
    squares = others + factor * (logits.gather(1, own)[:, 0] - centre).square()
    return batch_mean(squares / (4 * num_classes), target, class_weights)
