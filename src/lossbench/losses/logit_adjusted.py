"""The logit-adjusted loss, a cross-entropy for classes of unequal size."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked, checked_counts

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats


@register_loss(
    label="Logit-adjusted",
    probabilities="softmax",
    properties=Properties(
        convex=True,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=False,
        order_preserving=False,
        smoothness="1 / 2",
        gradient_bound="sqrt(2)",
        map="own",
        predicts=(
            "argmax z, which is that of eta_k / pi_k^tau: with tau 1 the most likely class if all classes"
            " had the same size"
        ),
        source="Menon et al. 2021; Ren et al. 2020",
        notes=(
            "Its map is the softmax of z + tau log pi, pi the class shares.",
            "With classes of unequal size argmax z aims at the class-balanced error, hence the two "
            'values "no"; with equal sizes both are "yes".',
        ),
    ),
)
@dataclass
class LogitAdjusted(LossConfig):
    """Logit-adjusted cross-entropy (Menon et al. 2021); with tau 1 the same as balanced softmax (Ren et al. 2020).

    The posterior is the softmax of z + tau log pi at its minimiser z, pi the class shares; this is the map "own". The
    map "softmax" leaves tau log pi out: with tau 1 it gives the posterior for classes of equal size.
    """

    name: str = "logit_adjusted"
    tau: float = 1.0  # strength of the adjustment, >= 0; at 0 it is SML

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.tau", self.tau)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: logit_adjusted(
            logits, target, class_counts=classes.counts, tau=self.tau, class_weights=classes.weights
        )

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats | None":
        """The softmax of z + tau log pi; float64 [N, K]; None if the class sizes are not known."""
        import numpy as np
        from scipy.special import softmax

        if class_counts is None:
            return None
        sizes = np.maximum(class_counts, 1)
        found: Floats = softmax(logits + self.tau * np.log(sizes / sizes.sum()), axis=1)
        return found


def logit_adjusted(
    logits: "Tensor",
    target: "Tensor",
    *,
    class_counts: "Tensor",
    tau: float = 1.0,
    class_weights: "Tensor | None" = None,
) -> "Tensor":
    """Logit-adjusted loss: the softmax cross-entropy of z_k + tau log pi_k, where pi_k is the share of class k.

    It is convex. The predicted class has the largest logit z_k, without adjustment: with tau 1 the class of the largest
    posterior if all classes had the same size.

    Source: Menon, Jayasumana, Rawat, Jain, Veit and Kumar, "Long-tail learning via logit adjustment", ICLR 2021, Eq.
    10; Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_counts: training samples of each class, [K]; a class without samples counts as having one.
        tau: strength of the adjustment, >= 0; at 0 it is SML.
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in nats, the mean over the batch.

    Raises:
        ValueError: logits and target disagree in shape, class_counts are not [K], or tau is negative or not finite.
    """
    import torch.nn.functional as F

    _require_valid("tau", tau)
    logits = checked(logits, target)
    sizes = checked_counts(class_counts, logits)
    losses = F.cross_entropy(logits + tau * (sizes / sizes.sum()).log(), target, reduction="none")  # [B]
    return batch_mean(losses, target, class_weights)


def _require_valid(key: str, tau: float) -> None:
    require(0 <= tau < float("inf"), key, ">= 0 and finite", tau)
