"""Tables of accuracies beside printed numbers, as CSV, Markdown, HTML and LaTeX."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lossbench.config.run import run_id
from lossbench.report.blocks import Table, plain_page
from lossbench.report.files import write_csv, write_text
from lossbench.report.html import to_html
from lossbench.report.latex import to_latex
from lossbench.report.markdown import blocks_to_markdown
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, plain, short_commit
from lossbench.runs.records import Record
from lossbench.studies.cells import Cell
from lossbench.studies.options import Selection

Filled = list[tuple[Cell, list[Record]]]
"""Cells with the finished runs that fill them, by seed."""

Failed = Mapping[str, str]
"""Why runs failed, by name."""

_ROW_NAMES = {1: ["Loss"], 2: ["Network", "Loss"]}


def _percents(records: Sequence[Record], selection: Selection) -> list[float]:
    name = "test_accuracy" if selection is Selection.last else "test_accuracy_best"
    return [100 * float(record.fields[name]) for record in records]


def _num_failed(cell: Cell, failed: Failed) -> int:
    return sum(run_id(config) in failed for config in cell.configs)


def _rows(filled: Filled, failed: Failed, selection: Selection) -> pd.DataFrame:
    """One line a cell: labels, mean, sd (ddof 1) and n, the paper's number, and what the runs were done on."""
    lines = []
    for cell, records in filled:
        values = _percents(records, selection)
        lines.append(
            {
                "row": cell.row,
                "column": cell.column,
                "mean": np.mean(values) if values else np.nan,
                "sd": np.std(values, ddof=1) if len(values) > 1 else np.nan,
                "n": len(values),
                "n_wanted": len(cell.configs),
                "n_failed": _num_failed(cell, failed),
                "paper": np.nan if cell.paper is None else cell.paper,
                "difference": np.nan if cell.paper is None or not values else np.mean(values) - cell.paper,
                "epoch": selection.value,
                "seeds": _distinct(record.fields["config"]["seed"] for record in records),
                "device": _distinct(record.fields["device_name"] for record in records),
                "precision": _distinct(record.fields["precision"] for record in records),
                "runs": _distinct(record.id for record in records),
            }
        )
    return pd.DataFrame(lines)


def _distinct(values: Iterable[Any]) -> str:
    return " ".join(dict.fromkeys(plain(value) for value in values))


def _entry(cell: Cell, records: Sequence[Record], failed: Failed, selection: Selection) -> str:
    """A cell's text: mean, standard deviation, n ("n of wanted" while runs are missing), failed runs, mixed devices."""
    values, wanted, num_failed = _percents(records, selection), len(cell.configs), _num_failed(cell, failed)
    if not values:
        return toned("failed", f" ({num_failed} of {wanted})") if num_failed else MISSING
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    notes = [f"n={len(values)}" if len(values) >= wanted else f"n={len(values)} of {wanted}"]
    if num_failed:
        notes.append(f"{num_failed} failed")
    devices = dict.fromkeys(plain(record.fields["device"]) for record in records)
    if len(devices) > 1:
        notes.append(" and ".join(devices))
    return f"{np.mean(values):.2f}{spread} ({', '.join(notes)})"


def _caption(title: str, filled: Filled, selection: Selection, note: str) -> str:
    records = [record.fields for _, found in filled for record in found]
    rule = "last epoch" if selection is Selection.last else "best epoch, selected on the test set"
    text = f"{title}: {rule}; mean ± standard deviation (ddof 1) over seeds, n runs"
    if any(cell.paper is not None for cell, _ in filled):
        text += ", beside the paper's single number"
    text += note and f"; {note}"
    if not records:
        return f"{text}. No runs yet."

    def distinct(name: str) -> str:
        return ", ".join(dict.fromkeys(plain(record[name]) for record in records))

    torch_versions = ", ".join(dict.fromkeys(plain(record["versions"]["torch"]) for record in records))
    commits = ", ".join(dict.fromkeys(short_commit(record["commit"]) for record in records))
    return (
        f"{text}. Device {distinct('device')} ({distinct('device_name')}), precision {distinct('precision')}, "
        f"torch {torch_versions}, commit {commits}."
    )


def write_table(
    folder: Path, table: int, title: str, filled: Filled, failed: Failed, selection: Selection, note: str = ""
) -> tuple[str, Table]:
    """Write a table of accuracies in its four forms; returns it as Markdown and as a block of a page.

    Args:
        folder: where the files go.
        table: its number, in the files' names.
        title: how its caption begins.
        filled: its cells with their finished runs.
        failed: why other runs failed, by name.
        selection: which epoch's accuracy is shown.
        note: what its caption says of its rows, if anything.
    """
    rows = _rows(filled, failed, selection)
    write_csv(folder / f"table{table}.csv", rows)
    block = Table(_frame(filled, failed, selection), _caption(title, filled, selection, note))
    return write_forms(folder, table, title, block), block


def write_forms(folder: Path, number: int, title: str, table: Table) -> str:
    """Write a table as Markdown, HTML and LaTeX; returns the Markdown."""
    markdown = blocks_to_markdown([table])
    write_text(folder / f"table{number}.md", markdown)
    write_text(folder / f"table{number}.html", to_html(plain_page(title, [table], [])))
    write_text(folder / f"table{number}.tex", to_latex(table, f"tab:{number}"))
    return markdown


def _frame(filled: Filled, failed: Failed, selection: Selection) -> pd.DataFrame:
    """The table in the paper's form; every column of ours is followed by the paper's, where it has one."""
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for cell, records in filled:
        line = cells.setdefault(cell.rows, {})
        line[cell.column] = _entry(cell, records, failed, selection)
        if cell.paper is not None:
            line[f"{cell.column} (paper)"] = f"{cell.paper:.2f}"
    depth = len(next(iter(cells)))
    names = [""] if filled[0][0].table == 5 else _ROW_NAMES[depth]
    index = pd.MultiIndex.from_tuples(list(cells), names=names)
    if depth == 1:
        index = pd.Index([rows[0] for rows in cells], name=names[0])  # type: ignore[assignment]
    return pd.DataFrame(list(cells.values()), index=index, dtype=object)
