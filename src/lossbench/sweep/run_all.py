"""Executing lists of runs: finished ones are skipped, several run in parallel, and no failure stops the others.

A single run, Hydra's `-m` and `reproduce` all call `run_all`. Several processes may be given the same runs: each run
is executed by the process that owns it, on this host or another, and the others wait for it.
"""

import contextlib
import errno
import math
import multiprocessing
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch

from lossbench.config.naming import told_apart
from lossbench.config.run import Config, run_id
from lossbench.data.prepared import prepare
from lossbench.runs.folder import Mark, Run, open_run, runs_dir
from lossbench.runs.versions import versions_sentence
from lossbench.sweep.cost import flops
from lossbench.sweep.outcome import Attempt, Ended, Outcome
from lossbench.sweep.pool import BUSY_WAIT_S, UNGUARDED, Work, run_in_processes
from lossbench.sweep.progress import Progress
from lossbench.system.machine import num_cores
from lossbench.system.screen import say
from lossbench.system.stops import stops_interrupt
from lossbench.training.fit import check, fit, is_crawling
from lossbench.training.steps import OnStep


@dataclass
class Summary:
    """Outcome of a list of runs, by name."""

    finished: list[str] = field(default_factory=list)  # by this process or, meanwhile, by another
    skipped: list[str] = field(default_factory=list)  # finished before
    failed: dict[str, str] = field(default_factory=dict)  # with the reason, in one line
    postponed: list[str] = field(default_factory=list)  # `runtime.budget_min` was spent, or the GPU failed
    broken: bool = False  # this process can no longer use the GPU
    lost: set[str] = field(default_factory=set)  # of the failed runs those whose job ended without writing a reason


class BudgetSpent(Exception):  # noqa: N818  # not an error
    """`runtime.budget_min` leaves no time for another epoch of this run."""


def remaining(configs: Iterable[Config], elsewhere: Collection[str] = ()) -> list[Config]:
    """The runs of a list that are still to be done, each once.

    Args:
        configs: the runs.
        elsewhere: names of runs whose records are known from elsewhere, which are left out.
    """
    unique = {run_id(config): config for config in reversed(list(configs))}
    others = {name: config for name, config in unique.items() if name not in elsewhere}
    todo = [config for name, config in others.items() if not Run(runs_dir(config.runtime.output_dir) / name).finished]
    return todo[::-1]


def with_kernels(configs: Iterable[Config]) -> list[Config]:
    """The runs of a list for whose precision their device has kernels; the others would work, but very slowly."""
    return [config for config in configs if not is_crawling(config)]


def with_data(configs: Iterable[Config], lacking: set[str]) -> list[Config]:
    """The runs of a list whose data set is available; it is prepared.

    Args:
        configs: the runs.
        lacking: names of data sets known to be unavailable; further ones are added and reported.
    """
    ready = []
    for config in configs:
        name = config.dataset.name
        if name not in lacking:
            try:
                prepare(config.dataset, config.runtime)
                ready.append(config)
            except ValueError as error:
                lacking.add(name)
                say(error, sys.stderr)
    return ready


def run_all(
    configs: Sequence[Config],
    elsewhere: Collection[str] = (),
    words: Mapping[str, str] | None = None,
    attempt_with: Attempt | None = None,
    marks: Mapping[str, Mark] | None = None,
) -> Summary:
    """Execute all runs of a list that are not finished yet.

    Args:
        configs: the runs; their `runtime` options must be the same.
        elsewhere: names of runs whose records are known from elsewhere, which are skipped.
        words: what the terminal calls each run, by name; None: the options that tell it from the others.
        attempt_with: a module's function that executes a run; None: `attempt`.
        marks: mark of each run's last failure, by name; a run that has failed since then is not tried again. None:
            those of now.

    Raises:
        ValueError: the device or a data set is not available, or importing the calling script, as worker processes do,
            would start the sweep again; nothing is trained then.
        KeyboardInterrupt: stopped by the user; every run keeps a checkpoint of its last finished epoch.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker, importing the calling script
        os._exit(UNGUARDED)
    known = {run_id(config): config for config in configs}
    todo = remaining(configs, elsewhere)
    names = {run_id(config) for config in todo}
    done = {name: config for name, config in known.items() if name not in names}
    summary = Summary(skipped=sorted(done))
    for name, config in done.items():
        _tidy(Run(runs_dir(config.runtime.output_dir) / name))
    if not todo:
        return summary
    for config in todo:
        check(config)
    prepare_all(todo)
    if crawling := len(todo) - len(with_kernels(todo)):
        say(
            f"{crawling} of {len(todo)} runs use schedule.precision=bf16, for which this device has no kernels: "
            "a step takes many times as long as in fp32"
        )
    parallel = num_parallel(todo)
    threads = todo[0].runtime.num_threads or max(1, num_cores() // parallel)
    todo = [replace(config, runtime=replace(config.runtime, num_threads=threads)) for config in todo]
    deadline = _deadline(todo[0].runtime.budget_min)
    costs = {run_id(config): flops(config) for config in todo}
    if words is None:
        words = told_apart({name: asdict(config) for name, config in known.items()})
    with stops_interrupt(), Progress(costs, parallel, words) as progress:
        now = {run_id(config): open_run(config).failure_mark() for config in todo}
        marks, do = now if marks is None else {**now, **marks}, attempt_with or attempt
        if parallel == 1:
            _run_here(todo, summary, progress, deadline, marks, do)
        else:  # costly runs first within a seed, so that the last ones to finish are short
            todo = sorted(todo, key=lambda config: (config.seed, -flops(config)))
            note = partial(_note, summary, progress)
            run_in_processes(todo, parallel, Work(do, note, progress.step, _devices(todo[0]), deadline, marks))
    summary.postponed = sorted(names - set(summary.finished) - set(summary.failed))
    return summary


def _tidy(run: Run) -> None:
    if run.untidy:
        with contextlib.suppress(OSError), run.held() as mine:
            if mine:
                run.tidy()


def prepare_all(todo: Sequence[Config]) -> None:
    """Prepare the data sets of some runs, and say which of their plugins have changed since other runs.

    Raises:
        ValueError: a data set is not available.
    """
    if sentence := versions_sentence(todo):
        say(sentence)
    for config in {repr(config.dataset): config for config in todo}.values():
        prepare(config.dataset, config.runtime)


def _deadline(budget_min: float | None) -> float:
    """Deadline of all runs on the monotonic clock: before the budget's end by a tenth of it, at most 15 s."""
    return math.inf if budget_min is None else time.monotonic() + 60 * budget_min - min(6 * budget_min, 15.0)


