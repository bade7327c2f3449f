"""Conversion of Hydra's YAML files and overrides to the plain dataclasses of `config`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.config.run import Config, Schedule
from lossbench.engines.options import LAUNCHERS, Launcher
from lossbench.studies.options import Reproduce
from lossbench.system.shipped import CONF


class _Shared(dict[str, Any]):
    """Schemas that copies of the store share, since Hydra copies all of them at each composition."""

    def __deepcopy__(self, memo: Any) -> "_Shared":
        return self


_registered: dict[tuple[str, str], Any] = {}


def _store(group: str, name: str, node: Any) -> None:
    """Store a schema in Hydra's store, once, since a copy is made of it."""
    if _registered.get((group, name)) is not node:
        ConfigStore.instance().store(group=group, name=name, node=node)
        _registered[group, name] = node


@dataclass
class RunOptions(Config):
    """The options of `lossbench train`: those of a run, and where it is executed."""

    launcher: Launcher = field(default_factory=Launcher)


@dataclass
class ReproduceOptions(Reproduce):
    """The options of `lossbench reproduce`: what it does, and where runs are executed."""

    launcher: Launcher = field(default_factory=Launcher)


def register_schemas() -> None:
    """Register the dataclasses with Hydra as the schemas that the YAML files name."""
    store = ConfigStore.instance()
    if not isinstance(store.repo, _Shared):
        store.repo = _Shared(store.repo)
    _store("schema", "run", RunOptions)
    _store("schema", "reproduce", ReproduceOptions)
    for name, launcher in LAUNCHERS.items():
        _store("schema/launcher", name, launcher)
    _store("schema/schedule", "schedule", Schedule)
    registries: dict[str, Mapping[str, Any]] = {"dataset": DATASETS, "model": MODELS, "loss": LOSSES}
    for group, registry in registries.items():
        for name in registry:
            options: Any = registry[name].options
            _store(f"schema/{group}", name, options)
            if not (CONF / group / f"{name}.yaml").exists():  # a plugin, whose defaults are those of its dataclass
                store.store(group=group, name=name, node=options(name=name) if group == "dataset" else options)
            if group == "dataset" and not (CONF / "schedule" / f"{name}.yaml").exists():
                _store("schedule", name, Schedule)


def to_config(composed: Any, schema: type[Config] | type[Reproduce] | None = None) -> Any:
    """The composed Hydra config as the plain, validated dataclass of its schema, `Config` or `Reproduce`.

    Raises:
        ValueError: a value is out of range, an unknown key was added, or the config is not of the given schema.
    """
    return to_options(composed, schema)[0]


def to_options(composed: Any, schema: type[Config] | type[Reproduce] | None = None) -> tuple[Any, Launcher]:
    """As `to_config`, and the options of the launcher."""
    expected = RunOptions if schema is Config else ReproduceOptions
    if schema is not None and OmegaConf.get_type(composed) is not expected:
        known = "one run" if schema is Config else "the paper's tables"
        raise ValueError(f"--config-name names a config that is not of {known}, as this command needs; leave it out")
    options: Any = OmegaConf.to_object(composed)
    _refuse_unknown(OmegaConf.to_container(composed), asdict(options), "")
    kind = Config if isinstance(options, Config) else Reproduce
    return kind(**{part.name: getattr(options, part.name) for part in fields(kind)}), options.launcher


def _refuse_unknown(given: Any, known: Mapping[str, Any], path: str) -> None:
    """Refuse keys added by Hydra's `+key=value` that are not in the schema; they would have no effect."""
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{path}{key} is no option; there are {', '.join(path + name for name in known)}")
        if isinstance(value, Mapping):
            _refuse_unknown(value, known[key], f"{path}{key}.")
