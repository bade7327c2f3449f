"""Verdicts on the paper's numbers and claims by the rules of docs/statistics.md.

`inference` has the statistics, `conditions` the cells; this module applies them to records. Accuracies are fractions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lossbench.statistics import inference
from lossbench.statistics.inference import MIN_RUNS, CellOutcome, Headline, Outcome, Pairs, Prediction, Word
from lossbench.studies.aaai20 import conditions, figure1
from lossbench.studies.aaai20.claims import (
    Claim,
    Contrast,
    Family,
    between_losses,
    claims,
    contrasts_of,
    family_of,
)
from lossbench.studies.aaai20.conditions import MARGINS
from lossbench.studies.aaai20.keys import CNN2C, LGL, LGL_INR, SML, Pair, with_beta
from lossbench.studies.cells import Cell, Key, Part
from lossbench.studies.results import Results, Statistic, area, best, epochs_to_end, last

State = Literal["holds", "fails", "inconclusive", "not yet tested", "needs arrays"]
"""An outcome where "undecided" is split: "not yet tested" lacks runs, "inconclusive" has them all.

"needs arrays" has runs whose arrays are not here, as an installed lossbench carries none.
"""


@dataclass(frozen=True)
class JudgedCell:
    """A cell beside the paper's number."""

    key: Key
    cell: Cell
    last: Prediction
    best: Prediction
    own: Prediction  # of the last epoch, by the cell's own spread alone

    @property
    def outcome(self) -> CellOutcome | None:
        """By the last epoch; None: the paper has no number."""
        return None if self.cell.paper is None else inference.cell_outcome(self.last, self.cell.paper / 100)

    @property
    def outcome_own(self) -> CellOutcome | None:
        """By the last epoch and the cell's own spread."""
        return None if self.cell.paper is None else inference.cell_outcome(self.own, self.cell.paper / 100)

    @property
    def outcome_best(self) -> CellOutcome | None:
        """By the best epoch."""
        return None if self.cell.paper is None else inference.cell_outcome(self.best, self.cell.paper / 100)


@dataclass(frozen=True)
class Comparison:
    """Two cells compared seed by seed."""

    contrast: Contrast
    pairs: Pairs
    margin: float
    p_holm: float = math.nan  # within its family

    @property
    def difference(self) -> inference.Difference:
        """Mean difference, 95 % interval and p."""
        return inference.paired_t(self.pairs)

    @property
    def equivalence(self) -> inference.MarginTest:
        """The test whether the difference is within the margin."""
        return inference.tost(self.pairs, self.margin)

    @property
    def non_inferiority(self) -> inference.MarginTest:
        """The test whether the first side is worse by less than the margin."""
        return inference.non_inferiority(self.pairs, self.margin)

    @property
    def word(self) -> Word:
        """What the first side is beside the second."""
        return inference.compare(self.pairs, self.margin, self.p_holm)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim, and its evidence."""

    claim: Claim
    outcome: Outcome | None  # None: descriptive
    comparisons: Sequence[Comparison] = ()
    curves: Sequence["CurveComparison"] = ()
    proportion: inference.Proportion | None = None
    over_cells: Pairs | None = None  # of the mean over all cells of a seed
    lacks_arrays: bool = False  # runs that it would be judged by are records alone

    @property
    def state(self) -> State | None:
        """The outcome, and of what is undecided whether all its runs are there."""
        if self.outcome != "undecided":
            return self.outcome
        if self.proportion is not None:
            whole = self.proportion.n >= MIN_RUNS
        elif self.curves:
            whole = all(one.epochs.n >= MIN_RUNS for one in self.curves)
        else:
            several = [one.pairs for one in self.comparisons] + ([self.over_cells] if self.over_cells else [])
            whole = all(pairs.n >= MIN_RUNS for pairs in several)
        return "inconclusive" if whole else "needs arrays" if self.lacks_arrays else "not yet tested"


@dataclass(frozen=True)
class CurveComparison:
    """How soon and how high two losses learn, seed by seed."""

    contrast: Contrast
    epochs: Pairs  # to within 0.5 points of the own end, on test images
    area: Pairs
    train_epochs: Pairs
    train_area: Pairs
    p_holm_epochs: float = math.nan  # within their family
    p_holm_area: float = math.nan


@dataclass(frozen=True)
class JudgedHeadline:
    """Whether LGL-INR's lead over another loss is more than its step size, on one data set."""

    dataset: str  # as registered
    other: Part
    paper: Comparison
    scale_up: Comparison
    own_lr: Comparison
    own_lrs: tuple[float, ...]
    """LGL-INR's own learning rate and the other's; shorter where one is not known."""
    headline: Headline


REFUTING: tuple[Word, ...] = ("lower", "lower, within the margin", "equivalent", "equal")
"""What refutes that a loss is better in a cell."""

