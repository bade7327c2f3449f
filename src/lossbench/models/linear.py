"""A linear network: multinomial logistic regression, if the loss is softmax."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from lossbench.config.options import ModelConfig, Shape
from lossbench.config.registry import register_model

if TYPE_CHECKING:
    from torch import nn


@register_model(label="linear")
@dataclass
class Linear(ModelConfig):
    """An output layer alone, from vectors, or from the normalised pixels of images, to logits."""

    name: str = "linear"
    prior_bias: bool = True  # the biases begin at the loss's logits of the class shares; false: random

    reads = ("vectors", "images")

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """The network from inputs [B, *shape] to logits [B, K]; its features are the inputs."""
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), num_classes))
