"""A table of a page from plain lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lossbench.report.page import Table


def table(lines: Mapping[Any, Mapping[str, str]], names: Sequence[str], caption: str) -> Table:
    """A table of texts from its lines; their keys, a text or as many as there are names, are the row headers."""
    frame = pd.DataFrame(list(lines.values()))
    if len(names) > 1:
        frame.index = pd.MultiIndex.from_tuples(list(lines), names=list(names))
    else:
        frame.index = pd.Index(list(lines), name=names[0])
    return Table(frame, caption)
