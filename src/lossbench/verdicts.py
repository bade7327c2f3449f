"""Which of the paper's numbers and claims hold? The rules of docs/statistics.md, applied to the runs at hand.

`inference` knows the statistics, `arms` the cells; here they meet the records. Accuracies are fractions.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import product

import numpy as np

from lossbench import arms, classes, inference
from lossbench.arms import Key
from lossbench.config import run_id
from lossbench.experiments import LABELS, LITERAL_HEAD, Cell
from lossbench.inference import CellOutcome, Headline, Outcome, Pairs, Prediction, Word
from lossbench.results import Results, Statistic, area, best, epochs_to_end, last


@dataclass(frozen=True)
class JudgedCell:
    """A cell beside the paper's number."""

    key: Key
    cell: Cell
    last: Prediction
    best: Prediction

    @property
    def outcome(self) -> CellOutcome | None:
        """By the last epoch; None: the paper has no number."""
        return None if self.cell.paper is None else inference.cell_outcome(self.last, self.cell.paper / 100)

    @property
    def outcome_best(self) -> CellOutcome | None:
        """By the best epoch."""
        return None if self.cell.paper is None else inference.cell_outcome(self.best, self.cell.paper / 100)


@dataclass(frozen=True)
class Contrast:
    """What is compared with what, in one cell."""

    arm: str
    network: str
    dataset: str  # as tables write them
    first: str
    second: str
    loss: str = ""  # where networks are compared

    @property
    def label(self) -> str:
        """Both sides."""
        return f"{self.first} - {self.second}"

    @property
    def keys(self) -> tuple[Key, Key]:
        """Both cells; a side names a loss or, where a loss is given, a network."""
        if self.loss:
            return (self.first, self.dataset, self.loss), (self.second, self.dataset, self.loss)
        return (self.network, self.dataset, self.first), (self.network, self.dataset, self.second)


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
        """Is the difference within the margin?"""
        return inference.tost(self.pairs, self.margin)

    @property
    def non_inferiority(self) -> inference.MarginTest:
        """Is the first side worse by less than the margin?"""
        return inference.non_inferiority(self.pairs, self.margin)

    @property
    def word(self) -> Word:
        """What the first side is beside the second."""
        return inference.compare(self.pairs, self.margin, self.p_holm)


