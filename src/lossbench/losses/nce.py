"""Noise-contrastive estimation: the target against sampled classes, each a question of its own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import TrainingClasses
from lossbench.config.registry import register_loss
from lossbench.losses.sampled_softmax import Hits
from lossbench.losses.sampling import Drawn, Logits, SampledConfig, Sampler, logits_of

if TYPE_CHECKING:
    from torch import Tensor


@register_loss(label="NCE")
@dataclass
class Nce(SampledConfig):
    """Noise-contrastive estimation (Mnih and Teh 2012); without correction negative sampling (Mikolov et al. 2013)."""

    name: str = "nce"
    correction: bool = True  # log(m q) is subtracted from all logits; false: negative sampling
    hits: Hits = Hits.keep

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of features, output layer and target."""
        sampler = Sampler(self, classes)

        def loss(features: "Tensor", head: Any, target: "Tensor") -> "Tensor":
            drawn = sampler.draw(target)
            logits = logits_of(features, head, target, drawn.classes)
            return nce(logits, drawn, correction=self.correction, hits=self.hits)

        return loss


def nce(logits: Logits, drawn: Drawn, *, correction: bool = True, hits: str = "keep") -> "Tensor":
    """Mean over the batch of -log sigmoid(z_y) - sum over S of log sigmoid(-z_j), with z - log(m q) in place of z.

    With hits kept its minimiser is z_k = log P(k | x): the network is self-normalised. Without the correction, negative
    sampling (Mikolov et al. 2013), it is log(P(k | x) / (m q_k)), whose order is another one unless q is flat. Without
    replacement the probability to be drawn takes the place of m q, and the minimiser with correction is the same.

    Args:
        logits: of each sample's class and of the drawn ones.
        drawn: what was drawn.
        correction: whether log(m q) is subtracted.
        hits: "keep" or "mask".

    Returns:
        Scalar, in nats.
    """
    import torch.nn.functional as F

    own, others = logits.own, logits.others
    if correction:
        own = own - drawn.own_log_expected.to(own.dtype)
        others = others - drawn.log_expected.to(others.dtype)
    negatives = F.softplus(others)
    left_out = drawn.is_hit if Hits(hits) is Hits.mask else drawn.is_own_place
    if left_out is not None:
        negatives = negatives.masked_fill(left_out, 0.0)
    return (F.softplus(-own) + negatives.sum(dim=1)).mean()
