"""Noise between runs: its size, its sources, and the number of seeds that a difference needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Paragraph, Picture
from lossbench.report.drawing import drawing
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import FAINT, PALETTE, TEXT
from lossbench.report.table import table
from lossbench.report.wording import MISSING, points, probability
from lossbench.statistics import inference, noise
from lossbench.studies.aaai20 import variants
from lossbench.studies.aaai20.claims import Family
from lossbench.studies.aaai20.keys import PAIRS
from lossbench.studies.aaai20.verdicts import Comparison, Judge
from lossbench.studies.results import Results

DIFFERENCES = np.geomspace(0.0005, 0.02, 25)
"""True differences in accuracy that the picture asks about, fractions."""


def noise_blocks(judge: Judge) -> list[Block]:
    """What the test set can resolve, how much seeds scatter and through what, and how many seeds a comparison needs."""
    known = [
        one
        for one in judge.family(Family("paper", PAIRS[0]))
        if one.pairs.n >= 2 and one.difference.sd > inference.NO_SPREAD
    ]
    if not known:
        return [Paragraph("No two pairs of runs yet.")]
    caption = (
        f"Noise, in points. Test set: standard error of SML's accuracy on {noise.NUM_TEST:,} images. Seeds: standard "
        "deviation over seeds (LGL-INR and SML pooled). Difference: standard deviation of LGL-INR - SML, paired over "
        "seeds. Seeds needed: number with which a paired t test (5 %) finds a true difference of one or two margins "
        "with 80 % power; in brackets for the ends of the standard deviation's 95 % interval."
    )
    return [
        seeds_to_ask_for(known),
        table({_dataset_and_network(one): _line(judge, one) for one in known}, _KEYS, caption),
        *_shared(judge, known),
        *_components(judge.results),
    ]


_KEYS = ["Data set", "Network"]


def _line(judge: Judge, one: Comparison) -> dict[str, str]:
    cells = [judge.conditions["paper"][key] for key in one.contrast.keys]
    accuracy = float(np.mean(inference.finished(judge.results.values(cells[1]))))
    return {
        "n": str(one.pairs.n),
        "Test set": _size(noise.resolution(accuracy, noise.NUM_TEST)),
        "Seeds": _size(inference.pooled_spread(judge.results.values(cell) for cell in cells).sd),
        "Difference": _size(one.difference.sd),
        "Margin": _size(one.margin),
        "Seeds needed": _needed(one, 1),
        "Seeds needed, two margins": _needed(one, 2),
    }


def _needed(one: Comparison, times: float) -> str:
    """Seeds that find a difference of some margins, and those at the ends of the standard deviation's interval."""
    sds = one.difference.sd, *noise.sd_interval(one.difference.sd, one.pairs.n - 1)
    middle, low, high = (_seeds(noise.seeds_needed(times * one.margin, sd)) for sd in sds)
    return f"{middle} ({low} to {high})"


def _seeds(number: int | None) -> str:
    return f"more than {noise.MOST_SEEDS}" if number is None else str(number)


def _size(fraction: float) -> str:
    return points(fraction).lstrip("+")


def seeds_to_ask_for(known: Sequence[Comparison]) -> Picture:
    """Seeds over the true difference that they find with 80 % probability, a line a data set and network."""
    needs, told = [], []
    for one in known:
        dataset, network = _dataset_and_network(one)
        where = f"{network}, {dataset}"
        margin = noise.seeds_needed(one.margin, one.difference.sd)
        seeds = [noise.seeds_needed(float(difference), one.difference.sd) for difference in DIFFERENCES]
        shown = [(float(100 * of), n) for of, n in zip(DIFFERENCES, seeds, strict=True) if n is not None]
        at_margin = (100 * one.margin, margin) if margin is not None else None
        needs.append(Need(where, 100 * one.difference.sd, one.pairs.n, tuple(shown), at_margin))
        half = noise.seeds_needed(0.005, one.difference.sd)
        told.append(f"{where}: {_seeds(half)} seeds to find 0.5 points.")
    caption = (
        "Seeds with which a paired t test at 5 % finds a true difference between LGL-INR and SML with 80 % power, from "
        "the standard deviation (sd, points) of the differences paired over seeds (n). Markers: a difference as large "
        f"as the margin. The paper has one run a cell. Below the gray line, {inference.MIN_RUNS} seeds, no verdict is "
        "given."
    )
    marks = [
        {"where": need.where, "sd_points": need.sd, "n": need.n, "true_difference_points": difference, "seeds": seeds}
        | {"is_margin": (difference, seeds) == need.at_margin}
        for need in needs
        for difference, seeds in sorted({*need.seeds, *([need.at_margin] if need.at_margin else [])})
    ]
    alt = f"Seeds over true difference. {' '.join(told)}"
    return Picture("seeds", drawing(_draw_seeds, needs), caption, alt, pd.DataFrame(marks))


