"""A real Ray cluster of two nodes on this machine, for tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

STORE = str(80 * 2**20)


class Cluster:
    """Two nodes: one starts with the cluster, the other one joins it."""

    def __init__(self, folder: Path, cpus: int, token: str | None) -> None:
        folder.mkdir(parents=True)
        self.folder, self.cpus = folder, cpus
        self.address = f"127.0.0.1:{free_port()}"
        self.env = {**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        if token is not None:
            self.env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start_node(self, name: str) -> None:
        """Start a node in a process group of its own."""
        port, log = self.address.partition(":")[2], self.folder / f"{name}.log"
        before = log.read_text().count("Ray runtime started.") if log.exists() else 0
        head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        place = head if name == "head" else [f"--address={self.address}"]
        self._nodes[name] = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("ray")), "start", "--block", *place),
                *(f"--num-cpus={self.cpus}", f"--object-store-memory={STORE}"),
            ],
            env=self.env,
            stdout=log.open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while log.read_text().count("Ray runtime started.") <= before:
            if time.monotonic() > deadline or self._nodes[name].poll() is not None:
                raise RuntimeError(f"the node {name} does not start: {log.read_text()[-1000:]}")
            time.sleep(0.2)

    def kill_node(self, name: str) -> None:
        """Kill everything that belongs to a node."""
        os.killpg(self._nodes.pop(name).pid, signal.SIGKILL)

    def stop(self) -> None:
        for node in self._nodes.values():
            with contextlib.suppress(OSError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()


@contextlib.contextmanager
def ray(folder: Path, cpus: int = 4, token: str | None = None) -> Iterator[Cluster]:
    """A cluster of two nodes with `cpus` cores each, as Ray sees it; with a token only who knows it may use it."""
    cluster = Cluster(folder, cpus, token)
    try:
        for name in ("head", "second"):
            cluster.start_node(name)
        yield cluster
    finally:
        cluster.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def without_token(env: Mapping[str, str]) -> dict[str, str]:
    """An environment whose programs do not know the token."""
    return {key: value for key, value in env.items() if not key.startswith("RAY_AUTH")}
