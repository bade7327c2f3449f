"""What figures of results are drawn from: numbers with their intervals, in rows; accuracies are fractions."""

from dataclasses import dataclass
from typing import Literal

from lossbench.statistics.inference import CellOutcome, Difference, Prediction, Word


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, or over pairs of runs, with its 95 % interval.

    Args:
        mean: a fraction.
        low: of the interval; nan with fewer than two runs.
        high: likewise.
        n: runs or pairs.
    """

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class FindingRow:
    """One loss on one data set: its accuracy at the paper's learning rate and at its own.

    Args:
        dataset: label.
        loss: label.
        at_paper: at the paper's learning rate; None: not yet run.
        at_own: at the loss's own learning rate; None: not yet run.
        own_lr: the loss's own learning rate; None: not known yet.
        paper: the number that the paper prints, a fraction; None: it prints none.
        other_reading: the loss as the paper may have meant it, at the paper's learning rate; None: there is none.
    """

    dataset: str
    loss: str
    at_paper: Estimate | None
    at_own: Estimate | None
    own_lr: float | None
    paper: float | None
    other_reading: Estimate | None = None


@dataclass(frozen=True)
class LeadRow:
    """The lead of the first loss of a contrast over the second, paired over seeds.

    Args:
        contrast: such as "LGL-INR - SML"; a panel each.
        dataset: label.
        setting: such as "paper's learning rate"; a marker each.
        seeds: such as "0 to 4".
        lead: a fraction.
        margin: of equivalence, a fraction.
    """

    contrast: str
    dataset: str
    setting: str
    seeds: str
    lead: Estimate
    margin: float


@dataclass(frozen=True)
class WeightRow:
    """The difference in accuracy that LGL-INR's weights make: some beta less even weights (beta 0), paired over seeds.

    Args:
        dataset: label.
        beta: how uneven the weights are; the paper's is 1.
        seeds: such as "0 to 2".
        difference: a fraction.
        margin: of equivalence, a fraction.
        verdict: on the difference, such as "equivalent"; by the row's own test, without correction.
    """

    dataset: str
    beta: float
    seeds: str
    difference: Estimate
    margin: float
    verdict: str = ""


@dataclass(frozen=True)
class LrCurve:
    """Validation accuracy over the learning rate of one loss in one panel.

    Args:
        dataset: title of the panel: the data set, and what else distinguishes it.
        loss: label.
        lrs: learning rates, rising.
        accuracies: fractions, for each learning rate one a run; None: not done, nan: diverged.
        best: the loss's own learning rate, one of `lrs`; None: not known yet.
        at_edge: the best is the lowest or highest that was tried.
        scaled_lr: the paper's learning rate times the factor on the loss in the scale-matched condition; None: none.
        chance: accuracy of guessing, a fraction.
    """

    dataset: str
    loss: str
    lrs: tuple[float, ...]
    accuracies: tuple[tuple[float | None, ...], ...]
    best: float | None
    at_edge: bool
    scaled_lr: float | None
    chance: float


@dataclass(frozen=True)
class CellRow:
    """Runs of one cell and the paper's number.

    Args:
        dataset: label.
        network: with everything that distinguishes the row from others of its loss, such as "CNN2C, beta 2".
        loss: label.
        prediction: of one new run, fractions; without runs its n is 0.
        paper: a fraction; None: the paper has no number.
        outcome: None if the paper has no number.
    """

    dataset: str
    network: str
    loss: str
    prediction: Prediction
    paper: float | None
    outcome: CellOutcome | None


@dataclass(frozen=True)
class ComparisonRow:
    """One paired difference in one cell, under one condition.

    Args:
        contrast: such as "LGL-INR - SML"; a panel each.
        condition: such as "paper".
        cell: such as "CNN2C KMNIST".
        difference: fractions; without pairs its n is 0.
        margin: of equivalence, a fraction.
        word: the verdict.
    """

    contrast: str
    condition: str
    cell: str
    difference: Difference
    margin: float
    word: Word


@dataclass(frozen=True)
class PropertyRow:
    """The two sides of Eq. 9 for one class of one trained network; a row a run.

    Args:
        cell: network and data set, such as "CNN2C KMNIST".
        loss: label.
        split: images that it was measured on.
        class_name: as the data set names it.
        left: left-hand side.
        right: right-hand side.
    """

    cell: str
    loss: str
    split: Literal["train", "test"]
    class_name: str
    left: float
    right: float
