"""MobileNetV2 for small images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lossbench.config.options import ModelConfig, Shape
from lossbench.config.registry import register_model

if TYPE_CHECKING:
    from torch import nn


@register_model(label="MobileNetV2")
@dataclass
class MobileNetV2(ModelConfig):
    """MobileNetV2 for 32 x 32 images, as in the public code of 2019; 2,296,922 parameters for ten classes."""

    name: str = "mobilenetv2"

    reads = "images"

    def smallest_side(self) -> int:
        """Smallest height and width of an image, in pixels."""
        return 9

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """MobileNetV2 (Sandler et al. 2018) for 32 x 32 images: torchvision's with strides 1,1,2,2,1,2,1 and ReLU.

        Deviation: the paper cites MobileNet V1 for it. We take its "publicly available implementation" to be the one
        for CIFAR-10 that was public in 2019, with projection shortcuts at stride 1, which torchvision's block lacks.
        """
        from torch import nn
        from torchvision.models.mobilenetv2 import MobileNetV2 as TorchvisionMobileNetV2
        from torchvision.ops.misc import Conv2dNormActivation

        blocks = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2]]
        blocks += [[6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
        block = inverted_residual()
        model = TorchvisionMobileNetV2(num_classes, inverted_residual_setting=blocks, block=block, dropout=0.0)
        model.features[0] = Conv2dNormActivation(shape[0], 32, kernel_size=3)
        model.features[-1] = Conv2dNormActivation(320, 1280, kernel_size=1)
        assert isinstance(model, nn.Module)
        return model


def inverted_residual() -> Any:
    """The class of the network's blocks; defined in a function so that importing this module needs no torch."""
    from torch import Tensor, nn

    class InvertedResidual(nn.Module):
        """MobileNetV2's block as in the public implementation of 2019: expansion also at ratio 1, projection shortcuts.

        It has the signature that torchvision's MobileNetV2 requires of a block.
        """

        def __init__(
            self,
            inp: int,
            oup: int,
            stride: int,
            expand_ratio: int,
            norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
        ) -> None:
            super().__init__()
            hidden = inp * expand_ratio
            self.layers = nn.Sequential(
                *(nn.Conv2d(inp, hidden, 1, bias=False), norm_layer(hidden), nn.ReLU()),
                *(nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), norm_layer(hidden), nn.ReLU()),
                *(nn.Conv2d(hidden, oup, 1, bias=False), norm_layer(oup)),
            )
            self.shortcut: nn.Module | None = None
            if stride == 1:
                same = inp == oup
                self.shortcut = (
                    nn.Identity() if same else nn.Sequential(nn.Conv2d(inp, oup, 1, bias=False), norm_layer(oup))
                )

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layers(x)
            return y if self.shortcut is None else y + self.shortcut(x)

    return InvertedResidual
