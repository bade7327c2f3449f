"""LGL-INR for many classes in one pass over the logits: value and gradient together, some columns at a time.

Column k of the logits takes part in the loss of classifier k alone, so that columns need not be in memory together.
Within a column the samples count through the means of the G classes of the batch: O(B K) operations, where the plain
form's products take O(B^2 K). The gradient in the logits is computed with the value, by hand, and given away: the extra
memory is that of the gradient, one copy of the logits.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_ELEMENTS = {"cpu": 2**16, "cuda": 2**24}
"""Logits worked on at a time, by type of device: a part of a core's cache, or enough to keep a GPU busy."""


class Groups(NamedTuple):
    """The samples of a batch by class.

    Args:
        of_sample: group of each sample, int64 [B].
        label: class of each group, int64 [G].
        weight: one over the number of samples in a sample's group, [B].
        is_used: whether a group has samples, bool [G]; None: all have.
    """

    of_sample: "Tensor"
    label: "Tensor"
    weight: "Tensor"
    is_used: "Tensor | None"


def groups(target: "Tensor", dtype: Any) -> Groups:
    """The classes of a batch as groups: on a CPU those present, on a GPU one a sample, so that nothing waits."""
    import torch

    if target.device.type == "cpu":
        label, of_sample, counts = torch.unique(target, return_inverse=True, return_counts=True)
        return Groups(of_sample, label, 1 / counts.to(dtype)[of_sample], None)
    same = target[:, None] == target  # [B, B]
    of_sample = same.int().argmax(dim=1)  # the first sample of the same class
    is_used = of_sample == torch.arange(len(target), device=target.device)
    return Groups(of_sample, target, 1 / same.sum(dim=1).to(dtype), is_used)


def lgl_inr_columns(
    logits: "Tensor",
    target: "Tensor",
    *,
    beta: float = 1.0,
    detach_weights: bool = False,
    share: "Tensor | None" = None,
    keeps_missing: bool = False,
    first: int = 0,
    num_classes: int | None = None,
) -> "Tensor":
    """LGL-INR (Eq. 11) of some columns of a batch's logits, exact, without second derivatives.

    The losses of parts that together hold all columns, such as those of several processes, sum to the whole loss.

    Args:
        logits: of classes `first` to `first` + P - 1, float32 or float64 [B, P].
        target: classes in 0..K-1, int64 [B].
        beta: sharpness of the weights.
        detach_weights: treat the weights as constants in the gradient.
        share: factor on the terms of each class's samples, [K]; None: 1.
        keeps_missing: classes that are not in the batch get the weight of mean probability 0, which has no effect.
        first: class of the first column.
        num_classes: K; None: P.

    Returns:
        Scalar, in nats, in the dtype of the logits.
    """
    options = _Options(beta, detach_weights, share, keeps_missing, first, num_classes or logits.shape[1])
    value: Tensor = _function().apply(logits, target, options)
    return value


class _Options(NamedTuple):
    """The options of `lgl_inr_columns`."""

    beta: float
    detach_weights: bool
    share: "Tensor | None"
    keeps_missing: bool
    first: int
    num_classes: int


@cache
def _function() -> Any:
    """The function of PyTorch's automatic differentiation, made when torch is first needed."""
    import torch

    class Columns(torch.autograd.Function):
        """The loss; its gradient is computed with it and kept."""

        @staticmethod
        def forward(ctx: Any, logits: "Tensor", target: "Tensor", options: _Options) -> "Tensor":
            value, ctx.slope = _value_and_slope(logits, target, options, ctx.needs_input_grad[0])
            ctx.options = options
            ctx.save_for_backward(logits, target)
            return value.to(logits.dtype)

        @staticmethod
        def backward(ctx: Any, upstream: "Tensor") -> "tuple[Tensor, None, None]":
            if torch.is_grad_enabled():  # create_graph=True: the slope is a constant there
                raise RuntimeError("LGL-INR with more than 100 classes has no second derivative; take fewer classes")
            logits, target = ctx.saved_tensors
            slope, ctx.slope = ctx.slope, None  # given away, so that there is one copy
            if slope is None:  # with retain_graph=True, from the second time on
                _, slope = _value_and_slope(logits, target, ctx.options, with_slope=True)
            if upstream.device.type != "cpu" or upstream.item() != 1:
                slope.mul_(upstream)
            return slope, None, None

    return Columns


