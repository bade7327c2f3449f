"""Losses and networks of plugins, tried once before any training."""

from functools import cache
from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, ModelConfig, Sizes
from lossbench.config.registry import LOSSES, MODELS, plugin_faults
from lossbench.losses.build import build_loss
from lossbench.models.build import build_model, example
from lossbench.models.features import split

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLES, FEATURES = 8, 5


def try_loss(config: LossConfig, num_classes: int) -> None:
    """Call a loss that is from a plugin once, forward and backward, on the CPU; lossbench's own have their tests.

    Raises:
        ValueError: it fails, does not return one finite number with a gradient for its input, or its own map does not
            return probabilities.
    """
    source = LOSSES.source(config.name)
    if source is None:
        return
    reason = _fault(f"{source.sha256} {config!r}", _Held(config), num_classes)
    if reason:
        raise ValueError(f"loss={config.name} of {source.name} {reason}")


def try_model(config: ModelConfig, known: Sizes, gives: str, loss: LossConfig) -> None:
    """Build a network that is from a plugin, and call it once on the CPU with an input of zeros.

    Args:
        config: the network's options.
        known: sizes of the data set.
        gives: what its inputs are.
        loss: the loss that it is trained with.

    Raises:
        ValueError: it fails, does not return a logit for each class, or has no features and output layer for a loss
            that needs them.
    """
    if MODELS.source(config.name) is None:
        return
    import torch

    with plugin_faults("model", config.name, "build or its network"), torch.no_grad():
        model = build_model(config, known.shape, known.num_classes, seed=0).eval()
        logits = model(example(known.shape, gives))
        if logits.shape != (1, known.num_classes):
            wanted = f"logits [B, {known.num_classes}] for inputs [B, {', '.join(map(str, known.shape))}]"
            raise ValueError(f"the network must return {wanted}, and returns {list(logits.shape)} for one input")
        if loss.needs == "features":
            _try_split(model, logits, example(known.shape, gives), loss.name)


def _try_split(model: "nn.Module", logits: "Tensor", inputs: "Tensor", loss: str) -> None:
    """Split a network into features and output layer, and compare its logits; the network is modified."""
    import torch

    try:
        parts: Any = split(model)
        features = parts.features(inputs)
        same = features.ndim == 2 and torch.allclose(parts.head(features), logits, rtol=1e-4, atol=1e-5)
        reason = "what follows its last linear layer changes the logits"
    except (RuntimeError, ValueError) as error:
        same, reason = False, str(error)
    if not same:
        raise ValueError(
            f"loss={loss} needs features and an output layer, but {reason}; let the network end with a linear layer, "
            "or choose a loss of logits"
        )


class _Held:
    """Options that the cache of `_fault` does not look at: their text says what they are."""

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@cache
def _fault(text: str, held: _Held, num_classes: int) -> str:
    """What is wrong with a loss, as the end of a sentence; empty: nothing."""
    import torch
    from torch import nn

    config = held.config
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(SAMPLES) % num_classes
    inputs: list[Any]
    if config.needs == "features":
        given = torch.randn(SAMPLES, FEATURES, generator=generator).requires_grad_()
        inputs, what = [given, nn.Linear(FEATURES, num_classes), target], f"features [{SAMPLES}, {FEATURES}]"
    else:
        given = torch.randn(SAMPLES, num_classes, generator=generator).requires_grad_()
        inputs, what = [given, target], f"logits [{SAMPLES}, {num_classes}]"
    try:
        value = build_loss(config, torch.bincount(target, minlength=num_classes).clamp(min=1))(*inputs)
        if reason := _wrong_value(value):
            return reason
        value.backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"fails on {what} and target [{SAMPLES}]: {said:.300}"
    if given.grad is None or not torch.isfinite(given.grad).all():
        return f"has no finite gradient for its {what.partition(' ')[0]}; they must take part in what it computes"
    return _wrong_map(config, num_classes)


def _wrong_map(config: LossConfig, num_classes: int) -> str:
    import numpy as np

    logits = np.random.default_rng(0).standard_normal((SAMPLES, num_classes))
    try:
        p = config.probabilities(logits, np.ones(num_classes))
        if p is None:
            return ""
        right = p.shape == logits.shape and (p >= 0).all() and np.abs(p.sum(axis=1) - 1).max() < 1e-6
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"fails in probabilities, for logits [{SAMPLES}, {num_classes}]: {said:.300}"
    if not right:
        return f"must return probabilities [{SAMPLES}, {num_classes}] >= 0 that sum to 1, or None, in probabilities"
    return ""


def _wrong_value(value: "Tensor") -> str:
    import torch

    if not isinstance(value, torch.Tensor):
        return f"returns {type(value).__name__}; it must return a tensor of one number"
    if value.shape != ():
        return f"returns a tensor of shape {list(value.shape)}; it must return one number, such as its .mean()"
    if not value.requires_grad:
        return "returns a tensor without gradient; .item(), .detach(), argmax and comparisons cut it off"
    return "" if torch.isfinite(value) else f"returns {value.item()} for random logits; it must return a finite number"
