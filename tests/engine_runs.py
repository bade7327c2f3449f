"""Sweeps on an engine and on this machine, compared: every run once, and the same to the bit."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

LOSSBENCH = str(Path(sys.executable).with_name("lossbench"))
PLUGIN = Path(__file__).with_name("slow_loss.py")

TIMES = {"time/train_s", "time/test_s", "time/images_per_s", "time/step_ms"}


def command(output_dir: Path, num_runs: int, epochs: int, *options: str) -> list[str]:
    """The command line of a sweep of short runs, with one thread each."""
    seeds, rates = ",".join(map(str, range(max(1, num_runs // 2)))), "0.1" if num_runs == 1 else "0.01,0.1"
    return [
        *(LOSSBENCH, "train", "--plugin", str(PLUGIN), "-m", "dataset=digits"),
        *("loss=slow_sml", f"seed={seeds}", f"schedule.lr={rates}", f"schedule.epochs={epochs}"),
        *(f"runtime.output_dir={output_dir}", "runtime.num_threads=1", "runtime.device=cpu"),
        *("runtime.tensorboard=false", *options),
    ]


def environment(slow_s: float, others: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of a sweep whose steps wait."""
    return {**others, "SLOW_S": str(slow_s), "PYTHONDONTWRITEBYTECODE": "1"}


def finished(output_dir: Path) -> list[str]:
    """The names of the finished runs."""
    return sorted(path.parent.name for path in output_dir.glob("runs/*/result.json"))


def results(output_dir: Path) -> dict[str, tuple[str, list[dict[str, object]]]]:
    """Of every finished run the digest of its arrays and its metrics without times, by name."""
    found = {}
    for path in output_dir.glob("runs/*/result.json"):
        lines = [json.loads(line) for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        kept = [{key: value for key, value in line.items() if key not in TIMES} for line in lines]
        found[path.parent.name] = json.loads(path.read_text())["arrays_sha256"], kept
    return found


def epochs_logged(output_dir: Path) -> dict[str, Counter[int]]:
    """How often each epoch ended, by the run's name, from its log, which every process appends to."""
    found = {}
    for path in output_dir.glob("runs/*/train.log"):
        epochs = [int(number) for number in re.findall(r"^epoch +(\d+)/", path.read_text(), re.MULTILINE)]
        found[path.parent.name] = Counter(epochs)
    return found


def train_here(output_dir: Path, num_runs: int, epochs: int) -> None:
    """The same sweep on this machine, without waiting."""
    done = subprocess.run(
        command(output_dir, num_runs, epochs, "runtime.parallel=2"),
        env=environment(0),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_once_and_equal(there: Path, here: Path, epochs: int, disturbed: Sequence[str] = ()) -> None:
    """Every run of a sweep on an engine ended once, and is that of a sweep here to the bit."""
    expected, found = results(here), results(there)
    assert found.keys() == expected.keys()
    assert found == expected
    for name, counts in epochs_logged(there).items():
        assert set(counts) == set(range(1, epochs + 1)), name
        assert max(counts.values()) == 1 or name in disturbed, f"{name}: {dict(counts)}"
    left = [path for path in there.glob("runs/*/*") if path.name == "checkpoint.pt" or path.name.endswith(".tmp")]
    assert not left
