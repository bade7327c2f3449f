"""Eigenvalues of losses' Hessians in the logits during training, beside what the losses state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.config.registry import LOSSES
from lossbench.config.run import Config
from lossbench.report.blocks import Table
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER, enumerated
from lossbench.studies.gradient_traces import Runs, Trace, short_number, traces_of
from lossbench.studies.results import Results

ROUNDING = 1e-6
"""An eigenvalue above -1e-6 counts as not negative; the arrays are float32."""

OVER_BOUND = 1.005
"""A bound is exceeded by an eigenvalue more than 0.5 % larger; some bounds are given with three digits."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of a sample's Hessian in its logits, over the runs of a loss.

    Args:
        num_classes: K.
        n: runs that kept it.
        means: mean over images and runs of each eigenvalue, rising, [3, K]: before the first step, after the first
            epoch, at the end.
        smallest: of all eigenvalues at all points.
        largest: likewise.
    """

    num_classes: int
    n: int
    means: np.ndarray
    smallest: float
    largest: float

    @property
    def largest_means(self) -> list[float]:
        """Mean largest eigenvalue at the three points."""
        return [float(value) for value in self.means[:, -1]]

    @property
    def traces(self) -> list[float]:
        """Mean trace of the Hessian, the sum of its eigenvalues, at the three points."""
        return [float(value) for value in self.means.sum(axis=1)]

    @property
    def effective_ranks(self) -> list[float]:
        """(sum of |mean eigenvalues|)² / sum of their squares at the three points; nan where all are 0."""
        sizes = np.abs(self.means)
        squares = (sizes**2).sum(axis=1)
        return [float(a**2 / b) if b > 0 else float("nan") for a, b in zip(sizes.sum(axis=1), squares, strict=True)]

    @property
    def is_convex(self) -> bool:
        """Whether no eigenvalue was negative."""
        return self.smallest >= -ROUNDING


def spectrum_of(traces: Iterable[Trace]) -> Spectrum | None:
    """The spectrum over a loss's runs; None: no run kept it with two points at least, or they differ in K."""
    kept = [one.spectrum for one in traces if one.spectrum is not None and len(one.spectrum) > 1]
    if not kept or len({each.shape[1] for each in kept}) > 1:
        return None
    means = np.mean([each[[0, 1, -1], :-2] for each in kept], axis=0)
    smallest, largest = min(each[:, -2].min() for each in kept), max(each[:, -1].max() for each in kept)
    return Spectrum(means.shape[1], len(kept), means, float(smallest), float(largest))


def stated_bound(config: Config, num_classes: int) -> float | None:
    """The smoothness bound that a loss states; None: it states none, or has other options than its defaults.

    Args:
        config: of a run.
        num_classes: K.
    """
    facts = LOSSES[config.loss.name]
    if facts.properties is None or config.loss != facts.options():
        return None
    return facts.properties.bound("smoothness", num_classes)


def spectrum_table(runs: Runs, results: Results, setting: str) -> Table | None:
    """Eigenvalues of the Hessian in the logits by loss; None: no run kept them.

    Args:
        runs: of each loss, by its label.
        results: all known runs.
        setting: for the caption.
    """
    rows = {}
    for label, one in _spectra(runs, results).items():
        bound = stated_bound(runs[label][0], one.num_classes)
        rows[label] = {
            "n": str(one.n),
            "Largest, mean": _three(one.largest_means),
            "Trace, mean": _three(one.traces),
            "Effective rank": _three(one.effective_ranks),
            "Smallest of all": "none below 0" if one.is_convex else f"{one.smallest:.3f}",
            "Largest of all": f"{one.largest:.3f}",
            "Stated bound": NO_NUMBER if bound is None else f"{bound:.3f}{', exceeded' * _exceeds(one, bound)}",
        }
    if not rows:
        return None
    caption = (
        "Eigenvalues of the Hessian of a sample's loss in its logits. Three numbers: before the first step, after the "
        f"first epoch, at the end; means over training images and n runs. {setting}. Effective rank: (sum of the mean "
        "eigenvalues' sizes)² / sum of their squares. Smallest and largest of all: of any image at any epoch. Stated "
        "bound: the loss's own, on the size of an eigenvalue; – where it states none or its options are not the "
        "defaults. A loss that couples the samples of a batch (LGL-INR): those of two batches, the others' logits held "
        "fixed."
    )
    return table(rows, ["Loss"], caption)


def _spectra(runs: Runs, results: Results) -> dict[str, Spectrum]:
    found = {label: spectrum_of(kept) for label, kept in traces_of(runs, results).items()}
    return {label: one for label, one in found.items() if one is not None}


def _exceeds(one: Spectrum, bound: float) -> bool:
    return max(one.largest, -one.smallest) > OVER_BOUND * bound


def _three(values: Sequence[float]) -> str:
    return " / ".join(short_number(value) for value in values)


def spectrum_sentences(runs: Runs, results: Results) -> list[str]:
    """Whether the parts that training visits are convex, and whether stated bounds hold."""
    spectra = _spectra(runs, results)
    if not spectra:
        return []
    bent = {label: one for label, one in spectra.items() if not one.is_convex}
    found = []
    if bent:
        texts = enumerated(f"{label} ({one.smallest:.3g})" for label, one in bent.items())
        found.append(f"Training meets negative curvature with {texts}; in brackets the smallest eigenvalue of all.")
    unexpected = [label for label in bent if _is_convex(runs[label][0])]
    if unexpected:
        found.append(f"A loss that states that it is convex is among them: {enumerated(unexpected)}.")
    straight = [label for label in spectra if label not in bent]
    if straight:
        found.append(f"No eigenvalue is below 0 with {enumerated(straight)}.")
    bounds = {label: stated_bound(runs[label][0], one.num_classes) for label, one in spectra.items()}
    known = [label for label, bound in bounds.items() if bound is not None]
    over = [label for label in known if _exceeds(spectra[label], bounds[label] or 0.0)]
    if over:
        found.append(f"The stated bound on the eigenvalues is exceeded by {enumerated(over)}.")
    elif known:
        found.append(f"Every eigenvalue is within the bound that its loss states ({enumerated(known)}).")
    return found


def _is_convex(config: Config) -> bool:
    properties = LOSSES[config.loss.name].properties
    return properties is not None and bool(properties.convex)
