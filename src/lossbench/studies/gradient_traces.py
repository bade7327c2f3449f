"""Gradient traces of runs, read and pooled: norms by p_y, and exact zeros."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.config.run import Config
from lossbench.report.wording import NO_NUMBER
from lossbench.runs.gradient_arrays import COUNTS, NORMS, P_EDGES, SPECTRUM, SPECTRUM_STEPS, STEPS, ZEROS
from lossbench.studies.results import Results

Runs = Mapping[str, Sequence[Config]]
"""The runs of each loss, by its label."""

NUM_BINS = len(P_EDGES) + 1

WRONG_BINS = 3
"""The lowest bins of p_y, those below 0.01: images that the network is confidently wrong on."""

MIN_READINGS = 10
"""A bin with fewer readings (an image at a point of the trace of a run) is not drawn and not named."""

FEW_ZEROS = 1e-3
"""A share of zeros up to this, of entries or images, counts as none: a dense gradient has one by chance."""


@dataclass(frozen=True)
class Trace:
    """The gradient trace of a run; docs/files.md describes its arrays.

    Args:
        steps: done at each point, int [T], rising.
        counts: images by bin of p_y, int [T, 8].
        norms: mean norm of a sample's gradient in its logits by bin, float [T, 8]; 0 in a bin without images.
        zeros: share of entries that are exactly 0, and of images whose gradient is, float [T, 2].
        spectrum: mean eigenvalues, rising, and the smallest and largest of all, float [S, K + 2]; None: not kept.
        spectrum_steps: steps done at each of them, int [S].
    """

    steps: np.ndarray
    counts: np.ndarray
    norms: np.ndarray
    zeros: np.ndarray
    spectrum: np.ndarray | None
    spectrum_steps: np.ndarray


def trace_of(results: Results, config: Config) -> Trace | None:
    """The trace of a run; None: it is not done, has no arrays, kept no trace, or the trace's arrays do not fit."""
    arrays = results.arrays(config)
    if arrays is None or any(name not in arrays for name in (STEPS, COUNTS, NORMS, ZEROS)):
        return None
    steps, counts = np.asarray(arrays[STEPS]), np.asarray(arrays[COUNTS])
    norms, zeros = np.asarray(arrays[NORMS], float), np.asarray(arrays[ZEROS], float)
    num = len(steps) if steps.ndim == 1 else 0
    if not num or counts.shape != (num, NUM_BINS) or norms.shape != counts.shape or zeros.shape != (num, 2):
        return None
    spectrum, spectrum_steps = arrays.get(SPECTRUM), np.asarray(arrays.get(SPECTRUM_STEPS, ()))
    fits = spectrum is not None and spectrum.ndim == 2 and len(spectrum) == len(spectrum_steps) > 0
    kept = np.asarray(spectrum, float) if fits and spectrum is not None and spectrum.shape[1] > 2 else None
    _, once = np.unique(steps, return_index=True)  # an epoch may end where the network is tested within it
    counts, norms = counts[once], np.where(counts > 0, norms, 0.0)[once]
    return Trace(steps[once], counts, norms, zeros[once], kept, spectrum_steps)


def traces_of(runs: Runs, results: Results) -> dict[str, list[Trace]]:
    """The traces of each loss that has one at least."""
    every = {label: [trace_of(results, config) for config in configs] for label, configs in runs.items()}
    found = {label: [one for one in traces if one is not None] for label, traces in every.items()}
    return {label: traces for label, traces in found.items() if traces}


@dataclass(frozen=True)
class Pooled:
    """Norms of the gradient by bin of p_y over all readings of some runs: an image at a point of a run's trace.

    Args:
        sums: of the norms, [8].
        readings: how many, int [8].
    """

    sums: np.ndarray
    readings: np.ndarray

    @property
    def norms(self) -> np.ndarray:
        """Mean norm in each bin, [8]; nan: fewer than `MIN_READINGS`."""
        return np.where(self.readings >= MIN_READINGS, self.sums / np.maximum(self.readings, 1), np.nan)

    def over(self, bins: slice) -> float:
        """Mean norm over several bins, each reading counting once; nan: fewer than `MIN_READINGS`."""
        readings = int(self.readings[bins].sum())
        return float(self.sums[bins].sum() / readings) if readings >= MIN_READINGS else float("nan")


def pooled(traces: Iterable[Trace], start_alone: bool = False) -> Pooled:
    """Norms over the points of some traces, each image counting once a point.

    Args:
        traces: of the runs.
        start_alone: only the point before the first step.
    """
    sums, readings = np.zeros(NUM_BINS), np.zeros(NUM_BINS, int)
    for one in traces:
        chosen = one.steps == 0 if start_alone else np.ones(len(one.steps), bool)
        sums += (one.counts * one.norms)[chosen].sum(axis=0)
        readings += one.counts[chosen].sum(axis=0)
    return Pooled(sums, readings)


def num_images(traces: Iterable[Trace]) -> str:
    """How many images a point of the traces has, such as "2,048"; the smallest and the largest if they differ."""
    known = sorted({int(total) for one in traces for total in one.counts.sum(axis=1)})
    return " to ".join(f"{one:,}" for one in dict.fromkeys((known[0], known[-1]))) if known else "0"


def by_step(traces: Sequence[Trace], which: int) -> tuple[np.ndarray, np.ndarray]:
    """A share of zeros over the steps: the steps, and the mean over the runs that have a point there.

    Args:
        traces: of a loss's runs.
        which: 0: of entries; 1: of images.
    """
    values: dict[int, list[float]] = {}
    for one in traces:
        for step, share in zip(one.steps.tolist(), one.zeros[:, which].tolist(), strict=True):
            values.setdefault(step, []).append(share)
    steps = sorted(values)
    return np.array(steps), np.array([np.mean(values[step]) for step in steps])


def short_number(value: float) -> str:
    """Three significant digits, small ones as 2e-6; nan as where there is no number."""
    return NO_NUMBER if math.isnan(value) else f"{value:.3g}".replace("e-0", "e-")
