"""The speed of training on this machine, measured in a second or two."""

import time
from dataclasses import replace

import torch

from lossbench.config.run import Config
from lossbench.data.load import plan_epoch, random_data
from lossbench.system.machine import keep_freed_memory, use_device
from lossbench.training.fit import check, process_settings, start_state, step_for

WARM_UP_STEPS, MOST_STEPS, MOST_SECONDS = 3, 20, 1.5


def seconds_per_step(config: Config, with_random_data: bool = False) -> float:
    """Seconds of a training step of a run, from its initial weights.

    The median of up to `MOST_STEPS` steps, fewer where they take long.

    Args:
        config: the run.
        with_random_data: whether random inputs take the place of the data set, which need not be there then; nothing
            is read or written, not even the weights that the run begins with.
    """
    device = check(config)
    use_device(device)
    keep_freed_memory()
    size = config.schedule.batch_size
    with process_settings(config.runtime.num_threads or 1, config.schedule.precision, config.runtime.deterministic):
        data = None
        if with_random_data:
            data = random_data(config.dataset, 4 * size, device)
            config = replace(config, schedule=replace(config.schedule, warm_start=None, relabel=None))
        state = start_state(config, device, data)
        step, plan = step_for(state, config), plan_epoch(state.data, config.seed, epoch=1)
        state.model.train()
        batches = [plan[:, start : start + size] for start in range(0, max(plan.shape[1] - size, 0) + 1, size)]
        seconds: list[float] = []
        began = time.monotonic()
        for index in range(WARM_UP_STEPS + MOST_STEPS):
            if len(seconds) > WARM_UP_STEPS and time.monotonic() - began > MOST_SECONDS:
                break
            start = time.perf_counter()
            step(batches[index % len(batches)])
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - start)
    return sorted(seconds[WARM_UP_STEPS:] or seconds)[len(seconds[WARM_UP_STEPS:] or seconds) // 2]
