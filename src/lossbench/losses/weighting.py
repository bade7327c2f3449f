"""How much does a sample of each class count? Class weights from class sizes, of arrays and of tensors alike."""

from typing import Any

from lossbench.config.options import ClassWeights

EFFECTIVE_BETA = 0.999
"""Of the effective number of samples; Cui et al. (CVPR 2019) try 0.9 to 0.9999."""


def weights_by_size(counts: Any, kind: str) -> Any:
    """Weights lambda_k of Eq. 1, [K], whose mean over the training samples is 1, so that the loss keeps its scale.

    Args:
        counts: training samples of each class, [K], floating point; a class without samples counts as having one.
        kind: "inverse" of the class size, "sqrt_inverse", or "effective": of the effective number of samples,
            (1 - beta^n) / (1 - beta) (Cui et al. 2019, Eq. 2).

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
