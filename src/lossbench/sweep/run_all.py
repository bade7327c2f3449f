"""How does a list of runs get done on this machine? Done ones are skipped, several go at a time, no failure stops all.

A single run, Hydra's `-m` and `reproduce` all come through `run_all`. Several processes may be given the same runs: a
run's lock says who does it, and what another process does is waited for.
"""

import contextlib
import errno
import math
import multiprocessing
import os
import queue
import sys
import time
import traceback
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

import torch

from lossbench.config.options import ModelConfig, Shape
from lossbench.config.run import Config, run_id
from lossbench.data.prepared import prepare
from lossbench.data.sizes import sizes
from lossbench.models.build import flops_per_image
from lossbench.runs.folder import Mark, Run, open_run
from lossbench.sweep.progress import Progress
from lossbench.system.machine import num_cores
from lossbench.system.screen import say
from lossbench.system.stops import (
    end_on_stops,
    end_with_parent,
    importable_main,
    stops_blocked,
    stops_held,
    stops_interrupt,
)
from lossbench.training.fit import check, fit, is_crawling
from lossbench.training.steps import OnStep


@dataclass
class Summary:
    """What became of a list of runs, by name."""

    finished: list[str] = field(default_factory=list)  # here, or meanwhile by another process
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # with the reason, in one line
    postponed: list[str] = field(default_factory=list)  # `runtime.budget_min` was spent, or the GPU broke down
    broken: bool = False  # this process can use the GPU no more


UNGUARDED = 79  # exit code of a worker in which the script that began the sweep begins it again
BUSY_WAIT_S = 0.2  # between two looks at a run that another process has


class BudgetSpent(Exception):  # noqa: N818  # no error
    """`runtime.budget_min` leaves no time for another epoch of this run."""


def flops(config: Config) -> float:
    """Floating-point operations of a run: training, the tests after each epoch, the last look at both splits."""
    known, epochs = sizes(config.dataset), config.schedule.epochs
    forward, step = _flops_per_image(repr(config.model), known.shape, known.num_classes, config.model)
    return epochs * (known.num_train * step + known.num_test * forward) + known.num_train * forward


_known_flops: dict[tuple[str, Shape, int], tuple[float, float]] = {}


def _flops_per_image(name: str, shape: Shape, classes: int, model: ModelConfig) -> tuple[float, float]:
    if (name, shape, classes) not in _known_flops:
        _known_flops[name, shape, classes] = flops_per_image(model, shape, classes)
    return _known_flops[name, shape, classes]


def remaining(configs: Iterable[Config], elsewhere: Collection[str] = ()) -> list[Config]:
    """The runs of a list that are still to do, each once; `elsewhere` names runs whose records are at hand already."""
    unique = {run_id(config): config for config in reversed(list(configs))}
    todo = [config for name, config in unique.items() if name not in elsewhere and not open_run(config).finished]
    return todo[::-1]


def with_kernels(configs: Iterable[Config]) -> list[Config]:
    """The runs of a list for whose precision their device has kernels; the others can be done, and take long."""
    return [config for config in configs if not is_crawling(config)]


