"""Invented runs of the study softmax_family: every loss on both data sets, its numbers as they are given."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from invented import Known
from invented_comparison import ON, UPS_AND_DOWNS, Invented

from lossbench.losses.entmax import Entmax
from lossbench.losses.sparsemax import Sparsemax
from lossbench.studies.comparison import Comparison
from lossbench.studies.softmax_family import plan

OWN = ((0.0, 0.0004, -0.0003, 0.0002, -0.0005), (0.0005, -0.0002, 0.0003, -0.0004, 0.0001))
"""What the accuracies of losses have beside the ups and downs of all, by turns."""

LEVEL = {"fmnist": 0.91, "kmnist": 0.95}


class OfDataset(Invented):
    """The study's comparison on a data set, its runs among all that are known."""

    def __init__(self, comparison: Comparison, results: Known) -> None:
        self.comparison, self.results = comparison, results


class Study:
    """All runs of the study; SML at `LEVEL`, the others at the same but for what a test changes."""

    def __init__(self) -> None:
        self.results = Known()
        self.sets = {name: OfDataset(plan.comparison(name), self.results) for name in plan.DATASETS}
        for of in self.sets.values():
            for label in of.comparison.losses:
                of.choose(label, 0.1)

    def copy(self) -> "Study":
        found: Study = copy.copy(self)
        found.results = copy.copy(self.results)
        found.results.given = dict(self.results.given)
        found.sets = {name: OfDataset(of.comparison, found.results) for name, of in self.sets.items()}
        return found

    def give(
        self,
        dataset: str,
        label: str,
        gain: float = 0.0,
        ndcg: float = 0.0,
        epochs: Sequence[int] = (8, 9, 8, 10, 9),
        nll: float = 0.0,
        seeds: Sequence[int] = range(5),
        **changes: Any,
    ) -> None:
        """The reported runs of a loss: gains in accuracy, NDCG and NLL over SML's, and epochs to the end by seed."""
        of = self.sets[dataset]
        place = list(of.comparison.losses).index(label)
        loss = of.comparison.losses[label].loss
        for config in of.at_own(label).configs:
            seed = config.seed
            if seed not in seeds:
                continue
            wobble = UPS_AND_DOWNS[seed] + OWN[place % 2][(seed + place) % 5] * bool(place)
            accuracy = LEVEL[dataset] + gain + wobble
            entry = {"nll": 0.3 + nll + wobble, "brier": 0.1, "ece": 0.01, "adaptive_ece": 0.01, "overconfidence": 0.0}
            scores = {"softmax": entry, "tempered": entry | {"nll": entry["nll"] - 0.05}}
            fields: dict[str, Any] = {"ranking": _ranking(0.96 + ndcg + wobble / 2)}
            if isinstance(loss, (Entmax, Sparsemax)):
                scores = {"own": entry | {"nll": entry["nll"] + 0.1, "zeros": 0.02}} | scores
                fields["positive_classes"] = 1.5
            curve = [accuracy - 0.02] * (epochs[seed] - 1) + [accuracy] * (21 - epochs[seed])
            fields |= {"scores": scores, "curves": {"test/accuracy": curve, "train/accuracy": curve}}
            self.results.add(config, accuracy, **ON | fields | changes)

    def diverge(self, dataset: str, label: str, seeds: Sequence[int]) -> None:
        of = self.sets[dataset]
        names = [self.results.name(config) for config in of.at_own(label).configs if config.seed in seeds]
        self.results.records = {name: one for name, one in self.results.records.items() if name not in names}
        self.results.diverged |= set(names)

    def drop(self, dataset: str, label: str, seeds: Sequence[int], *fields: str) -> None:
        """Runs that are not done; or, with fields, whose records lack these."""
        of = self.sets[dataset]
        for config in of.at_own(label).configs:
            if config.seed in seeds:
                name = self.results.name(config)
                known = dict(self.results.records)
                record = known.pop(name)
                self.results.records = known
                if fields:
                    kept = {key: value for key, value in record.fields.items() if key not in fields}
                    self.results.records = known | {name: type(record)(kept, record.arrays_path)}

    def give_all(self, changes: Callable[[str, str], Mapping[str, Any]] = lambda dataset, label: {}) -> "Study":
        for dataset, of in self.sets.items():
            for label in of.comparison.losses:
                self.give(dataset, label, **changes(dataset, label))
        return self


def _ranking(ndcg: float) -> dict[str, float]:
    return {"ndcg": ndcg, "mrr": ndcg - 0.02, "top2": 0.97, "top3": 0.98, "top5": 0.99, "ties": 0.0003}
