"""LGL-INR in matrix form: three products of [G, B] and [B, K] matrices, without loops or GPU synchronisation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, Reduction, TrainingClasses, Words, require
from lossbench.config.properties import Properties
from lossbench.config.registry import register_loss
from lossbench.losses.checks import checked, one_hot
from lossbench.losses.lgl_inr_columns import lgl_inr_columns

if TYPE_CHECKING:
    from torch import Tensor

PLAIN = 100
"""Classes up to which the loss is computed in matrix form; with more, column by column (lgl_inr_columns.py)."""

WEIGHTS = "class_weights"
"""Name, in a run's trace, of the weights lambda_jk of the test images, [K, K]."""


class Counts(Words):
    """The class sizes N_j that LGL-INR divides by."""

    batch = "batch"  # of the batch, as in the published implementation
    dataset = "dataset"  # of the training set, as in Eq. 11


class Missing(Words):
    """Treatment of classes without samples in the batch by LGL-INR's weights."""

    drop = "drop"  # it gets no weight, as in the published implementation
    keep = "keep"  # it gets the weight of mean probability 0, which then has no effect


@register_loss(
    label="LGL-INR",
    probabilities="sigmoid",
    maps=("sigmoid", "shifted", "sigmoid_normalised", "shifted_normalised", "softmax"),
    posterior="shifted",  # with beta 0 and classes of equal size
    compared="shifted_normalised",
    law="reweighted",
    style=2,
    properties=Properties(
        convex=False,
        strictly_proper=False,
        recoverable=None,
        top1_consistent=False,
        order_preserving=False,
        symmetric=None,
        batch_dependent=True,
        cost="O(G K), G classes in the batch",
        map="shifted",
        predicts="argmax z, nearly the most likely class if all classes had the same size",
        source="Eq. 11 of the paper",
        notes=(
            "With beta 0 it is convex, and its population minimiser gives the class-balanced posterior b, the one "
            "with all classes equally frequent: b_k = sigmoid(z_k - log(K - 1)).",
            "With beta 1 this holds approximately, and the order of the classes is lost: on 72 inputs and ten classes "
            "of Zipf sizes (seed 0, tests/test_properties_worlds.py) the minimiser has b's whole order for 43 inputs "
            "and its first class for 69; with beta 4 for 19 and 64; with beta 0 for all 72.",
            "Bounds and margin are not properties of a single sample.",
        ),
    ),
)
@dataclass
class LglInr(LossConfig):
    """LGL-INR: one-vs-all logistic loss with re-weighted non-target classes (Eq. 11)."""

    name: str = "lgl_inr"
    beta: float = 1.0  # sharpness of the class weights, >= 0
    detach_weights: bool = False  # the weights count as constants in the gradient
    eps: float | None = None  # added inside the logarithm, 1e-7 in the published code; None: exact log-sigmoid
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

    def prior_logits(self, class_counts: "Tensor") -> "Tensor":
        """Zeros [K]: its minimiser depends on the balanced posterior, which is the same for all classes."""
        import torch

        return torch.zeros(len(class_counts), dtype=torch.float64, device=class_counts.device)

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
    """LGL-INR: one-vs-all logistic loss that weights each non-target class by how hard it is (Eq. 11).

    The loss of classifier k is the mean of -log p_k over the samples of class k, plus for every other class j the mean
    of -log(1 - p_k) over its samples, weighted by lambda_jk = softmax over j != k of beta * (mean p_k over class j).

    Deviation: Eq. 11 divides by the data set's class sizes, the published implementation by those of the batch. The
    default follows the implementation; with `class_counts` the loss follows the equation.

    With more than `PLAIN` classes and without `eps` the value and the gradient are computed together, column by column,
    and there is no second derivative.

    Args:
        logits: raw scores, [B, K].
        target: class indices in 0..K-1, int64 [B].
        beta: sharpness of the weights, >= 0; at 0 all non-target classes have the same weight.
        detach_weights: treat the weights as constants in the gradient (the paper does not say; the published code does
            not). If they are not constant, the gradient of easy negatives can change sign with large beta.
        eps: added inside the logarithms, as 1e-7 in the published code; None: exact log-sigmoid.
        class_counts: training images of each class, [K]; None: the counts of the batch.
        missing: "drop": classes without samples in the batch get no weight; "keep": they get the weight of mean
            probability 0, which then has no effect.
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
    if num_classes > PLAIN and eps is None:
        share = None
        if class_counts is not None:
            share = _share(torch.bincount(target, minlength=num_classes).to(logits.dtype), class_counts, len(target))
        value = lgl_inr_columns(
            logits, target, beta=beta, detach_weights=detach_weights, share=share, keeps_missing=keeps_missing
        )
        return value / num_classes if averaged else value
    samples = one_hot(logits, target)  # [B, K]
    counts = samples.sum(dim=0)  # [K]
    own = samples / counts.clamp_min(1)  # [B, K]; its transpose averages over the samples of each class
    classes = torch.arange(num_classes, device=logits.device)
    if num_classes <= len(target):  # means are taken over G groups of samples: one group per class ...
        label, mass, averages = classes, (counts > 0).to(logits.dtype), own.T
    else:  # ... or, if there are more classes than samples, one group per sample, so that nothing is [K, K]
        label, mass = target, 1 / counts[target]
        averages = (target[:, None] == target) * mass[:, None]
    others = mass[:, None] * (label[:, None] != classes)  # [G, K]: how much a group counts among the negatives

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
        share = _share(counts, class_counts, len(target))
        own, weights = own * share, weights * share[label, None]
    positives = (own * log_p).sum()
    negatives = (weights * (averages @ log_not_p)).sum()
    loss = -(positives + negatives)
    return loss / num_classes if averaged else loss


def _share(counts: "Tensor", class_counts: "Tensor", num: int) -> "Tensor":
    """Each class's fraction of a batch of `num` samples over its fraction of the data set, [K]."""
    size = class_counts.to(counts.dtype).clamp_min(1)
    return counts * (size.sum() / (num * size))


