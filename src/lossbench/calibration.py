"""How honest are the probabilities of a trained network? Proper scores, calibration error, reliability; no torch.

Softmax gives an image K probabilities that sum to 1, one-vs-all sigmoids K that need not. Both maps are taken of any
loss's logits, since a loss is trained for one of them and a user may apply the other:

    softmax   -log p_y                    sum over k of (p_k - [k = y])^2
    sigmoid   the K binary cross-entropies, the K squared errors, each summed over the classifiers

Confidence is the predicted class's probability; the prediction is the highest logit's class with both maps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, log_softmax

Map = Literal["softmax", "sigmoid"]
MAPS: Mapping[str, Map] = {"LGL": "sigmoid", "SML": "softmax", "LGL-INR": "sigmoid"}
"""The map that a loss is trained for."""

Floats = NDArray[np.float64]

NUM_BINS = 15
"""Bins of equal width in confidence, from 0 to 1, each with its upper end."""


@dataclass(frozen=True)
class Calibration:
    """Scores of a run's test images, and its reliability by bin of confidence."""

    nll: float  # negative log-likelihood, nats an image
    brier: float
    ece: float  # expected calibration error: mean distance of accuracy and confidence over the bins, by images
    overconfidence: float  # mean confidence less accuracy
    counts: NDArray[np.int64]  # images, [NUM_BINS]
    confidence: Floats  # mean, [NUM_BINS]; nan in an empty bin
    accuracy: Floats  # likewise


def calibration(logits: np.ndarray, labels: np.ndarray, probabilities: Map) -> Calibration:
    """Scores and reliability of the probabilities that a map gives.

    Args:
        logits: finite, [N, K].
        labels: classes in 0..K-1, integers [N], N >= 1.
        probabilities: the map.
    """
    logits, rows = np.asarray(logits, np.float64), np.arange(len(labels))
    target = np.zeros_like(logits)
    target[rows, labels] = 1
    if probabilities == "softmax":
        log_p = log_softmax(logits, axis=1)
        p, nll = np.exp(log_p), -log_p[rows, labels]
    else:
        p = expit(logits)
        nll = -(target * log_expit(logits) + (1 - target) * log_expit(-logits)).sum(axis=1)
    predicted = logits.argmax(axis=1)
    confidence, right = p[rows, predicted], (predicted == labels).astype(np.float64)
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, values, NUM_BINS) / counts for values in (confidence, right)]
    ece = np.nansum(counts * np.abs(means[1] - means[0])) / len(labels)
    return Calibration(
        float(nll.mean()),
        float(((p - target) ** 2).sum(axis=1).mean()),
        float(ece),
        float(confidence.mean() - right.mean()),
        counts,
        *means,
    )
