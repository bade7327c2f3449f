"""What figures of results are drawn from: estimates with their intervals, in rows; accuracies are fractions."""

from dataclasses import dataclass


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
    """

    dataset: str
    beta: float
    seeds: str
    difference: Estimate
    margin: float
