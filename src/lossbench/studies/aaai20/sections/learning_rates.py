"""Accuracy over the learning rate: the curves, each loss's own rate, and the conditions of larger networks."""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

from lossbench.config.options import LossConfig
from lossbench.config.registry import LABELS
from lossbench.config.run import Runtime
from lossbench.report.blocks import Block
from lossbench.report.lr_figure import lr_curves
from lossbench.report.rows import LrCurve
from lossbench.report.table import table
from lossbench.report.wording import MISSING, NO_NUMBER, difference_line, percent
from lossbench.studies.aaai20 import conditions
from lossbench.studies.aaai20.claims import between_losses
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.keys import PAIRS, pair_label
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.aaai20.second_runs import DECAYED, GRAY
from lossbench.studies.aaai20.sections.findings import CONDITIONS
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.learning_rates import own_lr, wanted_lrs


def confound(judge: Judge) -> list[Block]:
    """The accuracy-over-lr curves with their marked points, and each loss's own learning rate.

    MNIST, the decaying rate and the networks that need a GPU are shown once one of their runs is there.
    """
    places = (*GRAY, *DECAYED, *conditions.LARGE)
    known = {place: [_curve(judge, place, loss) for loss in LOSSES] for place in places}
    shown = [p for p in known if p in conditions.PLACES or any(map(_has_runs, known[p]))]
    lines = {
        (curve.dataset, curve.loss): {
            **{f"lr {lr:g}": _point(value) for lr, (value,) in zip(curve.lrs, curve.accuracies, strict=True)},
            "Own lr": "not known yet" if curve.best is None else f"{curve.best:g}{', at the edge' * curve.at_edge}",
            "Scale": f"× {scale:g}" if (scale := _scale(place, loss)) else NO_NUMBER,
        }
        for place in shown
        for loss, curve in zip(LOSSES, known[place], strict=True)
    }
    caption = (
        "Accuracy (%) after the last epoch on validation images, a tenth of the training set held out (seed 1000, one "
        "run a point), and each loss's own learning rate. Scale: the factor that gives SML and LGL the gradient norm "
        "of LGL-INR, and LGL-INR that of SML. Without weight decay a factor on the loss equals a factor on the "
        "learning rate; with weight decay, as on CIFAR-10, it also changes the balance of loss and decay."
    )
    choice = table(
        {key: {**dict.fromkeys(_columns(lines), NO_NUMBER), **line} for key, line in lines.items()},
        ["Data set", "Loss"],
        caption,
    )
    pictures = []
    for name, alike in (("lr_curves", False), ("lr_curves_cifar10", True)):
        chosen = [place for place in shown if (place.dataset == "cifar10") == alike]
        if chosen:
            every = [curve for place in chosen for curve in known[place]]
            pictures.append(lr_curves(every, paper_schedule(chosen[0].dataset).lr, name))
    return [*pictures, choice, *_large(judge)]


def _large(judge: Judge) -> list[Block]:
    """What the conditions give on the networks that need a GPU, where there are pairs."""
    lines = {}
    for large, condition, pair in product(conditions.LARGE, ("scale-up", "scale-down", "own-lr"), PAIRS[:2]):
        one = judge.comparison(between_losses(condition, *large.parts, pair))
        if one.pairs.n:
            key = " ".join(large.labels), CONDITIONS[condition], pair_label(pair)
            lines[key] = difference_line(one.pairs, one.margin)
    caption = (
        "The same conditions on larger networks, test accuracy in points, paired over seeds, without Holm: shown, not "
        "judged. CIFAR-10 is trained with weight decay, so a factor on a loss also changes the balance of loss and "
        "decay."
    )
    return [table(lines, ["Network", "Condition", "Contrast"], caption)] if lines else []


def _curve(judge: Judge, place: conditions.Place, loss: LossConfig) -> LrCurve:
    known, schedule = conditions.points(place, loss, judge.results.accuracy), paper_schedule(place.dataset)
    own, wanted, scale = own_lr(conditions.RATES, known), wanted_lrs(conditions.RATES, known), _scale(place, loss)
    return LrCurve(
        _name(place),
        LABELS[loss.name],
        wanted,
        tuple((known[lr],) for lr in wanted),
        own.lr if own else None,
        own.at_edge if own else False,
        None if schedule.weight_decay or scale is None else schedule.lr * scale,
        1 / place.config(loss, Runtime()).dataset.sizes().num_classes,
    )


def _has_runs(curve: LrCurve) -> bool:
    return any(value is not None for values in curve.accuracies for value in values)


def _scale(place: conditions.Place, loss: LossConfig) -> float | None:
    """The scale conditions' factor; None where there is no such condition."""
    return conditions.SCALES.get(place, {}).get(loss.name)


def _name(place: conditions.Place) -> str:
    """The data set, and what else tells a panel from another."""
    network, dataset = place.labels
    if place in conditions.LARGE:
        return f"{dataset}, {network}"
    return f"{dataset}, decaying rate" if place in DECAYED else dataset


def _columns(lines: Mapping[Any, Mapping[str, str]]) -> list[str]:
    rates = {column for line in lines.values() for column in line if column.startswith("lr ")}
    return [*sorted(rates, key=lambda column: float(column[3:])), "Own lr", "Scale"]


def _point(accuracy: float | None) -> str:
    return MISSING if accuracy is None else "diverged" if math.isnan(accuracy) else percent(accuracy)
