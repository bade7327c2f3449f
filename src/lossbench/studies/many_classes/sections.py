"""The study's folded sections: quality of every method, gradients, and cost by number of classes."""

import math
from collections.abc import Mapping

import numpy as np

from lossbench.report.blocks import Block, Section
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import NO_NUMBER, points, span
from lossbench.statistics.by_frequency import BANDS
from lossbench.studies.contrasts import Contrast, Value, values
from lossbench.studies.many_classes import plan
from lossbench.studies.many_classes.evidence import Evidence, InBand, Metric, macro_recall
from lossbench.studies.many_classes.gradient_noise import noise_blocks
from lossbench.studies.many_classes.known_posterior import posterior_blocks
from lossbench.studies.many_classes.quality_pictures import course
from lossbench.studies.many_classes.step_costs import cost_blocks
from lossbench.studies.many_classes.verdicts import nats

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
    """Each method less SML in NLL and accuracy; empty without a pair."""
    accuracy = {one.label: one for one in known.accuracy}
    rows = {}
    for one in known.nll:
        if not one.pairs.n and not known.num_diverged(one.label):
            continue
        right, own = accuracy[one.label], next(loss for loss in known.compared.losses if loss.label == one.label).own
        lost = known.num_diverged(one.label)
        cost = known.cost(one.label, plan.method(one.label).epochs / plan.EPOCHS)
        rows[one.label] = {
            "Own rate": NO_NUMBER if own is None else f"{own.lr:g}{' (edge)' if own.at_edge else ''}",
            "Cost over SML's": NO_NUMBER if cost is None else f"{cost:.2g}",
            "NLL less SML's": f"{nats(one)}{f', {lost} diverged' if lost else ''}" if one.pairs.n else _lost(lost),
            "In NLL": _verdict(one),
            "Accuracy less SML's": _points(right),
            "In accuracy": _verdict(right),
        }
    if not rows:
        return []
    caption = (
        "Differences to SML of all classes, paired by seed, with 95 % intervals; higher and lower by paired t with "
        f"Holm's correction over all methods. Cost of a run over that of SML's {plan.EPOCHS} epochs. Edge: the best "
        f"rate is the smallest or the largest tried. NLL is that of the softmax of all logits: {plan.OTHER_MAPS}"
    )
    return [table(rows, ["Method"], caption)]


def _lost(num: int) -> str:
    return toned("failed", f": {num} diverged")


def _points(one: Contrast) -> str:
    gap = one.difference
    if not gap.n:
        return NO_NUMBER
    interval = "" if math.isnan(gap.low) else f" ({span(gap.low, gap.high)})"
    return f"{points(gap.mean)}{interval}"


def _verdict(one: Contrast) -> str:
    if not one.pairs.n:
        return NO_NUMBER
    higher, lower = ("higher", "lower") if one.better > 0 else ("lower", "higher")
    return toned(higher if one.is_better else lower if one.is_worse else "undecided")


def scores(known: Evidence) -> list[Block]:
    """Means of all metrics; empty without a finished run."""
    columns: Mapping[str, tuple[Value, float, int]] = {
        "Accuracy (%)": (Metric("accuracy"), 100, 2),
        "Top 5 (%)": (Metric("top5_accuracy"), 100, 2),
        "MRR (%)": (Metric("mrr"), 100, 2),
        "NDCG at 10 (%)": (Metric("ndcg10"), 100, 2),
        "Macro recall (%)": (macro_recall, 100, 2),
        **{f"{band.capitalize()} (%)": (InBand(band), 100, 2) for band in BANDS},
    }
    rows = {}
    for one in plan.METHODS:
        nlls = known.of(one.label)
        if not nlls:
            continue
        row = {"n": str(len(nlls)), "NLL": f"{np.mean(nlls):.3f}"}
        for heading, (value, factor, digits) in columns.items():
            found = [number for number in values(known.compared, one.label, value) if number is not None]
            found = [number for number in found if not math.isnan(number)]
            row[heading] = f"{factor * np.mean(found):.{digits}f}" if found else NO_NUMBER
        rows[one.label] = row
    if not rows:
        return []
    caption = (
        "Means over n runs at the own learning rates, test positions. NLL is that of the softmax of all logits: "
        f"{plan.OTHER_MAPS} Equal logits share the mean of their ranks. Macro recall is the mean recall of the words "
        "in the test part. Head, middle and tail are accuracies on words by frequency: the most frequent words with "
        "half of the training positions, those with the next 30 %, and the rest."
    )
    return [table(rows, ["Method"], caption)]
