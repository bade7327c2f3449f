"""The squared hinge loss of Weston and Watkins, on the margins to all other classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.maps import normalised
from lossbench.losses.weston_watkins import hinges

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats

MOST_CLASSES = 20
"""More classes have no map: its operations grow with their cube."""


@register_loss(
    label="Weston-Watkins squared",
    probabilities="softmax",
    properties=Properties(
        convex=True,
        strictly_proper=False,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="2 * K",
        margin=1.0,
        sparse=True,
        map=None,
        source="Weston and Watkins 1999, there without the square",
        notes=(
            "The posterior is the stationary distribution of a Markov chain that goes from y to k at "
            "the rate max(0, 1 + z_k - z_y).",
            "Its map is computed for up to 20 classes.",
        ),
    ),
)
@dataclass
class WestonWatkinsSquared(LossConfig):
    """Weston-Watkins hinge loss with squared hinges.

    Its minimiser's logits are ordered as the posterior, which follows from them by elimination (map "own").
    """

    name: str = "weston_watkins_squared"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: weston_watkins_squared(logits, target, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats | None":
        """The posterior eta with sum_y eta_y grad loss(z, y) = 0; float64 [N, K]; None for over `MOST_CLASSES` classes.

        These equations are those of the stationary distribution of a Markov chain that goes from y to k at the rate
        max(0, 1 + z_k - z_y). It is found by elimination, the smallest logit first, without subtractions (Grassmann,
        Taksar and Heyman, Operations Research 33, 1985).
        """
        return _stationary(logits) if logits.shape[1] <= MOST_CLASSES else None


def weston_watkins_squared(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Squared Weston-Watkins hinge loss: sum over j != y of max(0, 1 + z_j - z_y)^2.

    It is convex, with Hessian eigenvalues up to 2K and a gradient without bound, so it needs a smaller step than the
    hinge itself. It is K times torch's `multi_margin_loss` with p=2. The predicted class has the largest logit.

    Source: Weston and Watkins, "Support Vector Machines for Multi-Class Pattern Recognition", ESANN 1999, there without
    the square.

    Args:
        logits: raw scores z, [B, K].
        target: class indices y in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample of class k, [K]; None: all 1.

    Returns:
        Scalar loss in squared units of the logits, the mean over the batch; K - 1 if all logits are equal.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    return batch_mean(hinges(checked(logits, target), target).square().sum(dim=1), target, class_weights)


def _stationary(logits: "Floats") -> "Floats":
    """The stationary distributions of the chains that go from y to k at the rate max(0, 1 + z_k - z_y); [N, K]."""
    import numpy as np

    order = np.argsort(-logits, axis=1)
    z = np.take_along_axis(logits, order, axis=1)
    rates = (1 + z[:, None, :] - z[:, :, None]).clip(min=0)  # [N, from, to]
    for k in range(z.shape[1] - 1, 0, -1):
        rates[:, :k, k] /= rates[:, k, :k].sum(axis=1, keepdims=True)
        rates[:, :k, :k] += rates[:, :k, k, None] * rates[:, k, None, :k]
    found = np.ones_like(z)
    for k in range(1, z.shape[1]):
        found[:, k] = (found[:, :k] * rates[:, :k, k]).sum(axis=1)
    posterior = np.empty_like(z)
    np.put_along_axis(posterior, order, normalised(found), axis=1)
    return posterior
