"""`lossbench sweep`: the sweeps on an engine, how they stand, waiting for them and cancelling them."""

import shlex
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from lossbench.cli.parameters import JSON, OUTPUT_DIR
from lossbench.cli.printing import echo, num_runs, print_json, print_table
from lossbench.system.spelling import counted, spelled

if TYPE_CHECKING:
    from lossbench.engines.sweeps import Sweep


@click.group()
def sweep() -> None:
    """Follow the sweeps that were submitted to Slurm.

    launcher=slurm makes a sweep. NAME is its name or a unique beginning of it; without one the last sweep is meant.
    """


@sweep.command()
@click.argument("name", required=False)
@OUTPUT_DIR
@JSON
def status(name: str | None, output_dir: str, as_json: bool) -> None:
    """Show how a sweep stands.

    How many runs are finished, running, waiting and failed, and for each failed run the reason in one line.
    """
    from lossbench.engines.standing import standing_of
    from lossbench.engines.sweeps import find_sweep

    found = find_sweep(output_dir, name)
    standing = standing_of(found)
    if as_json:
        print_json({"sweep": found.name, "jobs": standing.words, "runs": standing.as_json()})
        return
    _print_counts(found.name, Counter(run.state for run in standing.runs.values()))
    if standing.words:
        echo(standing.words)
    for sentence in standing.never_start:
        echo(sentence)
    for run, how in standing.runs.items():
        if how.reason:
            echo(f"{how.state}: {spelled(run)}: {spelled(how.reason)}")
    if any(how.state in ("failed", "lost") for how in standing.runs.values()):
        echo(f"the same command submits them again: {spelled(_command(found))}")


@sweep.command("list")
@OUTPUT_DIR
@JSON
def list_(output_dir: str, as_json: bool) -> None:
    """List all sweeps, the last one submitted first."""
    from lossbench.engines.sweeps import all_sweeps
    from lossbench.runs.folder import Run, runs_dir

    rows = []
    for one in all_sweeps(output_dir):
        names = one.runs
        done = sum(Run(runs_dir(output_dir) / run).finished for run in names)
        rows.append({"sweep": one.name, "runs": len(names), "finished": done, "command": _command(one)})
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(map(str, row.values())) for row in rows], right=("runs", "finished"))
    else:
        echo("no sweeps yet; launcher=slurm makes one")


@sweep.command()
@click.argument("name", required=False)
@OUTPUT_DIR
def wait(name: str | None, output_dir: str) -> None:
    """Wait until the jobs of a sweep have ended.

    Shows the same progress as the command that submitted them. The exit code is 1 if a run failed.
    """
    from lossbench.cli.printing import say_summary
    from lossbench.engines.standing import wait_for
    from lossbench.engines.sweeps import find_sweep

    summary = wait_for(find_sweep(output_dir, name))
    say_summary(summary)
    if summary.failed:
        sys.exit(1)


@sweep.command()
@click.argument("name", required=False)
@OUTPUT_DIR
def cancel(name: str | None, output_dir: str) -> None:
    """Cancel the jobs of a sweep.

    Finished runs stay. The command that submitted the jobs continues the others after their last finished epoch.
    """
    from lossbench.engines import slurm
    from lossbench.engines.sweeps import find_sweep

    found = find_sweep(output_dir, name)
    ids = {job.id for job in slurm.queue() if job.sweep == found.name}
    slurm.cancel(ids)
    echo(f"{counted(len(ids), 'job')} of {found.name} cancelled" if ids else f"{found.name} has no jobs in the queue")


def _command(sweep: "Sweep") -> str:
    """The command line that submitted a sweep, as a shell reads it."""
    return shlex.join(["lossbench", *sweep.facts["command"]])


def _print_counts(name: str, counts: Counter[str]) -> None:
    said = ", ".join(
        f"{counts[state]} {state}" for state in ("finished", "running", "waiting", "failed", "lost") if counts[state]
    )
    echo(f"{name}: {num_runs(counts.total())}, {said}")
