"""Runs that differ from a planned one in the version of a plugin alone."""

import json
from collections.abc import Iterable
from dataclasses import asdict

from lossbench import NUMERICS
from lossbench.config.registry import sources
from lossbench.config.run import Config, name_of
from lossbench.runs.folder import Run, open_run, runs_dir
from lossbench.system.files import read_file


def other_versions(config: Config) -> list[Run]:
    """The runs of the same config with another version of its plugins, done or not."""
    if not config.plugins:
        return []
    own = open_run(config)
    plain = name_of(asdict(config) | {"plugins": None}, NUMERICS)
    words = plain.rpartition("-")[0]
    found = []
    for folder in sorted(runs_dir(config.runtime.output_dir).glob(f"{words}-????????")):
        if folder.name == own.id:
            continue
        try:
            known = json.loads(read_file(folder / "config.json"))
            same = bool(known.get("plugins")) and name_of(known | {"plugins": None}, NUMERICS) == plain
        except (OSError, ValueError, LookupError, TypeError, AttributeError):  # damaged: `lossbench verify` names it
            continue
        if same:
            found.append(Run(folder))
    return found


def versions_sentence(configs: Iterable[Config]) -> str | None:
    """How many runs of other versions of the configs' plugins there are, in a sentence; None without any."""
    count, names = 0, set()
    for config in configs:
        if others := other_versions(config):
            count += len(others)
            names |= {source.name for source in sources(config.parts()).values()}
    if not count:
        return None
    runs = "1 run" if count == 1 else f"{count} runs"
    return (
        f"{', '.join(sorted(names))} has changed: {runs} of an earlier version stay as they are, under names of their "
        "own, and the new version is trained"
    )