@dataclass(frozen=True)
class Need:
    """How many seeds a difference needs.

    Args:
        where: network and data set.
        sd: of the differences seed by seed, points.
        n: pairs behind it.
        seeds: true differences in points, with the seeds that find them.
        at_margin: the margin in points and the seeds that find it; None: too many.
    """

    where: str
    sd: float
    n: int
    seeds: tuple[tuple[float, int], ...]
    at_margin: tuple[float, int] | None


def _draw_seeds(needs: Sequence[Need]) -> Figure:
    """A line a data set and network, both axes logarithmic."""
    rows = math.ceil(len(needs) / 2)
    figure, ((axes,),) = panels((NARROW, 3.1 + 0.18 * rows), left=0.6, top=0.2 + 0.18 * rows)
    for need, style in zip(needs, cycle(PALETTE[3:]), strict=False):
        words = f"{need.where} (sd {need.sd:.2f}, n={need.n})"
        axes.plot(*zip(*need.seeds, strict=True), style["linestyle"], color=style["color"], label=words)
        if need.at_margin:
            axes.plot(*need.at_margin, color=style["color"], marker=style["marker"], markersize=6)
    axes.axhline(inference.MIN_RUNS, color=FAINT, linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="true difference (points)", ylabel="seeds")
    for axis, ticks in ((axes.xaxis, (0.05, 0.1, 0.25, 0.5, 1, 2)), (axes.yaxis, (2, 3, 5, 10, 30, 100, 300, 1000))):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    lines(axes)
    figure.legend(loc="upper center", ncols=2, fontsize=TEXT, frameon=False, handlelength=2.4, columnspacing=1)
    return figure


def _shared(judge: Judge, known: Sequence[Comparison]) -> list[Block]:
    """What a seed adds to every cell of a network and data set alike, so that pairing takes it out."""
    lines = {}
    for one in known:
        place = one.contrast.first.place
        cells = {
            cell.key: cell
            for condition in _ARMS
            for key, cell in judge.conditions[condition].items()
            if key.place == place and key.loss.option is None
        }
        values = [judge.results.values(cell) for cell in cells.values()]
        whole = [of for of in values if len(inference.finished(of)) == len(of)]
        if len(whole) >= 2:
            found = noise.components(np.array(whole, float))
            counts = {"Cells": str(len(whole)), "Seeds": str(len(whole[0]))}
            own = {"Shared": _tested(found.columns, found.p_columns), "Own": _size(found.rest)}
            lines[_dataset_and_network(one)] = counts | own
    caption = (
        "How much of the variation between seeds all losses share: standard deviations of the test accuracy, in "
        "points. Shared: the part that is common to all cells of a data set, as they have the same initial weights and "
        "order of images in a seed. Own: the rest, assumed equal in all cells. Cells: the losses at the paper's "
        "learning rate, scaled, and at their own learning rates. Analysis of variance; p of the F test that nothing is "
        "shared. Pairing removes only the shared part."
    )
    return [table(lines, _KEYS, caption)] if lines else []


_ARMS = ("paper", "scale-up", "scale-down", "own-lr")  # whose networks are the same, so that a seed's weights are


def _dataset_and_network(one: Comparison) -> tuple[str, str]:
    """As tables write them."""
    network, dataset, _ = one.contrast.first.labels
    return dataset, network


def _tested(sd: float, p: float) -> str:
    return f"{_size(sd)} (p {_equal(p)})"


def _equal(p: float) -> str:
    told = probability(p)
    return told if told.startswith("<") else f"= {told}"


def _components(results: Results) -> list[Block]:
    """Initial weights crossed with the order of the images, loss by loss."""
    lines = {}
    for loss in variants.CROSSED_LOSSES:
        values = [[results.accuracy(config) for config in row] for row in variants.crossed(loss)]
        known = inference.finished([value for row in values for value in row])
        line = {"Runs": f"{len(known)} of {sum(map(len, values))}"}
        line |= dict.fromkeys(("Initial weights", "Order", "Interaction and the rest", "All"), MISSING)
        if len(known) == sum(map(len, values)):
            found = noise.components(np.array(values, float))
            line["Initial weights"] = _tested(found.rows, found.p_rows)
            line["Order"] = _tested(found.columns, found.p_columns)
            line |= {"Interaction and the rest": _size(found.rest), "All": _size(found.total)}
        lines[LABELS["fmnist"], LABELS[loss.name]] = line
    caption = (
        "Sources of the variation between runs: standard deviations of the test accuracy, in points, by the initial "
        "weights, the order of the images, and their interaction with all else that differs between runs; CNN2C, last "
        f"epoch, {len(values)} x {len(values)} runs crossed, analysis of variance. All: the root of the sum of the "
        "three variances. A negative estimate is set to 0. With so few levels, an estimate is above 0 in four of ten "
        "designs even if the true variance is 0; p is of the F test that it is 0 (3 and 9 degrees of freedom)."
    )
    return [table(lines, ["Data set", "Loss"], caption)]
