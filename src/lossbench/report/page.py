"""How does a report become a page? Blocks of text, tables and pictures, as HTML and as Markdown."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree import ElementTree

import pandas as pd

from lossbench.report.tone import Toned
from lossbench.report.wording import MISSING, NO_NUMBER
from lossbench.system.files import write_atomically, write_bytes
from lossbench.system.spelling import csv_cell, spelled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLACK = "#111111"
"""For what stays black on any page."""

_ABSENT = ("", NO_NUMBER, MISSING)
_NUMBER = re.compile(r"[-−+]?\d[\d,.]*(e[-+]?\d+)?( ?%)?")
_LONG = 32  # letters, from which a cell's text may be broken into lines
_LEGIBLE = 640  # pixels, below which a wide picture scrolls instead of shrinking

_MARKS = re.compile(r"[\\`*\[\]<~$]|_(?![^\W_])|(?<!\S)#|&(?=#?\w+;)")
_BLOCK_MARK = re.compile(r"^(\d{0,9})(?=[-+.)](?:\s|$)|[-=]+\s*$|>)")


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of plain texts."""

    texts: Sequence[str]


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

    Its black is ink and follows the page, light on dark; the white of its lines, markers and boxes is the page's paper.
    Any other colour stays, and so do white text and the cells of a mesh: the number on a coloured cell is white, or
    `BLACK`.
    """

    name: str
    figure: "Figure"
    caption: str
    alt: str


Block = Paragraph | Items | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading."""

    title: str
    blocks: Sequence[Block]


def to_html(title: str, lead: Sequence[Block], sections: Sequence[Section]) -> str:
    """One HTML page that needs nothing else and loads nothing: no script, styles and pictures inside.

    Args:
        title: heading of the page.
        lead: what comes first, framed; may be empty.
        sections: the rest, each under its heading, listed in a table of contents.
    """
    taken: set[str] = set()
    anchors = [_anchor(section.title, taken) for section in sections]
    parts = []
    if lead:
        parts.append(f'<section class="lead" aria-label="Summary">\n{_html_blocks(lead, taken)}\n</section>')
    if len(sections) > 1:
        links = (
            f'<li><a href="#{anchor}">{_html(section.title)}</a></li>'
            for anchor, section in zip(anchors, sections, strict=True)
        )
        parts.append(f'<nav aria-label="Contents">\n<p>Contents</p>\n<ul>{"".join(links)}</ul>\n</nav>')
    parts += [
        f'<section>\n<h2 id="{anchor}">{_html(section.title)}</h2>\n{_html_blocks(section.blocks, taken)}\n</section>'
        for anchor, section in zip(anchors, sections, strict=True)
    ]
    return page(title, "\n".join(parts))


