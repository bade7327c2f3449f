"""Paths that the `lossbench` command is given: a `~` is the home folder, and a name that is no text is refused."""

import os
from typing import Any

import click

from lossbench.system.files import expanded


class GivenPath(click.Path):
    """As click's own, once it is known what a `~` means."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path that is meant."""
        key = (
            "the path"
            if param is None
            else param.opts[0]
            if param.opts[0].startswith("-")
            else param.human_readable_name
        )
        return super().convert(expanded(os.fsdecode(value), key), param, ctx)


OUTPUT_DIR = click.option(
    "--output-dir", default="outputs", show_default=True, type=GivenPath(file_okay=False), help="Where runs/ is."
)
RESULTS_DIR = click.option(
    "--results-dir",
    default="results",
    show_default=True,
    type=GivenPath(file_okay=False),
    help="Where the committed records are.",
)
