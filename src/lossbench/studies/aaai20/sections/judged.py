"""Tables, verdicts and pictures of the paper's profile as blocks of a page."""

import math
from collections.abc import Mapping, Sequence

from lossbench.config.registry import LABELS
from lossbench.report import cells_figure, intervals
from lossbench.report.blocks import Block, Paragraph, Table
from lossbench.report.classes import class_names
from lossbench.report.rows import CellRow, ComparisonRow
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, NO_NUMBER, percent, points, predicted, probability, span
from lossbench.statistics import inference
from lossbench.statistics.inference import MIN_RUNS
from lossbench.studies.aaai20 import figure1
from lossbench.studies.aaai20.claims import FAMILIES, Contrast
from lossbench.studies.aaai20.claims import claims as known_claims
from lossbench.studies.aaai20.grid import LITERAL_HEAD
from lossbench.studies.aaai20.keys import CNN2C, LGL, LGL_INR, NETWORKS, PAIRS, SML, pair_label
from lossbench.studies.aaai20.sections.findings import CONDITIONS, DATASETS, evidence, place
from lossbench.studies.aaai20.table1 import Simulations
from lossbench.studies.aaai20.table1_verdicts import equation_10
from lossbench.studies.aaai20.verdicts import Comparison, Judge, JudgedCell, Verdict
from lossbench.studies.cells import Part

WHOSE = {
    "paper": "The paper's claims",
    "further": "The paper's claims under our further conditions",
    "ours": "Our own hypotheses",
}
"""Whose the claims are, and how their table begins."""


def headlines(judge: Judge, status: Mapping[tuple[Part, str], str]) -> Table:
    """LGL-INR's lead, by data set and other loss.

    Args:
        judge: the verdicts.
        status: what the blind seeds make of each headline, by other loss and data set.
    """
    lines = {
        (pair_label((LGL_INR, one.other)), LABELS[one.dataset]): {
            "Verdict": toned(one.headline),
            "Seeds 5 to 9": status.get((one.other, one.dataset), NO_NUMBER),
            "n": _counts(one.paper, one.scale_up, one.own_lr),
            "Paper's lr": _worded(one.paper),
            "Scales matched": _worded(one.scale_up),
            "Own lr": _worded(one.own_lr),
            "The own lrs": " and ".join(f"{lr:g}" for lr in one.own_lrs) if len(one.own_lrs) == 2 else NO_NUMBER,
        }
        for one in judge.headlines()
    }
    caption = (
        "LGL-INR's lead in test accuracy, in points (95 % interval): CNN2C, last epoch, paired over n seeds; at the "
        "paper's learning rate, with the other loss scaled to LGL-INR's gradient norm, and with each loss at its own "
        "learning rate, LGL-INR's named first. The verdict on a lead rests on seeds 0 to 4; the next column says "
        "whether the blind seeds 5 to 9 confirm it."
    )
    return table(lines, ["Contrast", "Data set"], caption)


def _counts(*comparisons: Comparison) -> str:
    numbers = [str(one.pairs.n) for one in comparisons]
    return "/".join(numbers) if len(set(numbers)) > 1 else numbers[0]


def _worded(comparison: Comparison) -> str:
    if not comparison.pairs.n:
        return MISSING
    difference = comparison.difference
    return f"{points(difference.mean)} ({span(difference.low, difference.high)}), {comparison.word}"


def cells(judged: Sequence[JudgedCell]) -> list[Block]:
    """The paper's accuracies beside the prediction for one new run, as a picture and a table."""
    rows = [
        CellRow(
            LABELS[one.key.dataset],
            _network(one),
            one.cell.loss,
            one.last,
            None if one.cell.paper is None else one.cell.paper / 100,
            one.outcome,
        )
        for one in judged
    ]
    lines = {
        (LABELS[one.key.dataset], _network(one), one.cell.loss): {
            "Paper": NO_NUMBER if one.cell.paper is None else f"{one.cell.paper:.2f}",
            "Ours": percent(one.last.mean) if one.last.n else MISSING,
            "n": _runs(one),
            "One new run": predicted(one.last),
            "±": points(one.last.half_width).lstrip("+"),
            "Verdict": toned(one.outcome) if one.outcome else "",
            "Own s": points(one.last.sd).lstrip("+"),
            "± by own s": NO_NUMBER if math.isnan(one.own.half_width) else points(one.own.half_width).lstrip("+"),
            "Best epoch": percent(one.best.mean) if one.best.n else MISSING,
            "Verdict, best epoch": toned(one.outcome_best) if one.outcome_best else "",
        }
        for one in sorted(judged, key=_by_place)
    }
    caption = (
        "The paper's accuracies (%) beside the 95 % prediction interval for a new run of ours: mean ± t s √(1 + 1/n), "
        f"s pooled over the losses of a data set and network; fewer than {MIN_RUNS} runs are too few for a verdict. "
        f"{_by_own_spread(judged)} "
        "The verdicts that count are those of the last epoch; the best epoch is selected on the test set. "
        f"{LITERAL_HEAD} is a second reading of CNN2C's numbers."
    )
    return [cells_figure.cells_beside_paper(rows), table(lines, ["Data set", "Network", "Loss"], caption)]


