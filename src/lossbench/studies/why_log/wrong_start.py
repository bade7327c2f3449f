"""Confidently wrong networks and what becomes of them: steps to an accuracy by loss and learning rate, and who leaves.

A run that does not reach an accuracy is censored: its steps are inf, which medians take as the largest and no mean has.
So is one that diverged; it is counted as diverged too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from lossbench.config.registry import LABELS
from lossbench.config.run import Config
from lossbench.data.sizes import sizes
from lossbench.runs.gradient_arrays import COUNTS, P_EDGES
from lossbench.runs.records import Record
from lossbench.studies.results import Results
from lossbench.studies.why_log import plan

LEAVING, HIGHER = 0.8, 0.9
"""Held-out accuracies to which steps are counted: the first decides whether a loss leaves."""

State = Literal["leaves", "stays", "undecided"]
"""Whether a loss leaves the wrong start."""


@dataclass(frozen=True)
class Run:
    """How soon a run from a wrong network reaches the two accuracies.

    Args:
        seed: of the run.
        leaving: steps to `LEAVING`, at the first test that has it; inf: not within the run.
        higher: steps to `HIGHER`, likewise.
        diverged: whether the run diverged, so that both are inf.
        end: held-out accuracy after the last step, a fraction; nan: it diverged.
    """

    seed: int
    leaving: float
    higher: float
    diverged: bool
    end: float

    def steps(self, level: float) -> float:
        """Steps to one of the two accuracies."""
        return self.leaving if level == LEAVING else self.higher


@dataclass(frozen=True)
class AtRate:
    """The runs of a loss from a wrong network at one learning rate.

    Args:
        lr: the learning rate.
        runs: one a seed; None: not done.
    """

    lr: float
    runs: tuple[Run | None, ...]

    @property
    def done(self) -> list[Run]:
        """The runs that are done, diverged ones among them."""
        return [run for run in self.runs if run is not None]

    def steps(self, level: float) -> list[float]:
        """Steps of the runs that are done, inf where they do not get there."""
        return [run.steps(level) for run in self.done]

    def median(self, level: float) -> float:
        """Median steps over the seeds that are done; inf: censored, nan: no run is done."""
        known = sorted(self.steps(level))
        if not known:
            return math.nan
        low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
        return high if math.isinf(high) else (low + high) / 2

    def reached(self, level: float) -> int:
        """Seeds that get there."""
        return sum(map(math.isfinite, self.steps(level)))

    @property
    def diverged(self) -> int:
        """Seeds whose run diverged."""
        return sum(run.diverged for run in self.done)


@dataclass(frozen=True)
class Start:
    """How wrong the networks of a start are.

    Args:
        accuracies: share of held-out images whose wrong label the fitted network predicts, one a finished fit.
        counts: training images of the traced run by bin of p_y before the first step; empty: not traced.
        diverged: fits that diverged, so that there is no start.
    """

    accuracies: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    diverged: int = 0

    @property
    def median_between(self) -> tuple[float, float] | None:
        """The bin of p_y that has its median, 0 and 1 at the ends; None: not traced.

        The mean of the two middle images, which may lie in two bins, counts as the lower one.
        """
        if not sum(self.counts):
            return None
        edges = (0.0, *P_EDGES, 1.0)
        place = int(np.searchsorted(np.cumsum(self.counts), sum(self.counts) / 2))
        return edges[place], edges[place + 1]

    def share_below(self, edge: float) -> float:
        """Share of the traced images with p_y below one of `P_EDGES`; nan: not traced.

        Raises:
            ValueError: it is none of them.
        """
        below = sum(self.counts[: P_EDGES.index(edge) + 1])
        return below / sum(self.counts) if sum(self.counts) else math.nan


@dataclass(frozen=True)
class FromWrong:
    """A loss from one kind of wrong start.

    Args:
        loss: label.
        rates: its runs by learning rate, rising; empty: its own wrong start is not known yet.
        start: how wrong the networks are that it starts from.
    """

    loss: str
    rates: tuple[AtRate, ...] = ()
    start: Start = field(default_factory=Start)

    @property
    def is_done(self) -> bool:
        """Whether all its runs are done."""
        return bool(self.rates) and all(run is not None for rate in self.rates for run in rate.runs)

    @property
    def num_done(self) -> int:
        """Its runs that are done."""
        return sum(len(rate.done) for rate in self.rates)

    @property
    def num_planned(self) -> int:
        """All its runs; 0: its own wrong start is not known yet."""
        return sum(len(rate.runs) for rate in self.rates)

    @property
    def diverged(self) -> int:
        """Its runs that diverged."""
        return sum(rate.diverged for rate in self.rates)

    def best(self, level: float) -> AtRate | None:
        """The learning rate with the smallest median, the smaller of equals; None: no median is finite."""
        known = [rate for rate in self.rates if math.isfinite(rate.median(level))]
        return min(known, key=lambda rate: (rate.median(level), rate.lr), default=None)

    def seeds_reaching(self, level: float) -> int:
        """Seeds that get there at one learning rate at least."""
        return len({run.seed for rate in self.rates for run in rate.done if math.isfinite(run.steps(level))})

    @property
    def num_seeds(self) -> int:
        """Seeds of the plan that have a run that is done."""
        return len({run.seed for rate in self.rates for run in rate.done})

    @property
    def state(self) -> State | None:
        """Whether it leaves, by the study's rules; None: runs that decide are not done.

        It leaves once every seed has got there at some rate, also before all rates are done.
        """
        reaching = self.seeds_reaching(LEAVING)
        if reaching == len(plan.RIGHTING_SEEDS):
            return "leaves"
        if not self.is_done:
            return None
        return "undecided" if reaching else "stays"


class WrongStart:
    """All runs from wrong networks, from the common one or from each loss's own.

    Args:
        results: all known runs.
        own_start: whether each loss starts from a network that it fitted itself.
    """

    def __init__(self, results: Results, own_start: bool = False) -> None:
        self.results, self.own_start = results, own_start

    @cached_property
    def _planned(self) -> dict[str, list[plan.Righting]]:
        found: dict[str, list[plan.Righting]] = {}
        for one in plan.rightings(self.results.accuracy):
            if one.own_start == self.own_start:
                found.setdefault(one.loss, []).append(one)
        return found

    @cached_property
    def losses(self) -> list[FromWrong]:
        """Each loss, in the study's order; SML's own start is the common one, and not in the second kind."""
        labels = [LABELS[loss.name] for loss in plan.LOSSES if not (self.own_start and loss.name == "sml")]
        return [self._of(label, self._planned.get(label, [])) for label in labels]

    @cached_property
    def by_label(self) -> Mapping[str, FromWrong]:
        """The same by label."""
        return {one.loss: one for one in self.losses}

    @cached_property
    def traced(self) -> dict[str, Config]:
        """A run of each loss whose gradients are traced, by label: at the best rate, else at the best end so far.

        Losses without such a run are left out.
        """
        found = {}
        for label, planned in self._planned.items():
            done = {
                one.lr: (run.leaving, -run.end, one.config)
                for one in planned
                if one.config.seed == plan.TRACED_SEED
                and (run := run_of(self.results, one.config)) is not None
                and not run.diverged
            }
            best = self.by_label[label].best(LEAVING)
            if best is not None and best.lr in done:
                found[label] = done[best.lr][-1]
            elif done:
                found[label] = min(done.values(), key=lambda one: one[:2])[-1]
        return found

    @property
    def num_done(self) -> int:
        """Runs that are done."""
        return sum(one.num_done for one in self.losses)

    @property
    def start(self) -> Start:
        """The common start: the fits of all seeds, and the first trace of any loss."""
        return next((one.start for one in self.losses if one.start.counts), self.losses[0].start)

    def _of(self, label: str, planned: Sequence[plan.Righting]) -> FromWrong:
        by_lr: dict[float, list[Run | None]] = {}
        for one in planned:
            by_lr.setdefault(one.lr, []).append(run_of(self.results, one.config))
        rates = tuple(AtRate(lr, tuple(runs)) for lr, runs in sorted(by_lr.items()))
        return FromWrong(label, rates, self._start(planned))

    def _start(self, planned: Sequence[plan.Righting]) -> Start:
        fits = {self.results.name(one.start): one.start for one in planned}
        values = [self.results.accuracy(fit) for fit in fits.values()]
        known = tuple(value for value in values if value is not None and not math.isnan(value))
        lost = sum(value is not None and math.isnan(value) for value in values)
        return Start(known, self._counts(planned), lost)

    def _counts(self, planned: Sequence[plan.Righting]) -> tuple[int, ...]:
        """Traced images by bin of p_y before the first step, of the first run that has them."""
        for one in planned:
            if one.config.seed != plan.TRACED_SEED:
                continue
            arrays = self.results.arrays(one.config)
            if arrays is not None and len(arrays.get(COUNTS, ())):
                return tuple(int(count) for count in arrays[COUNTS][0])
        return ()


def run_of(results: Results, config: Config) -> Run | None:
    """How soon a run gets there; None: it is not done."""
    record = results.record(config)
    if record is not None:
        end = float(record.fields["test_accuracy"])
        return Run(config.seed, steps_to(record, LEAVING), steps_to(record, HIGHER), False, end)
    if results.name(config) in results.diverged:
        return Run(config.seed, math.inf, math.inf, True, math.nan)
    return None


def steps_to(record: Record, level: float) -> float:
    """Steps to the first test with at least an accuracy, within epochs or at the end of one; inf: there is none."""
    fields = record.fields
    schedule = fields["config"]["schedule"]
    each = steps_of_epoch(fields.get("num_train") or _num_train(), schedule["batch_size"])
    tests = [(int(line["step"]), float(line["test/accuracy"])) for line in fields.get("within_epochs", ())]
    tests += [(each * epoch, float(value)) for epoch, value in enumerate(fields["curves"]["test/accuracy"], 1)]
    return min((float(step) for step, accuracy in tests if accuracy >= level), default=math.inf)


def steps_of_epoch(num_train: int, batch_size: int) -> int:
    """Batches of an epoch, a smaller last one among them."""
    return math.ceil(num_train / batch_size)


def most_steps() -> int:
    """Steps of a run from a wrong network."""
    return plan.RIGHTING.epochs * steps_of_epoch(_num_train(), plan.RIGHTING.batch_size)


def _num_train() -> int:
    """Training images that are left where some are held out."""
    return sizes(plan.start(0, plan.LOSSES[0], plan.FITTING.lr).dataset).num_train
