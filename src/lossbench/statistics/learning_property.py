"""Does the learning property hold on trained networks? Eq. 8-10, from what a run leaves behind; pure, no torch.

Where the gradient of the loss with respect to the bias b_k of the last layer is zero, two sides are equal for every
class k (Eq. 8). With p_jk the mean probability of class k over the images of class j, and N_j the training images:

    SML      N_k (1 - p_kk) = sum over j != k of N_j p_jk         softmax: Eq. 9 with equal weights
    LGL      the same                                             sigmoid: Eq. 10 of each one-vs-all classifier
             with class weights, lambda_k N_k for N_k in both
    LGL-INR  1 - p_kk = sum over j != k of lambda_jk p_jk         sigmoid: no class sizes, the weights sum to 1

SML's K equations are K - 1: an image's probabilities sum to 1, so the sums of both sides over k are equal always. The
others are K independent ones. Two things part the sides even at a stationary point, and `Balance` tells them: weight
decay on biases, and LGL-INR's gradient through its weights. A real run deviates for other reasons as well:

- SGD stops in the noise of its last batches, not at a stationary point. Unless the learning rate was lowered before, a
  class's sides are apart by some factor on training images, in either direction; several classes and runs show the law.
- Batch normalisation and augmentation: training balances altered images, normalised by batch, while the means are of
  plain images in evaluation mode.
- Test images are assumed to be like the training images, which is false for a network that knows the latter by heart.
  What a mistake takes from its own class's probability it gives to another's. Both sides of SML and LGL grow by
  it; LGL-INR's left grows by all and its right by lambda, about 1/(K - 1), of it.
- LGL-INR's weights in training are of batches, larger for classes that happen to be hard there. So the right side that
  SGD balances is larger than `right`, whose weights are of the whole split, and its gradient through the weights larger
  than `attached`. By how much, only logits of training batches could tell, which no run keeps: this law is approximate.
  It is also told as without `loss.eps`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from lossbench.config.registry import LOSSES
from lossbench.losses.weighting import weights_by_size

Floats = NDArray[np.float64]

LAW_FACTOR = 1.25
"""Within which a measured side of Eq. 10 counts as the predicted one."""


@dataclass(frozen=True)
class Balance:
    """The two sides of a learning property, and what is known to part them; every array is [K].

    Args:
        left: what class k lacks on its own images: N_k (1 - p_kk), times its weight if any; for LGL-INR 1 - p_kk.
        right: what it has on the others': the sum of N_j p_jk, times weights; for LGL-INR of lambda_jk p_jk.
        decay: left - right as weight decay on the biases keeps it at a stationary point.
        attached: likewise LGL-INR's gradient through its weights; 0 where it has none, nan where that is not known.
        unit: what the slope of the loss in b_k is multiplied by to be in the units of the sides.
    """

    left: Floats
    right: Floats
    decay: Floats
    attached: Floats
    unit: float

    @property
    def residual(self) -> Floats:
        """Left less right; at a stationary point decay plus attached."""
        return self.left - self.right

    @property
    def relative(self) -> Floats:
        """Residual over the sum of the sides: in -1..1, 0 in balance, nan where both sides are 0."""
        return _quotient(self.residual, self.left + self.right)

    @property
    def ratio(self) -> Floats:
        """Left over right, 1 in balance; of a one-vs-all classifier, Eq. 10's left side over its right."""
        return _quotient(self.left, self.right)

    @property
    def gradient(self) -> Floats:
        """Slope of the loss in each bias, the split taken as one batch, without weight decay."""
        return (self.attached - self.residual) / self.unit


def balances(
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    train_counts: np.ndarray,
    test_labels: np.ndarray | None = None,
) -> dict[str, Balance]:
    """The learning property of a finished run (Eq. 9, 10), measured on its "train" and its "test" images.

    For both, class sizes are those of the training set: they belong to the loss that was minimised, and the test images
    only stand for further ones of each class, as in the paper's Table 1.

    Args:
        config: the run's config, as its record has it.
        arrays: the run's arrays, as docs/files.md lists them.
        train_counts: training images of each class, [K], each >= 1.
        test_labels: classes of the test images, integers [N]; with them `attached` is known on test images.

    Returns:
        A balance a split; that of the test images is nan throughout where they lack a class.

    Raises:
        ValueError: the loss has no known learning property, or counts or labels are not those of the run.
    """
    loss, schedule = config["loss"], config["schedule"]
    facts = LOSSES.get(loss["name"])
    if facts is None or facts.law is None:
        known = ", ".join(name for name in LOSSES if LOSSES[name].law)
        raise ValueError(f"the learning property is known for the losses {known}, not for {loss['name']}")
    counts, bias = np.asarray(train_counts, np.float64), arrays["output_bias"].astype(np.float64)
    if counts.shape != bias.shape or not (counts >= 1).all():
        raise ValueError(f"train_counts must be {len(bias)} numbers >= 1, one a class, got {counts.tolist()}")
    if test_labels is not None:
        _check_labels(test_labels, arrays)
    reweighted = facts.law == "reweighted"
    unit = (1.0 if reweighted else counts.sum()) / loss["scale"]
    unit *= len(bias) if loss.get("reduction") == "mean" else 1  # over classifiers
    decay = unit * schedule["weight_decay"] * schedule["decay_bias"] * bias
    counts = weighted_counts(loss, counts)  # their sum is the same
    found = {}
    for split in ("train", "test"):
        means = arrays[f"{split}_mean_{facts.probabilities}"]
        if split == "test":  # where the mean of no images is kept as 0
            means = np.where(arrays["confusion_matrix"].sum(axis=1, keepdims=True) > 0, means, np.nan)
        missed, others, attached = 1 - np.diag(means), means * (1 - np.eye(len(bias))), np.zeros_like(bias)
        if reweighted:
            weights = class_weights(means, loss["beta"])
            if loss["beta"] > 0 and not loss["detach_weights"]:
                attached = np.full_like(bias, np.nan)
                if split == "test" and test_labels is not None and "test_logits" in arrays:
                    attached = _pull(arrays["test_logits"], test_labels, weights, loss["beta"])
            found[split] = Balance(missed, (weights * others).sum(axis=0), decay, attached, unit)
        else:
            found[split] = Balance(counts * missed, counts @ others, decay, attached, unit)
    return found