def page(title: str, body: str) -> str:
    """A whole HTML page around a body."""
    style = files("lossbench.report").joinpath("style.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_html(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{_html(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def to_markdown(title: str, lead: Sequence[Block], sections: Sequence[Section]) -> str:
    """The page that `to_html` gives, as Markdown beside the pictures' files."""
    parts = [f"# {_markdown(title)}\n", blocks_to_markdown(lead)]
    for section in sections:
        parts += [f"## {_markdown(section.title)}\n", blocks_to_markdown(section.blocks)]
    return "\n".join(part for part in parts if part)


def blocks_to_markdown(blocks: Sequence[Block]) -> str:
    """Paragraphs, tables and pictures as Markdown, an empty line between them."""
    return "\n\n".join(map(_markdown_block, blocks)) + "\n" if blocks else ""


def write_picture(folder: Path, picture: Picture) -> None:
    """Write a picture as PNG and PDF, each atomically."""
    save, name = _laid_out(picture.figure).savefig, picture.name
    write_atomically(folder / f"{name}.png", lambda file: save(file, format="png", dpi=150))
    write_atomically(folder / f"{name}.pdf", lambda file: save(file, format="pdf", metadata={"CreationDate": None}))


def write_text(path: Path, text: str) -> None:
    """Write a text atomically; what cannot be written is spelled out."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # a folder's name need not be text


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table's rows as CSV, atomically."""
    cells = frame.map(csv_cell)
    write_atomically(path, lambda file: cells.to_csv(file, index=False))


def _line(text: object) -> str:
    """Text on one line; what cannot be printed is spelled out."""
    return spelled(text).strip()


def _html(text: object) -> str:
    return html.escape(_line(text))


def _anchor(text: str, taken: set[str]) -> str:
    """A name made from the text that no other part of the page has; letters, digits and hyphens alone."""
    stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
    anchor, count = stem, 1
    while anchor in taken:
        count += 1
        anchor = f"{stem}-{count}"
    taken.add(anchor)
    return anchor


def _html_blocks(blocks: Sequence[Block], taken: set[str]) -> str:
    return "\n".join(_html_block(block, taken) for block in blocks)


def _html_block(block: Block, taken: set[str]) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_html(text)}</p>"
        case Items(texts):
            return f"<ul>{''.join(f'<li>{_html(text)}</li>' for text in texts)}</ul>"
        case Table(frame, caption):
            return _scrolling(_html_table(frame, caption), caption)
        case Picture(name, _, caption):
            anchor = _anchor(name, taken)
            svg = _scrolling(_svg(block, anchor), caption)
            return f'<figure id="{anchor}">\n{svg}\n<figcaption>{_html(caption)}</figcaption>\n</figure>'


def _scrolling(content: str, caption: str) -> str:
    """A place that scrolls sideways by itself, also by keyboard, named after its caption's beginning."""
    label = _html(caption.partition(":")[0])
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n{content}\n</div>'


def _html_table(frame: pd.DataFrame, caption: str) -> str:
    columns = [[_line(text) for text in frame.iloc[:, number]] for number in range(frame.shape[1])]
    to_the_right = [_are_ragged_numbers(column) for column in columns]
    head = "".join(
        f'<th scope="col"{_classes(stays=depth == frame.index.nlevels)}>{_html(name)}</th>' if name else "<td></td>"
        for depth, name in enumerate(_names(frame.index), 1)
    )
    head += "".join(
        f'<th scope="col"{_classes(number=right)}>{_html(name)}</th>'
        for name, right in zip(frame.columns, to_the_right, strict=True)
    )
    lines = [f"<tr>{head}</tr>\n</thead>\n<tbody>"]
    for headers, row, given in zip(
        _row_headers(frame.index), zip(*columns, strict=True), frame.to_numpy(), strict=True
    ):
        cells = "".join(map(_cell, row, given, to_the_right))
        lines.append(f"<tr>{headers}{cells}</tr>")
    said = f"<caption><span>{_html(caption)}</span></caption>"
    return f"<table>\n{said}\n<thead>\n" + "\n".join(lines) + "\n</tbody>\n</table>"


def _are_ragged_numbers(texts: Sequence[str]) -> bool:
    """Whether these are numbers, but for what is not there, that line up at their right ends only."""
    there = [text for text in texts if text not in _ABSENT]
    return len({len(text) for text in there}) > 1 and all(_NUMBER.fullmatch(text) for text in there)


def _cell(text: str, given: object, right: bool) -> str:
    toned = {given.tone: True} if isinstance(given, Toned) and given.tone is not None else {}
    shown = f"<strong>{html.escape(text)}</strong>" if isinstance(given, Strong) else html.escape(text)
    return f"<td{_classes(number=right, long=len(text) > _LONG, **toned)}>{shown}</td>"


def _classes(**applies: bool) -> str:
    names = " ".join(name for name, holds in applies.items() if holds)
    return f' class="{names}"' if names else ""


def _row_headers(index: pd.Index) -> list[str]:
    """Each row's headers; one that goes on over several rows stands in the first, as pandas shows it."""
    keys = _keys(index)
    headers = [""] * len(keys)
    for depth in range(1, index.nlevels + 1):
        last = depth == index.nlevels
        starts = [row for row in range(len(keys)) if last or row == 0 or keys[row][:depth] != keys[row - 1][:depth]]
        for row, following in pairwise([*starts, len(keys)]):
            span = f' rowspan="{following - row}"' if following - row > 1 else ""
            text = _line(keys[row][depth - 1])
            headers[row] += (
                f'<th scope="row"{span}{_classes(long=len(text) > _LONG, stays=last)}>{html.escape(text)}</th>'
            )
    return headers


