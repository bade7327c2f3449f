"""The outcome of one attempt at a run."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lossbench.config.run import Config
from lossbench.runs.folder import Mark
from lossbench.training.steps import OnStep


class Ended(StrEnum):
    """Ways in which an attempt at a run can end."""

    finished = "finished"
    failed = "failed"
    postponed = "postponed"  # `runtime.budget_min` is spent
    busy = "busy"  # another process owns the run


@dataclass(frozen=True)
class Outcome:
    """Result of an attempt at a run."""

    ended: Ended
    accuracy: float = 0.0  # on the test images, if it finished
    reason: str = ""  # if it failed, in one line
    broken: bool = False  # it failed and this process can no longer use its GPU


Attempt = Callable[[Config, OnStep, float, Mark], Outcome]
"""One attempt at a run: config, callback of progress, deadline on the monotonic clock, and the mark of the run's last
failure before the sweep."""
