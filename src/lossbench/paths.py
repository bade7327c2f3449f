"""Paths that the `lossbench` command is given: a `~` is the home folder, and a name that is no text is refused."""

import os
from typing import Any

import click

from lossbench.files import expanded


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