CURVES_SHOWN = ("mnist", "fmnist", "kmnist")
CURVES_JUDGED = ("fmnist", "kmnist")

SEEN_SEED = 0  # of CNN2C's runs at the paper's learning rate, seen before docs/statistics.md was written


class Judge:
    """Applies the rules to some results."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.conditions = {name: conditions.cells(name, results.accuracy) for name in conditions.CONDITIONS}
        self._families: dict[Family, list[Comparison]] = {}

    def cells(self) -> list[JudgedCell]:
        """The paper's cells and those of the literal head, Tables 3, 4 and 5 in turn; beta 1 is Table 3's."""
        judged = []
        for condition in ("paper", "literal"):
            for key, cell in self.conditions[condition].items():
                if key.loss == with_beta(1.0):
                    continue
                at_end, at_best = (
                    inference.prediction_interval(
                        self.results.values(cell, statistic), self._spread(condition, key, statistic)
                    )
                    for statistic in (last, best)
                )
                own = inference.prediction_interval(self.results.values(cell))
                judged.append(JudgedCell(key, cell, at_end, at_best, own))
        return judged

    def _spread(self, condition: str, key: Key, statistic: Statistic) -> inference.Spread:
        """Pooled over the losses of a data set and network."""
        of_place = [cell for other, cell in self.conditions[condition].items() if other.place == key.place]
        alike = {self.results.name(cell.config): cell for cell in of_place}
        return inference.pooled_spread(self.results.values(cell, statistic) for cell in alike.values())

    def family(self, family: Family) -> list[Comparison]:
        """The comparisons of a family, p corrected within it."""
        if family not in self._families:
            contrasts = family_of(family)
            plain = [self.comparison(contrast) for contrast in contrasts]
            corrected = inference.holm([comparison.difference.p for comparison in plain])
            self._families[family] = [replace(one, p_holm=p) for one, p in zip(plain, corrected, strict=True)]
        return self._families[family]

    def curves(self, pair: Pair) -> list[CurveComparison]:
        """LGL-INR's curves beside another loss's on MNIST, which is shown, and on the two data sets of its family."""
        found = [
            CurveComparison(
                contrast,
                self._pairs(contrast, epochs_to_end("test")),
                self._pairs(contrast, area("test")),
                self._pairs(contrast, epochs_to_end("train")),
                self._pairs(contrast, area("train")),
            )
            for contrast in (between_losses("paper", CNN2C, dataset, pair) for dataset in CURVES_SHOWN)
        ]
        family = [one for one in found if one.contrast.dataset in CURVES_JUDGED]
        corrected = iter(
            inference.holm([inference.paired_t(pairs).p for one in family for pairs in (one.epochs, one.area)])
        )
        return [
            replace(one, p_holm_epochs=next(corrected), p_holm_area=next(corrected)) if one in family else one
            for one in found
        ]

    def _pairs(self, contrast: Contrast, statistic: Statistic = last) -> Pairs:
        first, second = (self.conditions[contrast.condition].get(key) for key in contrast.keys)
        return self.results.pairs(first, second, statistic)

    def comparison(self, contrast: Contrast) -> Comparison:
        """A comparison by itself, its p not corrected."""
        return Comparison(contrast, self._pairs(contrast), MARGINS[contrast.dataset])

    def _corrected(self, contrast: Contrast) -> Comparison:
        """A comparison with the p of its family, where the family has it the other way round."""
        one = self.comparison(contrast)
        turned = replace(contrast, first=contrast.second, second=contrast.first)
        family = self.family(Family(turned.condition, turned.sides))
        (p_holm,) = [other.p_holm for other in family if other.contrast == turned]
        return replace(one, p_holm=p_holm)

    def headlines(self) -> list[JudgedHeadline]:
        """LGL-INR beside SML, then beside LGL, on each data set of the conditions."""
        found = []
        for other in (SML, LGL):
            for dataset in ("kmnist", "fmnist"):
                paper, up, own = (
                    self.small(Family(condition, (LGL_INR, other)), dataset)
                    for condition in ("paper", "scale-up", "own-lr")
                )
                word = inference.headline(paper.word, own.word)
                found.append(JudgedHeadline(dataset, other, paper, up, own, self._own_lrs(own), word))
        return found

    def _own_lrs(self, own: Comparison) -> tuple[float, ...]:
        """The learning rates of a comparison's cells as far as known."""
        cells = self.conditions["own-lr"]
        return tuple(cells[key].config.schedule.lr for key in own.contrast.keys if key in cells)

    def small(self, family: Family, dataset: str) -> Comparison:
        """A family's comparison on CNN2C and a data set."""
        (found,) = [one for one in self.family(family) if one.contrast.first.place == (CNN2C, dataset)]
        return found

    def verdicts(self) -> list[Verdict]:
        """The verdict on every claim, in the order of claims.csv; those on Table 1 are not about runs and left out."""
        return [self._verdict(claim) for claim in claims() if claim.condition != "simulation"]

    def unseen(self) -> "Judge":
        """The same without the runs that had been seen before the rules were written."""
        return Judge(self.results.without(self.seen()))

    def seen(self) -> set[str]:
        """Names of the runs that had been seen before the rules were written, done or not."""
        every = self.conditions["paper"].items()
        paper = [cell for key, cell in every if key.model == CNN2C and key.loss.option is None]
        return {self.results.name(config) for cell in paper for config in cell.configs if config.seed == SEEN_SEED}

    def by_head(self) -> list[tuple[Verdict, Verdict]]:
        """The claims tested with the head as printed: over the same cells with CNN2C's head, and with that one."""
        printed = [claim for claim in claims() if claim.condition == "literal" and claim.kind != "descriptive"]
        usual = [
            replace(
                one,
                condition="paper",
                networks=(CNN2C,),
                families=tuple(replace(family, condition="paper") for family in one.families),
            )
            for one in printed
        ]
        return [(self._verdict(before), self._verdict(after)) for before, after in zip(usual, printed, strict=True)]

    def _verdict(self, claim: Claim) -> Verdict:
        if claim.kind == "descriptive":
            return Verdict(claim, None)
        if claim.kind == "proportion":
            (key, other), *_ = [contrast.keys for contrast in contrasts_of(claim)]
            cells = self.conditions[claim.condition]
            flags = figure1.flags(self.results, claim.id, cells[key], cells[other])
            proportion = inference.proportion(flags)
            names = {self.results.name(config) for cell in (cells[key], cells[other]) for config in cell.configs}
            lacks = not names.isdisjoint(self.results.without_arrays)
            return Verdict(claim, proportion.outcome, proportion=proportion, lacks_arrays=lacks)
        if claim.kind == "convergence":
            return self._convergence(claim)
        if claim.over_cells:
            return self._mean_over_cells(claim)
        comparisons = self._comparisons(claim)
        if claim.kind == "superiority":
            p_values = [inference.superiority_p(one.pairs) for one in comparisons]
            refuted = [one.word in REFUTING for one in comparisons]
        else:
            tests = [one.equivalence if claim.kind == "equivalence" else one.non_inferiority for one in comparisons]
            p_values, refuted = [test.p for test in tests], [test.refuted for test in tests]
        return Verdict(claim, inference.claim_outcome(p_values, refuted), comparisons)

    def _comparisons(self, claim: Claim) -> list[Comparison]:
        """The comparisons of a claim, out of its families where it has some."""
        wanted = contrasts_of(claim)
        if not claim.families:
            return [self.comparison(contrast) for contrast in wanted]
        known = {one.contrast: one for family in claim.families for one in self.family(family)}
        return [known[contrast] for contrast in wanted]

    def _mean_over_cells(self, claim: Claim) -> Verdict:
        """The mean difference over all cells of each seed that has them."""
        every = [self._corrected(contrast) for contrast in contrasts_of(claim)]
        sides = [[self.conditions[claim.condition][key] for key in one.contrast.keys] for one in every]
        means = [self._mean_values([pair[side] for pair in sides]) for side in (0, 1)]
        pairs = inference.pair(*means)
        difference = inference.paired_t(pairs)
        outcome = inference.claim_outcome(
            [inference.superiority_p(pairs)], [difference.mean < 0 and difference.p < inference.ALPHA]
        )
        return Verdict(claim, outcome, every, over_cells=pairs)

    def _mean_values(self, cells: Sequence[Cell]) -> list[float | None]:
        by_seed = zip(*(self.results.values(cell) for cell in cells), strict=True)
        return [None if None in values else float(np.mean([v for v in values if v is not None])) for values in by_seed]

    def _convergence(self, claim: Claim) -> Verdict:
        (pair,) = claim.contrasts
        curves = [one for one in self.curves(pair) if one.contrast.dataset in CURVES_JUDGED]
        p_values, refuted = [], []
        for one in curves:
            fewer = Pairs(tuple(-d for d in one.epochs.differences), one.epochs.failed_first, one.epochs.failed_second)
            p_values += [inference.superiority_p(fewer), inference.superiority_p(one.area)]
            slower = inference.paired_t(one.epochs).mean > 0 and one.p_holm_epochs < inference.ALPHA
            lower = inference.paired_t(one.area).mean < 0 and one.p_holm_area < inference.ALPHA
            refuted.append((slower and not one.epochs.failed_second) or (lower and not one.area.failed_second))
        return Verdict(claim, inference.claim_outcome(p_values, refuted), curves=curves)
