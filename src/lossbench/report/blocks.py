"""What pages are made of: texts, tiles, tables and pictures, in sections and parts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from lossbench.report.drawing import Drawing
from lossbench.report.tone import Tone


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of plain texts."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """A list of short names, each with what it stands for.

    Args:
        lines: the names with their texts.
        hues: for each name the index of its colour in `style.PALETTE`, or None; empty: none has one.
    """

    lines: Sequence[tuple[str, str]]
    hues: Sequence[int | None] = ()


@dataclass(frozen=True)
class Count:
    """How many of the things of a tile are so."""

    number: int
    words: str
    tone: Tone | None = None


@dataclass(frozen=True)
class Tile:
    """A heading and a few numbers that are seen at once.

    Args:
        heading: what is counted.
        counts: the parts of the whole, drawn as a bar; may be empty.
        lines: further short texts.
    """

    heading: str
    counts: Sequence[Count] = ()
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Tiles:
    """Tiles side by side, or below each other."""

    tiles: Sequence[Tile]


class Strong(str):
    """A text of a table's cell that stands out, in bold."""


@dataclass(frozen=True)
class Table:
    """A table of texts, some of them `Toned`; its index gives the row headers, and columns may share a heading."""

    frame: pd.DataFrame
    caption: str


@dataclass(frozen=True)
class Picture:
    """A figure, the stem of its files, and what it shows in words for who cannot see it.

    Its black is ink and follows the page, light on dark; the white of its lines, markers and boxes is the page's paper;
    the colours of `style.PALETTE` follow the page too. Any other colour stays, and so do white text and the cells of a
    mesh: the number on a coloured cell is white, or `style.BLACK`.

    Args:
        name: stem of its files.
        drawing: draws it.
        caption: what stands below it.
        alt: what it shows, in words.
        data: the numbers in it, written as CSV beside it; None: it has no file of its own.
    """

    name: str
    drawing: Drawing
    caption: str
    alt: str
    data: pd.DataFrame | None = None


Block = Paragraph | Items | Terms | Tiles | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading.

    Args:
        title: the heading; may be a sentence.
        blocks: what stands below it.
        short: what the list of contents says; empty: the title.
        gist: what a folded section says beside its title.
        by_arrays: whether it is computed from the runs' arrays, and left out where these are not.
    """

    title: str
    blocks: Sequence[Block]
    short: str = ""
    gist: str = ""
    by_arrays: bool = False


@dataclass(frozen=True)
class Part:
    """Sections under a common heading.

    Args:
        title: the heading; empty: the sections stand for themselves.
        sections: in their order.
        folded: whether a page shows their titles alone until they are opened.
        lead: what stands before the sections.
    """

    title: str
    sections: Sequence[Section]
    folded: bool = False
    lead: Sequence[Block] = ()


@dataclass(frozen=True)
class Page:
    """A whole page.

    Args:
        title: its heading.
        lead: what comes first; may be empty.
        parts: the rest.
        about: a line above the title, such as the work that the page is about.
    """

    title: str
    lead: Sequence[Block]
    parts: Sequence[Part] = field(default_factory=tuple)
    about: str = ""


def plain_page(title: str, lead: Sequence[Block], sections: Sequence[Section]) -> Page:
    """A page whose sections stand for themselves."""
    return Page(title, lead, [Part("", sections)] if sections else [])
