"""Real sweeps that are killed, started twice, stopped, and run out of disk: nothing is lost, nothing is wrong."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import killing
import pytest
from killing import PLACES, Kill, attempt, command_line, differences, epochs_done, lost_epochs, starts, undisturbed

from lossbench.runs.folder import all_runs

pytestmark = pytest.mark.long

Reference = tuple[dict[str, Any], float]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return undisturbed(tmp_path_factory.mktemp("reference") / "sweep")


def test_a_sweep_that_is_killed_inside_every_kind_of_write_continues(reference: Reference, tmp_path: Path) -> None:
    for name, stage in PLACES:
        assert attempt(tmp_path / "sweep", Kill(name, stage)) == -signal.SIGKILL, f"there was no {stage} {name}"
    assert attempt(tmp_path / "sweep") == 0
    assert differences(reference[0], tmp_path / "sweep") == []


def test_a_sweep_that_is_killed_at_any_moment_loses_one_epoch_at_most(reference: Reference, tmp_path: Path) -> None:
    tally = killing.campaign(*reference, kills=6, seed=1, scratch=tmp_path)
    assert tally.faults == []
    assert sum(tally.kills.values()) == 6


def test_the_harness_notices_files_that_are_written_in_place(reference: Reference, tmp_path: Path) -> None:
    assert attempt(tmp_path / "sweep", Kill("result.json", "half"), planted=True) == -signal.SIGKILL
    attempt(tmp_path / "sweep")
    assert differences(reference[0], tmp_path / "sweep") != []


def test_two_processes_share_a_sweep(reference: Reference, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    children = [
        killing.FORK.Process(target=killing._child, args=(killing.sweep_of(folder), None, False)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    assert differences(reference[0], folder) == []
    assert list(starts(folder).values()) == [[1]] * 3  # no run was begun twice


def test_a_dead_process_leaves_its_run_to_the_other(reference: Reference, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    assert attempt(folder, Kill("metrics.jsonl", "written", count=2)) == -signal.SIGKILL
    (half_done,) = [run for run, done in epochs_done(folder).items() if done == 2]
    assert attempt(folder) == 0
    assert starts(folder)[half_done] == [1, 2]
    assert differences(reference[0], folder) == []


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A sweep from the command line, two runs at a time, with an epoch done."""
    with subprocess.Popen(
        command_line(tmp_path / "sweep"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        while process.poll() is None and not any(epochs_done(tmp_path / "sweep").values()):
            time.sleep(0.05)
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_stop_takes_three_seconds_and_says_how_to_continue(
    number: signal.Signals, started: subprocess.Popen[str], tmp_path: Path
) -> None:
    began = time.monotonic()
    os.killpg(started.pid, number) if number is signal.SIGINT else started.send_signal(number)  # Ctrl-C is for all
    said, _ = started.communicate()
    assert time.monotonic() - began < 3
    assert started.returncode == 130
    assert "run the same command again to continue" in said
    assert "Traceback" not in said
    done, begun = epochs_done(tmp_path / "sweep"), starts(tmp_path / "sweep")
    assert attempt(tmp_path / "sweep") == 0
    assert lost_epochs(done, begun, tmp_path / "sweep") == []


def test_the_harness_notices_lost_epochs(tmp_path: Path) -> None:
    assert attempt(tmp_path, Kill("checkpoint.pt", "synced", count=3)) == -signal.SIGKILL
    done, begun = epochs_done(tmp_path), starts(tmp_path)
    (run,) = all_runs(tmp_path)
    (run.folder / "checkpoint.pt").unlink()
    assert attempt(tmp_path) == 0
    assert lost_epochs(done, begun, tmp_path) == [f"{run.id} had 3 epochs and continued with epoch 1"]


@pytest.mark.parametrize("delay", [0.0, 0.5, 2.0])
def test_a_stop_while_the_program_starts_prints_no_traceback(delay: float, tmp_path: Path) -> None:
    with subprocess.Popen(
        command_line(tmp_path / "sweep"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        if not status.exists():
            pytest.skip("without /proc nobody knows when the program listens")
        while not _catches(status.read_text(), signal.SIGTERM):
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Traceback" not in said


def test_a_stop_while_a_worker_starts_prints_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        "if 'spawn_main' in ' '.join(sys.orig_argv):\n"
        f"    pathlib.Path({str(tmp_path / 'starting')!r}).touch()\n"
        "    time.sleep(2)\n"
    )
    with subprocess.Popen(
        command_line(tmp_path / "sweep"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    ) as process:
        while process.poll() is None and not (tmp_path / "starting").exists():
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert (tmp_path / "starting").exists()
    assert process.returncode == 130, said
    assert "Traceback" not in said


def _catches(status: str, number: signal.Signals) -> bool:
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << number - 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the data and one checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_fails_runs_with_a_sentence_and_they_continue_later(reference: Reference, small_disk: Path) -> None:
    folder = small_disk / "sweep"
    done = subprocess.run(
        [*command_line(folder)[:-3], "runtime.parallel=1", "runtime.num_threads=1", "runtime.device=cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert said.count("FAILED") == 3
    assert "the disk is full; free some space and run the same command again to continue after the last epoch" in said
    assert "Traceback" not in said
    assert sorted(epochs_done(folder).values())[-1] >= 1
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert attempt(folder) == 0
    assert sorted(starts(folder).values()) == [[1, 1], [1, 1], [1, 2]]
    assert differences(reference[0], folder) == []


def test_unwritable_events_do_not_stop_a_run(reference: Reference, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    assert attempt(folder, Kill("checkpoint.pt", "renamed")) == -signal.SIGKILL
    (run,) = all_runs(folder)
    in_the_way = run.folder / "events.out.tfevents.a.folder"
    in_the_way.mkdir()
    assert attempt(folder) == 0
    assert "the run continues without it" in (run.folder / "train.log").read_text()
    assert differences(reference[0], folder) == []
