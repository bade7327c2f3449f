"""lossbench: compare classification losses fairly, and reproduce one paper's tables to show how."""

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
from lossbench.config.registry import register_dataset, register_loss, register_model

__all__ = [
    "NUMERICS",
    "DatasetConfig",
    "ImageDataset",
    "LossConfig",
    "ModelConfig",
    "Normalization",
    "Sizes",
    "TrainingClasses",
    "__version__",
    "register_dataset",
    "register_loss",
    "register_model",
    "require",
]

__version__ = "0.1.0"

NUMERICS = 2
"""Increased whenever the same config would give different numbers; part of every run's name."""
