"""What the runs of a comparison say: each loss's accuracy, and its difference to the baseline."""

from dataclasses import dataclass
from functools import cached_property

from lossbench.runs.groups import Moments, moments
from lossbench.statistics import inference
from lossbench.statistics.improvement import Improvement, improvement
from lossbench.statistics.inference import Difference, MarginTest, Pairs, Word
from lossbench.studies.cells import Cell
from lossbench.studies.comparison import Comparison
from lossbench.studies.learning_rates import Choice, OwnLr
from lossbench.studies.results import Results


@dataclass(frozen=True)
class Accuracies:
    """Test accuracies of a loss's reported runs at one learning rate, fractions.

    Args:
        cell: the runs; None while the learning rate is not known.
        values: one a seed; None: not done, nan: diverged.
    """

    cell: Cell | None
    values: tuple[float | None, ...]

    @property
    def finished(self) -> list[float]:
        """The values of finished runs."""
        return inference.finished(self.values)

    @property
    def moments(self) -> Moments:
        """Mean, standard deviation and number of the finished runs."""
        return moments(self.finished)

    @property
    def diverged(self) -> int:
        """Number of diverged runs, which are in no mean."""
        return inference.num_failed(self.values)


@dataclass(frozen=True)
class Against:
    """A loss beside the baseline at one learning rate of each.

    Args:
        pairs: differences seed by seed, the loss minus the baseline.
        difference: their mean with its 95 % interval.
        p_holm: of no difference, corrected over all losses but the baseline.
        equivalence: the test that the difference is within the margin, with its 90 % interval.
        word: the verdict.
        improvement: the probability that a run of the loss is better than one of the baseline.
    """

    pairs: Pairs
    difference: Difference
    p_holm: float
    equivalence: MarginTest
    word: Word
    improvement: Improvement


@dataclass(frozen=True)
class LossResult:
    """What is known of a loss.

    Args:
        label: as tables write it.
        own: its own learning rate; None while it is not known.
        choice: what the selection seeds say of it; None while its curve is not whole.
        curve: the learning rates of its curve with the validation accuracies, one a selection seed.
        at_common: its reported runs at the common learning rate.
        at_own: those at its own.
        against_common: the loss beside the baseline at the common learning rate; None for the baseline.
        against_own: both at their own.
    """

    label: str
    own: OwnLr | None
    choice: Choice | None
    curve: dict[float, tuple[float | None, ...]]
    at_common: Accuracies
    at_own: Accuracies
    against_common: Against | None
    against_own: Against | None


class Compared:
    """A comparison and its runs."""

    def __init__(self, comparison: Comparison, results: Results) -> None:
        self.comparison = comparison
        self.results = results

    @cached_property
    def losses(self) -> list[LossResult]:
        """What is known of each loss, in the order of the comparison."""
        comparison, accuracy = self.comparison, self.results.accuracy
        common = {label: self._accuracies(comparison.at(label)) for label in comparison.losses}
        own = {label: self._accuracies(comparison.at_own(label, accuracy)) for label in comparison.losses}
        against = [self._against(known) for known in (common, own)]
        found = []
        for label in comparison.losses:
            points = comparison.points(label, accuracy)
            found.append(
                LossResult(
                    label,
                    comparison.own_lr(label, accuracy),
                    comparison.choice(label, accuracy),
                    {lr: points[lr] for lr in comparison.wanted(label, accuracy)},
                    common[label],
                    own[label],
                    against[0].get(label),
                    against[1].get(label),
                )
            )
        return found

    @property
    def baseline(self) -> LossResult:
        """What is known of the baseline."""
        return next(one for one in self.losses if one.label == self.comparison.rules.baseline)

    @property
    def others(self) -> list[LossResult]:
        """What is known of the other losses."""
        return [one for one in self.losses if one.label != self.comparison.rules.baseline]

    def _accuracies(self, cell: Cell | None) -> Accuracies:
        return Accuracies(cell, () if cell is None else tuple(self.results.values(cell)))

    def _against(self, known: dict[str, Accuracies]) -> dict[str, Against]:
        """Every loss but the baseline beside it, with Holm's correction over them; one without runs counts with p 1."""
        rules = self.comparison.rules
        base = known[rules.baseline]
        pairs = {label: self.results.pairs(known[label].cell, base.cell) for label in self.comparison.others}
        differences = {label: inference.paired_t(one) for label, one in pairs.items()}
        corrected = inference.holm([one.p for one in differences.values()])
        return {
            label: Against(
                pairs[label],
                differences[label],
                p_holm,
                inference.tost(pairs[label], rules.margin),
                inference.compare(pairs[label], rules.margin, p_holm),
                improvement(known[label].finished, base.finished),
            )
            for label, p_holm in zip(pairs, corrected, strict=True)
        }
