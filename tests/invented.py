"""Invented runs for the rules: accuracies, curves and arrays by config, nothing on disk."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossbench.config.run import Config, Runtime, run_id
from lossbench.runs.records import Found, Record
from lossbench.studies import study
from lossbench.studies.aaai20.claims import FAMILIES
from lossbench.studies.aaai20.conditions import PLACES, cells, curve
from lossbench.studies.aaai20.keys import CNN2C, with_beta
from lossbench.studies.cells import Cell, Key
from lossbench.studies.results import Results

FAMILY = {family.label: family for family in FAMILIES}
WOBBLE = (0.0, 0.0002, -0.0001, 0.0003, -0.0004)
LEVEL = {"LGL": 0.90, "SML": 0.93, "LGL-INR": 0.94, "beta 1": 0.94, "beta 2": 0.9401, "beta 4": 0.9399}


class Known(Results):
    """Invented runs: accuracies and curves, and arrays as they are given."""

    def __init__(self, *diverged: str) -> None:
        super().__init__(Found({}, []), {})
        self.diverged = frozenset(diverged)
        self.given: dict[str, dict[str, np.ndarray]] = {}

    def add(self, config: Config, accuracy: float, **changes: Any) -> None:
        epochs = np.arange(1, 21)
        curve = (accuracy - 0.3 * np.exp(-epochs * changes.pop("speed", 1.0))).tolist()
        curve[-1] = accuracy
        fields = {
            "run_id": run_id(config),
            "config": asdict(config),
            "test_accuracy": accuracy,
            "test_accuracy_best": accuracy + 0.001,
            "device": "cpu",
            "precision": "fp32",
            "curves": {"test/accuracy": curve, "train/accuracy": curve},
        }
        self.records = {**self.records, run_id(config): Record(fields | changes, Path("nowhere.npz"))}

    def fill(self, cell: Cell, accuracy: Callable[[int], float], seeds: range = range(5), **changes: Any) -> None:
        for config in cell.configs:
            if config.seed in seeds:
                self.add(config, accuracy(config.seed), **changes)

    def arrays(self, config: Config) -> Mapping[str, np.ndarray] | None:
        return self.given.get(run_id(config))


def plan_alone(monkeypatch: pytest.MonkeyPatch, blocks: list[tuple[str, list[Config]]]) -> None:
    """Let there be a single study, with these blocks of runs."""

    class Alone(study.Study):
        def plan(self, known: study.Known) -> Iterator[tuple[str, list[Config]]]:
            return iter(blocks)

    monkeypatch.setattr("lossbench.studies.study.studies", lambda: [Alone()])


def unknown(config: Config) -> float | None:
    return None


def level(key: Key, **changes: float) -> Callable[[int], float]:
    """Accuracy by seed: common ups and downs of 1 point, and a loss's own of some hundredths."""
    network, _, loss = key.labels
    own = (LEVEL | changes)[loss]
    turn = sorted(LEVEL).index(loss) + len(network) + 2 * ("5" in network)
    return lambda seed: own + 0.005 * seed + WOBBLE[(seed + turn) % 5] * (1 + turn / 10)


def all_of_cnn2c() -> Known:
    """All CNN2C cells of the paper's condition with five seeds; LGL-INR a point above SML everywhere."""
    results = Known()
    for key, cell in cells("paper", unknown).items():
        if key.model == CNN2C and key.loss != with_beta(1.0):  # which is Table 3's cell
            results.fill(cell, level(key))
    return results


def give_own_lr(results: Known, gain: float) -> None:
    """Curves with SML's and LGL's best at 0.1, and runs there: SML `gain` above LGL-INR."""
    for place in PLACES:
        for loss in (
            cell.config.loss for key, cell in cells("paper", unknown).items() if key.place == (CNN2C, "mnist")
        ):
            top = 0.01 if loss.name == "lgl_inr" else 0.1
            for lr, config in curve(place, loss, Runtime()).items():
                results.add(config, 0.9 - abs(math.log(lr / top)) / 100)
    for key, cell in cells("own-lr", results.accuracy).items():
        results.fill(cell, level(key, SML=0.94 + gain, LGL=0.93))
