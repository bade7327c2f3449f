"""The rules of a comparison as a file, written before its first run and never changed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from lossbench import NUMERICS, __version__
from lossbench.config.run import Config, run_id
from lossbench.studies.comparison import Comparison
from lossbench.studies.results import Results
from lossbench.system.files import write_bytes
from lossbench.system.machine import commit

RULES = "rules.json"
FOLDER = "comparisons"
"""Of the output folder: it has a folder for each comparison."""


@dataclass(frozen=True)
class FixedRules:
    """When a comparison's rules were fixed, and what was known then.

    Args:
        name: of the comparison.
        created: the time, as ISO 8601 in UTC.
        runs_before: runs of the comparison that had finished or diverged by then.
        rules: everything that is fixed, as plain JSON.
        version: of lossbench.
        commit: of lossbench's repository; None: unknown.
    """

    name: str
    created: str
    runs_before: int
    rules: Mapping[str, Any]
    version: str
    commit: str | None

    @property
    def day(self) -> str:
        """The date of the rules."""
        return self.created[:10]


def folder_of(output_dir: str | Path, name: str) -> Path:
    """The folder of a comparison."""
    return Path(output_dir) / FOLDER / name


def default_name(comparison: Comparison) -> str:
    """Data set, network, and a hash of the losses and their schedule, whatever the baseline, margin and seeds."""
    runs = sorted(run_id(config) for config in comparison.losses.values())
    digest = hashlib.sha256(json.dumps([runs, comparison.rules.rates.grid]).encode()).hexdigest()[:8]
    return f"{comparison.config.dataset.name}-{comparison.config.model.name}-{digest}"


def written_rules(comparison: Comparison) -> dict[str, Any]:
    """What a comparison fixes, as plain JSON: losses by label with the name of their first run, and its rules."""
    rules = asdict(comparison.rules)
    rules["losses"] = {label: run_id(config) for label, config in comparison.losses.items()}
    rules["common_lr"] = {label: config.schedule.lr for label, config in comparison.losses.items()}
    rules["numerics"] = NUMERICS
    plain: dict[str, Any] = json.loads(json.dumps(rules))
    return plain


def fix_rules(output_dir: str | Path, name: str, comparison: Comparison, results: Results) -> FixedRules:
    """The comparison's rules from its file, or, where there is none, written now.

    Raises:
        ValueError: the file has other rules, or is damaged.
    """
    folder, wanted = folder_of(output_dir, name), written_rules(comparison)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".rules.lock"):
        known = read_rules(output_dir, name)
        if known is None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            known = FixedRules(name, now, _num_known(comparison, results), wanted, __version__, commit())
            try:
                write_bytes(folder / RULES, (json.dumps(asdict(known), indent=1) + "\n").encode(), once=True)
            except FileExistsError:  # by another host, which this one's lock may not reach
                known = read_rules(output_dir, name) or known
        _refuse_others(folder / RULES, known, wanted)
        return known


def read_rules(output_dir: str | Path, name: str) -> FixedRules | None:
    """The rules of a comparison; None: it has none yet.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder_of(output_dir, name) / RULES
    if not path.exists():
        return None
    try:
        return FixedRules(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged; remove it, and the comparison's rules are fixed anew") from error


def _refuse_others(path: Path, known: FixedRules, wanted: Mapping[str, Any]) -> None:
    for key in {**known.rules, **wanted}:
        before, now = known.rules.get(key), wanted.get(key)
        if before != now:
            shown = [_in_points(key, value) for value in (before, now)]
            raise ValueError(
                f"{path} fixed {key.replace('_', ' ')} {shown[0]} on {known.day}, and now it is {shown[1]}; name=... "
                "makes another comparison, whose page says how many of its runs were known before"
            )


def _in_points(key: str, value: Any) -> str:
    if key in ("losses", "common_lr") and isinstance(value, dict):
        return ", ".join(value if key == "losses" else map(str, sorted(set(value.values()))))
    if key == "margin":
        return f"{100 * value:g}"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _num_known(comparison: Comparison, results: Results) -> int:
    """Runs that any outcome of the comparison may use and that are done."""
    configs: list[Config] = []
    for label in comparison.losses:
        configs += comparison.at(label).configs
        for lr in comparison.rules.rates.steps:
            configs += [*comparison.selecting(label, lr), *comparison.at(label, lr).configs]
    return sum(
        results.value(config, lambda record: 0.0) is not None for config in {run_id(c): c for c in configs}.values()
    )
