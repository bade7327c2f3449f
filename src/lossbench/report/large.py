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
    """CNN5C with one seed, how bf16 agrees with fp32, and the beginnings of CIFAR-10's runs."""
    begun = pilots.cifar10()
    lines: dict[str, dict[str, str]] = {}
    for (network, loss), config in begun.items():
        lines.setdefault(network, {})[loss] = _accuracy(results.accuracy(config)) or MISSING
    caption = (
        f"No result, a pilot: CIFAR-10 after {pilots.PILOT_EPOCHS} of 100 epochs on {pilots.PILOT_IMAGES:,} training "
        "images, fp32 on a CPU, test accuracy (%), n=1."
    )
    return [*cnn5c(results), table(lines, ["Network"], _told(caption, results, begun.values()))]


def cnn5c(results: Results) -> list[Block]:
    """How bf16 agrees with fp32, and CNN5C's cells with one seed, told in the precision they were trained in."""
    lines: dict[str, dict[str, str]] = {}
    cells = {precision: pilots.cnn5c(precision) for precision in (Precision.bf16, Precision.fp32)}
    for group in zip(*cells.values(), strict=True):
        known = zip(cells, (_accuracy(results.accuracy(cell.config)) for cell in group), strict=True)
        told = ", ".join(f"{accuracy} in {precision}" for precision, accuracy in known if accuracy) or MISSING
        lines.setdefault(group[0].dataset, {})[group[0].loss] = f"{told} (paper {group[0].paper:.2f})"
    caption = (
        "CNN5C with seed 0: test accuracy (%) after the last epoch, n=1 a cell, too few for a verdict; the paper's "
        "number beside it. The runs in fp32 are Table 3's own; those in bf16 are in none of the paper's tables."
    )
    configs = [cell.config for group in cells.values() for cell in group]
    return [Paragraph(_agreement(results)), table(lines, ["Data set"], _told(caption, results, configs))]


def _told(caption: str, results: Results, configs: Iterable[Config]) -> str:
    """A caption with what those of its runs that are there were done on."""
    names = results.records.keys() & {results.name(config) for config in configs}
    return f"{caption} {conditions(results, names)}".strip()


def _processors(results: Results, both: pilots.Agreement) -> list[str]:
    """Where the runs in two precisions were done; a pair need not have shared its processor."""
    records = [results.record(config) for cell in (both.fp32, both.bf16) for config in cell.configs]
    return sorted({str(record.fields["device_name"]) for record in records if record})


def _accuracy(value: float | None) -> str:
    return "" if value is None else "diverged" if math.isnan(value) else f"{100 * value:.2f}"


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
