"""Panels of figures: where they are, and what all of them look like."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lossbench.report.style import FAINT, TEXT

NARROW = 5.6
"""Inches of a figure that stands beside another."""

WIDE = 9.4
"""Inches of a figure as wide as a page."""

_MARKS = (0, 20, 40, 60, 80, 85, 90, 92, 94, 95, 96, 97, 98, 99, 99.3, 99.5, 99.7, 99.8, 99.9, 100)
_NO_ERROR = 0.05  # percent that is added to errors, so that one of 0 has a place
_LETTER = 0.075  # inches of a letter of TEXT, about


def panels(
    size: tuple[float, float],
    rows: int = 1,
    columns: int = 1,
    *,
    left: float,
    right: float = 0.1,
    top: float = 0.3,
    bottom: float = 0.5,
    across: float = 0.0,
    down: float = 0.0,
    widths: Sequence[float] | None = None,
    share: Literal["none", "row", "all"] = "none",
) -> tuple[Figure, np.ndarray]:
    """A figure with panels at fixed places, which costs less than a layout that looks for them.

    Args:
        size: width and height, in inches.
        rows: of panels.
        columns: of panels.
        left: margin, in inches; so are `right`, `top` and `bottom`.
        right: margin.
        top: margin.
        bottom: margin.
        across: between two columns, in inches.
        down: between two rows, in inches.
        widths: of the columns, relative to each other; None: equal.
        share: which panels have the same y axis.

    Returns:
        The figure, and its axes, [rows, columns].
    """
    width, height = size
    figure = Figure(figsize=size)
    each = (width - left - right - across * (columns - 1)) / columns, (height - top - bottom - down * (rows - 1)) / rows
    grid = np.array(
        figure.subplots(
            rows,
            columns,
            squeeze=False,
            sharey=share,
            gridspec_kw={
                "left": left / width,
                "right": 1 - right / width,
                "top": 1 - top / height,
                "bottom": bottom / height,
                "wspace": across / each[0],
                "hspace": down / each[1],
                "width_ratios": widths,
            },
        ),
        dtype=object,
    )
    for axes in grid.flat:
        axes.tick_params(labelsize=TEXT, length=2.5, color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(FAINT)
        axes.xaxis.label.set_size(TEXT)
        axes.yaxis.label.set_size(TEXT)
    return figure, grid


def lines(axes: Axes, which: Literal["x", "y", "both"] = "both") -> None:
    """Faint guide lines behind everything."""
    axes.grid(axis=which, color=FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def powers(axes: Axes, most: int) -> None:
    """A logarithmic y axis with at most some marks, written as 1e-6: a raised exponent is too small on a phone."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=most))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-")))


def letters(texts: Sequence[str]) -> float:
    """Inches that the longest of some texts needs, about."""
    return _LETTER * max(map(len, texts), default=0)


def names_as_rows(axes: Axes, names: Sequence[str]) -> None:
    """Rows from the top, one a name."""
    axes.set_yticks(range(len(names)), labels=names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def accuracy_axis(axes: Axes, values: Sequence[float]) -> None:
    """Make the y axis one of accuracies in percent that is logarithmic in the error, which has room for high ones.

    Args:
        axes: whose axis it is.
        values: what must be on it, percent.
    """
    axes.set_yscale("function", functions=(_height, _accuracy))
    known = _height(np.array([value for value in values if np.isfinite(value)] or [50.0, 99.0]))
    pad = 0.06 * max(float(np.ptp(known)), 0.1)
    low, high = known.min() - pad, known.max() + pad
    marks = [float(mark) for mark in _MARKS if low <= _height(np.array(mark)) <= high]
    if len(marks) < 3:
        marks = sorted({float(f"{value:.3g}") for value in _accuracy(np.linspace(low + pad, high - pad, 4))})
    axes.set_ylim(*_accuracy(np.array([low, high])))
    axes.yaxis.set_major_locator(FixedLocator(_apart(marks, 0.07 * (high - low))))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _apart(marks: Sequence[float], least: float) -> list[float]:
    """Those of some marks that have room for their numbers, the highest first."""
    found: list[float] = []
    for mark in reversed(marks):
        if not found or float(_height(np.array(found[-1])) - _height(np.array(mark))) >= least:
            found.append(mark)
    return found


def _height(accuracy: np.ndarray) -> np.ndarray:
    height: np.ndarray = -np.log10(np.clip(100 - np.asarray(accuracy, float), 0, None) + _NO_ERROR)
    return height


def _accuracy(height: np.ndarray) -> np.ndarray:
    accuracy: np.ndarray = 100 + _NO_ERROR - 10 ** -np.asarray(height, float)
    return accuracy
