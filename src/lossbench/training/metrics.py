"""Metrics as pure functions of logits [N, K] and target [N]; nothing here waits for a GPU."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor


class Scored:
    """A network's logits of some samples, and what several metrics need of them, each computed once.

    Args:
        logits: as they are read, [B, K].
        target: classes, int64 [B].
    """

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        self.logits, self.target = logits, target

    @cached_property
    def predictions(self) -> Tensor:
        """Class with the highest logit, int64 [B]."""
        return self.logits.argmax(dim=1)

    @cached_property
    def is_right(self) -> Tensor:
        """Whether the prediction is the sample's class, bool [B]."""
        return self.predictions == self.target

    @cached_property
    def nll(self) -> Tensor:
        """Minus the logarithm of the softmax probability of each sample's class, in nats, float32 [B]."""
        return F.cross_entropy(self.logits.float(), self.target, reduction="none")

    @cached_property
    def mid_rank(self) -> Tensor:
        """Rank [B] of each sample's class by its logit, from 1; equal logits share the mean of their ranks."""
        own = self.logits.gather(1, self.target[:, None])
        marks = torch.empty_like(self.logits, dtype=torch.float32)  # sums of floats are fast, and exact below 2^24
        above = torch.gt(self.logits, own, out=marks).sum(dim=1)
        equal = torch.eq(self.logits, own, out=marks).sum(dim=1)
        return 0.5 + above + 0.5 * equal


@dataclass(frozen=True)
class Metric:
    """A metric of a network on a split: a function of a mean over samples.

    Args:
        of_samples: from scored samples to one value for each, [B].
        from_mean: from the mean over all samples to the metric.
    """

    of_samples: Callable[[Scored], Tensor]
    from_mean: Callable[[float], float] = lambda mean: mean


def _exp(value: float) -> float:
    """The exponential, at most the largest float: logits that are no log-probabilities may be far apart."""
    try:
        return math.exp(value)
    except OverflowError:
        return sys.float_info.max  # files of runs have no infinity


def _ndcg10(found: Scored) -> Tensor:
    """The discounted gain of the true class, the only relevant one, among the first ten: 1 / log2(1 + rank)."""
    rank = found.mid_rank
    return torch.where(rank <= 10, 1 / torch.log2(1 + rank), 0.0)


METRICS = {
    "accuracy": Metric(lambda found: found.is_right),
    "top5_accuracy": Metric(lambda found: found.mid_rank <= 5),
    "perplexity": Metric(lambda found: found.nll, _exp),
    "mrr": Metric(lambda found: 1 / found.mid_rank),
    "ndcg10": Metric(_ndcg10),
}
"""Metrics that a data set may declare, by name; accuracies are fractions. Ranks of equal logits are their mean rank."""


def num_correct(logits: Tensor, target: Tensor) -> Tensor:
    """Number of samples whose highest logit is that of their class, a scalar."""
    return (logits.argmax(dim=1) == target).sum()


def confusion_matrix(logits: Tensor, target: Tensor) -> Tensor:
    """Number of samples of class j (row) predicted as class k (column), int64 [K, K]."""
    num_classes = logits.shape[1]
    cells = target * num_classes + logits.argmax(dim=1)
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracy(confusion: Tensor) -> Tensor:
    """Accuracy on each class, a fraction, [K]; nan for a class without samples."""
    return confusion.diagonal() / confusion.sum(dim=1)


def class_accuracy_of(predictions: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """`class_accuracy` computed from predictions [N], float64 [K], without a [K, K] matrix."""
    right = torch.bincount(target[predictions == target], minlength=num_classes)
    return right.double() / torch.bincount(target, minlength=num_classes)


def class_means(values: Tensor, target: Tensor) -> Tensor:
    """Mean of column k of `values` [N, K] over the samples of class j, [K, K] (row j); nan without samples."""
    num_classes = values.shape[1]
    sums = torch.zeros(num_classes, num_classes, dtype=torch.float64, device=values.device)
    sums.index_add_(0, target, values.double())
    return sums / torch.bincount(target, minlength=num_classes)[:, None]


def mean_probabilities(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The paper's p_(j->k) (Eq. 9), the mean probability of class k over the samples of class j, [K, K], by map."""
    logits = logits.double()
    return {
        "softmax": class_means(torch.softmax(logits, dim=1), target),
        "sigmoid": class_means(torch.sigmoid(logits), target),
    }
