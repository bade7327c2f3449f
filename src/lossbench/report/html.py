"""Pages as HTML: one file that loads nothing, with styles and pictures inside."""

import html
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import groupby, pairwise

import pandas as pd

from lossbench.report.blocks import (
    Block,
    Items,
    Page,
    Paragraph,
    Part,
    Picture,
    Section,
    Strong,
    Table,
    Terms,
    Tile,
    Tiles,
)
from lossbench.report.drawing import FORMS, Gallery
from lossbench.report.inline import inline
from lossbench.report.tone import Toned
from lossbench.report.wording import MISSING, NO_NUMBER
from lossbench.system.spelling import spelled

_ABSENT = ("", NO_NUMBER, MISSING)
_NUMBER = re.compile(r"[-−+]?\d[\d,.]*(e[-+]?\d+)?( ?%)?")
_LONG = 26  # letters, from which a cell's text may be broken into lines

_NARROW = '<figure class="narrow"'
"""How a picture begins that may stand beside another."""

_SCRIPT = """
const reach = () => {
  const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let box = place && place.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  if (place) place.scrollIntoView();
};
addEventListener("hashchange", reach);
reach();
for (const button of document.querySelectorAll(".open-all")) {
  button.hidden = false;
  button.onclick = () => {
    const boxes = [...button.closest("section").querySelectorAll("details")];
    const open = boxes.some((box) => !box.open);
    for (const box of boxes) box.open = open;
    button.textContent = open ? "Close all" : "Open all";
  };
}
"""


def to_html(page: Page, gallery: Gallery | None = None) -> str:
    """A page that needs nothing else and loads nothing; its pictures link to the gallery's files, where it has any.

    Args:
        page: what is shown.
        gallery: draws the pictures, or knows them; None: they are drawn for this page alone.
    """
    return _Writer(gallery or Gallery()).page(page)


def html_page(title: str, body: str, script: str = "") -> str:
    """A whole HTML page around a body."""
    style = files("lossbench.report").joinpath("style.css").read_text(encoding="utf-8")
    end = f"<script>{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n{end}</body>\n</html>\n"
    )


