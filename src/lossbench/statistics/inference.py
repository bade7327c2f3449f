"""What do n runs say, and how surely? Intervals, tests and verdicts as docs/statistics.md fixes them; pure, no torch.

A run's value is a float; None is a run that is not done, nan one that failed. Neither is ever averaged. From one value
comes a mean, from two also an interval, a test only from `MIN_RUNS`. What cannot be had is nan: an interval or p of too
few values, or of values that are all equal, since without spread t says nothing; where all differences are zero the
word is "equal". Accuracies and margins are fractions.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

ALPHA = 0.05
MIN_RUNS = 3
"""Runs of a cell, or pairs of a comparison, below which there is no verdict."""

WITHIN_END = 0.005
"""How near to its own end a curve must come to count as converged."""

NO_SPREAD = 1e-9
"""A standard deviation below this is rounding."""

Values = Sequence[float | None]
"""One value a seed."""


CellOutcome = Literal["consistent", "paper higher", "paper lower", "too few"]
"""What the paper's number is beside ours."""

Word = Literal[
    "higher",
    "higher, within the margin",
    "equal",
    "equivalent",
    "lower, within the margin",
    "lower",
    "undecided",
    "too few",
]
"""What the first of two losses is beside the second, in one cell."""

Outcome = Literal["holds", "fails", "undecided"]
"""What becomes of a claim."""

Headline = Literal["remains", "gone", "reversed", "open", "undecided", "not found"]
"""What becomes of a loss's advantage once each loss has its own learning rate."""


@dataclass(frozen=True)
class Spread:
    """A standard deviation and the degrees of freedom it is known with."""

    sd: float
    df: int


@dataclass(frozen=True)
class Prediction:
    """Where one new run of a cell is expected."""

    n: int  # finished runs
    failed: int
    mean: float
    sd: float  # the cell's own, ddof 1
    spread: Spread  # what the interval is made of
    half_width: float

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


@dataclass(frozen=True)
class Pairs:
    """Differences, first minus second, of the seeds that both sides finished; and how many runs of a side failed."""

    differences: tuple[float, ...]
    failed_first: int
    failed_second: int

    @property
    def n(self) -> int:
        """Pairs."""
        return len(self.differences)


