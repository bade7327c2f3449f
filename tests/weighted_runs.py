"""Runs that save their weights, and what tests of them share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.lgl_inr import LglInr
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.runs.records import record_in
from lossbench.training.evaluate_run import RunEvaluation, evaluate_run
from lossbench.training.fit import fit

CPU = Runtime(device="cpu")


def config(folder: Path, seed: int = 0, **changes: Any) -> Config:
    """A run of one epoch that saves its weights."""
    runtime = Runtime("cpu", str(folder), num_threads=1, parallel=1, tensorboard=False, save_weights=True)
    one = Config(Digits(num_train=96), Cnn2c(), LglInr(), Schedule(epochs=1, batch_size=16), seed, runtime)
    return replace(one, **changes)


def evaluated(made: Config) -> RunEvaluation:
    """The run of a config on its own test samples, on the processor."""
    folder = open_run(made).folder
    return evaluate_run(record_in(folder), folder, None, replace(CPU, output_dir=made.runtime.output_dir))


def raw_test_images(made: Config) -> Tensor:
    """As the data set has them, uint8 [N, C, H, W]."""
    return torch.from_numpy(np.array(made.dataset.read(made.runtime)["test_images"]))


def make_trained(outputs: Path) -> Path:
    """One run with weights, seed 0, and one without, seed 1, below a folder."""
    with_weights, without = config(outputs), config(outputs, seed=1)
    without.runtime.save_weights = False
    for one in (with_weights, without):
        fit(one, open_run(one))
    return outputs


def command(made: Config) -> list[str]:
    """The overrides that make a config of this file."""
    words = ["dataset=digits", "dataset.num_train=96", "loss=lgl_inr", "schedule.epochs=1", "schedule.batch_size=16"]
    return [*words, f"seed={made.seed}", "runtime.device=cpu", "runtime.tensorboard=false"]
