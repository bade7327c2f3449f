"""Training continues without its terminal, and no worker continues without its parent."""

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from killing import command_line
from made_runs import config

from lossbench.config.run import Config, Runtime
from lossbench.runs.folder import all_runs, open_run
from lossbench.sweep.run_all import run_all
from lossbench.system.screen import Lenient, say


class Gone:
    """A screen that takes nothing."""

    encoding = "utf-8"

    def __init__(self, error: Exception, terminal: bool) -> None:
        self._error, self._terminal = error, terminal
        self.tried = 0

    def isatty(self) -> bool:
        return self._terminal

    def write(self, text: str) -> int:
        self.tried += 1
        raise self._error

    def flush(self) -> None:
        raise self._error


def small(folder: Path, seed: int, parallel: int) -> Config:
    made = config(folder, seed)
    made.dataset.num_train, made.schedule.epochs, made.schedule.batch_size = 64, 2, 32
    made.runtime = Runtime("cpu", str(folder), num_threads=1, parallel=parallel)
    return made


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        ValueError("closed"),
    ],
    ids=["full disk", "broken pipe", "closed"],
)
def test_progress_that_cannot_be_written_fails_no_run(
    error: Exception, terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen: Any = Gone(error, terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    made = [small(tmp_path, seed, 1) for seed in range(1 + terminal)]
    (tmp_path / "runs").mkdir()
    (open_run(made[0]).folder / "events.out.tfevents.a.folder").mkdir(parents=True)  # and TensorBoard says so as well
    summary = run_all(made)
    monkeypatch.undo()
    assert (len(summary.finished), summary.failed) == (len(made), {})
    assert screen.tried > 0
    log = (open_run(made[0]).folder / "train.log").read_text()
    assert log.count("train loss") == 2
    assert "the run continues without it" in log


def test_what_cannot_be_said_is_dropped(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    say("heard")
    say("heard too", sys.stderr)
    assert capsys.readouterr() == ("heard\n", "heard too\n")
    monkeypatch.setattr(sys, "stdout", None)  # where a program is started without one
    say("not heard")
    assert Lenient(None).write("text") == 4


@pytest.mark.long
def test_a_sweep_whose_reader_has_gone_writes_its_report(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [*command_line(tmp_path)[:-3], "runtime.parallel=1", "runtime.num_threads=1", "runtime.device=cpu"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)
    assert [run.finished for run in all_runs(tmp_path)] == [True] * 3
    assert (tmp_path / "report" / "quick" / "table5.csv").exists()
    assert "Traceback" not in done.stderr


WORKERS = """
    import os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from lossbench.system import stops
    from lossbench.sweep.pool import _start_worker

    def begin(messages, devices, kernel):
        if not kernel:
            stops.ctypes.CDLL = lambda name: None  # the thread alone has to see it
        _start_worker(print, messages, devices, ())
        os.write(1, f"{os.getpid()}\\n".encode())  # at once, as two workers write to the same pipe

    if __name__ == "__main__":
        context = get_context("spawn")
        messages, devices = context.Queue(), context.Queue()
        for _ in range(2):
            devices.put("cpu")
        pool = ProcessPoolExecutor(2, context, begin, (messages, devices, bool(int(sys.argv[1]))))
        waiting = [pool.submit(time.sleep, seconds) for seconds in (0.0, 600.0)]
        waiting[1].result()  # an error where a worker could not be started
"""


@pytest.mark.parametrize("kernel", [1, 0], ids=["kernel", "thread"])
def test_workers_end_with_their_parent_busy_or_idle(kernel: int, tmp_path: Path) -> None:
    script = tmp_path / "sweeping.py"
    script.write_text(textwrap.dedent(WORKERS))
    with subprocess.Popen([sys.executable, str(script), str(kernel)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            workers = {int(process.stdout.readline()) for _ in range(2)}
        finally:
            process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while (left := {worker for worker in workers if _lives(worker)}) and time.monotonic() < deadline:
            time.sleep(0.05)
        for worker in left:
            os.kill(worker, 9)
    assert left == set()


def _lives(worker: int) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(worker)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")
