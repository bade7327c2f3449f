"""The rest of the paper and what our results rest on: simulation, architectures, theory, errors, provenance."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import numpy as np

from lossbench.config.registry import DATASETS
from lossbench.config.run import Config
from lossbench.data.labels import train_counts
from lossbench.report import property_figure
from lossbench.report.blocks import Block, Items, Paragraph
from lossbench.report.rows import PropertyRow
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, NO_NUMBER, in_words, short_commit, span
from lossbench.statistics import learning_property as diagnostics
from lossbench.studies.aaai20 import conditions, paper
from lossbench.studies.aaai20 import table1 as simulation
from lossbench.studies.aaai20.grid import LITERAL_HEAD, LOSS_LABELS, paper_numbers
from lossbench.studies.aaai20.keys import SML
from lossbench.studies.aaai20.table1 import Simulations
from lossbench.studies.aaai20.table1_verdicts import equation_10, simulated
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Key
from lossbench.studies.results import Results

SPLITS: tuple[Literal["train"], Literal["test"]] = ("train", "test")


def table1(simulations: Simulations | None) -> list[Block]:
    """Table 1, the weights as printed and as corrected, the network stopped and converged, and what Eq. 10 comes to."""
    if simulations is None:
        return [Paragraph("Table 1 is missing: lossbench simulate makes it.")]
    lines = {}
    for one in simulated(simulations):
        cell = one.cell
        digits = 3 if cell.rhs < 10 else 2
        lines[cell.simulation, cell.training, cell.reading, _weight(cell)] = {
            "Right side": f"{cell.rhs:g}",
            "Ours": f"{cell.mean:.{digits}f} ({cell.sd:.{digits}f})",
            "Another mean": f"{one.low:.{digits}f} to {one.high:.{digits}f}",
            "Paper": f"{one.printed.mean:.2f} ({one.printed.sd:.2f})",
            "Verdict": toned(one.outcome),
            "Off by (%)": span(one.equivalence.low, one.equivalence.high),
        }
    caption = (
        f"Table 1. Left side of Eq. 10 on test samples, mean (standard deviation) of {simulations.num_repetitions} "
        f"simulations, seed {simulations.seed}, {simulations.wall_s:.0f} s, commit {short_commit(simulations.commit)}. "
        "Another mean: where the mean of as many new simulations would lie (95 %). Paper: rounded to 0.01. Off by: "
        "difference of the left from the right side (90 % interval). Weights are as printed, or corrected so that they "
        "give the printed values. Sim1 is a logistic regression. Sim2's network is stopped after "
        f"{simulations.stopped_after} iterations or has converged within {simulations.converged_within}; the paper "
        "does not say how it was trained."
    )
    outcomes = [f"{outcome} with Sim2's network {training}" for training, outcome in equation_10(simulations).items()]
    num_cells = in_words(len({(one.cell.simulation, one.cell.lambda_printed) for one in simulated(simulations)}))
    claim = f"The claim that the simulated values match Eq. 10 within 5 % in all {num_cells} cells"
    text = f"{claim} {' and '.join(outcomes)}."
    return [table(lines, ["Simulation", "Model", "Weights", "lambda_0"], caption), Paragraph(text)]


def _weight(cell: simulation.Cell) -> str:
    return cell.lambda_corrected if cell.reading == "corrected" else cell.lambda_printed


@cache
def _networks() -> dict[str, list[dict[str, str]]]:
    """The layers of each network as built, by tools/write_networks.py."""
    found: dict[str, list[dict[str, str]]] = {}
    for line in paper.lines("networks.csv"):
        found.setdefault(line["network"], []).append(line)
    return found


def _num_parameters(network: str) -> str:
    return f"{sum(int(layer['parameters']) for layer in _networks()[network]):,}"


def table2() -> list[Block]:
    """Table 2: every network as built, layer by layer, with computed shapes and numbers of parameters."""
    lines = {}
    for network, layers in _networks().items():
        shown = [layer for layer in layers if layer["layer"] != "ReLU"]
        for number, layer in enumerate(shown, start=1):
            parameters = f"{int(layer['parameters']):,}"
            lines[network, str(number)] = {"Layer": layer["layer"], "Output": layer["output"], "Parameters": parameters}
        lines[network, "all"] = {"Layer": "all layers", "Output": "", "Parameters": _num_parameters(network)}
    caption = (
        "Table 2. The networks as built, shapes and parameters computed. C channels, K kernel, S stride, P padding; CV "
        "convolution, BN batch normalisation, MP and AP pooling, a number alone the size of a linear layer; ReLU is "
        "left out. MobileNetV2 and ResNet-18 by block."
    )
    return [table(lines, ["Network", "Row"], caption)]


Balances = dict[tuple[Key, str], list[diagnostics.Balance]]
"""By cell and images; one a seed."""


def balances(judge: Judge) -> tuple[Balances, list[str]]:
    """Both sides of the learning property on every run at the paper's learning rate, and what contradicts itself."""
    found: Balances = {}
    problems = []
    for key, cell in judge.conditions["paper"].items():
        for config in cell.configs if key.loss.option is None else ():
            try:
                sides = _sides(judge.results, config)
            except ValueError as error:
                problems.append(f"{judge.results.name(config)} is left out: {error}.")
                continue
            for split, balance in sides.items():
                found.setdefault((key, split), []).append(balance)
    return found, problems


