"""Class weights computed from class sizes, for NumPy arrays and for tensors."""

from typing import Any

from lossbench.config.options import ClassWeights

EFFECTIVE_BETA = 0.999
"""beta in the effective number of samples; Cui et al. (CVPR 2019) try 0.9 to 0.9999."""


def weights_by_size(counts: Any, kind: str) -> Any:
    """Weights lambda_k of Eq. 1, [K]; their mean over the training samples is 1, so that the loss keeps its scale.

    Args:
        counts: training samples of each class, [K], floating point; a class without samples counts as having one.
        kind: "inverse" of the class size; "sqrt_inverse", of its square root; "effective", inverse of the effective
            number of samples, (1 - beta^n) / (1 - beta) (Cui et al. 2019, Eq. 2).

    Raises:
        ValueError: the kind is unknown.
    """
    sizes = counts + (counts == 0)
    match ClassWeights(kind):
        case ClassWeights.inverse:
            raw = 1 / sizes
        case ClassWeights.sqrt_inverse:
            raw = sizes**-0.5
        case ClassWeights.effective:
            raw = (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**sizes)
    return raw * counts.sum() / (raw * counts).sum()
