"""Which network? A builder a name; any image shape and number of classes."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lossbench.config.run import Cnn2c, Cnn5c, ModelConfig
from lossbench.config.words import Head, Init, Padding

Shape = tuple[int, int, int]
"""Channels, height, width of an image."""


def num_features(layers: nn.Module, shape: Shape) -> int:
    """Features that come out of `layers` for an image of the given shape.

    One image goes through for real: torch's meta device would do as well, but importing what it needs takes seconds.
    """
    layers.eval()
    with torch.no_grad():
        size = int(layers(torch.zeros(1, *shape)).numel())
    layers.train()
    return size


def cnn2c(config: ModelConfig, shape: Shape, num_classes: int) -> nn.Module:
    """CNN2C of Table 2: CV(C20K5S1)-MP(K2S2)-CV(C50K5S1)-MP(K2S2)-800-10, 28 x 28 giving 800 features.

    Deviation: the default head is 800-500-10, as in PyTorch's public MNIST example of 2019, which has the paper's
    channels, kernels and every hyper-parameter; `head=direct` is the table as printed. ReLU is not printed either.
    """
    assert isinstance(config, Cnn2c)
    features = nn.Sequential(
        *(nn.Conv2d(shape[0], 20, 5), nn.MaxPool2d(2), nn.ReLU()),  # ReLU and maximum may change places:
        *(nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU()),  # the same numbers, a quarter of the work
    )
    size = num_features(features, shape)
    if config.head is Head.direct:
        head: list[nn.Module] = [nn.Linear(size, num_classes)]
    else:
        head = [nn.Linear(size, 500), nn.ReLU(), nn.Linear(500, num_classes)]
    return nn.Sequential(*features, nn.Flatten(), *head)


_PADDINGS = {
    Padding.first: ((1, 0, 0, 0, 0), 8),
    Padding.second: ((0, 1, 0, 0, 0), 8),
    Padding.third: ((0, 0, 1, 0, 0), 8),
    Padding.valid_k7: ((0, 0, 0, 0, 0), 7),
    Padding.same_adaptive: ((1, 1, 1, 1, 1), None),
}
"""Padding of each convolution, and the side of the last pooling; None: it takes the whole map."""


def cnn5c(config: ModelConfig, shape: Shape, num_classes: int) -> nn.Module:
    """CNN5C of Table 2: five 3 x 3 convolutions, batch normalisation after the first, second and fourth, 512-10.

    Deviation: as printed the sizes do not end in 512 features; `padding` names the readings under which they do
    (default: the first convolution is padded by 1). ReLU is not printed.
    """
    assert isinstance(config, Cnn5c)
    pads, side = _PADDINGS[config.padding]
    whole = shape[1] // 2, shape[2] // 2  # where all is padded; adaptive pooling has no deterministic gradient on a GPU
    last_pool = nn.MaxPool2d(side or whole, 1)
    features = nn.Sequential(
        *(nn.Conv2d(shape[0], 32, 3, padding=pads[0]), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=pads[1]), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.Conv2d(64, 128, 3, padding=pads[2]), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(128, 256, 3, padding=pads[3]), nn.BatchNorm2d(256), nn.ReLU()),
        *(nn.Conv2d(256, 512, 3, padding=pads[4]), last_pool, nn.ReLU()),
    )
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(num_features(features, shape), num_classes))


def resnet18(config: ModelConfig, shape: Shape, num_classes: int) -> nn.Module:
    """ResNet-18 (He et al. 2016) on torchvision's module, with the stem that is usual for 32 x 32 images."""
    from torchvision.models import resnet18 as torchvision_resnet18

    model = torchvision_resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    assert isinstance(model, nn.Module)
    return model


class InvertedResidual(nn.Module):
    """MobileNetV2's block as in the public implementation of 2019: expansion also at ratio 1, projection shortcuts.

    Its signature is the one torchvision's MobileNetV2 asks of a block.
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


def mobilenetv2(config: ModelConfig, shape: Shape, num_classes: int) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018) for 32 x 32 images on torchvision's module: strides 1,1,2,2,1,2,1, ReLU.

    Deviation: the paper cites MobileNet V1 for it; its "publicly available implementation" is taken to be the one for
    CIFAR-10 that was public in 2019, with projection shortcuts at stride 1, which torchvision's block does not have.
    """
    from torchvision.models.mobilenetv2 import MobileNetV2 as TorchvisionMobileNetV2
    from torchvision.ops.misc import Conv2dNormActivation

    blocks = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
    model = TorchvisionMobileNetV2(num_classes, inverted_residual_setting=blocks, block=InvertedResidual, dropout=0.0)
    model.features[0] = Conv2dNormActivation(shape[0], 32, kernel_size=3)
    model.features[-1] = Conv2dNormActivation(320, 1280, kernel_size=1)
    assert isinstance(model, nn.Module)
    return model


