"""Losses that are right, in which `lossbench check-loss` must find no fault."""

import torch
import torch.nn.functional as F
from planted_losses import Loss, own
from torch import Tensor, nn

RIGHT: dict[str, Loss] = {}
"""By name."""


def right(loss: Loss) -> Loss:
    RIGHT[loss.__name__] = loss
    return loss


right(F.cross_entropy)
right(F.multi_margin_loss)
RIGHT["module"] = nn.CrossEntropyLoss(label_smoothing=0.1)


@right
def nll(logits: Tensor, target: Tensor) -> Tensor:
    return F.nll_loss(logits.log_softmax(dim=1), target)


@right
def smoothed(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, label_smoothing=0.2)


@right
def weighted(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, weight=torch.linspace(0.5, 2, logits.shape[1], dtype=logits.dtype))


@right
def squared_margin(logits: Tensor, target: Tensor) -> Tensor:
    return F.multi_margin_loss(logits, target, p=2, margin=0.5)


@right
def soft_margin(logits: Tensor, target: Tensor) -> Tensor:
    return F.multilabel_soft_margin_loss(logits, F.one_hot(target, logits.shape[1]))


@right
def mean_square_of_probabilities(logits: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(logits.softmax(dim=1), F.one_hot(target, logits.shape[1]).to(logits.dtype))


@right
def warm(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits / 4, target)


@right
def double_precision(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.double(), target)


@right
def single_precision(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), target)


@right
def ramp(logits: Tensor, target: Tensor) -> Tensor:
    others = logits.scatter(1, target[:, None], -float("inf")).amax(dim=1)
    return (1 + others - own(logits, target)).clamp(0, 2).mean()


@right
def flat_gce(logits: Tensor, target: Tensor) -> Tensor:
    return -(torch.expm1(0.1 * own(logits.log_softmax(dim=1), target)) / 0.1).mean()


@right
def symmetric(logits: Tensor, target: Tensor) -> Tensor:
    log_p = own(logits.log_softmax(dim=1), target)
    return (-0.1 * log_p + 4 * (1 - log_p.exp())).mean()


@right
def hardest_half(logits: Tensor, target: Tensor) -> Tensor:
    losses = F.cross_entropy(logits, target, reduction="none")
    return losses.topk(max(1, len(losses) // 2)).values.mean()


@right
def with_entropy(logits: Tensor, target: Tensor) -> Tensor:
    log_p = logits.log_softmax(dim=1)
    return F.nll_loss(log_p, target) + 0.1 * (log_p.exp() * log_p).sum(dim=1).mean()


@right
def in_loops(logits: Tensor, target: Tensor) -> Tensor:
    return sum(logits[i].logsumexp(0) - logits[i, k] for i, k in enumerate(target.tolist())) / len(target)  # type: ignore[return-value]


@right
def ten_classes(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, weight=torch.ones(10, dtype=logits.dtype))
