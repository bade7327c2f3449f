"""Steps that the losses' own maps from logits to probabilities share, in NumPy and float64."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def normalised(values: "Floats") -> "Floats":
    """Values >= 0, [N, K], divided by their sum; 1 / K each where all are 0."""
    import numpy as np

    total = values.sum(axis=1, keepdims=True)
    found: Floats = np.where(total > 0, values / np.where(total > 0, total, 1.0), 1 / values.shape[1])
    return found


def log_softmax_and_rest(logits: "Floats") -> tuple["Floats", "Floats"]:
    """Log p_k and log(1 - p_k) of the softmax p, each [N, K]; exact also where p_k rounds to 1."""
    import numpy as np
    from scipy.special import log_softmax, logsumexp

    log_p = log_softmax(logits, axis=1)
    top = logits.argmax(axis=1)[:, None]
    others = logits.copy()
    np.put_along_axis(others, top, -np.inf, axis=1)
    log_rest = np.log1p(-np.minimum(np.exp(log_p), 0.5))  # only the largest p_k exceeds 1/2
    of_top = logsumexp(others, axis=1, keepdims=True) - logsumexp(logits, axis=1, keepdims=True)
    np.put_along_axis(log_rest, top, of_top, axis=1)
    return log_p, log_rest
