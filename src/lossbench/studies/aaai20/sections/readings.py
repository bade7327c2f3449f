"""Readings of what the paper leaves open, and which results depend on them: tables and a picture."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from lossbench.report.blocks import Block, Items, Paragraph
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, NO_NUMBER, enumerated, in_words, percent, points, seeds_told
from lossbench.statistics import inference
from lossbench.statistics.inference import CellOutcome, Difference, Prediction, Word
from lossbench.studies.aaai20 import variants as studies
from lossbench.studies.aaai20.conditions import MARGINS, Place
from lossbench.studies.aaai20.grid import LOSS_LABELS
from lossbench.studies.aaai20.sections.readings_figure import Moved, picture
from lossbench.studies.aaai20.variants import Variant
from lossbench.studies.cells import Cell
from lossbench.studies.results import Results, Statistic, best, last

CONTRASTS = (("LGL-INR", "SML"), ("LGL-INR", "LGL"), ("LGL", "SML"))
_KEYS = ["Option", "Reading"]


Readings = Mapping[tuple[str, str], Mapping[str, Moved]]
"""By option and reading, then by loss; the default comes first, under an empty reading."""


def sensitivity(results: Results, place: Place) -> list[Block]:
    """How far each reading of what the paper leaves open moves each loss, and what depends on it."""
    default, variants = studies.defaults(place), studies.readings(place)
    network, dataset = place.labels
    own = (cell for variant in variants if not variant.best for cell in variant.cells.values())
    if not any(results.values(cell).count(None) < len(cell.configs) for cell in own):
        return [Paragraph(f"No runs of a reading of {network} yet.")]
    moved = _readings(results, place)
    printed = {loss: cell.paper / 100 for loss, cell in default.cells.items() if cell.paper is not None}
    where = f"{network} on {dataset}"
    texts = {
        key: {loss: _moved(of[loss], key) if loss in of else NO_NUMBER for loss in LOSS_LABELS}
        for key, of in moved.items()
    }
    caption = (
        f"Readings of {where}, one option at a time, last epoch unless stated otherwise: mean difference from the "
        "default reading in points, paired over seeds 0 to 2, then test accuracy (%). Dash: the loss does not have "
        "this option."
    )
    nearest = {loss: _nearest(moved, loss, paper) for loss, paper in printed.items()}
    reached = (
        f"The paper's number for {where}, the reading whose mean is nearest, and whether the number lies in that "
        "reading's 95 % prediction interval (half-width, own s). Consistent with: number of readings with "
        f"{inference.MIN_RUNS} runs or more whose interval contains the paper's number."
    )
    return [
        Paragraph(_asked(moved, place)),
        Items([*_told(moved, place), _reached(moved, printed)]),
        picture(moved, printed, MARGINS[place.dataset], f"readings_{place.model}", where),
        table(texts, _KEYS, caption),
        *_concluded(_conclusions(results, place), where),
        table(nearest, ["Loss"], reached),
    ]


def _others(moved: Readings) -> list[tuple[tuple[str, str], str, Moved]]:
    """Option and reading, loss, and how far it moves, without the default."""
    return [(key, loss, one) for key, of in moved.items() if key[1] for loss, one in of.items()]


def _asked(moved: Readings, place: Place) -> str:
    """What the items below it list."""
    network, dataset = place.labels
    seeds = seeds_told(one.difference.n for *_, one in _others(moved) if one.word != "too few")
    where = ", ".join(filter(None, [f"{network} on {dataset}", seeds]))
    return (
        f"Change in the accuracy of a loss, in points, when one option differs from our default reading ({where}; "
        "each difference is tested by itself):"
    )


def _told(moved: Readings, place: Place) -> list[str]:
    """The readings that move each loss, and how many do not, in sentences."""
    others = _others(moved)
    movers = {
        loss: ", ".join(
            _moved_by(key, loss, one) for key, of, one in others if of == loss and one.word in ("higher", "lower")
        )
        for loss in LOSS_LABELS
    }
    parts = [f"{loss}: {told}." for loss, told in movers.items() if told]
    words = [one.word for *_, one in others]
    small = sum(word in ("equivalent", "equal") or word.endswith("within the margin") for word in words)
    few = words.count("too few")
    counts = [
        f"{small} stay within ±{100 * MARGINS[place.dataset]:g} points",
        f"{words.count('undecided')} are undecided",
        *([f"{few} have too few runs (below {inference.MIN_RUNS})"] if few else []),
    ]
    margin = MARGINS[place.dataset]
    wide = [
        f"{loss} {_moved_by(key, loss, one)}"
        for key, loss, one in others
        if one.word == "undecided" and abs(one.difference.mean) > margin
    ]
    beyond = f"Undecided although the mean difference is larger than that: {', '.join(wide)}."
    of_all = f"Of all {len(words)} pairs of a reading and a loss {enumerated(counts)}."
    return [*(parts or ["No change is shown so far."]), of_all, *([beyond] if wide else [])]


def _moved_by(key: tuple[str, str], loss: str, one: Moved) -> str:
    return f"{points(one.difference.mean)} ({_setting(key).removeprefix(f'{loss}: ')})"


def _setting(key: tuple[str, str]) -> str:
    """An option and its reading, as sentences write them."""
    return " = ".join(filter(None, key))


def _readings(results: Results, place: Place) -> Readings:
    default = studies.defaults(place)

    def moved(variant: Variant, loss: str, cell: Cell) -> Moved:
        pairs = results.pairs(cell, default.cells[loss], _statistic(variant), last)
        difference = inference.paired_t(pairs)
        return Moved(
            inference.prediction_interval(results.values(cell, _statistic(variant))),
            difference,
            inference.compare(pairs, MARGINS[place.dataset], difference.p),
        )

    return {
        (variant.option, variant.choice): {loss: moved(variant, loss, cell) for loss, cell in variant.cells.items()}
        for variant in [default, *studies.readings(place)]
    }


def _statistic(variant: Variant) -> Statistic:
    return best if variant.best else last


Conclusions = Mapping[tuple[str, str], Mapping[str, tuple[Difference, Word]]]
"""By option and reading, then by contrast; the default comes first."""


def _conclusions(results: Results, place: Place) -> Conclusions:
    """The outcome of each contrast under each reading."""
    default, margin = studies.defaults(place), MARGINS[place.dataset]

    def contrast(variant: Variant, first: str, second: str) -> tuple[Difference, Word]:
        cells = default.cells | variant.cells
        pairs = results.pairs(cells[first], cells[second], _statistic(variant))
        difference = inference.paired_t(pairs)
        return difference, inference.compare(pairs, margin, difference.p)

    return {
        (variant.option, variant.choice): {f"{a} - {b}": contrast(variant, a, b) for a, b in CONTRASTS}
        for variant in [default, *studies.readings(place)]
    }


def _concluded(conclusions: Conclusions, where: str) -> list[Block]:
    caption = (
        f"Which conclusions on {where} depend on a reading: mean difference in points and verdict, as in the "
        "comparisons but without Holm; a loss without the option keeps its default."
    )
    texts = {key: {contrast: _word(*one) for contrast, one in of.items()} for key, of in conclusions.items()}
    return [Paragraph(_depends(conclusions)), table(texts, _KEYS, caption)]


def _word(difference: Difference, word: Word) -> str:
    return f"{points(difference.mean)}, {word}" if difference.n else MISSING


def _depends(conclusions: Conclusions) -> str:
    """Which contrasts change under a reading, in a sentence."""
    (_, default), *others = conclusions.items()
    here = enumerated(f"{contrast} is {word}" for contrast, (_, word) in default.items())
    changed = [
        f"{contrast} becomes {word} ({points(difference.mean)} with {_setting(key)})"
        for contrast in default
        for key, of in others
        for difference, word in [of[contrast]]
        if word not in (default[contrast][1], "too few")
    ]
    if not changed:
        return f"With our default reading {here}; no other reading with {inference.MIN_RUNS} runs changes that."
    return f"With our default reading {here}. With another reading {enumerated(changed)}."


def _mean(prediction: Prediction) -> str:
    failed = f"{prediction.failed} failed" if prediction.failed else ""
    if not prediction.n:
        return failed or MISSING
    return f"{percent(prediction.mean)} ({', '.join(filter(None, [f'n={prediction.n}', failed]))})"


def _moved(one: Moved, key: tuple[str, str]) -> str:
    by = f"{points(one.difference.mean)}: " if key[1] and one.difference.n else ""
    return f"{by}{_mean(one.prediction)}" if by else _mean(one.prediction)


def _named(key: tuple[str, str]) -> str:
    return ", ".join(filter(None, key))


def _nearest(moved: Readings, loss: str, paper: float) -> dict[str, str]:
    """Which reading comes nearest to a printed number, and with how many readings the number is consistent."""
    known = {key: of[loss].prediction for key, of in moved.items() if loss in of and of[loss].prediction.n}
    line = {"Paper": percent(paper)} | dict.fromkeys(("Nearest", "Ours", "Verdict", "Consistent with"), MISSING)
    if known:
        key = min(known, key=lambda one: abs(known[one].mean - paper))
        line |= {"Nearest": _named(key), "Ours": _mean(known[key]), "Verdict": _outcome(known[key], paper)}
        outcomes = _outcomes(moved, loss, paper)
        line["Consistent with"] = f"{outcomes.count('consistent')} of {len(outcomes) - outcomes.count('too few')}"
    return line


def _outcomes(moved: Readings, loss: str, paper: float) -> list[CellOutcome]:
    """What a printed number is beside each reading of its loss."""
    return [inference.cell_outcome(of[loss].prediction, paper) for of in moved.values() if loss in of]


def _reached(moved: Readings, printed: Mapping[str, float]) -> str:
    """Which printed numbers no reading gives, in a sentence."""
    outcomes = {loss: _outcomes(moved, loss, paper) for loss, paper in printed.items()}
    never = [f"{percent(printed[loss])} for {loss}" for loss, found in outcomes.items() if "consistent" not in found]
    if not never:
        return "Each of the paper's numbers is consistent with at least one reading."
    few = any("too few" in found for found in outcomes.values())
    runs = f" with {inference.MIN_RUNS} runs so far" if few else ""
    return f"No reading{runs} listed here is consistent with the paper's {' or '.join(never)}."


def _outcome(prediction: Prediction, paper: float) -> str:
    """Whether a printed number could be one more run, with the half-width that this depends on."""
    outcome = inference.cell_outcome(prediction, paper)
    return toned(outcome, "" if outcome == "too few" else f" ±{points(prediction.half_width).lstrip('+')}")


Factors = dict[float, dict[str, tuple[float, Prediction]]]
"""The paper's number and the prediction for one more run, by factor on LGL and by data set."""