def _by_own_spread(judged: Sequence[JudgedCell]) -> str:
    """Whether the pooled s decides: losses scatter differently."""
    words = (
        f"{_network(one)}, {one.cell.loss} on {LABELS[one.key.dataset]}: {one.outcome_own}"
        for one in judged
        if one.outcome != one.outcome_own and one.outcome != "too few"
    )
    told = "; ".join(words)
    changes = f"these verdicts change: {told}" if told else "no verdict changes"
    return f"With each cell's own s instead of the pooled one, {changes}."


def _network(one: JudgedCell) -> str:
    network, _, loss = one.key.labels
    return network if one.key.loss.option is None else f"{network}, {loss}"


def _by_place(one: JudgedCell) -> tuple[int, int]:
    """The order of data sets, then of networks."""
    return list(DATASETS).index(one.key.dataset), NETWORKS.index(one.key.model)


def _runs(one: JudgedCell) -> str:
    wanted = len(one.cell.configs)
    text = str(one.last.n) if one.last.n >= wanted else f"{one.last.n} of {wanted}"
    return f"{text}, {one.last.failed} failed" if one.last.failed else text


def comparisons(judge: Judge, status: Mapping[Contrast, str]) -> list[Block]:
    """Every family of comparisons that has runs, as a picture and a table; the others by name.

    Args:
        judge: the verdicts.
        status: what the blind seeds make of a comparison of CNN2C.
    """
    known = {family: judge.family(family) for family in FAMILIES}
    present = [family for family in FAMILIES if any(one.pairs.n for one in known[family])]
    absent = [family.label for family in FAMILIES if family not in present]
    rows, lines = [], {}
    for family in present:
        for one in known[family]:
            if one.pairs.n:
                rows.append(
                    ComparisonRow(
                        one.contrast.label,
                        one.contrast.condition,
                        place(one),
                        one.difference,
                        one.margin,
                        one.word,
                    )
                )
            line = _comparison(judge, one) | {"Seeds 5 to 9": status.get(one.contrast, NO_NUMBER)}
            lines[one.contrast.condition, family.contrast, place(one)] = line
    blocks: list[Block] = []
    if present:
        caption = (
            "Differences in test accuracy, last epoch, in points: paired t over seeds, p after Holm over all planned "
            "cells of a contrast in a condition, 90 % interval and margin of equivalence. Description only: McNemar, "
            "the number of seeds in which the exact test finds the first / the second network better on the same "
            "images; bootstrap, the nominal 95 % interval over images and seeds, which is too narrow with few seeds."
        )
        blocks = [intervals.comparisons(rows, CONDITIONS), table(lines, ["Condition", "Contrast", "Cell"], caption)]
    if absent:
        blocks.append(Paragraph(f"Without a pair of runs: {'; '.join(absent)}."))
    return blocks


def _comparison(judge: Judge, one: Comparison) -> dict[str, str]:
    difference, test = one.difference, one.equivalence
    first, second = (judge.conditions[one.contrast.condition].get(key) for key in one.contrast.keys)
    images = figure1.images(judge.results, first, second) if one.pairs.n and not one.contrast.over_networks else None
    return {
        "n": str(one.pairs.n),
        "Difference": points(difference.mean),
        "Verdict": toned(one.word) if one.pairs.n else MISSING,
        "95 %": span(difference.low, difference.high),
        "p": probability(difference.p),
        "p, Holm": probability(one.p_holm),
        "90 %": span(test.low, test.high),
        "Margin": points(one.margin).lstrip("+"),
        "McNemar": f"{images.seeds.first} / {images.seeds.second} of {images.seeds.n}" if images else NO_NUMBER,
        "Bootstrap": span(images.bootstrap.low, images.bootstrap.high) if images else NO_NUMBER,
    }


