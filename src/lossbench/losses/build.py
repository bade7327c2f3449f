"""What is minimised? Pure functions of logits [B, K] and target [B], one file a loss, and the builder of a config's."""

from collections.abc import Callable

from torch import Tensor

from lossbench.config.run import Lgl, LglInr, LossConfig, Sml
from lossbench.config.words import ClassWeights, Counts
from lossbench.losses.lgl import lgl
from lossbench.losses.lgl_inr import class_weights, lgl_inr
from lossbench.losses.sml import sml
from lossbench.losses.weighting import weights_by_size

__all__ = ["LOSSES", "Loss", "build_loss", "class_weights", "lgl", "lgl_inr", "sml"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, K], target [B]) -> scalar in nats."""


def _weights(kind: ClassWeights | None, class_counts: Tensor) -> Tensor | None:
    return None if kind is None else weights_by_size(class_counts.double(), kind.value)


def _build_sml(config: LossConfig, class_counts: Tensor) -> Loss:
    assert isinstance(config, Sml)
    if config.class_weights is None:
        return sml
    weights = _weights(config.class_weights, class_counts)
    return lambda logits, target: sml(logits, target, class_weights=weights)


def _build_lgl(config: LossConfig, class_counts: Tensor) -> Loss:
    assert isinstance(config, Lgl)
    reduction, weights = config.reduction.value, _weights(config.class_weights, class_counts)
    return lambda logits, target: lgl(logits, target, reduction=reduction, class_weights=weights)


def _build_lgl_inr(config: LossConfig, class_counts: Tensor) -> Loss:
    assert isinstance(config, LglInr)
    counts = class_counts if config.counts is Counts.dataset else None
    return lambda logits, target: lgl_inr(
        logits,
        target,
        beta=config.beta,
        detach_weights=config.detach_weights,
        eps=config.eps,
        class_counts=counts,
        missing=config.missing.value,
        reduction=config.reduction.value,
    )


LOSSES = {"sml": _build_sml, "lgl": _build_lgl, "lgl_inr": _build_lgl_inr}


def build_loss(config: LossConfig, class_counts: Tensor) -> Loss:
    """The loss that a config names, times its `scale`.

    Args:
        config: the loss and its options.
        class_counts: training images of each class, [K], on the device of the logits; for options that ask for them.
    """
    loss = LOSSES[config.name](config, class_counts)
    if config.scale == 1.0:
        return loss
    return lambda logits, target: config.scale * loss(logits, target)
