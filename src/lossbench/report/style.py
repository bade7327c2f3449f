"""Colours, markers and sizes shared by all figures."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from lossbench.config.registry import LOSSES

PALETTE: tuple[dict[str, Any], ...] = (
    {"color": "#4477aa", "marker": "s", "linestyle": "--"},
    {"color": "#ee6677", "marker": "o", "linestyle": "-."},
    {"color": "#228833", "marker": "^", "linestyle": "-"},
    {"color": "#aa3377", "marker": "v", "linestyle": ":"},
    {"color": "#ccbb44", "marker": "P", "linestyle": "--"},
    {"color": "#66ccee", "marker": "X", "linestyle": "-."},
    {"color": "#bb5566", "marker": "<", "linestyle": "-"},
    {"color": "#004488", "marker": ">", "linestyle": ":"},
)
"""Styles of losses by index; each can be recognised without its colour."""

PAPER: Mapping[str, Any] = {"marker": "D", "markerfacecolor": "none", "linestyle": "none", "markersize": 6}
"""Marker of the paper's numbers."""

SMALL = 8
"""Size of the smallest text, in points."""

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
        return PALETTE[self._places()[label] % len(PALETTE)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places())

    def __len__(self) -> int:
        return len(LOSSES)


STYLES: Mapping[str, dict[str, Any]] = _Styles()
