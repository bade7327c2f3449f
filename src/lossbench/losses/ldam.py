"""LDAM, a cross-entropy in which small classes must win by a larger margin."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked, checked_counts, one_hot
from lossbench.losses.maps import log_softmax_and_rest

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats


@register_loss(
    label="LDAM",
    probabilities="softmax",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=False,
        order_preserving=False,
        smoothness="450",
        gradient_bound="30 * sqrt(2)",
        map=None,
        otherwise=dict.fromkeys(
            ("top1_consistent", "order_preserving"),
            "tested: two classes near a tie (tests/test_properties_worlds.py)",
        ),
        source="Cao et al. 2019",
        notes=(
            "The posterior is proportional to p_k (1 - (1 - exp(-s m_k)) p_k), p the softmax of s z "
            "and m_k the margin of class k.",
            "Two classes of unequal size can be in the wrong order where they are nearly as likely: "
            "for margins 0.1 and 0.5 below a ratio of 1.05 with s = 30, 1.19 with s = 1.",
            "The bounds are s^2 / 2 and s sqrt(2).",
        ),
    ),
)
@dataclass
class Ldam(LossConfig):
    """LDAM: label-distribution-aware margin loss (Cao et al. 2019).

    The posterior at its minimiser z follows from the class sizes (map "own"). The order of z is not that of the
    posterior where two classes are nearly as likely and of unequal size.
    """

    name: str = "ldam"
    max_margin: float = 0.5  # of the smallest class, >= 0
    logit_scale: float = 30.0  # factor on the logits, > 0; `scale` is a factor on the loss, as in every loss

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.max_margin", self.max_margin, "loss.logit_scale", self.logit_scale)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: ldam(
            logits,
            target,
            class_counts=classes.counts,
            max_margin=self.max_margin,
            scale=self.logit_scale,
            class_weights=classes.weights,
        )

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats | None":
        """Proportional to p_k (1 - (1 - exp(-s m_k)) p_k), p the softmax of s z; float64 [N, K].

        Here s is `logit_scale` and m_k the margin of class k. It solves sum_y eta_y grad loss(z, y) = 0 for the
        posterior eta. None if the class sizes are not known.
        """
        import numpy as np
        from scipy.special import softmax

        if class_counts is None:
            return None
        sizes = np.maximum(class_counts, 1)
        margins = self.max_margin * (sizes.min() / sizes) ** 0.25
        log_p, log_rest = log_softmax_and_rest(self.logit_scale * logits)
        found: Floats = softmax(log_p + np.logaddexp(log_rest, log_p - self.logit_scale * margins), axis=1)
        return found


def ldam(
    logits: "Tensor",
    target: "Tensor",
    *,
    class_counts: "Tensor",
    max_margin: float = 0.5,
    scale: float = 30.0,
    class_weights: "Tensor | None" = None,
) -> "Tensor":
    """LDAM: the softmax cross-entropy of scale * z, with z_y lowered by a margin that is larger for smaller classes.

    The margin of class k is max_margin (n_min / n_k)^(1/4), where n_k is its size and n_min that of the smallest class.
    The loss is convex. The predicted class has the largest logit z_k, without margin.

    Source: Cao, Wei, Gaidon, Arechiga and Ma, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
    NeurIPS 2019, Eq. 12 and 13; `scale` and its value are of the published implementation.

    Deviation: the published implementation normalises features and weights of the last layer, so that logits are
    cosines; here they are what the network returns. Its change of class weights during training is not here either.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_counts: training samples of each class, [K]; a class without samples counts as having one.
        max_margin: margin of the smallest class in units of the logits, >= 0; at 0 the loss is SML of scale * z.
        scale: factor on the logits, > 0.
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in nats, the mean over the batch; of scaled logits, so about `scale` times the steps of SML.

    Raises:
        ValueError: logits and target disagree in shape, class_counts are not [K], or an option is out of range.
    """
    import torch.nn.functional as F

    _require_valid("max_margin", max_margin, "scale", scale)
    logits = checked(logits, target)
    sizes = checked_counts(class_counts, logits)
    margins = max_margin * (sizes.min() / sizes) ** 0.25  # [K]
    lowered = logits - margins * one_hot(logits, target)  # [B, K]
    losses = F.cross_entropy(scale * lowered, target, reduction="none")  # [B]
    return batch_mean(losses, target, class_weights)


def _require_valid(margin_key: str, max_margin: float, scale_key: str, scale: float) -> None:
    require(0 <= max_margin < float("inf"), margin_key, ">= 0 and finite", max_margin)
    require(0 < scale < float("inf"), scale_key, "> 0 and finite", scale)
