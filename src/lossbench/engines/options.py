"""Options of `launcher`: where the runs of a command are executed."""

import re
from dataclasses import dataclass, field

from lossbench.config.options import require

START_S = 90
"""Time in s that a job needs before Slurm's signal: to start, and because the signal may come up to 60 s early."""


@dataclass
class Launcher:
    """Options that all launchers share."""

    name: str = "local"


@dataclass
class Local(Launcher):
    """The runs are executed by the command itself, on this machine (`runtime.parallel` at a time)."""

    name: str = "local"


@dataclass
class JobLauncher(Launcher):
    """Options of the launchers that execute runs in jobs elsewhere."""

    runs_per_job: int | str = "auto"  # auto: so many that a job is worth its start, by the estimated time of a run
    job_min: float = 30.0  # auto: at most this estimated time of a job, unless one run takes longer, in minutes
    jobs_at_once: int = 100  # at most so many jobs are executed at a time
    runs_at_once: int = 1  # without GPUs: runs that a job executes at a time
    cpus_per_run: int = 1
    gpus_per_job: int = 0  # each executes runtime.runs_per_gpu runs at a time; 0: on CPUs

    def __post_init__(self) -> None:
        valid = self.runs_per_job == "auto" or (isinstance(self.runs_per_job, int) and self.runs_per_job >= 1)
        require(valid, "launcher.runs_per_job", "auto or >= 1", self.runs_per_job)
        require(0 < self.job_min < float("inf"), "launcher.job_min", "> 0 and finite", self.job_min)
        for key in ("jobs_at_once", "runs_at_once", "cpus_per_run"):
            require(getattr(self, key) >= 1, f"launcher.{key}", ">= 1", getattr(self, key))
        require(self.gpus_per_job >= 0, "launcher.gpus_per_job", ">= 0", self.gpus_per_job)

    def at_once(self, runs_per_gpu: int) -> int:
        """Number of runs that a job executes at a time."""
        return self.gpus_per_job * runs_per_gpu if self.gpus_per_job else self.runs_at_once


@dataclass
class Slurm(JobLauncher):
    """Job arrays on a Slurm cluster, by submitit."""

    name: str = "slurm"
    partition: str | None = None  # None: the cluster's default
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None  # features that a node must have
    time_min: int | None = None  # time limit of a job in minutes; None: three times its estimated time, at least 30
    mem_gb: float | None = None  # memory of a job; None: the cluster's default
    requeues: int = 20  # how often a job that reached its time limit is continued in the queue
    signal_s: int = 90  # seconds before the time limit at which a job stops to be continued
    setup: list[str] = field(
        default_factory=list
    )  # shell lines that come before the program, such as "module load cuda"
    sbatch: list[str] = field(default_factory=list)  # further options of sbatch, such as "nice=100"
    python: str | None = None  # command that starts Python on a node; None: the program of this environment
    wait: bool = True  # false: the command ends after submitting

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.time_min is None or self.time_min >= 1, "launcher.time_min", "null or >= 1", self.time_min)
        valid = self.mem_gb is None or 0 < self.mem_gb < float("inf")
        require(valid, "launcher.mem_gb", "null or > 0", self.mem_gb)
        require(self.requeues >= 0, "launcher.requeues", ">= 0", self.requeues)
        for text in self.sbatch:
            valid = re.fullmatch(r"[A-Za-z][\w-]*(=.+)?", text) is not None
            require(valid, "launcher.sbatch", 'a list of options without dashes, such as ["nice=100"]', self.sbatch)
        require(1 <= self.signal_s <= 65535, "launcher.signal_s", "in 1..65535", self.signal_s)
        least = -(-(self.signal_s + START_S) // 60)
        valid = self.time_min is None or self.time_min >= least
        rule = (
            f"null or >= {least} with launcher.signal_s={self.signal_s}, so that a job can start before it is stopped"
        )
        require(valid, "launcher.time_min", rule, self.time_min)


@dataclass
class Ray(JobLauncher):
    """Tasks on a Ray cluster; without an address one is started on this machine for the command."""

    name: str = "ray"
    address: str | None = None  # host:port of an existing cluster, or auto; None: start one here
    memory_gb: float | None = None  # memory that Ray reserves for a job; None: none
    resources: list[str] = field(default_factory=list)  # further resources that a job needs, such as "big=1"
    retries: int = 3  # how often a job whose worker or node was lost is executed again

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = self.memory_gb is None or 0 < self.memory_gb < float("inf")
        require(valid, "launcher.memory_gb", "null or > 0", self.memory_gb)
        require(self.retries >= 0, "launcher.retries", ">= 0", self.retries)
        for text in self.resources:
            name, _, number = text.partition("=")
            valid = bool(name) and number.replace(".", "", 1).isdecimal() and float(number) > 0
            require(valid, "launcher.resources", 'a list such as ["big=1"]', self.resources)

    def amounts(self) -> dict[str, float]:
        """The amount of each further resource that a job needs."""
        return {text.partition("=")[0]: float(text.partition("=")[2]) for text in self.resources}


LAUNCHERS: dict[str, type[Launcher]] = {"local": Local, "slurm": Slurm, "ray": Ray}
"""The launchers, by name."""
