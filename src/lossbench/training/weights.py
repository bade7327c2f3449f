"""Weights of finished runs: what is in their file, and the network that they make. Reading them runs no code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lossbench.config.options import Shape
from lossbench.config.run import Config
from lossbench.models.build import build_model
from lossbench.models.features import in_two_parts, split
from lossbench.runs.folder import WEIGHTS, Run
from lossbench.runs.records import record_in
from lossbench.runs.restored import part_of
from lossbench.runs.weights import read_weights
from lossbench.training.evaluate import evaluate
from lossbench.training.steps import State

FORMAT = 1
"""Version of `weights.safetensors`; raised when older readers would misread it."""

METADATA = "lossbench"
"""The key of the file's metadata under which a JSON text says what the file is."""

NETWORK = "network."
"""What the names of the network's own tensors begin with."""


@dataclass(frozen=True)
class Weights:
    """What a file of weights holds."""

    run_id: str
    network: dict[str, Tensor]  # the network's state, on the CPU
    in_two_parts: bool  # the network was split into features and head
    shape: Shape  # of one input
    num_classes: int
    scale: Tensor | None  # float32 [C, 1, 1]; input = pixel (0..255) * scale + shift. None: others
    shift: Tensor | None
    class_counts: Tensor  # training samples of each class, int64 [K]
    train_predictions: Tensor  # class with the highest logit for each training sample, [N], in the data set's order


def weights_of(config: Config, run_id: str, state: State) -> bytes:
    """The content of `weights.safetensors` for a run after its last epoch.

    Args:
        config: the run.
        run_id: its name.
        state: after the last epoch.
    """
    from safetensors.torch import save

    data = state.data
    predictions = evaluate(state, data.train).predictions
    kept = {NETWORK + name: value for name, value in state.model.state_dict().items()}
    kept |= {"train.class_counts": data.class_counts}
    kept |= {"train.predictions": predictions.to(torch.uint8 if data.num_classes <= 256 else torch.int32)}
    if data.scale is not None and data.shift is not None:
        kept |= {"input.scale": data.scale, "input.shift": data.shift}
    facts = {
        "format": FORMAT,
        "run_id": run_id,
        **config.parts(),
        "shape": list(data.shape),
        "num_classes": data.num_classes,
        "in_two_parts": state.by_features,
    }
    metadata = {METADATA: json.dumps(facts)}  # one text: safetensors writes several in a random order
    # Copies: no two may share memory, and each must be contiguous.
    tensors = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in kept.items()}
    return save(tensors, metadata)


def check_savable(model: nn.Module) -> None:
    """Refuse a network whose state is more than tensors, before it is trained.

    Raises:
        ValueError: it has a state of another kind, which a file of tensors cannot hold.
    """
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"runtime.save_weights: the network's state has {name}, a {type(value).__name__}, and only tensors are "
                "saved; remove it from the network, or train without runtime.save_weights"
            )