def _sides(results: Results, config: Config) -> dict[str, diagnostics.Balance]:
    """By images; none where a run is not done, its arrays are missing, or its data are not public."""
    record, arrays = results.record(config), results.arrays(config)
    if record is None or arrays is None:
        return {}
    dataset = record.fields["config"]["dataset"]
    counts = train_counts(dataset)
    if counts is None or len(arrays.get("output_bias", [])) != len(counts):
        return {}
    return diagnostics.balances(record.fields["config"], arrays, counts, record.test_labels(arrays))


def learning_property(found: Balances, problems: Sequence[str]) -> list[Block]:
    """Eq. 8 to 10 on trained networks: both sides per class, residuals on training and test images."""
    named: list[Block] = [Items(problems)] if problems else []
    if not found:
        return [Paragraph("No runs with arrays yet."), *named]
    rows = [
        PropertyRow(" ".join(key.labels[:2]), key.loss.label, split, name, float(left), float(right))
        for split in SPLITS
        for (key, images), group in found.items()
        if images == split
        for one in group
        for name, left, right in zip(_class_names(key, len(one.left)), one.left, one.right, strict=True)
    ]
    lines = {}
    for (key, images), group in found.items():
        network, dataset, loss = key.labels
        lines[loss, dataset, network, images] = _balance(group)
    caption = (
        "Eq. 9 (SML) and 10 (LGL, LGL-INR, per one-vs-all classifier; LGL-INR by its own law) on trained networks. "
        "Left / right: 1 in balance, median and range over classes and seeds. Typical factor: the larger side over the "
        "smaller, median; unlike in the median of left / right, ratios above and below 1 do not cancel. Residual: left "
        "minus right, divided by the sum of both sides, median. Explained: the part of it that comes from weight decay "
        "on biases and from LGL-INR's gradient through its weights, where known."
    )
    return [
        property_figure.learning_property(rows, LOSS_LABELS),
        *_in_balance(found),
        table(lines, ["Loss", "Data set", "Network", "Images"], caption),
        *named,
    ]


def _class_names(key: Key, num_classes: int) -> Sequence[str]:
    """As the data set names its classes; by their numbers where they have no names."""
    names = DATASETS[key.dataset].options(name=key.dataset).class_names()
    return names if names and len(names) == num_classes else [str(number) for number in range(num_classes)]


def _in_balance(groups: Balances) -> list[Block]:
    """How near the two sides are, loss by loss, over all data sets, networks, seeds and classes."""
    texts = []
    for loss in dict.fromkeys(key.loss for key, _ in groups):
        told = []
        for split in SPLITS:
            ratios = np.concatenate(
                [one.ratio for key, group in groups.items() if (key[0].loss, key[1]) == (loss, split) for one in group]
            )
            apart = _apart(ratios)
            near = 100 * np.mean(apart <= math.log(diagnostics.LAW_FACTOR)) if len(apart) else math.nan
            told.append(f"{_factor(ratios)} on {split}{'ing' * (split == 'train')} images ({near:.0f} %)")
        texts.append(f"{loss.label}: {told[0]} and {told[1]}.")
    asked = (
        "Factor between the two sides in a typical class (median over classes, seeds and data sets); in brackets the "
        f"share of classes whose factor is within {diagnostics.LAW_FACTOR}:"
    )
    why = (
        "LGL-INR's right side is weighted, so a mistake adds about nine times as much to the left. Where a network "
        "fits its training images almost perfectly, its two sides are far apart on test images."
    )
    return [Paragraph(asked), Items(texts), Paragraph(why)]


