"""Tables of a page built from plain rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lossbench.report.page import Table


def table(lines: Mapping[Any, Mapping[str, str]], names: Sequence[str], caption: str) -> Table:
    """A table of texts.

    Args:
        lines: cells by column, for each row; a row's key is its header: a text, or a tuple with one text for each name.
        names: names of the header columns.
        caption: the table's caption.
    """
    frame = pd.DataFrame(list(lines.values()))
    if len(names) > 1:
        frame.index = pd.MultiIndex.from_tuples(list(lines), names=list(names))
    else:
        frame.index = pd.Index(list(lines), name=names[0])
    return Table(frame, caption)