@dataclass(frozen=True)
class Difference:
    """A mean difference, its interval, and the p of no difference."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class MarginTest:
    """A mean difference, its interval beside a margin, and the p of lying beyond the margin."""

    n: int
    mean: float
    low: float
    high: float
    margin: float
    p: float
    refuted: bool  # the whole interval lies beyond the margin


@dataclass(frozen=True)
class Proportion:
    """In k of n seeds something is so; the interval of its probability, and whether that is more than a half."""

    k: int
    n: int
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True)
class FalseAlarms:
    """Cells that fall outside by chance: how many are expected, and the most that is no surprise."""

    expected: float
    most: int


def finished(values: Values) -> list[float]:
    """The values of the runs that were done and did not fail."""
    return [value for value in values if value is not None and not math.isnan(value)]


def num_failed(values: Values) -> int:
    """The runs that failed."""
    return sum(value is not None and math.isnan(value) for value in values)


def pooled_spread(groups: Iterable[Values]) -> Spread:
    """The standard deviation within groups; a group with fewer than 2 finished runs adds nothing."""
    known = [np.array(values) for group in groups if (values := finished(group))]
    df = sum(len(values) - 1 for values in known)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in known)
    return Spread(math.sqrt(squares / df) if df else math.nan, df)


def prediction_interval(values: Values, spread: Spread | None = None) -> Prediction:
    """Where one new run of a cell is expected with 95 %: mean +- t s sqrt(1 + 1/n).

    Args:
        values: the cell's runs.
        spread: s and its degrees of freedom, pooled over cells; None: the cell's own.
    """
    known = finished(values)
    mean, sd = _moments(known)
    spread = spread or pooled_spread([values])
    half_width = _quantile(1 - ALPHA, spread.sd, spread.df) * math.sqrt(1 + 1 / len(known)) if known else math.nan
    return Prediction(len(known), num_failed(values), mean, sd, spread, half_width)


def cell_outcome(prediction: Prediction, paper: float) -> CellOutcome:
    """Whether the paper's number could be one more run of ours; the interval's ends belong to it."""
    if prediction.n < MIN_RUNS or math.isnan(prediction.half_width):
        return "too few"
    if paper > prediction.high:
        return "paper higher"
    return "paper lower" if paper < prediction.low else "consistent"


def false_alarms(num_cells: int) -> FalseAlarms:
    """What independent 95 % intervals get wrong by chance; more than `most` has a probability below 5 %."""
    return FalseAlarms(num_cells * ALPHA, int(stats.binom.ppf(1 - ALPHA, num_cells, ALPHA)))


def pair(first: Values, second: Values) -> Pairs:
    """Differences of two losses, seed by seed; a seed that either side lacks or failed drops out."""
    differences = [a - b for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return Pairs(tuple(finished(differences)), num_failed(first), num_failed(second))


def paired_t(pairs: Pairs, level: float = 1 - ALPHA) -> Difference:
    """Paired t test, two-sided, with the interval of the mean difference."""
    mean, sd = _moments(pairs.differences)
    half_width = _quantile(level, sd, pairs.n - 1) / math.sqrt(max(pairs.n, 1))
    return Difference(pairs.n, mean, sd, mean - half_width, mean + half_width, 2 * _beyond(abs(mean), pairs))


def superiority_p(pairs: Pairs) -> float:
    """The p of `paired_t` where the first side is ahead, else 1; also 1 where runs of the first side failed."""
    difference = paired_t(pairs)
    ahead = difference.mean > 0 and not pairs.failed_first
    return difference.p if ahead or math.isnan(difference.p) else 1.0


def tost(pairs: Pairs, margin: float) -> MarginTest:
    """Two one-sided paired t tests: is the difference within +- margin? The interval is the 90 % one.

    Failed runs on either side leave p nan, and nothing refuted.
    """
    interval = paired_t(pairs, 1 - 2 * ALPHA)
    p = max(_beyond(margin + interval.mean, pairs), _beyond(margin - interval.mean, pairs))
    p = 0.0 if _equal(pairs) else p
    p = math.nan if pairs.failed_first or pairs.failed_second else p
    refuted = not math.isnan(p) and (interval.low > margin or interval.high < -margin)
    return MarginTest(pairs.n, interval.mean, interval.low, interval.high, margin, p, refuted)


def non_inferiority(pairs: Pairs, margin: float) -> MarginTest:
    """One-sided paired t test: is the first side worse by less than the margin? The interval is the 90 % one.

    Failed runs of the first side leave p nan, those of the second keep it from being refuted.
    """
    interval = paired_t(pairs, 1 - 2 * ALPHA)
    p = _beyond(margin + interval.mean, pairs)
    refuted = not math.isnan(p) and not pairs.failed_second and interval.high < -margin
    p = 0.0 if _equal(pairs) else p
    p = math.nan if pairs.failed_first else p
    return MarginTest(pairs.n, interval.mean, interval.low, interval.high, margin, p, refuted)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p of a family; a p that is nan counts as 1 for the others and stays nan."""
    corrected = [math.nan] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: _or_one(p_values[i]))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * _or_one(p_values[index])))
        if not math.isnan(p_values[index]):
            corrected[index] = highest
    return corrected


def intersection_union(p_values: Sequence[float]) -> float:
    """The p of "in all cells": the largest; nan where one is nan, or there are none."""
    return math.nan if not p_values or any(math.isnan(p) for p in p_values) else max(p_values)


