"""Runs of several losses, options and fates, with invented accuracies, for tables of runs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_runs
from made_runs import arrays, divergence, result

from lossbench.config.options import DatasetConfig, LossConfig
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import Run, open_run, to_json
from lossbench.system.files import write_bytes

OUTPUTS = Path("outputs")


def config(
    loss: LossConfig, seed: int = 0, lr: float = 0.01, dataset: DatasetConfig | None = None, **runtime: Any
) -> Config:
    made = made_runs.config(OUTPUTS, seed)
    return replace(
        made,
        loss=loss,
        schedule=Schedule(lr=lr),
        dataset=dataset or Digits(),
        model=Cnn2c(),
        runtime=Runtime(output_dir=str(OUTPUTS), **runtime),
    )


def add(made: Config, accuracy: float, given: Mapping[str, Any] | None = None, **changes: Any) -> Run:
    """A finished run; `given` are its arrays."""
    run = open_run(made)
    run.start(made)
    lines = [{"epoch": epoch, "test/accuracy": accuracy} for epoch in range(1, 21)]
    write_bytes(run.folder / "metrics.jsonl", b"".join(to_json(line) + b"\n" for line in lines))
    (run.folder / "result.json").unlink(missing_ok=True)  # a record is never replaced
    run.finish(result(made, accuracy, **changes), given or arrays(accuracy))
    return run


def diverge(made: Config) -> None:
    run = open_run(made)
    run.start(made)
    run.diverge(divergence(made))


def stop(made: Config, reason: str | None = None) -> None:
    """A run that was stopped, or failed for a reason."""
    run = open_run(made)
    run.start(made)
    if reason:
        run.fail(reason)


def make_table() -> None:
    """SML and two betas of LGL-INR: 8 finished runs, one that diverged, one that failed and one that is unfinished."""
    for seed, (sml, one, four) in enumerate([(0.90, 0.91, 0.93), (0.92, 0.94, 0.92), (0.94, 0.96, 0.94)]):
        add(config(Sml(), seed), sml)
        add(config(LglInr(beta=1.0), seed), one)
        if seed < 2:
            add(config(LglInr(beta=4.0), seed), four)
    diverge(config(LglInr(beta=4.0), 2))
    stop(config(LglInr(beta=4.0), 3), "Traceback\nOSError: the disk is full")
    stop(config(LglInr(beta=4.0), 4))
