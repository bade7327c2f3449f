"""What a user calls: the doors behind `scripts/*.py` and the `lossbench` command."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from lossbench.config.run import Config, run_id
from lossbench.studies.options import Profile, Reproduce
from lossbench.system.screen import say
from lossbench.system.spelling import spelled, spelled_lines
from lossbench.system.stops import stops_interrupt


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A user's mistake is one sentence and exit code 1, no traceback; LOSSBENCH_TRACEBACK=1 shows it.

    Ctrl-C, SIGTERM and SIGUSR1 stop politely from here on. What the terminal's encoding lacks is written as "?".
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with stops_interrupt():
            yield
    except KeyboardInterrupt:
        say("stopped; every run stands at its last finished epoch, and the same command goes on from there")
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError) as error:
        if os.environ.get("LOSSBENCH_TRACEBACK"):
            raise
        say(f"lossbench: {spelled_lines(error)}", sys.stderr)
        sys.exit(1)


def _hydra_main(task: Callable[[Any], None], config_name: str) -> None:
    given: list[Any] = []

    def keep(composed: Any) -> None:
        given.append(composed)

    with _plain_errors():
        import hydra

        from lossbench.cli.overrides import Door, explained, job_by_job, with_homes
        from lossbench.cli.schemas import CONF, register_schemas, to_config

        register_schemas()
        to_own = partial(to_config, schema=Config if config_name == "config" else Reproduce)
        sys.argv[1:] = with_homes(sys.argv[1:])
        with explained(Door(task.__name__.lstrip("_"), CONF, config_name), sys.argv[1:]):
            sys.argv[1:] = job_by_job(sys.argv[1:])
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(keep)()
            configs = [list(map(to_own, one)) if isinstance(one, list) else to_own(one) for one in given]
        for config in configs:  # one, or none after --cfg and the like
            if config == []:
                raise ValueError("the sweep holds no run: one of its ranges or globs gives nothing")
            task(config)


def train() -> None:
    """`scripts/train.py`: one run, or with -m and comma lists a sweep."""
    _hydra_main(_train, "config")


def _train(composed: Config | list[Config]) -> None:
    _train_all(composed if isinstance(composed, list) else [composed])


def _train_all(configs: Sequence[Config]) -> None:
    from lossbench.runs.folder import open_run
    from lossbench.sweep.run_all import run_all

    summary = run_all(configs)
    for name in summary.skipped:
        print(f"{name}: finished before, test accuracy {_accuracy(configs, name):.4f}")
    if summary.skipped and any(config.runtime.class_trace for config in configs):
        print("runtime.class_trace adds nothing to runs that are done; remove the folder of one to train it again")
    _say(summary)
    if len(configs) == 1:
        print(f"files: {open_run(configs[0]).folder}")
    if summary.failed:
        sys.exit(1)


def profile_run() -> None:
    """`scripts/profile_run.py`: where the time of a run's steps goes; nothing is trained to its end."""
    _hydra_main(_profile_run, "config")


def _profile_run(composed: Config | list[Config]) -> None:
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # before torch is imported, or its profiler talks
    from lossbench.training.profile import profile_run

    for config in composed if isinstance(composed, list) else [composed]:
        folder = profile_run(config)
        print((folder / "operations.md").read_text())
        print(f"trace, for ui.perfetto.dev: {folder / 'trace.json'}")


def _accuracy(configs: Sequence[Config], name: str) -> float:
    from lossbench.runs.folder import open_run

    run = next(run for run in map(open_run, configs) if run.id == name)
    return float(run.record()["test_accuracy"])


def _say(summary: Any) -> None:
    if len(summary.finished) + len(summary.skipped) + len(summary.failed) > 1:
        counts = (
            f"{len(summary.finished)} finished, {len(summary.skipped)} were done before, {len(summary.failed)} failed"
        )
        say(f"runs: {counts}")
    if summary.broken:
        say(f"the GPU broke down; {len(summary.postponed)} runs are left, and the same command goes on with them")
    elif summary.postponed:
        say(f"runtime.budget_min is spent: {len(summary.postponed)} runs are left; the same command goes on with them")
    for name, reason in summary.failed.items():
        say(f"failed: {name}: {spelled(reason)} (the whole story is in its failure.txt)", sys.stderr)


