"""Numbers of the study's runs."""

import math
from typing import Any

import numpy as np

from lossbench.config.run import Config
from lossbench.runs.measures import compared_map
from lossbench.runs.records import Record
from lossbench.studies.contrasts import Value
from lossbench.studies.results import Results, epochs_to_end, last

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
