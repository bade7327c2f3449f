"""The true posterior of a data set, where it is known, on test samples: what no network can surpass but by chance."""

from typing import Any

import numpy as np

from lossbench.config.options import DatasetConfig
from lossbench.config.registry import plugin_faults

CHUNK = 2**22
"""Probabilities in memory at once."""


def bayes(config: DatasetConfig, inputs: np.ndarray, labels: np.ndarray) -> dict[str, Any] | None:
    """Accuracy and NLL of the true posterior on the samples that a config tests on.

    A network's NLL less this one, on the same samples, is an unbiased estimate of the mean Kullback-Leibler divergence
    from the true posterior to the network's, if the samples are drawn from the data set's distribution.

    Args:
        config: the data set. With `classes` the posterior is that given these classes.
        inputs: test inputs, [N, ...].
        labels: their classes, integers [N] in 0..K-1.

    Returns:
        "accuracy" and "top5_accuracy", fractions, and "nll" in nats; None: the posterior is not known, or the samples
        are held-out ones with deliberately wrong labels.
    """
    wrong = config.label_noise is not None or config.label_shift is not None
    if config.num_validation is not None and wrong:
        return None
    with plugin_faults("dataset", config.name, "log_posterior"):
        known = config.log_posterior()
        if known is None:
            return None
        rows = max(CHUNK // config.sizes().num_classes, 1)
        nll, first, among_five = 0.0, 0, 0
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            log_p = known(inputs[part])
            if config.classes is not None:
                log_p = log_p[:, config.classes]
                log_p = log_p - np.logaddexp.reduce(log_p, axis=1, keepdims=True)
            own = np.take_along_axis(log_p, labels[part, None].astype(np.int64), axis=1)
            above = (log_p > own).sum(axis=1)
            nll -= float(own.sum())
            first += int((above == 0).sum())
            among_five += int((above < 5).sum())
    num = len(labels)
    return {"accuracy": first / num, "top5_accuracy": among_five / num, "nll": nll / num}