@dataclass(frozen=True)
class Claim:
    """A line of claims.csv."""

    id: str
    place: str
    claim: str
    arm: str
    tables: str
    networks: str
    datasets: str
    contrast: str
    statistic: str
    kind: str
    margin: str
    family: str
    rule: str

    def listed(self, field: str) -> list[str]:
        """A field that is a list."""
        return [item.strip() for item in str(getattr(self, field)).split(";")]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a claim, and on what grounds."""

    claim: Claim
    outcome: Outcome | None  # None: descriptive
    comparisons: Sequence[Comparison] = ()
    curves: Sequence["CurveComparison"] = ()
    proportion: inference.Proportion | None = None


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

    dataset: str
    other: str
    paper: Word
    own_lr: Word
    scale_up: Word
    headline: Headline


_LOSSES = ("LGL", "SML", "LGL-INR")
_GRAY = ("MNIST", "FMNIST", "KMNIST")
_LARGE = ("MobileNetV2", "ResNet-18")

FAMILIES = (
    *(f"paper/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL", "LGL - SML", "larger - smaller")),
    *(f"literal/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL", "LGL - SML")),
    *(f"scale-up/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL")),
    "scale-down/LGL-INR - SML",
    *(f"own-lr/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL", "LGL - SML")),
)
"""All families of comparisons of accuracy, in the order of docs/statistics.md."""


@cache
def claims() -> list[Claim]:
    """All claims of the paper and ours, in the order of claims.csv."""
    text = files("lossbench.paper").joinpath("claims.csv").read_text()
    return [Claim(**line) for line in csv.DictReader(text.splitlines())]


class Judge:
    """The verdicts on the runs at hand."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.arms = {arm: arms.cells(arm, results.accuracy) for arm in arms.ARMS}
        self._families: dict[str, list[Comparison]] = {}

    def cells(self) -> list[JudgedCell]:
        """The paper's cells and those of the literal head, Tables 3, 4 and 5 in turn; beta 1 is Table 3's."""
        judged = []
        for arm in ("paper", "literal"):
            for key, cell in self.arms[arm].items():
                if key[2] == "beta 1":
                    continue
                at_end, at_best = (
                    inference.prediction_interval(
                        self.results.values(cell, statistic), self._spread(arm, key, statistic)
                    )
                    for statistic in (last, best)
                )
                judged.append(JudgedCell(key, cell, at_end, at_best))
        return judged

    def _spread(self, arm: str, key: Key, statistic: Statistic) -> inference.Spread:
        """Pooled over the losses of a data set and network."""
        alike = {run_id(cell.config): cell for other, cell in self.arms[arm].items() if other[:2] == key[:2]}
        return inference.pooled_spread(self.results.values(cell, statistic) for cell in alike.values())

    def family(self, name: str) -> list[Comparison]:
        """The comparisons of a family, such as "paper/LGL-INR - SML", p corrected within it."""
        if name not in self._families:
            contrasts = _family(name)
            plain = [self._comparison(contrast) for contrast in contrasts]
            corrected = inference.holm([comparison.difference.p for comparison in plain])
            self._families[name] = [replace(one, p_holm=p) for one, p in zip(plain, corrected, strict=True)]
        return self._families[name]

    def curve_family(self, label: str) -> list[CurveComparison]:
        """LGL-INR beside another loss on Fashion-MNIST and KMNIST: epochs and area, corrected together."""
        first, second = label.split(" - ")
        contrasts = [Contrast("paper", "CNN2C", dataset, first, second) for dataset in ("FMNIST", "KMNIST")]
        found = [
            CurveComparison(
                contrast,
                self._pairs(contrast, epochs_to_end("test")),
                self._pairs(contrast, area("test")),
                self._pairs(contrast, epochs_to_end("train")),
                self._pairs(contrast, area("train")),
            )
            for contrast in contrasts
        ]
        corrected = inference.holm([inference.paired_t(pairs).p for one in found for pairs in (one.epochs, one.area)])
        return [
            replace(one, p_holm_epochs=corrected[2 * i], p_holm_area=corrected[2 * i + 1])
            for i, one in enumerate(found)
        ]

    def _pairs(self, contrast: Contrast, statistic: Statistic = last) -> Pairs:
        first, second = (self.arms[contrast.arm].get(key) for key in contrast.keys)
        return self.results.pairs(first, second, statistic)

    def _comparison(self, contrast: Contrast) -> Comparison:
        return Comparison(contrast, self._pairs(contrast), _margin(contrast.dataset))

    def headlines(self) -> list[JudgedHeadline]:
        """LGL-INR beside SML, then beside LGL, on each data set of the arms."""
        found = []
        for other in ("SML", "LGL"):
            for dataset in ("KMNIST", "FMNIST"):
                paper, own, up = (
                    self._word(f"{arm}/LGL-INR - {other}", dataset) for arm in ("paper", "own-lr", "scale-up")
                )
                found.append(JudgedHeadline(dataset, other, paper, own, up, inference.headline(paper, own)))
        return found

    def _word(self, family: str, dataset: str) -> Word:
        (word,) = {
            comparison.word
            for comparison in self.family(family)
            if (comparison.contrast.network, comparison.contrast.dataset) == ("CNN2C", dataset)
        }
        return word

    def verdicts(self) -> list[Verdict]:
        """What becomes of every claim, in the order of claims.csv; those of Table 1 are not runs and left out."""
        return [self._verdict(claim) for claim in claims() if claim.arm != "simulation"]

    def _verdict(self, claim: Claim) -> Verdict:
        if claim.kind == "descriptive":
            return Verdict(claim, None)
        if claim.kind == "proportion":
            (key, other), *_ = [contrast.keys for contrast in _contrasts(claim)]
            cells = self.arms[claim.arm]
            flags = classes.flags(self.results, claim.id, cells[key], cells[other])
            proportion = inference.proportion(flags)
            return Verdict(claim, proportion.outcome, proportion=proportion)
        if claim.kind == "convergence":
            return self._convergence(claim)
        if "mean over the" in claim.statistic:
            return self._mean_over_cells(claim)
        comparisons = self._comparisons(claim)
        if claim.kind == "superiority":
            p_values = [inference.superiority_p(one.pairs) for one in comparisons]
            refuted = [one.word in ("lower", "lower, within the margin", "equivalent") for one in comparisons]
        else:
            tests = [one.equivalence if claim.kind == "equivalence" else one.non_inferiority for one in comparisons]
            p_values, refuted = [test.p for test in tests], [test.refuted for test in tests]
        return Verdict(claim, inference.claim_outcome(p_values, refuted), comparisons)

    def _comparisons(self, claim: Claim) -> list[Comparison]:
        """The comparisons of a claim, out of its families where it has some."""
        wanted = _contrasts(claim)
        if not claim.family:
            return [self._comparison(contrast) for contrast in wanted]
        known = {one.contrast: one for family in claim.listed("family") for one in self.family(family)}
        return [known[contrast] for contrast in wanted]

    def _mean_over_cells(self, claim: Claim) -> Verdict:
        """The mean difference over all cells of each seed that has them."""
        every = [self._comparison(contrast) for contrast in _contrasts(claim)]
        sides = [[self.arms[claim.arm][key] for key in one.contrast.keys] for one in every]
        means = [self._mean_values([pair[side] for pair in sides]) for side in (0, 1)]
        pairs = inference.pair(*means)
        difference = inference.paired_t(pairs)
        outcome = inference.claim_outcome(
            [inference.superiority_p(pairs)], [difference.mean < 0 and difference.p < inference.ALPHA]
        )
        whole = Contrast(claim.arm, "mean over the cells", "", *claim.contrast.split(" - "))
        return Verdict(claim, outcome, [Comparison(whole, pairs, math.nan), *every])

    def _mean_values(self, cells: Sequence[Cell]) -> list[float | None]:
        by_seed = zip(*(self.results.values(cell) for cell in cells), strict=True)
        return [None if None in values else float(np.mean([v for v in values if v is not None])) for values in by_seed]

    def _convergence(self, claim: Claim) -> Verdict:
        curves = self.curve_family(claim.contrast)
        p_values, refuted = [], []
        for one in curves:
            fewer = Pairs(tuple(-d for d in one.epochs.differences), one.epochs.failed_first, one.epochs.failed_second)
            p_values += [inference.superiority_p(fewer), inference.superiority_p(one.area)]
            slower = inference.paired_t(one.epochs).mean > 0 and one.p_holm_epochs < inference.ALPHA
            lower = inference.paired_t(one.area).mean < 0 and one.p_holm_area < inference.ALPHA
            refuted.append((slower and not one.epochs.failed_second) or (lower and not one.area.failed_second))
        return Verdict(claim, inference.claim_outcome(p_values, refuted), curves=curves)


