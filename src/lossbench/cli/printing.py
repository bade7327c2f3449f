"""Printing lines, tables and JSON to a terminal or a pipe."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lossbench.cli import shown
from lossbench.config.naming import options_apart
from lossbench.runs.inspect import STATUSES, Entry
from lossbench.system.screen import say
from lossbench.system.spelling import spelled, spelled_lines

_COLORS = {"finished": "green", "running": "cyan", "stopped": "yellow", "failed": "red", "damaged": "red"}


def print_lines(sentences: Sequence[str], beside: bool = False) -> None:
    """Print sentences, on standard error if `beside` is true."""
    for sentence in sentences:
        echo(spelled(sentence), err=beside)


def on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def echo(text: str, err: bool = False) -> None:
    """Print text; characters that cannot be printed are replaced by escape sequences."""
    click.echo(spelled_lines(text), err=err)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def print_runs(found: Sequence[Entry]) -> None:
    """A line a run; what tells runs apart stands behind the names that do not."""
    words = options_apart({entry.id: entry.options for entry in found if entry.config})
    head, rows = ["run", *(["differs in"] if words else []), "status", "epoch", "accuracy", "age", "size", "note"], []
    known = [entry.summary() for entry in found]
    for line in known:
        accuracy = "-" if line["accuracy"] is None else f"{line['accuracy']:.4f}"
        age = "-" if line["age_s"] is None else shown.age(line["age_s"])
        note = " ".join(word for word in ("superseded", "committed") if line[word])
        epoch = f"{line['epoch']}/{line['epochs'] or '?'}"
        told = [words.get(line["run_id"], "-")] if words else []
        rows.append([line["run_id"], *told, line["status"], epoch, accuracy, age, shown.size(line["bytes"]), note])
    print_table(head, rows, right=("epoch", "accuracy", "age", "size"))
    if on_terminal():
        counts = Counter(line["status"] for line in known)
        said = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        echo(f"{num_runs(len(known))}: {said}; {shown.size(sum(line['bytes'] for line in known))}")


def print_section(title: str, values: Mapping[Any, str]) -> None:
    if values:
        width = max(len(spelled(key)) for key in values)
        lines = [f"  {spelled(key):{width}}  {spelled(value)}" for key, value in values.items()]
        echo("\n".join(["", spelled(title), *lines]))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table: formatted on a terminal, aligned text otherwise; an empty row gives an empty line."""
    head, rows = [*map(spelled, head)], [[*map(spelled, row)] for row in rows]
    if sys.stdout.isatty():
        print_rich(head, rows, right)
        return
    widths = [max(len(row[place]) for row in (head, *rows) if row) for place in range(len(head))]
    for row in (head, *rows):
        cells = zip(row, head, widths, strict=False)
        aligned = [cell.rjust(width) if name in right else cell.ljust(width) for cell, name, width in cells]
        echo("  ".join(aligned).rstrip())


def print_rich(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_COLORS.get(cell, "")) for cell in row))
    Console(highlight=False).print(table)


def num_runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def elsewhere(command: str) -> str:
    """The line of a dry run that names the command for its cost on other machines."""
    return f"the cost on other machines, such as an H100: lossbench plan {command} with the same options"


def say_summary(summary: Any) -> None:
    """Print the outcome of a list of runs: counts, postponed runs, and a line for each failed run."""
    if len(summary.finished) + len(summary.skipped) + len(summary.failed) > 1:
        counts = (
            f"{len(summary.finished)} finished, {len(summary.skipped)} were done before, {len(summary.failed)} failed"
        )
        say(f"runs: {counts}")
    if summary.broken:
        say(f"the GPU failed; {len(summary.postponed)} runs are left; run the same command again to continue them")
    elif summary.postponed:
        say(
            f"runtime.budget_min is spent; {len(summary.postponed)} runs are left; run the same command again to "
            f"continue them"
        )
    by_reason: dict[str, list[str]] = {}
    for name, reason in summary.failed.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        place = "" if names[0] in summary.lost else " (details are in its failure.txt)"
        say(f"failed: {names[0]}{others}: {spelled(reason)}{place}", sys.stderr)


def say_pages(folders: Iterable[Path]) -> None:
    """Print, as the last lines of a command, which pages to open: the `index.html` of each folder."""
    for folder in folders:
        say(f"open {spelled(folder / 'index.html')}")
