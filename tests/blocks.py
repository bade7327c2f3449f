"""Content of a part of the report, for tests."""

from typing import Any

import pandas as pd

from lossbench.report.blocks import Paragraph, Table


def table(blocks: Any, index: int = 0) -> pd.DataFrame:
    return [block for block in blocks if isinstance(block, Table)][index].frame


def text(blocks: Any) -> str:
    return " ".join(block.text for block in blocks if isinstance(block, Paragraph))
