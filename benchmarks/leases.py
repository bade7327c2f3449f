"""Measures what owning a run costs in a folder; prints a table.

python benchmarks/leases.py [FOLDER] [--repetitions 500]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measure import table

from lossbench.runs import lease
from lossbench.runs.folder import Run
from lossbench.system.machine import device_name, versions


def main() -> None:
    """Take, renew, look at and release runs below a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="default: the folder of temporary files")
    parser.add_argument("--repetitions", type=int, default=500)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        run = Run(Path(scratch) / "run")

        def take_and_release() -> None:
            with run.held() as mine:
                assert mine

        def look() -> None:
            with run.held() as mine:
                assert not mine

        rows = [_row("take and release", take_and_release, chosen.repetitions)]
        with lease.held(run.folder) as mine:
            assert mine is not None
            rows.append(_row("renew", mine.renew, chosen.repetitions))
            rows.append(_row("look at a run that is taken", look, chosen.repetitions))
    print(f"{device_name(torch.device('cpu'))}; {versions()}; n = {chosen.repetitions}\n")
    print(table(["", "median, ms", "90 % below, ms"], rows))


def _row(name: str, do: Callable[[], object], repetitions: int) -> list[str]:
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        do()
        times.append(1e3 * (time.perf_counter() - began))
    return [name, f"{statistics.median(times):.2f}", f"{statistics.quantiles(times, n=10)[-1]:.2f}"]


if __name__ == "__main__":
    main()
