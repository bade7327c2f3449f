"""The config of a record as the dataclasses that it was written from."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import Enum
from typing import Any, get_args, get_type_hints

from lossbench.config.options import LossConfig
from lossbench.config.registry import PARTS
from lossbench.config.run import Config, Runtime, Schedule, name_of


def config_of(record: Mapping[str, Any], runtime: Runtime) -> Config:
    """The run that a record is of.

    Args:
        record: its fields.
        runtime: where and how it is done now.

    Raises:
        ValueError: a plugin of the run is not loaded, or is another version; or an option is not known any more.
    """
    known = record["config"]
    dataset, model, loss = (part_of(record, part) for part in PARTS)
    schedule = _options(Schedule, known["schedule"], record["run_id"], "schedule")
    config = Config(dataset, model, loss, schedule, known["seed"], runtime)
    name = name_of(asdict(config), record["numerics"])
    if name != record["run_id"]:
        raise ValueError(f"{record['run_id']} is a run of another version of lossbench; here its config is {name}")
    return config


def part_of(record: Mapping[str, Any], part: str) -> Any:
    """The options of a run's data set, network or loss.

    Args:
        record: the run's.
        part: "dataset", "model" or "loss".

    Raises:
        ValueError: its plugin is not loaded, or is another version; or it or an option of it is not known.
    """
    run, given, registry = record["run_id"], record["config"][part], PARTS[part]
    name, sha256 = given["name"], (record["config"].get("plugins") or {}).get(part)
    known = name in registry
    source = registry.source(name)
    if sha256 is not None:
        plugin = record.get("plugins", {}).get(part, {}).get("plugin", "unknown")
        if source is None:
            load = f"load it with --plugin or LOSSBENCH_PLUGINS={plugin}" if plugin.endswith(".py") else "install it"
            raise ValueError(f"{run} needs {part}={name} of the plugin {plugin}, which is not loaded; {load}")
        if source.sha256 != sha256:
            raise ValueError(
                f"{run} needs {part}={name} of the plugin {plugin} with the SHA-256 {sha256[:12]}..., and that of "
                f"{source.name} is {source.sha256[:12]}...; load the version that the run was trained with"
            )
    if not known:
        raise ValueError(f"{run} has {part}={name}, which is not registered; there are {', '.join(registry)}")
    return _options(registry[name].options, given, run, part)


def loss_of(record: Mapping[str, Any]) -> LossConfig | str:
    """The options of a run's loss; its name alone if its plugin or an option is not known here."""
    try:
        loss: LossConfig = part_of(record, "loss")
    except ValueError:
        return str(record["config"]["loss"]["name"])
    return loss


def _options(kind: type, given: Mapping[str, Any], run: str, part: str) -> Any:
    """An instance of a dataclass; words are made the members of enumerations that they stand for."""
    hints, known = get_type_hints(kind), {field.name for field in fields(kind)}
    if unknown := sorted(given.keys() - known):
        raise ValueError(f"{run} has the option {part}.{unknown[0]}, which is not known; another version made it")
    return kind(**{key: _typed(hints[key], value) for key, value in given.items()})


def _typed(hint: Any, value: Any) -> Any:
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and issubclass(kind, Enum) and value is not None:
            return kind(value)
    return value
