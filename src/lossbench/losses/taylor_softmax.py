"""Cross-entropy of the Taylor softmax."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.maps import normalised

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats


@register_loss(
    label="Taylor softmax",
    properties=Properties(
        convex=False,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="2",
        gradient_bound="1",
        map="own",
        predicts="argmax |z + 1|, which has the largest of its own probabilities",
        source="de Brebisson and Vincent 2016",
        notes=(
            "Its map is f / sum f, f = 1 + z + z^2 / 2, which has the same value at z and at -2 - z.",
            "So minimisers come in pairs. All have the order of the posterior in |z + 1|, by which it predicts.",
        ),
    ),
)
@dataclass
class TaylorSoftmax(LossConfig):
    """Taylor softmax.

    Its own map is f_k / sum_j f_j with f = 1 + z + z^2 / 2, which is smallest at z = -1: by its own probabilities it
    predicts the logit farthest from -1, which can be a very negative one.
    """

    name: str = "taylor_softmax"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: taylor_softmax(logits, target, class_weights=classes.weights)

    def as_read(self, logits: "Tensor") -> "Tensor":
        """Logits reflected at -1 to the side where f rises with them, [N, K]; f is the same."""
        return abs(logits + 1) - 1

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """The Taylor softmax f_k / sum_j f_j with f = 1 + z + z^2 / 2; float64 [N, K]."""
        return normalised(1 + logits * (1 + logits / 2))


def taylor_softmax(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Cross-entropy of the Taylor softmax: -log(f_y / sum_k f_k) with f = 1 + z + z^2 / 2, not convex in z.

    f is the second-order Taylor polynomial of exp, at least 1/2. Source: de Brebisson and Vincent, ICLR 2016. The
    gradient in z_k is (1 + z_k) / f_k (p_k - e_k), with p = f / sum f and e the one-hot target; below z_y = -1 it has
    the wrong sign, so that a badly wrong sample moves farther away.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss, in nats: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    logits = checked(logits, target)
    scores = (logits * (1 + logits / 2)).log1p()  # log f
    return batch_mean(scores.logsumexp(dim=1) - scores.gather(1, target[:, None])[:, 0], target, class_weights)
