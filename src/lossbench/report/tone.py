"""Words of verdicts, each with the tone that a page shows as its colour."""

from collections.abc import Mapping
from typing import Literal

Tone = Literal["agrees", "differs", "ordered", "open"]
"""Class of a cell in style.css."""


class Toned(str):
    """The text of a table's cell with its tone; a text like any other where there are no colours."""

    tone: Tone | None

    def __new__(cls, text: str, tone: Tone | None) -> "Toned":
        toned = super().__new__(cls, text)
        toned.tone = tone
        return toned


TONES: Mapping[str, Tone | None] = {
    **dict.fromkeys(("consistent", "holds", "equivalent", "equal", "remains", "confirmed"), "agrees"),
    **dict.fromkeys(("paper higher", "paper lower", "fails", "failed", "gone", "reversed", "contradicted"), "differs"),
    **dict.fromkeys(("higher", "lower", "higher, within the margin", "lower, within the margin"), "ordered"),
    **dict.fromkeys(("too few", "missing", "undecided", "open", "not found", "inconclusive"), "open"),
    **dict.fromkeys(("not yet tested", "needs arrays", "not yet run", "nothing to confirm"), "open"),
    **dict.fromkeys(("no order seen", "not tested here"), "open"),
    **dict.fromkeys(("yes", "no", "a property", "the minimiser", "the bias"), None),
}
"""Every word that a verdict can be."""


def toned(word: str, after: str = "") -> Toned:
    """A cell that says a verdict, and maybe more after its word.

    Raises:
        KeyError: the word is none of `TONES`.
    """
    return Toned(word + after, TONES[word])
