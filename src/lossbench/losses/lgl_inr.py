"""LGL-INR, in matrix form: three products of [G, B] and [B, K], no loop, no wait for the device."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, Reduction, TrainingClasses, Words, require
from lossbench.config.registry import register_loss
from lossbench.losses.checks import checked, one_hot

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "class_weights"
"""Name of what a run keeps of an epoch: the weights lambda_jk of the test images, [K, K]."""


class Counts(Words):
    """Which class sizes N_j LGL-INR divides by."""

    batch = "batch"  # of the batch, as the published implementation
    dataset = "dataset"  # of the training set, as Eq. 11 is printed


class Missing(Words):
    """What happens to a class without samples in the batch when LGL-INR shares out its weights."""

    drop = "drop"  # gets no weight, as the published implementation
    keep = "keep"  # takes part with mean probability 0, and its share is lost


@register_loss(
    label="LGL-INR",
    probabilities="sigmoid",
    maps=("sigmoid", "shifted", "sigmoid_normalised", "shifted_normalised", "softmax"),
    posterior="shifted",  # at beta 0, of classes of equal size
    compared="shifted_normalised",
    law="reweighted",
    style=2,
)
@dataclass
class LglInr(LossConfig):
    """LGL-INR: one-vs-all logistic loss with re-weighted non-target classes (Eq. 11)."""

    name: str = "lgl_inr"
    beta: float = 1.0  # sharpness of the class weights, >= 0
    detach_weights: bool = False  # the weights count as constants in the gradient
    eps: float | None = None  # inside the logarithm, as the published code (1e-7); None: log-sigmoid
    counts: Counts = Counts.batch
    missing: Missing = Missing.drop
    reduction: Reduction = Reduction.sum_classes  # over the K classifiers

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.beta < float("inf"), "loss.beta", ">= 0 and finite", self.beta)
        require(self.eps is None or 1e-30 <= self.eps < 0.1, "loss.eps", "null or in [1e-30, 0.1)", self.eps)

    def build(self, classes: TrainingClasses) -> Any:
        """The loss as a function of logits and target."""
        counts = classes.counts if self.counts is Counts.dataset else None
        return lambda logits, target: lgl_inr(
            logits,
            target,
            beta=self.beta,
            detach_weights=self.detach_weights,
            eps=self.eps,
            class_counts=counts,
            missing=self.missing,
            reduction=self.reduction,
        )

    def trace(self, means: "Tensor", present: "Tensor") -> "dict[str, Tensor]":
        """The weights lambda_jk of the test images."""
        return {WEIGHTS: class_weights(means, self.beta, present).float()}


def lgl_inr(
    logits: "Tensor",
    target: "Tensor",
    *,
    beta: float = 1.0,
    detach_weights: bool = False,
    eps: float | None = None,
    class_counts: "Tensor | None" = None,
    missing: str = "drop",
    reduction: str = "sum_classes",
) -> "Tensor":
    """LGL-INR: one-vs-all logistic loss that weighs each non-target class by how hard it is (Eq. 11).

    Classifier k pays the mean of -log p_k over the samples of class k, plus for every other class j the mean of
    -log(1 - p_k) over its samples, weighted by lambda_jk = softmax over j != k of beta * (mean p_k over class j).

    Deviation: Eq. 11 divides by the data set's class sizes, the published implementation by the batch's; the default
    follows the implementation, `class_counts` the equation.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        beta: sharpness of the weights, >= 0; at 0 all non-target classes weigh the same.
        detach_weights: treat the weights as constants in the gradient (the paper is silent; the published code does
            not). Attached, a far from hard class can get a negative's gradient reversed once beta is large.
        eps: added inside the logarithms, as 1e-7 in the published code; None: exact log-sigmoid.
        class_counts: training images of each class, [K]; None: the counts of the batch.
        missing: "drop": classes without samples in the batch get no weight; "keep": they take part with mean
            probability 0, and their share of the weight is lost.
        reduction: "sum_classes": sum over the K classifiers; "mean": their mean.

    Returns:
        Scalar loss in nats; each class in the batch counts once.

    Raises:
        ValueError: logits and target disagree in shape, beta is negative, or an option is unknown.
    """
    import torch
    import torch.nn.functional as F

    if beta < 0:
        raise ValueError(f"beta must be >= 0, got {beta}")
    keeps_missing, averaged = Missing(missing) is Missing.keep, Reduction(reduction) is Reduction.mean
    logits = checked(logits, target)
    num_classes = logits.shape[1]
    samples = one_hot(logits, target)  # [B, K]
    counts = samples.sum(dim=0)  # [K]
    own = samples / counts.clamp_min(1)  # [B, K]: its transpose takes means over the classes of the batch
    classes = torch.arange(num_classes, device=logits.device)
    if num_classes <= len(target):  # G groups of samples over which means are taken: the classes ...
        label, mass, averages = classes, (counts > 0).to(logits.dtype), own.T
    else:  # ... or, where there are more classes than samples, one a sample, so that nothing is [K, K]
        label, mass = target, 1 / counts[target]
        averages = (target[:, None] == target) * mass[:, None]
    others = mass[:, None] * (label[:, None] != classes)  # [G, K]: how often a group counts among the negatives

    probabilities = torch.sigmoid(logits)  # [B, K]
    if eps is None:
        log_p, log_not_p = F.logsigmoid(logits), F.logsigmoid(-logits)
    else:
        log_p, log_not_p = torch.log(probabilities + eps), torch.log(1 - probabilities + eps)

    absent = None
    if keeps_missing:
        absent = (counts == 0).to(logits.dtype)
        absent = absent.sum() - absent
    weights = _weights(averages @ probabilities, beta, others, absent)
    if detach_weights:
        weights = weights.detach()
    if class_counts is not None:
        size = class_counts.to(logits.dtype).clamp_min(1)
        share = counts * (size.sum() / (len(target) * size))  # of a class in the batch, over that in the data set
        own, weights = own * share, weights * share[label, None]
    positives = (own * log_p).sum()
    negatives = (weights * (averages @ log_not_p)).sum()
    loss = -(positives + negatives)
    return loss / num_classes if averaged else loss


def class_weights(mean_probability: "Tensor", beta: float, present: "Tensor | None" = None) -> "Tensor":
    """The weights lambda_jk of LGL-INR ("Choice of lambdas"): how much class j counts among the negatives of k.

    Args:
        mean_probability: mean sigmoid of classifier k over the samples of class j, [K, K] (row j, column k).
        beta: sharpness, >= 0.
        present: which classes take part, bool [K]; None: all.

    Returns:
        Weights [K, K], zero on the diagonal; each column sums to 1, or to 0 where no other class is present.
    """
    import torch

    others = 1 - torch.eye(mean_probability.shape[0], dtype=mean_probability.dtype, device=mean_probability.device)
    return _weights(mean_probability, beta, others if present is None else others * present[:, None])


def _weights(means: "Tensor", beta: float, others: "Tensor", absent: "Tensor | None" = None) -> "Tensor":
    """Softmax over groups of samples, [G, K], of beta * means.

    Args:
        means: mean sigmoid of classifier k over group g, [G, K].
        beta: sharpness, >= 0.
        others: how often group g counts among the negatives of k, [G, K].
        absent: how many other classes take part with mean probability 0, [K].
    """
    import torch

    scores = torch.add(_log(others), means, alpha=beta)
    if absent is not None:  # one more group, of which only the share of the weight matters
        scores = torch.cat([scores, _log(absent)[None]])
    return torch.softmax(scores, dim=0)[: len(others)] * (others > 0)


def _log(counts: "Tensor") -> "Tensor":
    """Logarithm, finite at 0 yet far below any score: there a softmax is exactly 0, or uniform where all are 0."""
    import torch

    return torch.log(counts).clamp_min(-1e30)
