"""Runs in every state, as the `lossbench` command finds them, made without training."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from click.testing import Result

from lossbench import NUMERICS
from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Runtime, Schedule, name_of
from lossbench.data.digits import Digits
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import Run, runs_dir

EPOCHS = 3
CONFUSION = np.array([[25, 75], [65, 35]])
Made = dict[str, Run]
Invoke = Callable[..., Result]


def make_run(folder: Path, loss: LossConfig, seed: int, epochs: int, numerics: int = NUMERICS) -> Run:
    """A run that stands after so many epochs, its test accuracy 0.1 for each; finished where that is all."""
    config = Config(Digits(), Cnn2c(), loss, Schedule(epochs=EPOCHS), seed, Runtime(output_dir=str(folder)))
    run = Run(runs_dir(folder) / name_of(asdict(config), numerics))
    run.start(config)
    for epoch in range(1, epochs + 1):
        run.append_metrics({"epoch": epoch, "test/accuracy": epoch / 10, "test/class_accuracy": [0.25, 0.75]})
    if epochs == EPOCHS:
        record = {"run_id": run.id, "numerics": numerics, "config": asdict(config), "test_accuracy": 0.3}
        record |= {"test_accuracy_best": 0.5, "test_loss": 1.5, "device": "cpu", "device_name": "a processor"}
        record |= {"num_threads": 1, "precision": "fp32", "deterministic": False, "versions": {"torch": "2.0"}}
        record |= {"curves": {"train/accuracy": [0.4, 0.5, 0.6], "test/accuracy": [0.1, 0.5, 0.3]}}
        run.finish(record | {"wall_s": 60.0 + seed, "commit": None}, {"confusion_matrix": CONFUSION})
    return run


def make_all() -> Made:
    """One run of each kind below `outputs` of the present folder."""
    outputs = Path("outputs")
    runs = {
        "finished": make_run(outputs, Sml(), 2, EPOCHS),
        "other": make_run(outputs, LglInr(beta=2.0), 10, EPOCHS),
        "superseded": make_run(outputs, Sml(), 3, EPOCHS, NUMERICS - 1),
        "failed": make_run(outputs, Sml(), 4, 1),
        "stopped": make_run(outputs, Sml(), 5, 2),
    }
    runs["failed"].fail("Traceback\nFloatingPointError: the loss is nan")
    return runs
