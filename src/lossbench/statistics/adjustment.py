"""What would a trained network predict once it is told how rare each class is? From its logits; pure, no torch.

The simple alternatives to class weights, with pi_k the share of class k among the training images:

    threshold moving   argmax of p_k / pi_k; of two classes' softmax the threshold moves from 1/2 to pi_k
                       (Zhou and Liu 2006, with the inverse frequency as the cost)
    logit adjustment   argmax of z_k less the prior's logit, log pi_k for softmax (Menon et al. 2021), and
                       log pi_k / (1 - pi_k) for a sigmoid, whose classifier tells class k from all others

With softmax both are the same, since log p_k is z_k but for a constant.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logit

from lossbench.config.registry import Map


@dataclass(frozen=True)
class Accuracies:
    """Mean accuracy of classes, fractions, each class counting the same."""

    majority: float  # of the larger half of the classes, by training images
    minority: float
    all: float


def logit_adjusted(logits: np.ndarray, counts: np.ndarray, probabilities: Map) -> NDArray[np.int64]:
    """Predictions, [N], with the prior taken out of the logits.

    Args:
        logits: [N, K].
        counts: training images of each class, [K], each >= 1.
        probabilities: the map that the loss was trained for.
    """
    shares = counts / counts.sum()
    prior = np.log(shares) if probabilities == "softmax" else logit(shares)
    found: NDArray[np.int64] = (logits.astype(np.float64) - prior).argmax(axis=1)
    return found


def threshold_moved(logits: np.ndarray, counts: np.ndarray, probabilities: Map) -> NDArray[np.int64]:
    """Predictions, [N], of the class whose probability is the most times its share; arguments as above."""
    logits = logits.astype(np.float64)
    log_p = logits if probabilities == "softmax" else log_expit(logits)  # softmax: but for an image's constant
    found: NDArray[np.int64] = (log_p - np.log(counts)).argmax(axis=1)
    return found


def majority(counts: np.ndarray) -> NDArray[np.bool_]:
    """Which classes are the larger half, [K]; of an odd number it has one more, and the first of equals come first."""
    larger = np.zeros(len(counts), bool)
    larger[np.argsort(-counts, kind="stable")[: (len(counts) + 1) // 2]] = True
    return larger


def accuracies(predictions: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> Accuracies:
    """How right predictions [N] are on labels [N], in which each class is there, for classes of `counts` images [K]."""
    right = np.bincount(labels[predictions == labels], minlength=len(counts))
    of_class, larger = right / np.bincount(labels, minlength=len(counts)), majority(counts)
    return Accuracies(float(of_class[larger].mean()), float(of_class[~larger].mean()), float(of_class.mean()))
