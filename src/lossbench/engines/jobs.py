"""Jobs: groups of runs that an engine executes together, and their form as JSON."""

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from lossbench import NUMERICS
from lossbench.config.plugins import Source, load_plugin, load_plugins, loaded_plugins
from lossbench.config.registry import sources
from lossbench.config.run import Config, Runtime, run_id
from lossbench.engines.options import JobLauncher
from lossbench.runs.folder import Mark
from lossbench.runs.restored import config_of
from lossbench.system.files import expanded

FORMAT = 1
"""Version of a job's JSON."""

LEAST_JOB_S = 150.0
"""Estimated time of a job, in s, below which no runs are spread over more jobs: ten times a job's start."""

MOST_JOBS = 1000
"""Jobs of a submission; Slurm's default limit of an array is 1,001."""


@dataclass(frozen=True)
class Planned:
    """A job to be submitted: its runs, and its estimated time in s."""

    configs: tuple[Config, ...]
    seconds: float


def grouped(configs: Sequence[Config], launcher: JobLauncher, seconds: Callable[[Config], float]) -> list[Planned]:
    """Runs in jobs, in their order.

    With `runs_per_job=auto` a job is filled up to an estimated time: the total divided by `jobs_at_once`, but at least
    `LEAST_JOB_S` and at most `job_min`; a run that takes longer is a job by itself. A run that begins with the weights
    of another one of the list is in that one's job, behind it.

    Args:
        configs: the runs.
        launcher: the launcher's options.
        seconds: estimated time of a run.
    """
    if not configs:
        return []
    at_once = launcher.at_once(configs[0].runtime.runs_per_gpu)
    chains = _chains(configs)
    estimates = {id(config): seconds(config) for config in configs}

    def filled(goal: float, number: int) -> list[_Filled]:
        """Jobs to which one chain after the other is added as long as time or number are within the limits."""
        jobs: list[_Filled] = []
        for chain in chains:
            times = [estimates[id(config)] for config in chain]
            if not jobs or len(jobs[-1].configs) + len(chain) > number or jobs[-1].seconds_with(times) > goal:
                jobs.append(_Filled(at_once))
            jobs[-1].add(chain, times)
        return jobs

    if launcher.runs_per_job == "auto":
        total = sum(estimates.values()) / at_once
        goal = min(60 * launcher.job_min, max(LEAST_JOB_S, total / launcher.jobs_at_once))
        goal = 1.001 * total / -(-total // goal)  # so that the last job is not much shorter than the others
        jobs = filled(goal, len(configs))
        while len(jobs) > MOST_JOBS:
            goal *= 1.1
            jobs = filled(goal, len(configs))
    else:
        jobs = filled(math.inf, max(int(launcher.runs_per_job), -(-len(configs) // MOST_JOBS)))
    return [Planned(tuple(job.configs), max(job.places)) for job in jobs]


class _Filled:
    """A job that is being filled; its runs are handed out in order to the first free place.

    Args:
        at_once: number of places.
    """

    def __init__(self, at_once: int) -> None:
        self.configs: list[Config] = []
        self.places = [0.0] * at_once  # when each is free, in s; a heap

    def seconds_with(self, times: Iterable[float]) -> float:
        """Estimated time of the job with further runs, which take the given times."""
        return max(_after(self.places, times))

    def add(self, configs: Iterable[Config], times: Iterable[float]) -> None:
        """Add runs."""
        self.configs += configs
        self.places = _after(self.places, times)


def _after(places: Sequence[float], times: Iterable[float]) -> list[float]:
    later = list(places)
    for time in times:
        heapq.heapreplace(later, later[0] + time)
    return later


def _chains(configs: Sequence[Config]) -> list[list[Config]]:
    """Runs that begin with the weights of another one of the list behind that one; the others alone."""
    chains: dict[str, list[Config]] = {}
    waiting = list(configs)
    names = {run_id(config) for config in configs}
    while waiting:
        later = []
        for config in waiting:
            start = config.schedule.warm_start
            if start is None or start not in names:
                chains[run_id(config)] = [config]
            elif start in chains:
                chains[start].append(config)
                chains[run_id(config)] = chains[start]
            else:
                later.append(config)
        if len(later) == len(waiting):  # each waits for another one: the runs themselves will say so
            chains |= {run_id(config): [config] for config in later}
            break
        waiting = later
    return list({id(chain): chain for chain in chains.values()}.values())


def in_a_job(config: Config, launcher: JobLauncher, data_dir: str | None) -> Config:
    """The run as a job executes it: absolute folders, threads and number of parallel runs fixed, no download.

    Args:
        config: the run.
        launcher: the launcher's options.
        data_dir: folder of published files on this machine; None: the default.
    """
    runtime = config.runtime
    device = runtime.device if runtime.device != "auto" else "cuda" if launcher.gpus_per_job else "cpu"
    found = replace(
        runtime,
        device=device,
        output_dir=str(Path(expanded(runtime.output_dir, "runtime.output_dir")).absolute()),
        data_dir=str(Path(data_dir).absolute()) if data_dir else None,
        num_threads=runtime.num_threads or launcher.cpus_per_run,
        parallel=launcher.at_once(runtime.runs_per_gpu),
        budget_min=None,
    )
    return replace(config, runtime=found)


def job_of(configs: Iterable[Config], marks: Mapping[str, Mark]) -> dict[str, Any]:
    """A job as JSON: its runs with the marks of their last failures, and the plugins that they need."""
    return {
        "format": FORMAT,
        "plugins": [asdict(source) for source in loaded_plugins()],
        "runs": [
            {
                "run_id": run_id(config),
                "numerics": NUMERICS,
                "config": {key: value for key, value in asdict(config).items() if key != "runtime"},
                "runtime": asdict(config.runtime),
                "plugins": {part: {"plugin": source.name} for part, source in sources(config.parts()).items()},
                "mark": marks.get(run_id(config)),
            }
            for config in configs
        ],
    }


def runs_of(job: Mapping[str, Any]) -> tuple[list[Config], dict[str, Mark]]:
    """The runs of a job, and the marks of their last failures, by name; loads the plugins that they need.

    Raises:
        ValueError: a plugin is missing or has changed, or the job is one of another version of lossbench.
    """
    if job["format"] != FORMAT:
        raise ValueError(f"the job has the format {job['format']}, and this lossbench reads {FORMAT}; submit it again")
    load_plugins()
    for plugin in job["plugins"]:
        if plugin["is_file"]:
            load_plugin(plugin["place"])
    here = {source.place: source for source in loaded_plugins()}
    for plugin in job["plugins"]:
        source = here.get(plugin["place"])
        if source is None or source.sha256 != plugin["sha256"]:
            now = "it is not installed here" if source is None else f"and is {source.sha256[:12]}... now"
            raise ValueError(
                f"the plugin {Source(**plugin).name} has changed since its runs were submitted "
                f"({plugin['sha256'][:12]}... then, {now}); the same command submits the runs of its present version"
            )
    known = {field.name for field in fields(Runtime)}
    configs, marks = [], {}
    for run in job["runs"]:
        runtime = Runtime(**{key: value for key, value in run["runtime"].items() if key in known})
        config = config_of(run, runtime)
        configs.append(config)
        mark = run["mark"]
        marks[run_id(config)] = None if mark is None else (int(mark[0]), int(mark[1]))
    return configs, marks


def names_in(job: Mapping[str, Any]) -> list[str]:
    """The names of a job's runs."""
    return [run["run_id"] for run in job["runs"]]
