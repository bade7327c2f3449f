"""The second round's verdicts: what the blind seeds confirm, and the contrasts that it adds (docs/statistics.md).

Nothing is judged before all blind seeds of a comparison's cells have finished or diverged. Accuracies are fractions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np

from lossbench.runs.records import Record
from lossbench.statistics import inference
from lossbench.statistics.inference import Headline, Pairs, Prediction, Word
from lossbench.studies.aaai20 import second_runs
from lossbench.studies.aaai20.claims import Contrast, Family, between_losses
from lossbench.studies.aaai20.conditions import MARGINS, PLACES, own
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.keys import CNN2C, EVEN, LGL_INR, PAIRS, SML, SUMMED, Pair
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, FIRST_SEEDS, GRAY, with_seeds
from lossbench.studies.aaai20.verdicts import Comparison, Judge, JudgedHeadline
from lossbench.studies.cells import Cell, Key, Part
from lossbench.studies.learning_rates import Choice
from lossbench.studies.results import last

Status = Literal["confirmed", "contradicted", "undecided", "nothing to confirm", "not yet run"]
"""What the blind seeds make of a word of the first round."""

Answer = Literal["yes", "no", "undecided"]

DECAYING = "decaying learning rate"
"""The further contrasts under the second protocol."""

TAIL = 5
"""Epochs of the secondary endpoint, the last ones of a run."""

WITHIN = ("higher, within the margin", "lower, within the margin")
DECIDED: tuple[Headline, ...] = ("remains", "gone", "reversed", "not found")


_Cells = dict[Contrast, tuple[Cell, Cell]]


def tail(record: Record) -> float:
    """Mean test accuracy of the last `TAIL` epochs: the secondary endpoint."""
    return float(np.mean(record.fields["curves"]["test/accuracy"][-TAIL:]))


@dataclass(frozen=True)
class Blind:
    """A comparison by the blind seeds; its p is corrected within its family."""

    comparison: Comparison
    whole: bool  # all blind seeds of both cells have finished or diverged
    secondary: Pairs  # the secondary endpoint
    first: Pairs  # seeds 0 to 4
    first_secondary: Pairs
    pooled: Pairs  # seeds 0 to 9

    @property
    def word(self) -> Word | None:
        """The blind seeds' word; None until it may be said."""
        return self.comparison.word if self.whole else None


@dataclass(frozen=True)
class Confirmation:
    """A word of the first round, and the blind seeds'."""

    first: Comparison
    blind: Blind

    @property
    def status(self) -> Status:
        """What the blind seeds make of the first word."""
        if self.blind.word is None:
            return "not yet run"
        return confirmed(self.first.word, self.blind.word, self.blind.comparison.equivalence.refuted)


@dataclass(frozen=True)
class ConfirmedHeadline:
    """A headline of the first round beside the blind seeds'."""

    first: JudgedHeadline
    blind: Headline | None  # None: not yet run
    status: Status


@dataclass(frozen=True)
class NumberAgain:
    """A number of the paper beside the blind seeds of its cell."""

    key: Key
    paper: float  # a fraction
    first: inference.CellOutcome
    prediction: Prediction
    whole: bool

    @property
    def outcome(self) -> inference.CellOutcome | None:
        """By the blind seeds; None until it may be said."""
        return inference.cell_outcome(self.prediction, self.paper) if self.whole else None


@dataclass(frozen=True)
class RateChoice:
    """A loss's own learning rate by the first round, and by four more seeds."""

    dataset: str  # as registered
    loss: Part
    first: float | None
    choice: Choice | None


