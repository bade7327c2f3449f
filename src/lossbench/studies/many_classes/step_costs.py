"""Cost of output layer, loss and update by the number of classes: time, memory, operations, and how they grow."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import median
from typing import Any

import numpy as np

from lossbench.config.options import LossConfig
from lossbench.losses.adaptive_softmax import AdaptiveSoftmax
from lossbench.losses.full_softmax import FullSoftmax
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.nce import Nce
from lossbench.losses.rg2_features import Rg2Features
from lossbench.losses.sampled_lgl import SampledLgl
from lossbench.losses.sampled_softmax import SampledSoftmax
from lossbench.losses.sampling import Proposal
from lossbench.losses.sparsemax import Sparsemax
from lossbench.report.blocks import Block, Paragraph, Table
from lossbench.report.growth_figure import GrowthLine, growth_picture
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER, enumerated
from lossbench.runs.measurements import Identity
from lossbench.statistics import inference
from lossbench.studies.measurements import Measurement
from lossbench.studies.results import Results

SIZES = (10, 100, 1_000, 10_000, 100_000)
"""Numbers of classes, K; each is a measurement."""

LATE = 1_000
"""From this number of classes on the slope is that of the rules."""

NUM_FEATURES, BATCH_SIZE, ROUNDS = 64, 256, 9

BASELINE = "cross_entropy"
"""The key, in a measurement, of PyTorch's cross-entropy on the logits of all classes."""

VERSION = 1
"""Of the measuring code."""


@dataclass(frozen=True)
class Method:
    """A loss whose step is measured.

    Args:
        name: its key in the measurement.
        label: as tables write it.
        kind: as in the study's plan.
        loss: its options; None: the baseline.
    """

    name: str
    label: str
    kind: str
    loss: LossConfig | None


METHODS: tuple[Method, ...] = (
    Method(BASELINE, "PyTorch's cross-entropy", "full", None),
    Method("full_softmax", "SML from features", "full", FullSoftmax()),
    Method("lgl", "LGL", "full", Lgl()),
    Method("lgl_inr", "LGL-INR", "full", LglInr()),
    Method("sparsemax", "Sparsemax", "full", Sparsemax()),
    Method("rg2_features", "RG2 from features", "full", Rg2Features()),
    *(
        Method(
            f"sampled_softmax_{num}", f"Sampled softmax, m={num}", "sampled softmax", SampledSoftmax(num_sampled=num)
        )
        for num in (20, 100, 500)
    ),
    Method(
        "sampled_softmax_in_batch",
        "Sampled softmax, in-batch",
        "sampled softmax",
        SampledSoftmax(proposal=Proposal.in_batch),
    ),
    Method("nce_100", "NCE, m=100", "binary", Nce()),
    Method("sampled_lgl_100", "Sampled LGL, m=100", "binary", SampledLgl()),
    Method("adaptive_softmax", "Adaptive softmax", "hierarchy", AdaptiveSoftmax()),
)
"""What is measured, in the order of the table."""


@cache
def identity(num_classes: int) -> Identity:
    """The measurement with a number of classes."""
    parameters: dict[str, Any] = {"classes": num_classes, "features": NUM_FEATURES, "batch_size": BATCH_SIZE}
    parameters |= {"rounds": ROUNDS, "losses": [one.name for one in METHODS]}
    return Identity("many_classes", f"step_cost_{num_classes}", parameters, VERSION)


def measurements() -> list[Measurement]:
    """One measurement for each of `SIZES`; a minute and a half together on one core."""

    def of(num_classes: int) -> Mapping[str, Any]:
        from lossbench.training.class_costs import measured_class_costs

        losses = {one.name: one.loss for one in METHODS if one.loss is not None}
        return measured_class_costs(losses, num_classes, NUM_FEATURES, BATCH_SIZE, ROUNDS)

    return [Measurement(identity(num), lambda num=num: of(num)) for num in SIZES]  # type: ignore[misc]


