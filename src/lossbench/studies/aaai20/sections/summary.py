"""The reproducibility summary: scope, method, data, compute, and departures from the paper and from the rules.

Numbers are computed from the records; departures from the rules are in `paper/deviations.csv`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lossbench.report.blocks import Block, Table, Terms
from lossbench.report.wording import enumerated, plain
from lossbench.studies.aaai20 import grid, paper
from lossbench.studies.aaai20.sections.findings import DATASETS
from lossbench.studies.results import Results

METHOD = (
    "Compared losses share initial weights and the order of images. Differences are paired over seeds, with intervals "
    "and Holm's correction. Each loss is also trained at its own learning rate. The rules precede the "
    "runs (docs/statistics.md), except for the deviations below."
)
HARD = (
    "The paper gives no seeds, spread, initialisation, normalisation, padding or reported epoch. CNN5C's sizes do not "
    "fit; Table 1's weights are mislabelled. Large networks are slow without a GPU."
)
DIFFERENCES = (
    "Code: the paper links github.com/Dichoto/LGL-INR. We follow the LGL-INR loss published there, with a stable "
    "logarithm, and found no training code. Where the text is open: LGL averages over batch and classes; CNN2C has a "
    "hidden layer of 500; CNN5C's first convolution is padded; MNIST's normalisation serves all MNIST-type sets; the "
    "last epoch counts. All are options (docs/defaults.md)."
)


def reproducibility(results: Results, used: Iterable[str]) -> list[Block]:
    """What was reproduced, how, on what, at which cost, and with which departures.

    Args:
        results: all known runs.
        used: names of the finished runs that the page rests on.
    """
    runs = [results.records[name].fields for name in sorted(used)]
    return [
        Terms(
            [
                ("Scope", _scope(results)),
                ("Method", METHOD),
                ("Data", _data(runs)),
                ("Compute", _compute(runs, len(results.diverged))),
                ("What was easy", _easy(results)),
                ("What was hard", HARD),
                ("What differs", DIFFERENCES),
            ]
        ),
        deviations(),
    ]


def deviations() -> Table:
    """Where the study departs from its own rules, by date."""
    columns = {"date": "Date", "rule": "Rule", "done": "Done", "effect": "Effect"}
    frame = pd.DataFrame(paper.lines("deviations.csv"))[list(columns)].rename(columns=columns).set_index("Date")
    return Table(frame, "Deviations from the rules, and decisions after results were seen.")


def _scope(results: Results) -> str:
    """How many of the runs of the paper's tables are done."""
    counts = []
    for number in grid.TABLES:
        names = {results.name(config) for cell in grid.cells(number, "paper") for config in cell.configs}
        counts.append(f"{len(names & results.records.keys())} of {len(names)} in Table {number}")
    return f"The paper's tables, figures and testable claims; no derivations. Runs done: {enumerated(counts)}."


def _data(runs: Sequence[Mapping[str, Any]]) -> str:
    """Which images are trained on, and how many of them are held out."""
    held_out = sorted({run["config"]["dataset"].get("num_validation") or 0 for run in runs} - {0})
    text = f"{enumerated(DATASETS.values())} as published, verified by SHA-256."
    if not held_out:
        return text
    numbers = " or ".join(f"{number:,}" for number in held_out)
    return f"{text} Learning rates are chosen on {numbers} held-out training images."


def _compute(runs: Sequence[Mapping[str, Any]], num_diverged: int) -> str:
    """Runs, hours, devices and seeds."""
    if not runs:
        return "No runs yet."
    hours = np.nansum([float(run.get("wall_s", np.nan)) for run in runs]) / 3600
    devices = enumerated(sorted({plain(run["device_name"]) for run in runs}))
    precisions = Counter(plain(run["precision"]) for run in runs)
    counts = enumerated(f"{number} in {precision}" for precision, number in precisions.most_common())
    diverged = f"; {num_diverged} more diverged" if num_diverged else ""
    seeds = _spans({run["config"]["seed"] for run in runs})
    return f"{len(runs)} runs ({counts}) in {hours:.1f} hours on {devices}{diverged}. Seeds {seeds}."


def _easy(results: Results) -> str:
    """What helps, with the time of a run of CNN2C in Table 3 where there is one."""
    found = [results.record(config) for cell in grid.figure_cells("paper") for config in cell.configs]
    minutes = [float(one.fields["wall_s"]) / 60 for one in found if one is not None and "wall_s" in one.fields]
    duration = f" A run of CNN2C takes {np.median(minutes):.1f} minutes (median, n={len(minutes)})." if minutes else ""
    return f"The data and the LGL-INR loss are public.{duration}"


def _spans(numbers: Iterable[int]) -> str:
    """Whole numbers, neighbours together, such as "0 to 4, 7 and 1000"."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return enumerated(f"{one[0]} to {one[-1]}" if len(one) > 1 else str(one[0]) for one in spans)
