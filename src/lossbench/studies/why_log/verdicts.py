"""The verdicts of docs/why_log.md on the sentences of the question's answers, and on what they leave out."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lossbench.config.registry import LABELS
from lossbench.losses.brier import Brier
from lossbench.losses.one_minus_p_squared import OneMinusPSquared
from lossbench.losses.spherical import Spherical
from lossbench.losses.squared import Squared
from lossbench.report.wording import counted, enumerated, measured, points, probability
from lossbench.statistics import inference
from lossbench.statistics.inference import ALPHA, Difference, Outcome, Pairs
from lossbench.studies.compared import Compared, LossResult
from lossbench.studies.results import Results, Statistic, area, epochs_to_end
from lossbench.studies.sentences import Judged
from lossbench.studies.why_log import plan
from lossbench.studies.why_log.wrong_start import LEAVING, AtRate, FromWrong, WrongStart, most_steps

SML = LABELS["sml"]
SQUARE, BRIER, SPHERICAL, SQUARED = (one.name for one in (OneMinusPSquared(), Brier(), Spherical(), Squared()))

DATASETS = {"fmnist": "Fashion-MNIST", "kmnist": "KMNIST"}
"""Data sets of the runs from scratch, in words."""

NOT_LOWER = ("higher", "equal", "equivalent", "higher, within the margin", "lower, within the margin")
"""Words of a loss that has results as good as SML's, or better."""

NOT_HIGHER = ("lower", "equal", "equivalent", "lower, within the margin")
"""Words of a loss that is no better with wrong labels."""


@dataclass(frozen=True)
class Part:
    """A loss beside SML on one data set.

    Args:
        where: the data set in words.
        word: the verdict; None: not all runs of the loss and of SML are done.
        settled: whether the family's other losses are done too, so that Holm's correction stays.
        told: the difference with its interval and n, or that it is not yet run.
        mean: difference, a fraction; nan without a pair of runs.
        n: pairs of runs.
    """

    where: str
    word: inference.Word | None
    settled: bool
    told: str
    mean: float
    n: int

    @property
    def text(self) -> str:
        """The verdict with its numbers."""
        return f"{self.where}: {self.told}" if self.word is None else f"{self.where}: {self.word}, {self.told}"


class Evidence:
    """What the study's runs say, computed when it is asked for.

    Args:
        results: all known runs.
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    @cached_property
    def scratch(self) -> dict[str, Compared]:
        """The comparisons from scratch, by the data set in words."""
        return {words: Compared(plan.from_scratch(name), self.results) for name, words in DATASETS.items()}

    @cached_property
    def noise(self) -> dict[str, Compared]:
        """The comparisons with wrong labels, by their share in words."""
        return {f"{100 * share:g} % wrong": Compared(plan.with_noise(share), self.results) for share in plan.NOISE}

    @cached_property
    def wrong(self) -> WrongStart:
        """The runs from the common wrong start."""
        return WrongStart(self.results)

    @cached_property
    def own_wrong(self) -> WrongStart:
        """Those from each loss's own."""
        return WrongStart(self.results, own_start=True)

    def parts(self, loss: str) -> list[Part]:
        """A loss from scratch, by data set.

        Args:
            loss: its name.
        """
        return [_part(where, one, LABELS[loss]) for where, one in self.scratch.items()]

    def noisy_parts(self, label: str) -> list[Part]:
        """A loss with wrong labels, by their share."""
        return [_part(where, one, label) for where, one in self.noise.items()]


def _part(where: str, compared: Compared, label: str) -> Part:
    found, base = _loss(compared, label), compared.baseline
    against = found.against_own
    assert against is not None, "the baseline is not compared with itself"
    word = against.word if _is_done(found) and _is_done(base) else None
    told = measured(against.difference) if against.pairs.n else "not yet run" if word is None else "no pair of runs"
    lost = [f"{counted(one.at_own.diverged, 'run')} of {one.label}" for one in (found, base) if one.at_own.diverged]
    told += f"; diverged: {enumerated(lost)}" if lost else ""
    if word is None and against.pairs.n:
        told += ", not all runs done"
    return Part(where, word, all(map(_is_done, compared.losses)), told, against.difference.mean, against.pairs.n)


