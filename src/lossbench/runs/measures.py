"""What tables show of a finished run: a number of its record, by name."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from lossbench.config.registry import LOSSES, Map

LARGE = 1e7
"""Numbers from here on have a power of ten."""

UNNORMALISED = ("sigmoid", "shifted")
"""Maps whose probabilities do not sum to 1."""


@dataclass(frozen=True)
class Measure:
    """A number of a finished run.

    Args:
        name: as --metric has it.
        label: as tables write it, with its unit.
        read: from a run's record; None or a number that is not finite where the record has none.
        digits: after the point, as tables round it.
        factor: from the record's unit to the table's.
        best: which end is better; None: neither.
    """

    name: str
    label: str
    read: Callable[[Mapping[str, Any]], Any]
    digits: int = 2
    factor: float = 1.0
    best: Callable[[list[float]], float] | None = None

    def of(self, record: Mapping[str, Any]) -> float | None:
        """The number, in the record's unit; None where the record has none."""
        try:
            value = self.read(record)
        except (KeyError, TypeError):
            return None
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None

    def text(self, value: float, sign: str = "") -> str:
        """The number as tables write it; a very large one with a power of ten."""
        number = self.factor * value
        return f"{number:{sign}.3e}" if abs(number) >= LARGE else f"{number:{sign}.{self.digits}f}"


def compared_map(record: Mapping[str, Any]) -> Map:
    """The map by which the probabilities of a run are compared with those of other losses; they sum to 1."""
    name, chosen = record["config"]["loss"]["name"], plugin_fact(record, "loss", "compared")
    if chosen is None and name in LOSSES:
        chosen = LOSSES[name].compared
    scores = record.get("scores", {})
    if chosen is not None and (chosen != "own" or "own" in scores or not scores):
        return cast("Map", chosen)
    maps = [one for one in scores if one not in (*UNNORMALISED, "tempered", "own")]
    return cast("Map", maps[0] if maps else "softmax")


def plugin_fact(record: Mapping[str, Any], part: str, key: str) -> Any:
    """What a record keeps of the plugin of its data set, network or loss; None: there is no plugin, or it lacks it."""
    plugins = record.get("plugins")
    facts = plugins.get(part) if isinstance(plugins, Mapping) else None
    return facts.get(key) if isinstance(facts, Mapping) else None


def _field(key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record[key]


def _score(key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record["scores"][compared_map(record)][key]


def _nll(record: Mapping[str, Any]) -> float:
    """From the scores; with more classes than scores are kept for, that of the softmax of the logits."""
    if record.get("scores"):
        return float(record["scores"][compared_map(record)]["nll"])
    return math.log(record["metrics"]["test/perplexity"])


def _of_band(band: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record["by_frequency"][band]["accuracy"]


def _tempered(key: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record["scores"]["tempered"][key]


def _area(record: Mapping[str, Any]) -> float:
    from lossbench.statistics.inference import area_under_curve  # not before: it imports scipy

    return area_under_curve(record["curves"]["test/accuracy"])


def _epochs_to_end(record: Mapping[str, Any]) -> float:
    from lossbench.statistics.inference import epochs_to_end

    return epochs_to_end(record["curves"]["test/accuracy"])


def nll_above_bayes(record: Mapping[str, Any]) -> float:
    """A run's NLL less that of the true posterior on the same test samples, in nats.

    It estimates the mean Kullback-Leibler divergence from the true posterior. The NLL is that of the map by which the
    run's loss is compared, or, with more classes than scores are kept for, that of the softmax of the logits.

    Raises:
        KeyError: the true posterior is not known, or the NLL is not in the record.
    """
    above: float = record["bayes"]["nll"]
    return _nll(record) - above


_PERCENT: dict[str, Any] = {"factor": 100.0, "best": max}
_BANDS = {"head": "frequent", "middle": "middle", "tail": "rare"}
_SCORES = {"nll": "NLL (nats)", "brier": "Brier score", "ece": "ECE", "adaptive_ece": "adaptive ECE"}

MEASURES: Mapping[str, Measure] = {
    one.name: one
    for one in (
        Measure("accuracy", "Test accuracy (%)", _field("test_accuracy"), **_PERCENT),
        Measure("best", "Test accuracy (%), best epoch", _field("test_accuracy_best"), **_PERCENT),
        Measure("train_accuracy", "Training accuracy (%)", _field("train_accuracy"), **_PERCENT),
        Measure("area", "Test accuracy (%), mean over epochs", _area, **_PERCENT),
        Measure("epochs_to_end", "Epochs to the end", _epochs_to_end, digits=1, best=min),
        Measure("test_loss", "Test loss (nats)", _field("test_loss"), digits=4),
        *(
            Measure(key, label, _nll if key == "nll" else _score(key), digits=4, best=min)
            for key, label in _SCORES.items()
        ),
        Measure("macro_recall", "Macro recall (%)", _field("macro_recall"), **_PERCENT),
        *(
            Measure(f"{band}_accuracy", f"Test accuracy (%), {words} classes", _of_band(band), **_PERCENT)
            for band, words in _BANDS.items()
        ),
        Measure("nll_above_bayes", "NLL above the true posterior's (nats)", nll_above_bayes, digits=4, best=min),
        Measure("overconfidence", "Mean confidence less accuracy", _score("overconfidence"), digits=4),
        *(
            Measure(f"tempered_{key}", f"{label}, tempered", _tempered(key), digits=4, best=min)
            for key, label in _SCORES.items()
        ),
        Measure("time", "Time (s)", _field("wall_s"), digits=1, best=min),
        Measure("step_ms", "Time a step (ms)", _field("step_ms"), digits=2, best=min),
        Measure("images_per_s", "Images a second", _field("images_per_s"), digits=0, best=max),
        Measure("memory", "Memory (MB)", _field("peak_memory_mb"), digits=1, best=min),
        Measure("parameters", "Parameters", _field("num_parameters"), digits=0),
    )
}
"""What --metric may name of any record; a record's own metrics come on top."""


def measure(name: str, records: list[Mapping[str, Any]]) -> Measure:
    """The measure of a name.

    Args:
        name: of `MEASURES`, or of what the runs' data set declares to be measured by.
        records: the finished runs' records.

    Raises:
        ValueError: there is none; the sentence has the list.
    """
    if name in MEASURES:
        return MEASURES[name]
    given = (record.get("metrics") for record in records)
    own = dict.fromkeys(key.removeprefix("test/") for one in given if isinstance(one, Mapping) for key in one)
    if name not in own:
        known = [*MEASURES, *own]
        raise ValueError(f"there is no metric {name}; there are {', '.join(known)}")
    if name.endswith("accuracy"):
        return Measure(name, f"Test {name.replace('_', ' ')} (%)", _own(name), **_PERCENT)
    return Measure(name, f"Test {name.replace('_', ' ')}", _own(name), digits=4)


def _own(name: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda record: record["metrics"][f"test/{name}"]
