"""Jobs on a Slurm cluster: submitting by submitit, and asking Slurm how they stand."""

import io
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossbench.engines.jobs import Planned
from lossbench.engines.options import Slurm
from lossbench.engines.sweeps import Submitted, Sweep
from lossbench.engines.worker import SlurmJob
from lossbench.system.spelling import counted

NEVER = (
    *("PartitionConfig", "BadConstraints", "PartitionTimeLimit", "PartitionNodeLimit", "InvalidAccount", "InvalidQOS"),
    *("AccountNotAllowed", "QOSNotAllowed", "MaxMemPerLimit", "JobHeldAdmin", "JobHeldUser"),
)
"""Slurm's reasons for which a job waits until its options or those of the cluster change."""

PER_JOB = "PerJobLimit"
"""Ends further such reasons."""

PREFIX = "lossbench-"
"""Begins the names of the jobs in the queue; the sweep's name follows."""

ASK_S = 60.0
"""Longest time that Slurm's commands may take, in s."""


@dataclass(frozen=True)
class Queued:
    """A job in Slurm's queue."""

    id: str
    sweep: str  # name of its sweep
    state: str  # Slurm's word, such as RUNNING
    reason: str  # why it waits, in Slurm's words
    node: str  # where it is executed, if it is

    @property
    def runs(self) -> bool:
        """Whether it is executed now."""
        return self.state in ("RUNNING", "COMPLETING", "CONFIGURING", "STAGE_OUT", "SUSPENDED")


def check() -> None:
    """Check that jobs can be submitted from this machine.

    Raises:
        ValueError: a command of Slurm's or submitit is missing.
    """
    for command in ("sbatch", "squeue", "srun"):
        if shutil.which(command) is None:
            raise ValueError(
                f"launcher=slurm needs Slurm's commands, and {command} is not on this machine; use a login node"
            )
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise ValueError(
            'launcher=slurm needs the package submitit; install it with: pip install "lossbench[slurm]"'
        ) from None


