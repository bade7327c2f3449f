"""What do runs on a CPU say of the large networks? Beside the paper's numbers, and no part of its tables."""

import math
from collections.abc import Iterable

from lossbench import inference, pilots
from lossbench.choices import Precision
from lossbench.config import Config
from lossbench.report.context import conditions
from lossbench.report.findings import enumerated, points, span
from lossbench.report.page import Block, Paragraph
from lossbench.report.sections import table
from lossbench.report.tables import MISSING
from lossbench.results import Results


def without_gpu(results: Results) -> list[Block]:
    """CNN5C in bf16, with how bf16 agrees with fp32, and the beginnings of CIFAR-10's runs."""
    cells, begun = pilots.cnn5c(), pilots.cifar10()
    known: dict[str, dict[str, str]] = {}
    for cell, plain in zip(cells, pilots.cnn5c(Precision.fp32), strict=True):
        ((value,), (in_table,)) = results.values(cell), results.values(plain)
        said = "in Table 3" if value is None and in_table is not None else _accuracy(value)
        known.setdefault(cell.dataset, {})[cell.loss] = f"{said} (paper {cell.paper:.2f})"
    beginnings: dict[str, dict[str, str]] = {}
    for (network, loss), config in begun.items():
        beginnings.setdefault(network, {})[loss] = _accuracy(results.accuracy(config))
    whole = (
        "CNN5C in bf16 on a CPU: test accuracy (%) after the last epoch, n=1 a cell, too few for a verdict; the "
        "paper's number beside it. Cells whose run was done in fp32 are in Table 3."
    )
    pilot = (
        f"No result, a pilot: CIFAR-10 after {pilots.PILOT_EPOCHS} of 100 epochs on {pilots.PILOT_IMAGES:,} training "
        "images, fp32 on a CPU, test accuracy (%), n=1."
    )
    return [
        Paragraph(_agreement(results)),
        table(known, ["Data set"], _told(whole, results, [cell.config for cell in cells])),
        table(beginnings, ["Network"], _told(pilot, results, begun.values())),
    ]


def _told(caption: str, results: Results, configs: Iterable[Config]) -> str:
    """A caption with what those of its runs that are there were done on."""
    names = results.records.keys() & {results.name(config) for config in configs}
    return f"{caption} {conditions(results, names)}".strip()


def _processors(results: Results, both: pilots.Agreement) -> list[str]:
    """Where the runs in two precisions were done; a pair need not have shared its processor."""
    records = [results.record(config) for cell in (both.fp32, both.bf16) for config in cell.configs]
    return sorted({str(record.fields["device_name"]) for record in records if record})


def _accuracy(value: float | None) -> str:
    return MISSING if value is None else "diverged" if math.isnan(value) else f"{100 * value:.2f}"


def _agreement(results: Results) -> str:
    both = pilots.agreement()
    pairs = inference.pair(results.values(both.bf16), results.values(both.fp32))  # precisions differ on purpose
    if pairs.n < inference.MIN_RUNS:
        known = f", bf16 - fp32 {enumerated(map(points, pairs.differences))} points" if pairs.n else ""
        return f"Whether bf16 does as fp32 is open: {pairs.n} of {pilots.AGREEMENT_SEEDS} pairs of runs{known}."
    difference = inference.paired_t(pairs)
    seeds = inference.pooled_spread([results.values(both.bf16), results.values(both.fp32)])
    inside = abs(difference.mean) <= seeds.sd and difference.low <= 0 <= difference.high
    return (
        f"bf16 and fp32 {'agree' if inside else 'do not agree'} within seed noise: SML on KMNIST with CNN5C after "
        f"{pilots.AGREEMENT_EPOCHS} epochs, bf16 - fp32 {points(difference.mean)} points "
        f"({span(difference.low, difference.high)}, n={difference.n}), seeds {points(seeds.sd).lstrip('+')}; on "
        f"{enumerated(_processors(results, both))}."
    )
