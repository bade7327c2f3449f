"""The first screen: what was found, in three sentences, one picture and three tiles."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from lossbench.config.registry import LABELS, LOSSES
from lossbench.report.blocks import Block, Count, Paragraph, Terms, Tile, Tiles
from lossbench.report.finding_figure import finding
from lossbench.report.tone import TONES
from lossbench.report.wording import enumerated, in_words, points, seeds_told, span
from lossbench.statistics import inference
from lossbench.statistics.inference import MIN_RUNS, Headline
from lossbench.studies.aaai20 import keys
from lossbench.studies.aaai20.keys import LGL, LGL_INR, LITERAL, SML
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, FIRST_SEEDS
from lossbench.studies.aaai20.second_verdicts import ConfirmedHeadline, SecondRound
from lossbench.studies.aaai20.sections.estimates import finding_rows
from lossbench.studies.aaai20.sections.findings import DATASETS
from lossbench.studies.aaai20.verdicts import Judge, JudgedCell, State, Verdict

TITLE = "Logistic and softmax losses: does the paper hold?"
ABOUT = (
    "A replication of “On the Learning Property of Logistic and Softmax Losses for Deep Neural Networks” "
    "(Li, Li, Pan and Zhu, AAAI-20)"
)
TERMS = {
    SML: "softmax cross-entropy",
    LGL: "logistic loss, each class against the rest",
    LGL_INR: "LGL with re-weighted other classes, the paper's proposal",
}

LEADS: dict[Headline, str] = {
    "remains": "it remains",
    "gone": "gone",
    "reversed": "reversed",
    "open": "whether it goes is undecided",
}
"""What becomes of a lead at each loss's own learning rate; docs/statistics.md calls the outcomes so."""

NO_LEAD: dict[Headline, str] = {"undecided": "which is undecided", "not found": "which is no lead"}
"""Likewise where there is none at the paper's learning rate."""


def first_screen(
    second: SecondRound, cells: Sequence[JudgedCell], verdicts: Sequence[Verdict], used: set[str]
) -> list[Block]:
    """The finding in three sentences, one picture and three tiles.

    Args:
        second: the verdicts of both rounds.
        cells: its judged cells.
        verdicts: its verdicts on the claims.
        used: names of the report's runs.
    """
    printed, judge = [one for one in cells if one.key.model != LITERAL], second.judge
    return [
        Terms([(loss.label, text) for loss, text in TERMS.items()], [LOSSES[loss.name].style for loss in TERMS]),
        Paragraph(" ".join(sentences(second, printed))),
        finding(finding_rows(judge), paper_schedule("kmnist").lr),
        Tiles([_cells_tile(printed), _claims_tile(verdicts), _runs_tile(judge, used)]),
    ]


def sentences(second: SecondRound, cells: Sequence[JudgedCell]) -> list[str]:
    """The finding: whose numbers come out again, what becomes of the lead over SML, and how far that may be trusted."""
    first = second.headlines()[0]
    return [_reproduced(cells), _lead(first), _repeated(first, second)]


_JUDGED = ("consistent", "paper higher", "paper lower")


def _reproduced(cells: Sequence[JudgedCell]) -> str:
    """Which losses' printed accuracies replicate."""
    by_loss = {
        loss.label: [one.outcome for one in cells if one.key.loss.name == loss.name and one.outcome in _JUDGED]
        for loss in keys.LOSSES
    }
    judged = {loss: outcomes for loss, outcomes in by_loss.items() if outcomes}
    if not judged:
        return f"None of the paper's {len(cells)} accuracies is judged yet."
    again = [loss for loss, outcomes in judged.items() if set(outcomes) == {"consistent"}]
    others = [loss for loss in judged if loss not in again]
    num_again = sum(len(judged[loss]) for loss in again)
    told = f"for {enumerated(again)} ({num_again} of {num_again} judged)" if again else ""
    counts = [f"{loss} ({judged[loss].count('consistent')} of {len(judged[loss])})" for loss in others]
    apart = enumerated(counts) if counts else ""
    if not again:
        return f"The paper's accuracies do not all replicate: {apart}."
    open_scale = ", whose scale the paper leaves open" if LGL.label in others else ""
    return f"The paper's accuracies replicate {told}{f', not for {apart}{open_scale}' if others else ''}."


def _lead(one: ConfirmedHeadline) -> str:
    """What becomes of the first headline's lead."""
    first = one.first
    if not first.paper.pairs.n:
        return f"{LGL_INR.label}'s lead over {first.other.label} on {DATASETS[first.dataset]} has no runs yet."
    paper, own = (points(one.difference.mean).lstrip("+") for one in (first.paper, first.own_lr))
    whose = f"{LGL_INR.label}'s lead over {first.other.label}"
    lead = f"{whose} on {DATASETS[first.dataset]} is {paper} points at the paper's learning rate"
    seeds = f"seeds {FIRST_SEEDS[0]} to {FIRST_SEEDS[-1]}"
    if first.headline in NO_LEAD:
        return f"{lead}, {NO_LEAD[first.headline]} ({seeds})."
    return f"{lead}, {own} at each loss's own: {LEADS[first.headline]} ({seeds})."


