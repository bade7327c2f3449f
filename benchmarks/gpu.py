"""The parts of `make benchmark` for a GPU: each network alone, several runs in parallel, and times of entire tables.

A few hundred steps of each are measured; times of complete runs and tables are extrapolated and marked as such.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from measure import Spread, alternate, copy_rate, cost_of_step, matmul_rate, seconds, table
from runners import BaselineSpeed, Report, Runner, Together, config_of

from lossbench.config.run import Config, Precision, Runtime
from lossbench.data.sizes import sizes
from lossbench.studies.aaai20 import grid
from lossbench.system.machine import device_name
from lossbench.training.evaluate import predict
from lossbench.training.fit import process_settings

STEPS = {"cnn2c": 400, "cnn5c": 200, "mobilenetv2": 100, "resnet18": 100}
PRECISIONS = ("fp32", "tf32", "bf16")
PACKED = {"cnn2c": (2, 4, 8), "cnn5c": (2, 4), "mobilenetv2": (2, 4), "resnet18": (2,)}
PACKED_PRECISION = "bf16"


def seconds_of_run(config: Config, images_per_s: float, test_s: float) -> float:
    """Seconds of a complete run of the paper's length, with a test after every epoch."""
    num_train = sizes(replace(config.dataset, num_train=None)).num_train
    return config.schedule.epochs * (num_train / images_per_s + test_s)


def networks(report: Report, runtime: Runtime, repetitions: int, models: list[str]) -> None:
    """Each network alone and in parallel, and entire tables; about 8 minutes."""
    device = torch.device("cuda")
    _yardsticks(report, device)
    alone = _alone(report, runtime, repetitions, models)
    packed = _packed(report, runtime, models)
    _campaigns(report, alone, packed)


_rates: dict[str, float] = {}


def _yardsticks(report: Report, device: torch.device) -> None:
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        with process_settings(torch.get_num_threads(), Precision(precision), False):
            _rates[precision] = matmul_rate(device, dtype)
    _rates["copy"] = copy_rate(device)
    products = ", ".join(f"{_rates[precision] / 1e12:.1f} in {precision}" for precision in PRECISIONS)
    copied = f"copy {_rates['copy'] / 1e9:.0f} GB/s"
    report.say(f"Yardsticks on {device_name(device)}: matrix product, TFLOP/s, {products}; {copied}.")


def _alone(report: Report, runtime: Runtime, repetitions: int, models: list[str]) -> dict[tuple[str, str], float]:
    """Each network alone; returns the extrapolated seconds of a run, by network and precision."""
    runs = {}
    header = ["network", "variant", "images/s", "over the baseline", "step, ms", "of the bound (bytes as in fp32)"]
    for model in models:
        num, rows = STEPS[model], []
        runners = {
            precision: Runner(config_of(model, precision, num, runtime), torch.get_num_threads())
            for precision in PRECISIONS
        }
        plain = Runner(config_of(model, "fp32", num, replace(runtime, cuda_graphs=False)), torch.get_num_threads())
        slow = config_of(model, "fp32", num, runtime)
        baseline = BaselineSpeed(slow, 8, max(20, num // 8))
        variants: dict[str, Callable[[], float]] = {"baseline": baseline}
        variants |= {"fp32, plain step": plain, **runners}
        found = report.keep(model, alternate(variants, repetitions))
        baseline.close()
        for name, speed in found.items():
            precision = name if name in PRECISIONS else "fp32"
            cost = cost_of_step(slow)
            bound = cost.flops / _rates[precision] + cost.bytes / _rates["copy"]
            step = slow.schedule.batch_size / speed.median
            whole = ""
            if name in runners:
                test_s = _test_seconds(runners[name])
                runs[model, name] = seconds_of_run(runners[name].config, speed.median, test_s)
                whole = f"{runs[model, name]:.1f}"
            gain, share = speed.over(found["baseline"]), f"{100 * bound / step:.0f} %"
            rows.append([model, name, speed, gain, f"{1e3 * step:.3f}", share, whole])
        report.say(table([*header, "complete run with tests, s (extrapolated)"], rows))  # now, as it may be interrupted
        del runners, plain, variants
        torch.cuda.empty_cache()
    return runs


def _test_seconds(runner: Runner) -> float:
    state = runner.state
    with process_settings(torch.get_num_threads(), runner.config.schedule.precision, False):
        return min(seconds(lambda: predict(state, state.data.test), runner.device) for _ in range(4))


def _packed(report: Report, runtime: Runtime, models: list[str]) -> dict[str, tuple[int, float]]:
    """Several runs on the GPU, one process each; returns the best number of runs and its gain, by network."""
    best = {}
    for model in models:
        config = config_of(model, PACKED_PRECISION, STEPS[model], runtime)
        single, rows = 0.0, []
        best[model] = (1, 1.0)
        for num in (1, *PACKED[model]):
            together = Together(config, num, 4.0)
            speed = Spread(tuple(together() for _ in range(2)))
            together.close()
            single = single or speed.median
            rows.append([model, PACKED_PRECISION, num, speed, f"{speed.median / single:.2f}"])
            if speed.median / single > best[model][1]:
                best[model] = (num, speed.median / single)
        report.raw[f"packed, {model}"] = [[str(cell) for cell in row] for row in rows]
        report.say(table(["network", "precision", "runs at a time", "images/s of all", "over one run"], rows))
    return best


def _campaigns(report: Report, alone: dict[tuple[str, str], float], packed: dict[str, tuple[int, float]]) -> None:
    """Tables 3 and 5 with 5 seeds, and Table 4 with one, extrapolated from the runs above."""
    rows = []
    for name, tables, seeds in (("Tables 3 and 5, 5 seeds", [3, 5], 5), ("Table 4, one seed", [4], 1)):
        configs: list[Any] = grid.configs(tables, "paper", seeds, Runtime(device="cpu"))
        for precision in PRECISIONS:
            if any((config.model.name, precision) not in alone for config in configs):
                continue
            one = sum(alone[config.model.name, precision] for config in configs)
            several = sum(alone[config.model.name, precision] / packed[config.model.name][1] for config in configs)
            rows.append([name, len(configs), precision, f"{one / 60:.1f}", f"{several / 60:.1f}"])
    header = ["campaign", "runs", "precision", "one run at a time, min", "at the best packing, min"]
    report.say("Extrapolated, start-up of each run not counted:\n\n" + table(header, rows))
