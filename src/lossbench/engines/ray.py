"""Jobs on a Ray cluster: each is a task that executes its runs in a process of its own."""

import json
import math
import os
import secrets
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from lossbench.config.run import Config, run_id
from lossbench.engines.jobs import Planned, grouped, job_of, names_in
from lossbench.engines.options import Ray
from lossbench.engines.watch import Ended, Live, Seconds, Watched, configs_by_name, watch
from lossbench.engines.worker import ANSWER, VARIABLE
from lossbench.runs.folder import open_run
from lossbench.sweep.cost import flops
from lossbench.sweep.progress import Progress
from lossbench.sweep.run_all import Summary
from lossbench.system.machine import num_cores
from lossbench.system.screen import say
from lossbench.system.spelling import counted
from lossbench.system.stops import stops_interrupt

OBJECT_STORE_BYTES = 80 * 2**20
"""Object store of a cluster that is started here: Ray's minimum, as nothing large goes through it."""


ANSWER_S = 10.0
"""Longest time that a cluster's address may take to answer, in s."""


class JobDiedError(RuntimeError):
    """The process of a job was killed, so that Ray executes the job again."""


def execute(job: str, variables: Mapping[str, str], folder: str) -> dict[str, Any]:
    """Execute a job in a new process on a node of the cluster; returns its outcome.

    Args:
        job: the job as JSON.
        variables: environment variables of the program that submitted it.
        folder: that program's working directory, used if it exists here.

    Raises:
        JobDiedError: the process was killed.
    """
    named = {VARIABLE: f"Ray job of {os.getpid()}"}
    done = subprocess.run(
        [sys.executable, "-m", "lossbench.engines.worker"],
        input=job,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, **variables, **named},
        cwd=folder if os.path.isdir(folder) else None,
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(ANSWER):
            return {**json.loads(line.removeprefix(ANSWER)), "host": socket.gethostname()}
    said = done.stdout.strip().splitlines()
    if done.returncode < 0:
        raise JobDiedError(f"its process on {socket.gethostname()} was killed by signal {-done.returncode}")
    reason = said[-1] if said else f"exit code {done.returncode}"
    return {"finished": [], "failed": dict.fromkeys(names_in(json.loads(job)), reason), "left": [], "accuracy": {}}


class Tasks:
    """The tasks of a sweep: submitted a few at a time, and what has come of them.

    Args:
        ray: the module of Ray.
        launcher: the options.
        jobs: the jobs, with their names as JSON.
        runs_per_gpu: number of runs that share a GPU.
    """

    def __init__(self, ray: Any, launcher: Ray, jobs: Sequence[tuple[Planned, str]], runs_per_gpu: int) -> None:
        self._ray, self._most = ray, launcher.jobs_at_once
        self._waiting = deque(jobs)
        self._task = ray.remote(
            num_cpus=0 if launcher.gpus_per_job else launcher.cpus_per_run * launcher.at_once(runs_per_gpu),
            num_gpus=launcher.gpus_per_job or None,
            memory=None if launcher.memory_gb is None else int(launcher.memory_gb * 1e9),
            resources=launcher.amounts() or None,
            max_retries=launcher.retries,
            retry_exceptions=[JobDiedError],
        )(execute)
        self._names: dict[Any, list[str]] = {}
        self.ended: dict[str, Ended] = {}
        self.lost: dict[str, str] = {}
        self.hosts: set[str] = set()

    def ask(self) -> Live:
        """Submit what may be submitted, and take what is done."""
        if self._names:
            done, _ = self._ray.wait(list(self._names), num_returns=len(self._names), timeout=0)
            for reference in done:
                self._take(reference, self._names.pop(reference))
        while self._waiting and len(self._names) < self._most:
            job, text = self._waiting.popleft()
            variables = {key: value for key, value in os.environ.items() if key.startswith("LOSSBENCH_")}
            reference = self._task.remote(text, variables, os.getcwd())
            self._names[reference] = [run_id(config) for config in job.configs]
        runs = {name: "" for names in self._names.values() for name in names}
        runs |= {run_id(config): "" for job, _ in self._waiting for config in job.configs}
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        return Live(
            runs, f"{counted(len(self._names), 'job')} on {counted(nodes, 'node')}, {len(self._waiting)} waiting"
        )

    def _take(self, reference: Any, names: Sequence[str]) -> None:
        try:
            answer = self._ray.get(reference)
        except Exception as error:  # of many kinds
            self.lost |= dict.fromkeys(names, f"Ray lost its job: {_said(error)}")
            return
        self.hosts.add(answer.get("host", ""))
        self.ended |= {name: Ended(float(answer["accuracy"][name])) for name in answer["finished"]}
        self.ended |= {name: Ended(None, reason) for name, reason in answer["failed"].items()}
        self.lost |= dict.fromkeys(answer["left"], "its job ended before it was finished; run the same command again")


