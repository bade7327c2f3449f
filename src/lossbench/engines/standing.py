"""How a sweep on Slurm stands, from the folders of its runs and from Slurm's queue."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lossbench.config.naming import told_apart
from lossbench.config.run import Config, run_id
from lossbench.engines import slurm
from lossbench.engines.jobs import runs_of
from lossbench.engines.launch import watch_slurm, why_lost
from lossbench.engines.sweeps import Sweep
from lossbench.engines.watch import last_epoch
from lossbench.runs.folder import Run, Status, runs_dir
from lossbench.sweep.run_all import Summary
from lossbench.system.files import read_file


@dataclass(frozen=True)
class Standing:
    """How a run of a sweep stands."""

    state: str  # finished, running, waiting, failed or lost
    job: str | None = None  # id of the job in the queue that has it
    epoch: int = 0  # last finished epoch
    reason: str | None = None  # why it failed or was lost


@dataclass(frozen=True)
class Standings:
    """How all runs of a sweep stand, by name."""

    runs: Mapping[str, Standing]
    words: str  # how many jobs run and wait; empty if there are none
    never_start: list[str]  # a sentence for each reason for which jobs may wait for ever

    def as_json(self) -> dict[str, dict[str, object]]:
        """The runs as JSON has them."""
        return {name: asdict(run) for name, run in self.runs.items()}


def standing_of(sweep: Sweep) -> Standings:
    """How a sweep stands now.

    Raises:
        ValueError: a file of the sweep is damaged, or Slurm does not answer.
    """
    queued = {job.id: job for job in slurm.queue() if job.sweep == sweep.name}
    jobs, marks = sweep.runs_of(queued.keys()), sweep.marks()
    runs = runs_dir(sweep.folder.parents[1])
    found = {}
    for name in sweep.runs:
        run, id_ = Run(runs / name), jobs.get(name)
        if run.finished:
            found[name] = Standing("finished")
        elif run.failed_since(marks.get(name)):
            found[name] = Standing("failed", id_, last_epoch(run), run.failure())
        elif id_ is not None:
            state = "running" if queued[id_].runs and run.status() is Status.running else "waiting"
            found[name] = Standing(state, id_, last_epoch(run))
        else:
            found[name] = Standing("lost", None, last_epoch(run), why_lost(sweep, name))
    return Standings(found, slurm.in_words(queued) if queued else "", slurm.never_start(queued.values(), sweep.name))


def wait_for(sweep: Sweep) -> Summary:
    """Wait until all runs of a sweep are finished, failed or lost; returns their outcome.

    Raises:
        ValueError: a file of the sweep is damaged, or a plugin of its runs is missing.
    """
    configs: dict[str, Config] = {}
    for job in sweep.submitted().values():
        configs |= {run_id(config): config for config in runs_of(json.loads(read_file(job.path)))[0]}
    output_dir = sweep.folder.parents[1]
    done = [name for name in configs if Run(runs_dir(output_dir) / name).finished]
    summary = Summary(skipped=sorted(done))
    waiting = [config for name, config in configs.items() if name not in set(done)]
    if waiting:
        watch_slurm(sweep, waiting, summary, told_apart({name: asdict(config) for name, config in configs.items()}))
    return summary
