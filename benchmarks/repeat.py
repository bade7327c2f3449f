"""Measures how settings change the results of a run with the same seed; prints a table for docs/reliability.md.

    python benchmarks/repeat.py [--device cuda]

CNN2C with LGL-INR on 12,800 images of Fashion-MNIST, two epochs, seed 0, trained under settings that should not matter,
each in a separate process, which chooses its own kernels.
"""

import argparse
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from measure import table

from lossbench.config.run import Config, Precision, Runtime, Schedule
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl_inr import LglInr
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.system.machine import device_name, versions
from lossbench.training.fit import fit


def main() -> None:
    """Train all variants, compare them with the first, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--data-dir", default=os.environ.get("LOSSBENCH_DATA"), help="default: LOSSBENCH_DATA, data/")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        runtime = Runtime(chosen.device, scratch, chosen.data_dir, num_threads=1, tensorboard=False)
        base = Config(MnistType("fmnist", num_train=12_800), Cnn2c(), LglInr(), Schedule(epochs=2), 0, runtime)
        variants = {"the run": base, "the same again": base}
        if chosen.device == "cpu":
            variants["two threads"] = replace(base, runtime=replace(runtime, num_threads=2))
            variants["two threads again"] = variants["two threads"]
        else:
            sure = replace(base, runtime=replace(runtime, deterministic=True))
            variants |= {"deterministic": sure, "deterministic again": sure}
            variants["plain step"] = replace(base, runtime=replace(runtime, cuda_graphs=False))
            variants["tf32"] = replace(base, schedule=replace(base.schedule, precision=Precision.tf32))
        variants["bf16"] = replace(base, schedule=replace(base.schedule, precision=Precision.bf16))
        found = {}
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
            for number, (name, config) in enumerate(variants.items()):
                own = replace(config.runtime, output_dir=str(Path(scratch) / str(number)))
                found[name] = fresh.submit(_trained, replace(config, runtime=own)).result()
        print(f"{device_name(torch.device(chosen.device))}; {versions()}\n")
        print(table(["setting", "train loss", "test accuracy", "logits"], [_row(name, found) for name in found]))


def _trained(config: Config) -> tuple[dict[str, object], np.ndarray]:
    run = open_run(config)
    record = fit(config, run)
    return record, np.load(run.folder / "arrays.npz")["test_logits"]


def _row(name: str, found: dict[str, tuple[dict[str, object], np.ndarray]]) -> list[object]:
    record, logits = found[name]
    first = found[name.removesuffix(" again")][1] if name.endswith(" again") and name != "the same again" else None
    reference = found["the run"][1] if first is None else first
    gap = np.abs(logits.astype(np.float32) - reference.astype(np.float32)).max()
    said = "the same bits" if np.array_equal(logits, reference) else f"differ by up to {gap:.2g}"
    loss = record["curves"]["train/loss"][-1]  # type: ignore[index]
    return [name, f"{loss:.9f}", f"{100 * record['test_accuracy']:.2f} %", said]  # type: ignore[operator]


if __name__ == "__main__":
    main()
