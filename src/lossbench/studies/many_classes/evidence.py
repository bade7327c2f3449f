"""What the runs and measurements say of each method: quality, cost, and bias and variance of its gradient."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lossbench.config.run import Config
from lossbench.runs.records import Record
from lossbench.statistics.inference import MarginTest, Pairs, finished, tost
from lossbench.studies.compared import Compared
from lossbench.studies.contrasts import Contrast, Value, contrasts, pairs_between, values
from lossbench.studies.many_classes import plan, step_times
from lossbench.studies.many_classes.gradient_noise import NoiseOf, noises
from lossbench.studies.many_classes.step_times import StepTime
from lossbench.studies.results import Results

TOO_LARGE = sys.float_info.max
"""What a record has for a perplexity that is too large for a float."""


def nll(results: Results, config: Config) -> float | None:
    """NLL of the softmax of all logits on the test positions after the last epoch, in nats.

    None where the record has no finite one.
    """
    record = results.record(config)
    return results.accuracy(config) if record is None else _nll_of(record)


def _nll_of(record: Record) -> float | None:
    """From the perplexity; where that is too large for a float, from the NLLs of the bands of frequency."""
    perplexity = float(record.fields["metrics"]["test/perplexity"])
    if perplexity < TOO_LARGE:
        return math.log(perplexity)
    bands = [one for one in record.fields.get("by_frequency", {}).values() if one["test_samples"]]
    if not bands or any(one["nll"] is None for one in bands):
        return None
    total = sum(one["nll"] * one["test_samples"] for one in bands)
    return float(total / sum(one["test_samples"] for one in bands))


def accuracy(results: Results, config: Config) -> float | None:
    """Test accuracy after the last epoch, a fraction."""
    return results.accuracy(config)


@dataclass(frozen=True)
class Metric:
    """A metric of a run that its data set declares."""

    name: str

    def __call__(self, results: Results, config: Config) -> float | None:
        """Its value after the last epoch."""
        if self.name == "accuracy":
            return results.accuracy(config)
        return results.value(config, lambda record: float(record.fields["metrics"][f"test/{self.name}"]))


def macro_recall(results: Results, config: Config) -> float | None:
    """Mean recall of the classes with test samples, a fraction; None where the record lacks it."""
    record = results.record(config)
    return None if record is None or "macro_recall" not in record.fields else float(record.fields["macro_recall"])


@dataclass(frozen=True)
class InBand:
    """Accuracy on the classes of a band of frequency, a fraction; None where the record lacks it.

    Args:
        band: of `statistics.by_frequency.BANDS`.
    """

    band: str

    def __call__(self, results: Results, config: Config) -> float | None:
        """The accuracy after the last epoch."""
        record = results.record(config)
        found = None if record is None else record.fields.get("by_frequency", {}).get(self.band, {}).get("accuracy")
        return None if found is None else float(found)


@dataclass(frozen=True)
class Tested:
    """NLL of a run at one of its tests.

    Args:
        epochs: passes through the training data by then, also parts of one.
        nll: in nats.
    """

    epochs: float
    nll: float


def tests_of(record: Record) -> list[Tested]:
    """NLL at every test of a run, in order; without tests whose perplexity is too large for a float."""
    curves, steps = record.fields["curves"], _steps_of_epoch(record)
    found = {line["step"] / steps: line["test/perplexity"] for line in record.fields.get("within_epochs", [])}
    found |= {epoch + 1.0: value for epoch, value in enumerate(curves["test/perplexity"])}  # a test at the end is one
    return [Tested(epochs, math.log(value)) for epochs, value in sorted(found.items()) if value < TOO_LARGE]


@dataclass(frozen=True)
class AtCost:
    """NLL of a run at its last test that costs no more than a budget; None where it has no test so early.

    Args:
        budget: in epochs of the run's own method.
        epochs: whether the epochs until that test are wanted in place of its NLL.
    """

    budget: float
    epochs: bool = False

    def __call__(self, results: Results, config: Config) -> float | None:
        """The NLL in nats, or the epochs."""
        record = results.record(config)
        if record is None:
            return results.accuracy(config)
        before = [one for one in tests_of(record) if one.epochs <= self.budget]
        if not before:
            return None
        return before[-1].epochs if self.epochs else before[-1].nll


def _steps_of_epoch(record: Record) -> int:
    num, size = int(record.fields["num_train"]), int(record.fields["config"]["schedule"]["batch_size"])
    return math.ceil(num / size)


@dataclass(frozen=True)
class EqualCost:
    """The long runs of sampled softmax beside SML at the last test that costs no more.

    Args:
        epochs: of SML at that test, mean over seeds; nan: no finished run of SML was tested so early.
        pairs: NLL of sampled softmax less that of SML, by seed.
        missing: seeds without a pair though no run of them diverged.
    """

    epochs: float
    pairs: Pairs
    missing: int


class Evidence:
    """The study's runs and measurements as far as they are known."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.compared = Compared(plan.comparison(), results)

    @cached_property
    def accuracy(self) -> list[Contrast]:
        """Accuracy of each method less SML's, Holm over the methods."""
        return contrasts(self.compared, accuracy)

    @cached_property
    def nll(self) -> list[Contrast]:
        """NLL of each method less SML's, Holm over the methods."""
        return contrasts(self.compared, nll, better=-1)

    @cached_property
    def times(self) -> dict[str, StepTime]:
        """Time of a training step over SML's, by method; empty while it is not measured."""
        return step_times.found(self.results)

    def of(self, label: str, value: Value | None = None) -> list[float]:
        """A metric of a method's finished reported runs; None: the NLL."""
        return finished(values(self.compared, label, value or nll))

    def num_diverged(self, label: str) -> int:
        """Reported runs of a method that diverged."""
        return next(one for one in self.compared.losses if one.label == label).at_own.diverged

    def cost(self, label: str, epochs: float) -> float | None:
        """Cost of some epochs of a method, in epochs of SML; None while it is not measured."""
        found = self.times.get(label)
        return None if found is None else epochs * found.ratio

    def pairs(self, first: str, second: str, value: Value | None = None) -> tuple[Pairs, int]:
        """A metric of one method less that of another, by seed, and how many seeds are missing; None: the NLL."""
        return pairs_between(self.compared, first, second, value or nll)

    def within_margins(self, label: str) -> "Margins":
        """A method's accuracy and NLL beside the margins."""
        return Margins(
            tost(self._pairs(self.accuracy, label), plan.ACCURACY_MARGIN),
            tost(self._pairs(self.nll, label), plan.NLL_MARGIN),
        )

    @staticmethod
    def _pairs(of: Sequence[Contrast], label: str) -> Pairs:
        return next(one.pairs for one in of if one.label == label)

    @cached_property
    def equal_cost(self) -> EqualCost | None:
        """Sampled softmax for `plan.LONG` epochs beside SML at the same cost; None while costs are not measured."""
        label = plan.LONG_LABEL
        budget = self.cost(label, plan.LONG)
        if budget is None:
            return None
        pairs, missing = pairs_between(self.compared, label, plan.BASELINE, nll, AtCost(budget))
        epochs = finished(values(self.compared, plan.BASELINE, AtCost(budget, epochs=True)))
        return EqualCost(sum(epochs) / len(epochs) if epochs else math.nan, pairs, missing)

    @cached_property
    def noise(self) -> dict[str, NoiseOf]:
        """Bias and standard deviation in the output layer after one epoch of SML, by method; those measured."""
        wanted = {plan.key_of(one.loss): one.label for one in plan.METHODS if plan.is_estimate(one)}
        found = noises(self.results, "trained")
        return {
            wanted[key]: one for one in found if one.part == "head" and (key := plan.key_of(one.method.loss)) in wanted
        }


@dataclass(frozen=True)
class Margins:
    """How a method's accuracy and NLL lie to those of SML.

    Args:
        accuracy: of the difference of accuracies, fractions.
        nll: of the difference of NLLs, in nats.
    """

    accuracy: MarginTest
    nll: MarginTest

    @property
    def keeps(self) -> bool:
        """Whether both 90 % intervals exclude that it is worse by more than the margin."""
        return self.accuracy.low > -self.accuracy.margin and self.nll.high < self.nll.margin
