"""Figure of the paper's accuracies beside ours, as differences on one axis."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lossbench.report.blocks import Picture
from lossbench.report.drawing import drawing
from lossbench.report.interval_axes import (
    WIDTH,
    data,
    ends,
    grouped,
    label_rows,
    legend,
    limits,
    longest,
    place_axes,
    whiskers,
    write_beside,
)
from lossbench.report.rows import CellRow, Estimate
from lossbench.report.style import STYLES, TEXT
from lossbench.report.wording import MISSING, seeds_told

_ROW = 0.3  # inches of a row, for all losses of a cell


def cells_beside_paper(rows: Sequence[CellRow]) -> Picture:
    """Our accuracy less the paper's in every cell, with the 95 % prediction interval of one new run.

    Rows are grouped by network, one for each data set with all its losses; the caption lists cells without runs.
    """
    shown = [row for row in rows if row.prediction.n and row.paper is not None]
    absent = [row for row in rows if not row.prediction.n and not row.prediction.failed]
    failed = [row for row in rows if not row.prediction.n and row.prediction.failed]
    unprinted = [row for row in rows if row.prediction.n and row.paper is None]
    caption = (
        "Test accuracy minus the paper's number, in points: mean of n runs, last epoch, and 95 % "
        "prediction interval for one new run, s pooled over the losses of a data set and network. If the interval "
        "contains 0, the paper's number could be one more run of ours."
    )
    caption += f" Not yet run: {_listed(absent)}." if absent else ""
    caption += f" All runs failed: {_listed(failed)}." if failed else ""
    caption += f" Not printed in the paper: {_listed(unprinted)}." if unprinted else ""
    texts = [
        f"{row.dataset}, {row.network}, {row.loss}: "
        f"{f'{100 * row.prediction.mean:.2f} %, ' if row.prediction.n else ''}{_in_words(row)}"
        f"{'' if row.paper is None else f', paper {100 * row.paper:.2f} %'}."
        for row in rows
    ]
    alt = f"Our runs beside the paper. {' '.join(texts)}"
    return Picture("cells_beside_paper", drawing(_draw, tuple(shown)), caption, alt, _data(rows))


def _listed(rows: Sequence[CellRow]) -> str:
    """Cells by network and data set, with those losses that are meant if not all of a figure's are."""
    every = {row.loss for row in rows}
    texts = []
    for network, of_network in grouped(rows, lambda row: row.network).items():
        by_losses: dict[str, list[str]] = {}
        for dataset, of_dataset in grouped(of_network, lambda row: row.dataset).items():
            losses = [row.loss for row in of_dataset]
            words = "" if set(losses) == every and len(every) > 1 else f" ({', '.join(losses)})"
            by_losses.setdefault(words, []).append(dataset)
        texts += [f"{network} on {', '.join(datasets)}{words}" for words, datasets in by_losses.items()]
    return "; ".join(texts)


def _draw(rows: Sequence[CellRow]) -> Figure:
    networks = grouped(rows, lambda row: row.network.partition(", ")[0])
    cells = {name: grouped(members, _place) for name, members in networks.items()}
    left = longest((place for found in cells.values() for place in found), cells) + 0.15
    right, top = 0.85, 0.4
    height = _ROW * max(sum(1 + len(found) for found in cells.values()), 1)
    figure = Figure(figsize=(WIDTH, top + height + 0.5))
    axes = place_axes(figure, left, top, WIDTH - left - right, height)
    heights = label_rows(axes, [(name, list(found)) for name, found in cells.items()], left - 0.05)
    losses = [loss for loss in STYLES if any(row.loss == loss for row in rows)]
    axes.axvline(0, color="black", linewidth=0.8)
    for ys, found in zip(heights, cells.values(), strict=True):
        for y, members in zip(ys, found.values(), strict=True):
            _draw_cell(axes, y, members, losses)
    axes.set_xlim(*limits([*ends(map(_estimate, rows)), 0.0]))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.set_xlabel("our accuracy - the paper's (points)", fontsize=TEXT)
    signs = [Line2D([], [], **STYLES[loss] | {"linestyle": "-"}, label=loss, markersize=5) for loss in losses]
    signs.append(Line2D([], [], color="black", linewidth=0.8, label="the paper's number"))
    legend(figure, signs, len(signs))
    return figure


def _place(row: CellRow) -> str:
    """The data set, and what else tells the row from another of its network."""
    _, _, rest = row.network.partition(", ")
    return f"{row.dataset}, {rest}" if rest else row.dataset


def _draw_cell(axes: Axes, y: float, rows: Sequence[CellRow], losses: Sequence[str]) -> None:
    """The losses of a cell a little below each other, and how many runs each has."""
    for row in rows:
        style = STYLES[row.loss]
        shift = 0.28 * (losses.index(row.loss) - (len(losses) - 1) / 2) if len(rows) > 1 else 0.0
        one = _estimate(row)
        whiskers(axes, [y + shift], [one], color=style["color"], linewidth=1.2)
        axes.plot(100 * one.mean, y + shift, color=style["color"], marker=style["marker"], markersize=5)
    failed = sum(row.prediction.failed for row in rows)
    counts = seeds_told({row.prediction.n for row in rows})
    write_beside(axes, y, f"{counts}, {failed} failed" if failed else counts)


def _estimate(row: CellRow) -> Estimate:
    """The difference to the paper's number."""
    ours, paper = row.prediction, row.paper or 0.0
    return Estimate(ours.mean - paper, ours.low - paper, ours.high - paper, ours.n)


def _data(rows: Sequence[CellRow]) -> pd.DataFrame:
    lines = [
        {
            "dataset": row.dataset,
            "network": row.network,
            "loss": row.loss,
            "accuracy_percent": 100 * row.prediction.mean,
            "low_percent": 100 * row.prediction.low,
            "high_percent": 100 * row.prediction.high,
            "n": row.prediction.n,
            "failed": row.prediction.failed,
            "paper_percent": math.nan if row.paper is None else 100 * row.paper,
            "outcome": row.outcome or "",
        }
        for row in rows
    ]
    return data(lines)


def _in_words(row: CellRow) -> str:
    ours = row.prediction
    if not ours.n:
        return f"{ours.failed} failed" if ours.failed else MISSING
    width = "" if math.isnan(ours.half_width) else f"±{100 * ours.half_width:.2f}"
    texts = [
        " ".join(filter(None, [row.outcome, width])),
        f"n={ours.n}",
        f"{ours.failed} failed" if ours.failed else "",
    ]
    return ", ".join(filter(None, texts))
