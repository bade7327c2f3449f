"""Findings in sentences: cells and claims counted, the evidence of a claim, and what hangs on runs seen before."""

from collections import Counter
from collections.abc import Mapping, Sequence

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Items, Paragraph
from lossbench.report.wording import enumerated, in_words, measured, points, probability
from lossbench.statistics import inference
from lossbench.studies.aaai20.claims import FAMILIES
from lossbench.studies.aaai20.keys import CNN2C, LITERAL
from lossbench.studies.aaai20.verdicts import (
    REFUTING,
    SEEN_SEED,
    Comparison,
    CurveComparison,
    Judge,
    JudgedCell,
    State,
    Verdict,
)

DATASETS = {"mnist": "MNIST", "fmnist": "Fashion-MNIST", "kmnist": "KMNIST", "cifar10": "CIFAR-10"}
"""The paper's data sets as sentences write them, in the order of its tables."""

CONDITIONS = {
    "paper": "the paper's learning rate",
    "scale-up": "SML and LGL scaled to LGL-INR's gradient norm",
    "scale-down": "LGL-INR scaled to SML's gradient norm",
    "own-lr": "each loss at its own learning rate",
    "literal": "the head as printed (800-10)",
}
"""The conditions of comparisons as sentences write them."""


def cells_sentence(cells: Sequence[JudgedCell]) -> str:
    """How many of the paper's numbers are what one new run of ours would give."""
    count = {word: sum(one.outcome == word for one in cells) for word in ("consistent", "paper higher", "paper lower")}
    judged = sum(count.values())
    alarms = inference.false_alarms(judged)
    if not judged:
        needed = in_words(inference.MIN_RUNS)
        return f"None of the paper's {len(cells)} accuracies can be judged yet: each needs {needed} runs of ours."
    apart = dict.fromkeys(one.cell.loss for one in cells if one.outcome in ("paper higher", "paper lower"))
    losses = f" (of {enumerated(apart)})" if apart else ""
    return (
        f"Of the paper's {len(cells)} accuracies {judged} can be judged: {count['consistent']} lie in the 95 % "
        f"prediction interval for one new run of ours, {count['paper higher']} above and {count['paper lower']} below"
        f"{losses}. If the cells were independent, {alarms.expected:.1f} would lie outside by chance, and up to "
        f"{alarms.most} would be no surprise."
    )


def claims_sentence(verdicts: Sequence[Verdict]) -> str:
    """How many claims hold, fail, or are undecided: the paper's, and those that extend them."""
    tested = [one for one in verdicts if one.outcome]
    own = _counted([one for one in tested if one.claim.whose == "paper"])
    further = _counted([one for one in tested if one.claim.whose == "further"])
    return (
        f"Of the {own[0]} claims of its text that are tested on trained networks, {own[1]}; of {further[0]} that "
        f"extend them to other learning rates, scales or the head as printed, {further[1]}."
    )


VERBS: tuple[tuple[State, str], ...] = (("holds", "hold"), ("fails", "fail"))
OPEN: Mapping[State, str] = {
    "inconclusive": "came out inconclusive",
    "not yet tested": "are not yet tested",
    "needs arrays": "need the runs' arrays",
}
"""How claims without a verdict are reported."""


def _counted(verdicts: Sequence[Verdict]) -> tuple[int, str]:
    count = Counter(one.state for one in verdicts)
    held, failed = (f"{count[one]} {one if count[one] == 1 else many}" for one, many in VERBS)
    others = [f"{count[word]} {told}" for word, told in OPEN.items() if count[word]]
    return len(verdicts), enumerated([held, failed, *others])


def head_sentences(judge: Judge, cells: Sequence[JudgedCell]) -> str:
    """Which head of CNN2C gives the paper's numbers, and whether a claim depends on it."""
    counted = []
    for network in (CNN2C, LITERAL):
        chosen = [one for one in cells if one.key.model == network and one.key.loss.option is None]
        outcomes = [one.outcome for one in chosen]
        if "too few" in outcomes:
            return ""
        counted.append(outcomes.count("consistent"))
    num_datasets = len({one.key.dataset for one in chosen})
    both = judge.by_head()
    told = [
        f"{after.claim.claim.partition(', with')[0]}: {before.outcome} "
        f"{'with both' if before.outcome == after.outcome else f'with 800-500-10, {after.outcome} with 800-10'}"
        for before, after in both
    ]
    once = [before for before, after in both if (before.outcome == "holds") != (after.outcome == "holds")]
    return (
        f"Of CNN2C's {len(chosen)} numbers {counted[0]} lie in the prediction interval for one new run of ours with "
        f"the head 800-500-10, {counted[1]} with the printed one (800-10). Over CNN2C's {in_words(num_datasets)} data "
        f"sets {len(once) or 'no'} claim{'s' * (len(once) > 1)} hold{'s' * (len(once) < 2)} with one head only: "
        f"{'; '.join(told)}."
    )


