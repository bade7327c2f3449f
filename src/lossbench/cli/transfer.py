"""Commands that export, import, collect and publish finished runs, and prune the committed ones."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from lossbench.cli.parameters import OUTPUT_DIR, GivenPath, committed_too, folder_of_committed
from lossbench.cli.printing import echo, num_runs, print_lines
from lossbench.runs import archive, inspect
from lossbench.runs.flat_rows import SUFFIX, write_parquet
from lossbench.system.spelling import spelled

TABLES = (".csv", ".feather", ".json", ".jsonl", ".tsv", ".txt", ".xlsx")
"""Ends of names that no archive has; who writes one expects a table."""


@click.command()
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@click.option("--weights", is_flag=True, help="Include saved weights.")
@committed_too
@OUTPUT_DIR
def export(file: Path, weights: bool, committed: bool, results_dir: str | None, output_dir: str) -> None:
    """Write all finished runs into one archive, or one table.

    With config, metrics, arrays and record of each, and with --weights also saved weights; of diverged runs config and
    reason. Damaged runs are left out and named.

    If the name of FILE ends with .parquet, it is a table for data analysis: a row a finished or diverged run, a column
    an option or a result, without arrays. --committed and --results-dir are for tables alone.
    """
    folder = folder_of_committed(committed, results_dir)
    if file.suffix == SUFFIX:
        if weights:
            raise ValueError(f"--weights is for archives, and {file} is a table; name a .zip, or leave it out")
        _export_table(file, output_dir, folder)
        return
    if file.suffix.lower() in TABLES:
        raise ValueError(
            f"{file} would be an archive; name a .zip, or for a table a {SUFFIX}, or write it with: "
            "lossbench table --format csv"
        )
    if folder is not None:
        raise ValueError(f"{file} is an archive of own runs; committed records are exported to a {SUFFIX} alone")
    found = archive.export_archive(file, output_dir, weights)
    others = f" and {len(found.diverged)} that diverged" if found.diverged else ""
    echo(f"{len(found.records)} finished runs{others} written to {file}")
    for problem in found.problems:
        echo(f"left out: {spelled(problem)}", err=True)
    print_lines(inspect.nothing_in(output_dir), beside=True)


def _export_table(file: Path, output_dir: str, results_dir: str | None) -> None:
    """Write the runs as a table, and name those that are left out."""
    entries, problems = inspect.known(output_dir, results_dir)
    echo(f"{write_parquet(file, entries)} runs written to {file}, a row each")
    problems += [problem for entry in entries for problem in entry.damages]
    print_lines([f"left out: {problem}" for problem in problems], beside=True)
    print_lines(inspect.nothing_in(output_dir, results_dir), beside=True)


@click.command("import")
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@OUTPUT_DIR
def import_(file: Path, output_dir: str) -> None:
    """Add the runs of an archive.

    Runs that are damaged, or running here, are left out and named; the exit code is then 1. A run that exists without
    its weights gets them, and counts as added.
    """
    new, known, left_out = archive.import_archive(file, output_dir)
    echo(f"{new} runs added to {output_dir}/runs, {known} existed already")
    for problem in left_out:
        echo(f"left out: {spelled(problem)}", err=True)
    if left_out:
        sys.exit(1)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="[HOST:]DIR...")
@click.option("--weights", is_flag=True, help="Bring saved weights, too.")
@OUTPUT_DIR
def collect(sources: Sequence[str], weights: bool, output_dir: str) -> None:
    """Bring the finished runs of other output folders here.

    DIR is a folder with runs/ in it, HOST:DIR one on a host that ssh reaches, which is copied by rsync. Every run is
    verified as by import. Runs that have a result here are left alone, so a repeated collect brings new ones only.
    Diverged runs come too; unfinished ones are named. A run that is damaged, is running here, or has another result
    here is left out and named, and so is a folder that cannot be read; the exit code is then 1.
    """
    from lossbench.runs.collect import collect as collect_from

    is_whole = True
    for source in sources:
        try:
            found = collect_from(source, output_dir, weights)
        except ValueError as error:
            is_whole = False
            echo(f"left out: {spelled(error)}", err=True)
            continue
        echo(f"{num_runs(len(found.new))} added from {source}, {len(found.known)} existed already")
        if found.unfinished:
            failed = sum(map(bool, found.unfinished.values()))
            which = f"{num_runs(len(found.unfinished))} not finished there" + (f", {failed} failed" if failed else "")
            echo(f"{which}: {some(found.unfinished)}")
        for problem in found.left_out:
            echo(f"left out: {spelled(problem)}", err=True)
        is_whole = is_whole and not found.left_out
    if not is_whole:
        sys.exit(1)


def some(names: Iterable[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    first = list(names)
    more = f" and {len(first) - most} more" if len(first) > most else ""
    return f"{', '.join(first[:most])}{more}"


@click.command()
@click.argument("folder", type=GivenPath(file_okay=False, path_type=Path), metavar="DIR")
@OUTPUT_DIR
def publish(folder: Path, output_dir: str) -> None:
    """Commit the finished runs' records to DIR.

    DIR is a folder of committed records, such as results/. Arrays and the facts about diverged runs are added too,
    weights never.
    """
    echo(f"{archive.publish(output_dir, folder)} records added to {folder}")
    print_lines(inspect.nothing_in(output_dir), beside=True)


@click.command()
@click.argument("folder", type=GivenPath(file_okay=False, exists=True, path_type=Path), metavar="DIR")
@OUTPUT_DIR
def prune(folder: Path, output_dir: str) -> None:
    """Drop committed arrays in DIR that no report needs.

    Logits are dropped where nothing needs them, after their scores have been added to the record. The labels of
    held-out images come from the run or from the data sets prepared below --output-dir.
    """
    from lossbench.studies import pruning

    echo(pruning.in_words(pruning.prune(folder, output_dir)))