def _loss(compared: Compared, label: str) -> LossResult:
    return next(one for one in compared.losses if one.label == label)


def _is_done(one: LossResult) -> bool:
    """Whether all reported runs at the own learning rate are done, diverged ones among them."""
    return bool(one.at_own.values) and None not in one.at_own.values


def verdicts(evidence: Evidence) -> list[Judged]:
    """All verdicts of the study, in the order in which its page has them."""
    return [
        *good_results(evidence),
        not_convex(evidence),
        fast_convergence(evidence),
        flat_where_wrong(evidence),
        *wrong_labels(evidence),
    ]


_SCRATCH = "Fashion-MNIST and KMNIST, CNN2C, 20 epochs, from scratch, own learning rates"


def good_results(evidence: Evidence) -> list[Judged]:
    """Whether "MSE does not have good results", for each of the three squares."""
    found = []
    for loss in (SQUARE, BRIER, SQUARED):
        parts = evidence.parts(loss)
        found.append(
            Judged(
                f"“You can use MSE but that does not have good results”: {LABELS[loss]}",
                _by_words(parts, holds=lambda word: word == "lower", fails=lambda word: word in NOT_LOWER),
                _texts(part for part in parts if part.word == "lower"),
                _texts(part for part in parts if part.word in NOT_LOWER),
                _setting(f"{_SCRATCH}; test accuracy less {SML}'s", parts),
            )
        )
    return found


def _by_words(parts: Sequence[Part], holds: Any, fails: Any) -> Outcome | None:
    """Holds or fails if all parts do; undecided only once no run that could change it is missing."""
    words = [part.word for part in parts]
    if None in words:
        return None
    if all(map(holds, words)):
        return "holds"
    if all(map(fails, words)):
        return "fails"
    return "undecided" if all(part.settled for part in parts) else None


def not_convex(evidence: Evidence) -> Judged:
    """Whether "not convex" is the reason: whether losses that are not convex do as well as SML."""
    parts = {loss: evidence.parts(loss) for loss in (BRIER, SPHERICAL)}
    named = [(LABELS[loss], part) for loss, own in parts.items() for part in own]
    every = [part for own in parts.values() for part in own]
    outcome: Outcome | None = None
    if any(all(part.word in NOT_LOWER for part in own) for own in parts.values()):
        outcome = "fails"
    elif all(part.word == "lower" for part in every):
        outcome = "holds"
    elif all(part.word is not None and part.settled for part in every):
        outcome = "undecided"
    return Judged(
        "“Not convex”, as the reason",
        outcome,
        _texts(_named(label, part) for label, part in named if part.word == "lower"),
        _texts(_named(label, part) for label, part in named if part.word in NOT_LOWER),
        _setting(
            f"{LABELS[BRIER]} and {LABELS[SPHERICAL]}, not convex in the logits; {_SCRATCH}; less {SML}",
            [_named(label, part) for label, part in named],
        ),
    )


def _named(label: str, part: Part) -> Part:
    return replace(part, where=f"{label}, {part.where}")