def num_parallel(todo: Sequence[Config]) -> int:
    """Number of parallel runs: `runtime.parallel`, or as many as fill the cores, or `runtime.runs_per_gpu` per GPU."""
    runtime, devices = todo[0].runtime, _devices(todo[0])
    if runtime.parallel != "auto":
        return min(len(todo), int(runtime.parallel))
    if devices[0].startswith("cuda"):
        return min(len(todo), len(devices) * runtime.runs_per_gpu)
    return min(len(todo), max(1, num_cores() // (runtime.num_threads or 1)))


def _devices(config: Config) -> list[str]:
    """The devices among which parallel runs are distributed: every GPU, unless one is named."""
    device = check(config)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(device)]


def attempt(
    config: Config,
    on_step: OnStep,
    deadline: float,
    mark: Mark,
    around: Callable[[Run], contextlib.AbstractContextManager[None]] = lambda run: contextlib.nullcontext(),
) -> Outcome:
    """Execute a run, unless its next epoch would not end before the deadline or another process owns it.

    If another process has finished the run, or failed at it, since `mark` was taken at the start of the sweep, that is
    the outcome. Tracebacks are written to the run's folder. `around` makes a context in which the run is trained.
    """
    run = open_run(config)
    epoch_began = time.monotonic()

    def timed(epoch: int, fraction: float, line: str) -> None:
        nonlocal epoch_began
        on_step(epoch, fraction, line)
        now = time.monotonic()
        if now > deadline or (line and epoch < config.schedule.epochs and 2 * now - epoch_began > deadline):
            raise BudgetSpent
        if line:
            epoch_began = now

    try:
        with run.held() as mine:
            if not mine:
                return Outcome(Ended.busy)
            if run.finished:
                return Outcome(Ended.finished, float(run.record()["test_accuracy"]))
            if run.failed_since(mark):
                return Outcome(Ended.failed, reason=run.failure() or "")
            with around(run):
                return _fit(config, run, timed)
    except OSError as error:
        return Outcome(Ended.failed, reason=_reason(error))


def _fit(config: Config, run: Run, on_step: OnStep) -> Outcome:
    try:
        return Outcome(Ended.finished, fit(config, run, on_step)["test_accuracy"])
    except BudgetSpent:
        return Outcome(Ended.postponed)
    except Exception as error:
        if sentence := run.lost():  # another process may use the folder
            return Outcome(Ended.failed, reason=sentence)
        with contextlib.suppress(OSError):  # the disk may be full
            run.fail(f"{traceback.format_exc()}\n{_reason(error)}")
        broken = isinstance(error, torch.AcceleratorError)  # the process cannot use the GPU afterwards
        return Outcome(Ended.failed, reason=_reason(error), broken=broken)


def _reason(error: Exception) -> str:
    """An error in one readable line."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again to continue after the last epoch"
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of GPU memory ({text.partition('. ')[0]}); fewer runtime.runs_per_gpu or a smaller batch may fit"
    return f"{type(error).__name__}: {text}"


def _note(summary: Summary, progress: Progress, config: Config, outcome: Outcome) -> None:
    name = run_id(config)
    if outcome.ended is Ended.finished:
        summary.finished.append(name)
        progress.done(name, outcome.accuracy, "", config.dataset.num_validation is not None)
    elif outcome.ended is Ended.failed:
        summary.failed[name] = outcome.reason
        progress.done(name, None, outcome.reason)


def _run_here(
    todo: Sequence[Config],
    summary: Summary,
    progress: Progress,
    deadline: float,
    marks: Mapping[str, Mark],
    do: Attempt,
) -> None:
    waiting, num_busy = deque(todo), 0
    while waiting and time.monotonic() < deadline:
        config = waiting.popleft()
        outcome = do(config, partial(progress.step, config), deadline, marks[run_id(config)])
        num_busy = num_busy + 1 if outcome.ended is Ended.busy else 0
        if outcome.ended is Ended.busy:
            waiting.append(config)
        if num_busy >= len(waiting) > 0:  # a whole round
            num_busy = 0
            time.sleep(BUSY_WAIT_S)
        _note(summary, progress, config, outcome)
        if outcome.broken:
            summary.broken = True
            return
