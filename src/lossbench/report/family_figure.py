"""Figure of a family of losses on several data sets: accuracy beside the baseline's, and NLL of the probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import (
    axis_reach,
    data,
    ends,
    grouped,
    in_percent,
    label_rows,
    legend,
    longest,
    place_axes,
    whiskers,
    write_beside,
)
from lossbench.report.rows import Estimate
from lossbench.report.style import FAINT, PALETTE, SMALL, TEXT
from lossbench.report.wording import NO_NUMBER, points, seeds_told, span

_WIDTH = 5.6  # inches, so that a phone shows it almost unscaled
_ROW = 0.215
_SHIFT = 0.2  # of a row's height, between a data set's marks and the row's middle
_FARTHEST = 2.0  # the same of an NLL, as a multiple of the largest one after temperature
NOT_YET = "not yet run"


@dataclass(frozen=True)
class FamilyMark:
    """A loss on a data set.

    Args:
        dataset: label.
        difference: accuracy minus the baseline's; None: no pair of runs, or the baseline itself.
        nll: through the loss's own map, mean over runs, nats; None: not known.
        tempered: after one temperature; None: not known.
        zeros: share of the test images whose class has probability 0 through the own map; None: not known.
        n: runs of the last three; 0: none.
        diverged: runs that diverged, which are in no mean.
    """

    dataset: str
    difference: Estimate | None
    nll: float | None
    tempered: float | None
    zeros: float | None
    n: int
    diverged: int = 0


@dataclass(frozen=True)
class FamilyRow:
    """A loss on each data set that it is run on.

    Args:
        loss: label.
        group: heading of its rows.
        marks: one a data set.
        is_baseline: whether the others are compared with it.
    """

    loss: str
    group: str
    marks: tuple[FamilyMark, ...]
    is_baseline: bool = False


def family_picture(rows: Sequence[FamilyRow], baseline: str, margin: float, name: str) -> Picture:
    """Accuracy less the baseline's with 95 % intervals, and the NLL as it is and after one temperature, by loss.

    Args:
        rows: in their order; those of a group stand together.
        baseline: label.
        margin: of equivalence, a fraction.
        name: stem of the picture's files.
    """
    ns = {mark.difference.n for row in rows for mark in row.marks if mark.difference is not None}
    ns |= {mark.n for row in rows for mark in row.marks if mark.n}
    told = seeds_told(ns)
    caption = (
        f"Left: test accuracy minus {baseline}'s, each loss at its own learning rate; mean over paired seeds, 95 % "
        f"interval not corrected for the number of losses{f' ({told})' * bool(told)}; band: margin of "
        f"±{100 * margin:g} points. Right: NLL; hollow: through the loss's own map, probabilities below 1e-12 as "
        "1e-12; filled: after one temperature, best map, fitted on half of the test images, scored on the other half. "
        "p=0: share of test images whose class gets probability 0 (infinite NLL), by data set. Arrow: beyond the axis."
    )
    alt = " ".join(_in_words(row) for row in rows)
    drawn = drawing(_draw, tuple(rows), baseline, margin)
    return Picture(name, drawn, caption, f"Accuracy and NLL by loss. {alt}", _data(rows))


def _in_words(row: FamilyRow) -> str:
    return f"{row.loss}: {'; '.join(_mark_in_words(mark, row.is_baseline) for mark in row.marks)}."


def _mark_in_words(mark: FamilyMark, is_baseline: bool) -> str:
    one = mark.difference
    if is_baseline:
        texts = ["the baseline"]
    elif one is None:
        texts = [f"all {mark.diverged} runs diverged" if mark.diverged else f"accuracy {NOT_YET}"]
    else:
        interval = "" if math.isnan(one.low) else f" ({span(one.low, one.high)})"
        texts = [f"{points(one.mean)} points{interval}, n={one.n}"]
    if mark.nll is not None:
        texts.append(f"NLL {mark.nll:.3f}, {_number(mark.tempered)} after temperature")
    if mark.zeros:
        texts.append(f"probability 0 for the class of {_zeros(mark.zeros)} of the images")
    return f"{mark.dataset} {', '.join(texts)}"


def _number(value: float | None) -> str:
    return NO_NUMBER if value is None else f"{value:.3f}"


def _zeros(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 0.0001 else "< 0.01 %"


def _data(rows: Sequence[FamilyRow]) -> pd.DataFrame:
    return data(
        [
            {
                "loss": row.loss,
                "dataset": mark.dataset,
                **in_percent(mark.difference, "difference_points"),
                "nll_nats": mark.nll,
                "nll_tempered_nats": mark.tempered,
                "zero_percent": None if mark.zeros is None else 100 * mark.zeros,
                "n_nll": mark.n,
                "diverged": mark.diverged,
            }
            for row in rows
            for mark in row.marks
        ]
    )


def _draw(rows: Sequence[FamilyRow], baseline: str, margin: float) -> Figure:
    groups = grouped(rows, lambda row: row.group)
    datasets = list(dict.fromkeys(mark.dataset for row in rows for mark in row.marks))
    right_words = [_beside(row) for row in rows]
    left = min(longest([row.loss for row in rows], groups) + 0.15, 1.9)
    right = longest(["p=0", *right_words]) + 0.2
    top, height, between = 0.4, _ROW * (len(rows) + len(groups)), 0.2
    figure = Figure(figsize=(_WIDTH, top + height + 0.5))
    each = (_WIDTH - left - right - between) / 2
    names = [(name, [row.loss for row in group]) for name, group in groups.items()]
    gaps = place_axes(figure, left, top, each, height)
    nlls = place_axes(figure, left + each + between, top, each, height)
    ys = [y for group in label_rows(gaps, names, left - 0.05) for y in group]
    label_rows(nlls, names)
    ordered = [row for group in groups.values() for row in group]
    _draw_gaps(gaps, ys, ordered, margin, datasets)
    _draw_nlls(nlls, ys, ordered, datasets)
    gaps.set_xlabel(f"accuracy minus {baseline}'s (points)", fontsize=TEXT)
    nlls.set_xlabel("NLL (nats)", fontsize=TEXT)
    write_beside(nlls, 0, "p=0")
    for y, row in zip(ys, ordered, strict=True):
        write_beside(nlls, y, _beside(row))
    signs: list[Artist] = [
        Line2D([], [], linestyle="none", label=name, **_filled(place)) for place, name in enumerate(datasets)
    ]
    signs += [
        Line2D([], [], linestyle="none", label="NLL as it is", **_hollow(0, "black")),
        Patch(color=FAINT, alpha=0.35, linewidth=0, label="margin"),
    ]
    legend(figure, signs, 4, left=0.1)
    return figure


def _beside(row: FamilyRow) -> str:
    """The shares of infinite NLL, one a data set; empty where there are none."""
    known = [mark.zeros for mark in row.marks if mark.zeros is not None]
    return " / ".join(map(_zeros, known)).replace(" % /", " /") if any(known) else ""


def _filled(place: int, color: str | None = None) -> dict[str, Any]:
    style = PALETTE[place % len(PALETTE)]
    return {"color": color or style["color"], "marker": style["marker"], "markersize": 4.5}


def _hollow(place: int, color: str | None = None) -> dict[str, Any]:
    return _filled(place, color) | {"markerfacecolor": "white", "markeredgewidth": 1.2}


def _places(y: float, row: FamilyRow, datasets: Sequence[str]) -> list[tuple[float, int, FamilyMark]]:
    """The height of each mark of a row, and which data set it is."""
    middle = (len(datasets) - 1) / 2
    known = [(datasets.index(mark.dataset), mark) for mark in row.marks]
    return [(y + 2 * _SHIFT * (place - middle), place, mark) for place, mark in known]


def _draw_gaps(axes: Axes, ys: Sequence[float], rows: Sequence[FamilyRow], margin: float, names: Sequence[str]) -> None:
    known = [mark.difference for row in rows for mark in row.marks if mark.difference is not None]
    reach = 1.06 * axis_reach([max(map(abs, ends([one]))) for one in known], margin)
    axes.axvspan(-100 * margin, 100 * margin, color=FAINT, alpha=0.3, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    for y, row in zip(ys, rows, strict=True):
        if row.is_baseline or not any(mark.difference for mark in row.marks):
            lost = any(mark.diverged for mark in row.marks)
            _write(axes, y, "baseline" if row.is_baseline else "diverged" if lost else NOT_YET, reach)
        for at, place, mark in _places(y, row, names):
            one = mark.difference
            if one is None:
                continue
            mean, style = 100 * one.mean, _filled(place)
            if abs(mean) <= reach:
                whiskers(axes, [at], [one], color=style["color"], linewidth=1.2)
                axes.plot(mean, at, **style)
                continue
            side = math.copysign(1, mean)
            axes.plot(0.95 * side * reach, at, **style | {"marker": "<" if side < 0 else ">"})
            words: dict[str, Any] = {"ha": "left" if side < 0 else "right", "va": "center_baseline", "fontsize": SMALL}
            axes.text(0.86 * side * reach, at, points(one.mean, 1), **words)


def _write(axes: Axes, y: float, words: str, reach: float) -> None:
    axes.text(-0.97 * reach, y, words, fontsize=SMALL, va="center_baseline", ha="left")


def _draw_nlls(axes: Axes, ys: Sequence[float], rows: Sequence[FamilyRow], datasets: Sequence[str]) -> None:
    marks = [mark for row in rows for mark in row.marks]
    filled = [mark.tempered for mark in marks if mark.tempered is not None]
    known = [value for mark in marks for value in (mark.nll, mark.tempered) if value is not None]
    if not known:
        axes.set(xlim=(0, 1), xticks=[])
        axes.text(0.5, float(np.mean(axes.get_ylim())), NOT_YET, fontsize=SMALL, ha="center", va="center_baseline")
        return
    high = min(max(known), _FARTHEST * max(filled or known))
    pad = 0.06 * max(high - min(known), 0.01)
    axes.set_xlim(min(known) - pad, high + pad)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    for y, row in zip(ys, rows, strict=True):
        for at, place, mark in _places(y, row, datasets):
            color = _filled(place)["color"]
            both = [value for value in (mark.tempered, mark.nll) if value is not None]
            if len(both) == 2:
                axes.plot([min(one, high) for one in both], [at, at], color=color, linewidth=1, alpha=0.6)
            if mark.nll is not None and mark.nll <= high:
                axes.plot(mark.nll, at, **_hollow(place))
            elif mark.nll is not None:
                axes.plot(high, at, **_hollow(place) | {"marker": ">"})
                axes.text(high - 0.6 * pad, at, f"{mark.nll:.2f}", ha="right", va="center_baseline", fontsize=SMALL)
            if mark.tempered is not None:
                axes.plot(mark.tempered, at, **_filled(place))
