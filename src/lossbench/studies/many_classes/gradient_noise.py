"""How far the gradients of sampled losses are from the exact one: bias and standard deviation at two states."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lossbench.config.options import LossConfig, Reduction
from lossbench.config.run import Config, Optimizer, Runtime, Schedule, run_id
from lossbench.data.words import Words
from lossbench.losses.full_softmax import FullSoftmax
from lossbench.losses.lgl import Lgl
from lossbench.losses.nce import Nce
from lossbench.losses.sampled_lgl import SampledLgl
from lossbench.losses.sampled_softmax import Correction, Hits, SampledSoftmax
from lossbench.losses.sampling import Proposal
from lossbench.models.word2next import Word2Next
from lossbench.report.blocks import Block, Paragraph, Table
from lossbench.report.noise_figure import NoiseMark, noise_picture
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER, enumerated
from lossbench.runs.measurements import Identity
from lossbench.studies.measurements import Measurement
from lossbench.studies.results import Results

NUMS = (20, 100, 500)
"""Classes drawn for a batch, m."""

TOLD = 100
"""The m of the table."""

NUM_BATCHES, NUM_DRAWS = 4, 200
"""Fixed batches of training positions, and draws of classes for each."""

STATES = {"start": "initial weights", "trained": "after one epoch of SML"}
"""Weights at which the gradients are measured."""

HEADINGS = {"start": "at the start", "trained": "after an epoch"}
"""The same in headings of columns."""

PARTS = {"head": "the output layer", "features": "the features"}
"""What the gradient is taken in; the keys are those of the measurement."""

DRAWN_PART = "head"
"""The part that has a picture; a page shows both in tables."""

SHOWN = 1.96
"""Standard errors on both sides of the squared bias in its 95 % interval."""

VERSION = 1
"""Of the measuring code."""


@dataclass(frozen=True)
class Method:
    """A loss whose gradient is measured.

    Args:
        name: its key in the measurement.
        words: what it is, such as "NCE", or one of `FORMS`.
        proposal: what classes are drawn from, in words.
        loss: its options.
    """

    name: str
    words: str
    proposal: str
    loss: LossConfig

    @property
    def num(self) -> int:
        """Classes drawn for a batch, m."""
        return int(self.loss.num_sampled)  # type: ignore[attr-defined]

    @property
    def reference(self) -> LossConfig:
        """The loss whose gradient is the exact one."""
        return Lgl(reduction=Reduction.sum_classes) if self.loss.name == "sampled_lgl" else FullSoftmax()


Form = tuple[Correction, Hits]

FORMS: Mapping[Form, str] = {
    (Correction.both, Hits.keep): "all corrected",
    (Correction.both, Hits.mask): "hits masked",
    (Correction.sampled, Hits.mask): "target uncorrected",
    (Correction.none, Hits.keep): "uncorrected",
}
"""The forms of sampled softmax, as `_FORMS_TOLD` explains them."""

_FORMS_TOLD = (
    "Sampled softmax: all logits corrected and hits kept; the same with hits masked; target uncorrected and hits "
    "masked; no logit corrected and hits kept."
)

_EVERYWHERE = ((Correction.both, Hits.keep), (Correction.sampled, Hits.mask))  # forms measured with each proposal

UNIGRAM = "unigram"

DISTINCT = "unigram, no class twice"

PROPOSALS: Mapping[str, tuple[Proposal, float, bool]] = {
    UNIGRAM: (Proposal.unigram, 1.0, True),
    DISTINCT: (Proposal.unigram, 1.0, False),
    "unigram^0.75": (Proposal.unigram, 0.75, True),
    "log-uniform": (Proposal.log_uniform, 1.0, True),
    "uniform": (Proposal.uniform, 1.0, True),
}
"""What classes are drawn from: the options `proposal`, `power` and `replacement`."""


@cache
def methods() -> tuple[Method, ...]:
    """All losses that are measured, in the order of table and figure."""
    return tuple(_methods())


def _methods() -> Iterator[Method]:
    for (correction, hits), words in FORMS.items():
        for drawn, (proposal, power, replacement) in PROPOSALS.items():
            if drawn != UNIGRAM and (correction, hits) not in _EVERYWHERE:
                continue
            for num in NUMS:
                loss = SampledSoftmax(
                    num_sampled=num,
                    proposal=proposal,
                    power=power,
                    replacement=replacement,
                    correction=correction,
                    hits=hits,
                )
                yield Method(f"sampled_softmax {correction} {hits} {drawn} {num}", words, drawn, loss)
    for num in NUMS:
        yield Method(f"nce {num}", "NCE", UNIGRAM, Nce(num_sampled=num))
    for drawn in (UNIGRAM, DISTINCT):
        replacement = drawn != DISTINCT
        for num in NUMS:
            loss_of_all = SampledLgl(num_sampled=num, replacement=replacement)
            yield Method(f"sampled_lgl {drawn} {num}", "sampled LGL", drawn, loss_of_all)


def run_measured(runtime: Runtime | None = None) -> Config:
    """The run at whose weights the gradients are measured: full softmax on the novels, Adagrad, seed 0, one epoch."""
    schedule = Schedule(epochs=1, batch_size=512, lr=0.1, momentum=0.0, optimizer=Optimizer.adagrad)
    return Config(Words(), Word2Next(), FullSoftmax(), schedule, 0, runtime or Runtime())


@cache
def identity(state: str) -> Identity:
    """The measurement at one of `STATES`."""
    parameters: dict[str, Any] = {
        "state": state,
        "run": run_id(run_measured()),
        "methods": [one.name for one in methods()],
    }
    parameters |= {"batches": NUM_BATCHES, "draws": NUM_DRAWS}
    return Identity("many_classes", f"gradient_noise_{state}", parameters, VERSION)


def measurements(runtime: Runtime) -> list[Measurement]:
    """One measurement for each of `STATES`, of a few minutes on one core each."""

    def of(state: str) -> Mapping[str, Any]:
        from lossbench.training.gradient_noise import Estimator, measured_gradient_noise

        estimators = {one.name: Estimator(one.loss, one.reference) for one in methods()}
        return measured_gradient_noise(run_measured(runtime), estimators, state == "trained", NUM_BATCHES, NUM_DRAWS)

    return [Measurement(identity(state), lambda state=state: of(state)) for state in STATES]  # type: ignore[misc]


@dataclass(frozen=True)
class NoiseOf:
    """Bias and standard deviation of a method's gradient, divided by the norm of the exact gradient.

    Args:
        method: whose.
        state: one of `STATES`.
        part: one of `PARTS`.
        bias: norm of the mean error; 0 where the estimate of its square is not above 0.
        low: lower end of its 95 % interval; 0: it is not shown that there is a bias.
        high: upper end.
        sd: root of the mean squared distance from the mean.
    """

    method: Method
    state: str
    part: str
    bias: float
    low: float
    high: float
    sd: float

    @property
    def error(self) -> float:
        """Root of the mean squared distance from the exact gradient."""
        return math.hypot(self.bias, self.sd)

    @property
    def is_biased(self) -> bool:
        """Whether the interval of the bias is above 0."""
        return self.low > 0


def noises(results: Results, state: str) -> list[NoiseOf]:
    """All methods at one of `STATES` in each of `PARTS`; empty: not measured."""
    found = results.measured(identity(state))
    if found is None:
        return []
    return [_of(method, state, part, found["estimators"][method.name][part]) for part in PARTS for method in methods()]


def noise_of(results: Results, loss: LossConfig, state: str, part: str) -> NoiseOf | None:
    """A loss, by its options, at one of `STATES` in one of `PARTS`; None: not measured, or not among the methods."""
    found = (one for one in noises(results, state) if one.part == part and one.method.loss == loss)
    return next(found, None)


def _of(method: Method, state: str, part: str, known: Mapping[str, Any]) -> NoiseOf:
    """The root is taken last, of the mean over batches and of the ends of its interval."""
    middle, error = float(known["bias2"]), SHOWN * float(known["bias2_se"])
    bias, low, high = (math.sqrt(max(value, 0.0)) for value in (middle, middle - error, middle + error))
    return NoiseOf(method, state, part, bias, low, high, math.sqrt(max(float(known["variance"]), 0.0)))


def noise_blocks(results: Results) -> list[Block]:
    """A picture of one part and a table for each of `PARTS`; a sentence where nothing was measured."""
    found = {state: noises(results, state) for state in STATES}
    done = [state for state, those in found.items() if those]
    missing = [words for state, words in STATES.items() if state not in done]
    if not done:
        return [Paragraph("Bias and variance of the gradients are not yet measured.")]
    first, *notes = map(Paragraph, _about(results, done))
    blocks: list[Block] = [first]
    if missing:
        blocks.append(Paragraph(f"Not yet measured: {enumerated(missing)}."))
    every = [one for state in done for one in found[state]]
    setting = _setting(results, done)
    for part, words in PARTS.items():
        chosen = [one for one in every if one.part == part]
        marks = [
            NoiseMark(
                STATES[one.state], one.method.words, one.method.proposal, one.method.num, one.bias, one.low, one.high,
                one.sd,
            )
            for one in chosen
        ]  # fmt: skip
        if part == DRAWN_PART:
            blocks.append(noise_picture(marks, "many_classes_noise", words, TOLD, f"{_FORMS_TOLD} {setting}"))
        blocks.append(_table([one for one in chosen if one.method.num == TOLD], done, words, setting))
    return [*blocks, *notes]


def _about(results: Results, done: Sequence[str]) -> list[str]:
    """What is measured, and how to read it."""
    norms, log_sums = [], []
    for state in done:
        found = results.measured(identity(state)) or {}
        norms.append(f"{_range(found['references']['full_softmax']['head'])} ({STATES[state]})")
        log_sums.append(f"{_range(found['log_sum_exp'])} ({STATES[state]})")
    return [
        "The exact gradient is that of SML, the softmax of all classes, at the same weights and for the same batch; "
        "for sampled LGL it is that of LGL summed over classes. Each estimate draws its classes anew for the same "
        "batch. The squared bias is estimated without the share of the variance that the mean of finitely many draws "
        "has, so that it is 0 on average for an unbiased estimate. Norm of the exact gradient in the output layer: "
        f"{enumerated(norms)}.",
        "NCE estimates the gradient of SML only where the logits are normalised, log sum exp z = 0. Mean of log sum "
        f"exp z here: {enumerated(log_sums)}. A network trained by NCE keeps it near 0, one trained by SML need not.",
        "In-batch negatives are not measured: a fixed batch leaves nothing to draw. For a single sample they are draws "
        "from the unigram proposal, all logits corrected, hits kept, with m the batch size less one.",
    ]


def _range(values: Sequence[float]) -> str:
    ends = [f"{value:.2g}" for value in (min(values), max(values))]
    return " to ".join(dict.fromkeys(ends))


def _setting(results: Results, done: Sequence[str]) -> str:
    found = results.measured(identity(done[0])) or {}
    return (
        f"Next word in Austen, K={found['classes']:,}, {found['batches']} batches of {found['batch_size']} positions, "
        f"{found['draws']} draws each, seed 0; root of the mean of squares over batches."
    )


def _table(chosen: Sequence[NoiseOf], done: Sequence[str], words: str, setting: str) -> Table:
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in chosen:
        row = rows.setdefault((one.method.words, one.method.proposal), {})
        row[f"Bias {HEADINGS[one.state]}"] = told(one)
        row[f"Sd {HEADINGS[one.state]}"] = f"{one.sd:.2g}"
    caption = (
        f"Gradient in {words}, m={TOLD}, {enumerated(STATES[state] for state in done)}: bias (95 % interval over "
        f"draws) and standard deviation, both divided by the norm of the exact gradient. {_FORMS_TOLD} {setting}"
    )
    return table(rows, ["Method", "Drawn from"], caption)


def told(one: NoiseOf) -> str:
    """A bias with its interval; the upper end alone where the interval has 0."""
    if math.isnan(one.bias):
        return NO_NUMBER
    return f"{one.bias:.2g} ({one.low:.2g} to {one.high:.2g})" if one.is_biased else f"below {one.high:.2g}"
