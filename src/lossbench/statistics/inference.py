"""Intervals, tests and verdicts over runs, as fixed in docs/statistics.md.

The value of a run is a float; None means that it is not done, nan that it failed, and neither is ever averaged. A mean
needs one value, an interval two, a test `MIN_RUNS`. A result that cannot be computed is nan: an interval or p of too
few values, or of values that are all equal (t is undefined without spread). If all differences are zero, the verdict
is "equal". Accuracies and margins are fractions.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special  # not scipy.stats, which is slow to import and to call

ALPHA = 0.05
MIN_RUNS = 3
"""Smallest number of runs of a cell, or of pairs of a comparison, for a verdict."""

WITHIN_END = 0.005
"""A curve has converged once its accuracy is at most this far below its last one."""

NO_SPREAD = 1e-9
"""A standard deviation up to this is taken for rounding."""

Values = Sequence[float | None]
"""One value per seed; None: not done, nan: failed."""


CellOutcome = Literal["consistent", "paper higher", "paper lower", "too few"]
"""The paper's number compared with ours."""

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
"""Verdict on the first of two losses compared with the second, in one cell."""

Outcome = Literal["holds", "fails", "undecided"]
"""Verdict on a claim."""

Headline = Literal["remains", "gone", "reversed", "open", "undecided", "not found"]
"""Verdict on a loss's advantage once each loss has its own learning rate."""


@dataclass(frozen=True)
class Spread:
    """A standard deviation and its degrees of freedom."""

    sd: float
    df: int


@dataclass(frozen=True)
class Prediction:
    """A prediction interval for one new run of a cell."""

    n: int  # finished runs
    failed: int
    mean: float
    sd: float  # of the cell's runs, ddof 1
    spread: Spread  # used for the interval
    half_width: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.mean + self.half_width


@dataclass(frozen=True)
class Pairs:
    """Differences, first minus second, over the seeds finished on both sides, and the number of failed runs."""

    differences: tuple[float, ...]
    failed_first: int
    failed_second: int

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.differences)


@dataclass(frozen=True)
class Difference:
    """A mean difference with its interval, and p for the hypothesis of no difference."""

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class MarginTest:
    """A mean difference with its interval, and p for the hypothesis that it lies beyond a margin."""

    n: int
    mean: float
    low: float
    high: float
    margin: float
    p: float
    refuted: bool  # the entire interval lies beyond the margin


@dataclass(frozen=True)
class Proportion:
    """A property that k of n seeds have: interval of its probability, and whether that is above 1/2."""

    k: int
    n: int
    low: float
    high: float
    outcome: Outcome


@dataclass(frozen=True)
class FalseAlarms:
    """Number of cells outside their intervals by chance: the expected number, and the largest unsurprising one."""

    expected: float
    most: int


def finished(values: Values) -> list[float]:
    """The values of finished runs: neither None nor nan."""
    return [value for value in values if value is not None and not math.isnan(value)]


def num_failed(values: Values) -> int:
    """Number of failed runs."""
    return sum(value is not None and math.isnan(value) for value in values)


def pooled_spread(groups: Iterable[Values]) -> Spread:
    """Pooled standard deviation within groups; a group with fewer than 2 finished runs contributes nothing."""
    known = [np.array(values) for group in groups if (values := finished(group))]
    df = sum(len(values) - 1 for values in known)
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in known)
    return Spread(math.sqrt(squares / df) if df else math.nan, df)


def prediction_interval(values: Values, spread: Spread | None = None) -> Prediction:
    """95 % prediction interval for one new run of a cell: mean +- t s sqrt(1 + 1/n).

    Args:
        values: the cell's runs.
        spread: s and its degrees of freedom, pooled over cells; None: those of this cell.
    """
    known = finished(values)
    mean, sd = _moments(known)
    spread = spread or pooled_spread([values])
    half_width = _quantile(1 - ALPHA, spread.sd, spread.df) * math.sqrt(1 + 1 / len(known)) if known else math.nan
    return Prediction(len(known), num_failed(values), mean, sd, spread, half_width)


def cell_outcome(prediction: Prediction, paper: float) -> CellOutcome:
    """Whether the paper's number lies in the prediction interval of our runs, ends included."""
    if prediction.n < MIN_RUNS or math.isnan(prediction.half_width):
        return "too few"
    if paper > prediction.high:
        return "paper higher"
    return "paper lower" if paper < prediction.low else "consistent"


def false_alarms(num_cells: int) -> FalseAlarms:
    """Misses of independent 95 % intervals by chance; more than `most` have a probability of at most 5 %."""
    at_most = special.bdtr(np.arange(num_cells + 1), num_cells, ALPHA)  # probability of at most 0, 1, ... misses
    return FalseAlarms(num_cells * ALPHA, int(np.argmax(at_most >= 1 - ALPHA)))