@dataclass(frozen=True)
class Speed:
    """SML beside (1-p)² in convergence on one data set.

    Args:
        where: the data set in words.
        fewer: epochs to within 0.5 points of its end, (1-p)² less SML: positive where SML is faster.
        larger: area under the accuracy curve, SML less (1-p)², a fraction.
        is_done: whether all runs of both are done.
    """

    where: str
    fewer: Pairs
    larger: Pairs
    is_done: bool

    @property
    def for_sml(self) -> list[str]:
        """What is significant for SML, in words."""
        return self._told(1)

    @property
    def against_sml(self) -> list[str]:
        """What is significant against it."""
        return self._told(-1)

    def _told(self, side: int) -> list[str]:
        texts = []
        for pairs, text in ((self.fewer, self._epochs), (self.larger, self._area)):
            one = inference.paired_t(pairs)
            failed = pairs.failed_first if side > 0 else pairs.failed_second
            if one.p < ALPHA and side * one.mean > 0 and not failed:
                texts.append(f"{self.where}: {text(one)}")
        return texts

    @property
    def open(self) -> list[str]:
        """What is significant in neither direction, with its numbers."""
        known = [(self.fewer, self._epochs), (self.larger, self._area)]
        significant = {*self.for_sml, *self.against_sml}
        texts = [f"{self.where}: {text(inference.paired_t(pairs))}" for pairs, text in known if pairs.n]
        return [text for text in texts if text not in significant]

    def _epochs(self, one: Difference) -> str:
        told = f"{-one.mean:+.1f} epochs{_interval(-one.high, -one.low, '+.1f')}"
        return f"{told} to within {100 * inference.WITHIN_END:g} points of its end, {_p(one)}"

    def _area(self, one: Difference) -> str:
        return f"area {points(one.mean)} points{_interval(100 * one.low, 100 * one.high, '+.2f')}, {_p(one)}"


def _interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) else f" ({low:{form}} to {high:{form}})"


def _p(one: Difference) -> str:
    p = probability(one.p)
    return f"p {p if p.startswith('<') else f'= {p}'}, n={one.n}"


def speeds(evidence: Evidence) -> list[Speed]:
    """Convergence of SML and (1-p)² from scratch, by data set."""
    found = []
    for where, compared in evidence.scratch.items():
        sml, square = compared.baseline, _loss(compared, LABELS[SQUARE])

        def pairs(first: LossResult, second: LossResult, statistic: Statistic) -> Pairs:
            return evidence.results.pairs(first.at_own.cell, second.at_own.cell, statistic)

        turned = pairs(square, sml, epochs_to_end("test"))
        fewer = Pairs(turned.differences, turned.failed_second, turned.failed_first)  # SML is the first side
        larger = pairs(sml, square, area("test"))
        found.append(Speed(where, fewer, larger, _is_done(sml) and _is_done(square)))
    return found


def fast_convergence(evidence: Evidence) -> Judged:
    """Whether the log is for "fast convergence": SML beside (1-p)² in epochs and in the area under the curve."""
    found = speeds(evidence)
    outcome: Outcome | None = None
    if any(one.is_done and one.against_sml for one in found):
        outcome = "fails"
    elif all(one.is_done for one in found):
        outcome = "holds" if all(len(one.for_sml) == 2 for one in found) else "undecided"
    waiting = [one.where for one in found if not one.is_done]
    rest = [text for one in found for text in one.open]
    setting = f"{SML} less {LABELS[SQUARE]}; {_SCRATCH}; test accuracy by epoch, paired t"
    setting += f"; not significant: {'; '.join(rest)}" if rest else ""
    setting += f"; not all runs done: {enumerated(waiting)}" if waiting else ""
    return Judged(
        "“We use the other for fast convergence”",
        outcome,
        "; ".join(text for one in found for text in one.for_sml),
        "; ".join(text for one in found for text in one.against_sml),
        setting,
    )


def flat_where_wrong(evidence: Evidence) -> Judged:
    """A loss of the probability is flat where the network is confidently wrong: SML leaves, and (1-p)² stays.

    It fails if SML stays or (1-p)² leaves, which is the contrary of what it claims of either.
    """
    sml, square = (evidence.wrong.by_label[label] for label in (SML, LABELS[SQUARE]))
    outcome: Outcome | None = None
    if sml.state == "stays" or square.state == "leaves":
        outcome = "fails"
    elif sml.state and square.state:
        outcome = "holds" if (sml.state, square.state) == ("leaves", "stays") else "undecided"
    pro = [left(one) for one, state in ((sml, "leaves"), (square, "stays")) if one.state == state]
    contra = [left(one) for one, state in ((sml, "stays"), (square, "leaves")) if one.state == state]
    rest = "; ".join(left(one) for one in (sml, square) if one.state in ("undecided", None))
    return Judged(
        "The explanation left out: a loss of the probability is flat where the network is confidently wrong, so that "
        f"{LABELS[SQUARE]} stays there and {SML} leaves",
        outcome,
        "; ".join(pro),
        "; ".join(contra),
        f"Fashion-MNIST, CNN2C, from the same wrong start, {most_steps():,} steps at each of "
        f"{len(plan.RIGHTING_LRS)} learning rates, {len(plan.RIGHTING_SEEDS)} seeds: about these networks, no "
        f"probability{f'; open: {rest}' if rest else ''}",
    )


