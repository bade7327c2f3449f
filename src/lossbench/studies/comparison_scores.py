"""What a comparison says beyond accuracy: probabilities, raw and after one temperature, and accuracies of classes."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lossbench.config.registry import LOSSES, Map
from lossbench.config.run import Config
from lossbench.report.blocks import Block, Paragraph
from lossbench.report.classes import class_names
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER
from lossbench.runs.groups import moments
from lossbench.statistics.calibration import FLOOR, Floats, OwnMap, Scores, log_probabilities, own_map
from lossbench.statistics.temperature import common_temperature, fitted_temperature, scores_at
from lossbench.studies.compared import Compared, LossResult
from lossbench.studies.comparison_tables import named, num_classes
from lossbench.studies.comparison_words import Condition

KEYS = {"nll": "NLL", "brier": "Brier", "ece": "ECE", "adaptive_ece": "Adaptive ECE"}
"""The scores shown, with their headings."""

NO_LINK = ", no link"
"""What is said of softmax where no map gives the posterior from the loss's minimiser."""

TOP = 5
"""Classes among which the true one counts as found."""


@dataclass(frozen=True)
class LossScores:
    """Scores of a loss's probabilities through one map, a value a reported run.

    Args:
        label: of the loss.
        words: the map.
        raw: scores as they are.
        zeros: shares of the test images whose class has probability 0.
        temperature: the geometric mean of those fitted on the selection seeds' held-out images; nan: no logits.
        seeds: how many were fitted.
        tempered: scores after it; empty without a temperature.
    """

    label: str
    words: str
    raw: tuple[Scores, ...]
    zeros: tuple[float, ...]
    temperature: float
    seeds: int
    tempered: tuple[Scores, ...]


@dataclass(frozen=True)
class _Logits:
    """Of a run's test or held-out images, [N, K], with their classes [N]."""

    values: Floats
    labels: np.ndarray

    def through(self, one: "_Reading") -> Callable[[float], Floats]:
        """Logarithms of a map's probabilities by temperature."""
        return partial(log_probabilities, self.values, one.name, own=one.own)


@dataclass(frozen=True)
class _Reading:
    """A map by which logits are read: in words, as registered, and as a function where it is the loss's own."""

    words: str
    name: Map
    own: OwnMap | None = None

    @property
    def floor(self) -> float:
        """Of probabilities in the NLL: a loss's own map may give zeros."""
        return FLOOR if self.name == "own" else 0.0


def _logits(compared: Compared, configs: Iterable[Config]) -> list[tuple[Config, _Logits]]:
    """The logits of runs that have kept them and whose classes are known."""
    found = []
    for config in configs:
        arrays, labels = compared.results.arrays(config), compared.results.test_labels(config)
        if arrays is not None and labels is not None and "test_logits" in arrays:
            found.append((config, _Logits(np.asarray(arrays["test_logits"], np.float64), np.asarray(labels, int))))
    return found


def loss_scores(compared: Compared, one: LossResult, condition: Condition) -> list[LossScores]:
    """The scores of a loss through its own map and through softmax; empty without logits or scores in the records."""
    known = condition.accuracies(one)
    if known.cell is None:
        return []
    configs = [config for config in known.cell.configs if compared.results.record(config) is not None]
    logits = _logits(compared, configs)
    lr = known.cell.config.schedule.lr
    held_out = _logits(compared, compared.comparison.selecting(one.label, lr)) if logits and lr in one.curve else []
    found = []
    for reading in _readings(compared, configs):
        if logits:
            found.append(_scores(one.label, reading, [run for _, run in logits], [run for _, run in held_out]))
        elif kept := _kept(compared, configs, reading.name):
            found.append(LossScores(one.label, reading.words, *kept, math.nan, 0, ()))
    return found


def _readings(compared: Compared, configs: Sequence[Config]) -> list[_Reading]:
    """The map that belongs to a loss, and softmax where that is another one."""
    if not configs:
        return []
    loss = configs[0].loss
    facts = LOSSES[loss.name]
    softmax = _Reading(f"softmax{NO_LINK * (facts.posterior == 'none')}", "softmax")
    if facts.compared == "own":
        own = own_map(loss, num_classes(compared), _class_counts(compared, configs))
        return [softmax] if own is None else [_Reading("own", "own", own), softmax]
    if facts.compared == "softmax":
        return [softmax]
    return [_Reading(f"own ({facts.compared.replace('_', ', ')})", facts.compared), softmax]


