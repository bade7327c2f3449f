"""`lossbench tensorboard`: TensorBoard on chosen runs."""

import os
import sys
from collections.abc import Sequence

import click

from lossbench.cli.parameters import OUTPUT_DIR, filters
from lossbench.cli.printing import echo, num_runs, print_lines
from lossbench.runs import choose, inspect
from lossbench.runs.folder import runs_dir
from lossbench.runs.inspect import Filter
from lossbench.runs.linked import has_events, linked

MANY = 250
"""Runs up to which TensorBoard ticks all of them at first: it does up to 500 rows of its list, and a run has two."""


@click.command()
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@filters
@click.option("--port", default=6006, show_default=True, type=click.IntRange(1, 65535), help="Where it is shown.")
@click.option("--link-only", is_flag=True, help="Make the folder of links, print it, and do not start TensorBoard.")
@OUTPUT_DIR
def tensorboard(options: Sequence[str], port: int, link_only: bool, output_dir: str, **wanted: Sequence[str]) -> None:
    """Show chosen runs in TensorBoard.

    OPTION=VALUE and the filters choose runs as in lossbench runs; without them all runs are shown. TensorBoard reads a
    folder of links to them; it lists all runs that it reads, two rows each, and ticks none of more than 250.
    """
    every = inspect.entries(output_dir)
    facts = [choose.facts_of(entry) for entry in every] if options else []
    chosen = choose.choices(options, facts)
    fitting = choose.chosen(chosen, every, facts) if options else every
    only = Filter(**wanted)
    runs = [entry.run for entry in fitting if entry.run and only.takes(entry)]
    if not runs:
        known = facts or [choose.facts_of(entry) for entry in every]
        raise ValueError(choose.none_fits(chosen, known) if every else inspect.nothing_in(output_dir)[0])
    shown = [run for run in runs if has_events(run)]
    if not shown:
        raise ValueError(
            f"{num_runs(len(runs))} without events for TensorBoard: trained with runtime.tensorboard=false"
        )
    all_ = len(shown) == len(every)
    folder = runs_dir(output_dir) if all_ else linked(shown, output_dir)
    without = f", {len(runs) - len(shown)} without events are left out" if len(shown) < len(runs) else ""
    print_lines([f"{len(shown)} of {num_runs(len(every))} in {folder}{without}"])
    if len(shown) > MANY:
        echo(f"with more than {MANY} runs TensorBoard ticks none at first; OPTION=VALUE chooses fewer")
    if link_only:
        return
    echo(f"open http://localhost:{port}/; Ctrl-C ends it")
    sys.stdout.flush()
    words = ["--logdir", str(folder), "--port", str(port), "--samples_per_plugin", "images=0,scalars=0"]
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *words])
