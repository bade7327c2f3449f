"""What several seeds say about a loss's learning rate: the noise of validation accuracies over the selection seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.statistics import inference
from lossbench.statistics.inference import Spread, Values

NEAR_CHANCE = 0.05
"""A run has learned nothing if its accuracy is at most this far from guessing."""


@dataclass(frozen=True)
class RatePoint:
    """Validation accuracies at a learning rate, fractions, of the runs that finished.

    Args:
        lr: the learning rate.
        mean: nan without runs.
        low: the lowest; likewise.
        high: the highest; likewise.
        n: finished runs.
        diverged: runs that diverged.
        chance: accuracy of guessing.
    """

    lr: float
    mean: float
    low: float
    high: float
    n: int
    diverged: int
    chance: float

    @property
    def has_learned(self) -> bool:
        """Whether the mean is farther from guessing than `NEAR_CHANCE`."""
        return self.n > 0 and abs(self.mean - self.chance) > NEAR_CHANCE

    @property
    def lost(self) -> bool:
        """Whether a run diverged, or the runs have learned nothing."""
        return self.diverged > 0 or (self.n > 0 and not self.has_learned)


def rate_points(curve: Mapping[float, Values], chance: float) -> tuple[RatePoint, ...]:
    """The points of a curve, by rising learning rate.

    Args:
        curve: validation accuracies by learning rate, one a selection seed; None: not done, nan: diverged.
        chance: accuracy of guessing.
    """
    found = []
    for lr in sorted(curve):
        known = inference.finished(curve[lr])
        low, high = (min(known), max(known)) if known else (math.nan, math.nan)
        mean = float(np.mean(known)) if known else math.nan
        found.append(RatePoint(lr, mean, low, high, len(known), inference.num_failed(curve[lr]), chance))
    return tuple(found)


@dataclass(frozen=True)
class Selection:
    """How sure the choice of a learning rate is.

    Args:
        spread: standard deviation of a validation accuracy over selection seeds, pooled over learning rates.
        runner_up: the learning rate with the second best mean among those that all selection seeds tried; None: there
            is none.
        lead: the best mean less that of the runner-up, paired over seeds, with its 95 % interval.
        first_choices: the best of these rates by each seed alone.
    """

    spread: Spread
    runner_up: float | None
    lead: inference.Difference
    first_choices: tuple[float, ...]


def selection(curve: Mapping[float, Values], chosen: float) -> Selection:
    """How sure a choice is.

    Args:
        curve: as for `rate_points`.
        chosen: the learning rate that was chosen, one of the curve's.
    """
    spread = inference.pooled_spread(curve.values())
    seeds = len(inference.finished(curve[chosen]))
    whole = {lr: values for lr, values in curve.items() if seeds and len(inference.finished(values)) == len(values)}
    means = {lr: float(np.mean(inference.finished(values))) for lr, values in whole.items() if len(values) == seeds}
    others = {lr: mean for lr, mean in means.items() if lr != chosen}
    runner_up = max(others, key=lambda lr: (others[lr], -lr), default=None)
    pairs = inference.pair(curve[chosen], curve[runner_up]) if runner_up is not None else inference.pair([], [])
    return Selection(spread, runner_up, inference.paired_t(pairs), _first_choices({lr: whole[lr] for lr in means}))


def _first_choices(curve: Mapping[float, Values]) -> tuple[float, ...]:
    """The best learning rate by each seed alone, the smaller of equals."""
    seeds: Sequence[Sequence[float]] = list(
        zip(*(inference.finished(values) for values in curve.values()), strict=True)
    )
    return tuple(max(zip(values, (-lr for lr in curve), strict=True))[1] * -1 for values in seeds)
