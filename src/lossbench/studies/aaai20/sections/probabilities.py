"""Calibration: how a trained network's probabilities compare with what it gets right, map by map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from lossbench.config.registry import LOSSES, Map
from lossbench.config.run import Config
from lossbench.report.blocks import Block, Paragraph, Picture
from lossbench.report.drawing import drawing
from lossbench.report.panels import NARROW, lines, panels
from lossbench.report.style import STYLES, TEXT
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER, enumerated, seeds_told, spread
from lossbench.statistics.calibration import NUM_BINS, Calibration, calibration, scores
from lossbench.studies.aaai20.keys import CNN2C, LGL_INR
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Cell, Key, Part
from lossbench.studies.results import Results

SHOWN_FROM = 20  # predictions in a bin; fewer make no mean worth a mark
MANY = 2_000  # predictions in a bin, which has a large mark

MAP_LABELS: Mapping[Map, str] = {
    "softmax": "softmax",
    "sigmoid": "sigmoid(z)",
    "shifted": "sigmoid(z - log(K-1))",
    "sigmoid_normalised": "sigmoid(z), sum 1",
    "shifted_normalised": "sigmoid(z - log(K-1)), sum 1",
}
SCORES = {"nll": ("NLL", 1, 4), "brier": ("Brier", 1, 4), "ece": ("ECE (%)", 100, 2)}
SCORES |= {"adaptive_ece": ("Adaptive ECE (%)", 100, 2)}
"""Columns of calibration's tables: heading, factor, digits."""


def calibrated(judge: Judge) -> list[Block]:
    """Calibration of the paper's cells: what is compared between losses, reliability of CNN2C, and every map."""
    known = {key: found for key, cell in _scored_cells(judge) if (found := _scores(judge.results, cell))}
    if not known:
        return [Paragraph("No runs with logits yet.")]
    compared, every = {}, {}
    for key, runs in known.items():
        network, dataset, loss = key.labels
        place = dataset, network, loss
        chosen = LOSSES[key.loss.name].compared
        tempered = [run["tempered"] for run in runs]
        compared[*place, "as it is"] = {"Map": MAP_LABELS[chosen], "T": "1"} | _line([run[chosen] for run in runs])
        compared[*place, "one temperature"] = {
            "Map": " or ".join(dict.fromkeys(MAP_LABELS[name] for run in tempered for name in run["maps"])),
            "T": f"{np.mean([run['temperatures'] for run in tempered]):.2f}",
        } | _line(tempered)
        for name in LOSSES[key.loss.name].maps:
            of_map = [run[name] for run in runs]
            over = spread([100 * one["overconfidence"] for one in of_map], 2, sign="+")
            theory = _theory(key.loss, name)
            every[*place, MAP_LABELS[name]] = {"Theory": theory} | _line(of_map) | {"Overconfidence (points)": over}
    caption = (
        "Compared between losses on probabilities that sum to 1, as the rules require: the map that theory "
        "prescribes, normalised; and each loss's best map after one temperature T, where map and T are chosen by NLL "
        "on one half of the test images and scored on the other. Mean ± standard deviation over seeds (n), last epoch. "
        "Description only."
    )
    maps = (
        "Every map of every loss, marked where theory prescribes it: through it the population minimiser of SML and "
        "LGL gives the posterior; LGL-INR's gives the class-balanced posterior, exactly at beta 0. With sigmoid(z), "
        "NLL and Brier are sums over the K classifiers; compare them only with other values of sigmoid(z). NLL in nats "
        f"an image. ECE: expected calibration error of the predicted class, {NUM_BINS} bins of equal width; adaptive: "
        "of equal count. Overconfidence: mean confidence minus accuracy. Logits were kept in half precision."
    )
    rows = ["Data set", "Network", "Loss"]
    reliable = _reliable(judge)
    return [
        Paragraph(_balanced_posterior(known)),
        table(compared, [*rows, "Temperature"], caption),
        *([reliability(reliable)] if reliable else []),
        table(every, [*rows, "Map"], maps),
    ]


def _scored_cells(judge: Judge) -> list[tuple[Key, Cell]]:
    return [(key, cell) for key, cell in judge.conditions["paper"].items() if key.loss.option is None]


def _scores(results: Results, cell: Cell) -> list[dict[str, dict[str, Any]]]:
    """The scores of a cell's runs: the record's, else computed from the logits."""
    found = []
    for config in cell.configs:
        record = results.record(config)
        if record is not None and "scores" in record.fields:
            found.append(record.fields["scores"])
        elif (kept := _logits(results, config)) is not None:
            found.append(scores(*kept, config.loss.name))
    return found


