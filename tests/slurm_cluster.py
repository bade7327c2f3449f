"""A real Slurm cluster of two nodes on this machine, for tests: one controller, a daemon a node, and munge."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

COMMANDS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged", "munge", "runuser")

CONF = """
ClusterName=lossbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=10
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=1,sched_min_interval=100000
SlurmdTimeout=6
KillWait=4
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus} RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None: it can."""
    if os.getuid() != 0:
        return "starting Slurm needs root"
    lacking = [command for command in COMMANDS if shutil.which(command, path=_path()) is None]
    return f"Slurm is not installed: no {', '.join(lacking)}" if lacking else None


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Cluster:
    """Controller and nodes of a cluster whose files are in a folder."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder, self.conf = folder, folder / "slurm.conf"
        for part in ("state", "n1", "n2"):
            (folder / part).mkdir(parents=True)
        self.conf.write_text(
            CONF.format(host=socket.gethostname().partition(".")[0], folder=folder, ports=_free_ports(3), cpus=cpus)
        )
        self.env = {**os.environ, "PATH": _path(), "SLURM_CONF": str(self.conf)}

    def run(self, *command: str) -> str:
        """Output of one of Slurm's commands."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def start(self) -> None:
        self.run("slurmctld", "-f", str(self.conf))
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait_until(lambda: self.run("sinfo", "-h", "-o", "%T %D").split() == ["idle", "2"], 60)

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self.run("slurmd", "-N", node, "-f", str(self.conf))

    def kill_node(self, node: str) -> None:
        """Kill the daemon of a node; what it started goes on."""
        os.kill(int((self.folder / f"{node}.pid").read_text()), signal.SIGKILL)

    def states(self) -> dict[str, str]:
        """State of each job in the queue, by id."""
        lines = self.run("squeue", "-h", "-r", "-o", "%i %T").splitlines()
        return dict(line.split() for line in lines)

    def running_on(self, node: str) -> list[str]:
        """Ids of the jobs that are executed on a node."""
        return self.run("squeue", "-h", "-r", "-t", "R", "-w", node, "-o", "%i").split()

    def restarts(self, job: str) -> int:
        """How often a job was put back into the queue."""
        words = self.run("scontrol", "show", "job", job).split()
        return next(int(word.partition("=")[2]) for word in words if word.startswith("Restarts="))

    def job_name(self, job: str) -> str:
        """Name of a job in the queue."""
        return self.run("squeue", "-h", "-r", "-j", job, "-o", "%j").strip()

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers."""
        lines = self.run("scontrol", "show", "job", "-o").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def submissions(self, sweep: str) -> set[str]:
        """Ids of the arrays that were submitted for a sweep."""
        own = [job for job in self.jobs() if job.get("JobName") == f"lossbench-{sweep}"]
        return {job.get("ArrayJobId", job["JobId"]) for job in own}

    def restarts_of(self, sweep: str) -> int:
        """How often jobs of a sweep were put back into the queue."""
        return sum(int(job["Restarts"]) for job in self.jobs() if job.get("JobName") == f"lossbench-{sweep}")

    def stop(self) -> None:
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.run("scancel", "--user", str(os.getuid()))
            self.wait_until(lambda: not self.states(), 20)
        for name in ("n1", "n2", "slurmctld"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGTERM)
        time.sleep(0.5)
        if os.environ.get("LOSSBENCH_TEST_KEEP") is None:
            subprocess.run(["pkill", "-9", "-f", f"slurmstepd.*{self.folder}"], check=False)

    @staticmethod
    def wait_until(holds: object, seconds: float) -> None:
        """Wait until a function returns true.

        Raises:
            TimeoutError: it does not within the time.
        """
        assert callable(holds)
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s")
            time.sleep(0.25)


@contextlib.contextmanager
def slurm(folder: Path, cpus: int = 4) -> Iterator[Cluster]:
    """A cluster of two nodes with `cpus` cores each, as Slurm sees it."""
    munge = _start_munge()
    cluster = Cluster(folder, cpus)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        if munge is not None:
            munge.terminate()
            munge.wait()


def _start_munge() -> subprocess.Popen[bytes] | None:
    """Munge's daemon, if none runs yet."""
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return None
    subprocess.run(["install", "-d", "-o", "munge", "-g", "munge", "-m", "0755", "/run/munge"], check=True)
    daemon = subprocess.Popen(
        ["runuser", "-u", "munge", "--", "/usr/sbin/munged", "--foreground"], stderr=subprocess.DEVNULL
    )
    Cluster.wait_until(lambda: subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0, 20)
    return daemon


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
