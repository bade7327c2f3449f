"""How good is it? Pure functions of logits [N, K] and target [N]; nothing here waits for the device."""

import torch
from torch import Tensor


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