def left(one: FromWrong) -> str:
    """In how many seeds a loss leaves the wrong start, and its steps at the best rate."""
    if not one.num_done:
        return f"{one.loss} not yet run"
    best, level, within = one.best(LEAVING), f"{100 * LEAVING:g} %", f"within {most_steps():,} steps"
    reaching = f"{one.seeds_reaching(LEAVING)} of {one.num_seeds} seeds"
    if best:
        told = f"{one.loss} reaches {level} after {_steps(best)} at learning rate {best.lr:g}"
        told += f", and in {reaching} at one rate at least" if one.num_seeds > 1 else ""
    elif one.seeds_reaching(LEAVING):
        told = f"{one.loss} reaches {level} in {reaching} {within}, and by the median over seeds at no rate"
    else:
        told = f"{one.loss} reaches {level} in {reaching} at {_rates(one)} {within}"
    return told if one.is_done else f"{told} ({one.num_done} of {one.num_planned} runs are done)"


def _steps(best: AtRate) -> str:
    """The median steps at the best rate, with the range of seeds."""
    known = sorted(best.steps(LEAVING))
    if len(known) == 1:
        return f"{known[0]:,.0f} steps (n=1)"
    low, high = (f"{value:,.0f}" if math.isfinite(value) else f"> {most_steps():,}" for value in (known[0], known[-1]))
    return f"a median of {best.median(LEAVING):,.0f} steps ({low} to {high}, n={len(known)})"


def _rates(one: FromWrong) -> str:
    done = sum(bool(rate.done) for rate in one.rates)
    return f"any of {done} learning rates" if done > 1 else "the learning rate tried"


def wrong_labels(evidence: Evidence) -> list[Judged]:
    """Whether bounded losses are better with wrong labels, for each bounded loss."""
    found = []
    for loss in plan.BOUNDED[1:]:
        label = LABELS[loss.name]
        parts = evidence.noisy_parts(label)
        words = [part.word for part in parts]
        outcome: Outcome | None = None
        if any(part.word in NOT_HIGHER and (part.settled or part.word != "equivalent") for part in parts):
            outcome = "fails"  # what is equivalent may be higher, too, once Holm's correction is complete
        elif None not in words:
            outcome = "holds" if all(word == "higher" for word in words) else "undecided"
            if outcome == "undecided" and not all(part.settled for part in parts):
                outcome = None
        found.append(
            Judged(
                f"Bounded losses are better with wrong labels: {label}",
                outcome,
                _texts(part for part in parts if part.word == "higher"),
                _texts(part for part in parts if part.word in NOT_HIGHER),
                _setting(f"Fashion-MNIST, CNN2C, 20 epochs, own learning rates; less {SML}; true test labels", parts),
            )
        )
    return found


def _texts(parts: Iterable[Part]) -> str:
    return "; ".join(part.text for part in parts)


def _setting(words: str, parts: Sequence[Part]) -> str:
    """The setting, the parts that speak neither for nor against, and those that are not done."""
    between = [part.text for part in parts if part.word in ("undecided", "too few")]
    between += [part.text for part in parts if part.word == "higher, within the margin" and "wrong" in part.where]
    waiting = [part.text for part in parts if part.word is None]
    rest = f"; open: {'; '.join([*between, *waiting])}" if between or waiting else ""
    return words + rest
