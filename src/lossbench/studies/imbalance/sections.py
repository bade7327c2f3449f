"""Eq. 9 and 10 under imbalance, and what class weights do on real networks, as tables and pictures of a page."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lossbench.config.registry import labelled_loss
from lossbench.report.blocks import Block, Items, Paragraph
from lossbench.report.table import table
from lossbench.report.wording import MISSING, NO_NUMBER, measured, percent, seeds_told
from lossbench.statistics import inference
from lossbench.statistics.inference import Pairs
from lossbench.statistics.learning_property import LAW_FACTOR
from lossbench.studies.imbalance import law as theory
from lossbench.studies.imbalance.law import BySeed, Law, Method, Runs, Trained
from lossbench.studies.imbalance.pictures import (
    METHODS,
    SPLITS,
    WORDS,
    Study,
    accuracy_picture,
    law_picture,
    over_seeds,
    results_of,
)
from lossbench.studies.imbalance.plan import LGL_INR, SML, WEIGHTED, balanced, imbalanced
from lossbench.studies.results import Results


def imbalance(results: Results) -> list[Block]:
    """Eq. 10 predicted and measured, what weights do to majority and minority, and the simple alternatives."""
    every = [(one, theory.runs_of(results, one)) for one in imbalanced()]
    if not any(by_seed for _, runs in every for by_seed in runs.values()):
        return [Paragraph("No runs on imbalanced data yet.")]
    laws = theory.laws(every[0][1])
    return [
        *_verdicts(laws, every, _balanced(results)),
        law_picture(laws, every),
        table(_law_lines(laws, every), ["Classes", "Loss", "Weights"], _LAW_CAPTION),
        accuracy_picture(every),
        table(_accuracy_lines(every), ["Training images", "Loss"], f"{_ACCURACY_CAPTION} {_presence(every)}"),
    ]


def beside_weighted_sml(results: Results) -> str | None:
    """In how many imbalances LGL-INR has a higher balanced accuracy than SML with any of the class weights tried."""
    ahead, beyond, num, counts = 0, 0, 0, []
    for one in imbalanced():
        runs = theory.runs_of(results, one)
        inr = runs[LGL_INR, None]
        weighted = [by_seed for (loss, _), by_seed in runs.items() if loss == SML and by_seed]
        if not inr or not weighted:
            continue
        best = max(weighted, key=lambda by_seed: over_seeds(by_seed, None).all)
        seeds = sorted(inr.keys() & best.keys())
        gains = [inr[seed].accuracies[None].all - best[seed].accuracies[None].all for seed in seeds]
        num += 1
        counts.append(len(seeds))
        ahead += over_seeds(inr, None).all > over_seeds(best, None).all
        beyond += inference.paired_t(Pairs(tuple(gains), inr.failed, best.failed)).low > 0
    if not num:
        return None
    return (
        f"Strength: in {ahead} of {num} imbalances of Fashion-MNIST LGL-INR has a higher balanced accuracy than SML "
        f"with any of the class weights tried, in {beyond} of them with a 95 % interval above 0; no learning rate was "
        f"tuned for this ({seeds_told(counts)})."
    )


_LAW_CAPTION = (
    "Ratio of the measured to the predicted left side of Eq. 10; 1 where it holds. With two classes: the majority's "
    "equation; with ten: SML's equations summed over the larger half of the classes. Fashion-MNIST, CNN2C, last epoch, "
    "geometric mean over seeds (n), for two classes with the 90 % interval that is judged against a factor of "
    f"{LAW_FACTOR:g}."
)
_ACCURACY_CAPTION = (
    "Test accuracy (%) of the larger half of the classes / the smaller half / all, each class counting the same; "
    "Fashion-MNIST, CNN2C, last epoch, mean over seeds (n). Weights are applied in training; logit adjustment and "
    "threshold moving to the predictions of the run without weights (with softmax they are the same). Logit adjustment "
    "subtracts from a class's logit the logarithm of its share of the training images with SML, of its odds with LGL. "
    "LGL-INR gets no further weights: each class's term is a mean over that class's samples of the batch, so a rare "
    "class that is in a batch counts as much as a common one."
)


def _presence(every: Sequence[Study]) -> str:
    """How often the rarest class is in a batch, in a sentence."""
    told = []
    for one, runs in every:
        batch = next(iter(one.cells.values())).config.schedule.batch_size
        told += [f"{100 * theory.presence(run, batch):.0f} % ({one.label})" for run in _some(runs)]
    return f"Share of the batches that contain the rarest class: {', '.join(told)}."


def _some(runs: Runs) -> list[Trained]:
    """Any one run of an imbalance; None without runs."""
    return [run for by_seed in runs.values() for run in by_seed.values()][:1]


def _balanced(results: Results) -> dict[str, list[float]]:
    """Largest less smallest own probability on training images where no class is rare and none weighs more, by loss."""
    found: dict[str, list[float]] = {}
    for cell in balanced():
        kept = [arrays for config in cell.configs if (arrays := results.arrays(config)) is not None]
        own = [np.diag(arrays[f"train_mean_{labelled_loss(cell.loss).probabilities}"]) for arrays in kept]
        found[cell.loss] = [float(np.ptp(values.astype(float))) for values in own]
    return found


def _verdicts(laws: list[Law], every: Sequence[Study], balanced: Mapping[str, Sequence[float]]) -> list[Block]:
    """The three rules of docs/statistics.md as sentences with their outcome, and what they do not show."""
    two, step = every[0][1], every[1][1]
    gains, of_two, of_ten = theory.minority_gains(two), theory.spreads(two), theory.spreads(step)
    told = "; ".join(f"{loss} {measured(inference.paired_t(pairs))}" for loss, pairs in gains.items())
    apart = "; ".join(
        f"{loss} {_mean(of_two[loss].differences)} with two classes, {_mean(of_ten[loss].differences)} with ten"
        for loss in of_two
    )
    of_all = "; ".join(f"{loss} {_mean(values)}" for loss, values in balanced.items())
    return [
        Paragraph(
            "The rules and their outcome, SML and LGL with class weights on Fashion-MNIST, CNN2C. Two classes: one "
            "shirt to ten coats; ten classes: the later five with a tenth of their images. Own probability: the mean "
            "probability of a class on its own training images."
        ),
        Items(
            [
                f"With two classes, Eq. 10 is met within a factor of {LAW_FACTOR:g} for every loss and kind of "
                f"weights: {_on_images(laws)} ({_inside(laws)}).",
                f"With two classes, inverse weights raise the minority's accuracy: {theory.gain_outcome(gains)} "
                f"({told}).",
                "Inverse weights make the classes' own probabilities equal with two classes, but not with ten: "
                f"{theory.determined_outcome(of_two, of_ten)} (largest minus smallest: {apart}).",
            ]
        ),
        Paragraph(
            "With ten classes the unequal probabilities are not due to the imbalance alone: with all training images, "
            f"no weights and a constant learning rate the difference is {of_all}. For SML and two classes the third "
            "rule only restates Eq. 10 with inverse weights, because an image's probabilities sum to 1."
        ),
    ]


def _inside(laws: Sequence[Law]) -> str:
    """How many ratios are inside the factor and how many outside, by images, as the 90 % intervals have it."""
    told = []
    for split, images in SPLITS.items():
        tests = [law.test for law in laws if law.split == split and law.test.n >= inference.MIN_RUNS]
        inside = sum(one.p < inference.ALPHA for one in tests)
        outside = sum(one.refuted for one in tests)
        told.append(f"{images.lower()}: {inside} of {len(tests)} inside, {outside} outside")
    return "; ".join(told)


def _on_images(laws: list[Law]) -> str:
    return f"{theory.law_outcome(laws, 'train')} on training and {theory.law_outcome(laws, 'test')} on test images"


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} (n={len(values)})" if values else MISSING


def _law_lines(laws: Sequence[Law], every: Sequence[Study]) -> dict[tuple[str, str, str], dict[str, str]]:
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    label = every[0][0].label
    for law in laws:
        ratios = tuple(one / law.predicted for one in law.measured)
        line = lines.setdefault((label, law.loss, WORDS[law.weights]), {"Predicted": f"{law.predicted:.3f}"})
        line |= {SPLITS[law.split]: _ratio(ratios, law.test.low, law.test.high)}
    for one, runs in every[1:]:
        for kind, word in WORDS.items():
            by_seed = list(runs[SML, kind].values())
            if by_seed:
                lines[f"{one.label}: halves", SML, word] = {"Predicted": NO_NUMBER} | {
                    SPLITS[split]: _ratio([theory.halves_ratio(run, split) for run in by_seed])
                    for split in theory.SPLITS
                }
    return lines


def _ratio(ratios: Sequence[float], low: float = math.nan, high: float = math.nan) -> str:
    mean = f"{math.exp(np.mean(np.log(ratios))):.2f}"
    return (
        f"{mean} (n={len(ratios)})"
        if math.isnan(low)
        else (f"{mean}, {math.exp(low):.2f} to {math.exp(high):.2f} (n={len(ratios)})")
    )


def _accuracy_lines(every: Sequence[Study]) -> dict[tuple[str, str], dict[str, str]]:
    lines = {}
    for one, runs in every:
        for loss in (*WEIGHTED, LGL_INR):
            found = results_of(runs, loss)
            lines[one.label, loss] = {
                sign: _accuracy(*found[sign])
                if sign in found
                else (MISSING if loss in WEIGHTED or sign == "none" else NO_NUMBER)
                for sign in (*WORDS.values(), *METHODS)
            }
    return lines


def _accuracy(by_seed: BySeed, method: Method | None) -> str:
    failed = f"{by_seed.failed} failed" if by_seed.failed else ""
    if not by_seed:
        return failed
    means = over_seeds(by_seed, method)
    parts = " / ".join(percent(value, 1) for value in (means.majority, means.minority, means.all))
    return f"{parts} ({', '.join(filter(None, [f'n={len(by_seed)}', failed]))})"