def _contrasts(claim: Claim) -> list[Contrast]:
    """The comparisons that a claim speaks of, one a cell; a claim about one loss compares it with itself."""
    found = []
    for contrast in claim.listed("contrast"):
        first, _, second = contrast.partition(" - ")
        places = [(network, dataset) for network in claim.listed("networks") for dataset in claim.listed("datasets")]
        if first in claim.listed("networks"):
            found += [
                Contrast(claim.arm, "", dataset, first, second, loss)
                for loss in _LOSSES
                for dataset in claim.listed("datasets")
            ]
        else:
            found += [
                Contrast(claim.arm, network, dataset, first, second or first)
                for network, dataset in places
                if (network in _LARGE) == (dataset == "CIFAR-10")
            ]
    return found


def _family(name: str) -> list[Contrast]:
    """The cells of a family, as docs/statistics.md fixes them."""
    arm, contrast = name.split("/")
    first, _, second = contrast.partition(" - ")
    if first == "larger":
        pairs = [("CNN5C", "CNN2C", _GRAY), ("ResNet-18", "MobileNetV2", ("CIFAR-10",))]
        return [
            Contrast(arm, "", dataset, larger, smaller, loss)
            for larger, smaller, datasets in pairs
            for loss in _LOSSES
            for dataset in datasets
        ]
    places = {
        "paper": [*product(("CNN2C", "CNN5C"), _GRAY), *product(_LARGE, ("CIFAR-10",))],
        "literal": [*product((LITERAL_HEAD,), _GRAY)],
    }.get(arm, [*product(("CNN2C",), ("FMNIST", "KMNIST"))])
    return [Contrast(arm, network, dataset, first, second) for network, dataset in places]


def _margin(dataset: str) -> float:
    return inference.MARGINS[next(name for name, label in LABELS.items() if label == dataset)]
