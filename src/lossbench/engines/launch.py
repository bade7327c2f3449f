"""Executing a list of runs where the launcher says: on this machine, on Slurm or on Ray."""

import math
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lossbench.config.naming import told_apart
from lossbench.config.plugins import files_named
from lossbench.config.run import Config, run_id
from lossbench.engines import slurm
from lossbench.engines.jobs import grouped, in_a_job, job_of
from lossbench.engines.options import JobLauncher, Launcher, Ray, Slurm
from lossbench.engines.sweeps import Sweep, all_sweeps, sweep_of
from lossbench.engines.watch import Live, Seconds, Watched, configs_by_name, watch
from lossbench.runs.folder import open_run
from lossbench.sweep.cost import flops
from lossbench.sweep.progress import Progress, duration
from lossbench.sweep.run_all import Summary, prepare_all, remaining, run_all
from lossbench.system.screen import say
from lossbench.system.spelling import counted
from lossbench.system.stops import stops_interrupt
from lossbench.training.fit import check_fits


def run_on(
    launcher: Launcher,
    configs: Sequence[Config],
    seconds: Callable[[], Seconds],
    elsewhere: Collection[str] = (),
    words: Mapping[str, str] | None = None,
) -> Summary | None:
    """Execute all runs of a list that are not finished yet, where the launcher says.

    Args:
        launcher: its options.
        configs: the runs.
        seconds: makes an estimate of a run's time, if it is needed to make jobs.
        elsewhere: names of runs whose records are known from elsewhere, which are skipped.
        words: what the terminal calls each run, by name; None: the options that tell it from the others.

    Returns:
        The outcome; None if the runs are submitted and not waited for.

    Raises:
        ValueError: the runs cannot be executed, or the engine cannot be used; nothing is trained then.
        KeyboardInterrupt: stopped by the user; jobs on Slurm are not stopped by this.
    """
    if not isinstance(launcher, JobLauncher):
        return run_all(configs, elsewhere, words)
    if any(config.runtime.budget_min is not None for config in configs):
        raise ValueError(
            f"a time budget has no effect with launcher={launcher.name}; leave it out"
            + ("; launcher.time_min limits each job" if isinstance(launcher, Slurm) else "")
        )
    todo = remaining(configs, elsewhere)
    summary = Summary(skipped=sorted({run_id(config) for config in configs} - {run_id(config) for config in todo}))
    if not todo:
        return summary
    if isinstance(launcher, Slurm):
        slurm.check()
    for config in todo:
        check_fits(config)
    prepare_all(todo)  # here, as nodes may have no network
    todo = [in_a_job(config, launcher, config.runtime.data_dir or os.environ.get("LOSSBENCH_DATA")) for config in todo]
    if words is None:
        words = told_apart({run_id(config): asdict(config) for config in configs})
    if isinstance(launcher, Slurm):
        return _on_slurm(launcher, todo, summary, seconds, words)
    assert isinstance(launcher, Ray)
    from lossbench.engines.ray import run_on_ray

    return run_on_ray(launcher, todo, summary, seconds(), words)


def _on_slurm(
    launcher: Slurm, todo: Sequence[Config], summary: Summary, seconds: Callable[[], Seconds], words: Mapping[str, str]
) -> Summary | None:
    output_dir = todo[0].runtime.output_dir
    names = [run_id(config) for config in todo]
    sweep = _sweep_that_has(output_dir, names) or sweep_of(output_dir, "slurm", names)
    with sweep.held():
        covered = _covered(output_dir)
        new = [config for config in todo if run_id(config) not in covered]
        if new or not (sweep.folder / "sweep.json").exists():
            _note(sweep, names, launcher)
        if new:
            try:
                _submit(sweep, new, launcher, seconds())
            except ValueError:
                if not sweep.submitted():  # the first submission, and it was refused
                    (sweep.folder / "sweep.json").unlink(missing_ok=True)
                raise
    if held := len(todo) - len(new):
        say(f"{held} of {len(todo)} runs are in jobs that were submitted before, with the options launcher.* of then")
    say(f"lossbench sweep status {sweep.name} shows how they stand; wait and cancel likewise")
    if not launcher.wait:
        return None
    watch_slurm(sweep, todo, summary, words)
    return summary


