"""Tables of a page built from plain rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lossbench.report.blocks import Table


def table(
    lines: Mapping[Any, Mapping[str, str]],
    names: Sequence[str],
    caption: str,
    headings: Mapping[str, str] | None = None,
) -> Table:
    """A table of texts.

    Args:
        lines: its rows, texts by column; the keys, a text or as many as there are names, are the row headers.
        names: headings of the row headers.
        caption: what it shows.
        headings: what stands above a column, where that is not its key: several may have the same.
    """
    frame = pd.DataFrame(list(lines.values()), dtype=object)
    if len(names) > 1:
        frame.index = pd.MultiIndex.from_tuples(list(lines), names=list(names))
    else:
        frame.index = pd.Index(list(lines), name=names[0])
    return Table(frame.rename(columns=dict(headings or {})), caption)
