"""Watching a sweep's runs while an engine executes them: one display, and how each run ended."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lossbench.config.run import Config, run_id
from lossbench.runs.checks import DAMAGES
from lossbench.runs.folder import Mark, Run, open_run
from lossbench.sweep.progress import Progress
from lossbench.sweep.run_all import Summary

Seconds = Callable[[Config], float]
"""Estimated time of a run, in s."""

LEAST_S = 0.5
"""Shortest time between two looks, in s; it doubles up to `MOST_S` while nothing ends."""

MOST_S = 10.0

LOOKS = 3
"""Looks without a job for an unfinished run after which it counts as lost; files may be seen late on other machines."""

MOST_READ = 64
"""Runs whose last epoch is read at a look."""


@dataclass(frozen=True)
class Live:
    """What an engine says of a sweep."""

    runs: Mapping[str, str]  # id of the job that has a run, waiting or executed, by the run's name
    words: str  # how many jobs run and wait


@dataclass(frozen=True)
class Ended:
    """How an engine says that a run ended."""

    accuracy: float | None  # on the test samples; None: it failed
    reason: str = ""  # why it failed


@dataclass
class Watched:
    """Runs to be watched."""

    configs: Mapping[str, Config]  # by name
    marks: Mapping[str, Mark]  # marks of their last failures when they were submitted
    ask: Callable[[], Live]  # asks the engine; a ValueError means that it does not answer now
    why_lost: Callable[[str], str]  # the reason why a run was not finished though its job is gone
    ended: Mapping[str, Ended] = field(default_factory=dict)  # what the engine has said, by the run's name


def watch(watched: Watched, summary: Summary, progress: Progress, deadline: float) -> None:
    """Wait until every run is finished, failed or lost, or the deadline is reached.

    Args:
        watched: the runs.
        summary: gets the outcome of each.
        progress: shows it.
        deadline: on the monotonic clock.
    """
    waiting = {name: open_run(config) for name, config in watched.configs.items()}
    seen: dict[str, int] = {}
    looks: dict[str, int] = dict.fromkeys(waiting, 0)
    pause = LEAST_S
    while waiting and time.monotonic() < deadline:
        live = _ask(watched)
        before = len(waiting)
        for name in list(waiting):
            run, mark = waiting[name], watched.marks.get(name)
            if run.finished:
                _finished(watched.configs[name], run, summary, progress)
            elif run.failed_since(mark):
                _failed(name, run.failure() or "", summary, progress)
            elif name in watched.ended:  # in a folder that is not seen here
                _ended(watched.configs[name], watched.ended[name], summary, progress)
            elif live is not None and name not in live.runs:
                looks[name] += 1
                if looks[name] < LOOKS:
                    continue
                summary.lost.add(name)
                _failed(name, watched.why_lost(name), summary, progress)
            else:
                looks[name] = 0
                continue
            del waiting[name]
        running = (name for name in waiting if live is not None and name in live.runs)
        _show_epochs(watched.configs, waiting, running, seen, progress)
        progress.say_of_all(live.words if live else "the engine does not answer; asking again")
        pause = LEAST_S if len(waiting) < before else min(MOST_S, 1.3 * pause)
        if waiting:
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))


def _ask(watched: Watched) -> Live | None:
    try:
        return watched.ask()
    except ValueError:
        return None


def _finished(config: Config, run: Run, summary: Summary, progress: Progress) -> None:
    summary.finished.append(run.id)
    record, is_held_out = run.record(), config.dataset.num_validation is not None
    progress.done(run.id, float(record["test_accuracy"]), "", is_held_out, record.get("wall_s"))


def _ended(config: Config, ended: Ended, summary: Summary, progress: Progress) -> None:
    name = run_id(config)
    if ended.accuracy is None:
        _failed(name, ended.reason, summary, progress)
        return
    summary.finished.append(name)
    progress.done(name, ended.accuracy, "", config.dataset.num_validation is not None)


def _failed(name: str, reason: str, summary: Summary, progress: Progress) -> None:
    summary.failed[name] = reason
    progress.done(name, None, reason)


def _show_epochs(
    configs: Mapping[str, Config],
    waiting: Mapping[str, Run],
    running: Iterable[str],
    seen: dict[str, int],
    progress: Progress,
) -> None:
    for _, name in zip(range(MOST_READ), running, strict=False):
        epoch = last_epoch(waiting[name])
        if epoch > seen.get(name, 0):
            seen[name] = epoch
            progress.step(configs[name], epoch, 1.0, "")


def last_epoch(run: Run) -> int:
    """The last finished epoch of a run; 0 before the first."""
    try:
        line = run.last_metrics()
        return int(json.loads(line)["epoch"]) if line else 0
    except (OSError, *DAMAGES):
        return 0


def configs_by_name(configs: Iterable[Config]) -> dict[str, Config]:
    """Runs by name."""
    return {run_id(config): config for config in configs}
