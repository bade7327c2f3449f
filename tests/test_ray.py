"""Sweeps on a real Ray cluster of two nodes, one of which is lost."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import engine_runs
import pytest
from ray_cluster import Cluster, ray, without_token

pytestmark = pytest.mark.long
pytest.importorskip("ray")

EPOCHS = 5
TOKEN = "a-token-of-the-tests-0123456789abcdef"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray") as folder, ray(Path(folder) / "c", token=TOKEN) as running:
        yield running  # the folders of pytest have names too long for Ray's sockets


def start(cluster: Cluster, log: Path, command: list[str], slow_s: float) -> subprocess.Popen[str]:
    env = engine_runs.environment(slow_s, cluster.env)
    with log.open("a") as file:
        return subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT, text=True, cwd=log.parent)


def wait_until(holds: object, seconds: float) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.25)


def processes(there: Path) -> dict[str, int]:
    """The process that executes each unfinished run now, by the run's name."""
    found = {}
    for path in there.glob("runs/*/job.log"):
        if not (path.parent / "result.json").exists():
            numbers = re.findall(r"^--- .*process (\d+),", path.read_text(), re.MULTILINE)
            if numbers and Path(f"/proc/{numbers[-1]}").exists():
                found[path.parent.name] = int(numbers[-1])
    return found


def test_each_of_24_runs_ends_once_whatever_happens_to_workers_nodes_and_submitter(
    cluster: Cluster, tmp_path: Path
) -> None:
    there, here, log = tmp_path / "there", tmp_path / "here", tmp_path / "log.txt"
    sweep = engine_runs.command(
        there, 24, EPOCHS, "launcher=ray", f"launcher.address={cluster.address}", "launcher.runs_per_job=4"
    )
    driver = start(cluster, log, sweep, 0.04)
    wait_until(lambda: len(engine_runs.finished(there)) >= 1, 240)
    driver.kill()
    driver.wait()
    driver = start(cluster, log, sweep, 0.04)
    wait_until(lambda: "runs in" in log.read_text().rpartition("Ray cluster of")[0].rpartition("\n")[2], 120)

    # The process that trains is killed, then the worker of Ray that started it, then everything on a node.
    done = len(engine_runs.finished(there))
    wait_until(lambda: len(engine_runs.finished(there)) > done, 240)
    wait_until(lambda: processes(there), 120)
    victim = next(iter(processes(there).values()))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: set(processes(there).values()) - {victim}, 120)
    victim = next(iter(set(processes(there).values()) - {victim}))
    parent = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{victim}").exists(), 30)  # what trains ends with the worker that started it
    cluster.kill_node("second")

    assert driver.wait(timeout=400) == 0, log.read_text()
    engine_runs.train_here(here, 24, EPOCHS)
    engine_runs.check_once_and_equal(there, here, EPOCHS)
    headers = sum(path.read_text().count("--- Ray job") for path in there.glob("runs/*/job.log"))
    assert headers >= 26
    print(f"24 runs, {headers} attempts")
    cluster.start_node("second")


def test_who_does_not_know_the_token_is_refused_in_a_sentence(cluster: Cluster, tmp_path: Path) -> None:
    sweep = engine_runs.command(tmp_path / "out", 2, EPOCHS, "launcher=ray", f"launcher.address={cluster.address}")
    done = subprocess.run(
        sweep, env=without_token(cluster.env), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"lossbench: Ray cannot use launcher.address={cluster.address}: ")
    assert last.endswith("if it has a token: export RAY_AUTH_MODE=token and the token here too?")


def test_what_no_node_has_is_refused_before_anything_waits_for_it(cluster: Cluster, tmp_path: Path) -> None:
    options = ("launcher=ray", f"launcher.address={cluster.address}", "launcher.cpus_per_run=64")
    done = start(cluster, tmp_path / "log.txt", engine_runs.command(tmp_path / "out", 2, EPOCHS, *options), 0)
    assert done.wait(timeout=200) == 1
    last = (tmp_path / "log.txt").read_text().strip().splitlines()[-1]
    assert last == "lossbench: a job needs CPU 64, and no node of the Ray cluster has that, at most CPU 4; ask for less"


def test_a_cluster_for_one_command_leaves_no_token_behind_and_joins_no_other(cluster: Cluster, tmp_path: Path) -> None:
    command = engine_runs.command(tmp_path / "out", 2, EPOCHS, "launcher=ray")
    done = subprocess.run(
        command,
        env={**engine_runs.environment(0), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs in 1 job on a Ray cluster of 1 node" in done.stdout
    assert not (tmp_path / ".ray").exists()