@dataclass(frozen=True)
class Growth:
    """Slope of log time over log K, by least squares in each repetition: 0 is flat, 1 is linear.

    Args:
        slope: mean over repetitions.
        low: of the 95 % interval of the mean; nan with fewer than two repetitions.
        high: likewise.
        n: repetitions.
    """

    slope: float
    low: float
    high: float
    n: int


class CostOf:
    """Cost of a method's step by the number of classes, where it is measured.

    Args:
        method: whose.
        by_size: what the measurement has for it, by number of classes.
    """

    def __init__(self, method: Method, by_size: Mapping[int, Mapping[str, Any]]) -> None:
        self.method = method
        self._known = {num: found for num, found in sorted(by_size.items()) if "failed" not in found}
        self.failed = {num: str(found["failed"]) for num, found in by_size.items() if "failed" in found}

    @property
    def sizes(self) -> list[int]:
        """Numbers of classes that are measured, rising."""
        return list(self._known)

    def ms(self, num_classes: int) -> float:
        """Time of a step in ms, median over repetitions; nan: not measured."""
        found = self._known.get(num_classes)
        return math.nan if found is None else median(found["ms"])

    def ratios(self, num_classes: int) -> list[float]:
        """Time over that of the baseline in the turn before; empty: not measured."""
        found = self._known.get(num_classes, {"ms": [], "baseline_ms": []})
        return [mine / its for mine, its in zip(found["ms"], found["baseline_ms"], strict=True)]

    def ratio(self, num_classes: int) -> float:
        """Median of `ratios`; nan: not measured."""
        found = self.ratios(num_classes)
        return median(found) if found else math.nan

    def mb(self, num_classes: int) -> float:
        """Peak of a step's tensors in 10^6 bytes; nan: not measured."""
        return float(self._known.get(num_classes, {"mb": math.nan})["mb"])

    def mflop(self, num_classes: int) -> float:
        """Operations of a step's matrix products in 10^6; nan: not measured."""
        return float(self._known.get(num_classes, {"mflop": math.nan})["mflop"])

    @cached_property
    def growth(self) -> Growth | None:
        """From `LATE` classes to the most; None: not all of these are measured."""
        return self.growth_from(LATE)

    def growth_from(self, first: int) -> Growth | None:
        """The slope from a number of classes on; None: one from there on is not measured."""
        chosen = [num for num in SIZES if num >= first]
        if any(num not in self._known for num in chosen):
            return None
        rounds = min(len(self._known[num]["ms"]) for num in chosen)
        times = np.log([self._known[num]["ms"][:rounds] for num in chosen])  # [sizes, rounds]
        slopes = np.polyfit(np.log(chosen), times, 1)[0].tolist()
        found = inference.paired_t(inference.pair(slopes, [0.0] * rounds))
        return Growth(found.mean, found.low, found.high, found.n)


def costs(results: Results) -> list[CostOf]:
    """The cost of each of `METHODS`; what is not measured is missing in it."""
    found = {num: results.measured(identity(num)) for num in SIZES}
    return [
        CostOf(one, {num: known["losses"][one.name] for num, known in found.items() if known is not None})
        for one in METHODS
    ]


def cost(results: Results, name: str) -> CostOf:
    """The cost of the method with a name."""
    return next(one for one in costs(results) if one.method.name == name)


