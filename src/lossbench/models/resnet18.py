"""ResNet-18 with the stem usual for small images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lossbench.config.options import ModelConfig, Shape
from lossbench.config.registry import register_model

if TYPE_CHECKING:
    from torch import nn


@register_model(label="ResNet-18")
@dataclass
class ResNet18(ModelConfig):
    """ResNet-18 with the CIFAR stem (3 x 3, stride 1, no pooling); 11,173,962 parameters for ten classes."""

    name: str = "resnet18"

    reads = "images"

    def smallest_side(self) -> int:
        """Smallest height and width of an image, in pixels."""
        return 9

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """ResNet-18 (He et al. 2016): torchvision's with the stem usual for 32 x 32 images."""
        from torch import nn
        from torchvision.models import resnet18 as torchvision_resnet18

        model = torchvision_resnet18(num_classes=num_classes)
        model.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
        assert isinstance(model, nn.Module)
        return model
