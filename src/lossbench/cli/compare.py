"""`lossbench compare`: compares losses on a data set, each at its own learning rate."""

import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lossbench.cli import quick_comparison
from lossbench.cli.comparing import Asked, asked, comparison_of, launcher_of
from lossbench.cli.hydra_main import plain_errors
from lossbench.cli.launching import launched
from lossbench.cli.printing import elsewhere, num_runs, say_pages, say_summary
from lossbench.config.plugins import files_named
from lossbench.config.registry import LABELS
from lossbench.config.run import Config, Runtime, run_id
from lossbench.engines.options import Launcher
from lossbench.report.wording import counted
from lossbench.studies.comparison import Comparison
from lossbench.studies.fixed_rules import RULES, FixedRules, default_name, fix_rules, folder_of, read_rules
from lossbench.studies.results import Results, known_results
from lossbench.system.files import check_folder, write_bytes
from lossbench.system.screen import say
from lossbench.system.spelling import spelled

COSTS = "costs.json"
"""In a comparison's folder: time and memory of a step with each loss."""

QUICK_COSTS_S = 4.0
"""Time for measuring them in the quick form, in s."""

EXPERIMENT = "compare"
"""What the records say that the runs were made for."""


@click.command()
@click.argument("options", nargs=-1, metavar="loss=A,B,... [OPTION=VALUE]...")
@click.option("--quick", is_flag=True, help="A first answer in about two minutes.")
def compare(options: Sequence[str], quick: bool) -> None:
    """Compare losses, each at its own learning rate.

    Each loss gets its own learning rate, chosen on held-out training images: a grid with one seed, its edges extended
    while the best is there, two more seeds at the best rate and its neighbours. Then all losses are trained on all
    training images at a common and at their own rates, and a table and a page say which differ from the baseline.

    \b
    loss=focal,sml,my_loss   the losses; with options as in 'loss=focal(gamma=3),focal'
    dataset=kmnist model=cnn2c schedule.epochs=20 ...
                             as in lossbench train; schedule.lr is the common learning rate
    baseline=sml             the loss that the others are compared with
    margin=0.25              of equivalence, in points of accuracy
    seeds=5                  reported runs of each loss and learning rate
    dry=true                 say how many runs and hours it takes, and run nothing
    budget_hours=2           stop after that, likewise budget_runs=40; the same command continues
    name=...                 of the comparison's folder; a new name makes a new comparison
    results_dir=null         train all runs, also those that come with lossbench

    Baseline, margin and rules are written to a file before the first run and cannot change afterwards. Runs that were
    done for anything else are used. A loss of your own comes in by --plugin FILE. Exit code 1 if a run failed other
    than by divergence, which is a result.
    """
    with plain_errors():
        _compare(options, quick)


def _compare(options: Sequence[str], quick: bool) -> None:
    given = asked([*options, *(["quick=true"] if quick and "quick=true" not in options else [])])
    whole, launcher = comparison_of(given), launcher_of(given)
    runtime = whole.config.runtime
    check_folder(Path(runtime.output_dir), "runtime.output_dir")
    name = given.name or (f"quick-{default_name(whole)}" if given.quick else default_name(whole))
    comparison = _quick(whole, given, name, runtime) if given.quick else whole
    known = known_results(runtime.output_dir, given.results_dir)
    say(_what(comparison))
    if given.quick:
        say(quick_comparison.WHAT_IT_IS)
    if given.dry:
        _say_cost(comparison, known, runtime)
        return
    fixed = fix_rules(runtime.output_dir, name, comparison, known)
    say(f"rules: {spelled(folder_of(runtime.output_dir, name) / RULES)}, fixed on {fixed.day}")
    results, num_failed, is_whole = _train(comparison, launcher, given, known)
    _write(comparison, fixed, given, results, is_whole)
    if num_failed:
        sys.exit(1)


def _quick(whole: Comparison, given: Asked, name: str, runtime: Runtime) -> Comparison:
    """The quick form that was begun, or the one that fits into the time."""
    ones = list(quick_comparison.quick_ones(whole, given.seeds))
    known = read_rules(runtime.output_dir, name)
    if known is not None and (before := quick_comparison.chosen_before(ones, known)):
        return before
    from lossbench.data.prepared import prepare
    from lossbench.sweep.run_all import num_parallel

    config = ones[0].config
    prepare(config.dataset, runtime)
    return quick_comparison.fitting(ones, num_parallel([config] * 1000))


def _what(comparison: Comparison) -> str:
    rules, config = comparison.rules, comparison.config
    images = f"{config.dataset.num_train} training images of " if config.dataset.num_train else ""
    return (
        f"{'; '.join(comparison.losses)} on {images}{LABELS[config.dataset.name]} with {LABELS[config.model.name]}, "
        f"{counted(config.schedule.epochs, 'epoch')}: baseline {rules.baseline}, margin {100 * rules.margin:g} points, "
        f"{counted(rules.num_seeds, 'seed')}"
    )


