"""Writes golden/losses.json, value and gradient of each loss with each option; to be run only when numbers change."""

import json
from pathlib import Path

import torch
from torch import Tensor

from lossbench.config.options import LossConfig
from lossbench.config.registry import LOSSES
from lossbench.losses.build import build_loss

PATH = Path(__file__).parent / "golden" / "losses.json"
LOGITS = torch.tensor(
    [
        [2.0, -1.0, 0.5, 0.0],
        [0.1, 0.2, -3.0, 1.5],
        [-0.7, 4.0, 1.0, -2.0],
        [0.0, 0.3, 0.6, -0.9],
        [6.0, 5.0, -4.0, 2.5],
    ],
    dtype=torch.float64,
)
TARGET = torch.tensor([0, 3, 1, 1, 0])
COUNTS = torch.tensor([40, 10, 30, 20])


def value_and_gradient(config: LossConfig) -> dict[str, object]:
    """Loss and gradient of a fixed batch in which a class is absent."""
    logits: Tensor = LOGITS.clone().requires_grad_()
    loss = build_loss(config, COUNTS)(logits, TARGET)
    (gradient,) = torch.autograd.grad(loss, logits)
    return {"loss": loss.item(), "gradient": gradient.tolist()}


if __name__ == "__main__":
    from test_losses import CONFIGS, words

    first = {config.name for config in CONFIGS}
    configs = [
        *CONFIGS,
        *(facts.options() for name, facts in LOSSES.items() if name not in first and facts.options.needs == "logits"),
    ]
    PATH.write_text(json.dumps({words(config): value_and_gradient(config) for config in configs}, indent=1) + "\n")
