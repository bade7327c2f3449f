"""How does a report become a page? Blocks of text, tables and pictures, as HTML and as Markdown."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lossbench.files import write_bytes


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of plain texts."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table of texts; its index gives the row headers."""

    frame: pd.DataFrame
    caption: str


@dataclass(frozen=True)
class Picture:
    """A figure, the stem of its files, and what it shows in words for who cannot see it."""

    name: str
    figure: Figure
    caption: str
    alt: str


Block = Paragraph | Items | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading."""

    title: str
    blocks: Sequence[Block]


def page(title: str, body: str) -> str:
    """A whole HTML page."""
    style = (
        "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse;margin:2em 0}"
        "caption{caption-side:bottom;text-align:left;color:#555;padding:.5em 0}"
        "th,td{padding:.3em .8em;text-align:left;border-bottom:1px solid #ddd}thead th{border-bottom:2px solid #222}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def write_text(path: Path, text: str) -> None:
    """Write a text atomically; what cannot be written is spelled out."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # a folder's name need not be text