def _class_counts(compared: Compared, configs: Iterable[Config]) -> np.ndarray | None:
    """The number of training samples of each class, [K], as a record of the runs has it."""
    for config in configs:
        record = compared.results.record(config)
        if record is not None and record.fields.get("class_counts"):
            return np.asarray(record.fields["class_counts"], np.float64)
    return None


def _scores(label: str, reading: _Reading, runs: list[_Logits], held_out: list[_Logits]) -> LossScores:
    floor = reading.floor
    temperatures = [fitted_temperature(run.through(reading), run.labels, floor) for run in held_out]
    temperature = common_temperature(temperatures)

    def scored(at: float) -> list[tuple[Scores, float]]:
        return [scores_at(run.through(reading), run.labels, run.values.argmax(axis=1), at, floor) for run in runs]

    raw, tempered = scored(1.0), scored(temperature) if temperatures else []
    return LossScores(
        label,
        reading.words,
        tuple(scores for scores, _ in raw),
        tuple(zeros for _, zeros in raw),
        temperature,
        len(temperatures),
        tuple(scores for scores, _ in tempered),
    )


def _kept(
    compared: Compared, configs: Iterable[Config], name: Map
) -> tuple[tuple[Scores, ...], tuple[float, ...]] | None:
    """The scores and shares of zeros in the records of runs without logits; None: there are none."""
    found, zeros = [], []
    for config in configs:
        record = compared.results.record(config)
        kept: Any = record.fields.get("scores", {}).get(name) if record else None
        if isinstance(kept, Mapping) and Scores.__annotations__.keys() <= kept.keys():
            found.append(Scores(**{key: float(kept[key]) for key in Scores.__annotations__}))
            zeros.append(float(kept.get("zeros", 0.0)))
    return (tuple(found), tuple(zeros)) if found else None


def all_scores(compared: Compared, condition: Condition) -> list[LossScores]:
    """The scores of all losses."""
    return [scores for one in compared.losses for scores in loss_scores(compared, one, condition)]


def scores_blocks(compared: Compared, condition: Condition, found: list[LossScores]) -> list[Block]:
    """A table of the scores, before and after temperature."""
    if not found:
        return [Paragraph("No reported run has kept its logits or scores.")]
    has_zeros = any(any(one.zeros) for one in found)
    has_temperature = any(one.seeds for one in found)
    rows = {}
    for one in found:
        line = {"n": str(len(one.raw))} | {heading: _mean(one.raw, key) for key, heading in KEYS.items()}
        if has_temperature:
            line["T"] = f"{one.temperature:.2f}" if one.seeds else NO_NUMBER
            line |= {f"{heading} at T": _mean(one.tempered, key) for key, heading in KEYS.items()}
        if has_zeros:
            line["p = 0 (%)"] = f"{100 * np.mean(one.zeros):.2f}" if one.zeros else NO_NUMBER
        rows[named(compared, one.label), one.words] = line
    where = "at the own learning rates" if condition.name == "own" else "at the common learning rate"
    caption = (
        f"Scores of the test images' probabilities {where}, through the map that belongs to the loss and through "
        "softmax: means over n reported seeds; lower is better. NLL in nats; ECE with 15 bins of equal width, adaptive "
        "ECE with 15 of equal count."
    )
    if has_temperature:
        caption += (
            " T: the temperature that divides the logits of every reported run, the geometric mean of those with the "
            f"lowest NLL on the held-out training images of {_told(found)} at the same learning rate. No test image "
            "takes part in its choice."
        )
    if has_zeros:
        caption += (
            " p = 0: test images whose class has probability 0, for which the NLL would be infinite. In the NLL of a "
            f"loss's own map, probabilities below {FLOOR:g} count as {FLOOR:g}."
        )
    if any(one.words.endswith(NO_LINK) for one in found):
        caption += (
            " No link: no map gives the class probabilities from the loss's minimiser; softmax is there for comparison "
            "alone."
        )
    return [table(rows, ["Loss", "Map"], caption)]


def _told(found: Iterable[LossScores]) -> str:
    """How many selection runs a temperature is from."""
    counts = sorted({one.seeds for one in found if one.seeds})
    number = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"{number} selection run{'s' * (number != '1')}"


def _mean(scores: Iterable[Scores], key: str) -> str:
    values = [float(getattr(one, key)) for one in scores]
    return f"{np.mean(values):.4f}" if values else NO_NUMBER


