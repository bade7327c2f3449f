"""Runs that were done with another version of a plugin than a planned one."""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lossbench import NUMERICS
from lossbench.config.registry import sources
from lossbench.config.run import Config, name_of
from lossbench.runs.folder import Run, runs_dir
from lossbench.system.files import read_file


class Versions:
    """The runs below one folder by their names without plugins; the folder is listed once, a config read once."""

    def __init__(self, output_dir: str | Path) -> None:
        self._folder = runs_dir(output_dir)
        self._names: dict[str, list[str]] = {}
        self._known: dict[str, dict[str, list[tuple[str, Any]]]] = {}
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            for name in sorted(os.listdir(self._folder)):
                words, _, digest = name.rpartition("-")
                if len(digest) == 8:
                    self._names.setdefault(words, []).append(name)

    def others(self, config: Config) -> list[Run]:
        """The runs that equal a config but for another version of a plugin and the options of what it registers."""
        if not config.plugins:
            return []
        words, _, wanted = _without_plugins(asdict(config)).rpartition("-")
        return [
            Run(self._folder / name)
            for name, plugins in self._read(words).get(wanted, [])
            if plugins != config.plugins and plugins.keys() == config.plugins.keys()
        ]

    def _read(self, words: str) -> Mapping[str, list[tuple[str, Any]]]:
        """The runs with these words in their names, each with its plugins, by their digest without plugins."""
        if words not in self._known:
            self._known[words] = {}
            for name in self._names.get(words, []):
                try:
                    config = json.loads(read_file(self._folder / name / "config.json"))
                    digest, plugins = _without_plugins(config).rpartition("-")[2], dict(config["plugins"])
                except (OSError, ValueError, LookupError, TypeError, AttributeError):  # `lossbench verify` names it
                    continue
                self._known[words].setdefault(digest, []).append((name, plugins))
        return self._known[words]


def _without_plugins(config: Mapping[str, Any]) -> str:
    """The name that a run would have if plugins had neither versions nor options."""
    parts = {part: {"name": config[part]["name"]} for part in config["plugins"]}
    return name_of({**config, **parts, "plugins": None}, NUMERICS)


def versions_sentence(configs: Iterable[Config]) -> str | None:
    """How many runs of other versions of the configs' plugins there are, in a sentence; None without any."""
    runs, names = set(), set()
    folders: dict[str, Versions] = {}
    for config in configs:
        if not config.plugins:
            continue
        place = config.runtime.output_dir
        if place not in folders:
            folders[place] = Versions(place)
        if others := folders[place].others(config):
            runs |= {run.id for run in others}
            names |= {source.name for source in sources(config.parts()).values()}
    if not runs:
        return None
    verb = "has" if len(names) == 1 else "have"
    one = len(runs) == 1
    return (
        f"{', '.join(sorted(names))} {verb} changed: {'1 run' if one else f'{len(runs)} runs'} of another version "
        f"{'is' if one else 'are'} kept, and the present version is trained under other names"
    )
