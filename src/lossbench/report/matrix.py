"""A confusion matrix in a panel: the errors as shades of one hue, so that it follows the page's colours."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from lossbench.report.style import FAINT, SMALL, TEXT

_DARKEST = 0.5
"""Of the shades: a number on it can still be read, on a light page and on a dark one."""


_STEPS = 10
"""Shades."""


def draw_matrix(
    axes: Axes, values: np.ndarray, classes: Sequence[str], hue: str, most: float, write: Callable[[float], str]
) -> None:
    """Draw a confusion matrix.

    Args:
        axes: the panel.
        values: images, or their share, by true class (row) and predicted class (column), [K, K].
        classes: their names, K of them.
        hue: the colour of the errors.
        most: the number of errors that has the darkest shade; fewer have one by the square root.
        write: a value as text; empty: it is not written.
    """
    num = len(values)
    errors = np.where(np.eye(num, dtype=bool), 0.0, values)
    steps = np.rint(_STEPS * np.sqrt(np.clip(errors / most, 0, 1))).astype(int)
    for step in np.unique(steps[steps > 0]):  # one outline a shade: a page has fewer elements so
        cells = [_cell(row, column) for row, column in zip(*np.nonzero(steps == step), strict=True)]
        shade = {"facecolor": hue, "alpha": _DARKEST * float(step) / _STEPS, "linewidth": 0}
        axes.add_patch(PathPatch(Path.make_compound_path(*cells), antialiased=False, **shade))
    for (row, column), value in np.ndenumerate(values):
        if text := write(value):
            axes.text(column + 0.5, row + 0.54, text, ha="center", va="center", fontsize=SMALL)
    ticks = np.arange(num) + 0.5
    axes.set_xticks(ticks, labels=classes, rotation=90 if max(map(len, classes)) > 3 else 0)
    axes.set_yticks(ticks, labels=classes)
    axes.tick_params(length=0, labelsize=TEXT if num <= 10 else SMALL)
    axes.set(xlim=(0, num), ylim=(num, 0), aspect="equal")
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(FAINT)


def draw_pairs(axes: Axes, shades: np.ndarray, hues: tuple[str, str]) -> None:
    """Shade the cells of a matrix of pairs.

    Args:
        axes: the panel, a unit a cell, rows from the top.
        shades: how strong, from -1 to 1 or beyond, nan for none, [L, L].
        hues: the colours of positive and of negative cells.
    """
    steps = np.rint(_STEPS * np.sqrt(np.clip(np.abs(np.nan_to_num(shades)), 0, 1))).astype(int)
    steps *= np.sign(np.nan_to_num(shades)).astype(int)
    for step in np.unique(steps[steps != 0]):
        cells = [_cell(row, column) for row, column in zip(*np.nonzero(steps == step), strict=True)]
        shade = {"facecolor": hues[int(step < 0)], "alpha": _DARKEST * abs(float(step)) / _STEPS, "linewidth": 0}
        axes.add_patch(PathPatch(Path.make_compound_path(*cells), antialiased=False, **shade))


def _cell(row: int, column: int) -> Path:
    corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1), (column, row)]
    return Path(corners, closed=True)
