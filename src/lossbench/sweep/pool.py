"""Several runs in parallel, in worker processes that are started by spawning."""

import multiprocessing
import os
import pickle
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

from lossbench.config.plugins import Source, load_plugin, load_plugins, loaded_plugins
from lossbench.config.registry import sources
from lossbench.config.run import Config, run_id
from lossbench.runs.folder import Mark, open_run
from lossbench.sweep.outcome import Attempt, Ended, Outcome
from lossbench.system.stops import end_on_stops, end_with_parent, importable_main, stops_blocked, stops_held

UNGUARDED = 79  # exit code of a worker that would start the sweep again, on importing the calling script
BUSY_WAIT_S = 0.2  # between two attempts at a run that another process owns

AHEAD = 4  # runs handed out for each worker; every wait goes through those handed out


@dataclass(frozen=True)
class Work:
    """Values common to all runs of a sweep."""

    attempt: Attempt  # a module's function, which workers import
    note: Callable[[Config, Outcome], None]  # called once for every run that ended
    on_step: Callable[[Config, int, float, str], None]  # called with the workers' progress
    devices: Sequence[str]  # distributed among the workers in turn
    deadline: float  # on the monotonic clock
    marks: Mapping[str, Mark]  # mark of each run's last failure before the sweep, by name


def run_in_processes(todo: Sequence[Config], parallel: int, work: Work) -> None:
    """Execute runs in worker processes, in the given order, until all have ended or the deadline is reached.

    Args:
        todo: the runs.
        parallel: the number of processes.
        work: values common to all runs.

    Raises:
        ValueError: importing the calling script, as worker processes do, would start the sweep again.
    """
    waiting = {run_id(config): config for config in todo}
    while waiting and not _run_pool(waiting, list(waiting), parallel, work):
        # A process died. Runs are handed out in order, so it executed one of the first. Each of these is tried alone,
        # which shows whether it is the cause or only needed the memory that the others used.
        for name in list(waiting)[: parallel + 1]:
            if not _run_pool(waiting, [name], 1, work):
                run, reason = open_run(waiting[name]), "its process died (killed, or out of memory)"
                with run.held() as mine:
                    if mine and not run.failed_since(work.marks[name]):  # it could not write the reason itself
                        run.fail(reason)
                work.note(waiting.pop(name), Outcome(Ended.failed, reason=run.failure() or reason))


def _run_pool(waiting: dict[str, Config], names: Sequence[str], parallel: int, work: Work) -> bool:
    """Execute the named runs and remove them from `waiting`; False: a process died, and unfinished runs remain."""
    with importable_main(), stops_held() as held:  # no signal may arrive between a worker's start and its end
        context = multiprocessing.get_context("spawn")
        messages, devices = context.Queue(), context.Queue()
        others = set(multiprocessing.active_children())
        for index in range(parallel):
            devices.put(work.devices[index % len(work.devices)])
        pool = ProcessPoolExecutor(
            parallel, context, _start_worker, (work.attempt, messages, devices, loaded_plugins())
        )

        def submit(name: str) -> Future[Any]:
            with stops_blocked():  # a worker that is started here must not be interrupted during its imports
                return pool.submit(_do, pickle.dumps(waiting[name]), work.deadline, work.marks[name])

        futures: dict[Future[Any], str] = {}
        started: set[Any] = set()
        left = deque(names)

        def hand_out() -> None:
            nonlocal started
            while left and len(futures) < AHEAD * parallel:
                name = left.popleft()
                futures[submit(name)] = name
                started |= set(multiprocessing.active_children()) - others

        try:
            hand_out()
            while futures and not held and time.monotonic() < work.deadline + 1.0:  # workers stop on their own
                done, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
                for name, *news in _drain(messages):
                    if name in waiting:  # messages after a run's end are ignored
                        work.on_step(waiting[name], *news)
                for future in done:
                    name, outcome = futures.pop(future), future.result()
                    if outcome.ended is Ended.busy:
                        futures[submit(name)] = name
                        continue
                    work.note(waiting.pop(name), outcome)
                hand_out()
        except BrokenProcessPool:
            for worker in started:
                worker.join()
            if any(worker.exitcode == UNGUARDED for worker in started):
                raise ValueError(
                    "run_all executes parallel runs in processes that import the calling script, which would call it "
                    'again; put the call below `if __name__ == "__main__":`, or set runtime.parallel=1'
                ) from None
            return False
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            workers = set(multiprocessing.active_children()) - others
            for worker in workers:  # a run's files are valid at any moment
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


_attempt: Attempt  # in a worker: executes a run
_messages: Any = None  # in a worker: the queue for its progress
_device = ""  # in a worker: its device
_refusal = ""  # in a worker: why it cannot do the sweep's runs


def _start_worker(attempt: Attempt, messages: Any, devices: Any, plugins: Sequence[Source]) -> None:
    global _attempt, _messages, _device, _refusal
    end_with_parent()
    _attempt, _messages, _device = attempt, messages, devices.get()
    end_on_stops()  # its run has a checkpoint of the last epoch
    _refusal = _plugins_changed(plugins)


def _plugins_changed(plugins: Sequence[Source]) -> str:
    """Load the plugins of the process that began the sweep; returns why that cannot be done, else an empty text."""
    try:
        for plugin in plugins:
            if plugin.is_file:
                load_plugin(plugin.place)
        load_plugins()
    except ValueError as error:
        return str(error)
    here = {plugin.place: plugin.sha256 for plugin in loaded_plugins()}
    changed = [plugin.name for plugin in plugins if here.get(plugin.place) != plugin.sha256]
    return _changed(changed) if changed else ""


def _changed(names: Sequence[str]) -> str:
    return f"the plugin {', '.join(names)} has changed since the sweep began; run the same command again"


def _do(content: bytes, deadline: float, mark: Mark) -> Outcome:
    """Do the run of a pickled config, which can be unpickled once its plugins are loaded."""
    if _refusal:
        return Outcome(Ended.failed, reason=_refusal)
    config: Config = pickle.loads(content)
    here = sources(config.parts())
    if {part: source.sha256 for part, source in here.items()} != (config.plugins or {}):
        return Outcome(Ended.failed, reason=_changed([source.name for source in here.values()]))
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
        os._exit(1)  # the failure is on disk; the other runs are tried again in new processes
    return outcome