def _names(index: pd.Index) -> list[str]:
    return ["" if name is None else str(name) for name in index.names]


def _keys(index: pd.Index) -> list[tuple[object, ...]]:
    return [key if isinstance(key, tuple) else (key,) for key in index]


def _laid_out(figure: "Figure") -> "Figure":
    """The figure with its layout done for good, which else would shift a little with every file written."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # "none" would leave a placeholder, and everything be drawn twice a file
    return figure


def _svg(picture: Picture, anchor: str) -> str:
    """The picture as SVG for inside a page, in the page's ink and fonts; its ids begin with the anchor."""
    from matplotlib import rc_context

    file = BytesIO()
    unsaid = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": picture.name}):
        _laid_out(picture.figure).savefig(file, format="svg", transparent=True, metadata=unsaid)
    root = ElementTree.fromstring(file.getvalue())
    width, height = (float(size) for size in root.attrib["viewBox"].split()[2:])
    pixels = round(width * 96 / 72)
    for place in root.findall("{*}defs"):
        for style in place.findall("{*}style"):
            place.remove(style)  # it would hold for the whole page; ours says the same
    _adopt(root, anchor, fixed=False)
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "style": f"max-width:{pixels}px;min-width:{min(pixels, _LEGIBLE)}px",
        "role": "img",
        "aria-label": _line(picture.alt),
    }
    return ElementTree.tostring(root, encoding="unicode")


def _adopt(element: ElementTree.Element, anchor: str, fixed: bool) -> None:
    """Make an element, and what is in it, part of a page: no namespaces, ids of its own, the page's ink and fonts."""
    element.tag = element.tag.rpartition("}")[2]
    if element.get("id", "").startswith("QuadMesh"):  # colours that mean numbers
        fixed = True
        element.set("fill", "#000000")  # else left out, as SVG's default
    for key, value in list(element.items()):
        del element.attrib[key]
        key = key.rpartition("}")[2]
        if key == "id":
            value = f"{anchor}_{value}"
        elif key == "href":
            value = re.sub("^#", f"#{anchor}_", value)
        elif key in ("style", "fill", "clip-path"):
            value = re.sub(r"font-family: [^;]*", "font-family: inherit", value)
            value = value.replace("url(#", f"url(#{anchor}_")
            if not fixed:
                value = value.replace("#000000", "currentColor")
                value = value if element.tag in ("text", "tspan") else value.replace("#ffffff", "var(--paper)")
        element.set(key, value)
    for child in element:
        _adopt(child, anchor, fixed)


def _markdown(text: object) -> str:
    """Text on one line that Markdown shows as it is."""
    return _BLOCK_MARK.sub(r"\1\\", _MARKS.sub(r"\\\g<0>", _line(text)))


def _markdown_block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _markdown(text)
        case Items(texts):
            return "\n".join(f"- {_markdown(text)}" for text in texts)
        case Table(frame, caption):
            return f"{_markdown(caption)}\n\n{_markdown_table(frame)}"
        case Picture(name, _, caption, alt):
            return f"![{_markdown(alt)}]({quote(name)}.png)\n\n{_markdown(caption)}"


def _markdown_table(frame: pd.DataFrame) -> str:
    def entry(text: object) -> str:
        shown = _markdown(text).replace("|", r"\|")
        return f"**{shown}**" if isinstance(text, Strong) else shown

    pairs = zip(_keys(frame.index), frame.to_numpy(), strict=True)
    rows = [[*map(entry, key), *map(entry, row)] for key, row in pairs]
    whole = pd.DataFrame(rows, columns=[entry(name) for name in [*_names(frame.index), *frame.columns]])
    return str(whole.to_markdown(index=False, disable_numparse=True))