def run_on_ray(
    launcher: Ray, todo: Sequence[Config], summary: Summary, seconds: Seconds, words: Mapping[str, str]
) -> Summary:
    """Execute runs on a Ray cluster and wait for them.

    Raises:
        ValueError: Ray is missing, the cluster cannot be reached, or it will never have what a job needs.
    """
    ray = _started(launcher)
    try:
        runs_per_gpu = todo[0].runtime.runs_per_gpu
        _check_resources(ray, launcher, runs_per_gpu)
        marks = {run_id(config): open_run(config).failure_mark() for config in todo}
        jobs = [(job, json.dumps(job_of(job.configs, marks))) for job in grouped(todo, launcher, seconds)]
        tasks = Tasks(ray, launcher, jobs, runs_per_gpu)
        nodes = sum(node["Alive"] for node in ray.nodes())
        say(f"{counted(len(todo), 'run')} in {counted(len(jobs), 'job')} on a Ray cluster of {counted(nodes, 'node')}")
        by_name = configs_by_name(todo)
        costs = {name: flops(config) for name, config in by_name.items()}
        with stops_interrupt(), Progress(costs, len(by_name), words) as progress:
            watched = Watched(
                by_name, marks, tasks.ask, lambda name: tasks.lost.get(name, "Ray has no job of it"), tasks.ended
            )
            watch(watched, summary, progress, math.inf)
    finally:
        ray.shutdown()
    if absent := [name for name in summary.finished if not open_run(by_name[name]).finished]:
        say(
            f"{len(absent)} finished runs are not in {todo[0].runtime.output_dir}, which the nodes "
            f"{', '.join(sorted(tasks.hosts))} do not share; lossbench collect HOST:DIR brings them here"
        )
    return summary


def _started(launcher: Ray) -> Any:
    """Ray's module, connected to the cluster.

    Raises:
        ValueError: it is missing, or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if launcher.address is None:  # a token of its own: Ray would write one to the home folder, for all later clusters
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError:
        raise ValueError('launcher=ray needs the package ray; install it with: pip install "lossbench[ray]"') from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if launcher.address is None:
        options |= {"address": "local", "num_cpus": num_cores(), "include_dashboard": False}
        options["object_store_memory"] = OBJECT_STORE_BYTES
    else:
        check_answers(launcher.address)
        options["address"] = launcher.address
    try:
        ray.init(**options)
    except Exception as error:  # of many kinds
        if launcher.address == "auto":
            raise ValueError(
                f"launcher.address=auto finds no Ray cluster on this machine ({_said(error)}); start one with: ray "
                "start --head, or leave launcher.address out"
            ) from error
        where = "a cluster here" if launcher.address is None else f"launcher.address={launcher.address}"
        hint = ""
        if launcher.address is not None:
            hint = "; is it running, and if it has a token: export RAY_AUTH_MODE=token and the token here too?"
        raise ValueError(f"Ray cannot use {where}: {_said(error)}{hint}") from error
    return ray


def check_answers(address: str) -> None:
    """Refuse an address at which nothing answers; Ray would try for minutes.

    Raises:
        ValueError: nothing does, or it is no host and port.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise ValueError(f"launcher.address must be host:port, such as first:6379, or auto, got {address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except OSError as error:
        raise ValueError(
            f"nothing answers at launcher.address={address} ({error}); start Ray there with: ray start --head "
            f"--port={port}"
        ) from error


def _check_resources(ray: Any, launcher: Ray, runs_per_gpu: int) -> None:
    """Refuse jobs that no node of the cluster is large enough for; they would wait for ever.

    Raises:
        ValueError: a resource is lacking.
    """
    cpus = 0 if launcher.gpus_per_job else launcher.cpus_per_run * launcher.at_once(runs_per_gpu)
    needed = {"CPU": cpus, "GPU": launcher.gpus_per_job, **launcher.amounts()}
    if launcher.memory_gb is not None:
        needed["memory"] = launcher.memory_gb * 1e9
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(key, 0) >= value for key, value in needed.items()) for node in nodes):
        return
    wanted = ", ".join(f"{key} {value:g}" for key, value in needed.items() if value)
    best = {key: max((node.get(key, 0) for node in nodes), default=0) for key in needed if needed[key]}
    there = ", ".join(f"{key} {value:g}" for key, value in best.items())
    raise ValueError(f"a job needs {wanted}, and no node of the Ray cluster has that, at most {there}; ask for less")


def _said(error: BaseException) -> str:
    """An error in one line: the last one that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
