"""`make benchmark`: how fast is the runner, beside the conventional loop and beside what the hardware can do?

Prints tables and writes them to `<out>/<device>.md`, with the raw repetitions in `<device>.json`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cpu
import gpu
import torch
from runners import Report

from lossbench.config import Runtime
from lossbench.environment import commit, device_name, versions
from lossbench.sweep import num_cores

PARTS = ["networks", "losses", "evaluation", "alternatives", "sizes", "start"]
"""Of the CPU's tables; a GPU has one set."""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(cpu.STEPS), choices=list(cpu.STEPS))
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--data-dir", default=os.environ.get("LOSSBENCH_DATA"), help="default: LOSSBENCH_DATA, data/")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark"))
    chosen = parser.parse_args()
    began, report = time.monotonic(), Report(chosen.out / chosen.device)
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = chosen.data_dir and str(Path(chosen.data_dir).resolve())
        runtime = Runtime(chosen.device, scratch, data_dir, tensorboard=False)
        name = device_name(torch.device(chosen.device))
        facts = ", ".join(f"{package} {version}" for package, version in versions().items())
        report.say(
            f"{name}, {num_cores()} cores; {facts}; commit {commit()}; batch 64, LGL-INR, median (least-greatest) of "
            f"{chosen.repetitions} repetitions that alternate."
        )
        if chosen.device == "cuda":
            gpu.everything(report, runtime, chosen.repetitions, chosen.models)
        else:
            parts: dict[str, Callable[[], None]] = {
                "networks": lambda: cpu.networks(report, runtime, chosen.repetitions, chosen.models),
                "losses": lambda: cpu.losses(report, runtime, chosen.repetitions),
                "evaluation": lambda: cpu.evaluation(report, runtime, chosen.repetitions, chosen.models),
                "alternatives": lambda: cpu.alternatives(report, runtime, chosen.repetitions),
                "sizes": lambda: cpu.sizes(report, runtime, chosen.repetitions),
                "start": lambda: cpu.start_up(report, runtime, chosen.repetitions),
            }
            for part in chosen.parts:
                parts[part]()
    report.say(f"Measured in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
