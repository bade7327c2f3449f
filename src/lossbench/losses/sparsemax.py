"""Sparsemax, the Fenchel-Young loss of the Euclidean projection onto the simplex."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.averaging import batch_mean
from lossbench.losses.checks import checked
from lossbench.losses.largest import centre, with_support

if TYPE_CHECKING:
    from torch import Tensor

    from lossbench.config.options import Floats


@register_loss(
    label="Sparsemax",
    properties=Properties(
        convex=True,
        strictly_proper=True,
        recoverable=True,
        top1_consistent=True,
        order_preserving=True,
        smoothness="1",
        gradient_bound="sqrt(2)",
        margin=1.0,
        sparse=True,
        cost="O(K log K)",
        map="own",
        source="Martins and Astudillo 2016; Blondel, Martins and Niculae 2020",
        notes=("Its map is the Euclidean projection onto the simplex.",),
    ),
)
@dataclass
class Sparsemax(LossConfig):
    """Sparsemax loss.

    Its own map is the projection, `sparsemax_probabilities`, which gives exact zeros.
    """

    name: str = "sparsemax"

    takes_class_weights = True

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        return lambda logits, target: sparsemax(logits, target, class_weights=classes.weights)

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats":
        """The projection, `sparsemax_probabilities`; float64 [N, K]."""
        import torch

        found: Floats = sparsemax_probabilities(torch.from_numpy(logits)).numpy()
        return found


def sparsemax(logits: "Tensor", target: "Tensor", *, class_weights: "Tensor | None" = None) -> "Tensor":
    """Sparsemax loss: (p - e) . z + (1 - |p|^2) / 2, convex in z, with gradient p - e.

    z are the logits of a sample, e its one-hot target and p the Euclidean projection of z onto the simplex. The loss is
    0 once z_y exceeds every other logit by 1; classes with p_k = 0 get no gradient. Source: Martins and Astudillo, ICML
    2016, as a loss of logits: Blondel, Martins and Niculae, JMLR 2020.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        class_weights: factor on the loss of a sample by its class, [K]; None: all 1.

    Returns:
        Scalar loss in nats: the mean over the batch of each sample's loss times the weight of its class.

    Raises:
        ValueError: logits and target disagree in shape.
    """
    centred, own = with_support(checked(logits, target), target, _solve)
    tau = _threshold(centred)
    # The formula with p_k = (z_k - tau)_+ put in; its derivative in tau, 1 - sum_k p_k, is 0.
    values = tau[:, 0] + ((centred - tau).relu().square().sum(dim=1) + 1) / 2 - own
    return batch_mean(values, target, class_weights)


def sparsemax_probabilities(logits: "Tensor") -> "Tensor":
    """Sparsemax: the Euclidean projection onto the simplex, p_k = (z_k - tau)_+ with tau such that they sum to 1.

    Args:
        logits: raw scores, float [B, K].

    Returns:
        Probabilities [B, K], float32 or, for logits of float64, float64; some are exactly 0.
    """
    import torch

    centred = centre(logits if logits.dtype == torch.float64 else logits.float())
    return (centred - _threshold(centred)).relu()


def _threshold(centred: "Tensor") -> "Tensor":
    """The threshold tau, [B, 1], differentiable.

    Args:
        centred: logits [B, K] whose largest is 0 in each sample.
    """
    import torch

    with torch.no_grad():
        largest = torch.sort(centred.detach().clamp_min(-1), dim=1, descending=True).values
        support = centred > _solve(largest)
    total = torch.where(support, centred, 0.0).sum(dim=1, keepdim=True)
    return (total - 1) / support.sum(dim=1, keepdim=True)


def _solve(largest: "Tensor") -> "Tensor":
    """The threshold tau, [B, 1], of logits [B, K] that fall within each sample, the first being 0."""
    import torch

    largest = largest.clamp_min(-1)  # below, p is 0
    size = torch.arange(1, largest.shape[1] + 1, dtype=largest.dtype, device=largest.device)
    taus = (largest.cumsum(dim=1) - 1) / size  # if as many classes as this have positive probability
    last = (taus < largest).sum(dim=1, keepdim=True) - 1
    return taus.gather(1, last.clamp_min(0))
