"""Runs of the large networks on a CPU, beside the paper's numbers and apart from its tables."""

import math
from collections.abc import Iterable

from lossbench.config.run import Config, Precision
from lossbench.report.blocks import Block, Paragraph
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, enumerated, points, span, spread
from lossbench.statistics import inference
from lossbench.studies.aaai20 import without_gpu
from lossbench.studies.aaai20.conditions import MARGINS
from lossbench.studies.provenance import trained_on
from lossbench.studies.results import Results


def on_a_cpu(results: Results) -> list[Block]:
    """CNN5C in both precisions, and the beginnings of CIFAR-10's runs."""
    begun = without_gpu.cifar10()
    lines: dict[str, dict[str, str]] = {}
    for (network, loss), config in begun.items():
        lines.setdefault(network, {})[loss] = _accuracy(results.accuracy(config)) or MISSING
    caption = (
        f"A trial, not a result: CIFAR-10 after {without_gpu.CIFAR10_EPOCHS} of 100 epochs on "
        f"{without_gpu.CIFAR10_IMAGES:,} training images, fp32 on a CPU, test accuracy (%), n=1."
    )
    return [*cnn5c(results), table(lines, ["Network"], _told(caption, results, begun.values()))]


def cnn5c(results: Results) -> list[Block]:
    """What bf16 does beside fp32, and CNN5C's cells in the precision they were trained in."""
    lines: dict[str, dict[str, str]] = {}
    cells = {precision: without_gpu.cnn5c(precision) for precision in (Precision.bf16, Precision.fp32)}
    for group in zip(*cells.values(), strict=True):
        known = zip(cells, (_mean(results.values(cell)) for cell in group), strict=True)
        told = ", ".join(f"{accuracy} in {precision}" for precision, accuracy in known if accuracy)
        beside = f" (paper {group[0].paper:.2f})"
        lines.setdefault(group[0].dataset, {})[group[0].loss] = told + beside if told else toned(MISSING, beside)
    caption = (
        "CNN5C: test accuracy (%) after the last epoch, mean ± standard deviation over seeds (n), the paper's number "
        f"in brackets; fewer than {inference.MIN_RUNS} runs are too few for a verdict. The runs in fp32 are those of "
        "Table 3 and are judged; the runs in bf16 are description only."
    )
    configs = [config for group in cells.values() for cell in group for config in cell.configs]
    return [Paragraph(_agreement(results)), table(lines, ["Data set"], _told(caption, results, configs))]


def _told(caption: str, results: Results, configs: Iterable[Config]) -> str:
    """A caption, and what its finished runs were done on."""
    names = results.records.keys() & {results.name(config) for config in configs}
    return f"{caption} {trained_on(results, names)}".strip()


def _processors(results: Results, both: without_gpu.Agreement) -> list[str]:
    """Where the runs in two precisions were done; a pair need not have shared its processor."""
    records = [results.record(config) for cell in (both.fp32, both.bf16) for config in cell.configs]
    return sorted({str(record.fields["device_name"]) for record in records if record})


def _accuracy(value: float | None) -> str:
    return "" if value is None else "diverged" if math.isnan(value) else f"{100 * value:.2f}"


def _agreement(results: Results) -> str:
    both = without_gpu.agreement()
    pairs = inference.pair(results.values(both.bf16), results.values(both.fp32))  # precisions differ on purpose
    if pairs.n < inference.MIN_RUNS:
        known = f", bf16 - fp32 {enumerated(map(points, pairs.differences))} points" if pairs.n else ""
        return f"Whether bf16 and fp32 agree is open: {pairs.n} of {without_gpu.AGREEMENT_SEEDS} pairs of runs{known}."
    test = inference.tost(pairs, MARGINS["kmnist"])
    shown = "are equivalent" if test.p < inference.ALPHA else "are not shown to be equivalent"
    places = _processors(results, both)
    mixed = "; pairs can mix these, so the difference is not due to precision alone" if len(places) > 1 else ""
    return (
        f"bf16 and fp32 {shown} within ±{100 * test.margin:g} points: SML on KMNIST with CNN5C after "
        f"{without_gpu.AGREEMENT_EPOCHS} epochs, bf16 - fp32 {points(test.mean)} points (90 % interval "
        f"{span(test.low, test.high)}, n={test.n}); on {enumerated(places)}{mixed}."
    )


def _mean(values: inference.Values) -> str:
    known = inference.finished(values)
    failed = f"{inference.num_failed(values)} diverged" if inference.num_failed(values) else ""
    told = f"{spread([100 * value for value in known], 2)} (n={len(known)})" if known else ""
    return ", ".join(filter(None, [told, failed]))