class _Writer:
    """Writes one page: no two of its parts have the same id."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._taken = {"top"}

    def page(self, page: Page) -> str:
        anchors = [
            (self._anchor(part.title), [self._anchor(one.title) for one in part.sections]) for part in page.parts
        ]
        about = f'<p class="about">{_text(page.about)}</p>\n' if page.about else ""
        lead = "\n".join(self._lead(page.lead))
        head = f'<header id="top">\n{about}<h1>{_text(page.title)}</h1>\n{lead}\n</header>'
        contents = _contents(page.parts, anchors) if sum(len(part.sections) for part in page.parts) > 1 else ""
        parts = [self._part(part, *anchor) for part, anchor in zip(page.parts, anchors, strict=True)]
        body = "\n".join(filter(None, [head, contents, f'<div class="parts">\n{"".join(parts)}</div>']))
        folded = any(part.folded for part in page.parts)
        listed = ' class="listed"' if contents else ""
        return html_page(page.title, f"<main{listed}>\n{body}\n</main>", _SCRIPT if folded else "")

    def _anchor(self, text: str) -> str:
        """A name made from the text that no other part of the page has; letters, digits and hyphens alone."""
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        anchor, count = stem, 1
        while anchor in self._taken:
            count += 1
            anchor = f"{stem}-{count}"
        self._taken.add(anchor)
        return anchor

    def _lead(self, blocks: Sequence[Block]) -> Iterator[str]:
        """Texts, then pictures and tiles side by side."""
        for beside, group in groupby(blocks, lambda block: isinstance(block, (Picture, Tiles))):
            written = "\n".join(map(self._block, group))
            yield f'<div class="beside">\n{written}\n</div>' if beside else written

    def _part(self, part: Part, anchor: str, anchors: Sequence[str]) -> str:
        level = 3 if part.title else 2
        head = [f'<h2 id="{anchor}">{_text(part.title)}</h2>'] if part.title else []
        head += ['<p><button type="button" class="open-all" hidden>Open all</button></p>'] if part.folded else []
        head += [self._blocks(part.lead)] if part.lead else []
        sections = [
            self._section(section, of_section, level, part.folded)
            for section, of_section in zip(part.sections, anchors, strict=True)
        ]
        if not part.title:
            return "".join(f"{section}\n" for section in sections)
        return "<section>\n" + "\n".join([*head, *sections]) + "\n</section>\n"

    def _section(self, section: Section, anchor: str, level: int, folded: bool) -> str:
        heading = f'<h{level} id="{anchor}">{_text(section.title)}</h{level}>'
        blocks = self._blocks(section.blocks)
        gist = f'<span class="gist">{_text(section.gist)}</span>' if section.gist else ""
        if folded:
            return f"<details>\n<summary>{heading} {gist}</summary>\n{blocks}\n</details>"
        told = f"<p>{_text(section.gist)}</p>\n" if gist else ""
        return f"<section>\n{heading}\n{told}{blocks}\n</section>"

    def _blocks(self, blocks: Sequence[Block]) -> str:
        """Blocks in turn, narrow pictures that follow each other in a grid."""
        written = []
        for are_narrow, group in groupby(map(self._block, blocks), lambda text: text.startswith(_NARROW)):
            those = list(group)
            written += ['<div class="pictures">', *those, "</div>"] if are_narrow and len(those) > 1 else those
        return "\n".join(written)

    def _block(self, block: Block) -> str:
        match block:
            case Paragraph(text):
                return f"<p>{_text(text)}</p>"
            case Items(texts):
                return f"<ul>{''.join(f'<li>{_text(text)}</li>' for text in texts)}</ul>"
            case Terms(lines, hues):
                styles = [None if hue is None else f"hue{hue}" for hue in hues] or [None] * len(lines)
                pairs = zip(lines, styles, strict=True)
                return f'<dl class="terms">{"".join(_term(*line, style) for line, style in pairs)}</dl>'
            case Tiles(tiles):
                return f'<div class="tiles">\n{"".join(map(_tile, tiles))}</div>'
            case Table(frame, caption):
                return _scrolling(_table(frame, caption), caption)
            case Picture():
                return self._picture(block)

    def _picture(self, picture: Picture) -> str:
        anchor = self._anchor(picture.name)
        svg, is_narrow = inline(self._gallery.svg(picture), anchor, picture.alt)
        forms = [*FORMS, *(["csv"] if picture.data is not None else [])] if self._gallery.has_files else []
        links = " ".join(f'<a href="{_quoted(picture.name)}.{form}" download>{form.upper()}</a>' for form in forms)
        saved = f' <span class="files">{links}</span>' if links else ""
        caption = f"<figcaption>{_text(picture.caption)}{saved}</figcaption>"
        start = f'{_NARROW} id="{anchor}">' if is_narrow else f'<figure id="{anchor}">'
        return f"{start}\n{_scrolling(svg, picture.caption)}\n{caption}\n</figure>"


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return html.escape(quote(name))


def _text(text: object) -> str:
    """Text on one line, escaped; what cannot be printed is spelled out."""
    return html.escape(spelled(text).strip())


def _contents(parts: Sequence[Part], anchors: Sequence[tuple[str, Sequence[str]]]) -> str:
    """The list of contents: the parts, and below each its sections."""
    lines = []
    for part, (anchor, of_sections) in zip(parts, anchors, strict=True):
        links = "".join(
            f'<li><a href="#{place}">{_text(section.short or section.title)}</a></li>'
            for place, section in zip(of_sections, part.sections, strict=True)
        )
        inner = f"<ul>{links}</ul>" if links else ""
        lines.append(f'<li><a href="#{anchor}">{_text(part.title)}</a>{inner}</li>' if part.title else links)
    return f'<nav aria-label="Contents">\n<p><a href="#top">Contents</a></p>\n<ul>{"".join(lines)}</ul>\n</nav>'


def _term(name: str, text: str, style: str | None) -> str:
    shown = f' class="{style}"' if style else ""
    return f"<div><dt{shown}>{_text(name)}</dt><dd>{_text(text)}</dd></div>"


def _tile(tile: Tile) -> str:
    heading = f'<p class="heading">{_text(tile.heading)}</p>'
    bar = "".join(
        f'<span{_classes(**{one.tone or "plain": True})} style="flex-grow:{one.number}"></span>'
        for one in tile.counts
        if one.number
    )
    counts = "".join(
        f"<li{_classes(**{one.tone or 'plain': True})}><b>{one.number}</b> {_text(one.words)}</li>"
        for one in tile.counts
    )
    parts = [heading, f'<div class="bar" aria-hidden="true">{bar}</div>' if bar else ""]
    parts += [f"<ul>{counts}</ul>" if counts else "", *(f"<p>{_text(line)}</p>" for line in tile.lines)]
    return f'<div class="tile">{"".join(parts)}</div>\n'


def _scrolling(content: str, caption: str) -> str:
    """A place that scrolls sideways by itself, also by keyboard, named after its caption's beginning."""
    label = _text(caption.partition(":")[0])
    return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n{content}\n</div>'


