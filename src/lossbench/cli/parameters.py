"""Arguments and options that several commands of `lossbench` share."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lossbench.runs.folder import all_runs
from lossbench.runs.inspect import STATUSES
from lossbench.system import shipped
from lossbench.system.files import expanded

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class GivenPath(click.Path):
    """Click's path with `~` expanded to the home folder; a path that is not valid UTF-8 is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The expanded path."""
        key = (
            "the path"
            if param is None
            else param.opts[0]
            if param.opts[0].startswith("-")
            else param.human_readable_name
        )
        return super().convert(expanded(os.fsdecode(value), key), param, ctx)


OUTPUT_DIR = click.option(
    "--output-dir", default="outputs", show_default=True, type=GivenPath(file_okay=False), help="Folder of runs/."
)
RESULTS_DIR = click.option(
    "--results-dir",
    default=lambda: str(shipped.RESULTS),
    show_default="those of lossbench",
    type=GivenPath(file_okay=False),
    help="Folder of the committed records.",
)


def committed_too(command: _Decorated) -> _Decorated:
    """The options that add committed records: --committed those of lossbench, --results-dir those of a folder."""
    committed = click.option("--committed", is_flag=True, help="Take the committed records of lossbench, too.")
    results_dir = click.option(
        "--results-dir", type=GivenPath(file_okay=False), help="Take the committed records in this folder, too."
    )
    return committed(results_dir(command))


def folder_of_committed(committed: bool, results_dir: str | None) -> str | None:
    """The folder that the options of `committed_too` ask for; None: no committed records.

    Raises:
        ValueError: the folder does not exist.
    """
    if results_dir and not os.path.isdir(results_dir):
        raise ValueError(f"--results-dir: there is no folder {results_dir}")
    return results_dir or (str(shipped.RESULTS) if committed else None)


def _known_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of runs for shell completion."""
    found = all_runs(context.params.get("output_dir") or "outputs")
    return [run.id for run in found if run.id.startswith(incomplete) and run.id.isprintable()]


def run_arguments(name: str, number: int, required: bool = True) -> Callable[[_Decorated], _Decorated]:
    metavar = "RUN" if number == 1 else "RUN RUN..." if required else "[RUN]..."
    return click.argument(name, nargs=number, required=required, metavar=metavar, shell_complete=_known_runs)


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def filters(command: _Decorated) -> _Decorated:
    texts = {"dataset": "such as fmnist", "model": "such as cnn2c", "loss": "such as lgl_inr", "seed": "such as 0"}
    command = click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Only runs in this state.")(
        command
    )
    for name in reversed(texts):
        command = click.option(f"--{name}", multiple=True, help=f"Only runs with this {name}, {texts[name]}.")(command)
    return command
