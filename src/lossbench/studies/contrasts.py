"""Losses beside the baseline of a comparison in one number of their runs, paired by seed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lossbench.config.run import Config
from lossbench.statistics import inference
from lossbench.statistics.inference import ALPHA, Difference, Pairs
from lossbench.studies.compared import Compared
from lossbench.studies.results import Results

Value = Callable[[Results, Config], float | None]
"""A number of a run; None: the run is not done, or has not kept what it takes; nan: it diverged."""


@dataclass(frozen=True)
class Contrast:
    """A number of a loss less that of the baseline.

    Args:
        label: of the loss.
        pairs: the differences by seed.
        p_holm: of no difference, corrected over the losses that are tested together.
        missing: seeds without a difference though no run of them diverged: not done, without the number, or done on
            different kinds of devices.
        better: 1 if more of the number is better, -1 if less is.
    """

    label: str
    pairs: Pairs
    p_holm: float
    missing: int
    better: int = 1

    @cached_property
    def difference(self) -> Difference:
        """The mean difference with its 95 % interval."""
        return inference.paired_t(self.pairs)

    @property
    def is_better(self) -> bool:
        """Significantly better than the baseline; a loss with diverged runs never is."""
        return self._differs and self.better * self.difference.mean > 0 and not self.pairs.failed_first

    @property
    def is_worse(self) -> bool:
        """Significantly worse; no loss is where runs of the baseline diverged."""
        return self._differs and self.better * self.difference.mean < 0 and not self.pairs.failed_second

    @property
    def _differs(self) -> bool:
        return self.p_holm < ALPHA


def values(compared: Compared, label: str, value: Value) -> list[float | None]:
    """A number of a loss's reported runs at its own learning rate, by seed; all None while that is not known."""
    one = next(one for one in compared.losses if one.label == label)
    if one.at_own.cell is None:
        return [None] * compared.comparison.rules.num_seeds
    return [value(compared.results, config) for config in one.at_own.cell.configs]


def contrasts(compared: Compared, value: Value, labels: Sequence[str] | None = None, better: int = 1) -> list[Contrast]:
    """Losses beside the baseline in one number, with Holm's correction over them; one without runs counts with p 1.

    Args:
        compared: the comparison and its runs.
        value: the number.
        labels: the losses that are tested together; None: all but the baseline.
        better: 1 if more of the number is better, -1 if less is.
    """
    tested = compared.comparison.others if labels is None else labels
    found = [_pairs(compared, label, value) for label in tested]
    corrected = inference.holm([inference.paired_t(pairs).p for pairs, _ in found])
    return [
        Contrast(label, pairs, p, missing, better)
        for label, (pairs, missing), p in zip(tested, found, corrected, strict=True)
    ]


def _pairs(compared: Compared, label: str, value: Value) -> tuple[Pairs, int]:
    return pairs_between(compared, label, compared.comparison.rules.baseline, value)


def pairs_between(
    compared: Compared, first: str, second: str, value: Value, of_second: Value | None = None
) -> tuple[Pairs, int]:
    """A number of one loss less that of another, by seed, and the seeds that lack it though no run of them diverged.

    Args:
        compared: the comparison and its runs.
        first: a label.
        second: another.
        value: the number.
        of_second: the number of the second loss; None: the same.
    """
    results = compared.results
    own, base = values(compared, first, value), values(compared, second, of_second or value)
    cells = [one.at_own.cell for name in (first, second) for one in compared.losses if one.label == name]
    configs = zip(*(cell.configs for cell in cells if cell), strict=True) if all(cells) else ()
    alike = [results.paired(*both) for both in configs] or [False] * len(own)
    pairs = inference.pair(
        [a if same else None for a, same in zip(own, alike, strict=True)],
        [b if same else None for b, same in zip(base, alike, strict=True)],
    )
    lost = sum(a is not None and b is not None and math.isnan(a + b) for a, b in zip(own, base, strict=True))
    return pairs, len(own) - pairs.n - lost
