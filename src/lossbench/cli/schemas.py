"""Conversion of Hydra's YAML files and overrides to the plain dataclasses of `config`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.config.run import Config, Schedule
from lossbench.studies.options import Reproduce

CONF = Path(__file__).parents[3] / "conf"
"""The folder of the YAML files."""


def register_schemas() -> None:
    """Register the dataclasses with Hydra as the schemas that the YAML files name."""
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=Config)
    store.store(group="schema", name="reproduce", node=Reproduce)
    store.store(group="schema/schedule", name="schedule", node=Schedule)
    registries: dict[str, Mapping[str, Any]] = {"dataset": DATASETS, "model": MODELS, "loss": LOSSES}
    for group, registry in registries.items():
        for name in registry:
            options: Any = registry[name].options
            store.store(group=f"schema/{group}", name=name, node=options)
            if not (CONF / group / f"{name}.yaml").exists():  # a plugin, whose defaults are those of its dataclass
                store.store(group=group, name=name, node=options(name=name) if group == "dataset" else options)
            if group == "dataset" and not (CONF / "schedule" / f"{name}.yaml").exists():
                store.store(group="schedule", name=name, node=Schedule)


def to_config(composed: Any, schema: type[Config] | type[Reproduce] | None = None) -> Any:
    """The composed Hydra config as the plain, validated dataclass of its schema, `Config` or `Reproduce`.

    Raises:
        ValueError: a value is out of range, an unknown key was added, or the config is not of the given schema.
    """
    if schema is not None and OmegaConf.get_type(composed) is not schema:
        known = "one run" if schema is Config else "the paper's tables"
        raise ValueError(f"--config-name names a config that is not of {known}, as this command needs; leave it out")
    config: Any = OmegaConf.to_object(composed)
    _refuse_unknown(OmegaConf.to_container(composed), asdict(config), "")
    return config


def _refuse_unknown(given: Any, known: Mapping[str, Any], path: str) -> None:
    """Refuse keys added by Hydra's `+key=value` that are not in the schema; they would have no effect."""
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{path}{key} is no option; there are {', '.join(path + name for name in known)}")
        if isinstance(value, Mapping):
            _refuse_unknown(value, known[key], f"{path}{key}.")
