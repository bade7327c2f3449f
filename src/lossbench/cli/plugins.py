"""The option --plugin of every command, and lists of what is registered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from types import MappingProxyType
from typing import Any

import click

from lossbench.cli.parameters import JSON
from lossbench.cli.printing import print_json, print_table
from lossbench.config.plugins import name_plugins
from lossbench.config.registry import DATASETS, LOSSES, MODELS, Registry
from lossbench.properties.facts import stated, written

OPTION = "--plugin"


def without_plugins(arguments: Iterable[str]) -> list[str]:
    """The arguments without `--plugin FILE`, whose files are loaded from now on, in worker processes too.

    Raises:
        ValueError: a file is not there, or none follows the option.
    """
    others, files = [], []
    remaining = iter(arguments)
    for word in remaining:
        if word != OPTION and not word.startswith(f"{OPTION}="):
            others.append(word)
            continue
        file = word.partition("=")[2] or next(remaining, "")
        if not file:
            raise ValueError(f"{OPTION} must be followed by a Python file")
        files.append(file)
    name_plugins(files)
    return others


def registered(registry: Registry[Any]) -> list[dict[str, Any]]:
    """What is registered: name, label, options with their defaults, and the plugin it is from."""
    lines = []
    for name, facts in registry.items():
        source = registry.source(name)
        lines.append(
            {
                "name": name,
                "label": facts.label,
                "options": _options(facts.options),
                "plugin": None if source is None else {"name": source.name, "sha256": source.sha256},
            }
        )
    return lines


def _options(options: type) -> dict[str, Any]:
    found = {}
    for field in fields(options):
        value = field.default_factory() if callable(field.default_factory) else field.default
        if field.name != "name":
            found[field.name] = value.value if isinstance(value, Enum) else value
    return found


def _print(
    lines: Sequence[Mapping[str, Any]], as_json: bool, columns: Mapping[str, str] = MappingProxyType({})
) -> None:
    if as_json:
        print_json(lines)
        return
    rows = []
    for line in lines:
        options = ", ".join(f"{key}={_written(value)}" for key, value in line["options"].items())
        known = [written(line[key]) for key in columns]
        rows.append([line["name"], line["label"], line["plugin"]["name"] if line["plugin"] else "", *known, options])
    print_table(["name", "label", "plugin", *columns.values(), "options and defaults"], rows)


def _written(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


_COLUMNS = {
    "map": "map",
    "link": "link",
    "convex": "convex",
    "strictly_proper": "proper",
    "recoverable": "recoverable",
    "top1_consistent": "top-1",
    "order_preserving": "order",
    "margin": "margin",
    "cost": "cost",
}
"""Properties in the table of losses, and their headings."""


@click.command()
@JSON
def losses(as_json: bool) -> None:
    """List the losses, their properties and their options.

    Those of plugins are among them; options have their defaults. Map: from logits to probabilities, inside the loss;
    link: the map that gives the posterior at the minimiser. Proper: the map gives the posterior at every minimiser;
    recoverable: the minimiser determines it; top-1: every minimiser has its largest logit at the most likely class;
    order: its logits are in the posterior's order. A dash: none, or not known. docs/losses.md says more.
    """
    lines = [
        line | stated(LOSSES[line["name"]], line["plugin"]["name"] if line["plugin"] else None)
        for line in registered(LOSSES)
    ]
    _print(lines, as_json, _COLUMNS)


@click.command()
@JSON
def models(as_json: bool) -> None:
    """List the networks and their options.

    Those of plugins are among them; options have their defaults.
    """
    _print(registered(MODELS), as_json)


@click.command()
@JSON
def datasets(as_json: bool) -> None:
    """List the data sets and their options.

    Those of plugins are among them; options have their defaults.
    """
    _print(registered(DATASETS), as_json)
