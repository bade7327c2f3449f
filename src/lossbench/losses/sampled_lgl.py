"""LGL with sampled negatives: an unbiased estimate of the one-vs-all logistic loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import TrainingClasses
from lossbench.config.registry import register_loss
from lossbench.losses.sampling import Drawn, Logits, SampledConfig, Sampler, logits_of

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(label="Sampled LGL", probabilities="sigmoid")
@dataclass
class SampledLgl(SampledConfig):
    """LGL, summed over classes, with the negatives of m sampled classes, each weighted by 1 / (m q)."""

    name: str = "sampled_lgl"

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of features, output layer and target."""
        sampler = Sampler(self, classes)

        def loss(features: "Tensor", head: Any, target: "Tensor") -> "Tensor":
            drawn = sampler.draw(target)
            return sampled_lgl(logits_of(features, head, target, drawn.classes), drawn)

        return loss


def sampled_lgl(logits: Logits, drawn: Drawn) -> "Tensor":
    """Mean over the batch of -log sigmoid(z_y) - sum over S, without hits, of log sigmoid(-z_j) / (m q_j).

    Its expectation over the draws is LGL with reduction=sum_classes, for every m and q > 0, and so is its gradient's;
    with proposal=in_batch the expectation is over batches as well. Without replacement the probability to be drawn
    takes the place of m q.

    Args:
        logits: of each sample's class and of the drawn ones.
        drawn: what was drawn.

    Returns:
        Scalar, in nats.
    """
    import torch.nn.functional as F

    weights = (-drawn.log_expected).exp().to(logits.others.dtype)
    negatives = (F.softplus(logits.others) * weights).masked_fill(drawn.is_hit, 0.0)
    return (F.softplus(-logits.own) + negatives.sum(dim=1)).mean()
