"""A legend in two columns with a heading above each group of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lossbench.report.style import TEXT

_LINE = 0.16  # inches
_COLUMNS = 2


def grouped_legend(
    figure: Figure,
    groups: Mapping[str, str],
    styles: Mapping[str, Mapping[str, Any]],
    more: Sequence[Line2D] = (),
) -> None:
    """What markers and lines mean, above the axes; a label that begins with its group's name is shown without it.

    Args:
        figure: as it is drawn.
        groups: the group of each label.
        styles: of the line of each label.
        more: further handles with labels, below all groups of the right column.
    """
    across, down = figure.get_size_inches()
    left, right = _columns(groups)
    for place, names in enumerate((left, right)):
        handles: list[Artist] = []
        headings: list[int] = []
        for name in names:
            headings.append(len(handles))
            handles.append(Line2D([], [], linestyle="none", label=name[:1].upper() + name[1:]))
            members = [label for label, group in groups.items() if group == name]
            handles += [Line2D([], [], label=shortened(label, name), **styles[label]) for label in members]
        handles += more if place else ()
        if not handles:
            continue
        style: dict[str, Any] = {"fontsize": TEXT, "frameon": False, "borderaxespad": 0.2, "labelspacing": 0.25}
        corner = ((0.05 + across / _COLUMNS * place) / across, 1 - 0.02 / down)
        made = figure.legend(handles=handles, loc="upper left", bbox_to_anchor=corner, **style)
        for heading in headings:
            made.get_texts()[heading].set_fontweight("bold")


def legend_height(groups: Mapping[str, str], more: int = 0) -> float:
    """Inches that the legend needs; arguments as above, with the number of further handles."""
    sizes = [sum(1 + _size(groups, name) for name in names) for names in _columns(groups)]
    return 0.1 + _LINE * max(sizes[0], sizes[1] + more, 1)


def shortened(label: str, group: str) -> str:
    """A label without its group's name at the beginning, if something follows it."""
    start = f"{group}, "
    return label[len(start) :] if label.lower().startswith(start.lower()) else label


def _size(groups: Mapping[str, str], name: str) -> int:
    return list(groups.values()).count(name)


def _columns(groups: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The groups of the left and of the right column, as equal in height as taking the largest first makes them."""
    names = list(dict.fromkeys(groups.values()))
    columns: tuple[list[str], list[str]] = ([], [])
    heights = [0, 0]
    for name in sorted(names, key=lambda name: -_size(groups, name)):
        place = int(heights[1] < heights[0])
        columns[place].append(name)
        heights[place] += 1 + _size(groups, name)
    return sorted(columns[0], key=names.index), sorted(columns[1], key=names.index)
