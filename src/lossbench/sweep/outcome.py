"""The outcome of one attempt at a run."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lossbench.config.run import Config
from lossbench.runs.folder import Mark
from lossbench.training.steps import OnStep


class Ended(StrEnum):
    """How an attempt at a run ended."""

    finished = "finished"
    failed = "failed"
    postponed = "postponed"  # `runtime.budget_min` is spent
    busy = "busy"  # another process has the run


@dataclass(frozen=True)
class Outcome:
    """What an attempt at a run came to."""

    ended: Ended
    accuracy: float = 0.0  # on the test images, where finished
    reason: str = ""  # where failed, in one line
    broken: bool = False  # and the process can use its GPU no more


Attempt = Callable[[Config, OnStep, float, Mark], Outcome]
"""One attempt at a run, given its config, what to call after steps, the deadline on the monotonic clock, and the mark
of the run's last failure before the sweep."""
