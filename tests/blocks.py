"""Content of a part of the report, for tests."""

from typing import Any

import pandas as pd

from lossbench.report.blocks import Items, Paragraph, Table


def table(blocks: Any, index: int = 0) -> pd.DataFrame:
    return [block for block in blocks if isinstance(block, Table)][index].frame


def text(blocks: Any) -> str:
    """Paragraphs and items in their order, on one line."""
    texts = [
        block.texts if isinstance(block, Items) else [block.text]
        for block in blocks
        if isinstance(block, (Items, Paragraph))
    ]
    return " ".join(one for several in texts for one in several)
