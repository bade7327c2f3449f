"""Poly-1, the cross-entropy with another coefficient of 1 - p in its expansion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.maps import log_softmax_and_rest

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats

MOST = 700.0
"""Largest logarithm of a ratio of probabilities in its map."""


@register_loss(
    label="Poly-1",
    probabilities="softmax",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="16 / 27",
        gradient_bound="sqrt(2)",
        source="Leng et al. 2022",
        notes=(
            "The posterior is proportional to p / (1 + eps p).",
            "It is convex for |eps| <= 1 alone.",
        ),
    ),
)
@dataclass
class Poly1(LossConfig):
    """Poly-1 loss (Leng et al. 2022).

    The posterior is proportional to p / (1 + eps p), p the softmax of the minimiser. The map "softmax" leaves this
    correction out; the map "own" makes it.
    """

    name: str = "poly1"
    eps: float = 1.0  # added to the coefficient of 1 - p_y, >= -1; at 0 it is SML

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.eps", self.eps)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: poly1(logits, target, eps=self.eps, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """Proportional to p / (1 + eps p) with the softmax p; float64 [N, K]."""
        import numpy as np
        from scipy.special import softmax

        log_p, log_rest = log_softmax_and_rest(logits)
        with np.errstate(divide="ignore"):
            below = np.logaddexp(log_rest, np.log(1 + self.eps) + log_p)  # 1 + eps p = (1 - p) + (1 + eps) p
        found: Floats = softmax((log_p - below).clip(max=MOST), axis=1)
        return found


def poly1(logits: "Tensor", target: "Tensor", *, eps: float = 1.0, class_weights: "Tensor | None" = None) -> "Tensor":
    """Poly-1: -log p_y + eps (1 - p_y) with the softmax probability p_y of the target class.

    -log p_y is the sum of (1 - p_y)^j / j over j >= 1; eps is added to the coefficient of j = 1. The loss is convex in
    the logits if |eps| <= 1 (shown for two classes, checked numerically for up to ten); its gradient is
    (1 + eps p_y) (p - e_y). The predicted class has the largest logit.

    Source: Leng, Tan, Liu, Cubuk, Shi, Cheng and Anguelov, "PolyLoss: A Polynomial Expansion Perspective of
    Classification Loss Functions", ICLR 2022.

    Args:
        logits: raw scores, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        eps: added to the coefficient of 1 - p_y, >= -1; below -1 a step down the gradient would lower a p_y near 1.
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in nats, the mean over the batch.

    Raises:
        ValueError: logits and target disagree in shape, or eps is below -1 or not finite.
    """
    import torch.nn.functional as F

    _require_valid("eps", eps)
    logits = checked(logits, target)
    log_p = -F.cross_entropy(logits, target, reduction="none")  # [B], of the target class
    return batch_mean(eps * (1 - log_p.exp()) - log_p, target, class_weights)


def _require_valid(key: str, eps: float) -> None:
    require(-1 <= eps < float("inf"), key, ">= -1 and finite", eps)
