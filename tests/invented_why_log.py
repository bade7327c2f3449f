"""Invented runs of the study `why_log`: from scratch, with wrong labels, and from confidently wrong networks."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from invented import Known
from invented_comparison import ON, UPS_AND_DOWNS, Invented
from scipy import stats

from lossbench.config.registry import LABELS
from lossbench.config.run import Config, run_id
from lossbench.runs.gradient_arrays import COUNTS
from lossbench.studies.comparison import Comparison
from lossbench.studies.why_log import plan

EPOCH = 907
"""Steps of an epoch on 58,000 images: 906 batches of 64 and one of 16."""

OWN = (0.0, 0.0002, -0.0002, 0.0001, -0.0001)
"""What a loss's accuracies have beside its mean and the ups and downs of all: sd 0.016 points, mean 0."""


NEVER = math.inf

LOWER, HIGHER, SAME = -1.0, 1.0, 0.02
"""Differences in points that are lower, higher, and equivalent within 0.25 points, with the spread of `OWN`."""


FAST, SLOW = (0.9, 1.0, 1.1, 0.8, 0.95), (0.30, 0.33, 0.31, 0.35, 0.29)
"""Speeds of a curve by seed: the accuracy is 0.3 exp(-speed epoch) below its end."""


def difference(gap: float) -> tuple[float, float, float]:
    """Mean, and ends of its 95 % interval, in points, by hand."""
    values = np.array(OWN) * 100 + gap
    half = stats.t.ppf(0.975, 4) * values.std(ddof=1) / math.sqrt(5)
    return values.mean(), values.mean() - half, values.mean() + half


class Compared(Invented):
    """One comparison of the study, filled run by run into common results."""

    def __init__(self, comparison: Comparison, results: Known) -> None:
        self.comparison, self.results = comparison, results


class World:
    """All invented runs of the study."""

    def __init__(self) -> None:
        self.results = Known()

    def scratch(self, dataset: str, gaps: Mapping[str, float | None], speeds: Mapping[str, Sequence[float]]) -> None:
        """Runs from scratch: SML at 90 %, and the losses with a difference to it in points; None: no reported runs."""
        self._compare(plan.from_scratch(dataset), gaps, speeds)

    def noise(self, share: float, gaps: Mapping[str, float | None]) -> None:
        """The same with wrong labels."""
        self._compare(plan.with_noise(share), gaps, {})

    def _compare(
        self, comparison: Comparison, gaps: Mapping[str, float | None], speeds: Mapping[str, Sequence[float]]
    ) -> None:
        invented = Compared(comparison, self.results)
        for name, gap in {"sml": 0.0, **gaps}.items():
            label = LABELS[name]
            invented.choose(label, 0.1)
            if gap is None:
                continue
            for config in invented.at_own(label).configs:
                seed = config.seed
                own = OWN[seed] if name != "sml" else 0.0
                speed = speeds[name][seed] if name in speeds else 1.0
                self.results.add(config, 0.9 + UPS_AND_DOWNS[seed] + gap / 100 + own, speed=speed, **ON)

    def lose(self, comparison: Comparison, name: str, seed: int) -> None:
        """Let a reported run diverge, or a missing one be diverged."""
        cell = comparison.at_own(LABELS[name], self.results.accuracy)
        assert cell is not None
        self.diverge(cell.configs[seed])

    def diverge(self, config: Config) -> None:
        key = run_id(config)
        self.results.records = {name: one for name, one in self.results.records.items() if name != key}
        self.results.diverged |= {key}

    def fits(self, accuracy: float = 0.89) -> None:
        """The networks of the common start."""
        for seed in plan.RIGHTING_SEEDS:
            self.results.add(plan.start(seed, plan.LOSSES[0], plan.FITTING.lr), accuracy + 0.001 * seed)

    def righting(
        self, label: str, lr: float, seed: int, steps: float | None, higher: float = math.inf, own: bool = False
    ) -> Config:
        """A run from a wrong network that gets to 80 and 90 % after some steps, multiples of 50; None: it diverged."""
        (one,) = (
            one
            for one in plan.rightings(self.results.accuracy)
            if (one.loss, one.lr, one.config.seed, one.own_start) == (label, lr, seed, own)
        )
        if steps is None:
            self.diverge(one.config)
            return one.config
        add_tests(self.results, one.config, steps, higher)
        return one.config

    def from_wrong(
        self, label: str, steps: Sequence[float | None], lrs: Sequence[float] = plan.RIGHTING_LRS, own: bool = False
    ) -> None:
        """The runs of a loss: a number of steps a seed, the same at each of some learning rates."""
        for one in plan.rightings(self.results.accuracy):
            if one.loss == label and one.own_start == own and one.lr in lrs and one.config.seed < len(steps):
                found = steps[one.config.seed]
                if found is None:
                    self.diverge(one.config)
                else:
                    add_tests(self.results, one.config, found, math.inf)

    def trace(self, config: Config, counts: Sequence[int]) -> None:
        """The gradient trace's images by bin of p_y: before the first step, and once later."""
        self.results.given[run_id(config)] = {COUNTS: np.array([counts, [0] * len(counts)])}


def add_tests(results: Known, config: Config, steps: float, higher: float, **changes: Any) -> None:
    """A run whose held-out accuracy is 10 %, then 85 %, then 95 %."""

    def accuracy(step: float) -> float:
        return 0.95 if step >= higher else 0.85 if step >= steps else 0.1

    ends = [EPOCH * epoch for epoch in range(1, 5)]
    within = [{"step": step, "test/accuracy": accuracy(step)} for step in range(50, ends[-1], 50)]
    curve = [accuracy(step) for step in ends]
    fields = {"within_epochs": within, "num_train": 58000, "curves": {"test/accuracy": curve}}
    results.add(config, curve[-1], **fields | changes)
