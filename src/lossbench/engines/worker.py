"""What a job executes on a node: its runs, each with a log in its own folder."""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lossbench.config.run import Config
from lossbench.engines.jobs import names_in, runs_of
from lossbench.runs.folder import JOB_LOG, Mark, Run, runs_dir
from lossbench.sweep import run_all as sweep
from lossbench.sweep.outcome import Outcome
from lossbench.sweep.run_all import Summary
from lossbench.system.files import append_line
from lossbench.training.steps import OnStep

VARIABLE = "LOSSBENCH_JOB"
"""Environment variable with the words that name a job in its runs' logs, such as "Slurm job 12_3"."""

ANSWER = "lossbench-job-answer: "
"""Begins the line with a job's outcome on the standard output of `python -m lossbench.engines.worker`."""


def work(job: Mapping[str, Any]) -> Summary:
    """Execute the runs of a job that are not finished; returns their outcome.

    Raises:
        ValueError: a plugin is missing or has changed, or the runs cannot be executed on this machine.
    """
    configs, marks = runs_of(job)
    return sweep.run_all(configs, attempt_with=attempt, marks=marks)


def attempt(config: Config, on_step: OnStep, deadline: float, mark: Mark) -> Outcome:
    """Execute a run with the process's output in the run's own log."""
    return sweep.attempt(
        config, on_step, deadline, mark, around=partial(_logged, words=os.environ.get(VARIABLE, "job"))
    )


@contextlib.contextmanager
def _logged(run: Run, words: str) -> Iterator[None]:
    """Append the process's standard output and errors to the run's log of jobs in the block."""
    path = run.folder / JOB_LOG
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    append_line(path, f"--- {words}, {platform.node()}, process {os.getpid()}, {now}")
    kept = [os.dup(stream) for stream in (1, 2)]
    log = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        _flush()
        for stream in (1, 2):
            os.dup2(log, stream)
        yield
    finally:
        _flush()
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
            os.close(before)
        os.close(log)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def epochs_done(job: Mapping[str, Any]) -> int:
    """Number of finished epochs of a job's runs, as far as they are in this machine's folders."""
    total = 0
    for run in job["runs"]:
        folder = Run(runs_dir(run["runtime"]["output_dir"]) / run["run_id"])
        epochs = int(run["config"]["schedule"]["epochs"])
        total += epochs if folder.finished else sum(1 for _ in folder.whole_metrics())
    return total


class NoProgressError(SystemExit):
    """No epoch ended within a job's time limit, so that continuing it in the queue would never end."""


@dataclass
class SlurmJob:
    """A job that submitit executes in a Slurm job, and continues in the queue after its time limit.

    Args:
        path: the file of the job.
        limit_min: its time limit in minutes.
    """

    path: str
    limit_min: int
    _done_before: int = field(default=0, init=False)

    def __call__(self) -> dict[str, Any]:
        """Execute the runs; returns their outcome for `lossbench sweep`.

        A stop signal comes from Slurm, which ends the job or takes its node away: the runs stop after writing what
        they have, and Slurm does the rest. The job must not end by itself then, or Slurm would not put it back into
        the queue.
        """
        from lossbench.system.stops import wait_for_the_end

        os.environ[VARIABLE] = f"Slurm job {slurm_job_id()}"
        self._done_before = epochs_done(self.job)
        try:
            summary = work(self.job)
        except KeyboardInterrupt:
            print("stopped by a signal; the runs continue after their last finished epoch", flush=True)
            wait_for_the_end()
            raise
        return answer_of(summary)

    @property
    def job(self) -> dict[str, Any]:
        """Content of the job's file."""
        return dict(json.loads(Path(self.path).read_text()))

    def checkpoint(self) -> Any:
        """Called by submitit before the time limit: the same job, to be continued in the queue.

        Raises:
            NoProgressError: no epoch ended since the job was started.
        """
        from submitit.helpers import DelayedSubmission

        if epochs_done(self.job) <= self._done_before:
            raise NoProgressError(
                f"no epoch ended within the time limit of {self.limit_min} min; set a longer launcher.time_min"
            )
        return DelayedSubmission(SlurmJob(self.path, self.limit_min))


def slurm_job_id() -> str:
    """The id of the Slurm job that this process is in, as squeue and submitit write it; "?" outside of one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "?")


def answer_of(summary: Summary) -> dict[str, Any]:
    """The outcome of a job's runs as JSON."""
    return {"finished": [*summary.skipped, *summary.finished], "failed": summary.failed, "left": summary.postponed}


def main() -> None:
    """Execute the job on standard input; the last line on standard output is its outcome."""
    from lossbench.system.stops import end_with_parent

    end_with_parent()
    job = json.load(sys.stdin)
    try:
        answer = answer_of(work(job))
    except (OSError, ValueError) as error:
        answer = {"finished": [], "failed": dict.fromkeys(names_in(job), " ".join(str(error).split())), "left": []}
    answer["accuracy"] = _accuracies(job, answer["finished"])
    print(ANSWER + json.dumps(answer), flush=True)


def _accuracies(job: Mapping[str, Any], finished: list[str]) -> dict[str, float]:
    folders = {run["run_id"]: runs_dir(run["runtime"]["output_dir"]) / run["run_id"] for run in job["runs"]}
    return {name: float(Run(folders[name]).record()["test_accuracy"]) for name in finished}


if __name__ == "__main__":
    main()
