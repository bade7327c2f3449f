"""Pages as Markdown, beside the pictures' files."""

import re
from collections.abc import Sequence
from urllib.parse import quote

import pandas as pd

from lossbench.report.blocks import Block, Items, Page, Paragraph, Picture, Strong, Table, Terms, Tile, Tiles
from lossbench.system.spelling import spelled

_MARKS = re.compile(r"[\\`*\[\]<~$]|_(?![^\W_])|(?<!\S)#|&(?=#?\w+;)")
_BLOCK_MARK = re.compile(r"^(\d{0,9})(?=[-+.)](?:\s|$)|[-=]+\s*$|>)")


def to_markdown(page: Page) -> str:
    """A page as Markdown beside the pictures' files; nothing is folded."""
    parts = [f"{_text(page.about)}\n" if page.about else "", f"# {_text(page.title)}\n", blocks_to_markdown(page.lead)]
    for part in page.parts:
        depth = "##" + "#" * bool(part.title)
        parts += [f"## {_text(part.title)}\n" if part.title else "", blocks_to_markdown(part.lead)]
        for section in part.sections:
            parts += [f"{depth} {_text(section.title)}\n", f"{_text(section.gist)}\n" if section.gist else ""]
            parts.append(blocks_to_markdown(section.blocks))
    return "\n".join(part for part in parts if part)


def blocks_to_markdown(blocks: Sequence[Block]) -> str:
    """Paragraphs, tables and pictures as Markdown, an empty line between them."""
    return "\n\n".join(map(_block, blocks)) + "\n" if blocks else ""


def _text(text: object) -> str:
    """Text on one line that Markdown shows as it is."""
    return _BLOCK_MARK.sub(r"\1\\", _MARKS.sub(r"\\\g<0>", spelled(text).strip()))


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _text(text)
        case Items(texts):
            return "\n".join(f"- {_text(text)}" for text in texts)
        case Terms(lines):
            return "\n".join(f"- **{_text(name)}**: {_text(text)}" for name, text in lines)
        case Tiles(tiles):
            return "\n".join(f"- **{_text(tile.heading)}**: {_text(_told(tile))}" for tile in tiles)
        case Table(frame, caption):
            return f"{_text(caption)}\n\n{_table(frame)}"
        case Picture(name, _, caption, alt):
            return f"![{_text(alt)}]({quote(name)}.svg)\n\n{_text(caption)}"


def _told(tile: Tile) -> str:
    counts = ", ".join(f"{one.number} {one.words}" for one in tile.counts)
    return "; ".join(filter(None, [counts, *tile.lines]))


def _table(frame: pd.DataFrame) -> str:
    def entry(text: object) -> str:
        shown = _text(text).replace("|", r"\|")
        return f"**{shown}**" if isinstance(text, Strong) else shown

    keys = [key if isinstance(key, tuple) else (key,) for key in frame.index]
    names = ["" if name is None else str(name) for name in frame.index.names]
    rows = [[*map(entry, key), *map(entry, row)] for key, row in zip(keys, frame.to_numpy(), strict=True)]
    whole = pd.DataFrame(rows, columns=[entry(name) for name in [*names, *frame.columns]])
    return str(whole.to_markdown(index=False, disable_numparse=True))
