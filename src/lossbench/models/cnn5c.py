"""CNN5C of the paper's Table 2."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.config.options import ModelConfig, Shape, Words
from lossbench.config.registry import register_model
from lossbench.models.features import num_features

if TYPE_CHECKING:
    from torch import nn


class Padding(Words):
    """Readings of Table 2 under which CNN5C ends in 512 features."""

    first = "first"  # one pixel around the input of convolution 1
    second = "second"  # ... of convolution 2
    third = "third"  # ... of convolution 3
    valid_k7 = "valid_k7"  # none, and the last pooling is 7x7
    same_adaptive = "same_adaptive"  # one pixel everywhere, and the last pooling covers the entire map


_PADDINGS = {
    Padding.first: ((1, 0, 0, 0, 0), 8),
    Padding.second: ((0, 1, 0, 0, 0), 8),
    Padding.third: ((0, 0, 1, 0, 0), 8),
    Padding.valid_k7: ((0, 0, 0, 0, 0), 7),
    Padding.same_adaptive: ((1, 1, 1, 1, 1), None),
}
"""Padding of each convolution and side of the last pooling, in pixels; None: the entire map."""


@register_model(label="CNN5C")
@dataclass
class Cnn5c(ModelConfig):
    """CNN5C of Table 2: five convolutions, three of them batch-normalised; 1,573,834 parameters for ten classes."""

    name: str = "cnn5c"
    padding: Padding = Padding.first

    reads = "images"

    def smallest_side(self) -> int:
        """Smallest height and width of an image, in pixels; less if every convolution is padded."""
        return 4 if self.padding is Padding.same_adaptive else 28

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """CNN5C of Table 2: five 3 x 3 convolutions, batch normalisation after the first, second and fourth, 512-10.

        Deviations: the sizes as printed do not end in 512 features; `padding` chooses among the readings under which
        they do (default: the first convolution is padded by 1). The table does not print ReLU.
        """
        from torch import nn

        pads, side = _PADDINGS[self.padding]
        # With padding everywhere this is the entire map; adaptive pooling has no deterministic gradient on a GPU.
        entire = (shape[1] // 2, shape[2] // 2)
        last_pool = nn.MaxPool2d(side or entire, 1)
        features = nn.Sequential(
            *(nn.Conv2d(shape[0], 32, 3, padding=pads[0]), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, padding=pads[1]), nn.BatchNorm2d(64), nn.ReLU()),
            *(nn.Conv2d(64, 128, 3, padding=pads[2]), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(128, 256, 3, padding=pads[3]), nn.BatchNorm2d(256), nn.ReLU()),
            *(nn.Conv2d(256, 512, 3, padding=pads[4]), last_pool, nn.ReLU()),
        )
        return nn.Sequential(*features, nn.Flatten(), nn.Linear(num_features(features, shape), num_classes))
