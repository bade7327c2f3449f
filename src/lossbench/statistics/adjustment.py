"""Predictions of a trained network corrected for class frequencies, computed from its logits.

These are the simple alternatives to class weights. With pi_k the fraction of class k among the training images:

    threshold moving   argmax of p_k / pi_k; for softmax with two classes the threshold moves from 1/2 to pi_k
                       (Zhou and Liu 2006, with the inverse frequency as the cost)
    logit adjustment   argmax of z_k minus the prior's logit: log pi_k for softmax (Menon et al. 2021),
                       log(pi_k / (1 - pi_k)) for sigmoids, each of which separates class k from all others

With softmax both are the same, since log p_k equals z_k up to a constant.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logit

from lossbench.config.registry import Map


@dataclass(frozen=True)
class Accuracies:
    """Accuracies averaged over classes, as fractions; every class has the same weight."""

    majority: float  # over the larger half of the classes, by training images
    minority: float  # over the other half
    all: float


def logit_adjusted(logits: np.ndarray, counts: np.ndarray, probabilities: Map) -> NDArray[np.int64]:
    """Predictions [N] after logit adjustment.

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
    """Predictions [N] after threshold moving; arguments as in `logit_adjusted`."""
    logits = logits.astype(np.float64)
    log_p = logits if probabilities == "softmax" else log_expit(logits)  # softmax: up to a constant of each image
    found: NDArray[np.int64] = (log_p - np.log(counts)).argmax(axis=1)
    return found


def majority(counts: np.ndarray) -> NDArray[np.bool_]:
    """Which classes belong to the larger half by training images, [K]; if K is odd it has one class more.

    Of classes of equal size the first ones belong to it.
    """
    larger = np.zeros(len(counts), bool)
    larger[np.argsort(-counts, kind="stable")[: (len(counts) + 1) // 2]] = True
    return larger


def accuracies(predictions: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> Accuracies:
    """Accuracies by group of classes.

    Args:
        predictions: predicted classes, [N].
        labels: true classes, [N]; every class must occur.
        counts: training images of each class, [K].
    """
    right = np.bincount(labels[predictions == labels], minlength=len(counts))
    of_class, larger = right / np.bincount(labels, minlength=len(counts)), majority(counts)
    return Accuracies(float(of_class[larger].mean()), float(of_class[~larger].mean()), float(of_class.mean()))
