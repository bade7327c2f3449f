"""The study's answer on the first part of the page: three sentences, a picture, verdicts, what would change it."""

import math
from collections.abc import Sequence

import numpy as np

from lossbench.report.blocks import Block, Items, Paragraph
from lossbench.report.wording import counted, enumerated, percent, seeds_told
from lossbench.studies.contrasts import Contrast
from lossbench.studies.many_classes import plan, quality_pictures, verdicts
from lossbench.studies.many_classes.evidence import Evidence
from lossbench.studies.many_classes.verdicts import correlation_told, nats
from lossbench.studies.sentences import plan_state, sentences_table
from lossbench.studies.study import Planned

_CAPTION = (
    "Sentences of the abstract about many classes, and two questions of this study, with verdicts by rules written "
    "before the runs (docs/many_classes.md). NLL is that of the softmax of all logits on the test positions. "
    "Differences are to SML of all classes, paired by seed, with 95 % intervals."
)


def blocks(known: Evidence, planned: Sequence[Planned]) -> list[Block]:
    """All of the summary.

    Args:
        known: the study's runs and measurements.
        planned: the study's plan as far as it is known.
    """
    return [
        Items([quality(known), at_equal_cost(known), gradients(known)]),
        sentences_table(verdicts.judged(known), _CAPTION),
        quality_pictures.tradeoff(known),
        Paragraph(mind(known)),
        Paragraph(plan_state(planned, known.results)),
    ]


def quality(known: Evidence) -> str:
    """How far approximations are from SML at equal steps."""
    title = f"Quality at equal steps ({plan.EPOCHS} epochs)"
    base, lost = known.of(plan.BASELINE), _diverged(known)
    tested = [one for one in known.nll if one.pairs.n and plan.approximates(plan.method(one.label))]
    if not base or not tested:
        return f"{title}: no pair of runs with SML yet{lost}."
    lower, higher = (sum(flags) for flags in ([one.is_better for one in tested], [one.is_worse for one in tested]))
    counts = {"lower": lower, "higher": higher, "not shown to differ": len(tested) - lower - higher}
    told = enumerated(f"{num} {'is' if num == 1 else 'are'} {word}" for word, num in counts.items() if num)
    right = percent(float(np.mean(_accuracies(known, plan.BASELINE))))
    ranked = sorted(tested, key=lambda one: one.difference.mean)
    ends = f"Lowest: {_told(known, ranked[0])}."
    if len(ranked) > 1:
        ends += f" Highest: {_told(known, ranked[-1])}."
    return (
        f"{title}: SML ends at NLL {np.mean(base):.3f} nats and {right} % accuracy (n={len(base)}). In NLL, of "
        f"{counted(len(tested), 'approximation')} {told} (Holm, {seeds_told({one.pairs.n for one in tested})}){lost}. "
        f"{ends}"
    )


def _told(known: Evidence, one: Contrast) -> str:
    cost = known.cost(one.label, 1.0)
    told = "" if cost is None else f", a step in {100 * cost:.2g} % of SML's time"
    return f"{one.label}, {nats(one)}{told}"


def _diverged(known: Evidence) -> str:
    """SML and the approximations with diverged runs, of many their number alone; empty without any."""
    labels = [one.label for one in plan.METHODS if plan.approximates(one) and known.num_diverged(one.label)]
    named = [plan.BASELINE] if known.num_diverged(plan.BASELINE) else []
    named += labels if len(labels) <= verdicts.MOST_NAMED else []
    told = [f"{label} {known.num_diverged(label)} of {known.compared.comparison.rules.num_seeds}" for label in named]
    told += [] if len(labels) <= verdicts.MOST_NAMED else [f"in {counted(len(labels), 'approximation')}"]
    return f"; diverged runs: {'; '.join(told)}" if told else ""


def _accuracies(known: Evidence, label: str) -> list[float]:
    found = next(one for one in known.compared.losses if one.label == label)
    return found.at_own.finished


def at_equal_cost(known: Evidence) -> str:
    """Sampled softmax and SML at the same cost."""
    found, title = known.equal_cost, "Quality at equal cost"
    if found is None:
        return f"{title}: the time of a step is not yet measured."
    if known.of(plan.BASELINE) and math.isnan(found.epochs):
        return f"{title}: SML has no test at the cost of {plan.LONG} epochs of sampled softmax (m=100)."
    if not found.pairs.n:
        return f"{title}: no pair of runs of sampled softmax (m=100) with {plan.LONG} epochs and SML yet."
    return (
        f"{title}: NLL of sampled softmax (m=100) after {plan.LONG} epochs less that of SML after "
        f"{verdicts.epochs(found.epochs)}: {verdicts.nats_of(found.pairs)}."
    )


def gradients(known: Evidence) -> str:
    """Bias and standard deviation of the estimates, and whether they tell which method ends well."""
    words = {plan.SAMPLED_LABEL: "all logits corrected", plan.UNCORRECTED_TARGET_LABEL: "target uncorrected"}
    told = [
        f"{text}, bias {one.bias:.2g} and standard deviation {one.sd:.2g}"
        for label, text in words.items()
        if (one := known.noise.get(label)) is not None
    ]
    if not told:
        return "Gradients: bias and variance not yet measured."
    found = {name: one for name, one in verdicts.correlations(known).items() if not math.isnan(one[0].rho)}
    n = max((one.n for one, _ in found.values()), default=0)
    listed = "; ".join(f"{name} {correlation_told(*one)}" for name, one in found.items())
    order = f" Rank correlation with the final NLL over {n} methods: {listed}." if found else ""
    return (
        "Gradients of sampled softmax (m=100) in the output layer after one epoch of SML, relative to the exact "
        f"gradient: {'; '.join(told)}.{order}"
    )


def mind(known: Evidence) -> str:
    """What would change the answer, and what of it is seen so far."""
    retained, equal = verdicts.retain(known), verdicts.equal_cost(known)
    seen = []
    if retained.outcome == "holds":
        seen.append("an approximation keeps SML's quality at a fifth of its cost")
    if equal.outcome == "holds":
        seen.append("sampled softmax wins at equal cost")
    if verdicts.guarantees(known).outcome == "holds":
        seen.append("bias and variance order the methods")
    return (
        "What would change our mind: an approximation that ends within the margins of SML at a fifth of its cost says: "
        "use it. If none does at equal steps but sampled softmax wins at equal cost, the choice depends on the budget. "
        "If bias and variance order the methods, they can be chosen without training; if they do not, the minimiser or "
        f"the optimiser matters more. Seen so far: {'; '.join(seen) or 'none of this'}."
    )
