"""A sweep from a script without a guard, from standard input, and from -c."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from dataclasses import replace
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.sweep.run_all import run_all

runtime = Runtime("cpu", sys.argv[1], num_threads=1, parallel=2, tensorboard=False)
one = Config(Digits(num_train=64), Cnn2c(), Sml(), Schedule(epochs=1, batch_size=32), runtime=runtime)
try:
    print(len(run_all([replace(one, seed=seed) for seed in (0, 1)]).finished), "finished")
except ValueError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("way", ["a script", pytest.param("standard input", marks=pytest.mark.long), "-c"])
def test_a_sweep_from_a_script_without_a_guard_works_or_says_the_way_out(way: str, tmp_path: Path) -> None:
    words = {"a script": ["script.py"], "standard input": ["-"], "-c": ["-c", SCRIPT]}[way]
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, *words, "out"], cwd=tmp_path, input=SCRIPT, capture_output=True, text=True, timeout=240
    )
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    if way != "a script":
        assert last == "2 finished"
        return
    assert last.startswith("refused: run_all executes parallel runs in processes that import the calling script")
    assert last.endswith('put the call below `if __name__ == "__main__":`, or set runtime.parallel=1')
    assert list((tmp_path / "out").glob("runs/*/failure.txt")) == []
