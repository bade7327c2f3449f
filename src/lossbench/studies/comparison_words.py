"""What a comparison found, in sentences and tiles that follow from its verdicts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lossbench.report.blocks import Count, Tile
from lossbench.report.tone import Tone
from lossbench.report.wording import enumerated, in_words, points, span
from lossbench.statistics.inference import Word
from lossbench.studies.compared import Accuracies, Against, Compared, LossResult

MOST_NAMED = 4
"""Losses up to which each gets a clause with its numbers; of more, those of a verdict are named together."""

_COUNTED: dict[str, tuple[tuple[Word, ...], Tone]] = {
    "higher": (("higher",), "ordered"),
    "equivalent": (("equivalent", "equal", "higher, within the margin", "lower, within the margin"), "agrees"),
    "undecided": (("undecided",), "open"),
    "lower": (("lower",), "differs"),
    "without a verdict": (("too few",), "open"),
}
"""The parts of a tile: the verdicts in them, and their tone."""


@dataclass(frozen=True)
class Condition:
    """The learning rates at which losses are compared: a common one, or each at its own.

    Args:
        name: "common" or "own".
        words: how a sentence begins.
    """

    name: str
    words: str

    def accuracies(self, one: LossResult) -> Accuracies:
        """A loss's reported runs."""
        return one.at_own if self.name == "own" else one.at_common

    def against(self, one: LossResult) -> Against | None:
        """A loss beside the baseline; None for the baseline."""
        return one.against_own if self.name == "own" else one.against_common


def conditions(compared: Compared) -> list[Condition]:
    """The own learning rates, then the common one."""
    return [
        Condition("own", "At their own learning rates"),
        Condition("common", f"At the common learning rate {common_lr(compared)}"),
    ]


def common_lr(compared: Compared) -> str:
    """The common learning rate, or several where the losses do not share one."""
    lrs = dict.fromkeys(config.schedule.lr for config in compared.comparison.losses.values())
    return enumerated(f"{lr:g}" for lr in lrs)


def answer(compared: Compared) -> list[str]:
    """The finding in a few sentences: at the own learning rates, at the common one, and what limits it."""
    own, common = conditions(compared)
    found = [_in_full(compared, own) if _has_pairs(compared, own) else _not_yet(compared)]
    if _has_pairs(compared, common):
        is_second = _has_pairs(compared, own)
        found.append(_in_groups(compared, common, True) if is_second else _in_full(compared, common))
    return [*found, *limits(compared)]


def _has_pairs(compared: Compared, condition: Condition) -> bool:
    """Whether the runs say anything about a loss beside the baseline."""
    return any(against.pairs.n for against in map(condition.against, compared.others) if against)


def _not_yet(compared: Compared) -> str:
    """Why there is no verdict at the own learning rates."""
    begin = "There is no verdict at the own learning rates yet"
    total, num = len(compared.losses), sum(one.own is not None for one in compared.losses)
    if any(one.at_own.finished or one.at_own.diverged for one in compared.losses):
        return f"{begin}: no loss has a pair of finished runs with the baseline."
    if num == total:
        return f"{begin}: every loss has one, and no reported run there is finished."
    known = "no loss has" if not num else f"{in_words(num)} of {in_words(total)} losses {'has' if num == 1 else 'have'}"
    return f"{begin}: {known} one."


def _in_full(compared: Compared, condition: Condition) -> str:
    """A clause for each loss, or for many losses a clause for each verdict, and the largest differences."""
    others = compared.others
    if len(others) > MOST_NAMED:
        return f"{_in_groups(compared, condition)} {_largest(compared, condition)}".strip()
    clauses = [clause(compared, one, condition) for one in others]
    return f"{condition.words}, {'; '.join(clauses)}."


def clause(compared: Compared, one: LossResult, condition: Condition) -> str:
    """The verdict on a loss with its numbers, as part of a sentence."""
    against, base = condition.against(one), compared.comparison.rules.baseline
    assert against is not None, "the baseline has no verdict"
    difference, margin = against.difference, f"{100 * compared.comparison.rules.margin:g} points"
    told = f"{one.label} is {_is(against.word)} {base}"
    size = f"{100 * abs(difference.mean):.2f} points"
    match against.word:
        case "higher" | "lower":
            return f"{told} by {size} ({interval(against)})"
        case "higher, within the margin" | "lower, within the margin":
            return f"{told} by {size}, but equivalent within {margin} ({interval(against)})"
        case "equivalent":
            ninety = span(against.equivalence.low, against.equivalence.high)
            return (
                f"{told} within {margin} ({points(difference.mean)} points, 90 % interval {ninety}, n={difference.n})"
            )
        case "equal":
            return f"{told} in every run (n={difference.n})"
        case "undecided":
            return f"the difference between {one.label} and {base} is undecided ({interval(against, with_mean=True)})"
        case _:
            return f"{one.label} has too few runs for a verdict ({_runs(difference.n)})"


def _is(word: Word) -> str:
    """The beginning of a verdict, to be followed by the baseline."""
    if word in ("equivalent", "equal"):
        return "equivalent to" if word == "equivalent" else "equal to"
    return "higher than" if word.startswith("higher") else "lower than"