def reproduce() -> None:
    """`scripts/reproduce.py`: train what the tables lack, then write them."""
    _hydra_main(_reproduce, "reproduce")


def _one_plan(composed: Reproduce | list[Reproduce]) -> Reproduce:
    """What Hydra has composed, once it is known to be no sweep, and its output folder to be one."""
    from lossbench.system.files import check_folder

    if isinstance(composed, list):
        raise ValueError("-m is for scripts/train.py; here name several tables as tables=[3,5]")
    check_folder(Path(composed.runtime.output_dir), "runtime.output_dir")
    return composed


def _reproduce(composed: Reproduce | list[Reproduce]) -> None:
    plan = _one_plan(composed)
    profile, why = _choose_profile(plan)

    from lossbench.runs.records import all_records
    from lossbench.studies.aaai20 import grid, report, table1
    from lossbench.sweep import run_all as sweep

    configs = grid.configs(plan.tables, profile, plan.seeds, plan.runtime)
    committed = set(all_records(plan.runtime.output_dir, plan.results_dir).records)
    todo = sweep.remaining(configs, committed)
    cost = ", ".join(filter(None, [_flops(sum(map(sweep.flops, todo))), _hours(plan, todo)]))
    other = "quick" if profile == "paper" else "paper"
    say(
        f"profile {profile} ({why}): {len(todo)} of {len(configs)} runs to do, {cost}; "
        f"PROFILE={other} asks for the other"
    )
    if plan.dry:
        for config in todo:
            print(f"  {run_id(config)}  {_flops(sweep.flops(config))}")
        return
    summary = sweep.run_all(configs, committed)
    _say(summary)
    if profile == "paper" and table1.load(plan.runtime.output_dir, plan.results_dir) is None:
        say("Table 1 is simulated, about a minute")
        table1.write(table1.simulate(), plan.runtime.output_dir)
    folder = report.write_report(profile, plan)
    print((folder / "summary.md").read_text())
    print(f"tables and figures: {folder}")
    if summary.failed:
        sys.exit(1)
    if profile == "quick":
        print(
            "These are not the paper's tables: the quick profile trains the same networks and losses on small digits, "
            "briefly. The paper's: make reproduce-tables PROFILE=paper (a GPU is advised)."
        )


def _hours(plan: Reproduce, todo: Sequence[Config]) -> str:
    import torch

    from lossbench.runs.records import all_records
    from lossbench.sweep import hours

    device = "cuda" if torch.cuda.is_available() and plan.runtime.device != "cpu" else "cpu"
    known = hours.rates(all_records(plan.runtime.output_dir, plan.results_dir).records.values())
    return hours.in_words(todo, known, device)


def _flops(count: float) -> str:
    return f"{count / 1e15:.3g} PFLOP" if count >= 1e15 else f"{count / 1e12:.3g} TFLOP"


def _choose_profile(plan: Reproduce) -> tuple[str, str]:
    if plan.profile is not Profile.auto:
        return plan.profile.value, "as asked"
    import torch

    if torch.cuda.is_available() and plan.runtime.device != "cpu":
        return "paper", f"a GPU is present, {torch.cuda.get_device_name()}"
    return "quick", "no GPU is present"


def reference() -> None:
    """`scripts/reference.py`: the planned reference runs in order of importance, their records into results/."""
    _hydra_main(_reference, "reproduce")


