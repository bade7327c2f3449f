"""Whether class weights do on real networks what Eq. 9 and 10 say, judged as docs/statistics.md fixes it; no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lossbench.config.options import ClassWeights
from lossbench.config.registry import labelled_loss
from lossbench.config.run import Config
from lossbench.data.labels import train_counts
from lossbench.statistics import inference, learning_property
from lossbench.statistics.adjustment import Accuracies, accuracies, logit_adjusted, majority, threshold_moved
from lossbench.statistics.inference import MarginTest, Outcome, Pairs
from lossbench.statistics.learning_property import LAW_FACTOR, Balance
from lossbench.studies.imbalance.plan import WEIGHTED, WEIGHTS, Imbalanced
from lossbench.studies.results import Results

ALIKE = 0.05
"""Mean probabilities of the own class nearer than this are equal."""

MARGIN = 0.0025
"""Differences in accuracy on Fashion-MNIST that do not matter, a fraction: docs/statistics.md."""

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")

Method = Literal["logit adjustment", "threshold moving"]


@dataclass(frozen=True)
class Trained:
    """The results of one run on imbalanced data."""

    counts: np.ndarray  # training images of each class, [K]
    weighted: np.ndarray  # likewise times the class's weight
    balances: Mapping[str, Balance]  # by images
    means: Mapping[str, np.ndarray]  # p_jk by images, of the loss's own map, [K, K]
    accuracies: Mapping[Method | None, Accuracies]  # None: as it predicts


@dataclass(frozen=True)
class Law:
    """Eq. 10 of the majority class, (1 - p_00) / p_10, for one loss and class weights on one kind of images."""

    loss: str
    weights: ClassWeights | None
    split: Split
    predicted: float
    measured: tuple[float, ...]  # one a seed
    test: MarginTest  # of the logarithm of measured over predicted


class BySeed(dict[int, Trained]):
    """The finished runs of a cell, and how many diverged."""

    failed = 0


Runs = Mapping[tuple[str, ClassWeights | None], BySeed]
"""The finished runs of one imbalance, by loss and class weights, and by seed."""


def runs_of(results: Results, one: Imbalanced) -> Runs:
    """The finished runs that have their arrays."""
    found = {key: BySeed() for key in one.cells}
    for key, cell in one.cells.items():
        found[key].failed = inference.num_failed(results.values(cell))
        for config in cell.configs:
            run = _trained(results, config, cell.loss)
            if run is not None:
                found[key][config.seed] = run
    return found


def _trained(results: Results, config: Config, loss: str) -> Trained | None:
    record, arrays = results.record(config), results.arrays(config)
    if record is None or arrays is None:
        return None
    fields = record.fields["config"]
    counts, labels = train_counts(fields["dataset"]), record.test_labels(arrays)
    if counts is None or labels is None:
        return None
    predicted: dict[Method | None, Accuracies] = {None: accuracies(arrays["test_predictions"], labels, counts)}
    if "test_logits" in arrays:  # of the runs without class weights
        logits, own = arrays["test_logits"], labelled_loss(loss).probabilities
        predicted["logit adjustment"] = accuracies(logit_adjusted(logits, counts, own), labels, counts)
        predicted["threshold moving"] = accuracies(threshold_moved(logits, counts, own), labels, counts)
    return Trained(
        counts,
        learning_property.weighted_counts(fields["loss"], counts),
        learning_property.balances(fields, arrays, counts, labels),
        {split: arrays[f"{split}_mean_{labelled_loss(loss).probabilities}"] for split in SPLITS},
        predicted,
    )


def predicted_ratio(run: Trained) -> float:
    """Right-hand side of Eq. 10, lambda_1 N_1 / (lambda_0 N_0), class 0 being the majority."""
    return float(run.weighted[1] / run.weighted[0])


def laws(two: Runs) -> list[Law]:
    """Eq. 10 for SML and LGL with each weights, on training and on test images; those with a run."""
    found = []
    for (loss, weights), by_seed in two.items():
        runs = list(by_seed.values()) if loss in WEIGHTED else []
        for split in SPLITS if runs else ():
            predicted = predicted_ratio(runs[0])
            off = [float(run.balances[split].ratio[0]) for run in runs]  # measured over predicted
            with np.errstate(divide="ignore"):
                logs = Pairs(tuple(np.log(off).tolist()), by_seed.failed, 0)
            measured = tuple(ratio * predicted for ratio in off)
            found.append(Law(loss, weights, split, predicted, measured, inference.tost(logs, math.log(LAW_FACTOR))))
    return found


def law_outcome(found: list[Law], split: Split) -> Outcome:
    """Whether Eq. 10 holds with every loss and weights on these images."""
    tests = [law.test for law in found if law.split == split and law.test.n >= inference.MIN_RUNS]
    complete = len(tests) == 2 * len(WEIGHTS)
    return inference.claim_outcome([one.p for one in tests] if complete else [math.nan], [one.refuted for one in tests])


def minority_gains(runs: Runs) -> dict[str, Pairs]:
    """The minority half's accuracy with inverse weights less that with none, by loss."""
    found = {}
    for loss in WEIGHTED:
        weighted, plain = runs[loss, ClassWeights.inverse], runs[loss, None]
        both = sorted(weighted.keys() & plain.keys())
        gains = [weighted[seed].accuracies[None].minority - plain[seed].accuracies[None].minority for seed in both]
        found[loss] = Pairs(tuple(gains), weighted.failed, plain.failed)
    return found


