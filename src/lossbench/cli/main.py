"""The `lossbench` program with all its commands."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from lossbench import __version__
from lossbench.cli.check_loss import check_loss
from lossbench.cli.compare import compare
from lossbench.cli.evaluate import evaluate
from lossbench.cli.hydra_main import plain_errors
from lossbench.cli.plan import plan
from lossbench.cli.plugins import datasets, losses, models, without_plugins
from lossbench.cli.profile import profile_run
from lossbench.cli.reference import reference
from lossbench.cli.report import report
from lossbench.cli.reproduce import reproduce
from lossbench.cli.runs import diff, remove, runs, show, verify
from lossbench.cli.simulate import simulate
from lossbench.cli.studies import studies
from lossbench.cli.sweep import sweep
from lossbench.cli.table import table
from lossbench.cli.tensorboard import tensorboard
from lossbench.cli.train import train
from lossbench.cli.transfer import collect, export, import_, prune, publish


class HydraCommand(click.Command):
    """A command that passes its arguments to Hydra unchanged, including `--help`."""

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        text = (callback.__doc__ or "").partition(": ")[2]
        super().__init__(name, callback=callback, short_help=text.capitalize())

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.args = list(args)
        return []

    def invoke(self, context: click.Context) -> Any:
        sys.argv[1:] = context.args
        return super().invoke(context)


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


_COMMANDS: tuple[click.Command, ...] = (
    HydraCommand("train", train),
    compare,
    HydraCommand("reproduce", reproduce),
    HydraCommand("reference", reference),
    HydraCommand("report", report),
    HydraCommand("profile", profile_run),
    plan,
    evaluate,
    *(runs, table, tensorboard, show, diff, remove, verify),
    sweep,
    *(losses, models, datasets),
    check_loss,
    studies,
    *(export, import_, collect, publish, prune),
    simulate,
)


@click.group(
    cls=InOrder,
    commands={command.name or "": command for command in _COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lossbench", message="%(prog)s %(version)s")
def lossbench() -> None:
    """Compare classification losses fairly: train runs, manage them, and make tables from them.

    RUN is a run's name or a unique beginning of it. `--plugin FILE`, anywhere on the line, loads losses, networks,
    data sets and studies from a Python file; so does the environment variable LOSSBENCH_PLUGINS. Exit codes: 0 success,
    1 an error or problems found, 2 wrong usage.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the `lossbench` program with the given arguments; None: those of the command line."""
    with plain_errors():
        given = without_plugins(sys.argv[1:] if arguments is None else arguments)
        lossbench.main(given, prog_name="lossbench")
