"""Figures of differences between losses: paired over seeds, with intervals and the margin of equivalence."""

import math
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import (
    FULL_WIDTH,
    WIDTH,
    data,
    ends,
    grouped,
    in_percent,
    label_rows,
    legend,
    limits,
    longest,
    place_axes,
    whiskers,
    write_beside,
)
from lossbench.report.rows import ComparisonRow, Estimate, LeadRow, WeightRow
from lossbench.report.style import FAINT, TEXT
from lossbench.report.wording import MISSING, points, seeds_told, span

_ROW = 0.185  # inches of a row
_MARKERS = ("o", "s", "D", "v", "P", "X")


def leads(rows: Sequence[LeadRow]) -> Picture:
    """The lead of one loss over others, with one panel for each contrast; a hollow marker is the first setting.

    Args:
        rows: those of a data set with the same margin.
    """
    settings = list(dict.fromkeys(row.setting for row in rows))
    told = seeds_told({row.lead.n for row in rows})
    caption = (
        f"Lead in test accuracy, in points, CNN2C, last epoch, paired over seeds{f' ({told} pairs)' * bool(told)}: "
        f"mean and 95 % interval; right of 0 the first loss is better. {_hollow_in_words(settings)}Band: the margin of "
        "equivalence. Within a panel all data sets share one axis. Where the paper's rate is both losses' own, it is "
        "shown once."
    )
    texts = [
        f"{row.contrast}, {row.dataset}, {row.setting}, seeds {row.seeds}: {_estimate_in_words(row.lead)}."
        for row in rows
    ]
    return Picture("leads", drawing(_draw_leads, tuple(rows)), caption, f"Leads. {' '.join(texts)}", _leads_data(rows))


def _hollow_in_words(settings: Sequence[str]) -> str:
    return f"Hollow: {settings[0]}; filled: {' or '.join(settings[1:])}. " if len(settings) > 1 else ""


def _leads_data(rows: Sequence[LeadRow]) -> pd.DataFrame:
    lines = [
        {
            "contrast": row.contrast,
            "dataset": row.dataset,
            "setting": row.setting,
            "seeds": row.seeds,
            **in_percent(row.lead, "lead_points"),
            "margin_points": 100 * row.margin,
        }
        for row in rows
    ]
    return data(lines)


def _draw_leads(rows: Sequence[LeadRow]) -> Figure:
    panels = grouped(rows, lambda row: row.contrast)
    datasets = list(grouped(rows, lambda row: row.dataset))
    settings = list(dict.fromkeys(row.setting for row in rows))
    seeds = list(dict.fromkeys(row.seeds for row in rows))
    left, top, between = longest([], datasets) + 0.15, 0.95, 0.25
    lines = len(datasets) * (len(settings) + _GAP)
    figure = Figure(figsize=(WIDTH, top + 0.3 * max(lines, 1) + 0.5))
    width = (WIDTH - left - 0.1 - between * (len(panels) - 1)) / max(len(panels), 1)
    for number, (contrast, chosen) in enumerate(panels.items()):
        axes = place_axes(figure, left + number * (width + between), top, width, 0.3 * max(lines, 1))
        firsts = [place * (len(settings) + _GAP) for place in range(len(datasets))]
        middles = [first + (len(settings) - 1) / 2 for first in firsts]
        axes.set_yticks(middles, labels=[""] * len(middles) if number else datasets, fontsize=TEXT, fontweight="bold")
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(lines - 0.5 - _GAP / 2, -0.5 - _GAP / 2)
        for dataset, first in zip(datasets, firsts, strict=True):
            here = [row for row in chosen if row.dataset == dataset]
            if here:
                _draw_margin(axes, first - 0.5, first + len(settings) - 0.5, 100 * here[0].margin)
            ys = [first + settings.index(row.setting) + _shift(seeds.index(row.seeds), len(seeds)) for row in here]
            whiskers(axes, ys, [row.lead for row in here], color="black", linewidth=1)
            for y, row in zip(ys, here, strict=True):
                inside = "white" if row.setting == settings[0] and len(settings) > 1 else "black"
                marker = _MARKERS[seeds.index(row.seeds) % len(_MARKERS)]
                axes.plot(100 * row.lead.mean, y, marker, color="black", markersize=4, markerfacecolor=inside)
        reach = _reach([row.lead for row in chosen], (100 * row.margin for row in chosen))
        _finish(axes, width, _wrapped(contrast, width), reach)
        if not number:
            axes.set_xlabel("lead (points)", fontsize=TEXT)
    _explain_leads(figure, settings, seeds)
    return figure


_GAP = 0.5  # rows between two data sets


def _shift(place: int, count: int) -> float:
    """Where one of several marks of a row is, from its middle."""
    return 0.28 * (place - (count - 1) / 2)


