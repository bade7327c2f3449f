"""The generalised cross-entropy, a family between the cross-entropy and the mean absolute error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats


@register_loss(
    label="GCE",
    probabilities="softmax",
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="0.236",
        gradient_bound="0.448",
        source="Zhang and Sabuncu 2018",
        notes=(
            "The posterior is proportional to p^(1 - r); with r = 1 nothing gives it back.",
            "The gradient vanishes where p_y is near 0 as well as near 1.",
        ),
    ),
)
@dataclass
class Gce(LossConfig):
    """Generalised cross-entropy (Zhang and Sabuncu 2018).

    With r < 1 the posterior is proportional to p^(1 - r), p the softmax of the minimiser. The map "softmax" leaves this
    correction out; the map "own" makes it.
    """

    name: str = "gce"
    r: float = 0.7  # q of the publication, in (0, 1]; near 0 it is SML, at 1 half of MAE

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.r", self.r)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: gce(logits, target, r=self.r, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats | None":
        """Proportional to p^(1 - r) with the softmax p; float64 [N, K]; None for r = 1, which has no such map."""
        from scipy.special import softmax

        if self.r == 1:
            return None
        found: Floats = softmax((1 - self.r) * logits, axis=1)
        return found


def gce(logits: "Tensor", target: "Tensor", *, r: float = 0.7, class_weights: "Tensor | None" = None) -> "Tensor":
    """Generalised cross-entropy: (1 - p_y^r) / r with the softmax probability p_y of the target class.

    It is not convex in the logits; its gradient, p_y^r (p - e_y), vanishes where p_y is near 0 as well as near 1. The
    predicted class has the largest logit.

    Source: Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
    NeurIPS 2018, where r is called q; their truncated loss is not here.

    Args:
        logits: raw scores, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        r: exponent, in (0, 1]; towards 0 the loss becomes -log p_y, at 1 it is 1 - p_y.
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss, the mean over the batch; without weights in [0, 1 / r], no unit.

    Raises:
        ValueError: logits and target disagree in shape, or r is outside (0, 1].
    """
    import torch
    import torch.nn.functional as F

    _require_valid("r", r)
    logits = checked(logits, target)
    exponent = -r * F.cross_entropy(logits, target, reduction="none")  # [B], log of p_y^r
    # 1 - exp rounds to 0 near exponent 0; the gradient of expm1 rounds to 0 far from it
    losses = torch.where(exponent > -1, -exponent.expm1(), 1 - exponent.exp()) / r
    return batch_mean(losses, target, class_weights)


def _require_valid(key: str, r: float) -> None:
    require(0 < r <= 1, key, "in (0, 1]", r)