def _say_cost(comparison: Comparison, known: Results, runtime: Runtime) -> None:
    """How many runs are known to be missing, how many more may follow, and how long they take."""
    import torch

    from lossbench.sweep import hours
    from lossbench.sweep.estimate import Estimates

    device = "cuda" if torch.cuda.is_available() and runtime.device != "cpu" else "cpu"
    measured = Estimates.from_records(known.records.values())
    missing: dict[str, Config] = {}
    for title, configs in comparison.plan(known.accuracy, EXPERIMENT, runtime):
        names = {run_id(config): config for config in configs}
        todo = {one: config for one, config in names.items() if known.accuracy(config) is None}
        missing |= todo
        if names:
            print(f"{title}: {len(todo)} of {num_runs(len(names))} to do")
    most = len(comparison.losses) * sum(comparison.rules.most_runs)
    planned = list(missing.values())
    one = comparison.at(comparison.rules.baseline).config
    print(f"known so far: {num_runs(len(planned))}, {hours.in_words(planned, measured, device) or 'no time'}")
    print(
        f"whole, from nothing: at most {num_runs(most)}, {sum(comparison.rules.most_runs)} a loss, "
        f"{hours.in_words([one] * most, measured, device)}"
    )
    print(elsewhere("compare"))


def _train(comparison: Comparison, launcher: Launcher, given: Asked, results: Results) -> tuple[Results, int, bool]:
    """Train what is missing, block by block; all known runs, the number of failed ones, and whether all are done.

    Runs that diverged are not repeated and no failures.
    """
    from lossbench.sweep import run_all as sweep

    runtime = comparison.config.runtime
    began, num_left, num_failed = time.monotonic(), given.budget_runs, 0

    def accuracy(config: Config) -> float | None:
        return results.accuracy(config)

    for title, configs in comparison.plan(accuracy, EXPERIMENT, runtime):
        found = results.found
        todo = sweep.remaining(configs, {*found.records, *found.diverged})
        if not todo:
            continue
        ready = todo if num_left is None else todo[:num_left]
        minutes = None if given.budget_hours is None else 60 * given.budget_hours - (time.monotonic() - began) / 60
        if not ready or (minutes is not None and minutes <= 0):
            say("the budget is spent; the same command continues")
            return results, num_failed, False
        of_all = f" of {len(todo)}" if len(ready) < len(todo) else ""
        say(f"{title}: {num_runs(len(ready))}{of_all}")
        within = [replace(one, runtime=replace(one.runtime, budget_min=minutes)) for one in ready]
        summary = launched(launcher, within)
        assert summary is not None
        results = known_results(runtime.output_dir, given.results_dir)
        diverged = [name for name in summary.failed if name in results.diverged]
        for name in diverged:
            del summary.failed[name]
        is_stopped = bool(summary.postponed) and not summary.broken
        if is_stopped:
            summary.postponed = []
        say_summary(summary)
        num_failed += len(summary.failed)
        if diverged:
            say(f"{num_runs(len(diverged))} diverged, which is a result: {', '.join(diverged)}")
        if num_left is not None:
            num_left -= len(ready)
        if is_stopped or summary.broken or len(ready) < len(todo):
            few = "" if summary.finished or not is_stopped else ", and no run has ended; a larger budget_hours may help"
            say(f"the budget is spent{few}; the same command continues")
            return results, num_failed, False
    return results, num_failed, True


def _write(comparison: Comparison, fixed: FixedRules, given: Asked, results: Results, is_whole: bool) -> None:
    """Write the page and print its summary; the cost of a step is measured once all runs are done."""
    from lossbench.studies.compared import Compared
    from lossbench.studies.comparison_page import Facts, write_comparison

    folder = folder_of(comparison.config.runtime.output_dir, fixed.name)
    facts = Facts(
        fixed.day,
        fixed.runs_before,
        command=_command(given),
        note=quick_comparison.WHAT_IT_IS if given.quick else "",
        costs=_costs(comparison, folder, is_whole, given.quick),
        problems=results.problems(),
    )
    print(f"\n{write_comparison(folder, Compared(comparison, results), facts)}")
    say_pages([folder])


def _command(given: Asked) -> str:
    """The command line that makes or continues the comparison, with its plugins."""
    plugins = [word for file in files_named() for word in ("--plugin", str(file))]
    words = ["--quick" if word == "quick=true" else word for word in given.words]
    return " ".join(map(shlex.quote, ["lossbench", "compare", *plugins, *words]))


def _costs(comparison: Comparison, folder: Path, is_whole: bool, is_quick: bool) -> dict[str, Any] | None:
    """The cost of a training step with each loss, measured once and kept in a file; None: not yet."""
    path = folder / COSTS
    try:
        known: dict[str, Any] = json.loads(path.read_text())
        if list(known.get("losses", {})) == list(comparison.losses):
            return known
    except (OSError, ValueError):
        pass
    if not is_whole:
        return None
    from lossbench.training.step_cost import BUDGET_S, measured_step_costs

    say("measuring the time and memory of a step with each loss")
    budget = min(BUDGET_S, QUICK_COSTS_S) if is_quick else BUDGET_S
    found = measured_step_costs(comparison.losses, comparison.rules.baseline, budget, num_threads=1)
    write_bytes(path, (json.dumps(found, indent=1) + "\n").encode())
    return found