def weights_in(folder: Path, record: Mapping[str, Any]) -> Weights:
    """The weights in a run's folder.

    Args:
        folder: of the run.
        record: its fields.

    Raises:
        ValueError: the run has none, or the file is not the one that it wrote.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path, content = folder / WEIGHTS, read_weights(folder, record)
    try:
        size = int.from_bytes(content[:8], "little")  # of the header, a JSON text
        facts = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][METADATA])
        version, named = facts["format"], facts["run_id"]
        if version != FORMAT:
            raise ValueError(f"its format is {version!a:.40}, and this lossbench reads {FORMAT}")
        if named != record["run_id"]:
            raise ValueError(f"it holds the weights of {named!a:.200}")
        tensors = load(content)
        return Weights(
            named,
            {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)},
            bool(facts["in_two_parts"]),
            tuple(map(int, facts["shape"])),
            int(facts["num_classes"]),
            tensors.get("input.scale"),
            tensors.get("input.shift"),
            tensors["train.class_counts"],
            tensors["train.predictions"],
        )
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} cannot be used ({reason:.200}); restore it, or remove the run") from error


def network_of(record: Mapping[str, Any], weights: Weights) -> nn.Module:
    """A run's network with its weights, on the CPU: from normalised inputs to logits [B, K].

    Raises:
        ValueError: the network's plugin is not loaded or has changed, or the weights do not fit.
    """
    model = build_model(part_of(record, "model"), weights.shape, weights.num_classes, seed=0)
    if weights.in_two_parts:
        has_own_layer = "head.weight" not in weights.network  # the loss's, which a plain one need not know
        model = in_two_parts(model, part_of(record, "loss"), weights.num_classes, 0) if has_own_layer else split(model)
    set_weights(model, weights)
    return model.to(memory_format=torch.channels_last)


def set_weights(model: nn.Module, weights: Weights) -> None:
    """Give a network the weights of a run.

    Raises:
        ValueError: the run has another network.
    """
    try:
        model.load_state_dict(weights.network)
    except RuntimeError as error:
        raise ValueError(f"the weights of {weights.run_id} are those of another network than this one") from error


class Network(nn.Module):
    """A trained network that normalises its input by itself, with the constants of its training.

    Args:
        network: from normalised inputs to logits [N, K].
        weights: those that it has.

    Attributes:
        network: the same; call it with inputs that are normalised already.
        run_id: name of the run.
        shape: of one input: channels, height and width of an image; the length of a text or vector.
        num_classes: K.
        scale: float32 [C, 1, 1]; the network sees pixel (0..255) * scale + shift. None for others.
        shift: likewise.
    """

    scale: Tensor | None
    shift: Tensor | None

    def __init__(self, network: nn.Module, weights: Weights) -> None:
        super().__init__()
        self.network, self.run_id = network, weights.run_id
        self.shape, self.num_classes = weights.shape, weights.num_classes
        self.register_buffer("scale", weights.scale)
        self.register_buffer("shift", weights.shift)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K].

        Args:
            images: [N, C, H, W], uint8 in 0..255 or floats in 0..1; of a data set of tokens int64 [N, L], of
                vectors float32 [N, F].

        Raises:
            ValueError: they have another type, shape or range.
        """
        if images.ndim != len(self.shape) + 1 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"{self.run_id} takes inputs of shape [N, {_listed(self.shape)}], got {[*images.shape]}")
        logits: Tensor = self.network(self.inputs(images))
        return logits

    def inputs(self, images: Tensor) -> Tensor:
        """What the network sees: images normalised, float32 [N, C, H, W]; others as they are."""
        if self.scale is None or self.shift is None:
            return images
        if images.dtype == torch.uint8:
            pixels = images.to(torch.float32)
        elif images.is_floating_point():
            low, high = torch.aminmax(images.detach()) if len(images) else (0.0, 0.0)
            if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
                raise ValueError(f"float images must be in 0..1, got values from {low:g} to {high:g}")
            pixels = images.to(torch.float32) * 255
        else:
            raise ValueError(f"images must be uint8 in 0..255 or floats in 0..1, got {images.dtype}")
        return (pixels * self.scale + self.shift).contiguous(memory_format=torch.channels_last)


TOLERANCE = 1e-3
"""How far floats may be outside of 0..1, as after a resize."""


def _listed(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def load_network(run: str | Path) -> Network:
    """The network of a finished run that was trained with `runtime.save_weights=true`.

    It is on the CPU, in evaluation mode, and computes in float32. It takes images as they are, uint8 [N, C, H, W] in
    0..255 or floats in 0..1, and returns logits [N, K]. No code in any file of the run is run.

    Args:
        run: the run's folder, such as "outputs/runs/digits-cnn2c-sml-s0-896cbcc6".

    Raises:
        ValueError: the folder is not that of a finished run, the run has no weights, their file is not the one that the
            run wrote, or the network's plugin is not loaded or has changed.
    """
    folder = Path(run).expanduser()
    if not Run(folder).finished:
        raise ValueError(f"there is no finished run in {folder}; name a run's folder, with its result.json")
    record = record_in(folder).fields
    weights = weights_in(folder, record)
    return Network(network_of(record, weights), weights).eval()
