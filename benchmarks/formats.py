"""The part of `make benchmark` that compares memory formats in fp32, by network, on any device."""

from collections.abc import Callable

import cpu
import gpu
from measure import alternate, table
from runners import Report, Runner, config_of, default_format

from lossbench.config.run import Runtime
from lossbench.system.machine import num_cores


def formats(report: Report, runtime: Runtime, repetitions: int, models: list[str]) -> None:
    """Channels-last, which lossbench uses, compared with PyTorch's default; on a GPU less than a minute."""
    steps = cpu.STEPS if runtime.device == "cpu" else gpu.STEPS
    for model in models:
        config = config_of(model, "fp32", steps[model], runtime)
        variants: dict[str, Callable[[], float]] = {
            "channels-last": Runner(config, num_cores()),
            "PyTorch's default": Runner(config, num_cores(), default_format),
        }
        found = report.keep(f"formats, {model}", alternate(variants, repetitions))
        rows = [[model, name, speed, speed.over(found["channels-last"])] for name, speed in found.items()]
        report.say(table(["network, fp32", "memory format", "images/s", "over channels-last"], rows))
