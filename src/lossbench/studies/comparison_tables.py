"""Tables and pictures of a comparison's accuracies: each loss, beside the baseline, and all pairs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lossbench.report.blocks import Block, Paragraph, Picture, Table
from lossbench.report.comparison_figures import (
    DifferenceRow,
    PairTable,
    RateCurve,
    differences,
    pair_matrix,
    rate_curves,
)
from lossbench.report.interval_axes import data
from lossbench.report.rows import Estimate
from lossbench.report.table import table
from lossbench.report.tone import Toned, toned
from lossbench.report.wording import MISSING, NO_NUMBER, percent, points, probability, span
from lossbench.statistics import inference
from lossbench.statistics.improvement import Improvement, improvement
from lossbench.statistics.inference import Word
from lossbench.statistics.selection import rate_points, selection
from lossbench.studies.compared import Accuracies, Against, Compared, LossResult
from lossbench.studies.comparison_words import Condition, common_lr, conditions, never_finished, ranked

MOST_PAIRS = 24
"""Losses up to which a matrix of all pairs is drawn."""


def named(compared: Compared, label: str) -> str:
    """A loss as the rows of tables write it."""
    return f"{label} (baseline)" if label == compared.comparison.rules.baseline else label


def difference_picture(compared: Compared) -> Picture:
    """The first picture: each loss less the baseline at both learning rates."""
    rows = [
        DifferenceRow(one.label, _estimate(one.against_common), _estimate(one.against_own), _beside(one))
        for one in ranked(compared.others)
    ]
    rules = compared.comparison.rules
    return differences(rows, rules.baseline, rules.margin, common_lr(compared))


def _estimate(against: Against | None) -> Estimate | None:
    if against is None or not against.difference.n:
        return None
    one = against.difference
    return Estimate(one.mean, one.low, one.high, one.n)


def _beside(one: LossResult) -> str:
    """The verdict at the own learning rate, short, and what diverged."""
    word = one.against_own.word if one.against_own else "too few"
    short = "equivalent" if "within the margin" in word else "no verdict" if word == "too few" else word
    return f"{short}, {one.at_own.diverged} diverged" if one.at_own.diverged else short


def accuracy_table(compared: Compared) -> Table:
    """Accuracy of each loss at the common and at its own learning rate."""
    common = f"At {common_lr(compared)} (%)"
    rows = {
        named(compared, one.label): {
            "Own lr": own_lr(one),
            common: accuracy_text(one.at_common, compared.comparison.rules.num_seeds),
            "At its own lr (%)": accuracy_text(one.at_own, compared.comparison.rules.num_seeds),
        }
        for one in compared.losses
    }
    caption = (
        f"Test accuracy in percent after the last epoch, trained on {training_images(compared)}: mean ± "
        "standard deviation (ddof 1) over n seeds. A diverged run is counted and is in no mean. Own lr: the learning "
        "rate with the best mean accuracy on held-out training images; edge: the lowest or the highest that was tried."
    )
    return table(rows, ["Loss"], caption)


def training_images(compared: Compared) -> str:
    """What the reported runs are trained on."""
    num_train = compared.comparison.config.dataset.num_train
    return "all training images" if num_train is None else f"{num_train:,} training images"


def own_lr(one: LossResult) -> str:
    """The own learning rate of a loss as tables write it."""
    if one.own is None:
        return NO_NUMBER
    note = " (all diverged)" if never_finished(one) else " (edge)" if one.own.at_edge else ""
    return f"{one.own.lr:g}{note}"


def accuracy_text(known: Accuracies, wanted: int) -> str:
    """Mean, standard deviation and number of the finished runs, and how many diverged."""
    found, lost = known.moments, known.diverged
    if not found.n:
        return toned("failed", f": {lost} of {wanted} diverged") if lost else MISSING
    spread = "" if math.isnan(found.sd) else f" ± {100 * found.sd:.2f}"
    notes = [f"n={found.n}" if found.n >= wanted else f"n={found.n} of {wanted}"]
    notes += [f"{lost} diverged"] if lost else []
    return f"{percent(found.mean)}{spread} ({', '.join(notes)})"


def against_blocks(compared: Compared, condition: Condition) -> list[Block]:
    """Each loss beside the baseline: verdict, difference, tests, and the probability of improvement."""
    rules = compared.comparison.rules
    known = [condition.accuracies(one) for one in compared.losses]
    if not any(one.finished or one.diverged for one in known):
        return [Paragraph("No reported run is done yet.")]
    rows = {one.label: _against_line(condition.against(one), condition.accuracies(one)) for one in compared.others}
    where = (
        "at the own learning rates" if condition.name == "own" else f"at the common learning rate {common_lr(compared)}"
    )
    caption = (
        f"Each loss minus {rules.baseline} {where}, in points of test accuracy, paired over seeds (n pairs). p: paired "
        f"t test, with Holm's correction over {len(compared.others)} losses; below 0.05 the loss is higher or lower. "
        f"90 %: the interval that lies within ±{100 * rules.margin:g} points if the loss is equivalent. Probability of "
        "improvement: that a run of the loss is better than one of the baseline, with its 95 % interval."
    )
    return [table(rows, ["Loss"], caption)]


def _against_line(against: Against | None, known: Accuracies) -> dict[str, str]:
    if against is None or not against.pairs.n:
        word = toned("failed", ": all diverged") if known.diverged and not known.finished else MISSING
        names = ("Difference", "95 %", "p (Holm)", "90 %", "Probability of improvement")
        return {"Verdict": word} | dict.fromkeys(names, NO_NUMBER)
    one, within = against.difference, against.equivalence
    return {
        "Verdict": verdict(against.word),
        "Difference": f"{points(one.mean)} (n={one.n})",
        "95 %": span(one.low, one.high),
        "p (Holm)": probability(against.p_holm),
        "90 %": span(within.low, within.high),
        "Probability of improvement": improvement_text(against.improvement),
    }


def verdict(word: Word) -> Toned:
    """A verdict as tables write it, in the tone that the tiles have."""
    return Toned(word, "differs") if word == "lower" else toned(word)


def improvement_text(one: Improvement) -> str:
    """A probability of improvement with its interval."""
    if math.isnan(one.p):
        return NO_NUMBER
    return f"{one.p:.2f}" if math.isnan(one.low) else f"{one.p:.2f} ({one.low:.2f} to {one.high:.2f})"


def curves_blocks(compared: Compared) -> list[Block]:
    """Accuracy over the learning rate with the noise of selection, and how sure each choice is."""
    if not any(value is not None for one in compared.losses for values in one.curve.values() for value in values):
        return [Paragraph("No run that chooses a learning rate is done yet.")]
    chance = 1 / num_classes(compared)
    curves = [
        RateCurve(
            one.label,
            rate_points(one.curve, chance),
            one.own.lr if one.own else None,
            bool(one.own and one.own.at_edge),
            compared.comparison.losses[one.label].schedule.lr,
        )
        for one in compared.losses
    ]
    return [*rate_curves(curves, compared.comparison.rules.baseline), *_selection(compared)]


def num_classes(compared: Compared) -> int:
    """K of the data set."""
    from lossbench.data.sizes import sizes

    return sizes(compared.comparison.config.dataset).num_classes


def _selection(compared: Compared) -> list[Block]:
    """How sure the choice of each learning rate is; nothing while none is chosen."""
    rows = {}
    for one in compared.losses:
        if one.own is None:
            continue
        found = selection(one.curve, one.own.lr)
        lead = found.lead
        rows[named(compared, one.label)] = {
            "Own lr": own_lr(one),
            "By each seed alone": ", ".join(f"{lr:g}" for lr in found.first_choices) or NO_NUMBER,
            "Noise (points)": NO_NUMBER if math.isnan(found.spread.sd) else f"{100 * found.spread.sd:.2f}",
            "Next best": NO_NUMBER if found.runner_up is None else f"{found.runner_up:g}",
            "Ahead by (points)": points(lead.mean) if lead.n else NO_NUMBER,
            "95 %": span(lead.low, lead.high),
        }
    if not rows:
        return []
    caption = (
        "How sure the choice is. Noise: the standard deviation of a validation accuracy over selection seeds, pooled "
        "over learning rates. Next best: among the rates that all selection seeds tried; the chosen one is ahead of it "
        "by the mean over these seeds. Where the interval contains 0, either rate may be the better one."
    )
    return [table(rows, ["Loss"], caption)]


def pair_pictures(compared: Compared) -> list[Block]:
    """All pairs of losses at the own learning rates, or at the common one while there are no others; description."""
    for condition in conditions(compared):
        known = [one for one in compared.losses if condition.accuracies(one).finished]
        if 3 <= len(known) <= MOST_PAIRS:
            return _pair_pictures(compared, condition, known)
    return []


def _pair_pictures(compared: Compared, condition: Condition, losses: Sequence[LossResult]) -> list[Block]:
    order = sorted(losses, key=lambda one: -condition.accuracies(one).moments.mean)
    labels, num = [one.label for one in order], len(order)
    means, better = np.full((num, num), np.nan), np.full((num, num), np.nan)
    lines = []
    for row, first in enumerate(order):
        for column, second in enumerate(order):
            if row == column:
                continue
            a, b = condition.accuracies(first), condition.accuracies(second)
            gap = inference.paired_t(compared.results.pairs(a.cell, b.cell))
            chance = improvement(a.finished, b.finished)
            means[row, column], better[row, column] = gap.mean, chance.p
            lines.append(
                {"loss": first.label, "other": second.label, "difference_points": 100 * gap.mean}
                | {"low_points": 100 * gap.low, "high_points": 100 * gap.high, "n": gap.n}
                | {"probability_of_improvement": chance.p}
            )
    frame = data(lines)
    where = "at the own learning rates" if condition.name == "own" else "at the common learning rate"
    said = "Rows and columns by accuracy. Description: no correction for the number of pairs, no verdict."
    gaps = PairTable("pairs", means, _texts(means, _gap), max(4 * compared.comparison.rules.margin, 1e-3))
    chances = PairTable("improvement", better, _texts(better, lambda p: f"{p:.2f}"), 0.5, 0.5)
    return [
        pair_matrix(
            gaps, labels, f"Row minus column {where}, in points of test accuracy, mean over seeds. {said}", frame
        ),
        pair_matrix(
            chances,
            labels,
            f"Probability that a run of the row is better than one of the column {where}; ties count half. {said}",
            frame,
        ),
    ]


def _gap(value: float) -> str:
    return points(value, 1 if abs(value) >= 0.0995 else 2)


def _texts(values: np.ndarray, write: Any) -> list[list[str]]:
    return [["" if math.isnan(value) else write(float(value)) for value in row] for row in values]


def csv_frame(compared: Compared) -> pd.DataFrame:
    """A line for each loss and learning rate, common and own; percent and points, seeds in order."""
    order = list(reversed(conditions(compared)))
    return pd.DataFrame([_csv_line(compared, one, condition) for one in compared.losses for condition in order])


def _csv_line(compared: Compared, one: LossResult, condition: Condition) -> dict[str, Any]:
    known, against = condition.accuracies(one), condition.against(one)
    found = known.moments
    is_own, own = condition.name == "own", one.own
    lr = (own.lr if own else math.nan) if is_own else compared.comparison.losses[one.label].schedule.lr
    line: dict[str, Any] = {
        "loss": one.label,
        "is_baseline": one.label == compared.comparison.rules.baseline,
        "learning_rate": condition.name,
        "lr": lr,
        "at_edge": bool(own and own.at_edge) if is_own else "",
        "mean_percent": round(100 * found.mean, 4),
        "sd_percent": round(100 * found.sd, 4),
        "n": found.n,
        "diverged": known.diverged,
        "wanted": compared.comparison.rules.num_seeds,
        "accuracies_percent": " ".join("missing" if v is None else f"{100 * v:.4f}" for v in known.values),
    }
    if against is None:
        return line
    gap, within, chance = against.difference, against.equivalence, against.improvement
    return line | {
        "difference_points": round(100 * gap.mean, 4),
        "low_95_points": round(100 * gap.low, 4),
        "high_95_points": round(100 * gap.high, 4),
        "pairs": gap.n,
        "p": gap.p,
        "p_holm": against.p_holm,
        "verdict": against.word,
        "low_90_points": round(100 * within.low, 4),
        "high_90_points": round(100 * within.high, 4),
        "p_equivalence": within.p,
        "margin_points": 100 * compared.comparison.rules.margin,
        "probability_of_improvement": chance.p,
        "improvement_low": chance.low,
        "improvement_high": chance.high,
    }
