"""The learning property (Eq. 8 to 10) of trained networks, measured on the arrays of finished runs.

Where the gradient of the loss with respect to the bias b_k of the last layer is zero, two sides are equal for every
class k (Eq. 8). With p_jk the mean probability of class k over the images of class j, and N_j the training images of
class j:

    SML      N_k (1 - p_kk) = sum over j != k of N_j p_jk         softmax: Eq. 9 with equal weights
    LGL      the same                                             sigmoid: Eq. 10 of each one-vs-all classifier
             with class weights, lambda_k N_k for N_k in both
    LGL-INR  1 - p_kk = sum over j != k of lambda_jk p_jk         sigmoid: no class sizes, the weights sum to 1

Of SML's K equations only K - 1 are independent: the probabilities of an image sum to 1, so the sums of both sides over
k are always equal. Those of the other losses are independent. Even at a stationary point two things make the sides
differ, and `Balance` contains both: weight decay on biases, and LGL-INR's gradient through its weights. A real run
deviates for further reasons:

- SGD stops in the noise of its last batches, not at a stationary point. Unless the learning rate was lowered before,
  the sides of a class differ by some factor on training images, in either direction; the law shows over several
  classes and runs.
- Batch normalisation and augmentation: training balances augmented images, normalised by batch, while the means are of
  plain images in evaluation mode.
- Test images are assumed to be like the training images, which is false for a network that has memorised the latter. A
  mistake moves probability from the image's own class to another. Both sides of SML and LGL grow by that amount;
  LGL-INR's left side grows by the full amount, its right side by lambda, about 1/(K - 1), times it.
- In training, LGL-INR's weights are computed from batches, and are larger for classes that happen to be hard in them.
  So the right side that SGD balances is larger than `right`, whose weights are computed from the entire split, and the
  gradient through the weights is larger than `attached`. By how much cannot be known without the logits of training
  batches, which no run keeps: for LGL-INR the law is approximate. It also ignores `loss.eps`.
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
"""A measured side of Eq. 10 agrees with the predicted one if they differ by at most this factor."""


@dataclass(frozen=True)
class Balance:
    """The two sides of a learning property and the known differences between them; every array is [K].

    Args:
        left: probability that class k lacks on its own images: N_k (1 - p_kk), times its weight if any; for LGL-INR
            1 - p_kk.
        right: probability of class k on the images of the others: the sum over j != k of N_j p_jk, times weights if
            any; for LGL-INR of lambda_jk p_jk.
        decay: left - right at a stationary point due to weight decay on the biases.
        attached: left - right at a stationary point due to LGL-INR's gradient through its weights; 0 if there is no
            such gradient, nan if it is unknown.
        unit: factor from the derivative of the loss with respect to b_k to the unit of the sides.
    """

    left: Floats
    right: Floats
    decay: Floats
    attached: Floats
    unit: float

    @property
    def residual(self) -> Floats:
        """Left minus right; at a stationary point equal to decay plus attached."""
        return self.left - self.right

    @property
    def relative(self) -> Floats:
        """Residual over the sum of the sides: in -1..1, 0 if they are equal, nan if both are 0."""
        return _quotient(self.residual, self.left + self.right)

    @property
    def ratio(self) -> Floats:
        """Left over right, 1 if they are equal; for one-vs-all classifiers, Eq. 10's left side over its right side."""
        return _quotient(self.left, self.right)

    @property
    def gradient(self) -> Floats:
        """Derivative of the loss with respect to each bias, with the split as one batch and without weight decay."""
        return (self.attached - self.residual) / self.unit


def balances(
    config: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    train_counts: np.ndarray,
    test_labels: np.ndarray | None = None,
) -> dict[str, Balance]:
    """The learning property of a finished run (Eq. 9, 10), measured on its "train" and its "test" images.

    Both use the class sizes of the training set, which belong to the loss that was minimised; the test images only
    stand for further images of each class, as in the paper's Table 1.

    Args:
        config: the config in the run's record.
        arrays: the run's arrays, as docs/files.md lists them.
        train_counts: training images of each class, [K], each >= 1.
        test_labels: classes of the test images, integers [N]; needed for `attached` on test images.

    Returns:
        A balance for each split; that of the test images is all nan if a class has no test image.

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
        raise ValueError(f"train_counts must be {len(bias)} numbers >= 1, one for each class, got {counts.tolist()}")
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
        if split == "test":  # the mean over no images is stored as 0
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
    """Class sizes times class weights, lambda_k N_k of Eq. 1, [K]; the class sizes if the loss has no class weights.

    Args:
        loss: `config["loss"]` of the run's record.
        train_counts: training images of each class, [K].
    """
    counts, kind = np.asarray(train_counts, np.float64), loss.get("class_weights")
    weighted: Floats = counts if kind is None else counts * weights_by_size(counts, kind)
    return weighted


def class_weights(means: Floats, beta: float) -> Floats:
    """The weights lambda_jk of LGL-INR ("Choice of lambdas"): `losses.lgl_inr.class_weights` without torch.

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
    """Distance of LGL-INR's weights [K, K] from uniform: total variation distance, averaged over classifiers.

    0 for uniform weights, (K - 2)/(K - 1) if all weight is on one class.
    """
    uniform = (1 - np.eye(len(weights))) / (len(weights) - 1)
    return float(np.abs(weights - uniform).sum(axis=0).mean() / 2)


def reversed_share(logits: np.ndarray, labels: np.ndarray, beta: float) -> float:
    """Fraction of negatives whose logit LGL-INR's gradient would raise, with all images as one batch.

    For classifier k and an image of class j != k with probability p, the derivative of the loss with respect to the
    logit is lambda_jk / N_j times p + beta (l_jk - lbar_k) p (1 - p), where l_jk is the mean of -log(1 - p_k) over
    class j and lbar_k its mean under the weights. It is negative if class j is so easy that more weight on it lowers
    the loss.

    Args:
        logits: of the images, [N, K].
        labels: their classes, integers [N].
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
    """`reversed_share` averaged over batches that contain all classes; nan if there is no such batch.

    The batches are drawn without replacement and are always the same. Class means over few images scatter more, so
    more negatives are reversed in batches of the size used in training than with all images as one batch.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    batches = [order[start : start + batch_size] for start in range(0, len(order) - batch_size + 1, batch_size)]
    full = [batch for batch in batches if len(np.unique(labels[batch])) == logits.shape[1]]
    return float(np.mean([reversed_share(logits[batch], labels[batch], beta) for batch in full])) if full else np.nan


def _own(labels: np.ndarray, num_classes: int) -> Floats:
    """Weight of each sample in the mean over its class, [N, K]; 0 in the columns of other classes."""
    target = (labels[:, None] == np.arange(num_classes)).astype(np.float64)
    own: Floats = target / target.sum(axis=0).clip(min=1)
    return own


def _pull(logits: np.ndarray, labels: np.ndarray, weights: Floats, beta: float) -> Floats:
    """Contribution of the weights' gradient to the derivative of LGL-INR with respect to each bias, [K].

    With l_jk the mean of -log(1 - p_k) over class j, and s_jk that of p_k (1 - p_k), the derivative of lambda_jk is
    beta lambda_jk (s_jk - sum over m of lambda_mk s_mk). Multiplied by l_jk and summed, this is beta times a
    covariance under lambda.
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
