"""lossbench: compare classification losses fairly, and reproduce one paper's tables to show how."""

from typing import TYPE_CHECKING, Any

from lossbench.config.options import (
    DatasetConfig,
    ImageDataset,
    LossConfig,
    ModelConfig,
    Normalization,
    Sizes,
    TrainingClasses,
    require,
)
from lossbench.config.properties import Properties
from lossbench.config.registry import register_dataset, register_loss, register_model

if TYPE_CHECKING:
    from lossbench.training.weights import load_network

__all__ = [
    "NUMERICS",
    "DatasetConfig",
    "ImageDataset",
    "LossConfig",
    "ModelConfig",
    "Normalization",
    "Properties",
    "Sizes",
    "TrainingClasses",
    "__version__",
    "load_network",
    "register_dataset",
    "register_loss",
    "register_model",
    "require",
]

__version__ = "0.1.0"

NUMERICS = 2
"""Increased whenever the same config would give different numbers; part of every run's name."""


def __getattr__(name: str) -> Any:
    """`load_network`, with torch, when it is first asked for."""
    if name != "load_network":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lossbench.training.weights import load_network

    return load_network