def lgl_row(results: Results) -> list[Block]:
    """The factors on LGL's mean that give the paper's row, number by number."""
    lines: dict[str, dict[str, str]] = {}
    for scale, found in _factors(results).items():
        for dataset, (paper, prediction) in found.items():
            line = lines.setdefault(dataset, {"Paper": percent(paper)})
            outcome = _outcome(prediction, paper)
            line[f"x {scale:g}"] = _mean(prediction) if outcome == "too few" else f"{_mean(prediction)}, {outcome}"
    for dataset, factors in _met(results).items():
        lines[dataset]["Reached at"] = _factor(factors)
    caption = (
        "LGL times a factor: test accuracy (%), CNN2C, last epoch, and whether the paper's number lies in the 95 % "
        "prediction interval (half-width, from the factor's own s). Seeds 0 to 2; x 10 is the sum over the ten "
        "classes. Reached at: the factor that gives the paper's number, by interpolation (accuracy linear in the "
        "factor's logarithm), mean and range over the seeds that reach it (n of those with every factor)."
    )
    tried = _tried(_factors(results))
    open_yet = f"Whether one of {tried} gives the paper's whole row of LGL with CNN2C is open: runs are missing."
    return [Paragraph(whole_row(results) or open_yet), table(lines, ["Data set"], caption)]