def _repeated(one: ConfirmedHeadline, second: SecondRound) -> str:
    """What further seeds make of it, and what all of them give."""
    further = f"Seeds {BLIND_SEEDS[0]} to {BLIND_SEEDS[-1]}"
    if one.blind is None:
        return "Further seeds have not repeated this yet."
    judged = one.first.paper if one.first.headline in NO_LEAD else one.first.own_lr
    blind = {found.first.contrast: found.blind for found in second.confirmations}
    paper, own = (points(blind[of.contrast].comparison.difference.mean) for of in (one.first.paper, judged))
    pooled = inference.paired_t(blind[judged.contrast].pooled)
    every = f"all {in_words(pooled.n)} give {points(pooled.mean)} ({span(pooled.low, pooled.high)})"
    told = {
        "confirmed": "confirm this",
        "contradicted": f"contradict this ({own})",
        "undecided": f"alone do not show the lead ({paper})",
    }[one.status]
    if one.status == "undecided" and one.blind == "open":
        told = f"show the lead again and leave its end undecided ({own})"
    elif one.status == "undecided" and one.blind not in NO_LEAD:
        told = f"alone say: {LEADS[one.blind]} ({own})"
    return f"{further} {told}; {every}."


def _cells_tile(cells: Sequence[JudgedCell]) -> Tile:
    """How many of the printed accuracies are what one new run would give."""
    count = Counter(one.outcome for one in cells)
    lacking = [one for one in cells if one.outcome == "too few"]
    begun = sum(one.last.n > 0 for one in lacking)
    where = dict.fromkeys(f"{one.key.labels[0]}" for one in lacking)
    counts = [
        Count(count["consistent"], "agree with ours", TONES["consistent"]),
        Count(count["paper higher"], "higher in the paper", TONES["paper higher"]),
        Count(count["paper lower"], "lower in the paper", TONES["paper lower"]),
        Count(len(lacking), "not yet run" + f" ({begun} begun)" * bool(begun), TONES["not yet run"]),
    ]
    lines = [f"Not yet: {enumerated(where)}"] if where else []
    return Tile(f"{len(cells)} accuracies of the paper", counts, lines)


_STATES: Mapping[State, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "not yet tested": ("is not yet tested", "are not yet tested"),
    "needs arrays": ("needs the runs' arrays", "need the runs' arrays"),
}
"""What one claim does, and several."""


def _claims_tile(verdicts: Sequence[Verdict]) -> Tile:
    """How many of the paper's claims hold; those of its abstract, introduction and conclusion apart."""
    own = [one for one in verdicts if one.outcome and one.claim.whose == "paper"]
    count = Counter(one.state for one in own)
    shown = [state for state in _STATES if count[state] or state != "needs arrays"]
    counts = [Count(count[state], _STATES[state][count[state] != 1], TONES[state]) for state in shown]
    central = [one for one in own if one.claim.is_central]
    of_central = Counter(one.state for one in central)
    if of_central["not yet tested"] == len(central):
        told = f"The {len(central)} central ones need all cells, so none is tested yet"
    else:
        words = [f"{num} {_STATES[state][num != 1]}" for state in _STATES if (num := of_central[state])]
        told = f"Of the {len(central)} central ones {enumerated(words)}"
    return Tile(f"{len(own)} claims of the paper", counts, [told])


def _runs_tile(judge: Judge, used: set[str]) -> Tile:
    """What it all rests on."""
    records = [judge.results.records[name].fields for name in used if name in judge.results.records]
    hours = sum(float(record.get("wall_s") or math.nan) for record in records if record.get("wall_s")) / 3600
    devices = sorted({str(record["device"]).upper() for record in records})
    own = [one for one in judge.cells() if one.last.n >= MIN_RUNS and one.key.model != LITERAL]
    networks = dict.fromkeys(one.key.labels[0] for one in own)
    lines = [f"{len(records)} runs, {hours:,.0f} hours on {enumerated(devices)}"] if records else ["No runs yet"]
    if own:
        datasets = dict.fromkeys(LABELS[one.key.dataset] for one in own)
        seeds = seeds_told(one.last.n for one in own)
        lines.append(f"Judged so far: {enumerated(networks)} on {enumerated(datasets)}, {seeds} a cell")
    lines.append(f"Seeds {BLIND_SEEDS[0]} to {BLIND_SEEDS[-1]} came later, under rules written before they ran")
    return Tile("What it rests on", lines=lines)