def class_weights(mean_probability: "Tensor", beta: float, present: "Tensor | None" = None) -> "Tensor":
    """The weights lambda_jk of LGL-INR ("Choice of lambdas"): how much class j counts among the negatives of k.

    Args:
        mean_probability: mean sigmoid of classifier k over the samples of class j, [K, K] (row j, column k).
        beta: sharpness, >= 0.
        present: classes that have samples, bool [K]; None: all.

    Returns:
        Weights [K, K], zero on the diagonal; each column sums to 1, or to 0 if no other class is present.
    """
    import torch

    others = 1 - torch.eye(mean_probability.shape[0], dtype=mean_probability.dtype, device=mean_probability.device)
    return _weights(mean_probability, beta, others if present is None else others * present[:, None])


def _weights(means: "Tensor", beta: float, others: "Tensor", absent: "Tensor | None" = None) -> "Tensor":
    """Softmax over groups of samples, [G, K], of beta * means.

    Args:
        means: mean sigmoid of classifier k over group g, [G, K].
        beta: sharpness, >= 0.
        others: how much group g counts among the negatives of k, [G, K].
        absent: number of other classes that get the weight of mean probability 0, [K].
    """
    import torch

    scores = torch.add(_log(others), means, alpha=beta)
    if absent is not None:  # one more group, which only takes up its share of the weight
        scores = torch.cat([scores, _log(absent)[None]])
    return torch.softmax(scores, dim=0)[: len(others)] * (others > 0)


def _log(counts: "Tensor") -> "Tensor":
    """Logarithm with -1e30 at 0, where a softmax becomes exactly 0, or uniform if all counts are 0."""
    import torch

    return torch.log(counts).clamp_min(-1e30)
