"""The confidently wrong start on the page: how wrong it is, which losses leave it, in how many steps."""

import math
from collections.abc import Sequence

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Paragraph, Table
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, NO_NUMBER, counted, enumerated, percent, seeds_told
from lossbench.runs.gradient_arrays import P_EDGES
from lossbench.studies.gradient_dynamics import norms_picture, norms_table, on_the_way_picture
from lossbench.studies.why_log import plan
from lossbench.studies.why_log.pictures import rates_picture
from lossbench.studies.why_log.wrong_start import HIGHER, LEAVING, FromWrong, Start, WrongStart, most_steps

SML = LABELS["sml"]

WORDS = {"leaves": toned("yes"), "stays": toned("no"), "undecided": toned("undecided"), None: toned("not yet run")}
"""Whether a loss leaves the start, in a table."""


def wrong_start_blocks(wrong: WrongStart) -> list[Block]:
    """One kind of wrong start: a sentence on how wrong it is, who leaves, a picture and tables; empty without runs."""
    if not wrong.num_done:
        return []
    if wrong.own_start:
        name, start = "why_log_own_start", "each loss's own wrong start"
        return [
            Paragraph(f"{_who_leaves(wrong.losses, start)} These runs decide nothing: description."),
            rates_picture(wrong.losses, most_steps(), name, start, SML),
            steps_table(wrong.losses, start),
            starts_table(wrong.losses),
            *_gradients(wrong, "why_log_own_"),
        ]
    name, start = "why_log_wrong_start", "the same wrong start"
    return [
        Paragraph(how_wrong(wrong.start)),
        Paragraph(_who_leaves(wrong.losses, start)),
        rates_picture(wrong.losses, most_steps(), name, start, SML),
        steps_table(wrong.losses, start),
        *_gradients(wrong, "why_log_"),
    ]


def _gradients(wrong: WrongStart, stem: str) -> list[Block]:
    """The gradients on the way from the start, of one run of each loss; empty without traces."""
    setting = f"Fashion-MNIST, CNN2C, seed {plan.TRACED_SEED}, each loss at its best learning rate so far"
    runs = {label: [config] for label, config in wrong.traced.items()}
    on_the_way = on_the_way_picture(wrong.traced, wrong.results, stem, setting)
    if on_the_way is None:
        return []
    return [on_the_way, norms_picture(runs, wrong.results, stem, setting), norms_table(runs, wrong.results, setting)]


def how_wrong(start: Start) -> str:
    """How wrong the common start is, in sentences."""
    told = (
        "The start: SML is fitted to labels that call each class of Fashion-MNIST the next one "
        f"({plan.FITTING.epochs} epochs, learning rate {plan.FITTING.lr:g})."
    )
    if start.accuracies:
        low, high = percent(min(start.accuracies), 1), percent(max(start.accuracies), 1)
        reach = low if low == high else f"{low} to {high}"
        told += (
            f" On held-out images it then predicts the wrong label in {reach} % "
            f"({plan.NUM_VALIDATION:,} images, {seeds_told([len(start.accuracies)])})."
        )
    if start.diverged:
        told += f" {counted(start.diverged, 'fit')} diverged, so that its runs are missing."
    found = start.median_between
    if found:
        told += (
            f" The true class then has a small probability p_y: its median is {where_median(found)}, and it is below "
            f"{_small(P_EDGES[0])} for {percent(start.share_below(P_EDGES[0]), 0)} % of {sum(start.counts):,} training "
            f"images (seed {plan.TRACED_SEED})."
        )
    else:
        told += " Where p_y lies was not traced yet."
    return told


def where_median(bin_: tuple[float, float]) -> str:
    """Where the median of p_y is, in words, by its bin."""
    low, high = bin_
    return f"below {_small(high)}" if not low else f"between {_small(low)} and {_small(high)}"


def _small(p: float) -> str:
    """A probability as people write it: 1e-6, not 1e-06."""
    return f"{p:.0e}".replace("e-0", "e-") if 0 < p < 0.01 else f"{p:g}"


