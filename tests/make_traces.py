"""Writes golden/traces.json, the losses of each network's first training steps; to be run only when numbers change."""

import json
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lossbench.config.options import ModelConfig, Normalization
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.load import load_data
from lossbench.losses.build import build_loss
from lossbench.losses.lgl_inr import LglInr
from lossbench.models.build import build_model
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18
from lossbench.system.seeds import derived_seed
from lossbench.training.optimizer import Sgd
from lossbench.training.steps import State, train_epoch, train_step

PATH = Path(__file__).parent / "golden" / "traces.json"


@dataclass
class Trace:
    """How one network is traced: in float64, for in float32 rounding grows a millionfold in a few small batches."""

    model: ModelConfig
    image_shape: list[int]  # with colour the images are augmented
    batch_size: int
    lr: float = 0.01
    num_steps: int = 20


TRACES = {
    "cnn2c": Trace(Cnn2c(), [1, 28, 28], 8),
    "cnn5c": Trace(Cnn5c(), [1, 28, 28], 4),
    "resnet18": Trace(ResNet18(), [3, 16, 16], 4),
    "mobilenetv2": Trace(MobileNetV2(), [3, 16, 16], 8, lr=1e-4, num_steps=10),  # a tenfold growth every other step
}


class InFloat64(nn.Module):
    """The network, its weights and its input in float64."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.double())
        return logits


def first_losses(trace: Trace, output_dir: str) -> list[float]:
    """LGL-INR of the first steps on digits, with the momentum of the default schedule."""
    num_train, augment = trace.batch_size * trace.num_steps, trace.image_shape[0] == 3
    dataset = Digits(
        num_train=num_train, normalization=Normalization.none, image_shape=trace.image_shape, augment=augment
    )
    schedule = Schedule(batch_size=trace.batch_size, lr=trace.lr)
    config = Config(dataset, trace.model, LglInr(), schedule, runtime=Runtime(output_dir=output_dir))
    data = load_data(config.dataset, config.runtime, torch.device("cpu"))
    seed = derived_seed(config.seed, 0, "initial weights")
    model = InFloat64(build_model(config.model, data.shape, data.num_classes, seed))
    loss, losses = build_loss(config.loss, data.class_counts), []

    def recorded(logits: Tensor, target: Tensor) -> Tensor:
        value = loss(logits, target)
        losses.append(value.item())
        return value

    state = State(model, Sgd(model, schedule), recorded, data)
    train_epoch(state, partial(train_step, state), config, 1, lambda epoch, fraction, line: None)
    return losses


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        traces = {name: first_losses(trace, folder) for name, trace in TRACES.items()}
    PATH.write_text(json.dumps(traces, indent=1) + "\n")
