"""Building the loss of a run from its options."""

from typing import TYPE_CHECKING

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.losses.weighting import weights_by_size

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from lossbench.config.options import Loss


def build_loss(config: LossConfig, class_counts: "Tensor", draws: "Generator | None" = None) -> "Loss":
    """The loss that a config describes, times its `scale`.

    Args:
        config: the loss's options.
        class_counts: training samples of each class, int64 [K], on the device of the logits.
        draws: generator of the loss's random draws, on that device; None: PyTorch's own.
    """
    kind = config.class_weights
    weights = None if kind is None else weights_by_size(class_counts.double(), kind)
    loss = config.build(TrainingClasses(len(class_counts), class_counts, weights, draws))
    if config.scale == 1.0:
        return loss
    return lambda *arguments: config.scale * loss(*arguments)
