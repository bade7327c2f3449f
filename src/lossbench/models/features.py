"""Parts of a network: its features and its output layer."""

from typing import TYPE_CHECKING, Any

from lossbench.config.options import LossConfig, Shape

if TYPE_CHECKING:
    from torch import nn


def num_features(layers: "nn.Module", shape: Shape) -> int:
    """Number of features that `layers` give for an input of the given shape.

    One image is passed through them: torch's meta device would also work, but its imports take seconds.
    """
    import torch

    layers.eval()
    with torch.no_grad():
        size = int(layers(torch.zeros(1, *shape)).numel())
    layers.train()
    return size


def output_layer(model: "nn.Module") -> "nn.Linear":
    """The last linear layer, whose biases appear in the paper's Eq. 8."""
    from torch import nn

    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]


def in_two_parts(model: "nn.Module", loss: LossConfig, num_classes: int, seed: int) -> "nn.Module":
    """A network split by `split`, with the output layer of the loss where it brings one.

    Args:
        model: modified.
        loss: with `needs="features"`.
        num_classes: K.
        seed: of the loss's output layer; the state of PyTorch's global generator is restored.
    """
    import torch

    parts: Any = split(model)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        own = loss.output_layer(parts.head.in_features, num_classes)
    if own is not None:
        parts.head = own
    return parts  # type: ignore[no-any-return]


def split(model: "nn.Module") -> "nn.Module":
    """Split a network into `features` and `head`, for losses that do not compute the logits of all classes.

    The features are [B, F]; the head is the output layer; calling the result gives logits [B, K] as before. The given
    network is modified.

    Raises:
        ValueError: there is no linear layer, or the last one is not the network's last layer, so that its output is not
            the logits.
    """
    from torch import Tensor, nn

    class InTwoParts(nn.Module):
        """The features and the output layer."""

        def __init__(self, features: nn.Module, head: nn.Module) -> None:
            super().__init__()
            self.features, self.head = features, head

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.features(x))
            return logits

    if not any(isinstance(layer, nn.Linear) for layer in model.modules()):
        raise ValueError("the network has no linear layer")
    head = output_layer(model)
    place = next(name for name, layer in model.named_modules() if layer is head)
    parent, _, name = place.rpartition(".")
    owner: Any = model.get_submodule(parent)
    if isinstance(owner, nn.Sequential) and list(owner.children())[-1] is not head:
        raise ValueError(f"the last linear layer, {place}, is not the last layer of the network")
    setattr(owner, name, nn.Identity())
    return InTwoParts(model, head)