def claims(verdicts: Sequence[Verdict], simulations: Simulations | None) -> list[Block]:
    """Every claim with its outcome and grounds: the paper's, those that extend them, and ours."""
    blocks: list[Block] = []
    for whose, which in WHOSE.items():
        chosen = [one for one in verdicts if one.outcome and one.claim.whose == whose]
        lines = {
            one.claim.claim: {
                "Verdict": toned(one.state) if one.state else "",
                "Evidence": evidence(one),
                "Test": one.claim.kind,
                "Condition": one.claim.condition,
                "Where": one.claim.place.removeprefix("ours: "),
            }
            for one in chosen
        }
        if simulations is not None and whose == "paper":
            (simulated,) = [one for one in known_claims() if one.id == "equation-10"]
            for training, outcome in equation_10(simulations).items():
                lines[f"{simulated.claim} (Sim2's network {training})"] = {
                    "Verdict": toned(outcome),
                    "Evidence": "Table 1",
                    "Test": simulated.kind,
                    "Condition": simulated.condition,
                    "Where": simulated.place,
                }
        told = "; ".join(
            f"{condition}, {text}"
            for condition, text in CONDITIONS.items()
            if any(one.claim.condition == condition for one in chosen)
        )
        caption = f"{which}, each judged by a rule that was written before the runs. Conditions: {told}."
        if whose == "paper":
            caption += (
                " Words in quotation marks say how large the paper calls an effect; this is not tested. The decision "
                "to judge Table 1 twice was made after its values had been seen."
            )
        blocks.append(table(lines, ["Claim"], caption))
    return blocks


def convergence(judge: Judge) -> list[Block]:
    """How soon and how high the losses learn, on test and training images, MNIST beside the two that decide."""
    lines = {}
    for pair in PAIRS[:2]:
        for one in judge.curves(pair):
            corrected = (one.p_holm_epochs, one.p_holm_area)
            shown = {"test": ((one.epochs, one.area), corrected), "train": ((one.train_epochs, one.train_area), None)}
            for images, (pairs, p_holm) in shown.items():
                epochs, area = map(inference.paired_t, pairs)
                lines[one.contrast.label, LABELS[one.contrast.dataset], images] = {
                    "n": str(epochs.n),
                    "Epochs": f"{epochs.mean:+.1f}" if epochs.n else NO_NUMBER,
                    "Epochs, 95 %": NO_NUMBER if math.isnan(epochs.low) else f"{epochs.low:+.1f} to {epochs.high:+.1f}",
                    "p, Holm, epochs": probability(p_holm[0]) if p_holm else NO_NUMBER,
                    "Area": points(area.mean),
                    "Area, 95 %": span(area.low, area.high),
                    "p, Holm, area": probability(p_holm[1]) if p_holm else NO_NUMBER,
                }
    caption = (
        "Convergence, CNN2C: difference in the first epoch whose accuracy is within 0.5 points of the run's last one, "
        "and in the area under the accuracy curve, in points; negative epochs and positive area are in LGL-INR's "
        "favour. Test images of FMNIST and KMNIST decide the claim; the rest is description only."
    )
    headings = dict.fromkeys(("p, Holm, epochs", "p, Holm, area"), "p, Holm")
    return [table(lines, ["Contrast", "Data set", "Images"], caption, headings)]


def figure1_text(judge: Judge) -> list[Block]:
    """What the text says of Figure 1 in numbers, beside ours."""
    small = {key.loss: cell for key, cell in judge.conditions["paper"].items() if key.place == (CNN2C, "kmnist")}
    names = class_names("kmnist", figure1.NUM_CLASSES)
    lines = {
        f"{one.loss.label}: class {one.true} ({names[one.true]}) as {one.predicted} ({names[one.predicted]})": {
            "Paper": str(one.paper),
            "Ours": f"{one.ours.mean:.1f}" if one.ours.n else MISSING,
            "n": str(one.ours.n),
            "One new run (95 %)": NO_NUMBER
            if math.isnan(one.ours.half_width)
            else f"{one.ours.low:.0f} to {one.ours.high:.0f}",
            "Verdict": toned(inference.cell_outcome(one.ours, one.paper)),
        }
        for one in figure1.counts(judge.results, small)
    }
    caption = (
        f"The {len(lines)} counts of Figure 1 in the paper's caption and text; each prediction interval uses the "
        "count's own s."
    )
    blocks: list[Block] = [table(lines, ["Count"], caption)]
    fashion = {key.loss: cell for key, cell in judge.conditions["paper"].items() if key.place == (CNN2C, "fmnist")}
    similar = figure1.similar_classes(judge.results, fashion[LGL], fashion[SML])
    if similar is not None:
        blocks.append(
            Paragraph(
                f"Similar classes (Fashion-MNIST, CNN2C): LGL takes {similar.lgl:.0f} shirts for coats or coats for "
                f"shirts, SML {similar.sml:.0f} (means of {similar.n} seeds; more with LGL in {similar.num_more}). "
                f"The difference is {100 * similar.share:.0f} % of LGL's additional errors. Such "
                f"errors are {100 * similar.share_of_lgl:.0f} % of LGL's and {100 * similar.share_of_sml:.0f} % of "
                "SML's errors. No cause is tested."
            )
        )
    return blocks