def _apart(ratios: np.ndarray) -> np.ndarray:
    """By how much two sides differ, in logarithms, where both are positive."""
    distances: np.ndarray = np.abs(np.log(ratios[(ratios > 0) & np.isfinite(ratios)]))
    return distances


def _factor(ratios: np.ndarray) -> str:
    """The typical ratio of the larger to the smaller side."""
    apart = _apart(ratios)
    return f"{np.exp(np.median(apart)):.2f}" if len(apart) else NO_NUMBER


def _balance(group: Sequence[diagnostics.Balance]) -> dict[str, str]:
    ratios = np.concatenate([one.ratio for one in group])
    relative = np.concatenate([one.relative for one in group])
    known = np.concatenate([(one.decay + one.attached) / (one.left + one.right) for one in group])
    ratios, relative, known = (values[np.isfinite(values)] for values in (ratios, relative, known))
    return {
        "n": str(len(group)),
        "Left / right": f"{np.median(ratios):.2f}" if len(ratios) else NO_NUMBER,
        "Range": f"{ratios.min():.2f} to {ratios.max():.2f}" if len(ratios) else NO_NUMBER,
        "Typical factor": _factor(ratios),
        "Residual": f"{np.median(relative):+.3f}" if len(relative) else NO_NUMBER,
        "Explained": f"{np.median(known):+.3f}" if len(known) else NO_NUMBER,
    }


def audit(found: Balances, simulations: Simulations | None) -> list[Block]:
    """What is wrong or missing in the paper, with our evidence."""
    known = _audit_numbers(found, simulations)
    lines = {
        (line["place"], line["said"]): {"Finding": line["finding"], "Evidence": line["evidence"].format_map(known)}
        for line in paper.lines("audit.csv")
    }
    return [table(lines, ["Place", "The paper says"], "The paper's errors and gaps, with our evidence.")]


class _Numbers(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return MISSING


def _audit_numbers(found: Balances, simulations: Simulations | None) -> _Numbers:
    known = _Numbers()
    for one in simulated(simulations) if simulations else []:
        weight = {"1/2": "half", "N0/(N0+N1)": "single", "2N0/(2N0+N1)": "double"}[one.cell.lambda_printed]
        how = one.cell.reading if one.cell.simulation == "Sim1" else f"{one.cell.training}_{one.cell.reading}"
        known[f"{one.cell.simulation.lower()}_{how}_{weight}"] = f"{one.cell.mean:.3g}"
    names = {"lgl_mnist": (3, "CNN2C LGL", "MNIST"), "sml_mnist": (3, "CNN2C SML", "MNIST")}
    names |= {"inr_fmnist": (3, "CNN2C LGL-INR", "FMNIST"), "sml_fmnist": (3, "CNN2C SML", "FMNIST")}
    names |= {"lgl_mobilenetv2": (4, "LGL", "MobileNetV2"), "lgl_resnet18": (4, "LGL", "ResNet-18")}
    known.update({name: f"{paper_numbers()[cell]:.2f}" for name, cell in names.items()})
    for name, network in (("cnn2c", "CNN2C"), ("literal", LITERAL_HEAD), ("cnn5c", "CNN5C")):
        known[f"{name}_parameters"] = _num_parameters(network)
    known["cnn5c_features"] = _networks()["CNN5C"][-2]["output"]
    known["scale_sml"], known["scale_lgl"] = (
        f"{conditions.SCALES[conditions.PLACES[0]][loss]:g}" for loss in ("sml", "lgl")
    )
    of_sml = [one for (key, images), group in found.items() if (key.loss, images) == (SML, "train") for one in group]
    identities = [abs(one.residual.sum()) / one.left.sum() for one in of_sml]
    if identities:
        known["num_sml"], known["sml_identity"] = str(len(identities)), f"{max(identities):.1e}"
    return known
