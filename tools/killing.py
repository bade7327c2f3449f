"""Kill tests: real sweeps, killed at random moments and inside every kind of write, then continued.

`make faults` runs them at length, tests/test_faults.py in short. A sweep is killed with SIGKILL, together with its
workers, and the same call is repeated until it finishes; results, metrics, arrays and tables must then be bitwise those
of an undisturbed sweep.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lossbench.config.run import Runtime
from lossbench.runs.folder import all_runs
from lossbench.studies.aaai20.grid import configs as configs_of
from lossbench.studies.options import Reproduce
from lossbench.system import files

ROOT = Path(__file__).parents[1]
FORK = multiprocessing.get_context("forkserver")  # children start quickly, with torch imported
FORK.set_forkserver_preload(
    ["lossbench.studies.aaai20.report", "lossbench.sweep.run_all", "torch.utils.tensorboard.writer", "killing"]
)

WRITES = ("cache", "config.json", "metrics.jsonl", "checkpoint.pt", "arrays.npz", "result.json", "table5.csv")
STAGES = ("half", "written", "synced", "renamed")
"""Before the second half of a file, before it is flushed, before it is renamed, and after; appends have only two."""

PLACES = [(name, stage) for name in WRITES for stage in STAGES[: 2 if name == "metrics.jsonl" else 4]]
TIMES = {"wall_s", "images_per_s", "step_ms", "peak_memory_mb"}


@dataclass(frozen=True)
class Kill:
    """The write in which a sweep is killed: the file, the stage, and after how many of these writes."""

    name: str
    stage: str
    count: int = 1


def sweep_of(folder: Path, parallel: int = 1) -> Reproduce:
    """Table 5 of the quick profile with one seed: three runs of three epochs."""
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, parallel=parallel)
    return Reproduce(tables=[5], seeds=1, results_dir=None, runtime=runtime)


def _die() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    time.sleep(60)


def arm(kill: Kill) -> None:
    """Make this process kill itself inside a write, by patching the functions that the writing code calls."""
    left, current = kill.count, ""
    opened, fsync, replace, link = Path.open, os.fsync, Path.replace, os.link

    def meant(stage: str) -> bool:
        nonlocal left
        if stage != kill.stage or kill.name not in current:
            return False
        left -= 1
        return left == 0

    class Halved:
        """A file of which only half is written before the process is killed."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, content: Any) -> int:
            if meant("half"):
                self._file.write(bytes(content)[: len(content) // 2])
                self._file.flush()
                _die()
            return int(self._file.write(content))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def __enter__(self) -> "Halved":
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()

    def watched_open(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        nonlocal current
        file = opened(path, mode, *rest, **options)
        if "b" not in mode or "r" in mode:
            return file
        current = str(path)
        return Halved(file)

    def watched_fsync(number: int) -> None:
        if meant("written"):
            _die()
        fsync(number)

    def watched_replace(path: Path, target: Any) -> Path:
        if meant("synced"):
            _die()
        done = replace(path, target)
        if meant("renamed"):
            _die()
        return done

    def watched_link(source: Any, target: Any) -> None:
        named = str(source).endswith(".tmp")  # else it is a number of a claim
        if named and meant("synced"):
            _die()
        link(source, target)
        if named and meant("renamed"):
            _die()

    Path.open, Path.replace, os.fsync = watched_open, watched_replace, watched_fsync  # type: ignore[method-assign,assignment]
    os.link = watched_link  # type: ignore[assignment]


def write_in_place(path: Path, write: Callable[[Any], object], *others: object) -> None:
    """A deliberate fault: the file is not written atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write(file)


def _child(plan: Reproduce, kill: Kill | None, planted: bool) -> None:
    os.setpgrp()
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if planted:
        files.write_atomically = write_in_place
    if kill is not None:
        arm(kill)
    from lossbench.studies.aaai20 import report
    from lossbench.sweep import run_all

    summary = run_all.run_all(configs_of(plan.tables, "quick", plan.seeds, plan.runtime))
    report.write_report("quick", plan)
    os._exit(1 if summary.failed else 0)


def attempt(
    folder: Path, kill: Kill | None = None, after: float | None = None, planted: bool = False, parallel: int = 1
) -> int:
    """One call of the sweep, killed inside a write or after some seconds; returns its exit code, -9 if killed."""
    child = FORK.Process(target=_child, args=(sweep_of(folder, parallel), kill, planted))
    child.start()
    child.join(after)
    if child.exitcode is None:
        assert child.pid is not None
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # not yet a group of its own
            child.kill()
        child.join()
    assert child.exitcode is not None
    return child.exitcode


def command_line(folder: Path) -> list[str]:
    """The same sweep as a user starts it, with two runs in parallel."""
    options = ["profile=quick", "tables=[5]", "seeds=1", "results_dir=null", f"runtime.output_dir={folder}"]
    options += ["runtime.parallel=2", "runtime.num_threads=1", "runtime.device=cpu"]
    return [sys.executable, str(ROOT / "scripts" / "reproduce.py"), *options]


def attempt_as_user(folder: Path, after: float) -> int:
    """One call from the command line, killed with its workers after some seconds."""
    with subprocess.Popen(
        command_line(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def epochs_done(folder: Path) -> dict[str, int]:
    """Number of complete lines of metrics of every run."""
    return {run.id: len(list(run.whole_metrics())) for run in all_runs(folder)}


def starts(folder: Path) -> dict[str, list[int]]:
    """The epochs with which every run was begun or continued, from its log."""
    found = {}
    for run in all_runs(folder):
        log = run.folder / "train.log"
        lines = log.read_text().splitlines() if log.exists() else []
        found[run.id] = [int(line.split(": epoch ")[1].split()[0]) for line in lines if ": epoch " in line]
    return found


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that a sweep produces, except times: records, metrics, arrays, tables, and names of files."""
    found: dict[str, Any] = {}
    for run in all_runs(folder):
        names = sorted(path.name for path in run.folder.iterdir() if path.is_file() and not is_view(path.name))
        record = {key: value for key, value in run.record().items() if key not in TIMES}
        record["config"]["runtime"] = None
        metrics = [
            {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
            for line in (run.folder / "metrics.jsonl").read_bytes().splitlines()
        ]
        with np.load(run.folder / "arrays.npz") as arrays:
            packed = {name: (arrays[name].dtype.str, arrays[name].shape, arrays[name].tobytes()) for name in arrays}
        found[run.id] = (names, record, metrics, packed)
    for name in ("table5.csv", "table5.md", "table5.tex", "summary.md"):
        found[name] = (folder / "report" / "quick" / name).read_bytes()
    found["leftovers"] = [str(path) for path in folder.rglob(".*.tmp")]
    return found


def is_view(name: str) -> bool:
    """Whether a file is TensorBoard's, which may be rebuilt or incomplete after a kill."""
    return "tfevents" in name or name == "hparams"


def differences(reference: dict[str, Any], folder: Path) -> list[str]:
    """Names of what differs from the reference."""
    try:
        found = outcome(folder)
    except (OSError, ValueError, KeyError) as error:
        return [f"unreadable: {error!r}"]
    return [name for name in reference | found if reference.get(name) != found.get(name)]


@dataclass
class Tally:
    """Result of a campaign of kills."""

    kills: Counter[str] = field(default_factory=Counter)
    sweeps: int = 0
    faults: list[str] = field(default_factory=list)


def lost_epochs(done: dict[str, int], begun: dict[str, list[int]], folder: Path) -> list[str]:
    """Runs that lost more than the epoch in progress.

    A run must continue with the epoch after its last line, or repeat the last one.

    Args:
        done: complete lines of metrics before the last attempt.
        begun: starts before the last attempt.
        folder: the folder after it.
    """
    return [
        f"{name} had {done[name]} epochs and continued with epoch {begins[-1]}"
        for name, begins in starts(folder).items()
        if len(begins) > len(begun.get(name, [])) and begins[-1] < done.get(name, 0)
    ]


def campaign(reference: dict[str, Any], reference_s: float, kills: int, seed: int, scratch: Path) -> Tally:
    """Kill sweeps the given number of times, continue each until it finishes, and compare its results."""
    draw, tally = random.Random(seed), Tally()
    while sum(tally.kills.values()) < kills or tally.sweeps == 0:
        folder = scratch / f"sweep{tally.sweeps}"
        as_user = tally.sweeps % 6 == 5
        while True:
            done, begun, more = epochs_done(folder), starts(folder), sum(tally.kills.values()) < kills
            if as_user:
                code, place = attempt_as_user(folder, draw.uniform(2, 25) if more else 600), "command line"
            elif more and draw.random() < 0.6:
                name, stage = draw.choice(PLACES)
                code, place = attempt(folder, Kill(name, stage, draw.randint(1, 4))), f"{stage} {name}"
            else:
                after = draw.uniform(0, 1.2 * reference_s) if more else None
                code, place = attempt(folder, after=after), "any moment"
            tally.faults += lost_epochs(done, begun, folder)
            if code == 0:
                break
            if code != -signal.SIGKILL:
                tally.faults.append(f"exit code {code} in {folder}")
                return tally
            tally.kills[place] += 1
        tally.sweeps += 1
        wrong = differences(reference, folder)
        tally.faults += [f"{folder}: {name} differs" for name in wrong]
        if not wrong:
            shutil.rmtree(folder)
    return tally


def undisturbed(folder: Path) -> tuple[dict[str, Any], float]:
    """The outcome of a sweep that is not killed, and its duration in s."""
    first = FORK.Process(target=time.sleep, args=(0,))  # the fork server starts
    first.start()
    first.join()
    began = time.monotonic()
    assert attempt(folder) == 0
    return outcome(folder), time.monotonic() - began


def main() -> None:
    """Run a campaign and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        reference, reference_s = undisturbed(Path(scratch) / "reference")
        tally = campaign(reference, reference_s, chosen.kills, chosen.seed, Path(scratch))
        for place, count in sorted(tally.kills.items()):
            print(f"{count:4d} kills: {place}")
        for fault in tally.faults:
            print(f"FAULT: {fault}")
        survived = f"{sum(tally.kills.values())} kills, {tally.sweeps} sweeps finished, {len(tally.faults)} faults"
        print(f"{survived}, {time.monotonic() - began:.0f} s")
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
