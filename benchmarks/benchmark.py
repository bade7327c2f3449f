"""`make benchmark`: compares the speed of training with a conventional loop and with the limits of the hardware.

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
from formats import formats
from runners import Report
from sampled import sampled

from lossbench.config.run import Runtime
from lossbench.system.machine import commit, device_name, num_cores, versions

Part = Callable[[Report, Runtime, int, list[str]], None]

PARTS: dict[str, dict[str, Part]] = {
    "cpu": {
        "networks": cpu.networks,
        "formats": formats,
        "losses": lambda *given: cpu.losses(*given[:3]),
        "many_classes": lambda *given: cpu.many_classes(*given[:3]),
        "sampled": lambda *given: sampled(*given[:3]),
        "evaluation": cpu.evaluation,
        "alternatives": lambda *given: cpu.alternatives(*given[:3]),
        "sizes": lambda *given: cpu.sizes(*given[:3]),
        "start": lambda *given: cpu.start_up(*given[:3]),
    },
    "cuda": {"formats": formats, "networks": gpu.networks},
}
"""Parts of the benchmark by device; each is called with the report, a runtime, repetitions and networks."""


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=list(cpu.STEPS), choices=list(cpu.STEPS))
    known = "; ".join(f"{device}: {', '.join(parts)}" for device, parts in PARTS.items())
    parser.add_argument("--parts", nargs="+", help=f"{known}; default: all for the device")
    parser.add_argument("--data-dir", default=os.environ.get("LOSSBENCH_DATA"), help="default: LOSSBENCH_DATA, data/")
    parser.add_argument("--out", type=lambda text: Path(text).expanduser(), default=Path("outputs/benchmark"))
    chosen = parser.parse_args()
    parts = PARTS[chosen.device]
    if unknown := [name for name in chosen.parts or () if name not in parts]:
        parser.error(f"--parts {unknown[0]} is unknown; on {chosen.device} there are {', '.join(parts)}")
    began, report = time.monotonic(), Report(chosen.out / chosen.device)
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = chosen.data_dir and str(Path(chosen.data_dir).expanduser().resolve())
        runtime = Runtime(chosen.device, scratch, data_dir, tensorboard=False)
        processor = device_name(torch.device(chosen.device))
        facts = ", ".join(f"{package} {version}" for package, version in versions().items())
        report.say(
            f"{processor}, {num_cores()} cores; {facts}; commit {commit()}; batch 64, LGL-INR, median "
            f"(minimum-maximum) of {chosen.repetitions} alternating repetitions."
        )
        for name in chosen.parts or parts:
            parts[name](report, runtime, chosen.repetitions, chosen.models)
    report.say(f"Measured in {time.monotonic() - began:.0f} s.")


if __name__ == "__main__":
    main()