MODELS: dict[str, Callable[[ModelConfig, Shape, int], nn.Module]] = {
    "cnn2c": cnn2c,
    "cnn5c": cnn5c,
    "resnet18": resnet18,
    "mobilenetv2": mobilenetv2,
}


def check_shape(config: ModelConfig, shape: Shape) -> None:
    """Refuse images that would be nothing, or a single pixel for batch normalisation, before a network's last layer.

    Raises:
        ValueError: a side is too short.
    """
    smallest = {"cnn2c": 16, "cnn5c": 28, "resnet18": 9, "mobilenetv2": 9}.get(config.name, 1)
    if isinstance(config, Cnn5c) and config.padding is Padding.same_adaptive:
        smallest = 4
    if min(shape[1:]) < smallest:
        raise ValueError(
            f"model={config.name} needs images of at least {smallest} x {smallest} pixels, and the data set's have "
            f"{shape[1]} x {shape[2]}; enlarge them, or choose another network"
        )


def build_model(config: ModelConfig, shape: Shape, num_classes: int, seed: int) -> nn.Module:
    """The network that a config names, on the CPU, its initial weights a function of `seed` alone.

    Args:
        config: the network and its options.
        shape: channels, height, width of an image.
        num_classes: outputs, >= 2.
        seed: of the initial weights; the global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = MODELS[config.name](config, shape, num_classes)
        torch.default_generator.manual_seed(seed)  # what a builder drew before its layers were replaced does not count
        model.apply(_initialise if config.init is Init.default else _initialise_he_fan_out)
    return model


def _initialise(layer: nn.Module) -> None:
    """PyTorch's own initialisation, also where torchvision's networks bring another."""
    if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
        layer.reset_parameters()


def _initialise_he_fan_out(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.01)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def output_layer(model: nn.Module) -> nn.Linear:
    """The last linear layer, whose biases the paper's Eq. 8 is about."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]


def count_parameters(model: nn.Module) -> int:
    """Trained numbers of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops_per_image(config: ModelConfig, shape: Shape, num_classes: int) -> tuple[float, float]:
    """Floating-point operations an image, forward and in a training step, counted as one image goes through.

    Direct convolution: products and sums count one each, and only convolutions and matrix products count. A training
    step is the forward pass thrice, less the gradient of the images, which nobody needs.
    """
    model = build_model(config, shape, num_classes, seed=0).eval()
    counts: list[float] = []

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            counts.append(2.0 * output.numel() * layer.weight[0].numel())

    for layer in model.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    return sum(counts), 3 * sum(counts) - counts[0]


class Layer(NamedTuple):
    """A row of Table 2: a layer as the paper writes it, what comes out of it for one image, its trained numbers."""

    text: str
    shape: tuple[int, ...]  # channels, height, width; or features
    num_parameters: int


def describe(config: ModelConfig, shape: Shape, num_classes: int) -> list[Layer]:
    """The layers of a network as Table 2 writes them, with computed shapes and sizes, in the order they are passed.

    As in the paper, C is channels, K kernel size, S stride, BN batch normalisation, MP max pooling, a number so many
    features; P is padding where there is any, AP average pooling. A block of a larger network is one row, by its name.
    """
    model = build_model(config, shape, num_classes, seed=0).eval()
    rows: list[Layer] = []

    def note(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        rows.append(Layer(_written(layer, output), tuple(output.shape[1:]), count_parameters(layer)))

    pending = list(model.children())
    while pending:
        layer = pending.pop()
        if isinstance(layer, nn.Sequential):
            pending += layer.children()
        elif not isinstance(layer, (nn.Identity, nn.Dropout)):
            layer.register_forward_hook(note)
    with torch.no_grad():
        model(torch.zeros(1, *shape))  # for real, as in num_features
    return rows


def _written(layer: nn.Module, output: Tensor) -> str:
    match layer:
        case nn.Conv2d():
            padding = f"P{layer.padding[0]}" if layer.padding[0] else ""
            return f"CV(C{layer.out_channels}K{layer.kernel_size[0]}S{layer.stride[0]}{padding})"
        case nn.MaxPool2d(kernel_size=(_, _)):
            return "MP(global)"
        case nn.MaxPool2d():
            return f"MP(K{layer.kernel_size}S{layer.stride})"
        case nn.AdaptiveAvgPool2d():
            return "AP(global)"
        case nn.BatchNorm2d():
            return "BN"
        case nn.Linear() | nn.Flatten():
            return str(output.shape[1])
    return type(layer).__name__
