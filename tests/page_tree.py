"""A report page parsed into a tree, and small blocks to make one."""

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lossbench.report.blocks import Block, Picture, Section, Table, plain_page
from lossbench.report.drawing import drawing
from lossbench.report.html import to_html
from lossbench.report.style import BLACK

ODD = [
    "<b>&amp;</b><script>",
    "a|b\\|c\\",
    "# x ##",
    "1. x",
    "- x",
    "> x",
    "--",
    "==",
    "~~x~~ __init__ *x* _x_ _x)_y _.x_.",
    "[x](y) ![z](y)",
]
ODD += [
    "$x_1$ `y`",
    "a\r\n\nb\0",
    "\u202e\ud800",
    "<!-- -->",
    "&lt;",
    '" onload="x',
    "</style>",
    "",
    "漢字 é",
    "x" * 3000,
]
"""Texts that would do harm if a page took them for its own marks."""

VOID = {"meta", "input"}


class Tree(HTMLParser):
    """The elements of a page in order, each with its attributes and all text in it; refuses what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict[str, Any]] = []
        self.open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} says something twice"
        inside = [element["tag"] for element in self.open]
        self.elements.append({"tag": tag, "attrs": dict(attrs), "text": "", "inside": inside})
        self.open += [] if tag in VOID else self.elements[-1:]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element["text"] += data

    def all(self, *tags: str) -> list[dict[str, Any]]:
        return [element for element in self.elements if element["tag"] in tags]

    def texts(self, *tags: str) -> list[str]:
        return [element["text"] for element in self.all(*tags)]


def shown(text: str) -> str:
    """A text as a page shows it, were it written letter by letter."""
    out = ""
    for letter in text:
        if letter.isspace() and not letter.isprintable() and letter in "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\u2028\u2029":
            out += " "
        elif letter.isprintable() or letter.isspace():
            out += letter
        else:
            out += ascii(letter)[1:-1]
    return out.strip()


def drawn() -> Figure:
    """Everything that may be black or white, in ink, on paper, or for good."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([1, 2, 3], label="line", marker="o", mfc="white", color="#123456")
    left.plot([3, 2, 1], color="black", marker="s")
    left.bar([1], [2], color="black", hatch="//", edgecolor="#654321")
    left.legend(title="of lines")
    right.pcolormesh(np.arange(6).reshape(2, 3), cmap="Greys", edgecolors="face")
    for place, color in enumerate(("white", BLACK)):
        right.text(place, 1, f"{color} number", color=color)
    right.text(0.5, 1.5, "in a box", bbox={"facecolor": "white"})
    return figure


def picture(
    name: str = "one", caption: str = "Figure 1. A caption: it goes on.", alt: str = "What it shows"
) -> Picture:
    return Picture(name, drawing(drawn), caption, alt)


def table(
    cells: Mapping[str, Sequence[str]], index: pd.Index | None = None, caption: str = "Table 1. One: more"
) -> Table:
    return Table(pd.DataFrame(cells, index=index, dtype=object), caption)


def page_of(*blocks: Block) -> Tree:
    return Tree(to_html(plain_page("Title", [], [Section("Part", blocks)])))
