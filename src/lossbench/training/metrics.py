"""Metrics as pure functions of logits [N, K] and target [N]; nothing here waits for a GPU."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A metric of a network on a split: a function of a mean over samples.

    Args:
        of_samples: from logits [B, K] and target [B] to one value for each sample, [B].
        from_mean: from the mean over all samples to the metric.
    """

    of_samples: Callable[[Tensor, Tensor], Tensor]
    from_mean: Callable[[float], float] = lambda mean: mean


def _among_five(logits: Tensor, target: Tensor) -> Tensor:
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return (best == target[:, None]).any(dim=1)


def mid_rank(logits: Tensor, target: Tensor) -> Tensor:
    """Rank [N] of each sample's class by its logit, from 1; equal logits share the mean of their ranks."""
    own = logits.gather(1, target[:, None])
    return 0.5 + (logits > own).sum(dim=1) + 0.5 * (logits == own).sum(dim=1)


def _ndcg10(logits: Tensor, target: Tensor) -> Tensor:
    """The discounted gain of the true class, the only relevant one, among the first ten: 1 / log2(1 + rank)."""
    rank = mid_rank(logits, target)
    return torch.where(rank <= 10, 1 / torch.log2(1 + rank), 0.0)


METRICS = {
    "accuracy": Metric(lambda logits, target: logits.argmax(dim=1) == target),
    "top5_accuracy": Metric(_among_five),
    "perplexity": Metric(lambda logits, target: F.cross_entropy(logits.float(), target, reduction="none"), math.exp),
    "mrr": Metric(lambda logits, target: 1 / mid_rank(logits, target)),
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
