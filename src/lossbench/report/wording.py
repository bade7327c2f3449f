"""Numbers and short texts in the form used on all pages; fractions become percent here."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lossbench.report.tone import toned
from lossbench.system.spelling import spelled

if TYPE_CHECKING:
    from lossbench.statistics.inference import Difference, Pairs, Prediction

MISSING = toned("missing")


def plain(value: object) -> str:
    """Text on one line for tables and captions; characters that cannot be printed are replaced by escape sequences."""
    return spelled(value).strip()


def short_commit(commit: str | None) -> str:
    """The first ten digits of a commit, with "-dirty" if files differed from it."""
    if commit is None:
        return "unknown"
    return plain(commit[:10]) + ("-dirty" if commit.endswith("-dirty") else "")


def spread(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Mean ± standard deviation (ddof 1); only the value if there is one."""
    mean = f"{np.mean(values):{sign}.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


NO_NUMBER = "–"


def percent(fraction: float, digits: int = 2) -> str:
    """An accuracy in percent."""
    return NO_NUMBER if math.isnan(fraction) else f"{100 * fraction:.{digits}f}"


def points(fraction: float, digits: int = 2) -> str:
    """A difference of accuracies in percentage points."""
    return NO_NUMBER if math.isnan(fraction) else f"{100 * fraction:+.{digits}f}"


def span(low: float, high: float) -> str:
    """An interval of differences, in percentage points."""
    return NO_NUMBER if math.isnan(low) else f"{points(low)} to {points(high)}"


def probability(p: float) -> str:
    """A p value."""
    return NO_NUMBER if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def predicted(prediction: "Prediction") -> str:
    """A prediction interval, in percent."""
    if math.isnan(prediction.half_width):
        return NO_NUMBER
    return f"{percent(prediction.low)} to {percent(prediction.high)}"


def seeds_told(counts: Iterable[int]) -> str:
    """The smallest and the largest number of seeds, such as "n=3 to 5"; empty without numbers."""
    known = sorted(counts)
    return f"n={' to '.join(map(str, dict.fromkeys((known[0], known[-1]))))}" if known else ""


def measured(difference: "Difference") -> str:
    """A mean difference with its interval and n."""
    if not difference.n:
        return "no pair of runs"
    if math.isnan(difference.low):
        return f"{points(difference.mean)} points, n={difference.n}"
    return f"{points(difference.mean)} points, 95 % interval {span(difference.low, difference.high)}, n={difference.n}"


def difference_line(pairs: "Pairs", margin: float) -> dict[str, str]:
    """One paired difference as the row of a table, in points, without correction for other tests."""
    from lossbench.statistics import inference

    one = inference.paired_t(pairs)
    return {
        "n": str(one.n),
        "Difference": points(one.mean) if one.n else MISSING,
        "95 %": span(one.low, one.high),
        "Verdict": toned(inference.compare(pairs, margin, one.p)) if one.n else NO_NUMBER,
    }


_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def in_words(count: int) -> str:
    """A number of things as sentences write it: up to ten in words."""
    return _SMALL[count] if 0 <= count < len(_SMALL) else str(count)


def enumerated(texts: Iterable[str]) -> str:
    """Texts joined as in a sentence ("a, b and c"); at least one."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last


def counted(count: int, word: str) -> str:
    """A number of things in words: "1 run", "2 runs"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