def _tried(factors: Factors) -> str:
    return f"{len(factors)} factors tried on LGL"


def whole_row(results: Results) -> str | None:
    """Whether one factor on LGL gives all of the paper's row, in a sentence; None while that is open."""
    factors = _factors(results)
    words = {
        scale: {inference.cell_outcome(prediction, paper) for paper, prediction in found.values()}
        for scale, found in factors.items()
    }
    numbers = f"the {in_words(max(map(len, factors.values())))} numbers of LGL with CNN2C"
    whole = [f"x {scale:g}" for scale, found in words.items() if found == {"consistent"}]
    if whole:
        return (
            f"Of {_tried(factors)}, {enumerated(whole)} {'are' if len(whole) > 1 else 'is'} consistent with the paper: "
            f"{numbers} all lie in the prediction interval ({_widths(results, whole)}).{_apart(results)}"
        )
    if all(found & {"paper higher", "paper lower"} for found in words.values()):
        return f"None of {_tried(factors)} is consistent with the paper: each misses one of {numbers}."
    return None


def _widths(results: Results, whole: Sequence[str]) -> str:
    """How wide the intervals are that a factor's numbers lie in."""
    told = []
    for scale, found in _factors(results).items():
        if f"x {scale:g}" in whole:
            widths = [
                f"{dataset} ±{points(one.half_width).lstrip('+')}, n={one.n}" for dataset, (_, one) in found.items()
            ]
            told.append(f"{f'x {scale:g}: ' if len(whole) > 1 else ''}{'; '.join(widths)}")
    return "; ".join(told)


