"""What gradients in the logits do during training: figures, a table and sentences, from runs that kept their trace."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lossbench.config.run import Config
from lossbench.report.blocks import Block, Items, Paragraph, Picture, Table
from lossbench.report.gradient_figures import Line, Panel, by_probability, over_steps
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER, counted, enumerated
from lossbench.runs.gradient_arrays import P_EDGES
from lossbench.studies.gradient_spectrum import spectrum_sentences, spectrum_table
from lossbench.studies.gradient_traces import (
    FEW_ZEROS,
    MIN_READINGS,
    NUM_BINS,
    WRONG_BINS,
    Runs,
    Trace,
    by_step,
    num_images,
    pooled,
    short_number,
    trace_of,
    traces_of,
)
from lossbench.studies.results import Results

FLAT = 0.1
"""A loss is called flat where the network is wrong if its mean norm there is below this share of that elsewhere."""

FIRST_STEPS = 1000
"""Steps shown on the way from a wrong start."""

_TOLD_STEPS = (0, 50, 100, 200, 500, 1000)


def dynamics_blocks(runs: Runs, results: Results, stem: str, setting: str) -> list[Block]:
    """Norms by p_y, zeros and the spectrum of some losses' runs; one sentence where no run kept a trace.

    Args:
        runs: planned runs with a trace of each loss, by its label; empty: [] comes back.
        results: all known runs.
        stem: how the names of the pictures begin.
        setting: data set, network and learning rates, for captions, such as "Fashion-MNIST, CNN2C, own rates".
    """
    if not any(runs.values()):
        return []
    state = traces_state(runs, results)
    if not traces_of(runs, results):
        return [Paragraph(f"Gradients during training: nothing to show yet. {state}")]
    found: list[Block] = [Paragraph(f"Gradients of a sample's loss in its logits, {setting}. {state}")]
    sentences = [*_norm_sentences(runs, results), *spectrum_sentences(runs, results)]
    if sentences:
        found.append(Items(sentences))
    found += [norms_picture(runs, results, stem, setting), norms_table(runs, results, setting)]
    zeros = zeros_picture(runs, results, stem, setting)
    found.append(Paragraph(_no_zeros(runs, results)) if zeros is None else zeros)
    spectrum = spectrum_table(runs, results, setting)
    return found if spectrum is None else [*found, spectrum]


def traces_state(runs: Runs, results: Results) -> str:
    """How many of some runs kept a trace, and why the others have none, in a sentence."""
    total = sum(map(len, runs.values()))
    traced = lost = without = 0
    for configs in runs.values():
        for config in configs:
            value = results.accuracy(config)
            if value is not None and math.isnan(value):
                lost += 1
            elif value is not None:
                kept = trace_of(results, config) is not None
                traced, without = traced + kept, without + (not kept)
    rest = total - traced - lost - without
    parts = [f"{traced} of {counted(total, 'run')} {'has' if traced == 1 else 'have'} a gradient trace"]
    parts += [f"{lost} diverged"] if lost else []
    parts += [f"{without} {'is' if without == 1 else 'are'} done without a trace that can be read"] if without else []
    parts += [f"{rest} {'is' if rest == 1 else 'are'} not done"] if rest else []
    return "; ".join(parts) + "."


def norms_picture(runs: Runs, results: Results, stem: str, setting: str) -> Picture:
    """Mean norm of the gradient by bin of p_y, before the first step and over the whole run.

    Args:
        runs: of each loss, by its label.
        results: all known runs.
        stem: how the picture's name begins.
        setting: for the caption.
    """
    traces = traces_of(runs, results)
    panels, told, frame = [], [], []
    for when, start_alone in (("before the first step", True), ("whole run", False)):
        lines = []
        for label, kept in traces.items():
            one = pooled(kept, start_alone)
            lines.append(Line(label, tuple(map(float, range(NUM_BINS))), tuple(one.norms.tolist())))
            told.append(f"{label}, {when}: {', '.join(map(short_number, one.norms))}.")
            frame += [
                {"loss": label, "when": when, "p_from": low, "p_to": high, "mean_norm": float(f"{norm:.5g}")}
                | {"readings": int(readings), "runs": len(kept)}
                for (low, high), norm, readings in zip(_ends(), one.norms, one.readings, strict=True)
            ]
        panels.append(Panel(f"norm, {when}", tuple(lines), True))
    caption = (
        f"Norm of the gradient of a sample's loss in its logits by the image's p, the softmax of its true class: mean "
        f"over the readings of a bin (an image at a point of a run's trace; at least {MIN_READINGS}). {setting}; "
        f"{_numbers(traces)}. Top: before the first step; bottom: all points of the whole run. The trace has "
        f"{_points(traces)} points a run and {num_images(_every(traces))} training images a point. Losses have their "
        "own scales: compare the shapes. A mean of exactly 0 stands a tenth below the smallest other one."
    )
    bins = ", ".join(f"{short_number(low)} to {short_number(high)}" for low, high in _ends())
    alt = f"Mean gradient norm by p; bins {bins}. {' '.join(told)}"
    return by_probability(f"{stem}gradient_norms", panels, tuple(runs), caption, alt, pd.DataFrame(frame))


def zeros_picture(runs: Runs, results: Results, stem: str, setting: str) -> Picture | None:
    """Shares of exact zeros over the steps, of the losses that have any; None: no loss has.

    Args:
        runs: of each loss, by its label.
        results: all known runs.
        stem: how the picture's name begins.
        setting: for the caption.
    """
    traces = traces_of(runs, results)
    sparse = {label: kept for label, kept in traces.items() if _has_zeros(kept)}
    if not sparse:
        return None
    panels, frame, told = [], [], []
    for which, title in enumerate(("entries that are 0 (%)", "images without gradient (%)")):
        lines = []
        for label, kept in sparse.items():
            steps, shares = by_step(kept, which)
            lines.append(Line(label, tuple(map(float, steps)), tuple(map(float, 100 * shares))))
            told.append(f"{label}, {title}: {100 * shares[0]:.1f} at the start, {100 * shares[-1]:.1f} at the end.")
            frame += [
                {
                    "loss": label,
                    "share_of": title.partition(" ")[0],
                    "step": int(step),
                    "percent": round(100 * share, 4),
                }
                | {"runs": len(kept)}
                for step, share in zip(steps, shares, strict=True)
            ]
        panels.append(Panel(title, tuple(lines), False))
    dense = [label for label in traces if label not in sparse]
    others = f" {_dense(dense)}." if dense else ""
    caption = (
        "Exact zeros in the gradient of a sample's loss in its logits over training: share of all entries, and of "
        f"images whose whole gradient is 0. {setting}; mean over the runs, {_numbers(sparse)}; "
        f"{num_images(_every(sparse))} training images.{others}"
    )
    alt = f"Zeros in the gradient. {' '.join(told)}"
    return over_steps(f"{stem}gradient_zeros", panels, tuple(runs), caption, alt, pd.DataFrame(frame))


def _has_zeros(traces: Sequence[Trace]) -> bool:
    return any((one.zeros > FEW_ZEROS).any() for one in traces)


def _dense(labels: Sequence[str]) -> str:
    return f"With {enumerated(labels)} at most {100 * FEW_ZEROS:g} % of the entries are exactly 0 at any point"


def _no_zeros(runs: Runs, results: Results) -> str:
    labels = list(traces_of(runs, results))
    return f"{_dense(labels)}."


_WRONG, _UNSURE, _RIGHT = slice(0, WRONG_BINS), slice(4, 5), slice(NUM_BINS - 1, NUM_BINS)


def norms_table(runs: Runs, results: Results, setting: str) -> Table:
    """Mean norm of the gradient over the whole run where the network is wrong, unsure and right.

    Args:
        runs: of each loss, by its label; one at least has a trace.
        results: all known runs.
        setting: for the caption.
    """
    rows = {}
    for label, kept in traces_of(runs, results).items():
        one = pooled(kept)
        rows[label] = {
            "n": str(len(kept)),
            **{
                f"p {words}": short_number(one.over(bins)) + f" ({int(one.readings[bins].sum()):,})"
                for words, bins in (
                    (f"below {P_EDGES[WRONG_BINS - 1]:g}", _WRONG),
                    (f"{P_EDGES[3]:g} to {P_EDGES[4]:g}", _UNSURE),
                    (f"above {P_EDGES[-1]:g}", _RIGHT),
                )
            },
            "Wrong / unsure": short_number(_flatness(kept)),
        }
    caption = (
        "Mean norm of the gradient of a sample's loss in its logits by the image's p over the whole run, n runs "
        f"(number of readings). {setting}. Wrong / unsure: the first over the second, which does not depend on a "
        f"factor on the loss. {NO_NUMBER}: fewer than {MIN_READINGS} readings."
    )
    return table(rows, ["Loss"], caption)


def _flatness(traces: Sequence[Trace]) -> float:
    """Mean norm where p_y is below 0.01 over that where it is 0.1 to 0.5; nan: not known."""
    one = pooled(traces)
    unsure = one.over(_UNSURE)
    return one.over(_WRONG) / unsure if unsure > 0 else math.nan


def _norm_sentences(runs: Runs, results: Results) -> list[str]:
    """Which losses are flat where the network is confidently wrong."""
    known = {label: _flatness(kept) for label, kept in traces_of(runs, results).items()}
    known = {label: ratio for label, ratio in known.items() if math.isfinite(ratio)}
    if not known:
        return []
    flat = [f"{label} ({short_number(ratio)})" for label, ratio in known.items() if ratio < FLAT]
    others = [f"{label} ({short_number(ratio)})" for label, ratio in known.items() if ratio >= FLAT]
    words = f"the mean norm where p is below {P_EDGES[WRONG_BINS - 1]:g}"
    than = f"{FLAT:g} times that where p is {P_EDGES[3]:g} to {P_EDGES[4]:g}"
    found = (
        [f"Flat where they are confidently wrong, {words} being less than {than}: {enumerated(flat)}."] if flat else []
    )
    if others:
        found.append(f"Not flat there{f', {words} being at least {than}' * (not flat)}: {enumerated(others)}.")
    return found


def on_the_way_picture(
    runs: Mapping[str, Config], results: Results, stem: str, setting: str, most_steps: int = FIRST_STEPS
) -> Picture | None:
    """Mean norm of the gradient, and share of images still confidently wrong, over a run's first steps.

    Args:
        runs: one of each loss, by its label.
        results: all known runs.
        stem: how the picture's name begins.
        setting: data set, network and start, for the caption.
        most_steps: the last step shown.

    Returns:
        The picture; None: no run has a trace.
    """
    found = {label: trace_of(results, config) for label, config in runs.items()}
    traces = {label: one for label, one in found.items() if one is not None}
    if not traces:
        return None
    norm_lines, share_lines, told, frame = [], [], [], []
    for label, one in traces.items():
        steps, norms, shares = on_the_way(one, most_steps)
        norm_lines.append(Line(label, tuple(map(float, steps)), tuple(norms.tolist())))
        share_lines.append(Line(label, tuple(map(float, steps)), tuple((100 * shares).tolist())))
        points = [
            f"{short_number(norm)} and {100 * share:.0f} % at {step}"
            for step, norm, share in zip(steps, norms, shares, strict=True)
            if step in _TOLD_STEPS
        ]
        told.append(f"{label}: {', '.join(points)}.")
        frame += [
            {"loss": label, "learning_rate": runs[label].schedule.lr, "step": int(step)}
            | {"mean_norm": float(f"{norm:.5g}"), "percent_confidently_wrong": round(100 * share, 3)}
            for step, norm, share in zip(steps, norms, shares, strict=True)
        ]
    rates = ", ".join(f"{label} {runs[label].schedule.lr:g}" for label in traces)
    lacking = [label for label in runs if label not in traces]
    others = f" Without a trace so far: {enumerated(lacking)}." if lacking else ""
    caption = (
        f"The first {most_steps:,} steps from the wrong start. {setting}; one run each, "
        f"{num_images(traces.values())} training images. Top: mean over the images of the norm of the gradient of "
        "their loss in their logits; a few images with a large one can make most of it. Bottom: share of images whose "
        f"true class has a probability below {P_EDGES[WRONG_BINS - 1]:g} by softmax. Learning rates: {rates}.{others}"
    )
    panels = [
        Panel("mean norm", tuple(norm_lines), True),
        Panel(f"images with p < {P_EDGES[WRONG_BINS - 1]:g} (%)", tuple(share_lines), False),
    ]
    alt = f"Mean gradient norm, and share of images with p below {P_EDGES[WRONG_BINS - 1]:g}, by step. {' '.join(told)}"
    return over_steps(f"{stem}on_the_way", panels, tuple(runs), caption, alt, pd.DataFrame(frame))


def on_the_way(trace: Trace, most_steps: int = FIRST_STEPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, mean norm over all images, and share of images with p_y below 0.01, up to a step; each [T].

    Args:
        trace: of a run.
        most_steps: the last step.
    """
    chosen = trace.steps <= most_steps
    counts, norms = trace.counts[chosen], trace.norms[chosen]
    totals = np.maximum(counts.sum(axis=1), 1)
    wrong = counts[:, :WRONG_BINS].sum(axis=1)
    return trace.steps[chosen], (counts * norms).sum(axis=1) / totals, wrong / totals


def _every(traces: Mapping[str, Sequence[Trace]]) -> list[Trace]:
    return [one for kept in traces.values() for one in kept]


def _numbers(traces: Mapping[str, Sequence[Trace]]) -> str:
    """The number of runs of each loss."""
    counts = {label: len(kept) for label, kept in traces.items()}
    if len(set(counts.values())) == 1:
        return f"n={next(iter(counts.values()))} for each loss"
    return ", ".join(f"n={count} for {label}" for label, count in counts.items())


def _points(traces: Mapping[str, Sequence[Trace]]) -> str:
    known = sorted({len(one.steps) for one in _every(traces)})
    return " to ".join(map(str, dict.fromkeys((known[0], known[-1])))) if known else "0"


def _ends() -> list[tuple[float, float]]:
    return list(zip((0.0, *P_EDGES), (*P_EDGES, 1.0), strict=True))
