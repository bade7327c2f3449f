"""Sweeps on a real Slurm cluster of two nodes, with everything that goes wrong on one."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import engine_runs
import pytest
from slurm_cluster import Cluster, slurm, why_not

pytestmark = [pytest.mark.long, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

EPOCHS = 5
STEP_S = 0.1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("submitit")
    with slurm(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


def start(cluster: Cluster, log: Path, command: list[str], slow_s: float = STEP_S) -> subprocess.Popen[str]:
    with log.open("a") as file:
        return subprocess.Popen(
            command,
            env=engine_runs.environment(slow_s, cluster.env),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=log.parent,
        )


def lossbench(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [engine_runs.LOSSBENCH, *words], env=cluster.env, capture_output=True, text=True, timeout=120, check=False
    )


def test_each_of_24_runs_ends_once_whatever_happens_to_jobs_nodes_and_submitter(
    cluster: Cluster, tmp_path: Path
) -> None:
    there, here, log = tmp_path / "there", tmp_path / "here", tmp_path / "log.txt"
    long_one = engine_runs.command(
        tmp_path / "long", 1, 14, "launcher=slurm", "launcher.time_min=2", "launcher.signal_s=10"
    )
    long_run = start(cluster, tmp_path / "long.txt", long_one, slow_s=0.33)  # longer than its limit
    sweep = engine_runs.command(there, 24, EPOCHS, "launcher=slurm", "launcher.runs_per_job=4", "launcher.time_min=30")
    submitter = start(cluster, log, sweep)
    cluster.wait_until(lambda: len(engine_runs.finished(there)) >= 1, 240)
    submitter.kill()
    submitter.wait()
    before = cluster.states()
    assert len(before) > 2, "the jobs go on without the command that submitted them"

    submitter = start(cluster, log, sweep)
    [name] = [path.name for path in (there / "sweeps").iterdir()]
    cluster.wait_until(lambda: "were submitted before" in log.read_text(), 120)
    ours = [id_ for id_ in cluster.states() if id_ in before and cluster.job_name(id_) == f"lossbench-{name}"]

    # Slurm's warning before a time limit, as it sends it itself to the long run above.
    warned = next(id_ for id_ in cluster.running_on("n2") if id_ in ours)
    cluster.run("scancel", "--signal=USR2", warned)
    cluster.wait_until(lambda: cluster.restarts(warned) == 1, 60)

    # An urgent job takes the second node; its jobs go back into the queue.
    cluster.wait_until(lambda: set(cluster.running_on("n2")) & set(ours), 120)
    preempted = [id_ for id_ in cluster.running_on("n2") if id_ in ours]
    cluster.run("sbatch", "--partition=urgent", "--nodelist=n2", "--exclusive", "--output=/dev/null", "--wrap=sleep 2")
    cluster.wait_until(lambda: cluster.restarts(preempted[0]) >= 1, 60)

    # The first node's daemon dies while its jobs go on: Slurm starts them again elsewhere, beside themselves.
    cluster.wait_until(lambda: set(cluster.running_on("n1")) & set(ours), 120)
    on_dead_node = [id_ for id_ in cluster.running_on("n1") if id_ in ours]
    cluster.kill_node("n1")
    cluster.wait_until(lambda: on_dead_node[0] not in cluster.running_on("n1"), 60)
    cluster.start_node("n1")

    assert submitter.wait(timeout=400) == 0, log.read_text()
    assert len(cluster.submissions(name)) == 1, "nothing is submitted twice"
    engine_runs.train_here(here, 24, EPOCHS)
    engine_runs.check_once_and_equal(there, here, EPOCHS)
    told = json.loads(lossbench(cluster, "sweep", "status", name, "--json", "--output-dir", str(there)).stdout)
    assert {run["state"] for run in told["runs"].values()} == {"finished"}
    headers = [path.read_text().count("--- Slurm job ") for path in there.glob("runs/*/job.log")]
    assert len(headers) == 24
    print(f"24 runs, {sum(headers)} attempts, {cluster.restarts_of(name)} restarts of 6 jobs")

    assert long_run.wait(timeout=300) == 0, (tmp_path / "long.txt").read_text()
    assert "timed-out" in "".join(path.read_text() for path in tmp_path.glob("long/runs/*/job.log"))
    for counts in engine_runs.epochs_logged(tmp_path / "long").values():
        assert counts == dict.fromkeys(range(1, 15), 1)


def test_a_job_that_dies_says_why_in_a_line_and_the_same_command_continues(cluster: Cluster, tmp_path: Path) -> None:
    options = ("launcher=slurm", "launcher.runs_per_job=1", "launcher.time_min=30", "launcher.wait=false")
    sweep = engine_runs.command(tmp_path / "out", 2, EPOCHS, *options)
    done = start(cluster, tmp_path / "log.txt", sweep, slow_s=0.3)
    assert done.wait(timeout=120) == 0
    cluster.wait_until(lambda: len(list(tmp_path.glob("out/runs/*/metrics.jsonl"))) == 2, 120)
    first = next(tmp_path.glob("out/runs/*/job.log")).read_text().splitlines()[0]
    os.kill(int(first.partition("process ")[2].partition(",")[0]), 9)
    cluster.wait_until(lambda: len(cluster.states()) == 1, 60)
    told = lossbench(cluster, "sweep", "status", "--output-dir", str(tmp_path / "out"))
    assert "1 running" in told.stdout
    assert "1 lost" in told.stdout
    assert "Killed" in told.stdout
    assert lossbench(cluster, "sweep", "cancel", "--output-dir", str(tmp_path / "out")).stdout.startswith("1 job of")
    cluster.wait_until(lambda: not cluster.states(), 60)

    again = start(cluster, tmp_path / "log.txt", [*sweep[:-1], "launcher.wait=true"], slow_s=0)
    assert again.wait(timeout=240) == 0, (tmp_path / "log.txt").read_text()
    assert len(engine_runs.finished(tmp_path / "out")) == 2
    assert all(
        counts == dict.fromkeys(range(1, EPOCHS + 1), 1)
        for counts in engine_runs.epochs_logged(tmp_path / "out").values()
    )


def test_what_slurm_refuses_is_one_sentence(cluster: Cluster, tmp_path: Path) -> None:
    options = ("launcher=slurm", "launcher.partition=nowhere", "launcher.wait=false")
    began = time.monotonic()
    done = start(cluster, tmp_path / "log.txt", engine_runs.command(tmp_path / "out", 2, EPOCHS, *options))
    assert done.wait(timeout=120) == 1
    last = (tmp_path / "log.txt").read_text().splitlines()[-1]
    assert last == (
        "lossbench: Slurm refuses the jobs: invalid partition specified: nowhere; Batch job submission failed: Invalid "
        "partition name specified; change the options launcher.*"
    )
    assert not engine_runs.finished(tmp_path / "out")
    assert time.monotonic() - began < 120
