"""Run folders as training leaves them, made without training."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lossbench import NUMERICS
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import Run, open_run, to_json
from lossbench.system.files import write_bytes


def arrays(test_accuracy: float) -> dict[str, np.ndarray]:
    """The arrays of a run that was never trained."""
    counts = 1000 * np.array([[test_accuracy, 1 - test_accuracy], [0, 0]])
    return {"confusion_matrix": counts, "output_bias": np.array([0.5, -1.0], np.float32)}


ARRAYS = arrays(0.9)


def config(folder: Path, seed: int = 0) -> Config:
    return Config(Digits(), Cnn2c(), Sml(), Schedule(), seed, Runtime(output_dir=str(folder)))


def result(config: Config, test_accuracy: float = 0.9, **changes: Any) -> dict[str, Any]:
    """The record of a run that was never trained."""
    fields = {"run_id": run_id(config), "numerics": NUMERICS, "config": asdict(config)}
    fields |= {"test_accuracy": test_accuracy, "test_accuracy_best": test_accuracy, "commit": None, "precision": "fp32"}
    fields |= {"device": "cpu", "device_name": "a processor", "num_threads": 1}
    fields |= {"deterministic": False, "versions": {"torch": "2.0"}}
    curve = [test_accuracy] * config.schedule.epochs
    return fields | {"curves": {"train/accuracy": curve, "test/accuracy": curve}} | changes


def finished(folder: Path, seed: int = 0, test_accuracy: float = 0.9, **changes: Any) -> Run:
    """A finished run below `folder`, its record as given."""
    run = open_run(config(folder, seed))
    run.start(config(folder, seed))
    lines = [{"epoch": epoch, "test/accuracy": test_accuracy} for epoch in range(1, 21)]
    write_bytes(run.folder / "metrics.jsonl", b"".join(to_json(line) + b"\n" for line in lines))
    (run.folder / "result.json").unlink(missing_ok=True)  # a record is never replaced
    run.finish(result(config(folder, seed), test_accuracy, **changes), arrays(test_accuracy))
    return run


def divergence(config: Config, **changes: Any) -> dict[str, Any]:
    """What is known of a run that diverged, which was never trained."""
    fields = {"run_id": run_id(config), "numerics": NUMERICS, "config": asdict(config)}
    fields |= {"epoch": 3, "step": 7, "reason": "epoch 3, step 7: the loss sml is nan at lr 1", "commit": None}
    fields |= {"device": "cpu", "device_name": "a processor", "num_threads": 1, "precision": "fp32"}
    return fields | {"deterministic": False, "versions": {"torch": "2.0"}} | changes


def diverged(folder: Path, seed: int = 0, **changes: Any) -> Run:
    """A run below `folder` that diverged, as a sweep leaves it."""
    made = config(folder, seed)
    run = open_run(made)
    run.start(made)
    run.diverge(divergence(made, **changes))
    run.fail(f"Traceback\nFloatingPointError: {divergence(made, **changes)['reason']}")
    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its place, without locks and claims, which tell who writes."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    paths = [path for path in paths if path.parent.name != ".claim"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