def confirmed(first: Word, blind: Word, refuted: bool) -> Status:
    """What the blind seeds' word makes of a first word.

    Args:
        first: of seeds 0 to 4.
        blind: of seeds 5 to 9.
        refuted: whether the blind seeds' 90 % interval lies wholly beyond the margin.
    """
    if first in ("undecided", "too few"):
        return "nothing to confirm"
    if first in ("equivalent", "equal"):
        if blind in ("equivalent", "equal", *WITHIN):
            return "confirmed"
        return "contradicted" if refuted else "undecided"
    if blind == first:
        return "confirmed"
    opposite = "lower" if first.startswith("higher") else "higher"
    if first in WITHIN:
        return "contradicted" if blind.startswith(opposite) or refuted else "undecided"
    return "contradicted" if blind.startswith(opposite) or blind in ("equivalent", "equal", *WITHIN) else "undecided"


class SecondRound:
    """The verdicts of the second round on the runs that are there."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.results = judge.results
        self.first_cells = second_runs.first_cells(self.results.accuracy)

    @cached_property
    def confirmations(self) -> list[Confirmation]:
        """Every comparison of the first round whose cells get blind seeds, family by family."""
        found = []
        for condition, pair in product(("paper", "own-lr"), PAIRS):
            known = {one.contrast: one for one in self.judge.family(Family(condition, pair))}
            chosen = {one: both for one in known if (both := self._cells(one)) is not None}
            found += [Confirmation(known[blind.comparison.contrast], blind) for blind in self._family(chosen)]
        return found

    def _cells(self, contrast: Contrast) -> tuple[Cell, Cell] | None:
        """Both cells of a contrast of the first round; None where one gets no blind seeds, or is not known."""
        first, second = (self.first_cells[contrast.condition].get(key) for key in contrast.keys)
        return None if first is None or second is None else (first, second)

    def _family(self, cells: _Cells) -> list[Blind]:
        """Comparisons by the blind seeds, their p corrected over those that may be judged and counting the others."""
        blind = [self._blind(contrast, *both) for contrast, both in cells.items()]
        p_values = [one.comparison.difference.p if one.whole else float("nan") for one in blind]
        corrected = inference.holm(p_values)
        return [
            replace(one, comparison=replace(one.comparison, p_holm=p)) for one, p in zip(blind, corrected, strict=True)
        ]

    def _blind(self, contrast: Contrast, first: Cell, second: Cell) -> Blind:
        blind, early, pooled = (
            (with_seeds(first, seeds), with_seeds(second, seeds))
            for seeds in (BLIND_SEEDS, FIRST_SEEDS, (*FIRST_SEEDS, *BLIND_SEEDS))
        )
        return Blind(
            Comparison(contrast, self.results.pairs(*blind), MARGINS[contrast.dataset]),
            all(self._is_whole(cell) for cell in blind),
            self.results.pairs(*blind, tail),
            self.results.pairs(*early),
            self.results.pairs(*early, tail),
            self.results.pairs(*pooled),
        )

    def _is_whole(self, cell: Cell) -> bool:
        return None not in self.results.values(cell)

    def headlines(self) -> list[ConfirmedHeadline]:
        """LGL-INR's leads once more."""
        words = {one.first.contrast: one.blind.word for one in self.confirmations}
        found = []
        for first in self.judge.headlines():
            paper, own = words.get(first.paper.contrast), words.get(first.own_lr.contrast)
            if paper is None or own is None:
                found.append(ConfirmedHeadline(first, None, "not yet run"))
                continue
            blind = inference.headline(paper, own)
            decided = first.headline in DECIDED and blind in DECIDED
            status: Status = "contradicted" if decided else "undecided"
            found.append(ConfirmedHeadline(first, blind, "confirmed" if blind == first.headline else status))
        return found

    def numbers(self) -> list[NumberAgain]:
        """The paper's numbers of the nine cells beside the blind seeds, s pooled over the losses of a data set."""
        judged = {one.key: one for one in self.judge.cells()}
        blind = {key: with_seeds(cell, BLIND_SEEDS) for key, cell in self.first_cells["paper"].items()}
        found = []
        for key, cell in blind.items():
            first = judged[key].outcome
            if first is None or cell.paper is None:
                continue
            alike = [other for name, other in blind.items() if name.place == key.place]
            spread = inference.pooled_spread(self.results.values(other) for other in alike)
            prediction = inference.prediction_interval(self.results.values(cell), spread)
            whole = all(self._is_whole(other) for other in alike)
            found.append(NumberAgain(key, cell.paper / 100, first, prediction, whole))
        return found

    @cached_property
    def further(self) -> dict[tuple[str, Pair], list[Blind]]:
        """The contrasts that the second round adds: by what their family is called, and the losses compared."""
        accuracy, paper = self.results.accuracy, self.first_cells["paper"]
        sums, even = second_runs.lgl_sums(), second_runs.even_weights()
        mnist, decayed = second_runs.mnist_own(accuracy), second_runs.decayed(accuracy)
        datasets = [place.dataset for place in GRAY]

        def beside_paper(condition: str, pair: Pair, others: Mapping[Part, Mapping[str, Cell]]) -> _Cells:
            """A contrast on every data set; cells that are not the paper's come from `others`, by loss."""
            cells = {}
            for name in datasets:
                contrast = between_losses(condition, CNN2C, name, pair)
                first, second = (others[key.loss][name] if key.loss in others else paper[key] for key in contrast.keys)
                cells[contrast] = first, second
            return cells

        found = {
            ("even weights", (LGL_INR, EVEN)): beside_paper("beta 0", (LGL_INR, EVEN), {EVEN: even}),
            ("LGL as a sum", (LGL_INR, SUMMED)): beside_paper("sum", (LGL_INR, SUMMED), {SUMMED: sums}),
            ("LGL as a sum", (SUMMED, SML)): beside_paper("sum", (SUMMED, SML), {SUMMED: sums}),
        }
        for pair in PAIRS:
            first, second = pair
            if first in mnist and second in mnist:
                contrast = between_losses("own-lr", CNN2C, "mnist", pair)
                found["own learning rates on MNIST", pair] = {contrast: (mnist[first], mnist[second])}
            decaying = {}
            for name in (place.dataset for place in PLACES):
                contrast = between_losses("decay", CNN2C, name, pair)
                if all(key in decayed for key in contrast.keys):
                    decaying[contrast] = decayed[contrast.first], decayed[contrast.second]
            if decaying:
                found[DECAYING, pair] = decaying
        return {name: self._family(cells) for name, cells in found.items()}

    def ranking(self) -> dict[tuple[Pair, str], tuple[Word | None, Word | None, Answer]]:
        """Whether the constant rate makes the ranking, by losses and data set: its word, the other's, the answer."""
        constant = {
            (one.first.contrast.sides, one.first.contrast.dataset): one.blind.word
            for one in self.confirmations
            if one.first.contrast.condition == "own-lr"
        }
        decaying = {
            (pair, one.comparison.contrast.dataset): one.word
            for (family, pair), blind in self.further.items()
            for one in blind
            if family == DECAYING
        }
        found = {}
        for key in product(PAIRS, [place.dataset for place in PLACES]):
            words = constant.get(key), decaying.get(key)
            answer: Answer = "no" if words[0] == words[1] else "yes"
            found[key] = (*words, "undecided" if {None, "undecided", "too few"} & set(words) else answer)
        return found

    def choices(self) -> list[RateChoice]:
        """Own learning rates by the first round and by four more seeds."""
        accuracy = self.results.accuracy
        return [
            RateChoice(
                place.dataset,
                Part(loss.name),
                first.lr if (first := own(place, loss, accuracy)) else None,
                second_runs.choice(place, loss, accuracy),
            )
            for place, loss in product(PLACES, LOSSES)
        ]

    def otherwise(self) -> list[tuple[Key, Cell, Sequence[float | None]]]:
        """The cells at learning rates that four more seeds choose otherwise, with their blind accuracies."""
        cells = second_runs.otherwise(self.results.accuracy)
        return [(key, cell, self.results.values(cell, last)) for key, cell in cells.items()]