def _value_and_slope(
    logits: "Tensor", target: "Tensor", options: _Options, with_slope: bool
) -> "tuple[Tensor, Tensor | None]":
    """The loss, float64, and its gradient [B, P]."""
    import torch
    import torch.nn.functional as F

    known = groups(target, logits.dtype)
    size, width = logits.shape
    weight, chunk = known.weight[:, None], max(CHUNK_ELEMENTS.get(logits.device.type, 2**16) // size, 16)
    share = None if options.share is None else options.share.to(logits.dtype)
    slope = torch.empty_like(logits) if with_slope else None
    total = torch.zeros((), dtype=torch.float64, device=logits.device)
    for start in range(0, width, chunk):
        part = _negatives(logits[:, start : start + chunk], known, options, options.first + start, share)
        total = total + part.value
        if slope is not None:
            ahead = part.weights[known.of_sample]  # [B, c]
            if not options.detach_weights:
                ahead = ahead - part.pulls[known.of_sample] * (1 - part.probabilities)
            torch.mul(ahead * part.probabilities, weight, out=slope[:, start : start + chunk])
    column = target - options.first
    inside = (column >= 0) & (column < width)
    column = column.clamp(0, width - 1)[:, None]
    own = known.weight * inside if share is None else known.weight * inside * share[target]
    logit = logits.gather(1, column)[:, 0]
    total = total - (F.logsigmoid(logit) * own).double().sum()
    if slope is not None:
        slope.scatter_add_(1, column, (-torch.sigmoid(-logit) * own)[:, None])
    return total, slope


class _Part(NamedTuple):
    """Some columns: the negatives' loss, float64; sigmoids [B, c]; factors of log(1 - p) and of p, [G, c]."""

    value: "Tensor"
    probabilities: "Tensor"
    weights: "Tensor"
    pulls: "Tensor"


def _negatives(logits: "Tensor", known: Groups, options: _Options, first: int, share: "Tensor | None") -> _Part:
    """The loss of the negatives of some columns: minus the weighted means of log(1 - p) over the other classes."""
    import torch

    width, num = logits.shape[1], len(known.label)
    log_not, p = _log_not_and_p(logits)
    means = logits.new_zeros(num, width).index_add_(0, known.of_sample, p * known.weight[:, None])
    log_means = logits.new_zeros(num, width).index_add_(0, known.of_sample, log_not * known.weight[:, None])
    scores = logits.new_empty(num, width + 1)  # the last column takes what belongs to no column here
    torch.mul(means, options.beta, out=scores[:, :width])
    column = known.label - first
    column = torch.where((column >= 0) & (column < width), column, width)
    scores.scatter_(1, column[:, None], -torch.inf)  # a class is no negative of its own
    scores = scores[:, :width]
    if known.is_used is not None:
        scores = scores.masked_fill(~known.is_used[:, None], -torch.inf)
    if options.keeps_missing:
        present = torch.zeros(options.num_classes, dtype=logits.dtype, device=logits.device)
        present[known.label] = 1
        absent = (options.num_classes - present.sum()) - (1 - present[first : first + width])
        weights = torch.softmax(torch.cat([scores, absent.log()[None]]), dim=0)[:num]
    else:
        weights = torch.softmax(scores, dim=0).nan_to_num(0.0)  # nan: a batch of one class, which is no negative
    factors = weights if share is None else weights * share[known.label, None]
    weighted = factors * log_means
    pulls = (weighted - weights * weighted.sum(dim=0)).mul_(options.beta)
    return _Part(-weighted.sum(dtype=torch.float64), p, factors, pulls)


def _log_not_and_p(logits: "Tensor") -> "tuple[Tensor, Tensor]":
    """Logarithms of 1 - sigmoid, and sigmoids; on a CPU with one exponential for both."""
    import torch
    import torch.nn.functional as F

    if logits.device.type != "cpu":
        return F.logsigmoid(-logits), torch.sigmoid(logits)
    log_not, small = torch.ops.aten.log_sigmoid_forward(-logits)  # small: exp(-|z|)
    large = torch.reciprocal(small + 1)  # sigmoid(|z|)
    return log_not, torch.where(logits >= 0, large, small * large)
