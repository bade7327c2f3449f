"""Runs on classes whose posterior is known: how far above its NLL a network ends, by number of classes and method."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from lossbench.config.options import LossConfig
from lossbench.config.run import Config, Optimizer, Runtime, Schedule
from lossbench.data.gaussian_classes import Frequencies, GaussianClasses
from lossbench.losses.nce import Nce
from lossbench.losses.sampled_softmax import SampledSoftmax
from lossbench.losses.sml import Sml
from lossbench.models.linear import Linear
from lossbench.report.blocks import Block
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, spread
from lossbench.runs.measures import nll_above_bayes
from lossbench.statistics.inference import finished, num_failed
from lossbench.studies.cells import made_for
from lossbench.studies.comparison import Comparison, Rules
from lossbench.studies.learning_rates import Rates
from lossbench.studies.results import Results
from lossbench.studies.study import Accuracy

LOSSES: Mapping[str, LossConfig] = {
    "SML": Sml(),
    "Sampled softmax, m=100": SampledSoftmax(),
    "NCE, m=100": Nce(),
}

SIZES = (100, 1_000, 10_000, 100_000)
"""Numbers of classes, K."""

CHOSEN_AT = 1_000
"""Number of classes at which the learning rates are chosen."""

NUM_SEEDS = 3

SCHEDULE = Schedule(epochs=2, batch_size=512, lr=0.1, momentum=0.0, optimizer=Optimizer.adagrad)

RATES = Rates(grid=(0.03, 0.1, 0.3), below=(0.01, 0.003), above=(1.0, 3.0), most_extensions=2)


def comparison(frequencies: Frequencies) -> Comparison:
    """The losses at `CHOSEN_AT` classes, each at its own learning rate."""
    rules = Rules(
        "SML",
        0.0025,
        NUM_SEEDS,
        rates=RATES,
        selection_seeds=(1000,),
        has_common=False,
        selection_epochs=1,
    )
    dataset = GaussianClasses(num_classes=CHOSEN_AT, frequencies=frequencies)
    return Comparison({label: Config(dataset, Linear(), loss, SCHEDULE) for label, loss in LOSSES.items()}, rules)


def reported(frequencies: Frequencies, label: str, size: int, accuracy: Accuracy) -> list[Config]:
    """The runs of a loss with a number of classes, one a seed; empty while its learning rate is not known."""
    cell = comparison(frequencies).at_own(label, accuracy)
    if cell is None:
        return []
    dataset = GaussianClasses(num_classes=size, frequencies=frequencies)
    return [replace(one, dataset=dataset) for one in cell.configs]


def blocks(accuracy: Accuracy, experiment: str, runtime: Runtime) -> Iterator[tuple[str, list[Config]]]:
    """All runs in named blocks, few classes first."""
    for frequencies in Frequencies:
        for name, configs in comparison(frequencies).plan(accuracy, experiment, runtime):
            yield f"many classes, known posterior, {frequencies}, {name}", configs
    for size, frequencies in product(SIZES, Frequencies):
        configs = [one for label in LOSSES for one in reported(frequencies, label, size, accuracy)]
        yield f"many classes, known posterior, {frequencies}, {size:,} classes", made_for(experiment, configs, runtime)


def posterior_blocks(results: Results) -> list[Block]:
    """NLL above that of the true posterior; empty without a finished run."""
    rows = {}
    for frequencies, size in product(Frequencies, SIZES):
        row = {label: _told(results, reported(frequencies, label, size, results.accuracy)) for label in LOSSES}
        if any(text != MISSING for text in row.values()):
            rows[frequencies.value, f"{size:,}"] = row
    if not rows:
        return []
    example = GaussianClasses()
    dims = example.dims
    caption = (
        "NLL of the test samples less that of the true posterior, in nats: an estimate of the mean Kullback-Leibler "
        f"divergence from the true posterior to the network's. Gaussian classes in {dims} dimensions, "
        f"{example.num_samples:,} training samples, linear network, {SCHEDULE.epochs} epochs; mean ± standard "
        f"deviation (n). Learning rates are those that were best on held-out samples with {CHOSEN_AT:,} classes. With "
        f"{SIZES[-1]:,} classes the network has {SIZES[-1] * (dims + 1):,} parameters, more than there are samples."
    )
    return [table(rows, ["Frequencies", "K"], caption)]


def _told(results: Results, configs: list[Config]) -> str:
    known = [results.value(config, lambda record: nll_above_bayes(record.fields)) for config in configs]
    found, lost = finished(known), num_failed(known)
    if not found:
        return toned("failed", f": {lost} diverged") if lost else MISSING
    notes = f"n={len(found)}{f', {lost} diverged' if lost else ''}"
    return f"{spread(found, 3)} ({notes})"
