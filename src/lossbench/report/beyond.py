"""What do the runs say beyond the paper? Calibration, as tables and pictures of a page."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lossbench.arms import Key
from lossbench.calibration import NUM_BINS, Calibration, Map, calibration
from lossbench.experiments import Cell
from lossbench.labels import test_labels
from lossbench.report.figures import FAINT, SMALL, STYLES
from lossbench.report.page import Block, Paragraph, Picture
from lossbench.report.sections import table
from lossbench.results import Results
from lossbench.verdicts import Judge

MAPS: Mapping[str, Map] = {"LGL": "sigmoid", "SML": "softmax", "LGL-INR": "sigmoid"}
"""The map that a loss is trained for."""

SHOWN_FROM = 20  # images in a bin; fewer make no mean worth a mark


def calibrated(judge: Judge) -> list[Block]:
    """Scores of both maps for every cell of the paper with runs, and reliability diagrams of CNN2C's own maps."""
    found = dict(_calibrations(judge))
    if not found:
        return [Paragraph("No runs with logits yet.")]
    lines = {
        (key[1], key[0], key[2], name): {
            "n": str(len(runs)),
            "NLL": _spread([one.nll for one in runs], 4),
            "Brier": _spread([one.brier for one in runs], 4),
            "ECE (%)": _spread([100 * one.ece for one in runs], 2),
            "Overconfidence (points)": _spread([100 * one.overconfidence for one in runs], 2, sign="+"),
        }
        for (key, name), runs in found.items()
    }
    caption = (
        "Calibration on test images, last epoch, mean ± standard deviation over seeds. NLL in nats an image and "
        "Brier score: "
        "with sigmoid summed over the K one-vs-all classifiers, so comparable within a map only. ECE: expected "
        "calibration "
        f"error of the predicted class's probability, {NUM_BINS} bins of equal width; overconfidence: mean "
        f"confidence less "
        "accuracy. Logits were kept in half precision."
    )
    own = {key: runs for (key, name), runs in found.items() if name == MAPS[key[2]] and key[0] == "CNN2C"}
    return [reliability(own), table(lines, ["Data set", "Network", "Loss", "Map"], caption)]


def _calibrations(judge: Judge) -> Iterator[tuple[tuple[Key, Map], list[Calibration]]]:
    maps: tuple[Map, ...] = ("softmax", "sigmoid")
    for key, cell in judge.arms["paper"].items():
        kept = list(_logits(judge.results, cell)) if key[2] in MAPS else []
        for name in maps if kept else ():
            yield (key, name), [calibration(logits, labels, name) for logits, labels in kept]


def _logits(results: Results, cell: Cell) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Logits and classes of a cell's test images, run by run, where both are known."""
    for config in cell.configs:
        record, arrays = results.record(config), results.arrays(config)
        labels = test_labels(record.fields["config"]["dataset"]) if record else None
        logits = None if arrays is None else arrays.get("test_logits")
        if labels is not None and logits is not None and len(logits) == len(labels):
            yield logits, labels


def _spread(values: Sequence[float], digits: int, sign: str = "") -> str:
    mean = f"{np.mean(values):{sign}.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def reliability(found: Mapping[Key, Sequence[Calibration]]) -> Picture:
    """Accuracy over confidence, bins of all seeds together, a panel a data set."""
    datasets = list(dict.fromkeys(key[1] for key in found))
    figure = Figure(figsize=(3.3 * max(1, len(datasets)), 3.6), layout="constrained")
    told = []
    for axes, dataset in zip(figure.subplots(1, max(1, len(datasets)), squeeze=False)[0], datasets, strict=False):
        axes.axline((0, 0), (1, 1), color=FAINT, linewidth=1)
        for key, runs in found.items():
            if key[1] != dataset:
                continue
            counts = np.sum([one.counts for one in runs], axis=0)
            confidence, accuracy = (
                np.nansum([one.counts * getattr(one, name) for one in runs], axis=0) / np.maximum(counts, 1)
                for name in ("confidence", "accuracy")
            )
            there = counts >= SHOWN_FROM
            label = f"{key[2]} ({MAPS[key[2]]})"
            axes.plot(confidence[there], accuracy[there], **STYLES[key[2]], markersize=4, label=label)
            gap = np.mean([one.overconfidence for one in runs])
            told.append(f"{dataset}, {key[2]}: confidence less accuracy {100 * gap:+.2f} points, n={len(runs)}.")
        axes.set(title=dataset, xlabel="confidence", ylabel="accuracy" if axes.get_subplotspec().is_first_col() else "")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.grid(color=FAINT, alpha=0.3)
        axes.legend(fontsize=SMALL, loc="upper left")
    caption = (
        f"Reliability of CNN2C with each loss's own map: accuracy over confidence in {NUM_BINS} bins, images of all "
        f"seeds "
        f"together, bins with {SHOWN_FROM} images or more. On the line confidence is accuracy; below it, overconfident."
    )
    return Picture("reliability", figure, caption, f"Reliability diagrams. {' '.join(told)}")
