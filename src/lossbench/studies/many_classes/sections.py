"""The study's folded sections: quality of every method, gradients, and cost by number of classes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lossbench.report.blocks import Block, Section
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import NO_NUMBER, percent
from lossbench.statistics.by_frequency import BANDS
from lossbench.statistics.inference import compare
from lossbench.studies.contrasts import Contrast, Value
from lossbench.studies.many_classes import plan
from lossbench.studies.many_classes.evidence import Evidence, InBand, Metric, macro_recall
from lossbench.studies.many_classes.gradient_noise import noise_blocks
from lossbench.studies.many_classes.known_posterior import posterior_blocks
from lossbench.studies.many_classes.quality_pictures import course
from lossbench.studies.many_classes.step_costs import cost_blocks

_RULES = "Rules: docs/many_classes.md."


def sections(known: Evidence) -> list[Section]:
    """All of them."""
    found = [
        Section(
            "Many classes: quality of each method",
            quality(known),
            gist=f"{_RULES} Paired t over seeds with Holm over the methods; margins 0.25 points and 0.05 nats.",
        ),
        Section(
            "Many classes: bias and variance of the gradients",
            noise_blocks(known.results),
            gist=f"{_RULES} At the start and after one epoch of SML; 4 batches, 200 draws each.",
        ),
        Section(
            "Many classes: cost by the number of classes",
            cost_blocks(known.results),
            gist=f"{_RULES} Output layer, loss and update on one thread, 10 to 100,000 classes; in turns.",
        ),
        Section(
            "Many classes: a known posterior",
            posterior_blocks(known.results),
            gist=f"{_RULES} Gaussian classes, linear network, 100 to 100,000 classes, n=3; description.",
        ),
    ]
    return [section for section in found if section.blocks]


def quality(known: Evidence) -> list[Block]:
    """Differences to SML, all metrics, and the course of the runs; empty without a finished run."""
    tables = [*differences(known), *scores(known)]
    return [*tables, course(known)] if tables else []


def differences(known: Evidence) -> list[Block]:
    """Each method less SML in NLL and accuracy; empty without a pair or a diverged run."""
    accuracy = {one.label: one for one in known.accuracy}
    rows = {}
    for one in known.nll:
        if not one.pairs.n and not known.num_diverged(one.label):
            continue
        right = accuracy[one.label]
        rows[one.label] = {
            "NLL (nats)": _difference(one, "+.3f"),
            "In NLL": _verdict(one, plan.NLL_MARGIN),
            "Accuracy (points)": _difference(right, "+.2f", 100),
            "In accuracy": _verdict(right, plan.ACCURACY_MARGIN),
        } | _about(known, one.label, one.pairs.n)
    if not rows:
        return []
    baseline = dict.fromkeys(next(iter(rows.values())), NO_NUMBER) | {"In NLL": "baseline", "In accuracy": "baseline"}
    rows = {plan.BASELINE: baseline | _about(known, plan.BASELINE, len(known.of(plan.BASELINE)))} | rows
    caption = (
        "Differences to SML of all classes, paired by seed, with 95 % intervals. Higher and lower by paired t with "
        "Holm's correction over all methods; equivalent and within the margin by two one-sided tests: "
        f"{100 * plan.ACCURACY_MARGIN:g} points of accuracy, {plan.NLL_MARGIN:g} nats of NLL. Cost of a run over that "
        f"of SML's {plan.EPOCHS} epochs. Edge: the best rate is the smallest or the largest tried. NLL is that of the "
        f"softmax of all logits: {plan.OTHER_MAPS}"
    )
    return [table(rows, ["Method"], caption)]


def _about(known: Evidence, label: str, num: int) -> dict[str, str]:
    """Cost, learning rate and numbers of runs or pairs of a method."""
    own = next(loss for loss in known.compared.losses if loss.label == label).own
    cost, lost = known.cost(label, plan.method(label).epochs / plan.EPOCHS), known.num_diverged(label)
    return {
        "Cost": NO_NUMBER if cost is None else f"{cost:.2g}",
        "Own rate": NO_NUMBER if own is None else f"{own.lr:g}{' (edge)' if own.at_edge else ''}",
        "n": f"{num}{f', {lost} diverged' if lost else ''}",
    }


def _difference(one: Contrast, form: str, factor: float = 1.0) -> str:
    """A difference with its interval."""
    gap = one.difference
    if not gap.n:
        return toned("failed", ": diverged") if one.pairs.failed_first else NO_NUMBER
    mean, low, high = (format(factor * value, form) for value in (gap.mean, gap.low, gap.high))
    return mean if math.isnan(gap.low) else f"{mean} ({low} to {high})"


def _verdict(one: Contrast, margin: float) -> str:
    """The verdict of statistics.md; where less is better, on the differences with the other sign."""
    if not one.pairs.n:
        return NO_NUMBER
    if one.better > 0:
        return toned(compare(one.pairs, margin, one.p_holm))
    word = compare(replace(one.pairs, differences=tuple(-gap for gap in one.pairs.differences)), margin, one.p_holm)
    swapped = {"higher": "lower", "lower": "higher"}
    first, *rest = word.split(", ")
    return toned(", ".join([swapped.get(first, first), *rest]))


def scores(known: Evidence) -> list[Block]:
    """Means of all metrics; empty without a finished run."""
    columns: Mapping[str, Value] = {
        "Accuracy": Metric("accuracy"),
        "Top 5": Metric("top5_accuracy"),
        "MRR": Metric("mrr"),
        "NDCG at 10": Metric("ndcg10"),
        "Macro recall": macro_recall,
        **{band.capitalize(): InBand(band) for band in BANDS},
    }
    rows = {}
    for one in plan.METHODS:
        num = len(known.of(one.label, Metric("accuracy")))
        if not num:
            continue
        nlls = known.of(one.label)
        rows[one.label] = {
            "n": str(num),
            "NLL": f"{np.mean(nlls):.3f}" if nlls else NO_NUMBER,
            **{heading: _percent(known.of(one.label, value)) for heading, value in columns.items()},
        }
    if not rows:
        return []
    caption = (
        "Means over n runs at the own learning rates, test positions; NLL in nats, all else in percent. NLL is that of "
        f"the softmax of all logits: {plan.OTHER_MAPS} Equal logits share the mean of their ranks. Macro recall is the "
        "mean recall of the words in the test part. Head, middle and tail are accuracies on words by frequency: the "
        "most frequent words with half of the training positions, those with the next 30 %, and the rest."
    )
    return [table(rows, ["Method"], caption)]


def _percent(found: Sequence[float]) -> str:
    return percent(float(np.mean(found))) if found else NO_NUMBER
