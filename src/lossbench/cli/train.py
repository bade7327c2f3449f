"""`lossbench train`: trains one run, or with -m and comma lists a sweep of runs."""

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from lossbench.cli.hydra_main import hydra_main
from lossbench.cli.launching import launched
from lossbench.cli.printing import say_summary
from lossbench.cli.table import print_sweep
from lossbench.config.naming import told_apart
from lossbench.config.run import Config, run_id
from lossbench.engines.options import Launcher
from lossbench.system.spelling import spelled


def train() -> None:
    """`lossbench train`: train one run, or with -m and comma lists a sweep."""
    hydra_main("train", _train, "config", launches=True)


def _train(composed: Config | list[Config], launcher: Launcher) -> None:
    _train_all(composed if isinstance(composed, list) else [composed], launcher)


def _train_all(configs: Sequence[Config], launcher: Launcher) -> None:
    from lossbench.runs.folder import Run, open_run, runs_dir

    summary = launched(launcher, configs)
    if summary is None:
        return
    known = {run_id(config): config for config in configs}
    words = told_apart({name: asdict(config) for name, config in known.items()})
    for name in summary.skipped:
        said = f"{name} ({spelled(words[name])})" if name in words else name
        accuracy = float(Run(runs_dir(known[name].runtime.output_dir) / name).record()["test_accuracy"])
        print(f"{said}: finished before, test accuracy {accuracy:.4f}")
    for key in ("class_trace", "gradient_trace"):
        if summary.skipped and any(getattr(config.runtime, key) for config in configs):
            print(f"runtime.{key} has no effect on finished runs; remove the folder of a run to train it again")
    if sentence := _without_weights(configs, summary.skipped):
        print(sentence)
    say_summary(summary)
    if len(configs) == 1 and not summary.failed and not summary.postponed:
        _print_bayes(configs[0])
    if len(configs) == 1 and open_run(configs[0]).folder.exists():  # no job may have begun it
        print(f"files: {open_run(configs[0]).folder}")
    elif len(configs) > 1:
        print_sweep(configs[0].runtime.output_dir, list(known))
    if summary.failed:
        sys.exit(1)


def _print_bayes(config: Config) -> None:
    """Print what the true posterior reaches on a finished run's test samples, where it is known."""
    from lossbench.runs.folder import open_run
    from lossbench.runs.measures import nll_above_bayes

    record = open_run(config).record()
    if "bayes" in record:
        best, above = record["bayes"], nll_above_bayes(record)
        print(
            f"true posterior on the same {record['num_test']:,} test samples: accuracy {best['accuracy']:.4f}, NLL "
            f"{best['nll']:.4f} nats; the run's NLL is {above:.4f} above it"
        )


def _without_weights(configs: Sequence[Config], done: Collection[str]) -> str | None:
    """A sentence if runs that were finished before lack the weights that are asked for now; None: none do."""
    from lossbench.runs.folder import WEIGHTS, open_run
    from lossbench.runs.weights import how_to_save

    known = set(done)
    asked = {run.id: run for run in (open_run(config) for config in configs if config.runtime.save_weights)}
    lacking = [run for name, run in asked.items() if name in known and not (run.folder / WEIGHTS).exists()]
    if not lacking:
        return None
    which = f"{len(lacking)} runs are" if len(lacking) > 1 else f"{lacking[0].id} is"
    names, output_dir = [run.id for run in lacking], Path(configs[0].runtime.output_dir)
    return f"{which} finished and without weights; to get them, {how_to_save(names, output_dir)}"
