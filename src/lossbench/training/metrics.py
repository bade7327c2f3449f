"""Metrics as pure functions of logits [N, K] and target [N]; nothing here waits for a GPU."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

BY_ROWS_FROM = 1000
"""With so many classes or more, places among logits are counted row by row on a CPU."""


class Read:
    """Logits of some samples with what metrics share of them, each computed once.

    With many classes they are counted row by row on a CPU, so that a row stays in a core's cache.

    Args:
        logits: [B, K].
        target: classes, int64 [B].
    """

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        self.logits, self.target = logits, target
        is_numpy = logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64)
        self._by_rows = is_numpy and logits.shape[1] >= BY_ROWS_FROM

    @cached_property
    def predictions(self) -> Tensor:
        """Class with the highest logit, int64 [B]; the first of equal ones."""
        if self._by_rows:
            return torch.from_numpy(self.logits.detach().numpy().argmax(axis=1))
        return self.logits.argmax(dim=1)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """How many logits are above, and how many equal to, that of a sample's class, each int64 [B]."""
        own = self.logits.gather(1, self.target[:, None])
        if not self._by_rows:
            return (self.logits > own).sum(dim=1), (self.logits == own).sum(dim=1)
        rows, values = self.logits.detach().numpy(), own.detach().numpy()
        counts = [
            (np.count_nonzero(row > one), np.count_nonzero(row == one)) for row, one in zip(rows, values, strict=True)
        ]
        above, equal = torch.tensor(counts, dtype=torch.int64).reshape(-1, 2).unbind(1)
        return above, equal

    @cached_property
    def mid_rank(self) -> Tensor:
        """Rank [B] of each sample's class by its logit, from 1; equal logits share the mean of their ranks."""
        above, equal = self.places
        return 0.5 + above + 0.5 * equal

    @cached_property
    def among_five(self) -> Tensor:
        """Whether a sample's class is among the five of the highest logits, bool [B]; of equal ones `topk` chooses."""
        if not self._by_rows:
            return _in_topk(self.logits, self.target)
        above, equal = self.places
        found = above < 5
        tied = found & (above + equal > 5)  # only some of the equal ones are among the five
        if tied.any():
            found[tied] = _in_topk(self.logits[tied], self.target[tied])
        return found


def _in_topk(logits: Tensor, target: Tensor) -> Tensor:
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices
    return (best == target[:, None]).any(dim=1)


@dataclass(frozen=True)
class Metric:
    """A metric of a network on a split: a function of a mean over samples.

    Args:
        of_samples: one value for each sample, [B].
        from_mean: from the mean over all samples to the metric.
    """

    of_samples: Callable[[Read], Tensor]
    from_mean: Callable[[float], float] = lambda mean: mean


def _ndcg10(read: Read) -> Tensor:
    """The discounted gain of the true class, the only relevant one, among the first ten: 1 / log2(1 + rank)."""
    return torch.where(read.mid_rank <= 10, 1 / torch.log2(1 + read.mid_rank), 0.0)


METRICS = {
    "accuracy": Metric(lambda read: read.predictions == read.target),
    "top5_accuracy": Metric(lambda read: read.among_five),
    "perplexity": Metric(lambda read: F.cross_entropy(read.logits.float(), read.target, reduction="none"), math.exp),
    "mrr": Metric(lambda read: 1 / read.mid_rank),
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
