"""What a run is measured by: pure functions of logits [N, K] and target [N]; nothing here waits for the device."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A measure of a network on a split: a mean over its samples, and what is made of it.

    Args:
        of_samples: from logits [B, K] and target [B] to a number for each sample, [B].
        from_mean: from the mean over all samples to the metric.
    """

    of_samples: Callable[[Tensor, Tensor], Tensor]
    from_mean: Callable[[float], float] = lambda mean: mean


def _among_five(logits: Tensor, target: Tensor) -> Tensor:
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return (best == target[:, None]).any(dim=1)


METRICS = {
    "accuracy": Metric(lambda logits, target: logits.argmax(dim=1) == target),
    "top5_accuracy": Metric(_among_five),
    "perplexity": Metric(lambda logits, target: F.cross_entropy(logits.float(), target, reduction="none"), math.exp),
}
"""What a data set may declare to be measured by; accuracies are fractions."""


def num_correct(logits: Tensor, target: Tensor) -> Tensor:
    """Samples whose highest logit is their class, a scalar; the same rule for softmax and one-vs-all losses."""
    return (logits.argmax(dim=1) == target).sum()


def confusion_matrix(logits: Tensor, target: Tensor) -> Tensor:
    """Samples of class j (row) predicted as class k (column), int64 [K, K]."""
    num_classes = logits.shape[1]
    cells = target * num_classes + logits.argmax(dim=1)
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracy(confusion: Tensor) -> Tensor:
    """Fraction of each class that is predicted right, [K]; nan for a class without samples."""
    return confusion.diagonal() / confusion.sum(dim=1)


def class_accuracy_of(predictions: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """As `class_accuracy`, of predicted classes [N]; float64 [K], without a matrix of classes by classes."""
    right = torch.bincount(target[predictions == target], minlength=num_classes)
    return right.double() / torch.bincount(target, minlength=num_classes)


def class_means(values: Tensor, target: Tensor) -> Tensor:
    """Mean over the samples of class j (row) of column k of `values` [N, K]; [K, K], nan where there are none."""
    num_classes = values.shape[1]
    sums = torch.zeros(num_classes, num_classes, dtype=torch.float64, device=values.device)
    sums.index_add_(0, target, values.double())
    return sums / torch.bincount(target, minlength=num_classes)[:, None]


def mean_probabilities(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The paper's p_(j->k) (Eq. 9): mean probability of class k over the samples of class j, [K, K], for both maps."""
    logits = logits.double()
    return {
        "softmax": class_means(torch.softmax(logits, dim=1), target),
        "sigmoid": class_means(torch.sigmoid(logits), target),
    }