def compare(pairs: Pairs, margin: float, p_holm: float) -> Word:
    """The word for one cell.

    Args:
        pairs: differences of the cell.
        margin: of equivalence, > 0.
        p_holm: the cell's p of `paired_t`, corrected within its family.
    """
    if pairs.n < MIN_RUNS:
        return "too few"
    if _equal(pairs) and not pairs.failed_first and not pairs.failed_second:
        return "equal"
    mean = float(np.mean(pairs.differences))
    barred = pairs.failed_first if mean > 0 else pairs.failed_second
    different = p_holm < ALPHA and not barred
    if tost(pairs, margin).p < ALPHA:
        if not different:
            return "equivalent"
        return "higher, within the margin" if mean > 0 else "lower, within the margin"
    if not different:
        return "undecided"
    return "higher" if mean > 0 else "lower"


def claim_outcome(p_values: Sequence[float], refuted: Iterable[bool]) -> Outcome:
    """What becomes of a claim about all its cells: one refuted cell and it fails, every p below 5 % and it holds."""
    if any(refuted):
        return "fails"
    return "holds" if intersection_union(p_values) < ALPHA else "undecided"


def headline(paper: Word, own_lr: Word) -> Headline:
    """The report's headline from the words of a cell in the arms `paper` and `own-lr`."""
    if paper in ("undecided", "too few"):
        return "undecided"
    if paper != "higher":
        return "not found"
    if own_lr in ("undecided", "too few"):
        return "open"
    return "remains" if own_lr == "higher" else "reversed" if own_lr == "lower" else "gone"


def proportion(flags: Sequence[bool | None]) -> Proportion:
    """In how many seeds something is so, with the 90 % Clopper-Pearson interval; failed is False, not done None."""
    known = [flag for flag in flags if flag is not None]
    k, n = sum(known), len(known)
    low = float(stats.beta.ppf(ALPHA, k, n - k + 1)) if k else 0.0
    high = float(stats.beta.ppf(1 - ALPHA, k + 1, n - k)) if k < n else 1.0
    outcome: Outcome = "holds" if low > 0.5 else "fails" if high < 0.5 else "undecided"
    return Proportion(k, n, low, high, outcome)


def epochs_to_end(curve: Sequence[float]) -> float:
    """The first epoch, from 1, at most 0.5 points below the last one's accuracy; nan without a whole curve."""
    values = np.array(curve, np.float64)
    if not len(values) or not np.isfinite(values).all():
        return math.nan
    return float(np.argmax(values >= values[-1] - WITHIN_END - NO_SPREAD) + 1)


def area_under_curve(curve: Sequence[float]) -> float:
    """Mean accuracy over the epochs; nan without a whole curve."""
    values = np.array(curve, np.float64)
    return float(values.mean()) if len(values) and np.isfinite(values).all() else math.nan


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (ddof 1); nan where there are too few values."""
    mean = float(np.mean(values)) if values else math.nan
    return mean, float(np.std(values, ddof=1)) if len(values) >= 2 else math.nan


def _quantile(level: float, sd: float, df: int) -> float:
    """Half of the central interval of t, times sd; nan without spread or degrees of freedom."""
    return float(stats.t.ppf((1 + level) / 2, df)) * sd if df >= 1 and sd > NO_SPREAD else math.nan


def _beyond(distance: float, pairs: Pairs) -> float:
    """Probability of t beyond a distance from the mean difference; nan with too few pairs, or without spread."""
    _, sd = _moments(pairs.differences)
    if pairs.n < MIN_RUNS or sd <= NO_SPREAD:
        return math.nan
    return float(stats.t.sf(distance / sd * math.sqrt(pairs.n), pairs.n - 1))


def _equal(pairs: Pairs) -> bool:
    """Whether every difference is exactly zero, which no spread could be estimated from and needs none."""
    return pairs.n >= MIN_RUNS and not any(pairs.differences)


def _or_one(p: float) -> float:
    return 1.0 if math.isnan(p) else p