def scores_frame(found: list[LossScores]) -> pd.DataFrame:
    """Means and standard deviations of all scores, as CSV."""
    lines = []
    for one in found:
        for words, scores in (("raw", one.raw), ("tempered", one.tempered)):
            line: dict[str, Any] = {"loss": one.label, "map": one.words, "probabilities": words, "n": len(scores)}
            line["temperature"] = one.temperature if words == "tempered" else 1.0
            line["share_of_zeros"] = float(np.mean(one.zeros)) if one.zeros and words == "raw" else math.nan
            for key in Scores.__annotations__:
                of_key = moments(float(getattr(run, key)) for run in scores)
                line |= {f"{key}_mean": of_key.mean, f"{key}_sd": of_key.sd}
            lines += [line] if scores else []
    return pd.DataFrame(lines)


@dataclass(frozen=True)
class ClassScores:
    """Accuracies of classes of a run, fractions; nan where they are not known.

    Args:
        recalls: of each class, [K]; nan: it has no test images.
        top: share of images whose class is among the `TOP` highest logits; nan with `TOP` classes or fewer.
    """

    recalls: np.ndarray
    top: float


def class_scores(compared: Compared, config: Config) -> ClassScores | None:
    """Accuracies of classes of a run; None without its arrays."""
    arrays, labels = compared.results.arrays(config), compared.results.test_labels(config)
    if arrays is None:
        return None
    if "confusion_matrix" in arrays:
        counts = np.asarray(arrays["confusion_matrix"], np.float64)
        right, sizes = counts.diagonal(), counts.sum(axis=1)
    elif labels is not None and "test_predictions" in arrays:
        predicted, num = np.asarray(arrays["test_predictions"]), int(labels.max()) + 1
        right = np.bincount(labels[predicted == labels], minlength=num).astype(float)
        sizes = np.bincount(labels, minlength=num).astype(float)
    else:
        return None
    recalls = np.divide(right, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)
    return ClassScores(recalls, _top(compared, config, arrays, labels))


def _top(compared: Compared, config: Config, arrays: Mapping[str, np.ndarray], labels: np.ndarray | None) -> float:
    record = compared.results.record(config)
    kept = record.fields.get("metrics", {}).get("test/top5_accuracy") if record else None
    if isinstance(kept, float):
        return kept
    if "test_logits" not in arrays or labels is None or arrays["test_logits"].shape[1] <= TOP:
        return math.nan
    logits = np.asarray(arrays["test_logits"], np.float32)
    best = np.argpartition(-logits, TOP - 1, axis=1)[:, :TOP]
    return float((best == np.asarray(labels)[:, None]).any(axis=1).mean())


def classes_blocks(compared: Compared, condition: Condition) -> list[Block]:
    """Macro recall, the worst class and top-5 accuracy of each loss."""
    rows = {}
    for one in compared.losses:
        cell = condition.accuracies(one).cell
        configs = [config for config in cell.configs if compared.results.record(config) is not None] if cell else []
        found = [known for config in configs if (known := class_scores(compared, config))]
        if found:
            rows[named(compared, one.label)] = _classes_line(compared, found)
    if not rows:
        return [Paragraph("No reported run has kept its confusion matrix.")]
    where = "at the own learning rates" if condition.name == "own" else "at the common learning rate"
    caption = (
        f"Accuracies of classes on the test images {where}, in percent: mean ± standard deviation over n seeds. Macro "
        "recall: the mean of the classes' accuracies. Worst class: the one with the lowest mean accuracy over seeds. "
        "Lowest: the mean over seeds of the accuracy of a seed's own worst class."
    )
    return [table(rows, ["Loss"], caption)]


def _classes_line(compared: Compared, found: list[ClassScores]) -> dict[str, str]:
    recalls = np.array([one.recalls for one in found])  # [n, K]
    known = ~np.isnan(recalls).all(axis=0)
    means = np.where(known, np.nanmean(np.where(known, recalls, 0.0), axis=0), np.nan)
    worst = int(np.nanargmin(means))
    dataset = compared.comparison.config.dataset
    names = class_names(dataset.name, len(means), dataset.classes)
    tops = [one.top for one in found if not math.isnan(one.top)]
    line = {
        "n": str(len(found)),
        "Macro recall": _spread(np.nanmean(recalls, axis=1)),
        "Worst class": f"{names[worst]}, {_spread(recalls[:, worst])}",
        "Lowest": _spread(np.nanmin(recalls, axis=1)),
    }
    return line | ({f"Top {TOP}": _spread(tops)} if tops else {f"Top {TOP}": NO_NUMBER})


def _spread(values: Iterable[float]) -> str:
    found = moments(float(value) for value in values)
    return f"{100 * found.mean:.2f}" + ("" if math.isnan(found.sd) else f" ± {100 * found.sd:.2f}")