def _apart(results: Results) -> str:
    """At which factors the numbers are met, in a sentence; nothing where one is not."""
    met = _met(results)
    if not all(factors for factors, _ in met.values()):
        return ""
    return (
        " By interpolation the paper's numbers are reached at "
        f"{enumerated([f'{_factor(both)} on {dataset}' for dataset, both in met.items()])}."
    )


def _met(results: Results) -> dict[str, tuple[list[float], int]]:
    """The factor at which the accuracy of a seed first rises to the paper's number, by data set, and of how many seeds.

    Of the seeds that have every factor; one that stays on one side of the number adds no factor.
    """
    by_scale = studies.lgl_factors()
    logs = [math.log(scale) for scale in by_scale]
    found: dict[str, tuple[list[float], int]] = {}
    for cells in zip(*by_scale.values(), strict=True):  # of one data set, by factor
        factors: list[float] = []
        num_whole = 0
        for values in zip(*(results.values(cell) for cell in cells), strict=True):  # of one seed, by factor
            accuracies, paper = inference.finished(values), (cells[0].paper or math.nan) / 100
            if len(accuracies) < len(logs):
                continue
            num_whole += 1
            for (left, low), (right, high) in pairwise(zip(logs, accuracies, strict=True)):
                if low <= paper < high:
                    factors.append(math.exp(left + (paper - low) / (high - low) * (right - left)))
                    break
        found[cells[0].dataset] = factors, num_whole
    return found


def _factor(met: tuple[Sequence[float], int]) -> str:
    factors, num_seeds = met
    if not factors:
        return NO_NUMBER
    between = f"{min(factors):.1f} to {max(factors):.1f}, " if len(factors) > 1 else ""
    of = f" of {num_seeds}" if num_seeds > len(factors) else ""
    return f"x {np.mean(factors):.1f} ({between}n={len(factors)}{of})"


def _factors(results: Results) -> Factors:
    """The paper's number and where one more run is expected, fractions, by factor and data set."""
    return {
        scale: {
            cell.dataset: (cell.paper / 100, inference.prediction_interval(results.values(cell)))
            for cell in cells
            if cell.paper is not None
        }
        for scale, cells in studies.lgl_factors().items()
    }