def pair(first: Values, second: Values) -> Pairs:
    """Differences of two losses, seed by seed, without seeds that are missing or failed on either side."""
    differences = [a - b for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return Pairs(tuple(finished(differences)), num_failed(first), num_failed(second))


def paired_t(pairs: Pairs, level: float = 1 - ALPHA) -> Difference:
    """Paired t test, two-sided, with the interval of the mean difference."""
    mean, sd = _moments(pairs.differences)
    half_width = _quantile(level, sd, pairs.n - 1) / math.sqrt(max(pairs.n, 1))
    return Difference(pairs.n, mean, sd, mean - half_width, mean + half_width, 2 * _beyond(abs(mean), pairs))


def superiority_p(pairs: Pairs) -> float:
    """The p of `paired_t` if the first side is higher and none of its runs failed; otherwise 1."""
    difference = paired_t(pairs)
    ahead = difference.mean > 0 and not pairs.failed_first
    return difference.p if ahead or math.isnan(difference.p) else 1.0


def tost(pairs: Pairs, margin: float) -> MarginTest:
    """Two one-sided paired t tests that the difference lies within +- margin, with the 90 % interval.

    If runs of either side failed, p is nan and nothing is refuted.
    """
    interval = paired_t(pairs, 1 - 2 * ALPHA)
    p = max(_beyond(margin + interval.mean, pairs), _beyond(margin - interval.mean, pairs))
    p = 0.0 if _equal(pairs) else p
    p = math.nan if pairs.failed_first or pairs.failed_second else p
    refuted = not math.isnan(p) and (interval.low > margin or interval.high < -margin)
    return MarginTest(pairs.n, interval.mean, interval.low, interval.high, margin, p, refuted)


def non_inferiority(pairs: Pairs, margin: float) -> MarginTest:
    """One-sided paired t test that the first side is worse by less than the margin, with the 90 % interval.

    If runs of the first side failed, p is nan; if runs of the second failed, nothing is refuted.
    """
    interval = paired_t(pairs, 1 - 2 * ALPHA)
    p = _beyond(margin + interval.mean, pairs)
    refuted = not math.isnan(p) and not pairs.failed_second and interval.high < -margin
    p = 0.0 if _equal(pairs) else p
    p = math.nan if pairs.failed_first else p
    return MarginTest(pairs.n, interval.mean, interval.low, interval.high, margin, p, refuted)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p values of a family; nan stays nan, and counts as 1 in the correction of the others."""
    corrected = [math.nan] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: _or_one(p_values[i]))):
        highest = max(highest, min(1.0, (len(p_values) - rank) * _or_one(p_values[index])))
        if not math.isnan(p_values[index]):
            corrected[index] = highest
    return corrected


def intersection_union(p_values: Sequence[float]) -> float:
    """The p of a claim about all cells: the largest p; nan if any is nan or there are none."""
    return math.nan if not p_values or any(math.isnan(p) for p in p_values) else max(p_values)


def compare(pairs: Pairs, margin: float, p_holm: float) -> Word:
    """Verdict on one cell.

    Args:
        pairs: the cell's differences.
        margin: margin of equivalence, > 0.
        p_holm: the cell's p from `paired_t`, corrected within its family.
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
    """Verdict on a claim about all its cells: it fails if any cell is refuted, and holds if every p is below 5 %."""
    if any(refuted):
        return "fails"
    return "holds" if intersection_union(p_values) < ALPHA else "undecided"


def headline(paper: Word, own_lr: Word) -> Headline:
    """The report's headline, from the verdicts on a cell in the conditions `paper` and `own-lr`."""
    if paper in ("undecided", "too few"):
        return "undecided"
    if paper != "higher":
        return "not found"
    if own_lr in ("undecided", "too few"):
        return "open"
    return "remains" if own_lr == "higher" else "reversed" if own_lr == "lower" else "gone"


def proportion(flags: Sequence[bool | None]) -> Proportion:
    """Proportion of seeds with a property, with the 90 % Clopper-Pearson interval; False: failed, None: not done."""
    known = [flag for flag in flags if flag is not None]
    k, n = sum(known), len(known)
    low = float(special.betaincinv(k, n - k + 1, ALPHA)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - ALPHA)) if k < n else 1.0
    outcome: Outcome = "holds" if low > 0.5 else "fails" if high < 0.5 else "undecided"
    return Proportion(k, n, low, high, outcome)


def epochs_to_end(curve: Sequence[float]) -> float:
    """The first epoch, from 1, whose accuracy is at most 0.5 points below the last; nan for an incomplete curve."""
    values = np.array(curve, np.float64)
    if not len(values) or not np.isfinite(values).all():
        return math.nan
    return float(np.argmax(values >= values[-1] - WITHIN_END - NO_SPREAD) + 1)


def area_under_curve(curve: Sequence[float]) -> float:
    """Mean accuracy over the epochs; nan for an incomplete curve."""
    values = np.array(curve, np.float64)
    return float(values.mean()) if len(values) and np.isfinite(values).all() else math.nan


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (ddof 1); nan for too few values."""
    mean = float(np.mean(values)) if values else math.nan
    return mean, float(np.std(values, ddof=1)) if len(values) >= 2 else math.nan


def _quantile(level: float, sd: float, df: int) -> float:
    """Half-width of the central interval of t, times sd; nan without spread or degrees of freedom."""
    return float(special.stdtrit(df, (1 + level) / 2)) * sd if df >= 1 and sd > NO_SPREAD else math.nan


def _beyond(distance: float, pairs: Pairs) -> float:
    """Probability that t exceeds `distance` over its standard error; nan with too few pairs, or without spread."""
    _, sd = _moments(pairs.differences)
    if pairs.n < MIN_RUNS or sd <= NO_SPREAD:
        return math.nan
    return float(special.stdtr(pairs.n - 1, -distance / sd * math.sqrt(pairs.n)))


def _equal(pairs: Pairs) -> bool:
    """Whether there are enough pairs and every difference is exactly zero."""
    return pairs.n >= MIN_RUNS and not any(pairs.differences)


def _or_one(p: float) -> float:
    return 1.0 if math.isnan(p) else p