def _note(sweep: Sweep, names: Sequence[str], launcher: Slurm) -> None:
    """Write what is being submitted, so that the jobs are found if the command is killed meanwhile."""
    known = sweep.runs if (sweep.folder / "sweep.json").exists() else []
    command = [*sys.argv[1:], *(f"--plugin={file}" for file in files_named())]
    runs = [*known, *(name for name in names if name not in set(known))]
    sweep.write({"engine": "slurm", "command": command, "launcher": asdict(launcher), "runs": runs})


def _sweep_that_has(output_dir: str, names: Sequence[str]) -> Sweep | None:
    """The last sweep that has all of some runs: the same command, when some of its runs are finished."""
    wanted = set(names)
    return next((sweep for sweep in all_sweeps(output_dir) if wanted <= set(sweep.runs)), None)


def _covered(output_dir: str) -> dict[str, str]:
    """The sweep whose job in the queue has a run, by the run's name, over all sweeps of an output folder.

    Jobs of which no note was left, since their command was killed while it submitted them, are cancelled.
    """
    queued = slurm.queue()
    found: dict[str, str] = {}
    unknown: list[str] = []
    for sweep in all_sweeps(output_dir):
        ids = {job.id for job in queued if job.sweep == sweep.name}
        noted = sweep.submitted().keys()
        unknown += sorted(ids - noted)
        found |= dict.fromkeys(sweep.runs_of(ids), sweep.name)
    if unknown:
        slurm.cancel(unknown)
        say(f"cancelled: {counted(len(unknown), 'job')} that the command was submitting when it was killed")
    return found


def _submit(sweep: Sweep, configs: Sequence[Config], launcher: Slurm, seconds: Seconds) -> None:
    jobs = grouped(configs, launcher, seconds)
    marks = {run_id(config): open_run(config).failure_mark() for config in configs}
    paths = [sweep.write_job(job_of(job.configs, marks)) for job in jobs]
    ids = slurm.submit(sweep, jobs, paths, launcher, configs[0].runtime.runs_per_gpu)
    first = ids[0].partition("_")[0]
    where = f" to the partition {launcher.partition}" if launcher.partition else ""
    longest = duration(max(job.seconds for job in jobs))
    say(
        f"{counted(len(configs), 'run')} in {counted(len(jobs), 'job')} submitted{where} as Slurm job {first}: each "
        f"takes about {longest} or less, and may take {slurm.limit_min(launcher, jobs)} min"
    )


def watch_slurm(sweep: Sweep, configs: Sequence[Config], summary: Summary, words: Mapping[str, str]) -> None:
    """Wait for runs that are in jobs on Slurm; `summary` gets their outcome."""

    def ask() -> Live:
        queued = [job for job in slurm.queue() if job.sweep in sweeps]
        found: dict[str, str] = {}
        for name, one in sweeps.items():
            found |= one.runs_of({job.id for job in queued if job.sweep == name})
        for sentence in slurm.never_start(queued, sweep.name):
            if sentence not in said:
                said.add(sentence)
                say(sentence)
        return Live(found, slurm.in_words({job.id: job for job in queued}))

    said: set[str] = set()
    sweeps = {one.name: one for one in all_sweeps(configs[0].runtime.output_dir)}
    marks = {name: mark for one in reversed(sweeps.values()) for name, mark in one.marks().items()}
    by_name = configs_by_name(configs)
    costs = {name: flops(config) for name, config in by_name.items()}
    with stops_interrupt(), Progress(costs, len(by_name), words) as progress:
        watched = Watched(by_name, marks, ask, lambda name: why_lost(sweep, name))
        try:
            watch(watched, summary, progress, math.inf)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"the jobs go on: lossbench sweep wait {sweep.name} waits for them, cancel stops them"
            ) from None


def why_lost(sweep: Sweep, name: str) -> str:
    """Why a run is unfinished although none of a sweep's jobs in the queue has it, in one line."""
    submitted = sweep.submitted()
    id_ = sweep.runs_of(submitted.keys()).get(name)
    if id_ is None:
        return "it was never submitted; run the same command again"
    if not any(Path(log).exists() for log in submitted[id_].logs):
        return f"Slurm job {id_} was taken out of the queue before it started"
    said, state = slurm.last_words(submitted[id_].logs), slurm.ended_as(id_)
    how = f" as {state}" if state else ""
    return f"Slurm job {id_} ended{how} without it: {said or 'its log is empty'} ({submitted[id_].logs[0]})"
