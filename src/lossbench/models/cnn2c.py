"""CNN2C of the paper's Table 2."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.config.options import ModelConfig, Shape, Words
from lossbench.config.registry import register_model
from lossbench.models.features import num_features

if TYPE_CHECKING:
    from torch import nn


class Head(Words):
    """Layers after CNN2C's 800 features."""

    hidden = "hidden"  # 800-500-10, as in PyTorch's public MNIST example of 2019
    direct = "direct"  # 800-10, as printed in Table 2


@register_model(label="CNN2C")
@dataclass
class Cnn2c(ModelConfig):
    """CNN2C of Table 2: two convolutions; 431,080 parameters for ten classes, 33,580 with the direct head."""

    name: str = "cnn2c"
    head: Head = Head.hidden

    reads = "images"

    def smallest_side(self) -> int:
        """Smallest height and width of an image, in pixels."""
        return 16

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """CNN2C of Table 2: CV(C20K5S1)-MP(K2S2)-CV(C50K5S1)-MP(K2S2)-800-10; images of 28 x 28 give 800 features.

        Deviations: the default head is 800-500-10, as in PyTorch's public MNIST example of 2019, which has the paper's
        channels, kernels and hyper-parameters; `head=direct` is the table as printed. The table does not print ReLU.
        """
        from torch import nn

        features = nn.Sequential(
            *(nn.Conv2d(shape[0], 20, 5), nn.MaxPool2d(2), nn.ReLU()),  # ReLU after the pooling:
            *(nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU()),  # the same result with a quarter of the work
        )
        size = num_features(features, shape)
        if self.head is Head.direct:
            head: list[nn.Module] = [nn.Linear(size, num_classes)]
        else:
            head = [nn.Linear(size, 500), nn.ReLU(), nn.Linear(500, num_classes)]
        return nn.Sequential(*features, nn.Flatten(), *head)
