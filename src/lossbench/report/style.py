"""Colours, markers and sizes that all pictures share."""

from collections.abc import Mapping
from typing import Any

STYLES: Mapping[str, dict[str, Any]] = {
    "LGL": {"color": "#4477aa", "marker": "s", "linestyle": "--"},
    "SML": {"color": "#ee6677", "marker": "o", "linestyle": "-."},
    "LGL-INR": {"color": "#228833", "marker": "^", "linestyle": "-"},
}
"""How a loss is drawn everywhere; it can be told without its colour."""


PAPER: Mapping[str, Any] = {"marker": "D", "markerfacecolor": "none", "linestyle": "none", "markersize": 6}
"""The sign of a number that the paper prints."""


SMALL = 8
"""Points of the smallest text."""


FAINT = "#888888"
"""For what only guides the eye; read on white and on black."""