def _reference(composed: Reproduce | list[Reproduce]) -> None:
    plan = _one_plan(composed)
    if plan.results_dir is None or plan != Reproduce(dry=plan.dry, results_dir=plan.results_dir, runtime=plan.runtime):
        raise ValueError(
            "the reference runs are those of docs/statistics.md; here only dry, results_dir and runtime are given"
        )
    import torch

    from lossbench.runs import archive
    from lossbench.studies import pruning, results
    from lossbench.studies.study import Known, studies
    from lossbench.sweep import hours
    from lossbench.sweep import run_all as sweep
    from lossbench.system.machine import is_bf16_faster

    at_hand = results.results_at_hand(plan.runtime.output_dir, plan.results_dir)

    def accuracy(config: Config) -> float | None:
        return at_hand.accuracy(config)

    has_gpu = torch.cuda.is_available() and plan.runtime.device != "cpu"
    bf16 = is_bf16_faster(torch.device("cuda" if has_gpu else "cpu"))
    device = "cuda" if has_gpu else "cpu"
    rates = hours.rates(at_hand.records.values())
    began, failed, left = time.monotonic(), 0, 0
    lacking: set[str] = set()
    planned: list[Config] = []
    known_so_far = Known(has_gpu, plan.runtime, accuracy, bf16)
    for name, configs in (block for study in studies() for block in study.plan(known_so_far)):
        if not configs:
            say(f"{name}: none, as far as is known")
            continue
        known = at_hand.found
        todo = sweep.remaining(configs, {*known.records, *known.diverged})
        num_diverged = sum(run_id(config) in known.diverged for config in configs)
        others = f"; {num_diverged} diverged, which is a result, and are not tried again" if num_diverged else ""
        able = sweep.with_kernels(todo)
        ready = able if plan.dry else sweep.with_data(able, lacking)
        if waiting := len(todo) - len(able):
            others += f"; {waiting} in bf16 wait for a device that has kernels for it"
        if waiting := len(able) - len(ready):
            others += f"; {waiting} wait for their data"
        planned += todo
        cost = ", ".join(filter(None, [_flops(sum(map(sweep.flops, todo))), hours.in_words(todo, rates, device)]))
        say(f"{name}: {len(todo)} of {len(configs)} runs to do, {cost}{others}")
        if plan.dry:
            continue
        try:
            if ready:
                summary = sweep.run_all(_with_budget_left(ready, began))
                _say(summary)
                failed, left = failed + len(summary.failed), left + len(summary.postponed)
        finally:  # also what was finished before a stop
            new = archive.publish(plan.runtime.output_dir, plan.results_dir, set(map(run_id, configs)))
            say(f"{new} records added to {plan.results_dir}")
        at_hand = results.results_at_hand(plan.runtime.output_dir, plan.results_dir)
        if left:
            break
    if plan.dry and planned:
        print(f"in all {len(planned)} runs, as far as is known, {hours.in_words(planned, rates, device)}")
    if not plan.dry:
        pruned = pruning.prune(plan.results_dir, plan.runtime.output_dir)
        if pruned.dropped or pruned.unknown:
            say(pruning.in_words(pruned))
    if lacking:
        print(f"not all could be done, for want of data: {', '.join(sorted(lacking))}", file=sys.stderr)
    if failed or lacking:
        sys.exit(1)


def _with_budget_left(configs: Sequence[Config], began: float) -> list[Config]:
    """The same runs with what is left of their time budget since `began`."""
    budget = configs[0].runtime.budget_min
    left = None if budget is None else max(1e-3, budget - (time.monotonic() - began) / 60)
    return [replace(config, runtime=replace(config.runtime, budget_min=left)) for config in configs]


def report() -> None:
    """`scripts/report.py`: tables and figures from the records, nothing is trained."""
    _hydra_main(_report, "reproduce")


def _report(composed: Reproduce | list[Reproduce]) -> None:
    plan = _one_plan(composed)

    from lossbench.runs.inspect import nothing_in
    from lossbench.studies.aaai20 import report

    for sentence in nothing_in(plan.runtime.output_dir, plan.results_dir, ("runtime.output_dir", "results_dir")):
        print(sentence, flush=True)
    profiles = [plan.profile.value] if plan.profile is not Profile.auto else report.profiles_with_records(plan)
    for profile in profiles:
        print(f"tables and figures: {report.write_report(profile, plan)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The `lossbench` command."""
    from lossbench.cli.runs import with_doors

    with _plain_errors():
        with_doors(_DOORS).main(arguments, prog_name="lossbench")


_DOORS = {"train": train, "reproduce": reproduce, "reference": reference, "report": report, "profile": profile_run}
