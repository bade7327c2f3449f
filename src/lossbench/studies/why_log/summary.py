"""What the study says, for the first page: three sentences, a picture, the verdicts, and what would change them."""

import math
from collections.abc import Sequence

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Items, Paragraph, Picture, Section
from lossbench.report.rows import Estimate
from lossbench.report.wording import enumerated, points
from lossbench.statistics.inference import Outcome
from lossbench.studies.compared import LossResult
from lossbench.studies.results import Results
from lossbench.studies.sentences import Judged, plan_state, sentences_table
from lossbench.studies.study import Planned
from lossbench.studies.why_log import plan
from lossbench.studies.why_log.pictures import AnswerRow, answer_picture
from lossbench.studies.why_log.verdicts import (
    BRIER,
    SML,
    SQUARE,
    SQUARED,
    Evidence,
    Part,
    fast_convergence,
    flat_where_wrong,
    good_results,
    left,
    not_convex,
    verdicts,
)
from lossbench.studies.why_log.wrong_start import LEAVING, FromWrong, most_steps
from lossbench.studies.why_log.wrong_start_page import where_median

WOULD_CHANGE = (
    "What would change our mind: if (1-p)² left the wrong start as fast as SML, a flat gradient would not be the "
    "reason. If Brier or spherical lost clearly from scratch while the squared loss on the logits did not, convexity "
    "would be a better one. If (1-p)² equalled SML from scratch and from the wrong start, the log would be a habit."
)
"""As in docs/why_log.md, shortened."""

_CAPTION = (
    "The sentences of the question's answers and what they leave out, judged by docs/why_log.md. Differences in test "
    f"accuracy, in points with 95 % interval, paired by seed, Holm over the losses of a data set, margin "
    f"{100 * plan.MARGIN:g} points."
)


def summary(results: Results, title: str, planned: Sequence[Planned]) -> Section:
    """The study's answer; sentences say what is not yet run, and the picture is left out until there is a run in it.

    Args:
        results: all known runs.
        title: of the section.
        planned: the study's runs, in blocks.
    """
    evidence = Evidence(results)
    judged = verdicts(evidence)
    has_noise = any(one.at_own.values for compared in evidence.noise.values() for one in compared.losses)
    shown = judged if has_noise else judged[: -len(plan.BOUNDED[1:])]
    picture = answer(evidence)
    blocks: list[Block] = [
        Items(sentences(evidence)),
        *([] if picture is None else [picture]),
        sentences_table(shown, _CAPTION),
        Paragraph(WOULD_CHANGE),
        Paragraph(_state(planned, results, has_noise)),
    ]
    return Section(title, blocks, short="Why the log")


def _state(planned: Sequence[Planned], results: Results, has_noise: bool) -> str:
    shares = enumerated(f"{100 * share:g}" for share in plan.NOISE)
    return plan_state(planned, results) + ("" if has_noise else f" Not yet run: {shares} % wrong labels.")


def sentences(evidence: Evidence) -> list[str]:
    """The answer: from scratch, from the wrong start, and what therefore is the reason."""
    return [from_scratch(evidence), from_wrong(evidence), reason(evidence)]


def from_scratch(evidence: Evidence) -> str:
    """The squares less SML from scratch, with the words of the verdicts."""
    parts = {loss: evidence.parts(loss) for loss in (SQUARE, BRIER, SQUARED)}
    begin = "From scratch, each loss at its own learning rate"
    if not any(part.n for own in parts.values() for part in own):
        return f"{begin}: not yet run for {enumerated(LABELS[loss] for loss in parts)}."
    texts = [f"{LABELS[loss]}: {_short(own)}" for loss, own in parts.items()]
    return f"{begin}, test accuracy less {SML}'s. {'; '.join(texts)}."


def _short(parts: Sequence[Part]) -> str:
    """Differences in brief: the mean, the word and n on each data set."""
    if not any(part.n for part in parts):
        return "not yet run"
    return ", ".join(
        f"{points(part.mean)} points on {part.where} ({part.word or 'not all runs done'}, n={part.n})"
        if part.n
        else f"not yet run on {part.where}"
        for part in parts
    )


def from_wrong(evidence: Evidence) -> str:
    """SML and (1-p)² from the same wrong start, and which other losses leave or stay."""
    wrong = evidence.wrong
    sml, square = (wrong.by_label[label] for label in (SML, LABELS[SQUARE]))
    found = wrong.start.median_between
    begin = "From the same confidently wrong network"
    begin += f" (the true class's median probability is {where_median(found)})" if found else ""
    if not sml.num_done and not square.num_done:
        return f"{begin}: not yet run."
    others = [one for one in wrong.losses if one.loss not in (SML, LABELS[SQUARE])]
    rest = [
        f"{enumerated(labels)} {words[len(labels) > 1]}"
        for state, words in _OTHERS.items()
        if (labels := [one.loss for one in others if one.state == state])
    ]
    told = f"{begin}: {left(sml)}. {left(square)}."
    return f"{told} Of the others, {'; '.join(rest)}." if rest else told


_OTHERS = {
    "leaves": ("gets there in all seeds", "get there in all seeds"),
    "stays": ("in none", "in none"),
    "undecided": ("in some", "in some"),
}
"""What the other losses do, one or several."""


