"""Invented runs and measurements of the study many_classes: every method, its numbers as they are given."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

from invented import Known
from invented_comparison import ON

from lossbench.config.run import Config
from lossbench.runs.measurements import Identity
from lossbench.studies.many_classes import gradient_noise, known_posterior, plan, step_costs, step_times
from lossbench.studies.many_classes.evidence import Evidence

WOBBLE = (0.0, 0.01, -0.01, 0.02, -0.02)
"""NLL of all methods by seed, beside their level."""

OWN = (0.001, -0.002, 0.003, -0.001, -0.001)
"""What the NLL of a method has beside that, by seed, turned by the method's place."""

LEVEL, ACCURACY = 4.9, 0.18

NUM_TRAIN = 744_502


class Measured(Known):
    """Invented runs with invented measurements, nothing on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.measurements: dict[str, Mapping[str, Any]] = {}

    def measured(self, identity: Identity) -> Mapping[str, Any] | None:
        return self.measurements.get(identity.id)


def own(label: str, seed: int) -> float:
    """A method's own ups and downs; those of SML are 0."""
    place = [one.label for one in plan.METHODS].index(label)
    return OWN[(seed + place) % 5] if place else 0.0


class Study:
    """The runs of the study: a test gives each method's, or all alike but for what it changes."""

    def __init__(self) -> None:
        self.results = Measured()
        self.comparison = plan.comparison()
        for one in plan.METHODS:
            self.choose(one.label, 0.1)

    def copy(self) -> "Study":
        found: Study = copy.copy(self)
        found.results = copy.copy(self.results)
        found.results.measurements = dict(self.results.measurements)
        return found

    @property
    def known(self) -> Evidence:
        return Evidence(self.results)

    def choose(self, label: str, best: float) -> None:
        """The runs that choose a method's learning rate: 2 points less a factor of 10 from the best."""
        for _ in range(plan.RATES.most_extensions + 1):
            for lr in self.comparison.wanted(label, self.results.accuracy):
                for config in self.comparison.selecting(label, lr):
                    self.results.add(config, ACCURACY - 0.02 * abs(math.log10(lr / best)))

    def configs(self, label: str) -> tuple[Config, ...]:
        cell = self.comparison.at_own(label, self.results.accuracy)
        assert cell is not None
        return cell.configs

    def give(
        self,
        label: str,
        nll: float = 0.0,
        gain: float = 0.0,
        ndcg: float = 0.0,
        seeds: Sequence[int] = range(5),
        early: Sequence[float] | None = None,
        **changes: Any,
    ) -> None:
        """The reported runs of a method: NLL, accuracy and NDCG at 10 beyond the levels.

        Args:
            label: of the method.
            nll: in nats.
            gain: of accuracy, a fraction.
            ndcg: likewise.
            seeds: of the runs that are done.
            early: NLL beyond the level at the end of each epoch before the last; None: half a nat more each.
            changes: fields of the records.
        """
        one = plan.method(label)
        self.results.diverged -= {self.results.name(config) for config in self.configs(label)}
        for config in self.configs(label):
            if config.seed not in seeds:
                continue
            shift, end = WOBBLE[config.seed] + own(label, config.seed), LEVEL + nll
            before = [end + 0.5 * (one.epochs - epoch) for epoch in range(1, one.epochs)]
            before = before if early is None else [LEVEL + value for value in early]
            curve = [math.exp(value + shift) for value in (*before, end)]
            accuracy = ACCURACY + gain - shift / 10
            metrics = {
                "test/perplexity": curve[-1],
                "test/top5_accuracy": accuracy + 0.2,
                "test/mrr": accuracy + 0.1,
                "test/ndcg10": 0.3 + ndcg - shift / 10,
            }
            bands = {"head": 0.4, "middle": 0.1, "tail": 0.01}
            fields: dict[str, Any] = {
                "metrics": metrics,
                "curves": {"test/accuracy": [accuracy] * one.epochs, "test/perplexity": curve},
                "num_train": NUM_TRAIN,
                "macro_recall": 0.03,
                "by_frequency": {
                    name: {"accuracy": value, "nll": 5.0, "test_samples": 100, "classes": 10}
                    for name, value in bands.items()
                },
            }
            if one.every is not None:
                fields["within_epochs"] = [
                    {"step": one.every * nth, "test/perplexity": math.exp(within(nth) + nll + shift)}
                    for nth in range(1, 16)
                ]
            self.results.add(config, accuracy, **ON | fields | changes)

    def give_all(self, changes: Mapping[str, Mapping[str, Any]] | None = None, **usual: Any) -> "Study":
        """The runs of all methods, those of SML at the levels, the others as usual but for some methods' changes."""
        for one in plan.METHODS:
            self.give(
                one.label, **({} if one.label == plan.BASELINE else usual) | dict((changes or {}).get(one.label, {}))
            )
        return self

    def diverge(self, label: str, seeds: Sequence[int] = range(5)) -> None:
        names = {self.results.name(config) for config in self.configs(label) if config.seed in seeds}
        self._without(names)
        self.results.diverged |= names

    def drop(self, label: str, seeds: Sequence[int] = range(5)) -> None:
        self._without({self.results.name(config) for config in self.configs(label) if config.seed in seeds})

    def _without(self, names: set[str]) -> None:
        self.results.records = {name: one for name, one in self.results.records.items() if name not in names}

    def time(self, ratio: float = 0.05, **ratios: float) -> "Study":
        """Times of steps over SML's: full ones 1, all others alike but for some, by label."""
        losses: dict[str, Any] = {}
        for one in plan.METHODS:
            value = ratios.get(one.label, 1.0 if one.kind == "full" else ratio)
            step = {"median": value, "low": value, "high": value}
            losses[one.label] = {"failed": None, "step": step, "step_mb": 1.0, "rounds": 9}
        about = {"device": "a processor", "torch": "2.15.0", "batch_size": 512}
        self.results.measurements[step_times.identity().id] = {"losses": losses} | about
        return self

    def noise(self, by_label: Mapping[str, tuple[float, float]], states: Sequence[str] = ("trained",)) -> "Study":
        """Bias and standard deviation in the output layer, by the method's label; of all others 0.5 and 1."""
        keys = {plan.key_of(one.loss): one.label for one in plan.METHODS if plan.is_estimate(one)}
        found = {}
        for one in gradient_noise.methods():
            bias, sd = by_label.get(keys.get(plan.key_of(one.loss), ""), (0.5, 1.0))
            head = {"bias2": bias**2, "bias2_se": 1e-6, "variance": sd**2}
            features = {"bias2": 9.0, "bias2_se": 1e-6, "variance": 81.0}
            found[one.name] = {"head": head, "features": features}
        norms = {"head": [0.2, 0.25], "features": [0.02, 0.03]}
        about = {"draws": 200, "batches": 4, "batch_size": 512, "classes": 9580, "log_sum_exp": [0.0, 1.25]}
        whole = {"estimators": found, "references": {"full_softmax": norms, "lgl": norms}} | about
        for state in states:
            self.results.measurements[gradient_noise.identity(state).id] = whole
        return self

    def cost(self, full: float = 1.0, sampled: float = 0.0, noise: float = 0.01) -> "Study":
        """Times of steps that grow as K to the power of one number with full losses, and of another with the others."""
        for num in step_costs.SIZES:
            losses = {}
            turn = 1 if num < 5000 else -1
            wobble = [1 + turn * noise * (nth - 4) for nth in range(step_costs.ROUNDS)]
            for one in step_costs.METHODS:
                slope = full if one.kind == "full" else sampled
                ms = [(num / 1000) ** slope * factor for factor in wobble]
                losses[one.name] = {"ms": ms, "baseline_ms": ms, "mb": 1.0, "mflop": float(num)}
            found = {"losses": losses, "device": "a processor", "torch": "2.15.0"}
            self.results.measurements[step_costs.identity(num).id] = found
        return self


def within(nth: int) -> float:
    """NLL of SML at its nth test, fifths of an epoch; 0.1 nats less from test to test."""
    return LEVEL + 0.1 * (15 - nth)


def give_posterior(results: Known, frequencies: Any, size: int, values: Mapping[str, Sequence[float]]) -> None:
    """Runs with a known posterior: NLL above it, one a seed; nan: diverged. The learning rates are chosen first."""
    comparison = known_posterior.comparison(frequencies)
    for label in known_posterior.LOSSES:
        for _ in range(3):
            for lr in comparison.wanted(label, results.accuracy):
                for config in comparison.selecting(label, lr):
                    results.add(config, 0.5 - abs(math.log10(lr / 0.3)) / 10)
    for label, above in values.items():
        configs = known_posterior.reported(frequencies, label, size, results.accuracy)
        for config, value in zip(configs, above, strict=False):
            if math.isnan(value):
                results.diverged |= {results.name(config)}
            else:
                metrics = {"test/perplexity": math.exp(2.0 + value)}
                results.add(config, 0.5, metrics=metrics, bayes={"nll": 2.0, "accuracy": 0.6})
