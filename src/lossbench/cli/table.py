"""`lossbench table`: the runs in a table, a row for those that differ in their seed alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lossbench.cli.parameters import OUTPUT_DIR, committed_too, folder_of_committed
from lossbench.cli.printing import echo, num_runs, print_lines, print_table
from lossbench.runs import inspect
from lossbench.runs.inspect import Entry

if TYPE_CHECKING:
    from lossbench.report.grouped import Grouped

FORMATS = ("md", "csv", "tex", "html", "json")


@click.command()
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option("--rows", multiple=True, metavar="OPTION", help="What names a row first, such as loss or loss.beta.")
@click.option("--columns", multiple=True, metavar="OPTION", help="What names a column, such as dataset.")
@click.option("--metric", default="accuracy", show_default=True, help="What is shown; a wrong name lists them.")
@click.option("--baseline", multiple=True, metavar="OPTION=VALUE", help="Show differences to these, such as loss=sml.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Write it for a document or a program.")
@committed_too
@OUTPUT_DIR
def table(
    options: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
    metric: str,
    baseline: Sequence[str],
    form: str | None,
    committed: bool,
    results_dir: str | None,
    output_dir: str,
) -> None:
    """Show runs in a table.

    A row for the runs that differ in their seed alone, with a column for each option in which the rows differ: mean,
    standard deviation and number of runs. The best of each data set is marked; runs that failed or are not finished are
    counted in their row.

    OPTION=VALUE chooses runs: loss.beta=4 dataset=fmnist,kmnist. --rows, --columns and --baseline may be given several
    times. md, tex and html are the table for a document; csv and json have every digit, the values by seed and the
    names of the runs.
    """
    folder = folder_of_committed(committed, results_dir)
    entries, problems = inspect.known(output_dir, folder)
    print_lines(inspect.nothing_in(output_dir, folder), beside=True)
    print_lines([*problems, *_unreadable(entries)], beside=True)
    grouped = _grouped(entries, options, rows, columns, metric, baseline)
    if grouped is None:
        if form == "json":
            click.echo("[]")
        return
    from lossbench.report.grouped import written

    if form is None:
        print_grouped(grouped)
    else:
        click.echo(written(grouped, form), nl=False)


def _unreadable(entries: Sequence[Entry]) -> list[str]:
    names = [entry.id for entry in entries if not entry.config]
    return [f"{num_runs(len(names))} without a readable config in no row: {', '.join(names)}"] if names else []


def _grouped(
    entries: Sequence[Entry],
    options: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
    metric: str,
    baseline: Sequence[str],
) -> "Grouped | None":
    """The table that was asked for; None where no run is left."""
    from lossbench.report.grouped import arranged
    from lossbench.runs import choose
    from lossbench.runs.groups import grouped
    from lossbench.runs.measures import measure

    facts = [choose.facts_of(entry) for entry in entries] if options else []
    wanted = choose.choices(options, facts)
    found = choose.chosen(wanted, entries, facts) if options else entries
    shown = measure(metric, [entry.record.fields for entry in entries if entry.record])
    groups = grouped(found)
    known = [key for key in choose.known_options(group.options for group in groups) if _names_a_row(key)]
    for key in (*rows, *columns):
        if not _names_a_row(key):
            raise ValueError(f"{key} names no row or column: a row has its runs of all seeds, whatever their runtime")
        choose.check_option(key, known)
    others = choose.choices(baseline, [group.options for group in groups])
    if not groups:
        if entries:
            echo(choose.none_fits(wanted, facts or [choose.facts_of(entry) for entry in entries]), err=True)
        return None
    return arranged(groups, shown, list(dict.fromkeys(rows)), list(dict.fromkeys(columns)), others)


def _names_a_row(key: str) -> bool:
    """Whether an option can tell groups apart; a group has all seeds, whatever its runtime."""
    return key != "seed" and not key.startswith("runtime.")


def print_grouped(grouped: "Grouped", brief: bool = False) -> None:
    """The table on the terminal, and what its numbers are."""
    from lossbench.report.grouped import on_terminal

    head, lines, caption = on_terminal(grouped, brief)
    print_table(head, lines)
    echo(caption)


def print_sweep(output_dir: str, names: Sequence[str]) -> None:
    """The table of a sweep's runs."""
    from lossbench.report.grouped import arranged
    from lossbench.runs.groups import grouped
    from lossbench.runs.measures import MEASURES

    entries, _ = inspect.known(output_dir, names=set(names))
    groups: Any = grouped(entries)
    if groups:
        echo("")
        print_grouped(arranged(groups, MEASURES["accuracy"]), brief=True)
