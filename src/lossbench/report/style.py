"""Colours, markers and sizes shared by all figures."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from lossbench.config.registry import LOSSES

BLACK = "#111111"
"""For what stays black on any page."""

PALETTE: tuple[dict[str, Any], ...] = (
    {"color": "#0072b2", "marker": "s", "linestyle": "--"},
    {"color": "#d55e00", "marker": "o", "linestyle": "-."},
    {"color": "#00936b", "marker": "^", "linestyle": "-"},
    {"color": "#aa4499", "marker": "v", "linestyle": ":"},
    {"color": "#8a6d00", "marker": "P", "linestyle": "--"},
    {"color": "#2a93b0", "marker": "X", "linestyle": "-."},
    {"color": "#882255", "marker": "<", "linestyle": "-"},
    {"color": "#5040a8", "marker": ">", "linestyle": ":"},
)
"""Styles of losses by index, each told from the others by marker and line as well; the first three colours are those of
Okabe and Ito for the colour-blind. style.css has what each becomes on a light and on a dark page."""

_MORE: tuple[tuple[str, ...], ...] = (
    ("D", "*", "p", "h", "d", "8", "H", "X"),
    ("h", "D", "8", "*", "p", "d", "^", "s"),
    ("P", "v", "X", "s", "o", "D", "p", "d"),
)
"""Markers of the second, third and fourth eight styles, by colour; those of the second are hollow."""


def style_at(place: int) -> dict[str, Any]:
    """The style of an index: the colours of `PALETTE` again and again, with other markers and lines from the ninth on.

    No two of the first 32 are equal in colour, marker and filling.
    """
    again, colour = divmod(place, len(PALETTE))
    style = dict(PALETTE[colour])
    again %= 1 + len(_MORE)
    if again:
        style |= {
            "marker": _MORE[again - 1][colour],
            "linestyle": PALETTE[(colour + again) % len(PALETTE)]["linestyle"],
        }
    return style | ({"markerfacecolor": "white"} if again == 1 else {})


_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")


def styles_of_groups(groups: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """A style for each label: a colour for its group, and a marker that no other label of the group has.

    From the thirteenth label of a group on, markers are hollow; from the ninth group on, colours come again.

    Args:
        groups: the group of each label; colours in the order of the groups' first appearance.
    """
    colours = {
        group: PALETTE[place % len(PALETTE)]["color"] for place, group in enumerate(dict.fromkeys(groups.values()))
    }
    places: dict[str, int] = {}
    found = {}
    for label, group in groups.items():
        place = places[group] = places.get(group, -1) + 1
        hollow = {"markerfacecolor": "white"} if place // len(_MARKERS) % 2 else {}
        found[label] = {"color": colours[group], "marker": _MARKERS[place % len(_MARKERS)], **hollow}
    return found


PAPER: Mapping[str, Any] = {"marker": "D", "markerfacecolor": "none", "linestyle": "none", "markersize": 6}
"""Marker of the paper's numbers."""

SMALL = 8
"""Size of the smallest text, in points."""

TEXT = 9
"""Size of other text, in points."""

FAINT = "#888888"
"""Colour of guide lines; visible on white and on black."""


class _Styles(Mapping[str, dict[str, Any]]):
    """Style of each loss by its label, ordered by index."""

    def _places(self) -> dict[str, int]:
        fixed = {facts.label: facts.style for facts in LOSSES.values() if facts.style is not None}
        free = (place for place in count() if place not in fixed.values())
        others = {facts.label: next(free) for facts in LOSSES.values() if facts.style is None}
        return dict(sorted({**fixed, **others}.items(), key=lambda item: item[1]))

    def __getitem__(self, label: str) -> dict[str, Any]:
        return style_at(self._places()[label])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places())

    def __len__(self) -> int:
        return len(LOSSES)


STYLES: Mapping[str, dict[str, Any]] = _Styles()