def limit_min(launcher: Slurm, jobs: Iterable[Planned]) -> int:
    """Time limit of the jobs in minutes: `time_min`, or three times the longest estimate, at least 30, in tens."""
    if launcher.time_min is not None:
        return launcher.time_min
    longest = max(job.seconds for job in jobs) / 60
    return 10 * -(-max(30, int(3 * longest)) // 10)


def submit(
    sweep: Sweep, jobs: Sequence[Planned], paths: Sequence[Path], launcher: Slurm, runs_per_gpu: int
) -> list[str]:
    """Submit jobs as one array; returns their ids.

    Args:
        sweep: the sweep that the jobs are of.
        jobs: the jobs.
        paths: the file of each.
        launcher: the options.
        runs_per_gpu: number of runs that share a GPU.

    Raises:
        ValueError: Slurm refuses them; the sentence has its reason.
    """
    import submitit
    from submitit.core.utils import FailedJobError

    folder = sweep.folder / "slurm"
    minutes = limit_min(launcher, jobs)
    executor = submitit.SlurmExecutor(folder, max_num_timeout=launcher.requeues, python=launcher.python)
    cpus = launcher.cpus_per_run * launcher.at_once(runs_per_gpu)
    wanted: dict[str, Any] = {
        "job_name": f"{PREFIX}{sweep.name}",
        "partition": launcher.partition,
        "account": launcher.account,
        "qos": launcher.qos,
        "constraint": launcher.constraint,
        "time": minutes,
        "mem": None if launcher.mem_gb is None else f"{max(1, round(1024 * launcher.mem_gb))}M",
        "cpus_per_task": cpus,
        "gpus_per_node": launcher.gpus_per_job or None,
        "signal_delay_s": launcher.signal_s,
        "setup": list(launcher.setup) or None,
        "array_parallelism": launcher.jobs_at_once,
        "wckey": None,
        "additional_parameters": {"requeue": True, **_further(launcher.sbatch)},
    }
    parameters = {key: value for key, value in wanted.items() if value is not None or key == "wckey"}
    try:
        executor.update_parameters(**{key: value for key, value in parameters.items() if key not in ("time", "mem")})
        executor.parameters |= {key: parameters[key] for key in ("time", "mem") if key in parameters}
        with redirect_stderr(io.StringIO()), executor.batch():  # submitit prints what sbatch says, and raises it
            found = [executor.submit(SlurmJob(str(path), minutes)) for path in paths]
    except (FailedJobError, subprocess.SubprocessError, OSError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        what = "; ".join(dict.fromkeys(map(_plain, said[-3:]))) or "no reason is given"
        raise ValueError(f"Slurm refuses the jobs: {what}; change the options launcher.*") from error
    sweep.add(
        Submitted(job.job_id, path, (str(job.paths.stderr), str(job.paths.stdout)))
        for job, path in zip(found, paths, strict=True)
    )
    return [job.job_id for job in found]


def _further(options: Iterable[str]) -> dict[str, str | bool]:
    """Further options of sbatch by name; True: without a value."""
    pairs = [text.partition("=") for text in options]
    return {name: value if is_given else True for name, is_given, value in pairs}


def _plain(text: str) -> str:
    return text.removeprefix("sbatch: ").removeprefix("error: ").strip()


def queue() -> list[Queued]:
    """All jobs of this user's sweeps that wait or are executed.

    Raises:
        ValueError: Slurm does not answer.
    """
    user = ["--user", str(os.getuid())]
    text = _ask(["squeue", "--noheader", "--array", *user, "--format=%i|%T|%r|%N|%j"])
    found = []
    for line in text.splitlines():
        id_, state, reason, node, name = (line.split("|", 4) + 5 * [""])[:5]
        if name.startswith(PREFIX):
            found.append(Queued(id_.strip(), name.removeprefix(PREFIX).strip(), state, reason, node))
    return found


def cancel(ids: Collection[str]) -> None:
    """Remove jobs from the queue, and stop those that are executed.

    Raises:
        ValueError: Slurm does not answer.
    """
    every = sorted(ids)
    for begin in range(0, len(every), 500):
        _ask(["scancel", *every[begin : begin + 500]])


def ended_as(id_: str) -> str | None:
    """How a job ended in Slurm's word, such as OUT_OF_MEMORY; None if the cluster keeps no accounts."""
    try:
        text = _ask(["sacct", "--noheader", "--parsable2", "--allocations", "--format=State", "-j", id_])
    except ValueError:
        return None
    words = text.split()
    return words[0] if words else None


def _ask(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True)
    except FileNotFoundError:
        raise ValueError(f"{command[0]} is not on this machine; use a login node of the cluster") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"Slurm does not answer: {command[0]} took more than {ASK_S:.0f} s; try again later") from None
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().splitlines()
        reason = said[-1] if said else f"exit code {error.returncode}"
        raise ValueError(f"Slurm does not answer: {reason}; try again later") from None
    return done.stdout


_REQUEUED = ("DUE TO JOB REQUEUE ***", "DUE TO PREEMPTION ***", "DUE TO NODE FAILURE ***")
"""Ends of the lines that slurmstepd writes when a job goes back into the queue."""


def last_words(logs: Iterable[str]) -> str:
    """Why a job ended, from the first of some log files that has any lines.

    The last line that is not srun's, else srun's last error; what an earlier start in the same log left does not count.
    """
    for log in logs:
        path = Path(log)
        if not path.is_file():
            continue
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2**14))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        starts = [place for place, line in enumerate(lines) if line.endswith(_REQUEUED)]
        lines = (lines[starts[-1] + 1 :] or lines) if starts else lines
        own = [line for line in lines if not line.startswith("srun: ")]
        errors = [line for line in lines if line.startswith("srun: error: ")]
        if lines:
            return (own or errors or lines)[-1]
    return ""


def never_start(jobs: Iterable[Queued], sweep: str) -> list[str]:
    """A sentence for each reason for which jobs of a sweep may wait for ever."""
    waiting = [job.reason for job in jobs if job.sweep == sweep and not job.runs]
    stuck = sorted({reason for reason in waiting if reason in NEVER or reason.endswith(PER_JOB)})
    return [
        f"Slurm may never start the jobs that wait for the reason {reason}; to change their options launcher.*, first "
        f"lossbench sweep cancel {sweep}"
        for reason in stuck
    ]


def in_words(jobs: Mapping[str, Queued]) -> str:
    """How many jobs are executed and how many wait, with Slurm's reasons."""
    running = [job for job in jobs.values() if job.runs]
    waiting = [job for job in jobs.values() if not job.runs]
    parts = [f"{counted(len(running), 'job')} running"] if running else []
    reasons = sorted({job.reason for job in waiting if job.reason not in ("", "None")})
    if waiting:
        parts.append(f"{len(waiting)} waiting" + (f" ({', '.join(reasons[:3])})" if reasons else ""))
    return ", ".join(parts) or "no jobs in the queue"