def with_data(configs: Iterable[Config], lacking: set[str]) -> list[Config]:
    """The runs of a list whose data set is to be had; the others wait for theirs.

    Args:
        configs: the runs; their data sets are prepared.
        lacking: names of data sets that are known not to be had; those found here are added, and told.
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


def run_all(configs: Sequence[Config], elsewhere: Collection[str] = ()) -> Summary:
    """Do all runs of a list that are not done yet.

    Args:
        configs: the runs; where and how they are done is the same for all.
        elsewhere: names of runs whose records are at hand already.

    Raises:
        ValueError: the device or a data set is not available, or the calling script cannot be imported by processes of
            its own; nothing is trained then.
        KeyboardInterrupt: stopped by the user; every run stands at its last finished epoch.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker, importing the calling script
        os._exit(UNGUARDED)
    todo = remaining(configs, elsewhere)
    names = {run_id(config) for config in todo}
    done = {run_id(config): config for config in configs if run_id(config) not in names}
    summary = Summary(skipped=sorted(done))
    for config in done.values():
        _tidy(config)
    if not todo:
        return summary
    for config in todo:
        check(config)
    for config in {repr(config.dataset): config for config in todo}.values():
        prepare(config.dataset, config.runtime)
    if crawling := len(todo) - len(with_kernels(todo)):
        told = f"{crawling} of {len(todo)} runs ask for schedule.precision=bf16, for which this device has no kernels: "
        say(f"{told}a step takes many times as long as in fp32")
    parallel = num_parallel(todo)
    threads = todo[0].runtime.num_threads or max(1, num_cores() // parallel)
    todo = [replace(config, runtime=replace(config.runtime, num_threads=threads)) for config in todo]
    deadline = _deadline(todo[0].runtime.budget_min)
    with stops_interrupt(), Progress({run_id(config): flops(config) for config in todo}, parallel) as progress:
        if parallel == 1:
            _run_here(todo, summary, progress, deadline)
        else:
            _run_in_processes(todo, parallel, summary, progress, deadline)
    summary.postponed = sorted(names - set(summary.finished) - set(summary.failed))
    return summary


def _tidy(config: Config) -> None:
    run = open_run(config)
    if run.untidy:
        with contextlib.suppress(OSError), run.held() as mine:
            if mine:
                run.tidy()


def _deadline(budget_min: float | None) -> float:
    """When all runs must have stopped, on the monotonic clock: a tenth of the budget before its end, 15 s at most."""
    return math.inf if budget_min is None else time.monotonic() + 60 * budget_min - min(6 * budget_min, 15.0)


def num_parallel(todo: Sequence[Config]) -> int:
    """Runs at a time: `runtime.parallel`, else as many as fill a CPU's cores, or `runtime.runs_per_gpu` on each GPU."""
    runtime, devices = todo[0].runtime, _devices(todo[0])
    if runtime.parallel != "auto":
        return min(len(todo), int(runtime.parallel))
    if devices[0].startswith("cuda"):
        return min(len(todo), len(devices) * runtime.runs_per_gpu)
    return min(len(todo), max(1, num_cores() // (runtime.num_threads or 1)))


def _devices(config: Config) -> list[str]:
    """The devices that runs at a time take in turn: every GPU, unless one is named."""
    device = check(config)
    if device.type == "cuda" and device.index is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [str(device)]


class Ended(StrEnum):
    """How an attempt at a run ended."""

    finished = "finished"
    failed = "failed"
    postponed = "postponed"  # `runtime.budget_min` is spent
    busy = "busy"  # another process has the run


@dataclass(frozen=True)
class Outcome:
    """What an attempt at a run came to."""

    ended: Ended
    accuracy: float = 0.0  # on the test images, where finished
    reason: str = ""  # where failed, in one line
    broken: bool = False  # and the process can use its GPU no more


def _attempt(config: Config, on_step: OnStep, deadline: float, mark: Mark) -> Outcome:
    """Do a run, unless its next epoch would not end before the deadline, or another process has it.

    What another process has made of it since the sweep began, and took the `mark` of its last failure, counts. A
    traceback stays in the run's folder.
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
            return _fit(config, run, timed)
    except OSError as error:
        return Outcome(Ended.failed, reason=_reason(error))


def _fit(config: Config, run: Run, on_step: OnStep) -> Outcome:
    try:
        return Outcome(Ended.finished, fit(config, run, on_step)["test_accuracy"])
    except BudgetSpent:
        return Outcome(Ended.postponed)
    except Exception as error:
        if sentence := run.lost():  # its folder is another's
            return Outcome(Ended.failed, reason=sentence)
        with contextlib.suppress(OSError):  # a full disk takes no more
            run.fail(f"{traceback.format_exc()}\n{_reason(error)}")
        broken = isinstance(error, torch.AcceleratorError)  # the GPU's state is lost for all that comes after
        return Outcome(Ended.failed, reason=_reason(error), broken=broken)


def _reason(error: Exception) -> str:
    """A line for people."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; make room, and the same command goes on from the last whole epoch"
    if isinstance(error, torch.OutOfMemoryError):
        return f"out of GPU memory ({text.partition('. ')[0]}); fewer runtime.runs_per_gpu or a smaller batch may fit"
    return f"{type(error).__name__}: {text}"


def _note(config: Config, outcome: Outcome, summary: Summary, progress: Progress) -> None:
    name = run_id(config)
    if outcome.ended is Ended.finished:
        summary.finished.append(name)
        progress.done(name, outcome.accuracy, "")
    elif outcome.ended is Ended.failed:
        summary.failed[name] = outcome.reason
        progress.done(name, None, outcome.reason)


def _marks(todo: Iterable[Config]) -> dict[str, Mark]:
    """What tells each run's last failure, at this moment, from the next."""
    return {run_id(config): open_run(config).failure_mark() for config in todo}


def _run_here(todo: Sequence[Config], summary: Summary, progress: Progress, deadline: float) -> None:
    marks, waiting = _marks(todo), deque(todo)
    while waiting and time.monotonic() < deadline:
        config = waiting.popleft()
        outcome = _attempt(config, partial(progress.step, config), deadline, marks[run_id(config)])
        if outcome.ended is Ended.busy:
            waiting.append(config)
            time.sleep(BUSY_WAIT_S)
        _note(config, outcome, summary, progress)
        if outcome.broken:
            summary.broken = True
            return


_messages: Any = None  # in a worker: where its progress goes
_device = ""


def _start_worker(messages: Any, devices: Any) -> None:
    global _messages, _device
    end_with_parent()
    _messages, _device = messages, devices.get()
    end_on_stops()  # its run stands at the last epoch


def _work(config: Config, deadline: float, mark: Mark) -> Outcome:
    name = run_id(config)
    config = replace(config, runtime=replace(config.runtime, device=_device))

    def on_step(epoch: int, fraction: float, line: str) -> None:
        _messages.put((name, epoch, fraction, line))

    if time.monotonic() > deadline:
        return Outcome(Ended.postponed)
    outcome = _attempt(config, on_step, deadline, mark)
    if outcome.ended is Ended.busy:
        time.sleep(BUSY_WAIT_S)
    if outcome.broken:
        os._exit(1)  # the other runs are tried again in fresh processes, and this one has its failure on record
    return outcome


def _run_in_processes(
    todo: Sequence[Config], parallel: int, summary: Summary, progress: Progress, deadline: float
) -> None:
    """Costly runs first within a seed, so that the last ones to finish are short."""
    marks, ordered = _marks(todo), sorted(todo, key=lambda config: (config.seed, -flops(config)))
    waiting = {run_id(config): config for config in ordered}
    while waiting and not _run_pool(waiting, list(waiting), parallel, summary, progress, deadline, marks):
        # A process died. Runs are handed out in order, so it was under one of the first; alone, each shows whether it
        # is to blame, or only wanted the memory of its neighbours.
        for name in list(waiting)[: parallel + 1]:
            if not _run_pool(waiting, [name], 1, summary, progress, deadline, marks):
                run = open_run(waiting[name])
                if not run.failed_since(marks[name]):  # else it could still say why
                    run.fail("its process died (killed, or out of memory)")
                _note(waiting.pop(name), Outcome(Ended.failed, reason=run.failure() or ""), summary, progress)


def _run_pool(
    waiting: dict[str, Config],
    names: Sequence[str],
    parallel: int,
    summary: Summary,
    progress: Progress,
    deadline: float,
    marks: Mapping[str, Mark],
) -> bool:
    """Do the named runs and take them out of `waiting`; False: a process died, and what it left is still in there."""
    with importable_main(), stops_held() as held:  # else one could strike between a worker's start and its end
        context = multiprocessing.get_context("spawn")
        messages = context.Queue()
        others = set(multiprocessing.active_children())
        devices, of_workers = _devices(waiting[names[0]]), context.Queue()
        for index in range(parallel):
            of_workers.put(devices[index % len(devices)])
        pool = ProcessPoolExecutor(parallel, context, _start_worker, (messages, of_workers))

        def submit(name: str) -> Future[Any]:
            with stops_blocked():  # it may start a worker, which is deaf to them until it can end in silence
                return pool.submit(_work, waiting[name], deadline, marks[name])

        futures: dict[Future[Any], str] = {}
        started: set[Any] = set()
        try:
            for name in names:
                futures[submit(name)] = name
                started |= set(multiprocessing.active_children()) - others
            while futures and not held and time.monotonic() < deadline + 1.0:  # workers stop by themselves
                done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                for name, *news in _drain(messages):
                    if name in waiting:  # what comes after a run's end is stale
                        progress.step(waiting[name], *news)
                for future in done:
                    name, outcome = futures.pop(future), future.result()
                    if outcome.ended is Ended.busy:
                        futures[submit(name)] = name
                        continue
                    _note(waiting.pop(name), outcome, summary, progress)
        except BrokenProcessPool:
            for worker in started:
                worker.join()
            if any(worker.exitcode == UNGUARDED for worker in started):
                raise ValueError(
                    "run_all does several runs in processes that import the calling script, and the call stands where "
                    'it would be made there again; put it below `if __name__ == "__main__":`, or set runtime.parallel=1'
                ) from None
            return False
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            workers = set(multiprocessing.active_children()) - others
            for worker in workers:  # a run's files are whole at every moment
                worker.kill()
            for worker in workers:
                worker.join()
    return True


def _drain(messages: Any) -> Iterator[tuple[Any, ...]]:
    while True:
        try:
            yield messages.get_nowait()
        except queue.Empty:
            return
