"""The first screen: what was found, in three sentences, one picture and three tiles."""

import math
from collections import Counter
from collections.abc import Sequence

from lossbench.config.registry import LABELS, LOSSES
from lossbench.report.blocks import Block, Count, Paragraph, Terms, Tile, Tiles
from lossbench.report.finding_figure import finding
from lossbench.report.tone import TONES
from lossbench.report.wording import enumerated, in_words, points, seeds_told
from lossbench.statistics.inference import MIN_RUNS, CellOutcome, Headline
from lossbench.studies.aaai20 import keys
from lossbench.studies.aaai20.keys import LGL, LGL_INR, LITERAL, SML
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS
from lossbench.studies.aaai20.second_verdicts import ConfirmedHeadline, SecondRound
from lossbench.studies.aaai20.sections.estimates import finding_rows, summed_outcomes
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
    "remains": "{lead}; at each loss's own, the lead remains ({own})",
    "gone": "{lead}; at each loss's own, the lead is gone ({own})",
    "reversed": "{lead}; at each loss's own, {second} leads ({own})",
    "open": "{lead}; at each loss's own, it is undecided ({own})",
    "undecided": "it is undecided whether {first} leads {second} at the paper's learning rate ({paper} points)",
    "not found": "{first} does not lead {second} at the paper's learning rate ({paper} points)",
}
"""What docs/statistics.md calls the outcomes of the headline."""


def first_screen(judge: Judge, cells: Sequence[JudgedCell], verdicts: Sequence[Verdict], used: set[str]) -> list[Block]:
    """The finding in three sentences, one picture and three tiles.

    Args:
        judge: the verdicts.
        cells: its judged cells.
        verdicts: its verdicts on the claims.
        used: names of the report's runs.
    """
    printed = [one for one in cells if one.key.model != LITERAL]
    return [
        Terms([(loss.label, text) for loss, text in TERMS.items()], [LOSSES[loss.name].style for loss in TERMS]),
        Paragraph(" ".join(sentences(judge, printed))),
        finding(finding_rows(judge)),
        Tiles([_cells_tile(printed), _claims_tile(verdicts), _runs_tile(judge, used)]),
    ]


def sentences(judge: Judge, cells: Sequence[JudgedCell]) -> list[str]:
    """The finding: whose numbers come out again, what becomes of the lead over SML, and how far that may be trusted."""
    second = SecondRound(judge)
    first = second.headlines()[0]
    return [_reproduced(judge, cells), _lead(first), _repeated(first, second)]


_JUDGED = ("consistent", "paper higher", "paper lower")


def _reproduced(judge: Judge, cells: Sequence[JudgedCell]) -> str:
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
    apart = enumerated([f"{loss} ({_count(judge, loss, judged[loss])})" for loss in others]) if others else ""
    if not again:
        return f"The paper's accuracies do not all replicate: {apart}."
    return f"The paper's accuracies replicate {told}{f', not for {apart}' if others else ''}."


def _count(judge: Judge, loss: str, outcomes: Sequence[CellOutcome | None]) -> str:
    """How many of a loss's numbers replicate; of LGL by its other reading as well."""
    told = f"{outcomes.count('consistent')} of {len(outcomes)}"
    summed = [word for word in summed_outcomes(judge).values() if word != "too few"] if loss == LGL.label else []
    return f"{told}; summed over classes, {summed.count('consistent')} of {len(summed)}" if summed else told


def _lead(one: ConfirmedHeadline) -> str:
    """What becomes of the first headline's lead."""
    first = one.first
    losses = {"first": LGL_INR.label, "second": first.other.label}
    paper, own = (points(one.difference.mean) for one in (first.paper, first.own_lr))
    lead = f"{LGL_INR.label} leads {first.other.label} by {paper.lstrip('+')} points at the paper's learning rate"
    told = LEADS[first.headline].format(lead=lead, paper=paper, own=own, **losses)
    return f"On {DATASETS[first.dataset]}, {told}."


_ALONE: dict[Headline, str] = {
    "remains": "By {num} further seeds alone, the lead remains at each loss's own learning rate ({own} points)",
    "gone": "By {num} further seeds alone, the lead is gone at each loss's own learning rate ({own} points)",
    "reversed": "By {num} further seeds alone, the lead turns round at each loss's own learning rate ({own} points)",
    "open": "{num} further seeds confirm the lead and leave undecided whether it goes ({own} points)",
    "undecided": "{num} further seeds alone do not show the lead ({paper} points)",
    "not found": "{num} further seeds alone find no lead ({paper} points)",
}
"""What further seeds say where they neither confirm nor contradict the headline."""


def _repeated(one: ConfirmedHeadline, second: SecondRound) -> str:
    """What further seeds make of it."""
    num = in_words(len(BLIND_SEEDS))
    if one.blind is None:
        return "Further seeds have not repeated this yet."
    if one.status == "undecided":
        blind = {found.first.contrast: found.blind.comparison.difference.mean for found in second.confirmations()}
        paper, own = (points(blind[of.contrast]) for of in (one.first.paper, one.first.own_lr))
        told = f"{_ALONE[one.blind].format(num=num, paper=paper, own=own)}."
        return told[0].upper() + told[1:]
    return f"{num.capitalize()} further seeds {'confirm' if one.status == 'confirmed' else 'contradict'} this."


def _cells_tile(cells: Sequence[JudgedCell]) -> Tile:
    """How many of the printed accuracies are what one new run would give."""
    count = Counter(one.outcome for one in cells)
    lacking = [one for one in cells if one.outcome == "too few"]
    begun = sum(one.last.n > 0 for one in lacking)
    where = dict.fromkeys(f"{one.key.labels[0]}" for one in lacking)
    counts = [
        Count(count["consistent"], "agree with ours", TONES["consistent"]),
        Count(count["paper higher"], "higher than ours", TONES["paper higher"]),
        Count(count["paper lower"], "lower than ours", TONES["paper lower"]),
        Count(len(lacking), "not yet run" + f" ({begun} begun)" * bool(begun), TONES["not yet run"]),
    ]
    lines = [f"Not yet: {enumerated(where)}"] if where else []
    return Tile(f"{len(cells)} accuracies of the paper", counts, lines)


_STATES: tuple[tuple[State, str], ...] = (
    ("holds", "hold"),
    ("fails", "fail"),
    ("inconclusive", "inconclusive"),
    ("not yet tested", "not yet tested"),
    ("needs arrays", "need the runs' arrays"),
)


def _claims_tile(verdicts: Sequence[Verdict]) -> Tile:
    """How many of the paper's claims hold; those of its abstract, introduction and conclusion apart."""
    own = [one for one in verdicts if one.outcome and one.claim.whose == "paper"]
    count = Counter(one.state for one in own)
    shown = [(state, words) for state, words in _STATES if count[state] or state != "needs arrays"]
    counts = [Count(count[state], words, TONES[state]) for state, words in shown]
    central = [one for one in own if one.claim.is_central]
    of_central = Counter(one.state for one in central)
    told = enumerated([f"{of_central[state]} {words}" for state, words in _STATES if of_central[state]])
    return Tile(f"{len(own)} claims of the paper", counts, [f"The {len(central)} central ones: {told}"])


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
    lines.append(f"Repeated with {in_words(len(BLIND_SEEDS))} further seeds, their rules written first")
    return Tile("What it rests on", lines=lines)
