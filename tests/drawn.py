"""Pictures as figures: drawn from their arguments, checked, and read back."""

import math
import pickle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from lossbench.report.blocks import Picture
from lossbench.report.drawing import Gallery
from lossbench.report.style import SMALL, STYLES


def figure_of(picture: Picture) -> Figure:
    """The figure, drawn from its arguments as a file would have them."""
    arguments = pickle.loads(pickle.dumps(picture.drawing.arguments))
    figure: Figure = picture.drawing.function(*arguments)
    return figure


def check(picture: Picture, widest: float = 9.6) -> Figure:
    """Draw a picture; it fits on a page, can be read, has a CSV, and is drawn without a warning."""
    figure = figure_of(picture)
    figure.draw_without_rendering()
    assert type(figure) is Figure
    assert figure.get_size_inches()[0] <= widest
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text().strip()]
    assert min((float(text.get_fontsize()) for text in texts if text.get_visible()), default=SMALL) >= SMALL
    boxes = [legend.get_frame_on() for axes in figure.axes if (legend := axes.get_legend())]
    assert not any([*boxes, *(legend.get_frame_on() for legend in figure.legends)])
    assert picture.caption.endswith(".")
    assert "nan" not in picture.alt
    assert picture.data is not None
    assert Gallery().svg(picture).startswith(b"<?xml")
    return figure


def legend_of(figure: Figure) -> list[str]:
    """The texts of a figure's own legend."""
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def words(axes: Axes) -> list[str]:
    """The texts in a panel."""
    return [text.get_text() for text in axes.texts]


def points(axes: Axes, loss: str, marker: str | None = None) -> list[list[tuple[float, float]]]:
    """The lines in a loss's colour: their points, those with a given marker only."""
    found = [line for line in axes.lines if line.get_color() == STYLES[loss]["color"]]
    found = [line for line in found if marker in (None, line.get_marker())]
    return [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in found]


def finite(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without the gaps of a line."""
    return [(x, y) for x, y in places if math.isfinite(x)]
