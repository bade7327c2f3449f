"""Texts and tables as files, written atomically."""

from pathlib import Path

import pandas as pd

from lossbench.system.files import write_atomically, write_bytes
from lossbench.system.spelling import csv_cell


def write_text(path: Path, text: str) -> None:
    """Write a text atomically; what cannot be written is spelled out."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # a folder's name need not be text


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table's rows as CSV, atomically."""
    cells = frame.map(csv_cell)
    write_atomically(path, lambda file: cells.to_csv(file, index=False))
