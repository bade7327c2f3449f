"""Faults of a printed page: sheets that are mostly blank, and pictures that are broken over two sheets.

A page is printed twice: as it is, and with marks in place of what it shows ("marks" in `looking.js`). There each
picture is an area in its own colour, and a strip on every sheet is as high as the sheet within its margins.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pypdfium2
from numpy.typing import NDArray

MOST_BLANK = 0.5
"""Part of a sheet's height within the margins that may be blank at its bottom."""

PAPER = 250
"""Least value of a pixel without ink, of 255: lines thinner than a pixel are pale."""

STRIP = 128
"""Blue of the strip, which has no red and green."""


@dataclass(frozen=True)
class Sheet:
    """A printed sheet; all values in px."""

    top: int
    bottom: int
    """Where the area within its margins begins and ends."""

    heights: dict[int, int]
    """Height of each picture on this sheet, by the picture's number."""


def faults(plain: bytes, marked: bytes, pictures: Sequence[str]) -> list[str]:
    """Faults of a printed page, one line each.

    Args:
        plain: the page as PDF.
        marked: the same with marks.
        pictures: names of the marked pictures.

    Raises:
        ValueError: the two differ in their number of sheets.
    """
    sheets = [_sheet(image) for image in _images(marked)]
    found = []
    for number, (sheet, image) in enumerate(zip(sheets, _images(plain), strict=True), 1):
        blank = _blank(image, sheet)
        if blank > MOST_BLANK and number < len(sheets):
            found.append(f"paper: {100 * blank:.0f} % of page {number} is blank, at its bottom")
    for picture, name in enumerate(pictures):
        on = [number for number, sheet in enumerate(sheets, 1) if picture in sheet.heights]
        if len(on) < 2:
            continue
        height = sum(sheet.heights.get(picture, 0) for sheet in sheets)
        if height > max(sheet.bottom - sheet.top for sheet in sheets):
            found.append(f"paper: {name} is higher than a page")
        else:
            found.append(f"paper: {name} is broken over pages {on[0]} and {on[-1]}")
    return found


def _images(pdf: bytes) -> Iterator[NDArray[np.uint8]]:
    """Each sheet in red, green and blue, [height, width, 3], with one pixel per point."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        for page in document:
            yield page.render(rev_byteorder=True).to_numpy().copy()
    finally:
        document.close()


def _sheet(marked: NDArray[np.uint8]) -> Sheet:
    red, green, blue = np.moveaxis(marked.astype(int), 2, 0)
    strip = np.flatnonzero(((red == 0) & (green == 0) & (abs(blue - STRIP) < 4)).any(axis=1))
    numbers = np.where(
        blue < 2, 64 * ((red + 2) // 4) + (green + 2) // 4, 0
    )  # blue: an edge, mixed with the white beside
    heights = {}
    for number in set(np.unique(numbers)) - {0}:
        rows = int((numbers == number).any(axis=1).sum())
        if rows > 1:
            heights[int(number) - 1] = rows
    return Sheet(int(strip[0]), int(strip[-1]) + 1, heights)


def _blank(plain: NDArray[np.uint8], sheet: Sheet) -> float:
    """Part of the area within the margins that is blank below the last row with ink."""
    inked = np.flatnonzero((plain[sheet.top : sheet.bottom] < PAPER).any(axis=(1, 2)))
    height = sheet.bottom - sheet.top
    return 1 - (int(inked[-1]) + 1) / height if len(inked) else 1.0
