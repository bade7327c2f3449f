"""The evidence in four steps, each a sentence, a figure and what stands behind it."""

from collections.abc import Sequence

import numpy as np

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Items, Paragraph, Picture, Section, Table
from lossbench.report.intervals import leads
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import NO_NUMBER, enumerated, in_words, points, span
from lossbench.statistics import inference
from lossbench.statistics.inference import Difference
from lossbench.studies.aaai20 import figure1, keys, second_runs
from lossbench.studies.aaai20.claims import claims
from lossbench.studies.aaai20.conditions import PLACES, SCALES
from lossbench.studies.aaai20.keys import CNN2C, GRAY, LGL, LGL_INR, LITERAL, SML, SUMMED, pair_label
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.aaai20.sections import estimates
from lossbench.studies.aaai20.sections.adaptive_weights import adaptive_weights
from lossbench.studies.aaai20.sections.findings import DATASETS, cells_sentence
from lossbench.studies.aaai20.verdicts import SEEN_SEED, Judge, JudgedCell, JudgedHeadline, Verdict
from lossbench.studies.cells import Key

NOT_YET = toned("not yet run")

_GONE = {
    "remains": "At each loss's own learning rate LGL-INR's lead over SML remains",
    "gone": "At each loss's own learning rate LGL-INR's lead over SML is gone",
    "reversed": "At each loss's own learning rate LGL-INR's lead over SML turns round",
    "open": "At each loss's own learning rate LGL-INR's lead over SML is undecided",
    "undecided": "A lead of LGL-INR over SML is not shown even at the paper's learning rate",
    "not found": "There is no lead of LGL-INR over SML at the paper's learning rate",
}


def story(
    judge: Judge,
    cells: Sequence[JudgedCell],
    verdicts: Sequence[Verdict],
    beside_paper: Sequence[Block],
    curves: Sequence[Picture],
    readings: Sequence[Block],
    elsewhere: Sequence[str],
) -> list[Section]:
    """The four steps.

    Args:
        judge: the verdicts.
        cells: its judged cells.
        verdicts: its verdicts on the claims.
        beside_paper: a picture of our accuracies beside the paper's.
        curves: pictures of accuracy over the learning rate.
        readings: a picture of what other readings of the paper change, and its text.
        elsewhere: what other studies say of a loss's strengths.
    """
    printed = [one for one in cells if one.key.model != LITERAL]
    return [
        _numbers(judge, cells, beside_paper),
        _rates(judge, curves),
        adaptive_weights(judge, elsewhere),
        _conditions(judge, verdicts, printed, readings),
    ]


def _numbers(judge: Judge, cells: Sequence[JudgedCell], beside_paper: Sequence[Block]) -> Section:
    """Whether the paper's accuracies replicate, both readings of LGL side by side."""
    printed = [one for one in cells if one.key.model != LITERAL]
    apart = {one.key.loss for one in printed if one.outcome in ("paper higher", "paper lower")}
    judged = [one for one in printed if one.outcome not in (None, "too few")]
    if not judged:
        title = "None of the paper's accuracies is judged yet."
    elif not apart:
        title = "The paper's accuracies replicate."
    else:
        title = f"The paper's accuracies replicate, except {enumerated(sorted({one.label for one in apart}))}'s."
    return Section(
        title,
        [
            Paragraph(cells_sentence(printed)),
            Paragraph(f"{_two_readings(judge)} {_printed_head(cells)}".strip()),
            *beside_paper,
            accuracies(judge, printed),
        ],
        short="The paper's numbers",
    )


def _printed_head(cells: Sequence[JudgedCell]) -> str:
    """How many of CNN2C's numbers agree with its head as printed."""
    outcomes = [one.outcome for one in cells if one.key.model == LITERAL and one.outcome not in (None, "too few")]
    if not outcomes:
        return ""
    return (
        f"{LITERAL.label} in the figure has the head that the paper prints: {outcomes.count('consistent')} of "
        f"{len(outcomes)} numbers agree."
    )


