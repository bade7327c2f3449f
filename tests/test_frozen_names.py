"""Every committed run keeps its name: its config, rebuilt from the dataclasses, has the name of its record."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from lossbench import NUMERICS
from lossbench.config.registry import DATASETS, LOSSES, MODELS
from lossbench.config.run import Config, Runtime, Schedule, run_id

RESULTS = Path(__file__).parents[1] / "results"
RECORDS = [
    json.loads(line)
    for name in ("records.jsonl", "failures.jsonl")
    for line in (RESULTS / name).read_text().splitlines()
]


def built(kind: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass from a record's JSON; an option that the record does not know keeps its default."""
    hints, given = get_type_hints(kind), {}
    for field in fields(kind):
        if field.name in values:
            value = values[field.name]
            kinds = [one for one in (get_args(hints[field.name]) or (hints[field.name],)) if one is not type(None)]
            is_word = isinstance(value, str) and isinstance(kinds[0], type) and kinds[0] is not str
            given[field.name] = kinds[0](value) if is_word else value
    return kind(**given)


def config_of(record: Mapping[str, Any]) -> Config:
    known = record["config"]
    registries: dict[str, Any] = {"dataset": DATASETS, "model": MODELS, "loss": LOSSES}
    kinds = {group: registry[known[group]["name"]].options for group, registry in registries.items()}
    parts = {group: built(kind, known[group]) for group, kind in (kinds | {"schedule": Schedule}).items()}
    return Config(**parts, seed=known["seed"], runtime=Runtime())


def test_numerics_stays_unless_numbers_change() -> None:
    assert NUMERICS == 2
    assert {record["numerics"] for record in RECORDS} == {NUMERICS}


def test_every_committed_run_keeps_its_name() -> None:
    assert len(RECORDS) >= 458
    moved = {record["run_id"]: name for record in RECORDS if (name := run_id(config_of(record))) != record["run_id"]}
    assert moved == {}, "an option of an existing dataclass was renamed or removed, or has a default that is not None"


@pytest.mark.parametrize("key", ["dataset", "model", "loss", "schedule"])
def test_a_renamed_option_would_be_noticed(key: str) -> None:
    names = {"loss": "lgl_inr", "model": "cnn2c"}
    record = next(one for one in RECORDS if all(one["config"][part]["name"] == name for part, name in names.items()))
    option = {"dataset": "normalization", "model": "head", "loss": "beta", "schedule": "lr"}[key]
    changed = {name: value for name, value in record["config"][key].items() if name != option}
    other = {"dataset": "none", "model": "direct", "loss": 3.0, "schedule": 0.5}[key]
    renamed = {**record, "config": {**record["config"], key: {**changed, option: other}}}
    assert run_id(config_of(renamed)) != record["run_id"]
