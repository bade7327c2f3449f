"""The third step of the evidence: whether LGL-INR's adaptive weights change anything, and where it is strong."""

import math
from collections.abc import Sequence

from lossbench.report.blocks import Block, Items, Paragraph, Section
from lossbench.report.intervals import even_weights
from lossbench.report.wording import enumerated, points, seeds_told, span
from lossbench.statistics import inference
from lossbench.statistics.inference import Difference, Pairs
from lossbench.studies.aaai20 import keys, mechanism
from lossbench.studies.aaai20.keys import CNN2C, GRAY, LGL_INR, SML
from lossbench.studies.aaai20.sections import estimates
from lossbench.studies.aaai20.sections.findings import DATASETS
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Key


def adaptive_weights(judge: Judge, elsewhere: Sequence[str]) -> Section:
    """Whether LGL-INR's weights change anything, and whether its gain follows confusable pairs."""
    rows = estimates.weight_rows(judge)
    at_papers = [one for one in rows if one.beta == 1]
    verdicts = {one.verdict for one in at_papers}
    datasets = enumerated(dict.fromkeys(one.dataset for one in at_papers)) if at_papers else ""
    if not at_papers:
        title = "Whether LGL-INR's adaptive weights matter is not yet tested."
    elif verdicts <= {"equivalent", "equal"}:
        title = f"LGL-INR's adaptive weights change nothing measurable at the paper's setting on {datasets}."
    elif verdicts & {"undecided", "too few"}:
        title = "What LGL-INR's adaptive weights change at the paper's setting is not settled."
    else:
        title = f"LGL-INR's adaptive weights change accuracy at the paper's setting on {datasets}."
    told = [
        f"{points(one.difference.mean)} points on {one.dataset} (95 % interval "
        f"{span(one.difference.low, one.difference.high)}, n={one.difference.n})"
        for one in at_papers
    ]
    first = (
        "LGL-INR gives the other classes more weight the more often they are mistaken for a class; beta sets how much "
        f"more, and at beta 0 all weigh the same. Accuracy with the paper's beta of 1 minus that with 0: "
        f"{'; '.join(told)}."
        if told
        else "No runs with even weights yet."
    )
    blocks: list[Block] = [Paragraph(first), *([even_weights(rows)] if rows else [])]
    follows = _gain_follows(judge)
    if follows:
        blocks.append(Paragraph(follows))
    blocks.append(Items(_strengths(judge, elsewhere)))
    return Section(title, blocks, short="The adaptive weights")


def _gain_follows(judge: Judge) -> str:
    """Whether LGL-INR's gain over LGL is larger on pairs of classes that are confusable, less SML's gain."""
    own, less = {}, {}
    for name in GRAY:
        cells = {loss: judge.conditions["paper"][Key(CNN2C, name, loss)] for loss in keys.LOSSES}
        ranks = [mechanism.ranks(*seed) for seed in mechanism.seeds_of(judge.results, cells)]
        if ranks:
            own[name] = _over_seeds([one.gain_confusability for one in ranks])
            less[name] = _over_seeds([one.gain_confusability - one.control_confusability for one in ranks])
    if not own:
        return ""
    positive = [name for name, one in own.items() if one.low > 0]
    told = enumerated([f"{one.mean:+.2f} on {DATASETS[name]}" for name, one in own.items()])
    beside = enumerated(
        [f"{one.mean:+.2f} ({one.low:+.2f} to {one.high:+.2f}) on {DATASETS[name]}" for name, one in less.items()]
    )
    verb = (
        f"follows the classes that are easily confused on {enumerated([DATASETS[one] for one in positive])} only"
        if positive and len(positive) < len(own)
        else f"{'follows' if positive else 'does not follow'} the classes that are easily confused"
    )
    return (
        f"The gain over LGL {verb}: rank correlation over pairs of classes {told} "
        f"({seeds_told(one.n for one in own.values())}). Less the same of SML, which has no weights, it is {beside}. "
        "The paper's mechanism asks for positive values."
    )


def _over_seeds(values: Sequence[float]) -> Difference:
    return inference.paired_t(Pairs(tuple(value for value in values if math.isfinite(value)), 0, 0))


def _strengths(judge: Judge, elsewhere: Sequence[str]) -> list[str]:
    """Where LGL-INR is strong and where it fails, beside SML."""
    told = list(elsewhere)
    failing: dict[tuple[float | None, ...], list[str]] = {}
    for name in GRAY:
        rates = tuple(rate for loss in (LGL_INR, SML) for rate in estimates.failing_rates(judge, name, loss))
        if rates[0] is not None:
            failing.setdefault(rates, []).append(DATASETS[name])
    if failing:
        where = [f"on {enumerated(names)} {_from_on(*rates)}" for rates, names in failing.items()]
        told.append(f"Weakness: at high learning rates training fails, {'; '.join(where)}.")
    told.append(
        "LGL-INR aims at the class-balanced posterior: on data whose classes are not equally frequent its "
        "probabilities are not those of the training data."
    )
    return told


def _from_on(inr: float | None, any_inr: float | None, sml: float | None, _: float | None) -> str:
    """From which learning rates on LGL-INR and SML fail."""
    sometimes = f", in some runs from {any_inr:g} on" if any_inr is not None and any_inr != inr else ""
    return f"from {inr:g} on{sometimes} (SML {f'from {sml:g} on' if sml is not None else 'not'})"