def _runs(n: int) -> str:
    return "no pair with the baseline" if not n else "1 pair" if n == 1 else f"{n} pairs"


def interval(against: Against, with_mean: bool = False) -> str:
    """The 95 % interval of a difference, and n."""
    one = against.difference
    mean = f"{points(one.mean)} points, " if with_mean else ""
    if math.isnan(one.low):
        return f"{mean}n={one.n}"
    return f"{mean}95 % interval {span(one.low, one.high)}, n={one.n}"


def _in_groups(compared: Compared, condition: Condition, is_brief: bool = False) -> str:
    """The losses of each verdict, named, or, where it is brief and there are many, counted."""
    base, margin = compared.comparison.rules.baseline, f"{100 * compared.comparison.rules.margin:g} points"
    words = {
        "higher": f"higher than {base}",
        "equivalent": f"equivalent to {base} within {margin}",
        "undecided": "undecided",
        "lower": f"lower than {base}",
        "without a verdict": "without a verdict",
    }
    clauses = []
    for part, (verdicts, _) in _COUNTED.items():
        labels = [one.label for one in compared.others if _word(one, condition) in verdicts]
        if labels:
            these = f"{len(labels)} losses" if is_brief and len(labels) > MOST_NAMED else enumerated(labels)
            clauses.append(f"{these} {'is' if len(labels) == 1 else 'are'} {words[part]}")
    return f"{condition.words}, {'; '.join(clauses)}."


def _word(one: LossResult, condition: Condition) -> Word:
    against = condition.against(one)
    return against.word if against else "too few"


def _largest(compared: Compared, condition: Condition) -> str:
    """The highest and the lowest of the losses that differ from the baseline, with their numbers."""
    differing = [one for one in compared.others if _word(one, condition) in ("higher", "lower")]
    if not differing:
        return ""
    ranked = sorted(differing, key=lambda one: _mean(condition.against(one)))
    shown = dict.fromkeys((ranked[-1].label, ranked[0].label))
    by_label = {one.label: condition.against(one) for one in differing}
    texts = [f"{label} {interval(against, with_mean=True)}" for label in shown if (against := by_label[label])]
    return f"The largest {'differences' if len(texts) > 1 else 'difference'}: {'; '.join(texts)}."


def _mean(against: Against | None) -> float:
    return against.difference.mean if against else math.nan


def limits(compared: Compared) -> list[str]:
    """Sentences on diverged runs, and on learning rates at an edge of those tried."""
    own, common = conditions(compared)
    found: list[str] = []
    for condition, words in ((own, "at the own learning rates"), (common, "at the common learning rate")):
        lost = [
            f"{one.label} {known.diverged} of {len(known.values)}"
            for one in compared.losses
            if (known := condition.accuracies(one)).diverged
        ]
        if lost:
            found.append(f"{'Diverged' if not found else 'diverged'} {words}: {', '.join(lost)}")
    sentences = [f"{'; '.join(found)}. A diverged run is in no mean."] if found else []
    lost = [f"{one.label} ({one.own.lr:g})" for one in compared.losses if one.own and never_finished(one)]
    if lost:
        sentences.append(
            f"Every run that chooses the learning rate of {enumerated(lost)} diverged; the smallest rate tried stands "
            "for its own."
        )
    edge = [
        f"{one.label} ({one.own.lr:g})"
        for one in compared.losses
        if one.own and one.own.at_edge and not never_finished(one)
    ]
    if edge:
        rate = "the own learning rate is" if len(edge) == 1 else "the own learning rates are"
        sentences.append(f"Of {enumerated(edge)} {rate} at an edge of those tried; a better one may lie beyond.")
    return sentences


def never_finished(one: LossResult) -> bool:
    """Whether all runs that choose a loss's learning rate diverged."""
    known = [value for values in one.curve.values() for value in values if value is not None]
    return bool(known) and all(map(math.isnan, known))


def tiles(compared: Compared) -> list[Tile]:
    """How many losses are higher, equivalent, undecided and lower, at the own and at the common learning rates."""
    found = []
    headings = {"own": "At the own learning rates", "common": f"At the common learning rate {common_lr(compared)}"}
    for condition in conditions(compared):
        words = [_word(one, condition) for one in compared.others]
        counts = [
            Count(sum(word in verdicts for word in words), part, tone)
            for part, (verdicts, tone) in _COUNTED.items()
            if part != "without a verdict" or any(word in verdicts for word in words)
        ]
        within = sum("within the margin" in word for word in words)
        told = [f"{within} of them differ, by less than the margin"] if within else []
        found.append(Tile(headings[condition.name], counts, told))
    return found


def ranked(losses: Iterable[LossResult]) -> Sequence[LossResult]:
    """Losses beside the baseline, from the highest to the lowest difference at the own learning rates.

    Those with a difference at the common learning rate alone come next, by that; those with none last.
    """

    def place(one: LossResult) -> tuple[bool, float, bool, float]:
        own, common = _mean(one.against_own), _mean(one.against_common)
        return (
            math.isnan(own),
            -own if not math.isnan(own) else 0.0,
            math.isnan(common),
            -common if not math.isnan(common) else 0.0,
        )

    return sorted(losses, key=place)