def _explain_leads(figure: Figure, settings: Sequence[str], seeds: Sequence[str]) -> None:
    style: dict[str, Any] = {"color": "black", "markersize": 4}
    if len(settings) > 1:
        fills = ["white", *["black"] * (len(settings) - 1)]
        pairs = zip(settings, fills, strict=True)
        rates = [Line2D([], [], marker="o", linewidth=0, markerfacecolor=i, label=one, **style) for one, i in pairs]
        legend(figure, rates, len(rates))
    markers = [_MARKERS[place % len(_MARKERS)] for place in range(len(seeds))]
    found = zip(seeds, markers, strict=True)
    signs = [Line2D([], [], marker=marker, linewidth=1, label=f"seeds {one}", **style) for one, marker in found]
    legend(figure, [*signs, Patch(color=FAINT, alpha=0.35, linewidth=0, label="margin")], len(signs) + 1, top=0.2)


def even_weights(rows: Sequence[WeightRow]) -> Picture:
    """What LGL-INR's weights contribute: some beta less even weights, with one panel for each data set."""
    told = seeds_told({row.difference.n for row in rows})
    caption = (
        "Test accuracy of LGL-INR with a given beta minus that with even weights (beta 0), in points, CNN2C at "
        f"the paper's learning rate, paired over seeds{f' ({told} pairs)' * bool(told)}: mean and 95 % interval. The "
        "paper's beta is 1. Band: the margin of equivalence."
    )
    texts = [f"{row.dataset}, beta {row.beta:g}: {_estimate_in_words(row.difference)}." for row in rows]
    lines = [
        {
            "dataset": row.dataset,
            "beta": row.beta,
            "seeds": row.seeds,
            **in_percent(row.difference, "difference_points"),
            "margin_points": 100 * row.margin,
        }
        for row in rows
    ]
    alt = f"Beta minus even weights. {' '.join(texts)}"
    return Picture("even_weights", drawing(_draw_weights, tuple(rows)), caption, alt, data(lines))


def _draw_weights(rows: Sequence[WeightRow]) -> Figure:
    panels = grouped(rows, lambda row: row.dataset)
    betas = sorted({row.beta for row in rows})
    left, top, between, height = 0.7, 0.35, 0.2, 0.27 * max(len(betas), 1)
    width = min((WIDTH - left - 0.1 - between * (len(panels) - 1)) / max(len(panels), 1), 3.2)
    across = left + len(panels) * (width + between) - between + 0.1
    figure = Figure(figsize=(max(across, 4.2), top + height + 0.5))
    reach = _reach([row.difference for row in rows], (100 * row.margin for row in rows))
    for number, (dataset, chosen) in enumerate(panels.items()):
        axes = place_axes(figure, left + number * (width + between), top, width, height)
        (ys,) = label_rows(axes, [("", [f"beta {beta:g}" for beta in betas])], 0 if number else left)
        _draw_margin(axes, *axes.get_ylim(), 100 * chosen[0].margin)
        places = [ys[betas.index(row.beta)] for row in chosen]
        whiskers(axes, places, [row.difference for row in chosen], color="black", linewidth=1)
        axes.plot([100 * row.difference.mean for row in chosen], places, "o", color="black", markersize=5)
        _finish(axes, width, dataset, reach)
        if not number:
            axes.set_xlabel("difference to even weights (points)", fontsize=TEXT, loc="left")
    return figure


def comparisons(rows: Sequence[ComparisonRow], conditions: Mapping[str, str]) -> Picture:
    """Every paired difference with its 95 % interval, the margin of equivalence, and the cell's verdict.

    A panel for each contrast has one axis; in it the conditions of a cell stand below each other.

    Args:
        rows: in order of their conditions.
        conditions: what each stands for.
    """
    used = {row.condition for row in rows}
    told = "; ".join(f"{name}, {words}" for name, words in conditions.items() if name in used)
    caption = (
        "Differences in test accuracy, in points, paired over seeds: mean of n pairs and 95 % interval; right of 0 the "
        "first is better. Band: the margin of equivalence. Filled: decided; square: equivalent or equal. Verdicts are "
        "corrected after Holm, intervals are not; equivalence is judged by the 90 % interval."
        f"{f' Conditions: {told}.' if told else ''}"
    )
    texts = [
        f"{row.contrast}, {row.cell}, {row.condition}: "
        f"{f'{100 * row.difference.mean:+.2f} points, ' if row.difference.n else ''}{_comparison_in_words(row)}."
        for row in rows
    ]
    lines = [
        {
            "contrast": row.contrast,
            "cell": row.cell,
            "condition": row.condition,
            **in_percent(_estimate(row), "difference_points"),
            "margin_points": 100 * row.margin,
            "word": row.word if row.difference.n else "",
        }
        for row in rows
    ]
    alt = f"Differences of losses. {' '.join(texts)}"
    return Picture("comparisons", drawing(_draw_comparisons, tuple(rows)), caption, alt, data(lines))


