"""The focal loss, a cross-entropy in which easy samples count less."""

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
    label="Focal",
    probabilities="softmax",
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="0.993",
        gradient_bound="1.597",
        source="Lin et al. 2017; the map from Charoenphakdee et al. 2021",
        notes=(
            "The posterior is proportional to p / phi(p), phi(q) = (1 - q)^gamma - gamma (1 - q)^(gamma - 1) q log q.",
        ),
    ),
)
@dataclass
class Focal(LossConfig):
    """Focal loss (Lin et al. 2017), with softmax probabilities.

    With gamma > 0 the posterior is not the softmax p of its minimiser but proportional to p_k / phi(p_k), where
    phi(q) = (1 - q)^gamma - gamma (1 - q)^(gamma - 1) q log q. The map "softmax" leaves this correction out; the map
    "own" makes it.
    """

    name: str = "focal"
    gamma: float = 2.0  # focus on hard samples, >= 0; at 0 it is SML

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.gamma", self.gamma)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: focal(logits, target, gamma=self.gamma, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """Proportional to p / phi(p) with the softmax p and phi as above; float64 [N, K]."""
        import numpy as np
        from scipy.special import softmax

        log_p, log_rest = log_softmax_and_rest(logits)
        odds = np.exp((log_rest - log_p).clip(-MOST, MOST))  # (1 - p) / p
        log_phi = self.gamma * log_rest + np.log1p(self.gamma * np.log1p(odds) / odds)
        found: Floats = softmax((log_p - log_phi).clip(max=MOST), axis=1)
        return found


def focal(logits: "Tensor", target: "Tensor", *, gamma: float = 2.0, class_weights: "Tensor | None" = None) -> "Tensor":
    """Focal loss: -(1 - p_y)^gamma log p_y with the softmax probability p_y of the target class.

    It is not convex in the logits for gamma > 0. The predicted class has the largest logit.

    Source: Lin, Goyal, Girshick, He and Dollar, "Focal Loss for Dense Object Detection", ICCV 2017, Eq. 4. The
    posterior from its minimiser is of Charoenphakdee et al., "On Focal Loss for Class-Posterior Probability Estimation:
    A Theoretical Perspective", CVPR 2021.

    Deviation: softmax in place of the publication's sigmoid, which is that of two classes; no weight alpha.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        gamma: focus on hard samples, >= 0; at 0 it is SML.
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in nats, the mean over the batch.

    Raises:
        ValueError: logits and target disagree in shape, or gamma is negative or not finite.
    """
    import torch.nn.functional as F

    _require_valid("gamma", gamma)
    logits = checked(logits, target)
    y = target[:, None]
    log_odds = logits.scatter(1, y, -float("inf")).logsumexp(dim=1) - logits.gather(1, y)[:, 0]  # of an error, [B]
    # log(1 - p_y) and log p_y stay exact where p_y rounds to 0 or 1, and so does the power's gradient
    losses = -(gamma * F.logsigmoid(log_odds)).exp() * F.logsigmoid(-log_odds)
    return batch_mean(losses, target, class_weights)


def _require_valid(key: str, gamma: float) -> None:
    require(0 <= gamma < float("inf"), key, ">= 0 and finite", gamma)