def seen_blocks(judge: Judge, verdicts: Sequence[Verdict]) -> list[Block]:
    """What would change without the runs seen before the rules; `verdicts` are those of `judge`."""
    changes = seen_changes(judge, verdicts)
    lead = (
        f"The {len(judge.seen())} runs of CNN2C with seed {SEEN_SEED} at the paper's learning rate had been seen "
        "before the rules were written (docs/statistics.md). Verdicts that change without them, with one pair of runs "
        f"fewer:{'' if changes else ' none.'}"
    )
    return [Paragraph(lead), *([Items(changes)] if changes else [])]


def seen_changes(judge: Judge, verdicts: Sequence[Verdict]) -> list[str]:
    """The verdicts that change without the runs seen before the rules: of claims, of leads and of comparisons."""
    without = judge.unseen()
    changes: list[tuple[str, str | None, str | None]] = [
        (f"the claim “{before.claim.claim}”", before.outcome, after.outcome)
        for before, after in zip(verdicts, without.verdicts(), strict=True)
    ]
    changes += [
        (f"LGL-INR's lead over {before.other.label} on {LABELS[before.dataset]}", before.headline, after.headline)
        for before, after in zip(judge.headlines(), without.headlines(), strict=True)
    ]
    changes += [
        (
            f"{before.contrast.label} on {place(before)}, {CONDITIONS[before.contrast.condition]}",
            before.word,
            after.word,
        )
        for family in FAMILIES
        for before, after in zip(judge.family(family), without.family(family), strict=True)
    ]
    return [f"{what}: {before} becomes {after}" for what, before, after in changes if before != after]


def evidence(verdict: Verdict) -> str:
    """The evidence for a claim's outcome."""
    if verdict.proportion is not None:
        one = verdict.proportion
        if not one.n:
            return "the runs' arrays are not here" if verdict.lacks_arrays else "no runs"
        return f"in {one.k} of {one.n} seeds; 90 % interval of the share {one.low:.2f} to {one.high:.2f}"
    if verdict.curves:
        return "; ".join(map(_curve_evidence, verdict.curves))
    known = [one for one in verdict.comparisons if one.pairs.n]
    if not known:
        return "no pairs of runs"
    if verdict.over_cells is not None and verdict.over_cells.n:
        return measured(inference.paired_t(verdict.over_cells))
    return _cells_evidence(verdict, known)


def _cells_evidence(verdict: Verdict, known: Sequence[Comparison]) -> str:
    num_cells = len(verdict.comparisons)
    kind = verdict.claim.kind
    if kind == "superiority":
        passed = sum(one.word in ("higher", "higher, within the margin") for one in known)
        text = f"higher after Holm in {passed} of {num_cells} cells"
    elif kind == "equivalence":
        passed = sum(one.equivalence.p < inference.ALPHA for one in known)
        text = f"within the margin in {passed} of {num_cells} cells"
    else:
        passed = sum(one.non_inferiority.p < inference.ALPHA for one in known)
        text = f"not worse by more than the margin in {passed} of {num_cells} cells"
    if len(known) < num_cells:
        text += f", {num_cells - len(known)} without runs"
    if kind == "superiority":
        against = [f"{place(one)} {one.word}" for one in known if one.word in REFUTING]
        text += f"; against it: {', '.join(against)}" if against else ""
    least = min(known, key=lambda one: one.difference.mean)
    most = max(known, key=lambda one: one.difference.mean)
    several = len({one.contrast.label for one in known}) > 1
    names = {one: f"{one.contrast.label} on {place(one)}" if several else place(one) for one in (least, most)}
    ends = [f"{name} {points(one.difference.mean)}" for one, name in names.items()]
    return f"{text}; {' to '.join(ends)} points"


def _curve_evidence(one: CurveComparison) -> str:
    epochs, area = inference.paired_t(one.epochs), inference.paired_t(one.area)
    if not epochs.n:
        return f"{LABELS[one.contrast.dataset]}: no pairs of runs"
    return (
        f"{LABELS[one.contrast.dataset]}: {epochs.mean:+.1f} epochs (p {probability(epochs.p)}), "
        f"area {points(area.mean)} points (p {probability(area.p)}), n={epochs.n}"
    )


def place(comparison: Comparison) -> str:
    """A comparison's cell in words."""
    one = comparison.contrast
    return f"{one.common.label} {LABELS[one.dataset]}"