def _draw_comparisons(rows: Sequence[ComparisonRow]) -> Figure:
    panels = grouped(rows, lambda row: row.contrast)
    columns: tuple[list[str], list[str]] = ([], [])
    sizes = [0.0, 0.0]
    heights = {name: _ROW * _num_lines(chosen) for name, chosen in panels.items()}
    for name in sorted(panels, key=lambda name: -heights[name]):  # the tallest first, into the shorter column
        shorter = int(sizes[1] < sizes[0])
        columns[shorter].append(name)
        sizes[shorter] += heights[name] + _PANEL
    figure = Figure(figsize=(FULL_WIDTH, max(*sizes, 1.0) + 0.1))
    left = longest((row.condition for row in rows), (row.cell for row in rows)) + 0.12
    for number, names in enumerate(columns):
        top = 0.3
        for name in names:
            start = number * FULL_WIDTH / 2
            right = longest(_comparison_in_words(row) for row in panels[name]) + 0.1
            width = FULL_WIDTH / 2 - left - right - 0.15
            axes = place_axes(figure, start + left, top, width, heights[name])
            _draw_contrast(axes, panels[name], left)
            found = [_estimate(row) for row in panels[name] if row.difference.n]
            _finish(axes, width, name, _reach(found, (100 * row.margin for row in panels[name])))
            axes.set_xlabel("difference (points)", fontsize=TEXT)
            top += heights[name] + _PANEL
    return figure


_PANEL = 0.75  # inches of a panel's title and axis


def _num_lines(rows: Sequence[ComparisonRow]) -> int:
    return len(rows) + len({row.cell for row in rows})


def _draw_contrast(axes: Axes, rows: Sequence[ComparisonRow], left: float) -> None:
    cells = grouped(rows, lambda row: row.cell)
    heights = label_rows(axes, [(cell, [row.condition for row in group]) for cell, group in cells.items()], left)
    for ys, group in zip(heights, cells.values(), strict=True):
        _draw_margin(axes, ys[0] - 0.45, ys[-1] + 0.45, 100 * group[0].margin)
        known = [(y, row) for y, row in zip(ys, group, strict=True) if row.difference.n]
        whiskers(axes, [y for y, _ in known], [_estimate(row) for _, row in known], color="black", linewidth=1)
        for y, row in known:
            marker = "s" if row.word in ("equivalent", "equal") else "o"
            inside = "white" if row.word in ("undecided", "too few") else "black"
            axes.plot(100 * row.difference.mean, y, marker, color="black", markersize=5, markerfacecolor=inside)
        for y, row in zip(ys, group, strict=True):
            write_beside(axes, y, _comparison_in_words(row))


def _estimate(row: ComparisonRow) -> Estimate:
    return Estimate(row.difference.mean, row.difference.low, row.difference.high, row.difference.n)


def _comparison_in_words(row: ComparisonRow) -> str:
    return f"{row.word}, n={row.difference.n}" if row.difference.n else MISSING


def _estimate_in_words(estimate: Estimate) -> str:
    interval = "" if math.isnan(estimate.low) else f" ({span(estimate.low, estimate.high)})"
    return f"{points(estimate.mean)}{interval}, n={estimate.n}"


def _draw_margin(axes: Axes, top: float, bottom: float, margin: float) -> None:
    """The margin of equivalence as a band behind some rows."""
    place: dict[str, Any] = {"left": -margin, "height": bottom - top, "color": FAINT, "alpha": 0.35, "linewidth": 0}
    axes.barh((top + bottom) / 2, 2 * margin, zorder=0.5, **place)


def _reach(estimates: Iterable[Estimate], margins: Iterable[float]) -> tuple[float, float]:
    return limits([*ends(estimates), 0.0, *(sign * margin for margin in margins for sign in (-1, 1))])


def _finish(axes: Axes, width: float, title: str, reach: tuple[float, float]) -> None:
    """Title, zero line, and an axis from one number to another, with as many of them as there is room for."""
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_title(title, fontsize=TEXT, fontweight="bold")
    axes.set_xlim(*reach)
    axes.xaxis.set_major_locator(MaxNLocator(max(int(width / 0.32), 1), steps=[1, 2, 5, 10]))


def _wrapped(contrast: str, width: float) -> str:
    """A contrast in lines no wider than its panel."""
    return fill(contrast, max(int(width / longest([], ["x"])), 8))
