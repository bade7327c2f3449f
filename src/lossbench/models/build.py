"""Building, initialising, counting and describing the network of a run."""

from typing import TYPE_CHECKING, NamedTuple

from lossbench.config.options import Init, ModelConfig, Shape

if TYPE_CHECKING:
    from torch import Tensor, nn


GOES_WITH = {"images": ("dataset=digits", "model=cnn2c"), "words": ("dataset=words", "model=word2next")}
GOES_WITH["vectors"] = ("dataset=gaussian_classes", "model=linear")
"""A data set and a network for each kind of input."""


def kind_of(shape: Shape) -> str:
    """The kind of inputs of a shape where nothing else says it: "images" or "words"."""
    return "images" if len(shape) == 3 else "words"


def check_shape(config: ModelConfig, shape: Shape, gives: str | None = None) -> None:
    """Check that a network can read the inputs of a data set.

    Args:
        config: the network's options.
        shape: of one input.
        gives: what the inputs are, "images", "words" or "vectors"; None: images if the shape is one of images.

    Raises:
        ValueError: it reads inputs of another kind; or images are smaller in height or width than its `smallest_side`.
    """
    given = gives or kind_of(shape)
    reads = (config.reads,) if isinstance(config.reads, str) else config.reads
    if reads is not None and given not in reads:
        fitting = [GOES_WITH[kind][0] for kind in reads if kind in GOES_WITH]
        other = GOES_WITH[given][1] if given in GOES_WITH and reads == ("images",) else " or ".join(fitting)
        known = " and ".join(reads)
        raise ValueError(f"model={config.name} reads {known}, but the data set is of {given}; {other} goes with it")
    smallest = config.smallest_side()
    if len(shape) == 3 and min(shape[1:]) < smallest:
        raise ValueError(
            f"model={config.name} needs images of at least {smallest} x {smallest} pixels, but the data set's have "
            f"{shape[1]} x {shape[2]}; enlarge them, or choose another network"
        )


def example(shape: Shape, gives: str | None = None) -> "Tensor":
    """A batch of one input, all zeros: an image, float32 [1, C, H, W]; tokens, int64 [1, L]; a vector, float32 [1, F].

    Args:
        shape: of one input.
        gives: as in `check_shape`.
    """
    import torch

    return torch.zeros(1, *shape, dtype=torch.int64 if (gives or kind_of(shape)) == "words" else torch.float32)


def build_model(config: ModelConfig, shape: Shape, num_classes: int, seed: int) -> "nn.Module":
    """Build the network of a config on the CPU; its initial weights depend on `seed` alone.

    Args:
        config: the network's options.
        shape: shape of one input.
        num_classes: number of outputs, >= 2.
        seed: of the initial weights; the state of PyTorch's global generator is restored.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = config.build(shape, num_classes)
        torch.default_generator.manual_seed(seed)  # the weights do not depend on draws made while building
        model.apply(_initialise if config.init is Init.default else _initialise_he_fan_out)
    return model


def _initialise(layer: "nn.Module") -> None:
    """Apply PyTorch's default initialisation, also to torchvision's networks, which use another."""
    from torch import nn

    if isinstance(layer, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
        layer.reset_parameters()


def _initialise_he_fan_out(layer: "nn.Module") -> None:
    from torch import nn

    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.01)
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def count_parameters(model: "nn.Module") -> int:
    """Number of trained parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


class Counts(NamedTuple):
    """What a network computes for one sample, and its size.

    Args:
        forward: floating-point operations of the forward pass. Only convolutions, computed directly, and matrix
            products count; a product and a sum are one operation each.
        step: those of a training step: three forward passes less the gradient with respect to the inputs, which is not
            computed.
        outputs: numbers that all layers give in the forward pass.
        layers: how many layers there are, without containers.
        weights: trained parameters without those of embeddings, of which a step reads and changes a few rows.
        features: inputs of the last linear layer; 0 if there is none.
        head: operations of that layer's forward pass.
    """

    forward: float
    step: float
    outputs: int
    layers: int
    weights: int
    features: int
    head: float


def flops_per_image(
    config: ModelConfig, shape: Shape, num_classes: int, gives: str | None = None
) -> tuple[float, float]:
    """Floating-point operations for one image, in the forward pass and in a training step; see `Counts`."""
    found = counted(config, shape, num_classes, gives)
    return found.forward, found.step


def counted(config: ModelConfig, shape: Shape, num_classes: int, gives: str | None = None) -> Counts:
    """Counts of a network for one sample; `gives` is what the inputs are, as in `check_shape`."""
    import torch
    from torch import nn

    model = build_model(config, shape, num_classes, seed=0).eval()
    counts: list[float] = []
    outputs: list[int] = []

    def count(layer: "nn.Module", inputs: "tuple[Tensor]", output: "Tensor") -> None:
        if not list(layer.children()):
            outputs.append(output.numel())
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            counts.append(2.0 * output.numel() * layer.weight[0].numel())

    for layer in model.modules():
        layer.register_forward_hook(count)
    with torch.no_grad():
        model(example(shape, gives))
    embedded = sum(count_parameters(layer) for layer in model.modules() if isinstance(layer, nn.Embedding))
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    features, head = (linear[-1].in_features, 2.0 * linear[-1].weight.numel()) if linear else (0, 0.0)
    weights = count_parameters(model) - embedded
    return Counts(sum(counts), 3 * sum(counts) - counts[0], sum(outputs), len(outputs), weights, features, head)


class Layer(NamedTuple):
    """A row of Table 2: a layer as the paper writes it, its output for one image, and its trained parameters."""

    text: str
    shape: tuple[int, ...]  # of the output: channels, height, width; or features
    num_parameters: int


def describe(config: ModelConfig, shape: Shape, num_classes: int) -> list[Layer]:
    """The layers of a network as Table 2 writes them, in the order of the forward pass, with shapes and parameters.

    As in the paper, C is channels, K kernel size, S stride, BN batch normalisation, MP max pooling, and a number alone
    is a number of features. In addition P is padding, if any, and AP average pooling. A block of a larger network is
    one row with the block's name.
    """
    import torch
    from torch import nn

    model = build_model(config, shape, num_classes, seed=0).eval()
    rows: list[Layer] = []

    def note(layer: "nn.Module", inputs: "tuple[Tensor]", output: "Tensor") -> None:
        rows.append(Layer(_written(layer, output), tuple(output.shape[1:]), count_parameters(layer)))

    pending = list(model.children())
    while pending:
        layer = pending.pop()
        if isinstance(layer, nn.Sequential):
            pending += layer.children()
        elif not isinstance(layer, (nn.Identity, nn.Dropout)):
            layer.register_forward_hook(note)
    with torch.no_grad():
        model(example(shape))
    return rows


def _written(layer: "nn.Module", output: "Tensor") -> str:
    from torch import nn

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
