"""Processes in hosts of their own, and a folder that each of them sees through a mount of its own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SFTP_SERVERS = [Path("/usr/lib/openssh/sftp-server"), Path("/usr/libexec/openssh/sftp-server")]

SWEEP = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from made_runs import config
from lossbench.config.run import Runtime
from lossbench.sweep.run_all import run_all

if __name__ == "__main__":
    made = [config(Path({folder!r}), seed) for seed in range({runs})]
    for one in made:
        one.dataset.num_train, one.schedule.epochs, one.schedule.batch_size = 64, {epochs}, 32
        one.runtime = Runtime("cpu", {folder!r}, num_threads=1, parallel={parallel}, tensorboard=False)
    print("ready", flush=True)
    summary = run_all(made)
    print(len(summary.finished), *summary.failed.values(), flush=True)
"""


class Host:
    """A sweep of short runs in a host of its own: another name, and process numbers of its own.

    Args:
        name: of the host; None: this one.
        folder: the output folder, as this host sees it.
        scratch: where the script is written.
        runs: number of runs.
        epochs: of each run.
        parallel: number of runs at a time.
        lease_s: time of a lease.
    """

    def __init__(
        self,
        name: str | None,
        folder: Path,
        scratch: Path,
        runs: int = 8,
        epochs: int = 2,
        parallel: int = 1,
        lease_s: float = 3,
    ) -> None:
        script = scratch / f"{name}.py"
        values = {"tests": str(Path(__file__).parent), "folder": str(folder)}
        script.write_text(SWEEP.format(**values, runs=runs, epochs=epochs, parallel=parallel))
        words = [sys.executable, str(script)]
        if name is not None:
            unshared = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
            words = [*unshared, "sh", "-c", f'hostname {name} && exec "$@"', "sh", *words]
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"LOSSBENCH_LEASE_S": str(lease_s)},
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the host."""
        os.killpg(self.process.pid, number)

    def said(self) -> str:
        """What the sweep printed, when it has ended."""
        return self.process.communicate(timeout=200)[0]

    def end(self) -> None:
        """Kill what is left of it."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.communicate()


def check_hosts() -> None:
    """Skip the test where no process can be given a host of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    words = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "hostname", "other"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no host of its own can be made here: {done.stderr.strip()}")


@contextmanager
def mounted(folder: Path, place: Path) -> Iterator[Path]:
    """A folder mounted by sshfs from a server of its own at a place; each mount has its own caches."""
    server = next((path for path in SFTP_SERVERS if path.exists()), None)
    if shutil.which("sshfs") is None or server is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs sshfs, OpenSSH's sftp-server and /dev/fuse")
    place.mkdir()
    with subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as served:
        words = ["sshfs", "-f", "-o", "passive", f"host:{folder}", str(place)]
        with subprocess.Popen(words, stdin=served.stdout, stdout=served.stdin, stderr=subprocess.DEVNULL) as client:
            try:
                end = time.monotonic() + 20
                while not place.is_mount():
                    if client.poll() is not None or time.monotonic() > end:
                        pytest.skip("sshfs cannot mount here")
                    time.sleep(0.05)
                yield place
            finally:
                subprocess.run(["umount", "--lazy", str(place)], check=False)
                client.kill()
                served.kill()


@contextmanager
def shared(kind: str, scratch: Path) -> Iterator[list[Path]]:
    """The same folder as two hosts see it: `local`, or mounted twice by `sshfs`."""
    folder = scratch / "shared"
    folder.mkdir()
    with ExitStack() as mounts:
        if kind == "local":
            yield [folder, folder]
        else:
            yield [mounts.enter_context(mounted(folder, scratch / name)) for name in ("here", "there")]