def weighted_counts(loss: Mapping[str, Any], train_counts: np.ndarray) -> Floats:
    """How much each class counts in a loss that weighs classes, lambda_k N_k of Eq. 1, [K]; else the class sizes.

    Args:
        loss: `config["loss"]` of the run's record.
        train_counts: training images of each class, [K].
    """
    counts, kind = np.asarray(train_counts, np.float64), loss.get("class_weights")
    weighted: Floats = counts if kind is None else counts * weights_by_size(counts, kind)
    return weighted


def class_weights(means: Floats, beta: float) -> Floats:
    """The weights lambda_jk of LGL-INR ("Choice of lambdas"), as lossbench.losses.class_weights, without torch.

    Args:
        means: mean sigmoid of classifier k over the images of class j, [K, K] (row j, column k).
        beta: sharpness, >= 0.

    Returns:
        Weights [K, K], zero on the diagonal; each column sums to 1.
    """
    scores = beta * means
    np.fill_diagonal(scores, -np.inf)
    weights: Floats = softmax(scores, axis=0)
    return weights


def unevenness(weights: Floats) -> float:
    """How far LGL-INR's weights [K, K] are from uniform: the share that lies elsewhere, mean over the classifiers.

    0 is uniform, (K - 2)/(K - 1) all weight on one class.
    """
    uniform = (1 - np.eye(len(weights))) / (len(weights) - 1)
    return float(np.abs(weights - uniform).sum(axis=0).mean() / 2)


def reversed_share(logits: np.ndarray, labels: np.ndarray, beta: float) -> float:
    """Share of negatives whose logit LGL-INR would raise, its weights in the gradient, the images taken as one batch.

    The slope of the loss in the logit of classifier k, of an image of class j != k with p its probability, is
    lambda_jk / N_j times p + beta (l_jk - lbar_k) p (1 - p), with l_jk the mean of -log(1 - p_k) over class j and
    lbar_k its mean under the weights: below 0 where a class is so far from hard that more weight on it lowers the loss.

    Args:
        logits: of images, [N, K].
        labels: classes, integers [N].
        beta: sharpness, >= 0.
    """
    logits = logits.astype(np.float64)
    own = _own(labels, logits.shape[1])
    p = expit(logits)
    weights, losses = class_weights(own.T @ p, beta), own.T @ np.logaddexp(0, logits)  # [K, K] each
    excess = losses - (weights * losses).sum(axis=0)
    slopes = p * (1 + beta * excess[labels] * (1 - p))
    return float((slopes[own == 0] < 0).mean())


def reversed_share_of_batches(logits: np.ndarray, labels: np.ndarray, beta: float, batch_size: int) -> float:
    """As `reversed_share`, mean over batches drawn without replacement, always the same, that hold all classes.

    The fewer images a class mean is of, the more it scatters: in batches as in training more negatives turn than in
    one of all images. nan without such a batch.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    batches = [order[start : start + batch_size] for start in range(0, len(order) - batch_size + 1, batch_size)]
    whole = [batch for batch in batches if len(np.unique(labels[batch])) == logits.shape[1]]
    return float(np.mean([reversed_share(logits[batch], labels[batch], beta) for batch in whole])) if whole else np.nan


def _own(labels: np.ndarray, num_classes: int) -> Floats:
    """What a sample adds to the mean over its class, [N, K]; 0 in the columns of other classes."""
    target = (labels[:, None] == np.arange(num_classes)).astype(np.float64)
    own: Floats = target / target.sum(axis=0).clip(min=1)
    return own


def _pull(logits: np.ndarray, labels: np.ndarray, weights: Floats, beta: float) -> Floats:
    """What the weights' own gradient adds to the slope of LGL-INR in each bias, [K].

    With l_jk the mean of -log(1 - p_k) over class j, and s_jk that of p_k (1 - p_k), the slope of lambda_jk is
    beta lambda_jk (s_jk - sum over m of lambda_mk s_mk); summed with l_jk, that is a covariance under lambda.
    """
    own = _own(labels, len(weights))
    logits = logits.astype(np.float64)
    losses, slopes = own.T @ np.logaddexp(0, logits), own.T @ (expit(logits) * expit(-logits))  # [K, K] each
    covariance: Floats = (weights * (losses - (weights * losses).sum(axis=0)) * slopes).sum(axis=0)
    return beta * covariance


def _check_labels(labels: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    predictions, confusion = arrays["test_predictions"].astype(np.int64), arrays["confusion_matrix"]
    if labels.shape == predictions.shape and (labels >= 0).all():
        cells = labels.astype(np.int64) * len(confusion) + predictions
        if np.array_equal(np.bincount(cells, minlength=confusion.size), confusion.ravel()):
            return
    raise ValueError(
        f"test_labels must be the classes of the run's {len(predictions)} test images, in their order: with its "
        f"predictions they do not give its confusion matrix"
    )


def _quotient(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return numerator / denominator