def _who_leaves(losses: Sequence[FromWrong], start: str) -> str:
    """Which losses leave, stay, are undecided or not yet run, in a sentence."""
    seeds, rates, most = len(plan.RIGHTING_SEEDS), len(plan.RIGHTING_LRS), most_steps()
    level = f"{100 * LEAVING:g} %"
    by_state = {state: [one.loss for one in losses if one.state == state] for state in (*WORDS,)}
    clauses = []
    if by_state["leaves"]:
        clauses.append(f"{enumerated(by_state['leaves'])} reached {level} in all {seeds} seeds")
    if by_state["stays"]:
        clauses.append(f"{enumerated(by_state['stays'])} in none at any of {rates} learning rates")
    if by_state["undecided"]:
        clauses.append(f"{enumerated(by_state['undecided'])} in some seeds but not in all")
    told = f"From {start}, within {most:,} steps, {'; '.join(clauses)}." if clauses else ""
    waiting = by_state[None]
    if not waiting:
        return told
    done, planned = sum(one.num_done for one in losses), sum(one.num_planned for one in losses)
    counts = f"{done} of {planned} runs" if planned else "no run"
    unknown = [one.loss for one in losses if not one.num_planned]
    more = f"; no own learning rate yet: {enumerated(unknown)}" if unknown else ""
    left = f"Not all runs that decide are done for {enumerated(waiting)} ({counts} of this start are done{more})."
    return f"{told} {left}".strip()


def steps_table(losses: Sequence[FromWrong], start: str) -> Table:
    """Steps to both accuracies at the best rate, with the range of seeds, in how many seeds, and who leaves."""
    rows = {one.loss: _line(one) for one in losses}
    caption = (
        f"Steps from {start} to {100 * LEAVING:g} and {100 * HIGHER:g} % on held-out images of Fashion-MNIST: median "
        "over seeds (lowest to highest; n) at the learning rate with the smallest median for that accuracy, the "
        f"smaller of equals. A run that does not get there in {most_steps():,} steps is censored (>), as is one that "
        "diverged; none is in a mean. Seeds: those that get there at one learning rate at least. Leaves: in all "
        f"{len(plan.RIGHTING_SEEDS)} seeds to {100 * LEAVING:g} %; no: in none. CNN2C, momentum "
        f"{plan.RIGHTING.momentum:g}, from zero."
    )
    return table(rows, ["Loss"], caption)


def _line(one: FromWrong) -> dict[str, str]:
    line: dict[str, str] = {}
    for level in (LEAVING, HIGHER):
        best, name = one.best(level), f"{100 * level:g} %"
        line[f"Steps to {name}"] = steps_text(one, level)
        line[f"lr, {name}"] = f"{best.lr:g}" if best else NO_NUMBER
        line[f"Seeds, {name}"] = f"{one.seeds_reaching(level)} of {one.num_seeds}" if one.num_done else NO_NUMBER
    line["Runs"] = f"{one.num_done} of {one.num_planned}" if one.num_planned else NO_NUMBER
    line["Diverged"] = str(one.diverged) if one.num_done else NO_NUMBER
    line["Leaves"] = WORDS[one.state]
    return line


def steps_text(one: FromWrong, level: float) -> str:
    """Median steps at the best rate with the range of seeds; censored ones as "> 3,628"."""
    if not one.num_done:
        return MISSING
    best = one.best(level)
    if best is None:
        return f"> {most_steps():,}"
    steps = sorted(best.steps(level))
    if len(steps) == 1:
        return f"{_steps(steps[0])} (n=1)"
    return f"{_steps(best.median(level))} ({_steps(steps[0])} to {_steps(steps[-1])}; n={len(steps)})"


def _steps(steps: float) -> str:
    return f"> {most_steps():,}" if math.isinf(steps) else f"{steps:,.0f}"


def starts_table(losses: Sequence[FromWrong]) -> Table:
    """How wrong each loss's own start is."""
    rows = {}
    for one in losses:
        known, bin_ = one.start.accuracies, one.start.median_between
        low_high = f"{percent(min(known), 1)} to {percent(max(known), 1)} (n={len(known)})" if known else MISSING
        rows[one.loss] = {
            "Wrong label predicted (%)": low_high,
            "Fits that diverged": str(one.start.diverged),
            "Median p_y between": f"{_small(bin_[0])} and {_small(bin_[1])}" if bin_ else NO_NUMBER,
        }
    caption = (
        f"Each loss's own wrong start: share of {plan.NUM_VALIDATION:,} held-out images whose wrong label the fitted "
        f"network predicts, lowest to highest of the seeds (n), and the bin with the median of p_y, the softmax of the "
        f"true class's logit, over traced training images of seed {plan.TRACED_SEED}. Each loss fits at its own "
        f"learning rate from scratch, {plan.FITTING.epochs} epochs."
    )
    return table(rows, ["Loss"], caption)
