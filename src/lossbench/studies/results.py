"""Finished and failed runs, own and committed, and the values of a cell's runs seed by seed."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.run import IDENTITY, Config, run_id
from lossbench.runs.measurements import Identity
from lossbench.runs.records import Found, Record, all_records, failures, verify, without_arrays
from lossbench.statistics import inference
from lossbench.statistics.inference import Pairs
from lossbench.studies.cells import Cell
from lossbench.studies.measurements import result_of

MOST_KEPT = 2**29
"""Bytes of arrays that are kept in memory; those of further runs are read whenever they are needed."""

Statistic = Callable[[Record], float]


def last(record: Record) -> float:
    """Test accuracy after the last epoch: the headline."""
    return float(record.fields["test_accuracy"])


def best(record: Record) -> float:
    """Test accuracy of the best epoch, selected on the test set."""
    return float(record.fields["test_accuracy_best"])


def epochs_to_end(split: str) -> Statistic:
    """How soon a run's accuracy on a split is near its own end."""
    return lambda record: inference.epochs_to_end(record.fields["curves"][f"{split}/accuracy"])


def area(split: str) -> Statistic:
    """Area under a run's accuracy curve on a split."""
    return lambda record: inference.area_under_curve(record.fields["curves"][f"{split}/accuracy"])


class Results:
    """All known runs: finished ones by name, why others failed, and which of these diverged."""

    def __init__(self, found: Found, failed: Mapping[str, str], places: Sequence[str | Path] = ()) -> None:
        self.found = found
        self.records = found.records
        self.failed = failed
        self.places = tuple(places)  # folders with measurements, own ones first
        self.diverged = frozenset(found.diverged)
        self.without_arrays = without_arrays(found).keys()  # as an installed lossbench carries none
        self._arrays: dict[str, Mapping[str, np.ndarray] | ValueError | None] = {}
        self._kept = [0]  # bytes of these arrays, shared with `without`
        self._names: dict[str, str] = {}
        self._named: dict[int, tuple[Config, str]] = {}
        self.plans: dict[str, list[tuple[str, list[Config]]]] = {}
        """The runs that belong to each study, by its name; filled in by `Study.planned`."""

    def without(self, names: Collection[str]) -> "Results":
        """The same, as if some runs had not been done."""
        records = {name: one for name, one in self.records.items() if name not in names}
        diverged = {name: one for name, one in self.found.diverged.items() if name not in names}
        fewer = Results(self.found._replace(records=records, diverged=diverged), self.failed, self.places)
        fewer._arrays, fewer._kept = self._arrays, self._kept
        fewer._names, fewer._named = self._names, self._named
        return fewer

    def name(self, config: Config) -> str:
        """A run's name, computed once for each run: judging asks for names tens of thousands of times."""
        if id(config) not in self._named:
            key = repr([getattr(config, part) for part in IDENTITY])  # a tenth of the time of a name
            if key not in self._names:
                self._names[key] = run_id(config)
            self._named[id(config)] = config, self._names[key]  # the config is kept, so that no other has its id
        return self._named[id(config)][1]

    def record(self, config: Config) -> Record | None:
        """The record of a run that is done."""
        return self.records.get(self.name(config))

    def accuracy(self, config: Config) -> float | None:
        """A run's last accuracy, nan where it diverged, None where it is not done."""
        return self.value(config, last)

    def value(self, config: Config, statistic: Statistic) -> float | None:
        """A run's value, nan where it diverged, None where it is not done."""
        record = self.record(config)
        if record is None:
            return math.nan if self.name(config) in self.diverged else None
        return statistic(record)

    def values(self, cell: Cell, statistic: Statistic = last) -> list[float | None]:
        """The values of a cell's runs, seed by seed."""
        return [self.value(config, statistic) for config in cell.configs]

    def measured(self, identity: Identity) -> Mapping[str, Any] | None:
        """The result of a measurement; None where it is not done or damaged."""
        try:
            return result_of(identity, self.places)
        except ValueError:
            return None

    def arrays(self, config: Config) -> Mapping[str, np.ndarray] | None:
        """The arrays of a run, where they are present and undamaged."""
        record = self.record(config)
        try:
            return self._read(record) if record else None
        except ValueError:
            return None

    def test_labels(self, config: Config) -> np.ndarray | None:
        """The classes of a run's test images, [N]; None without its arrays or where they are not known."""
        record, arrays = self.record(config), self.arrays(config)
        return None if record is None or arrays is None else record.test_labels(arrays)

    def problems(self) -> list[str]:
        """A sentence for everything that cannot be trusted, arrays among it."""
        return list(map(str, verify(self.found, self._read)))

    def _read(self, record: Record) -> Mapping[str, np.ndarray] | None:
        """As `Record.arrays`, from the disk once, as long as those kept take less than `MOST_KEPT` bytes."""
        found: Mapping[str, np.ndarray] | ValueError | None
        if record.id in self._arrays:
            found = self._arrays[record.id]
        else:
            try:
                found = record.arrays()
            except ValueError as error:
                found = error
            size = sum(array.nbytes for array in found.values()) if isinstance(found, Mapping) else 0
            if self._kept[0] + size <= MOST_KEPT:
                self._arrays[record.id] = found
                self._kept[0] += size
        if isinstance(found, ValueError):
            raise found
        return found

    def paired(self, first: Config, second: Config) -> bool:
        """Whether two runs may be compared: neither, or the same kind of device and precision."""
        both = [record for record in map(self.record, (first, second)) if record is not None]
        return len({(record.fields["device"], record.fields["precision"]) for record in both}) <= 1

    def pairs(
        self, first: Cell | None, second: Cell | None, statistic: Statistic = last, of_second: Statistic | None = None
    ) -> Pairs:
        """Differences of two cells, seed by seed, in one statistic or in one of each."""
        if first is None or second is None:
            return inference.pair([], [])
        seeds = [(a, b) for a, b in zip(first.configs, second.configs, strict=False) if self.paired(a, b)]
        return inference.pair(
            [self.value(a, statistic) for a, _ in seeds], [self.value(b, of_second or statistic) for _, b in seeds]
        )


def known_results(output_dir: str | Path, results_dir: str | Path | None) -> Results:
    """The own and the committed runs."""
    found = all_records(output_dir, results_dir)
    places = [place for place in (output_dir, results_dir) if place is not None]
    return Results(found, failures(output_dir, found), places)
