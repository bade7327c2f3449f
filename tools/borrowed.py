"""GPU tests, measurements and reference runs on a machine without network, in calls of a few minutes.

    python tools/borrowed.py --out DIR [--minutes 9] [--benchmark]

Every call unpacks the lots of data that were copied along (see carry.py), does the remaining steps in this order, as
far as their data are present, and leaves copies of the results in DIR:

1. once: graphs.log, whether a step recorded as a CUDA graph equals the plain one
2. once: tests.log, the rest of tests/test_gpu.py, and repeat.log with the table of repeat.py
3. once: formats-mnist.log and formats-cifar10.log, which memory format is faster
4. once, only with --benchmark, and taking most of a call: networks.log, how fast each network is
5. the planned reference runs, continued from the last call; records.zip has all finished ones

The first lot of data is enough for CNN5C. Table 4 needs all lots, in consecutive calls; --minutes 2 keeps calls that
only bring data short.

"Once" means once per machine: completed steps are noted in outputs/borrowed.json. A step that fails is reported and
not repeated; if step 1 finds a difference, the reference runs are trained without CUDA graphs. `lossbench import
records.zip` and `lossbench publish results` add the records to the repository; once committed, they are not repeated on
another machine. Changes between two calls must be committed, and the commit written to carry/commit, so that records
name the right one.
"""

import argparse
import contextlib
import json
import lzma
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CARRY, DATA, NOTES = ROOT / "carry", ROOT / "data", ROOT / "outputs" / "borrowed.json"
LAST_S = 30  # reserved for the export
EARLIER_S = 20  # budget of the reference runs ends this long before they are stopped
ZIP_LIMIT = 16 * 2**20
STOP_S = 10  # between asking a step to stop and ending it

GRAPHS_S, TESTS_S, REPEAT_S, FORMATS_S, NETWORKS_S = 240, 180, 180, 90, 450
"""Time limits of the steps, in s; with less time left, a step is postponed to the next call."""


FASHION, CIFAR = "FashionMNIST/", "cifar-10-batches-py/"
FORMATS = {"formats-mnist": (FASHION, ("cnn2c", "cnn5c")), "formats-cifar10": (CIFAR, ("resnet18", "mobilenetv2"))}
"""Folder of the data and networks of each measurement."""

GRAPHS = "recorded or replayed"  # in the names of the tests of CUDA graphs
DIFFERS = "FAILED with code 1"  # pytest's exit code for failed tests; a timeout says nothing about graphs


class Call:
    """One call on the machine and its remaining time."""

    def __init__(self, minutes: float, out: Path) -> None:
        self._ends = time.monotonic() + 60 * minutes - LAST_S
        self.out = out
        path = [str(CARRY / "site"), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment: Mapping[str, str] = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONUNBUFFERED": "1",
            "LOSSBENCH_DATA": str(DATA),
            **({"LOSSBENCH_COMMIT": text} if (text := _text(CARRY / "commit")) else {}),
        }

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self._ends - time.monotonic()

    def once(self, name: str, command: Sequence[str], limit_s: float) -> str:
        """Do a step that is done once per machine, if there is time for it; returns how it ended, now or earlier."""
        notes = json.loads(_text(NOTES) or "{}")
        if name not in notes and self.left_s >= limit_s:
            notes[name] = self.do(name, command, limit_s)
            NOTES.parent.mkdir(parents=True, exist_ok=True)
            NOTES.write_text(json.dumps(notes))
        ended = str(notes.get(name, "left for a later call"))
        print(f"{name}: {ended}", flush=True)
        return ended

    def do(self, name: str, command: Sequence[str], limit_s: float) -> str:
        """Do a step, with its output in a log; returns how it ended."""
        began, log = time.monotonic(), self.out / f"{name}.log"
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its child processes can be stopped too
            )
            try:
                code = process.wait(limit_s)
                ended = "done" if code == 0 else f"FAILED with code {code}"
            except subprocess.TimeoutExpired:
                ended = "FAILED, out of time"
                self._stop(process)
        return f"{ended} after {time.monotonic() - began:.0f} s, see {log.name}"

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """Terminate a step, then kill it and all its child processes."""
        process.terminate()  # not SIGINT, which background processes of a shell ignore
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    """Do one call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=lambda text: Path(text).expanduser(), required=True, help="where logs, tables and records.zip go"
    )
    parser.add_argument("--minutes", type=float, default=9, help="how long the call may take")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu: a rehearsal")
    parser.add_argument("--runs-per-gpu", type=int, default=1)
    parser.add_argument("--benchmark", action="store_true", help="measure speed before the reference runs")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    call = Call(chosen.minutes, chosen.out.resolve())
    missing, device = take_lots(), ["--device", chosen.device]
    tests = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests/test_gpu.py", "-k"]
    graphs = call.once("graphs", [*tests, GRAPHS], GRAPHS_S)
    call.once("tests", [*tests, f"not ({GRAPHS})"], TESTS_S)
    if not _lacks(missing, FASHION):
        call.once("repeat", ["benchmarks/repeat.py", *device], REPEAT_S)
    measure = ["benchmarks/benchmark.py", *device, "--parts"]
    for name, (folder, models) in FORMATS.items():
        if not _lacks(missing, folder):
            call.once(name, [*measure, "formats", "--models", *models], FORMATS_S)  # the log has its tables
    if missing:
        print(f"data: {len(missing)} files of the lots {sorted(set(missing.values()))} are missing; ", end="")
        print("what needs them is postponed; the step of the reference runs then ends with code 1", flush=True)
    elif chosen.benchmark:
        call.once("networks", [*measure, "networks"], NETWORKS_S)
    if call.left_s > 60:
        options = [f"runtime.device={chosen.device}", f"runtime.runs_per_gpu={chosen.runs_per_gpu}"]
        options += ["runtime.download=false"]
        options += [f"runtime.budget_min={(call.left_s - EARLIER_S) / 60:.2f}", "runtime.tensorboard=false"]
        options += ["runtime.cuda_graphs=false"] if graphs.startswith(f"{DIFFERS} ") else []
        print(f"reference: {call.do('reference', ['scripts/reference.py', *options], call.left_s)}", flush=True)
    export = "from lossbench.cli.main import main; main()"
    print(f"records: {call.do('export', ['-c', export, 'export', str(call.out / 'records.zip')], LAST_S)}", flush=True)
    records = call.out / "records.zip"
    if records.exists() and records.stat().st_size > ZIP_LIMIT:
        print("records: too large to be copied back; publish and commit them before the next call", flush=True)


def take_lots() -> dict[str, int]:
    """Unpack the data files that were copied along; returns those that are still missing, with their lots.

    Raises:
        SystemExit: the files that carry.py writes are missing.
    """
    if not (CARRY / "lots.json").exists() or not (CARRY / "site").is_dir():
        raise SystemExit("carry/site and carry/lots.json, written by carry.py, must be copied along with every call")
    lots: dict[str, int] = json.loads(_text(CARRY / "lots.json"))
    for relative, number in lots.items():
        carried, target = CARRY / f"lot{number}" / f"{relative}.xz", DATA / relative
        if carried.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            part.write_bytes(lzma.decompress(carried.read_bytes()))
            part.replace(target)  # so that no incomplete file has this name
            carried.unlink()
    return {relative: number for relative, number in lots.items() if not (DATA / relative).exists()}


def _lacks(missing: Iterable[str], folder: str) -> bool:
    return any(name.startswith(folder) for name in missing)


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


if __name__ == "__main__":
    main()