def presence(run: Trained, batch_size: int) -> float:
    """Probability that the rarest class is in a batch of training images."""
    share = float(run.counts.min() / run.counts.sum())
    return 1 - (1 - share) ** batch_size  # drawn without replacement from thousands: hardly more


def gain_outcome(gains: Mapping[str, Pairs]) -> Outcome:
    """Whether the minority gains with both losses."""
    words = [inference.compare(pairs, MARGIN, inference.paired_t(pairs).p) for pairs in gains.values()]
    if any(word.startswith("lower") or word == "equivalent" for word in words):
        return "fails"
    return "holds" if all(word == "higher" for word in words) else "undecided"


def spreads(runs: Runs) -> dict[str, Pairs]:
    """Largest less smallest mean probability of the own class on training images, inverse weights, by loss and seed."""
    found = {}
    for loss in WEIGHTED:
        by_seed = runs[loss, ClassWeights.inverse]
        values = tuple(float(np.ptp(np.diag(run.means["train"]))) for run in by_seed.values())
        found[loss] = Pairs(values, by_seed.failed, 0)
    return found


def determined_outcome(two: Mapping[str, Pairs], many: Mapping[str, Pairs]) -> Outcome:
    """Whether inverse weights make two classes' mean probabilities equal and leave those of many apart."""
    of_two, of_many = ([_side(values) for values in spread.values()] for spread in (two, many))
    if "apart" in of_two or "alike" in of_many:
        return "fails"
    return "holds" if {*of_two} == {"alike"} and {*of_many} == {"apart"} else "undecided"


def _side(spread: Pairs) -> Literal["alike", "apart", "unclear"]:
    """On which side of `ALIKE` the 90 % interval of a spread lies; unclear where a run failed."""
    interval = inference.paired_t(spread, 1 - 2 * inference.ALPHA)
    if interval.n < inference.MIN_RUNS or spread.failed_first:
        return "unclear"
    return "alike" if interval.high < ALIKE else "apart" if interval.low > ALIKE else "unclear"


def halves_ratio(run: Trained, split: Split) -> float:
    """Eq. 9 of softmax for the two halves of the classes: what the majority half gives away over what it gets.

    SML's equations summed over the classes of a half: what these give each other cancels, since an image's
    probabilities sum to 1. So the halves obey Eq. 9 as two classes do, however many classes there are.
    """
    larger, means = majority(run.counts), run.means[split]
    away, back = means[:, ~larger].sum(axis=1), means[:, larger].sum(axis=1)
    return float((run.weighted * away)[larger].sum() / (run.weighted * back)[~larger].sum())
