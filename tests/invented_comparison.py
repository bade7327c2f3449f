"""Invented comparisons: which runs there are, their accuracies and logits, nothing on disk."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from invented import Known

from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.mnist_type import MnistType
from lossbench.models.cnn2c import Cnn2c
from lossbench.studies.cells import Cell
from lossbench.studies.compared import Compared
from lossbench.studies.comparison import Comparison, Rules

UPS_AND_DOWNS = (0.0, 0.004, -0.003, 0.002, -0.001)
"""Of all losses by seed."""

ON = {"device_name": "a processor", "versions": {"torch": "2.0"}, "commit": "0123456789ab", "wall_s": 36.0}


class Invented:
    """A comparison of registered losses on MNIST whose runs are added one by one."""

    def __init__(self, names: Sequence[str], baseline: str = "sml", **rules: Any) -> None:
        self.labels = {name: LOSSES[name].label for name in names}
        losses = {
            LOSSES[name].label: Config(MnistType(), Cnn2c(), LOSSES[name].options(), Schedule(), 0, Runtime())
            for name in names
        }
        fixed = {"baseline": LOSSES[baseline].label, "margin": 0.0025} | rules
        self.comparison = Comparison(losses, Rules(**fixed))
        self.results = Known()

    @property
    def compared(self) -> Compared:
        return Compared(self.comparison, self.results)

    def put(self, config: Config, accuracy: float | None, **changes: Any) -> None:
        """A run's accuracy; nan: it diverged, None: it is not done."""
        if accuracy is None:
            return
        if math.isnan(accuracy):
            self.results.diverged |= {run_id(config)}
        else:
            self.results.add(config, accuracy, **ON | changes)

    def choose(self, label: str, best: float, top: float = 0.95, noise: float = 0.001, seeds: int = 3) -> None:
        """Runs that choose a learning rate: the best has accuracy `top`, others lose 2 points a factor of 10."""
        for _ in range(self.comparison.rules.rates.most_extensions + 1):
            for lr in self.comparison.wanted(label, self.results.accuracy):
                self._choosing(label, lr, best, top, noise, 1)
        found = self.comparison.choice(label, self.results.accuracy)
        for lr in found.window if found else ():
            self._choosing(label, lr, best, top, noise, seeds)

    def _choosing(self, label: str, lr: float, best: float, top: float, noise: float, seeds: int) -> None:
        for place, config in enumerate(self.comparison.selecting(label, lr)[:seeds]):
            loss = 0.02 * abs(math.log10(lr / best))
            self.put(config, math.nan if lr > 30 * best else top - loss + noise * UPS_AND_DOWNS[place] / 0.004)

    def report(self, cell: Cell, values: Sequence[float | None]) -> None:
        """The reported runs of a cell, by seed."""
        for config, value in zip(cell.configs, values, strict=False):
            self.put(config, value)

    def at_own(self, label: str) -> Cell:
        cell = self.comparison.at_own(label, self.results.accuracy)
        assert cell is not None
        return cell

    def whole(self, label: str, best: float, common: Sequence[float | None], own: Sequence[float | None]) -> None:
        """All runs of a loss."""
        self.choose(label, best)
        self.report(self.comparison.at(label), common)
        self.report(self.at_own(label), own)

    def give_logits(self, configs: Sequence[Config], sharpness: float = 3.0, num: int = 200, classes: int = 10) -> None:
        """Logits of finished runs, whose confusion matrix follows from them."""
        for config in configs:
            random = np.random.default_rng(config.seed)
            labels = np.arange(num) % classes
            logits = sharpness * (np.eye(classes)[labels] + random.normal(0, 0.4, (num, classes)))
            counts = np.zeros((classes, classes), int)
            np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
            self.results.given[run_id(config)] = {
                "test_logits": logits.astype(np.float16),
                "test_labels": labels,
                "confusion_matrix": counts,
            }


def wobbling(mean: float, own: Sequence[float] = (0.0,) * 5) -> list[float]:
    """Five accuracies with the ups and downs of all losses, and others of the loss's own."""
    return [mean + one + other for one, other in zip(UPS_AND_DOWNS, own, strict=True)]
