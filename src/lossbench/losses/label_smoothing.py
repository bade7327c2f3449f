"""Label smoothing, the cross-entropy with targets moved towards the uniform distribution."""

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
    label="Label smoothing",
    probabilities="softmax",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="1 / 2",
        gradient_bound="sqrt(1.81 - 0.01 / K)",
        sparse=True,
        source="Szegedy et al. 2016",
        notes=("The posterior is (p - eps / K) / (1 - eps); its map puts 0 for negative values and normalises.",),
    ),
)
@dataclass
class LabelSmoothing(LossConfig):
    """Label smoothing (Szegedy et al. 2016).

    Its minimiser has softmax probabilities p = (1 - eps) P + eps / K, with P the posterior, so P is
    (p - eps / K) / (1 - eps). The map "softmax" leaves this correction out; the map "own" makes it, with 0 for
    negative values.
    """

    name: str = "label_smoothing"
    eps: float = 0.1  # share of a target that is spread evenly over all K classes, in [0, 1); at 0 it is SML

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.eps", self.eps)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: label_smoothing(logits, target, eps=self.eps, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """(p - eps / K) / (1 - eps) with the softmax p, 0 where that is negative, normalised; float64 [N, K]."""
        from scipy.special import softmax

        return normalised((softmax(logits, axis=1) - self.eps / logits.shape[1]).clip(min=0))


def label_smoothing(
    logits: "Tensor", target: "Tensor", *, eps: float = 0.1, class_weights: "Tensor | None" = None
) -> "Tensor":
    """Label smoothing: the cross-entropy of the targets (1 - eps) e_y + eps / K.

    A sample's loss is log(sum_k exp z_k) - (1 - eps) z_y - eps mean_k z_k, with softmax probabilities. The predicted
    class has the largest logit.

    Source: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer Vision",
    CVPR 2016, section "Model Regularization via Label Smoothing".

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        eps: share of a target that is spread evenly over all K classes, the own class included, in [0, 1).
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in nats, the mean over the batch; its minimum is above 0 unless eps is 0.

    Raises:
        ValueError: logits and target disagree in shape, or eps is outside [0, 1).
    """
    import torch.nn.functional as F

    _require_valid("eps", eps)
    logits = checked(logits, target)
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=eps)  # [B]
    return batch_mean(losses, target, class_weights)


def _require_valid(key: str, eps: float) -> None:
    require(0 <= eps < 1, key, "in [0, 1)", eps)
