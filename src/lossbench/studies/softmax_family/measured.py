"""Numbers of the study's runs, and each loss beside the baseline in one of them, paired by seed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lossbench.config.run import Config
from lossbench.runs.measures import compared_map
from lossbench.runs.records import Record
from lossbench.statistics import inference
from lossbench.statistics.inference import ALPHA, Difference, Pairs
from lossbench.studies.compared import Compared
from lossbench.studies.results import Results, epochs_to_end, last

Value = Callable[[Results, Config], float | None]
"""A number of a run; None: the run is not done, or has not kept what it takes; nan: it diverged."""

METRICS = {"ndcg": "NDCG", "mrr": "MRR", "top2": "Top 2", "top3": "Top 3", "top5": "Top 5"}
"""The numbers of a record's `ranking` that are shown, with their headings."""


def accuracy(results: Results, config: Config) -> float | None:
    """Test accuracy after the last epoch, a fraction."""
    return results.value(config, last)


def epochs(results: Results, config: Config) -> float | None:
    """Epochs until the test accuracy is within 0.5 points of its end."""
    return results.value(config, epochs_to_end("test"))


def ranked(key: str) -> Value:
    """A number of the true class's ranks: from the record, or from the logits of a run whose record lacks it."""

    def value(results: Results, config: Config) -> float | None:
        def of(record: Record) -> float:
            kept = record.fields.get("ranking") or _from_logits(results, config, record).get("ranking", {})
            return float(kept.get(key, math.inf))

        return _known(results.value(config, of))

    return value


def positive_classes(results: Results, config: Config) -> float | None:
    """Mean number of classes with a positive probability through the loss's own map; None: it has none, or not kept."""

    def of(record: Record) -> float:
        kept = record.fields.get("positive_classes")
        found = _from_logits(results, config, record).get("positive_classes") if kept is None else kept
        return math.inf if found is None else float(found)

    return _known(results.value(config, of))


def _known(value: float | None) -> float | None:
    """None where a finished run lacks the number, which is written as inf while it is looked up."""
    return None if value is not None and math.isinf(value) else value


def _from_logits(results: Results, config: Config, record: Record) -> dict[str, Any]:
    """What a record made now has of the ranks, for an older one; empty without logits."""
    from lossbench.statistics.ranking import ranked as of_logits

    arrays, labels = results.arrays(config), results.test_labels(config)
    if arrays is None or labels is None or "test_logits" not in arrays:
        return {}
    return of_logits(arrays["test_logits"], np.asarray(labels, int), config.loss, record.fields.get("class_counts"))


def score(key: str, name: str | None = None) -> Value:
    """A score of the probabilities: through the loss's own map, or by the name of an entry of a record's `scores`.

    Args:
        key: such as "nll" or "zeros".
        name: the entry, such as "tempered"; None: the map by which the loss is compared.
    """

    def value(results: Results, config: Config) -> float | None:
        def of(record: Record) -> float:
            entry: Any = record.fields.get("scores", {}).get(name or compared_map(record.fields), {})
            return float(entry.get(key, 0.0 if key == "zeros" and entry else math.inf))

        return _known(results.value(config, of))

    return value


@dataclass(frozen=True)
class Contrast:
    """A number of a loss less that of the baseline.

    Args:
        label: of the loss.
        pairs: the differences by seed.
        p_holm: of no difference, corrected over the losses that are tested together.
        missing: seeds without a difference though no run of them diverged: not done, without the number, or done on
            different kinds of devices.
        better: 1 if more of the number is better, -1 if less is.
    """

    label: str
    pairs: Pairs
    p_holm: float
    missing: int
    better: int = 1

    @cached_property
    def difference(self) -> Difference:
        """The mean difference with its 95 % interval."""
        return inference.paired_t(self.pairs)

    @property
    def is_better(self) -> bool:
        """Significantly better than the baseline; a loss with diverged runs never is."""
        return self._differs and self.better * self.difference.mean > 0 and not self.pairs.failed_first

    @property
    def is_worse(self) -> bool:
        """Significantly worse; no loss is where runs of the baseline diverged."""
        return self._differs and self.better * self.difference.mean < 0 and not self.pairs.failed_second

    @property
    def _differs(self) -> bool:
        return self.p_holm < ALPHA


def values(compared: Compared, label: str, value: Value) -> list[float | None]:
    """A number of a loss's reported runs at its own learning rate, by seed; all None while that is not known."""
    one = next(one for one in compared.losses if one.label == label)
    if one.at_own.cell is None:
        return [None] * compared.comparison.rules.num_seeds
    return [value(compared.results, config) for config in one.at_own.cell.configs]


def contrasts(compared: Compared, value: Value, labels: Sequence[str] | None = None, better: int = 1) -> list[Contrast]:
    """Losses beside the baseline in one number, with Holm's correction over them; one without runs counts with p 1.

    Args:
        compared: the comparison and its runs.
        value: the number.
        labels: the losses that are tested together; None: all but the baseline.
        better: 1 if more of the number is better, -1 if less is.
    """
    tested = compared.comparison.others if labels is None else labels
    found = [_pairs(compared, label, value) for label in tested]
    corrected = inference.holm([inference.paired_t(pairs).p for pairs, _ in found])
    return [
        Contrast(label, pairs, p, missing, better)
        for label, (pairs, missing), p in zip(tested, found, corrected, strict=True)
    ]


def _pairs(compared: Compared, label: str, value: Value) -> tuple[Pairs, int]:
    """The differences of a loss to the baseline, and the seeds that lack one though no run of them diverged."""
    results, baseline = compared.results, compared.comparison.rules.baseline
    own, base = values(compared, label, value), values(compared, baseline, value)
    cells = [one.at_own.cell for name in (label, baseline) for one in compared.losses if one.label == name]
    configs = zip(*(cell.configs for cell in cells if cell), strict=True) if all(cells) else ()
    alike = [results.paired(*both) for both in configs] or [False] * len(own)
    pairs = inference.pair(
        [a if same else None for a, same in zip(own, alike, strict=True)],
        [b if same else None for b, same in zip(base, alike, strict=True)],
    )
    lost = sum(a is not None and b is not None and math.isnan(a + b) for a, b in zip(own, base, strict=True))
    return pairs, len(own) - pairs.n - lost
