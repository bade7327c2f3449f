"""Sampled softmax: cross-entropy over the target and a few sampled classes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import TrainingClasses, Words
from lossbench.config.registry import register_loss
from lossbench.losses.sampling import Drawn, Logits, SampledConfig, Sampler, logits_of

if TYPE_CHECKING:
    from torch import Tensor


class Correction(Words):
    """Which logits have log(m q) subtracted, m draws from q."""

    both = "both"  # the target's and the sampled ones': the minimiser gives the posterior for any m and q
    sampled = "sampled"  # the sampled ones' alone: less gradient bias, another minimiser
    none = "none"  # none, as in InfoNCE: the minimiser gives the posterior over q


class Hits(Words):
    """What becomes of a sampled class that is a sample's own."""

    keep = "keep"  # it stays among the negatives
    mask = "mask"  # it is left out for that sample


@register_loss(label="Sampled softmax")
@dataclass
class SampledSoftmax(SampledConfig):
    """Cross-entropy over the target and m classes drawn for the batch (Bengio and Senécal 2008; Jean et al. 2015)."""

    name: str = "sampled_softmax"
    correction: Correction = Correction.both
    hits: Hits = Hits.keep

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of features, output layer and target."""
        sampler = Sampler(self, classes)

        def loss(features: "Tensor", head: Any, target: "Tensor") -> "Tensor":
            drawn = sampler.draw(target)
            return sampled_softmax(
                logits_of(features, head, target, drawn.classes), drawn, correction=self.correction, hits=self.hits
            )

        return loss


def sampled_softmax(logits: Logits, drawn: Drawn, *, correction: str = "both", hits: str = "keep") -> "Tensor":
    """Mean over the batch of log(e^z_y + sum over S of e^z_j) - z_y, with corrected logits z - log(m q).

    With both corrected and hits kept this is the ranking form of noise-contrastive estimation (Ma and Collins 2018),
    whose minimiser's softmax is the posterior for every m and q. Its gradient is a biased estimate of the full
    softmax's. Without replacement log(m q) is the logarithm of the probability to be drawn, and the minimiser's softmax
    is only near the posterior (tests/test_draws.py).

    Args:
        logits: of each sample's class and of the drawn ones.
        drawn: what was drawn.
        correction: "both", "sampled" or "none".
        hits: "keep" or "mask".

    Returns:
        Scalar, in nats.
    """
    import torch
    import torch.nn.functional as F

    how = Correction(correction)
    own = logits.own - drawn.own_log_expected.to(logits.own.dtype) if how is Correction.both else logits.own
    others = logits.others if how is Correction.none else logits.others - drawn.log_expected.to(logits.others.dtype)
    left_out = drawn.is_hit if Hits(hits) is Hits.mask else drawn.is_own_place
    if left_out is not None:
        others = others.masked_fill(left_out, -torch.inf)
    first = torch.zeros(len(own), dtype=torch.int64, device=own.device)
    return F.cross_entropy(torch.cat([own[:, None], others], dim=1), first)  # PyTorch's takes half of the time
