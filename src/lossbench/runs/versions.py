"""Runs that were done with another version of a plugin than a planned one."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from lossbench import NUMERICS
from lossbench.config.registry import sources
from lossbench.config.run import Config, name_of
from lossbench.runs.folder import Run, runs_dir
from lossbench.system.files import read_file


def other_versions(config: Config) -> list[Run]:
    """The runs that equal a config but for another version of a plugin and the options of what it registers."""
    if not config.plugins:
        return []
    words, _, wanted = _without_plugins(asdict(config)).rpartition("-")
    found = []
    for folder in sorted(runs_dir(config.runtime.output_dir).glob(f"{words}-????????")):
        try:
            known = json.loads(read_file(folder / "config.json"))
            same = _without_plugins(known).rpartition("-")[2] == wanted
            is_other = known["plugins"] != config.plugins and known["plugins"].keys() == config.plugins.keys()
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # damaged: `lossbench verify` names it
            continue
        if same and is_other:
            found.append(Run(folder))
    return found


def _without_plugins(config: Mapping[str, Any]) -> str:
    """The name that a run would have if plugins had neither versions nor options."""
    parts = {part: {"name": config[part]["name"]} for part in config["plugins"]}
    return name_of({**config, **parts, "plugins": None}, NUMERICS)


def versions_sentence(configs: Iterable[Config]) -> str | None:
    """How many runs of other versions of the configs' plugins there are, in a sentence; None without any."""
    runs, names = set(), set()
    for config in configs:
        if others := other_versions(config):
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
