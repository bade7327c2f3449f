"""Figures: drawn once, kept as files, and drawn anew only where what they show has changed."""

import hashlib
import json
import pickle
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossbench.report.style import STYLES
from lossbench.system.files import read_file, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lossbench.report.blocks import Picture

KEYS = ".drawn.json"
"""File with what the pictures of a folder were drawn from."""

FORMS = ("svg", "pdf")
"""The files of a picture, beside the CSV of its numbers."""

_BACKGROUND = (
    b'<g id="figure_1">',
    b'<rect id="background" width="100%" height="100%" fill="#ffffff"/>\n <g id="figure_1">',
)
"""What is before the drawing in a file by itself; a page has its own paper."""


@dataclass(frozen=True)
class Drawing:
    """How a figure is drawn: a function, and all that it draws from.

    Args:
        function: of a module; returns the figure, and reads nothing but its arguments.
        arguments: what it is given; values that can be pickled.
    """

    function: "Callable[..., Figure]"
    arguments: tuple[Any, ...] = ()

    @property
    def key(self) -> str:
        """A digest of all that the figure depends on: the numbers, the code that draws, and matplotlib's version."""
        name = f"{self.function.__module__}.{self.function.__qualname__}"
        parts = [name, _code(self.function.__module__), _matplotlib(), repr(dict(STYLES))]
        return hashlib.sha256("\n".join(parts).encode() + pickle.dumps(self.arguments, protocol=4)).hexdigest()


def drawing(function: "Callable[..., Figure]", *arguments: Any) -> Drawing:
    """How a figure is drawn."""
    return Drawing(function, arguments)


class Gallery:
    """The pictures of a folder: SVG and PDF of each, and its numbers as CSV; without a folder, no files.

    A picture whose files are there, drawn from the same numbers by the same code, is not drawn again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known = {} if folder is None else _read_keys(folder / KEYS)
        self._svgs: dict[tuple[str, str], bytes] = {}
        self.drawn: list[str] = []
        """Names of the pictures that were drawn."""

    @property
    def has_files(self) -> bool:
        """Whether the pictures are files too."""
        return self._folder is not None

    def svg(self, picture: "Picture") -> bytes:
        """A picture as SVG, drawn at most once; its files are written on the way."""
        key = picture.drawing.key
        if (picture.name, key) not in self._svgs:
            kept = self._kept(picture, key)
            self._svgs[picture.name, key] = self._draw(picture, key) if kept is None else kept
        return self._svgs[picture.name, key]

    def _kept(self, picture: "Picture", key: str) -> bytes | None:
        if self._folder is None or self._known.get(picture.name) != key:
            return None
        try:
            svg, *_ = (read_file(self._folder / f"{picture.name}.{form}") for form in FORMS)
        except OSError:
            return None
        self._write_data(picture)
        return svg

    def _draw(self, picture: "Picture", key: str) -> bytes:
        figure = picture.drawing.function(*picture.drawing.arguments)
        self.drawn.append(picture.name)
        svg = saved(figure, "svg", picture.name)
        if self._folder is not None:
            write_bytes(self._folder / f"{picture.name}.svg", svg)
            write_bytes(self._folder / f"{picture.name}.pdf", saved(figure, "pdf", picture.name))
            self._write_data(picture)
            self._known[picture.name] = key
            write_bytes(self._folder / KEYS, json.dumps(self._known, indent=1).encode())
        return svg

    def _write_data(self, picture: "Picture") -> None:
        from lossbench.report.files import write_csv

        if self._folder is not None and picture.data is not None:
            write_csv(self._folder / f"{picture.name}.csv", picture.data)

    def write(self, pictures: "Iterable[Picture]") -> None:
        """Write the files of pictures."""
        for picture in pictures:
            self.svg(picture)


def saved(figure: "Figure", form: str, name: str) -> bytes:
    """A figure's file; the first time its layout is done, for good.

    Args:
        figure: as drawn.
        form: "svg" or "pdf".
        name: of the picture; the ids of an SVG follow from it.
    """
    from matplotlib import rc_context

    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type") if form == "svg" else ("CreationDate",))
    file = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format=form, metadata=metadata, transparent=form == "svg")
    if figure.get_layout_engine() is not None:
        figure.set_layout_engine(None)  # else it would shift a little with every file
    return file.getvalue().replace(*_BACKGROUND, 1) if form == "svg" else file.getvalue()


def _read_keys(path: Path) -> dict[str, str]:
    try:
        found = json.loads(read_file(path))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@cache
def _code(module: str) -> str:
    """A digest of the sources that a module's figures may depend on: lossbench's, and the module's own."""
    sources = set(Path(__file__).parents[1].rglob("*.py"))
    path = getattr(sys.modules.get(module), "__file__", None)
    sources |= {Path(path)} if path is not None else set()
    return hashlib.sha256(b"".join(source.read_bytes() for source in sorted(sources))).hexdigest()


@cache
def _matplotlib() -> str:
    from importlib.metadata import version

    return version("matplotlib")