def reason(evidence: Evidence) -> str:
    """What therefore is the reason, and what the answers got right and wrong."""
    good, convex, fast, flat = (
        good_results(evidence),
        not_convex(evidence),
        fast_convergence(evidence),
        flat_where_wrong(evidence),
    )
    sml, square = (evidence.wrong.by_label[label] for label in (SML, LABELS[SQUARE]))
    begin = _reason(flat.outcome, convex.outcome, good[0].outcome, sml.state == "stays") + _slower(sml, square)
    by_word: dict[str, list[str]] = {}
    for loss, one in zip((SQUARE, BRIER, SQUARED), good, strict=True):
        by_word.setdefault(one.word, []).append(LABELS[loss])
    said = [(word, f"“does not have good results” for {enumerated(labels)}") for word, labels in by_word.items()]
    said += [(convex.word, "“not convex” as the reason"), (fast.word, "“fast convergence”")]
    said += [(flat.word, f"“flat where it is wrong”, which the answers leave out{_of(flat)}")]
    groups = {word: [text for key, text in said if key == word] for word in _VERDICTS}
    told = [f"{begins} {'; '.join(groups[word])}" for word, begins in _VERDICTS.items() if groups[word]]
    return begin if len(told) == 1 and groups["not yet tested"] else f"{begin} {'. '.join(told)}."


_VERDICTS = {
    "holds": "What holds:",
    "fails": "What fails:",
    "undecided": "Undecided:",
    "not yet tested": "Not yet tested:",
}
"""How the sentences with a verdict are announced."""


def _of(flat: Judged) -> str:
    """How many seeds the last sentence rests on."""
    return f" (n={len(plan.RIGHTING_SEEDS)})" if flat.outcome else ""


def _reason(flat: Outcome | None, convex: Outcome | None, square: Outcome | None, sml_stays: bool) -> str:
    """The reason that follows from the verdicts on flatness, on convexity, and on (1-p)² from scratch.

    Args:
        flat: whether a flat gradient keeps (1-p)² in the wrong start, and not SML.
        convex: whether convexity is the reason.
        square: whether (1-p)² has no good results.
        sml_stays: whether SML stays in the wrong start, so that `flat` fails.
    """
    rest = {None: "not yet tested", "undecided": "undecided"}.get(convex, "")
    if flat is None:
        return "The reason is not known yet, as the runs that decide are not all done."
    if flat == "undecided":
        return "The reason is undecided."
    if flat == "holds":
        if convex == "fails":
            return "So the reason in these runs is the flat gradient where the network is wrong, and not convexity."
        if convex == "holds":
            return "So both are supported: the flat gradient where the network is wrong, and convexity."
        return f"So the flat gradient where the network is wrong is a reason; whether convexity is one is {rest}."
    leaving = f"{SML} does not leave the wrong start" if sml_stays else f"{LABELS[SQUARE]} leaves the wrong start too"
    if convex == "fails":
        told = f"So by the rules neither a flat gradient nor convexity is the reason in these runs: {leaving}."
    elif convex == "holds":
        told = f"So by the rules the reason in these runs is convexity, and not a flat gradient: {leaving}."
    else:
        told = f"By the rules a flat gradient is not the reason: {leaving}. Whether convexity is one is {rest}."
    return f"{told} From scratch, {LABELS[SQUARE]} does as well as {SML}." if square == "fails" else told


def _slower(sml: FromWrong, square: FromWrong) -> str:
    """How many times SML's steps (1-p)² needs where both leave: description beside a verdict that has no part in it."""
    first, second = sml.best(LEAVING), square.best(LEAVING)
    if sml.state != "leaves" or square.state != "leaves" or first is None or second is None:
        return ""
    one, two = first.median(LEAVING), second.median(LEAVING)
    return (
        f" {LABELS[SQUARE]} needs {two / one:.1f} times as many steps as {SML} ({two:,.0f} and {one:,.0f}, medians at "
        f"the best rates, n={min(len(first.done), len(second.done))}), which decides nothing."
    )


def answer(evidence: Evidence) -> Picture | None:
    """The picture that carries the answer; None: nothing in it is run yet."""
    scratch = {where: {one.label: one for one in compared.losses} for where, compared in evidence.scratch.items()}
    rows = [
        AnswerRow(
            one.loss,
            _steps(one),
            _seeds(one),
            one.is_done,
            tuple(_estimate(by_label[one.loss]) for by_label in scratch.values()),
        )
        for one in evidence.wrong.losses
    ]
    if not any(row.n or any(row.differences) for row in rows):
        return None
    return answer_picture(rows, list(scratch), most_steps(), SML, plan.MARGIN)


def _steps(one: FromWrong) -> float | None:
    """Median steps at the best rate; inf: at no rate; None: no run is done."""
    if not one.num_done:
        return None
    best = one.best(LEAVING)
    return best.median(LEAVING) if best else math.inf


def _seeds(one: FromWrong) -> int:
    """Seeds of the best rate, or of all rates where there is none."""
    best = one.best(LEAVING)
    return len(best.done) if best else one.num_seeds


def _estimate(one: LossResult) -> Estimate | None:
    """The difference to the baseline; None: the baseline, or no pair of runs."""
    if one.against_own is None or not one.against_own.pairs.n:
        return None
    found = one.against_own.difference
    return Estimate(found.mean, found.low, found.high, found.n)