def _table(frame: pd.DataFrame, caption: str) -> str:
    columns = [[spelled(text).strip() for text in frame.iloc[:, number]] for number in range(frame.shape[1])]
    to_the_right = [_are_ragged_numbers(column) for column in columns]
    names = ["" if name is None else _text(name) for name in frame.index.names]
    head = "".join(_corner(name, names[:depth], depth == len(names) - 1) for depth, name in enumerate(names))
    head += "".join(
        f'<th scope="col"{_classes(number=right)}>{_text(name)}</th>'
        for name, right in zip(frame.columns, to_the_right, strict=True)
    )
    lines = [f"<tr>{head}</tr>\n</thead>\n<tbody>"]
    for headers, row, given in zip(
        _row_headers(frame.index), zip(*columns, strict=True), frame.to_numpy(), strict=True
    ):
        cells = "".join(map(_cell, row, given, to_the_right))
        lines.append(f"<tr>{headers}{cells}</tr>")
    said = f"<caption><span>{_text(caption)}</span></caption>"
    return f"<table>\n{said}\n<thead>\n" + "\n".join(lines) + "\n</tbody>\n</table>"


def _corner(name: str, outer: Sequence[str], last: bool) -> str:
    """The heading of a column of row headers."""
    shown = _outer(outer) + name if last else name
    classes = _classes(stays=last, outer=not last)
    return f'<th scope="col"{classes}>{shown}</th>' if shown else f"<td{classes}></td>"


def _outer(texts: Sequence[str]) -> str:
    """What a narrow page writes before the last row header: the outer ones, whose columns it leaves out."""
    told = ", ".join(filter(None, texts))
    return f'<span class="before" aria-hidden="true">{told}, </span>' if told else ""


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
    keys = [tuple(map(_text, key if isinstance(key, tuple) else (key,))) for key in index]
    headers = [""] * len(keys)
    for depth in range(1, index.nlevels + 1):
        last = depth == index.nlevels
        starts = [row for row in range(len(keys)) if last or row == 0 or keys[row][:depth] != keys[row - 1][:depth]]
        for row, following in pairwise([*starts, len(keys)]):
            span = f' rowspan="{following - row}"' if following - row > 1 else ""
            text = keys[row][depth - 1]
            shown = _outer(keys[row][:-1]) + text if last else text
            classes = _classes(long=len(text) > _LONG, stays=last, outer=not last)
            headers[row] += f'<th scope="row"{span}{classes}>{shown}</th>'
    return headers
