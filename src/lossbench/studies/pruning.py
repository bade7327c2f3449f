"""Which logits of the committed runs the report reads; the others are removed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.run import Runtime
from lossbench.data.cifar10 import Cifar10
from lossbench.data.mnist_type import MnistType
from lossbench.runs import pruned
from lossbench.runs.pruned import Pruned
from lossbench.runs.records import Record
from lossbench.studies.results import known_results
from lossbench.studies.study import studies


def prune(results_dir: str | Path, output_dir: str | Path) -> Pruned:
    """Prune the committed records by what the report reads.

    Raises:
        ValueError: a record or its arrays cannot be trusted; nothing is written then.
    """
    results = known_results(output_dir, results_dir)
    read = {results.name(config) for study in studies() for config in study.read_logits(results.accuracy)}
    prepared = _Prepared(output_dir)

    def is_read(record: Record) -> bool:
        """Whether arrays are read: not of runs that choose a learning rate, nor of those with a known posterior."""
        selects = record.fields["config"]["dataset"].get("num_validation") is not None
        return record.id in read or not (selects or "bayes" in record.fields)

    return pruned.prune(results_dir, lambda record: record.id in read, prepared.labels, is_read)


def in_words(done: Pruned) -> str:
    """What pruning did, in a line."""
    told = (
        f"logits dropped from {len(done.dropped)} runs, {done.bytes_saved / 1e6:.1f} MB; {len(done.scored)} records "
        "gained the scores or ranks computed from them"
    )
    if done.unknown:
        told += f"; {len(done.unknown)} runs keep theirs, as the classes of their held-out images are not known here"
    return told


class _Prepared:
    """True classes of runs' test images, from the run, the published tables, or a data set that is prepared here."""

    def __init__(self, output_dir: str | Path) -> None:
        self._output_dir = str(output_dir)
        self._known: dict[str, np.ndarray | None] = {}

    def labels(self, record: Record, arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
        """The labels [N]; None where they are not known."""
        dataset = record.fields["config"]["dataset"]
        own = record.test_labels(arrays)
        if own is not None or not dataset.get("num_validation"):
            return own
        key = repr(sorted((name, str(value)) for name, value in dataset.items()))
        if key not in self._known:
            self._known[key] = self._held_out(dataset)
        return self._known[key]

    def _held_out(self, dataset: Mapping[str, Any]) -> np.ndarray | None:
        from lossbench.data.prepared import labels_tested_on

        kind = Cifar10 if dataset["name"] == "cifar10" else MnistType
        try:
            config = kind(dataset["name"], num_validation=dataset["num_validation"], classes=dataset.get("classes"))
            return labels_tested_on(config, Runtime(output_dir=self._output_dir, download=False))
        except ValueError:  # no published data set, or none that is here
            return None