def cost_blocks(results: Results) -> list[Block]:
    """What was measured on what, a picture, and a table; a sentence where nothing was measured."""
    every = costs(results)
    done = sorted({num for one in every for num in one.sizes})
    if not done:
        return [Paragraph("The cost of a step by the number of classes is not yet measured.")]
    missing = [f"{num:,}" for num in SIZES if num not in done]
    texts = [_about(results, done)]
    if missing:
        texts.append(f"Not yet measured: {enumerated(missing)} classes.")
    lost = [
        f"{one.method.label} with {enumerated(f'{num:,}' for num in one.failed)} classes" for one in every if one.failed
    ]
    if lost:
        texts.append(f"Failed: {enumerated(lost)}.")
    shown = [one for one in every if one.sizes]
    lines = [
        GrowthLine(
            one.method.label,
            one.method.kind,
            tuple(map(float, one.sizes)),
            tuple(map(one.ms, one.sizes)),
            tuple(map(one.mb, one.sizes)),
        )
        for one in shown
    ]
    setting = _setting(results, done)
    return [
        *map(Paragraph, texts),
        growth_picture(lines, "many_classes_cost", setting),
        _times(every, done, setting),
        _sizes(every, done, setting),
    ]


def _setting(results: Results, done: Sequence[int]) -> str:
    found = [results.measured(identity(num)) or {} for num in done]
    devices = enumerated(dict.fromkeys(str(one["device"]) for one in found))
    versions = enumerated(dict.fromkeys(str(one["torch"]) for one in found))
    return (
        f"{NUM_FEATURES} features, batch {BATCH_SIZE}, class sizes by Zipf's law, Adagrad; one thread of {devices}, "
        f"torch {versions}; n={ROUNDS} repetitions."
    )


def _about(results: Results, done: Sequence[int]) -> str:
    devices = {str((results.measured(identity(num)) or {})["device"]) for num in done}
    return (
        "A step is the output layer, the loss, the gradient in the layer and in the features, and the update of the "
        "layer; the network before it is left out. Each loss took turns with PyTorch's cross-entropy on the logits of "
        "all classes. Times are those of the processor; as numbers of ms they hold for this machine alone. Memory is "
        "the peak of the tensors of a step beyond the layer's weights and Adagrad's sums; what an operation uses "
        "inside itself is not in it. Operations are those of matrix products."
        + (" Not all numbers of classes were measured on the same kind of machine." if len(devices) > 1 else "")
    )


def _times(every: Sequence[CostOf], done: Sequence[int], setting: str) -> Table:
    rows = {}
    for one in every:
        row = {f"ms, K={num:,}": _number(one.ms(num)) for num in _ends(done)}
        row[f"Times cross-entropy, K={done[-1]:,}"] = _ratio(one.ratios(done[-1]))
        row[f"Slope from K={LATE:,}"] = told(one.growth)
        row[f"Slope from K={SIZES[0]:,}"] = told(one.growth_from(SIZES[0]))
        rows[one.method.label] = row
    caption = (
        "A step by the number of classes K: median time, time over that of cross-entropy (median, smallest and "
        "largest), and slope of log time over log K (95 % interval over repetitions; 0 is flat, 1 is linear). "
        f"{setting}"
    )
    return table(rows, ["Loss"], caption)


def _sizes(every: Sequence[CostOf], done: Sequence[int], setting: str) -> Table:
    rows = {}
    for one in every:
        row = {f"MB, K={num:,}": _number(one.mb(num)) for num in _ends(done)}
        rows[one.method.label] = row | {f"MFLOP, K={num:,}": _number(one.mflop(num)) for num in _ends(done)}
    caption = (
        "A step by the number of classes K: peak of its tensors beyond weights and Adagrad's sums, and operations of "
        f"its matrix products. {setting}"
    )
    return table(rows, ["Loss"], caption)


def _ends(done: Sequence[int]) -> list[int]:
    return list(dict.fromkeys((done[0], done[-1])))


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    if math.isnan(value):
        return NO_NUMBER
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return NO_NUMBER
    return f"{median(ratios):.2g} ({min(ratios):.2g} to {max(ratios):.2g})"


def told(growth: Growth | None) -> str:
    """A slope with its interval."""
    if growth is None:
        return NO_NUMBER
    interval = "" if math.isnan(growth.low) else f" ({growth.low:.2f} to {growth.high:.2f})"
    return f"{growth.slope:.2f}{interval}"
