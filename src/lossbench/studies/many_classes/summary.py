"""The study's answer on the first part of the page: three sentences, a picture, verdicts, what would change it."""

import math
from collections.abc import Sequence

import numpy as np

from lossbench.report.blocks import Block, Items, Paragraph
from lossbench.report.wording import enumerated, percent, seeds_told
from lossbench.statistics.inference import Pairs, paired_t
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
        quality_pictures.tradeoff(known),
        sentences_table(verdicts.judged(known), _CAPTION),
        Paragraph(mind(known)),
        Paragraph(plan_state(planned, known.results)),
    ]


def quality(known: Evidence) -> str:
    """How far approximations are from SML at equal steps."""
    base = known.of(plan.BASELINE)
    tested = [one for one in known.nll if one.pairs.n and plan.approximates(plan.method(one.label))]
    if not base or not tested:
        return f"Quality at equal steps ({plan.EPOCHS} epochs): no pair of runs with SML yet."
    ranked = sorted(tested, key=lambda one: one.difference.mean)
    lower, higher = (sum(flag) for flag in ([one.is_better for one in tested], [one.is_worse for one in tested]))
    right = percent(float(np.mean(_accuracies(known, plan.BASELINE))))
    ends = "; ".join(f"{_told(known, one)}" for one in dict.fromkeys((ranked[0], ranked[-1])))
    return (
        f"Quality at equal steps ({plan.EPOCHS} epochs, {seeds_told({one.pairs.n for one in tested})}): SML ends at "
        f"NLL {np.mean(base):.3f} and {right} % accuracy; of {len(tested)} approximations {lower} "
        f"{'is' if lower == 1 else 'are'} lower in NLL, {higher} higher, {len(tested) - lower - higher} not shown "
        f"to differ (Holm). From best to worst: {ends}."
    )


def _told(known: Evidence, one: Contrast) -> str:
    cost = known.cost(one.label, 1.0)
    told = "" if cost is None else f", {100 * cost:.2g} % of SML's time"
    return f"{one.label} {nats(one)}{told}"


def _accuracies(known: Evidence, label: str) -> list[float]:
    found = next(one for one in known.compared.losses if one.label == label)
    return found.at_own.finished


def at_equal_cost(known: Evidence) -> str:
    """Sampled softmax and SML at the same cost."""
    found = known.equal_cost
    if found is None:
        return "Quality at equal cost: the time of a step is not yet measured."
    if not found.pairs.n:
        return f"Quality at equal cost: no pair of runs of sampled softmax with {plan.LONG} epochs and SML yet."
    return (
        f"Quality at equal cost: sampled softmax (m=100) after {plan.LONG} epochs beside SML after {found.epochs:.2g}: "
        f"NLL {_nats(found.pairs)}."
    )


def _nats(pairs: Pairs) -> str:
    gap = paired_t(pairs)
    interval = "" if math.isnan(gap.low) else f" ({gap.low:+.3f} to {gap.high:+.3f})"
    return f"{gap.mean:+.3f} nats{interval}, n={gap.n}"


def gradients(known: Evidence) -> str:
    """Bias and standard deviation of the estimates, and whether they tell which method ends well."""
    wanted = (plan.SAMPLED_LABEL, plan.UNCORRECTED_TARGET_LABEL)
    noise = [(label, known.noise[label]) for label in wanted if label in known.noise]
    if not noise:
        return "Gradients: bias and variance not yet measured."
    told = enumerated(f"{label} bias {one.bias:.2g}, standard deviation {one.sd:.2g}" for label, one in noise)
    found = {name: one for name, one in verdicts.correlations(known).items() if not math.isnan(one[0].rho)}
    n = max((one.n for one, _ in found.values()), default=0)
    listed = ", ".join(f"{name} {correlation_told(*one)}" for name, one in found.items())
    order = f" Rank correlation with the final NLL over {n} methods: {listed}." if found else ""
    return f"Gradients after one epoch, relative to the full one, output layer: {told}.{order}"


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
