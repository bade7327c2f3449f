"""The asymmetric loss, a one-vs-all loss in which easy other classes count less than the sample's own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked, one_hot
from lossbench.losses.maps import normalised

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats

SMALLEST = 1e-12
"""Lower bound of a probability before it is raised to a power, where the power's gradient is finite."""

MOST = 700.0
"""Logits beyond it have a sigmoid that rounds to 0 or 1; its map reads them as this."""


@register_loss(
    label="Asymmetric",
    probabilities="sigmoid",
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="0.443",
        gradient_bound="sqrt(1 + 0.54 * (K - 1))",
        sparse=True,
        map="sigmoid",
        source="Ridnik et al. 2021",
        notes=(
            "The posterior of each class follows from the slopes of its two terms; its map normalises these values.",
            "A posterior above 0.964 puts that logit at infinity; the other classes still determine it.",
        ),
    ),
)
@dataclass
class Asymmetric(LossConfig):
    """Asymmetric loss (Ridnik et al. 2021), with a sigmoid for each class against all others.

    With both gammas and clip 0 it is LGL with reduction "sum_classes"; otherwise the sigmoids of its minimiser are not
    the posterior, which follows from the slopes of the terms (map "own").
    """

    name: str = "asymmetric"
    gamma_pos: float = 0.0  # focus on hard samples in the term of the sample's class, >= 0
    gamma_neg: float = 4.0  # the same in the terms of the other classes, >= 0
    clip: float = 0.05  # probability of another class up to which it costs nothing, in [0, 1)

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_valid("loss.", self.gamma_pos, self.gamma_neg, self.clip)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: asymmetric(
            logits,
            target,
            gamma_pos=self.gamma_pos,
            gamma_neg=self.gamma_neg,
            clip=self.clip,
            class_weights=classes.weights,
        )

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """r_k / (1 + r_k), normalised, with r_k the ratio of the slopes in z_k of the two terms; float64 [N, K].

        At the minimiser eta_k times the slope of the own class's term is 1 - eta_k times that of the other classes'
        term, without sign. With clip > 0 this r is bounded, and a posterior beyond its bound has no finite minimiser.
        """
        import numpy as np
        from scipy.special import expit, log_expit

        z = logits.clip(-MOST, MOST)
        s, rest, log_s = expit(z), expit(-z), log_expit(z)
        m = (s - self.clip).clip(min=0)
        log_not_m = np.log(rest + self.clip) if self.clip > 0 else log_expit(-z)  # where m > 0
        bend = self.gamma_neg * rest * -log_not_m / np.where(m > 0, m, 1.0)
        others = s * m**self.gamma_neg * (rest * np.exp(-log_not_m) + bend) * (m > 0)
        own = rest**self.gamma_pos * (rest - self.gamma_pos * s * log_s)
        return normalised(others / (others + own))


def asymmetric(
    logits: "Tensor",
    target: "Tensor",
    *,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    clip: float = 0.05,
    class_weights: "Tensor | None" = None,
) -> "Tensor":
    """Asymmetric loss: a focal loss of each class against all others, with weaker terms for the other classes.

    With the sigmoids s_k of the logits and m_j = max(0, s_j - clip), a sample's loss is
    -(1 - s_y)^gamma_pos log s_y - sum over j != y of m_j^gamma_neg log(1 - m_j). It is not convex in general. With
    clip > 0 its gradient at another class is 0 where s_j is below clip, and vanishes where s_j is near 1. The predicted
    class has the largest logit.

    Source: Ridnik, Ben-Baruch, Zamir, Noy, Friedman, Protter and Zelnik-Manor, "Asymmetric Loss For Multi-Label
    Classification", ICCV 2021, sections "Asymmetric focusing" and "Asymmetric probability shifting"; for samples of
    several classes, here of one. The published implementation can treat the powers as constants in the gradient; here
    they are not.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        gamma_pos: focus on hard samples in the term of the sample's class, >= 0.
        gamma_neg: the same in the terms of the other classes, >= 0; more than gamma_pos lowers their share.
        clip: probability of another class up to which it costs nothing, in [0, 1).
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in nats, the mean over the batch of the sum over the K classes.

    Raises:
        ValueError: logits and target disagree in shape, or an option is out of range.
    """
    import math

    import torch
    import torch.nn.functional as F

    _require_valid("", gamma_pos, gamma_neg, clip)
    logits = checked(logits, target)
    log_s, log_not_s = F.logsigmoid(logits), F.logsigmoid(-logits)  # [B, K]
    if clip > 0:
        log_not_m = torch.logaddexp(log_not_s, torch.full_like(log_not_s, math.log(clip))).clamp_max(0)
        power = (log_s.exp() - clip).clamp_min(SMALLEST) ** gamma_neg
    else:
        log_not_m, power = log_not_s, (gamma_neg * log_s).exp()
    positives = -(gamma_pos * log_not_s).exp() * log_s
    losses = torch.where(one_hot(logits, target) > 0, positives, -power * log_not_m).sum(dim=1)
    return batch_mean(losses, target, class_weights)


def _require_valid(prefix: str, gamma_pos: float, gamma_neg: float, clip: float) -> None:
    for key, gamma in (("gamma_pos", gamma_pos), ("gamma_neg", gamma_neg)):
        require(0 <= gamma < float("inf"), prefix + key, ">= 0 and finite", gamma)
    require(0 <= clip < 1, prefix + "clip", "in [0, 1)", clip)
