"""Reading and checking what an interrupted run continues from, and the sessions in which a run is executed."""

import io
import math
from collections.abc import Mapping
from typing import Any

import torch

from lossbench.runs.folder import Run

WAY_OUT = "and the run starts afresh"

FINITE = ("lr", "train/loss", "train/accuracy", "test/loss", "test/accuracy", "time/test_s")
POSITIVE = ("time/train_s", "time/images_per_s", "time/step_ms")
"""Numbers in every line of metrics: FINITE ones must be finite, POSITIVE ones, by which records divide, also > 0."""

CIRCUMSTANCES = ("commit", "versions", "device_name", "num_threads", "deterministic")
"""Fields kept of each session of a run, in which its epochs may differ."""


def read_checkpoint(run: Run) -> dict[str, Any] | None:
    """The state after a run's last finished epoch, on the CPU, or None. No code in the file is executed.

    A checkpoint without a run's name, as older versions wrote it, is taken to be that of the run.

    Raises:
        ValueError: it is damaged, or belongs to another run.
    """
    content, path = run.read_checkpoint(), run.folder / "checkpoint.pt"
    if content is None:
        return None
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        for key in ("device", "num_threads", "wall_s", "gradient_norms", "model", "velocities", "class_trace"):
            state[key]
        int(state["epoch"]), dict(state["traces"]), list(state.get("sessions", ()))
    except Exception as error:  # torch.load raises many types
        raise ValueError(f"{path} is no checkpoint of this run; remove it, {WAY_OUT}") from error
    if (named := state.get("run_id", run.id)) != run.id:
        raise ValueError(f"{path} is the checkpoint of {named!a:.200}, not of {run.id}; remove it, {WAY_OUT}")
    return state


def read_history(run: Run, checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of metrics up to a checkpoint; later ones are removed from the file.

    Raises:
        ValueError: a line is missing or damaged, or the lines are not those written with the checkpoint.
    """
    path, way_out = run.folder / "metrics.jsonl", f"remove checkpoint.pt beside it, {WAY_OUT}"
    try:
        history = run.metrics(checkpoint["epoch"])
    except ValueError as error:
        raise ValueError(f"{error}; {way_out}") from error
    for line in history:
        if wrong := _wrong(line):
            raise ValueError(f"{path} holds a damaged line, epoch {line['epoch']} ({wrong}); {way_out}")
    expected = checkpoint.get("metrics_sha256")
    if expected is not None and run.metrics_sha256() != expected:
        raise ValueError(f"{path} is not the file that was written with its checkpoint; {way_out}")
    return history


def _wrong(line: Mapping[str, Any]) -> str | None:
    """What is wrong with a line of metrics; None: nothing."""
    for key in (*FINITE, *POSITIVE):
        if not _is_number(line.get(key)) or (key in POSITIVE and line[key] <= 0):
            return f"{key} is {line[key]!a:.40}" if key in line else f"{key} is missing"
    by_class = line.get("test/class_accuracy")
    if by_class is None and "test/class_accuracy" in line:  # with many classes
        return None
    if not isinstance(by_class, list) or not all(value is None or _is_number(value) for value in by_class):
        return "test/class_accuracy is not a list of numbers"
    return None


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def sessions(checkpoint: Mapping[str, Any], circumstances: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sessions of a run, in order, including the one that begins now.

    A session with the same circumstances as the one before is merged with it. For epochs done before sessions were
    recorded, only the number of threads is known; the rest is None.

    Args:
        checkpoint: the state from which the run continues, after `epoch` finished epochs.
        circumstances: those of the session that begins now, as `record.circumstances` gives them.
    """
    known = [dict(session) for session in checkpoint.get("sessions", ())]
    if not known and checkpoint["epoch"] > 0:
        known = [{"epoch": 1} | dict.fromkeys(CIRCUMSTANCES) | {"num_threads": checkpoint["num_threads"]}]
    now = {key: circumstances[key] for key in CIRCUMSTANCES}
    if known and {key: known[-1].get(key) for key in CIRCUMSTANCES} == now:
        return known
    return [*known, {"epoch": checkpoint["epoch"] + 1} | now]