def _line(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {"n": str(len(runs))} | {
        heading: spread([factor * one[name] for one in runs], digits)
        for name, (heading, factor, digits) in SCORES.items()
    }


def _theory(loss: Part, name: Map) -> str:
    if name != LOSSES[loss.name].posterior:
        return NO_NUMBER
    return "balanced posterior, approximately" if loss == LGL_INR else "posterior"


def _balanced_posterior(known: Mapping[Key, Sequence[Mapping[str, Any]]]) -> str:
    """What LGL-INR's probabilities are, and which of its maps is calibrated best."""
    lowest: dict[str, list[str]] = {}
    for key, runs in known.items():
        if key.loss == LGL_INR:
            network, dataset, _ = key.labels
            mean = {name: np.mean([run[name]["ece"] for run in runs]) for name in LOSSES[LGL_INR.name].maps}
            best = min(mean, key=lambda name: mean[name])
            where = f"on {dataset} with {network} ({100 * mean[best]:.2f} %, n={len(runs)})"
            lowest.setdefault(MAP_LABELS[best], []).append(where)
    of_maps = "; ".join(f"{name}: {enumerated(places)}" for name, places in lowest.items())
    told = f" The map of LGL-INR with the lowest ECE in our runs is {of_maps}." if lowest else ""
    return (
        "LGL-INR aims at the class-balanced posterior, the one with all classes equally frequent: at beta 0 its "
        "population minimiser gives it through sigmoid(z - log(K-1)), not through sigmoid(z); for beta > 0 "
        f"approximately. On balanced data the two posteriors are the same.{told}"
    )


def _reliable(judge: Judge) -> dict[Key, list[Calibration]]:
    """CNN2C's reliability by cell, through the maps that are compared."""
    found = {}
    for key, cell in _scored_cells(judge):
        kept = [one for config in cell.configs if (one := _logits(judge.results, config)) is not None]
        if kept and key.model == CNN2C:
            found[key] = [calibration(*one, LOSSES[cell.config.loss.name].compared) for one in kept]
    return found


def _logits(results: Results, config: Config) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits and classes of a run's test images, where both are known."""
    arrays, labels = results.arrays(config), results.test_labels(config)
    if arrays is None or labels is None or "test_logits" not in arrays:
        return None
    return arrays["test_logits"], labels


@dataclass(frozen=True)
class Bins:
    """Predictions of all seeds in bins of confidence, through one map.

    Args:
        dataset: label.
        loss: label.
        n: runs.
        confidence: mean of a bin, percent, [bins].
        accuracy: likewise.
        counts: predictions, [bins].
    """

    dataset: str
    loss: str
    n: int
    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray


def reliability(found: Mapping[Key, Sequence[Calibration]]) -> Picture:
    """Accuracy minus confidence over confidence, bins of all seeds together, a panel a data set."""
    bins, told = [], []
    for key, runs in found.items():
        _, dataset, loss = key.labels
        counts = np.sum([one.counts for one in runs], axis=0)
        confidence, accuracy = (
            100 * np.nansum([one.counts * getattr(one, what) for one in runs], axis=0) / np.maximum(counts, 1)
            for what in ("confidence", "accuracy")
        )
        there = counts >= SHOWN_FROM
        bins.append(Bins(dataset, loss, len(runs), confidence[there], accuracy[there], counts[there]))
        gap = np.mean([one.scores.overconfidence for one in runs])
        told.append(f"{dataset}, {loss}: confidence minus accuracy {100 * gap:+.2f} points, n={len(runs)}.")
    caption = (
        "Reliability of CNN2C: accuracy minus confidence, plotted over confidence, through the map that theory "
        f"prescribes, normalised (SML softmax, LGL sigmoid(z), LGL-INR sigmoid(z - log(K-1))), in {NUM_BINS} bins, "
        f"predictions of all seeds (n) together, bins with {SHOWN_FROM} predictions or more. At 0 confidence equals "
        f"accuracy; below 0, the network is overconfident. Large markers: bins with {MANY:,} predictions or more."
    )
    marks = [
        {"dataset": one.dataset, "loss": one.loss, "n": one.n, "confidence_percent": confidence}
        | {"accuracy_percent": accuracy, "predictions": count}
        for one in bins
        for confidence, accuracy, count in zip(one.confidence, one.accuracy, one.counts, strict=True)
    ]
    columns = ["dataset", "loss", "n", "confidence_percent", "accuracy_percent", "predictions"]
    alt = f"Reliability diagrams. {' '.join(told)}"
    return Picture("reliability", drawing(_draw, bins), caption, alt, pd.DataFrame(marks, columns=columns))


def _draw(bins: Sequence[Bins]) -> Figure:
    """A panel a data set, all with the same axes."""
    datasets = list(dict.fromkeys(one.dataset for one in bins))
    figure, grid = panels((NARROW, 3.0), 1, len(datasets), left=0.6, top=0.62, bottom=0.45, across=0.12, share="all")
    for axes, dataset in zip(grid[0], datasets, strict=True):
        here = [one for one in bins if one.dataset == dataset]
        axes.axhline(0, color="black", linewidth=0.8)
        for one in here:
            style = STYLES[one.loss]
            gaps = one.accuracy - one.confidence
            axes.plot(one.confidence, gaps, color=style["color"], linestyle=style["linestyle"], linewidth=1)
            for many, size in ((False, 3.0), (True, 5.5)):
                chosen = (one.counts >= MANY) == many
                axes.plot(
                    one.confidence[chosen],
                    gaps[chosen],
                    color=style["color"],
                    marker=style["marker"],
                    markersize=size,
                    linestyle="none",
                )
        axes.set_title(f"{dataset}, {seeds_told(one.n for one in here)}", fontsize=TEXT)
        axes.set(xlim=(20, 102), xlabel="confidence (%)")
        axes.xaxis.set_major_locator(FixedLocator([25, 50, 75, 100]))
        axes.tick_params(labelleft=axes is grid[0, 0])
        lines(axes)
    grid[0, 0].set_ylabel("accuracy - confidence (points)")
    losses = list(dict.fromkeys(one.loss for one in bins))
    signs = [Line2D([], [], markersize=5, **STYLES[loss], label=loss) for loss in losses]
    figure.legend(handles=signs, loc="upper center", ncols=len(signs), frameon=False, fontsize=TEXT, handlelength=2.4)
    return figure
