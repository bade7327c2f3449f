"""Entmax, the Fenchel-Young loss of Tsallis entropies, between softmax cross-entropy and sparsemax."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.largest import centre, with_support
from lossbench.losses.sparsemax import sparsemax, sparsemax_probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats

_BISECTIONS = 12
"""Bisections before Newton's method; they leave an interval of 1/4096 of the first."""

_NEWTON_STEPS = 8
"""Newton steps after that; enough for float64 (tests/test_losses_sparse.py)."""


@register_loss(
    label="Entmax",
    properties=Properties(
        convex=True,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="1 / sqrt(2)",
        gradient_bound="sqrt(2)",
        margin=2.0,
        sparse=True,
        cost="O(K log K)",
        map="own",
        source="Peters, Niculae and Martins 2019; Blondel, Martins and Niculae 2020",
        notes=(
            "Its map is alpha-entmax.",
            "The margin is 1 / (alpha - 1), the bound on the Hessian 2^(alpha - 2).",
            "With alpha other than 1.5 and 2 the threshold is found by iteration, O(K) a step.",
        ),
    ),
)
@dataclass
class Entmax(LossConfig):
    """Entmax loss.

    Its own map is `entmax_probabilities`, which gives exact zeros.
    """

    name: str = "entmax"
    alpha: float = 1.5  # in (1, 2]: near 1 softmax cross-entropy, at 2 sparsemax

    takes_class_weights = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 < self.alpha <= 2, "loss.alpha", "in (1, 2]", self.alpha)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: entmax(logits, target, alpha=self.alpha, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """`entmax_probabilities`, float64 [N, K]."""
        import torch

        found: Floats = entmax_probabilities(torch.from_numpy(logits), self.alpha).numpy()
        return found


def entmax(
    logits: "Tensor", target: "Tensor", *, alpha: float = 1.5, class_weights: "Tensor | None" = None
) -> "Tensor":
    """Entmax loss: (p - e) . z + (1 - sum_k p_k^alpha) / (alpha (alpha - 1)), convex in z, with gradient p - e.

    z are the logits of a sample, e its one-hot target and p its `entmax_probabilities`. The loss is 0 once z_y exceeds
    every other logit by 1 / (alpha - 1); classes with p_k = 0 get no gradient. First and second derivatives are those
    of the formula; third ones are not. Source: Peters, Niculae and Martins, ACL 2019; as a Fenchel-Young loss: Blondel,
    Martins and Niculae, JMLR 2020.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        alpha: in (1, 2]; towards 1 the loss becomes softmax cross-entropy, at 2 it is sparsemax.
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss in nats: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape, or alpha is outside (1, 2].
    """
    require(1 < alpha <= 2, "alpha", "in (1, 2]", alpha)
    if alpha == 2:
        return sparsemax(logits, target, class_weights=class_weights)
    centred, own = with_support(checked(logits, target), target, lambda largest: _bound(largest, alpha))
    threshold = _threshold(centred, alpha)
    powers = _power(centred - threshold, alpha, alpha)
    # The formula with (alpha - 1)(z_k - s) = p_k^(alpha - 1) - 1 put in: nothing is divided by alpha - 1, and the
    # derivative in s is 0, so that the gradient does not depend on that of s.
    return batch_mean(threshold[:, 0] + (powers.sum(dim=1) - 1) / alpha - own, target, class_weights)


def entmax_probabilities(logits: "Tensor", alpha: float = 1.5) -> "Tensor":
    """Entmax: p_k = (1 + (alpha - 1)(z_k - s))_+^(1 / (alpha - 1)), with s such that they sum to 1.

    The maximiser over the simplex of p . z plus the Tsallis entropy of order alpha.

    Args:
        logits: raw scores, float [B, K].
        alpha: in (1, 2]; 2 is sparsemax, the Euclidean projection onto the simplex.

    Returns:
        Probabilities [B, K], float32 or, for logits of float64, float64; some are exactly 0.

    Raises:
        ValueError: alpha is outside (1, 2].
    """
    import torch

    require(1 < alpha <= 2, "alpha", "in (1, 2]", alpha)
    if alpha == 2:
        return sparsemax_probabilities(logits)
    centred = centre(logits if logits.dtype == torch.float64 else logits.float())
    return _power(centred - _threshold(centred, alpha), alpha, 1.0)


def _power(differences: "Tensor", alpha: float, exponent: float) -> "Tensor":
    """p^exponent for p = (1 + (alpha - 1) u)_+^(1 / (alpha - 1)), 0 where p = 0 for any exponent; [B, K].

    Args:
        differences: u = z - s, [B, K].
        alpha: in (1, 2).
        exponent: any number.
    """
    import torch

    scaled = (alpha - 1) * differences
    inside = scaled > -1
    logarithms = torch.log1p(torch.where(inside, scaled, 0.0)) / (alpha - 1)
    return torch.where(inside, torch.exp(exponent * logarithms), 0.0)


def _threshold(centred: "Tensor", alpha: float) -> "Tensor":
    """The threshold s, [B, 1], with its first derivative: one differentiable Newton step from the solution.

    Args:
        centred: logits [B, K] whose largest is 0 in each sample.
        alpha: in (1, 2).
    """
    import torch

    fixed = centred.detach()
    with torch.no_grad():
        start = _solve(fixed.clamp_min(-1 / (alpha - 1)), alpha)  # smaller ones have probability 0
        slope = _power(fixed - start, alpha, 2 - alpha).sum(dim=1, keepdim=True)
    return start + (_power(centred - start, alpha, 1.0).sum(dim=1, keepdim=True) - 1) / slope


def _bound(centred: "Tensor", alpha: float) -> "Tensor":
    """The number, [B, 1], such that logits at or below it have probability 0.

    Args:
        centred: logits [B, K] whose largest is 0 in each sample.
        alpha: in (1, 2).
    """
    reach = 1 / (alpha - 1)
    return _solve(centred.clamp_min(-reach), alpha) - reach


def _solve(centred: "Tensor", alpha: float) -> "Tensor":
    """The threshold s at which the probabilities sum to 1, [B, 1]: by sorting for alpha 1.5, else by iteration.

    Args:
        centred: logits [B, K] whose largest is 0 in each sample, none below -1 / (alpha - 1).
        alpha: in (1, 2).
    """
    import torch

    num_classes = centred.shape[1]
    if alpha == 1.5:
        largest = torch.sort(centred, dim=1, descending=True).values / 2
        size = torch.arange(1, num_classes + 1, dtype=centred.dtype, device=centred.device)
        mean = largest.cumsum(dim=1) / size
        spread = largest.square().cumsum(dim=1) / size - mean.square()
        taus = mean - (1 / size - spread).clamp_min(0).sqrt()  # if as many classes have positive probability
        last = (taus <= largest).sum(dim=1, keepdim=True) - 1
        return 2 * (taus.gather(1, last.clamp_min(0)) + 1)

    low = torch.zeros_like(centred[:, :1])  # the largest probability is at most 1 ...
    high = low - math.expm1((1 - alpha) * math.log(num_classes)) / (alpha - 1)  # ... and at least 1 / K
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        above = _power(centred - middle, alpha, 1.0).sum(dim=1, keepdim=True) >= 1
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    for _ in range(_NEWTON_STEPS):  # the sum is convex and falls in s: from below, the steps do not overshoot
        excess = _power(centred - low, alpha, 1.0).sum(dim=1, keepdim=True) - 1
        low = low + excess / _power(centred - low, alpha, 2 - alpha).sum(dim=1, keepdim=True)
    return low
