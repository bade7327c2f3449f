"""The choice of a loss's own learning rate on held-out training images: which runs it needs, and what they say.

Known accuracies come in by learning rate: None where a run is not done, nan where it diverged, which counts as worst.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Point = float | None
"""Validation accuracy of a run, a fraction; None: not done, nan: diverged."""


@dataclass(frozen=True)
class Rates:
    """The learning rates that are tried.

    Args:
        grid: those of every loss, rising.
        below: what the grid is extended by at its lower end, falling.
        above: likewise at its upper end, rising.
        most_extensions: how often the grid is extended by a rate, while the best is at an edge.
    """

    grid: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    most_extensions: int

    @property
    def steps(self) -> tuple[float, ...]:
        """All rates that may be tried, rising."""
        return (*reversed(self.below), *self.grid, *self.above)


@dataclass(frozen=True)
class OwnLr:
    """A loss's own learning rate on a data set."""

    lr: float
    at_edge: bool  # of the rates tried: the best may lie beyond


@dataclass(frozen=True)
class Choice:
    """What several seeds say about a loss's own learning rate."""

    window: tuple[float, ...]  # the rates that are wanted
    accuracies: Mapping[float, tuple[Point, ...]]  # validation accuracy by rate, one a seed
    best: float | None  # by the mean over seeds; None while a run is missing


def wanted_lrs(rates: Rates, known: Mapping[float, Point]) -> tuple[float, ...]:
    """The learning rates that a curve needs: the grid, and the next step as long as the best is at an edge."""
    steps, low = rates.steps, len(rates.below)
    high = low + len(rates.grid)
    for _ in range(rates.most_extensions):
        lrs = steps[low:high]
        if any(known.get(lr) is None for lr in lrs):
            break
        best = _best(lrs, known)
        low, high = max(low - (best == lrs[0]), 0), min(high + (best == lrs[-1]), len(steps))
    return steps[low:high]


def own_lr(rates: Rates, known: Mapping[float, Point]) -> OwnLr | None:
    """The learning rate with the best validation accuracy, the smaller of equals; None while one is missing."""
    lrs = wanted_lrs(rates, known)
    if any(known.get(lr) is None for lr in lrs):
        return None
    best = _best(lrs, known)
    return OwnLr(best, best in (lrs[0], lrs[-1]))


def _best(lrs: Sequence[float], known: Mapping[float, Point]) -> float:
    def accuracy(lr: float) -> float:
        value = known[lr]
        return -1.0 if value is None or math.isnan(value) else value  # what diverges is worst

    return max(lrs, key=lambda lr: (accuracy(lr), -lr))


def neighbours(lrs: Sequence[float], lr: float) -> tuple[float, ...]:
    """A learning rate and those next to it, of some that rise."""
    place = lrs.index(lr)
    return tuple(lrs[max(place - 1, 0) : place + 2])


def choice(
    lrs: Sequence[float], start: Sequence[float], accuracies: Callable[[float], tuple[Point, ...]], widens: bool
) -> Choice:
    """The learning rate with the best mean over several seeds, the smaller of equals; a rate with divergence is worst.

    Args:
        lrs: all rates that may be chosen, rising.
        start: neighbours among them, chosen from first.
        accuracies: what is known of a rate, one a seed.
        widens: whether the next rate is added as long as the best is at an edge of those chosen from.
    """
    low, high = lrs.index(start[0]), lrs.index(start[-1]) + 1
    while True:
        window = tuple(lrs[low:high])
        known = {lr: accuracies(lr) for lr in window}
        if any(value is None for values in known.values() for value in values):
            return Choice(window, known, None)
        best = max(window, key=lambda lr: (*_merit(known[lr]), -lr))
        wider = max(low - (best == window[0]), 0), min(high + (best == window[-1]), len(lrs))
        if not widens or wider == (low, high):
            return Choice(window, known, best)
        low, high = wider


def _merit(values: Sequence[Point]) -> tuple[bool, float]:
    """Whether no run diverged, then the mean of the others."""
    finite = [value for value in values if value is not None and not math.isnan(value)]
    return len(finite) == len(values), sum(finite) / len(finite) if finite else -1.0