def _two_readings(judge: Judge) -> str:
    known = {name: word for name, word in estimates.summed_outcomes(judge).items() if word != "too few"}
    words = {"consistent": "agrees", "paper higher": "is higher than ours", "paper lower": "is lower than ours"}
    papers = estimates.at_papers(judge)
    num = {name: len(inference.finished(judge.results.values(papers[name, SUMMED]))) for name in known}
    told = [f"{words[word]} on {DATASETS[name]} (n={num[name]})" for name, word in known.items()]
    summed = f"With the sum, the paper's number {enumerated(told)}." if told else "The sum has no runs yet."
    return (
        "The paper does not say whether LGL is a mean or a sum over the ten classes, which takes steps ten times as "
        f"large. The verdicts are about the mean. {summed}"
    )


def accuracies(judge: Judge, printed: Sequence[JudgedCell]) -> Table:
    """Our accuracies with the paper's number and the verdict, LGL averaged and summed over the classes side by side."""
    papers, outcomes = estimates.at_papers(judge), estimates.summed_outcomes(judge)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    columns = ("LGL (mean)", SUMMED.label, SML.label, LGL_INR.label)
    for one in (one for one in printed if one.last.n):
        network, dataset, loss = one.key.labels
        row = network if one.key.loss.option is None else f"{network}, {loss}"
        line = lines.setdefault((dataset, row), dict.fromkeys(columns, NO_NUMBER))
        column = columns[0] if one.key.loss == LGL else one.cell.loss
        line[column] = _beside(_told(judge.results.values(one.cell)), one.cell.paper, str(one.outcome or ""))
        if one.key.loss == LGL and one.key.model == CNN2C:
            cell = papers[one.key.dataset, SUMMED]
            values = judge.results.values(cell)
            told = _told(values)
            line[SUMMED.label] = _beside(told, one.cell.paper, outcomes[one.key.dataset]) if told else NOT_YET
    caption = (
        "Test accuracy (%) after the last epoch, mean ± standard deviation over seeds (n); after the semicolon the "
        "paper's number and whether it could be one more run of ours (95 % prediction interval). LGL (sum) is no part "
        "of the verdicts: it is judged by its own spread, on its own runs or on those of LGL at ten times the learning "
        "rate, which take the same steps, whichever are more. Cells without a run are left out."
    )
    order = {LABELS[name]: place for place, name in enumerate(DATASETS)}
    return table(dict(sorted(lines.items(), key=lambda line: order[line[0][0]])), ["Data set", "Network"], caption)


def _told(values: inference.Values) -> str:
    known = [100 * value for value in inference.finished(values)]
    if not known:
        return ""
    spread = f" ± {np.std(known, ddof=1):.2f}" if len(known) > 1 else ""
    return f"{np.mean(known):.2f}{spread} (n={len(known)})"


def _beside(told: str, paper: float | None, outcome: str) -> str:
    return told if paper is None else f"{told}; {paper:.2f}, {outcome}"


def _rates(judge: Judge, curves: Sequence[Picture]) -> Section:
    """What becomes of the leads at each loss's own learning rate."""
    every = judge.headlines()
    first = every[0]
    where = [one.dataset for one in every if one.other == SML and one.headline == first.headline]
    title = f"{_GONE[first.headline]} on {enumerated([DATASETS[name] for name in where])}."
    tuned, *shrunk = _shrinks(judge)
    rows = estimates.lead_rows(judge)
    blocks: list[Block] = [tuned, Paragraph(_scales()), *curves, *([leads(rows)] if rows else []), *shrunk]
    blocks += [_own_table(judge), Paragraph(f"{_near(judge)} {_others(every)}".strip())]
    return Section(title, blocks, short="Learning rates")


