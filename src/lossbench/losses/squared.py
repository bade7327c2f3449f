"""The square loss on logits."""

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


@register_loss(
    label="Squared",
    properties=Properties(
        convex=True,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="2 / K",
        sparse=True,
        map="own",
        source="Hui and Belkin 2021",
        notes=("The posterior is z / (k m - (k - 1) z); its map clips to [0, 1] and normalises.",),
    ),
)
@dataclass
class Squared(LossConfig):
    """Square loss on logits.

    It predicts the largest logit. Its minimiser gives the posterior z / (k m - (k - 1) z), for k = 1 z / m; of other
    logits these values need not lie in 0..1 or sum to 1, so its own map clips and normalises them.
    """

    name: str = "squared"
    k: float = 1.0  # factor on the square of the target's class, > 0
    m: float = 1.0  # target value of the target's logit, > 0; that of the others is 0

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.k < float("inf"), "loss.k", "> 0 and finite", self.k)
        require(0 < self.m < float("inf"), "loss.m", "> 0 and finite", self.m)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: squared(logits, target, k=self.k, m=self.m, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """Z / (k m - (k - 1) z) with z clipped to [0, m], where it is in [0, 1], normalised; float64 [N, K]."""
        z = logits.clip(0, self.m)
        return normalised(z / (self.k * self.m - (self.k - 1) * z))


def squared(
    logits: "Tensor", target: "Tensor", *, k: float = 1.0, m: float = 1.0, class_weights: "Tensor | None" = None
) -> "Tensor":
    """Square loss on logits: (k (z_y - m)^2 + sum over j != y of z_j^2) / K, convex in z, without a softmax.

    Source: Hui and Belkin, ICLR 2021, who set k and m above 1 for data sets of 42 classes or more. The gradient in z is
    2 / K times k (z_y - m) for the class y and z_j for the others; it is not bounded.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        k: factor on the square of the target's class, > 0.
        m: target value of the target's logit, > 0.
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss, without unit: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape, or k or m is not > 0 and finite.
    """
    require(0 < k < float("inf"), "k", "> 0 and finite", k)
    require(0 < m < float("inf"), "m", "> 0 and finite", m)
    logits, own = checked(logits, target), target[:, None]
    others = logits.scatter(1, own, 0.0).square().sum(dim=1)
    return batch_mean(
        (k * (logits.gather(1, own)[:, 0] - m).square() + others) / logits.shape[1], target, class_weights
    )
