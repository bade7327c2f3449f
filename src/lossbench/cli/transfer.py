"""The commands that move finished runs: into archives, out of them, and into the committed records."""

import sys
from pathlib import Path

import click

from lossbench.cli.parameters import OUTPUT_DIR, GivenPath
from lossbench.cli.printing import echo, tell
from lossbench.runs import archive, inspect
from lossbench.system.spelling import spelled


@click.command()
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@click.option("--weights", is_flag=True, help="Take saved weights along.")
@OUTPUT_DIR
def export(file: Path, weights: bool, output_dir: str) -> None:
    """Write all finished runs into one archive.

    Config, metrics, arrays and record of each, with --weights also saved weights; of runs that diverged, what is known
    of it. What is damaged is left out and named.
    """
    found = archive.export_archive(file, output_dir, weights)
    others = f" and {len(found.diverged)} that diverged" if found.diverged else ""
    echo(f"{len(found.records)} finished runs{others} written to {file}")
    for problem in found.problems:
        echo(f"left out: {spelled(problem)}", err=True)
    tell(inspect.nothing_in(output_dir), beside=True)


@click.command("import")
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@OUTPUT_DIR
def import_(file: Path, output_dir: str) -> None:
    """Add the runs of an archive.

    What is damaged, or running here, is left out and named, with exit code 1. A run that is there without its weights
    gets them, and counts as added.
    """
    new, known, left_out = archive.import_archive(file, output_dir)
    echo(f"{new} runs added to {output_dir}/runs, {known} were there already")
    for problem in left_out:
        echo(f"left out: {spelled(problem)}", err=True)
    if left_out:
        sys.exit(1)


@click.command()
@click.argument("folder", type=GivenPath(file_okay=False, path_type=Path), metavar="DIR")
@OUTPUT_DIR
def publish(folder: Path, output_dir: str) -> None:
    """Commit the finished runs' records to DIR.

    A folder of committed records, such as results/; the arrays go along, and what is known of runs that diverged.
    Weights never do.
    """
    echo(f"{archive.publish(output_dir, folder)} records added to {folder}")
    tell(inspect.nothing_in(output_dir), beside=True)


@click.command()
@click.argument("folder", type=GivenPath(file_okay=False, exists=True, path_type=Path), metavar="DIR")
@OUTPUT_DIR
def prune(folder: Path, output_dir: str) -> None:
    """Drop what no report reads from the committed records in DIR.

    Logits go where nothing needs them; the scores computed from them go into the record first. The labels of held-out
    images come from the run, else from the data sets prepared below --output-dir.
    """
    from lossbench.studies import pruning

    echo(pruning.in_words(pruning.prune(folder, output_dir)))