def _shrinks(judge: Judge) -> list[Block]:
    """Whom the paper's learning rate suits, and by how much each lead shrinks, with its interval."""
    tuned = Paragraph(_tuned(judge))
    lines = {
        (pair_label(one.pair), LABELS[one.dataset]): {
            "n": str(one.less.n),
            "At the paper's rate": _interval(one.at_paper),
            "At own rates": _interval(one.at_own),
            "Shrinkage": _interval(one.less),
        }
        for one in estimates.shrinkages(judge)
    }
    if not lines:
        return [tuned, Paragraph("No lead is known at both learning rates yet.")]
    caption = (
        "By how much LGL-INR's lead shrinks, in points of test accuracy: CNN2C, last epoch, paired over all seeds that "
        "there are (n), 95 % intervals. Description: the verdicts rest on seeds 0 to 4. Where "
        "the paper's rate is both losses' own, nothing can shrink, and the line is left out."
    )
    return [tuned, table(lines, ["Lead", "Data set"], caption)]


def _scales() -> str:
    """How much larger LGL-INR's gradient is, which at one learning rate means larger steps."""
    (place,) = [one for one in PLACES if one.dataset == "kmnist"]
    sml, lgl = (SCALES[place][loss.name] for loss in (SML, LGL))
    return (
        f"At initialisation LGL-INR's gradient norm on KMNIST is {sml:g} times SML's and {lgl:g} times LGL's, so at "
        "one learning rate it takes larger steps. Bars in the figure mark the rates at which the norms are equal."
    )


def _near(judge: Judge) -> str:
    """How far apart the losses are at their own learning rates."""
    apart = estimates.spread_at_own(judge)
    told = enumerated([f"{100 * one:.2f} on {DATASETS[name]}" for name, one in apart.items()]) if apart else ""
    return f"At their own rates the best and the worst loss are this far apart, in points: {told}." if told else ""


def _tuned(judge: Judge) -> str:
    """Whose own learning rate the paper's is, loss by loss."""
    papers, own = estimates.at_papers(judge), estimates.at_own(judge)
    told = []
    for loss in (LGL_INR, SML, LGL):
        known = [name for name in GRAY if (name, loss) in own]
        same = [DATASETS[name] for name in known if own[name, loss].key == papers[name, loss].key]
        if known:
            where = "on no data set" if not same else f"on {enumerated(same)}"
            told.append(f"{loss.label} {'on every data set' if len(same) == len(known) > 1 else where}")
    if not told:
        return "No loss's own learning rate is known yet."
    return (
        f"The paper's learning rate, {paper_schedule('kmnist').lr:g}, is the best on held-out images for "
        f"{'; '.join(told)}. One run a rate decides; the full check says what further seeds choose."
    )


def _interval(one: Difference) -> str:
    return f"{points(one.mean)} ({span(one.low, one.high)})" if one.n > 1 else points(one.mean)


def _own_table(judge: Judge) -> Table:
    """Accuracy and probabilistic scores at each loss's own learning rate, beside the accuracy at the paper's."""
    papers, own = estimates.at_papers(judge), estimates.at_own(judge)
    lines = {}
    for name in GRAY:
        for loss in keys.LOSSES:
            cell = own.get((name, loss))
            line = {"At the paper's rate": _told(judge.results.values(papers[name, loss])) or NOT_YET}
            if cell is None:
                line |= dict.fromkeys(("Own rate", "At its own rate", "NLL", "Brier", "ECE (%)"), NO_NUMBER)
            else:
                found = estimates.scores(judge.results, cell)
                line |= {
                    "Own rate": f"{cell.config.schedule.lr:g}",
                    "At its own rate": _told(judge.results.values(cell)) or NOT_YET,
                    "NLL": _mean(found["nll"], 1, 4),
                    "Brier": _mean(found["brier"], 1, 4),
                    "ECE (%)": _mean(found["ece"], 100, 2),
                }
            lines[LABELS[name], loss.label] = line
    caption = (
        "Each loss at the paper's learning rate and at its own: test accuracy (%), mean ± standard deviation "
        "over seeds (n), CNN2C, last epoch. At its own rate also the negative log-likelihood in nats, the Brier score "
        "and the expected calibration error (15 bins), means over seeds, by the probabilities that theory names, "
        "normalised. LGL (sum) is LGL at ten times the rate, so both have the same best accuracy."
    )
    return table(lines, ["Data set", "Loss"], caption)


