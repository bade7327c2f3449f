"""`lossbench reference`: executes the planned reference runs and adds their records to the committed ones."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lossbench.cli import shown
from lossbench.cli.hydra_main import hydra_main, one_plan
from lossbench.cli.launching import launched
from lossbench.cli.printing import elsewhere, say_summary
from lossbench.config.run import Config, run_id
from lossbench.engines.options import Launcher
from lossbench.studies.options import Reproduce
from lossbench.system.screen import say
from lossbench.system.shipped import check_not_shipped

if TYPE_CHECKING:
    from lossbench.studies.measurements import Measurement


def reference() -> None:
    """`lossbench reference`: train the planned reference runs; records go to results/."""
    hydra_main("reference", _reference, "reproduce", launches=True)


def _reference(composed: Reproduce | list[Reproduce], launcher: Launcher) -> None:
    plan = checked_plan(composed)
    assert plan.results_dir is not None
    if not plan.dry:
        check_not_shipped(plan.results_dir, "results_dir")
    import torch

    from lossbench.runs import archive
    from lossbench.studies import pruning, results
    from lossbench.studies.study import Known, studies
    from lossbench.sweep import hours
    from lossbench.sweep import run_all as sweep
    from lossbench.sweep.cost import flops
    from lossbench.sweep.estimate import Estimates
    from lossbench.system.machine import is_bf16_faster

    available = results.known_results(plan.runtime.output_dir, plan.results_dir)

    def accuracy(config: Config) -> float | None:
        return available.accuracy(config)

    has_gpu = torch.cuda.is_available() and plan.runtime.device != "cpu"
    bf16 = is_bf16_faster(torch.device("cuda" if has_gpu else "cpu"))
    device = "cuda" if has_gpu else "cpu"
    measured = Estimates.from_records(available.records.values())
    began, failed, left = time.monotonic(), 0, 0
    lacking: set[str] = set()
    begun_with: dict[str, Config] = {}  # planned runs so far, by name
    planned: list[Config] = []
    known_so_far = Known(has_gpu, plan.runtime, accuracy, bf16)
    for name, configs in (block for study in studies() for block in study.plan(known_so_far)):
        if not configs:
            say(f"{name}: no runs known yet")
            continue
        known = available.found
        begun_with |= {run_id(config): config for config in configs}
        todo = sweep.remaining(configs, {*known.records, *known.diverged})
        starts = sweep.remaining(_starts(todo, begun_with))
        num_diverged = sum(run_id(config) in known.diverged for config in configs)
        others = f"; {num_diverged} diverged, which is a result, and are not repeated" if num_diverged else ""
        able = sweep.with_kernels(todo)
        ready = able if plan.dry else sweep.with_data(able, lacking)
        if waiting := len(todo) - len(able):
            others += f"; {waiting} in bf16 wait for a device that has kernels for it"
        if waiting := len(able) - len(ready):
            others += f"; {waiting} wait for their data"
        planned += todo
        cost = ", ".join(filter(None, [shown.flops(sum(map(flops, todo))), hours.in_words(todo, measured, device)]))
        say(f"{name}: {len(todo)} of {len(configs)} runs to do, {cost}{others}")
        if plan.dry:
            continue
        try:
            for runs in (starts, ready):
                if runs and ready and not left:
                    summary = launched(launcher, _with_budget_left(runs, began))
                    if summary is None:
                        say("later runs depend on these; run the same command again once they are done")
                        return
                    say_summary(summary)
                    failed, left = failed + len(summary.failed), left + len(summary.postponed)
        finally:  # also runs that finished before a stop
            new = archive.publish(plan.runtime.output_dir, plan.results_dir, set(map(run_id, configs)))
            say(f"{new} records added to {plan.results_dir}")
        available = results.known_results(plan.runtime.output_dir, plan.results_dir)
        if left:
            break
    if plan.dry and planned:
        print(elsewhere("reference"))
        print(f"in all {len(planned)} runs known so far, {hours.in_words(planned, measured, device)}")
    if not plan.dry and not left:
        for study in studies():
            failed += _measure(study.measurements(known_so_far), plan)
    if not plan.dry:
        pruned = pruning.prune(plan.results_dir, plan.runtime.output_dir)
        if pruned.dropped or pruned.unknown:
            say(pruning.in_words(pruned))
    if lacking:
        print(f"some runs could not be done, because data are missing: {', '.join(sorted(lacking))}", file=sys.stderr)
    if failed or lacking:
        sys.exit(1)


def checked_plan(composed: Reproduce | list[Reproduce]) -> Reproduce:
    """The composed plan, whose `results_dir` is not None.

    Raises:
        ValueError: it sets more than may be set of the reference runs.
    """
    plan = one_plan(composed)
    if plan.results_dir is None or plan != Reproduce(dry=plan.dry, results_dir=plan.results_dir, runtime=plan.runtime):
        raise ValueError(
            "the reference runs are those of docs/statistics.md; only dry, results_dir and runtime may be set here"
        )
    return plan


def _starts(todo: Sequence[Config], planned: Mapping[str, Config]) -> list[Config]:
    """The planned runs whose weights some runs begin with; they are done here, as records have no weights."""
    names = dict.fromkeys(config.schedule.warm_start for config in todo)
    return [planned[name] for name in names if name is not None and name in planned]


def _measure(chosen: "Iterable[Measurement]", plan: Reproduce) -> int:
    """Execute a study's measurements, which are not training runs; returns how many failed."""
    from lossbench.studies.measurements import measure_all

    done = measure_all(chosen, plan.runtime.output_dir, plan.results_dir)
    for sentence in done.damaged:
        say(f"measured again: {sentence}", sys.stderr)
    for name in done.finished:
        say(f"{name}: measured")
    for name, reason in done.failed.items():
        say(f"failed: {name}: {reason}", sys.stderr)
    return len(done.failed)


def _with_budget_left(configs: Sequence[Config], began: float) -> list[Config]:
    """The runs with their time budget reduced by the time since `began`."""
    budget = configs[0].runtime.budget_min
    left = None if budget is None else max(1e-3, budget - (time.monotonic() - began) / 60)
    return [replace(config, runtime=replace(config.runtime, budget_min=left)) for config in configs]
