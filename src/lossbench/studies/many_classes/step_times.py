"""Time of a training step of each method relative to SML's, as the runs do it; measured apart from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossbench.config.run import Runtime, run_id
from lossbench.runs.measurements import Identity
from lossbench.studies.many_classes import plan
from lossbench.studies.measurements import Measurement
from lossbench.studies.results import Results

BUDGET_S = 90.0
"""Time of all rounds, about, in s."""

VERSION = 1
"""Of the measuring code."""


@dataclass(frozen=True)
class StepTime:
    """Time and memory of a method's training step.

    Args:
        ratio: its time over that of SML's step in the same round, median over rounds.
        low: lower quartile over rounds.
        high: upper quartile.
        mb: peak memory of its tensors beyond those that stay, in MB (10^6 bytes).
        rounds: their number.
    """

    ratio: float
    low: float
    high: float
    mb: float
    rounds: int


def identity() -> Identity:
    """The measurement of all methods."""
    runs = {one.label: run_id(one.config()) for one in plan.METHODS}
    return Identity("many_classes", "step_times", {"runs": runs}, VERSION)


def measurement(runtime: Runtime) -> Measurement:
    """The methods in turns, on one thread."""

    def measure() -> Mapping[str, Any]:
        from lossbench.training.step_cost import measured_step_costs

        configs = {one.label: replace(one.config(), runtime=runtime) for one in plan.METHODS}
        return measured_step_costs(configs, plan.BASELINE, BUDGET_S, num_threads=1)

    return Measurement(identity(), measure)


def found(results: Results) -> dict[str, StepTime]:
    """The methods whose step was measured, by label; empty: not done."""
    known = results.measured(identity())
    times = {}
    for label, one in (known or {"losses": {}})["losses"].items():
        if one["failed"] is None and one["step"] is not None:
            step = one["step"]
            times[label] = StepTime(step["median"], step["low"], step["high"], one["step_mb"], one["rounds"])
    return times


def setting(results: Results) -> str:
    """What the times were measured on, in words; empty: not done."""
    known = results.measured(identity())
    if known is None:
        return ""
    rounds = max((one["rounds"] for one in known["losses"].values()), default=0)
    return f"{known['device']}, 1 thread, torch {known['torch']}, batch {known['batch_size']}, {rounds} rounds in turns"