def _mean(values: Sequence[float], factor: float, digits: int) -> str:
    return f"{factor * np.mean(values):.{digits}f}" if values else NO_NUMBER


def _others(every: Sequence[JudgedHeadline]) -> str:
    """The verdicts of the rules on all leads, in a sentence."""
    told = [f"{pair_label((LGL_INR, one.other))} on {DATASETS[one.dataset]}: {one.headline}" for one in every]
    return (
        f'The verdicts on seeds 0 to 4: {"; ".join(told)}. "Gone" asks for a lead at the paper\'s rate and '
        'equivalence within 0.25 points at the own rates; "open" has the lead and leaves the rest undecided.'
    )


def _conditions(
    judge: Judge, verdicts: Sequence[Verdict], printed: Sequence[JudgedCell], readings: Sequence[Block]
) -> Section:
    """What the result hangs on, and what was not tested."""
    seen = judge.unseen()
    changed = [
        f"{pair_label((LGL_INR, one.other))} on {DATASETS[one.dataset]} ({one.headline} becomes {after.headline})"
        for one, after in zip(judge.headlines(), seen.headlines(), strict=True)
        if one.headline != after.headline
    ]
    texts = _figure1_depends(judge, verdicts)
    if changed:
        texts.append(
            f"{in_words(len(judge.seen())).capitalize()} runs with seed {SEEN_SEED} had been seen before the rules "
            f"were written. Without them one pair fewer is left, and these leads change: {enumerated(changed)}."
        )
    lacking = _not_tested(verdicts, printed)
    texts.append(lacking)
    texts.append(
        "Intervals are about new seeds: the test images of a data set are one fixed set, seen before. CNN2C has a "
        "constant learning rate, as in the paper."
    )
    blocks = [*readings, Items([text for text in texts if text])]
    title = "The results depend on readings of the paper" + ", and much is not tested yet." * bool(lacking)
    title = title if lacking else f"{title}."
    return Section(title, blocks, short="Limits")


def _figure1_depends(judge: Judge, verdicts: Sequence[Verdict]) -> list[str]:
    """Whether the claims on Figure 1 that are about LGL hold with LGL summed over the classes as well."""
    summed = second_runs.lgl_sums()["kmnist"]
    paper = judge.conditions["paper"]
    inr = paper[Key(CNN2C, "kmnist", LGL_INR)]
    told = []
    for verdict in verdicts:
        claim = verdict.claim
        if claim.kind != "proportion" or not any(LGL in pair for pair in claim.contrasts):
            continue
        seeds = [config.seed for config in summed.configs]
        first = summed if claim.contrasts[0][0] == LGL else second_runs.with_seeds(inr, seeds)
        flags = [flag for flag in figure1.flags(judge.results, claim.id, first, summed) if flag is not None]
        if flags:
            word = verdict.outcome
            told.append(
                f"Figure 1, “{claim.claim}”: {word} with LGL as a mean; with LGL as a sum it is so in {sum(flags)} of "
                f"{len(flags)} seeds."
            )
    num = sum(claim.kind == "proportion" for claim in claims())
    told.append(f"The {in_words(num)} claims on Figure 1 are tested without a correction for their number.")
    return told


def _not_tested(verdicts: Sequence[Verdict], printed: Sequence[JudgedCell]) -> str:
    lacking = [one for one in printed if one.outcome == "too few"]
    own = [one for one in verdicts if one.outcome and one.claim.whose == "paper"]
    untested = [one for one in own if one.state == "not yet tested"]
    central = [one for one in untested if one.claim.is_central]
    if not lacking:
        return ""
    places = dict.fromkeys(f"{one.key.labels[0]} on {one.key.labels[1]}" for one in lacking)
    return (
        f"Not judged yet, with fewer than {inference.MIN_RUNS} runs: {len(lacking)} of {len(printed)} accuracies "
        f"({enumerated(places)}) and so {len(untested)} of {len(own)} claims, {in_words(len(central))} of them central "
        "ones, which are about all cells."
    )
