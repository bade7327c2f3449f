"""Commands that export, import and publish finished runs, and prune the committed ones."""

import sys
from pathlib import Path

import click

from lossbench.cli.parameters import OUTPUT_DIR, GivenPath
from lossbench.cli.printing import echo, print_lines
from lossbench.runs import archive, inspect
from lossbench.system.spelling import spelled


@click.command()
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@OUTPUT_DIR
def export(file: Path, output_dir: str) -> None:
    """Write all finished runs into one archive.

    With config, metrics, arrays and record of each; of diverged runs config and reason. Damaged runs are left out and
    named.
    """
    found = archive.export_archive(file, output_dir)
    others = f" and {len(found.diverged)} that diverged" if found.diverged else ""
    echo(f"{len(found.records)} finished runs{others} written to {file}")
    for problem in found.problems:
        echo(f"left out: {spelled(problem)}", err=True)
    print_lines(inspect.nothing_in(output_dir), beside=True)


@click.command("import")
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@OUTPUT_DIR
def import_(file: Path, output_dir: str) -> None:
    """Add the runs of an archive.

    Runs that are damaged, or running here, are left out and named; the exit code is then 1.
    """
    new, known, left_out = archive.import_archive(file, output_dir)
    echo(f"{new} runs added to {output_dir}/runs, {known} existed already")
    for problem in left_out:
        echo(f"left out: {spelled(problem)}", err=True)
    if left_out:
        sys.exit(1)


@click.command()
@click.argument("folder", type=GivenPath(file_okay=False, path_type=Path), metavar="DIR")
@OUTPUT_DIR
def publish(folder: Path, output_dir: str) -> None:
    """Commit the finished runs' records to DIR.

    DIR is a folder of committed records, such as results/. Arrays and the facts about diverged runs are added too.
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
