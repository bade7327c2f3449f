"""Runs that are trained a number of steps at a time, alone or in parallel, and the report of measurements."""

import json
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from baseline import Baseline
from measure import Spread, seconds
from torch import Tensor

from lossbench.config.registry import MODELS
from lossbench.config.run import Config, Precision, Runtime, Schedule
from lossbench.data.cifar10 import Cifar10
from lossbench.data.load import Data
from lossbench.data.mnist_type import MnistType
from lossbench.losses.lgl_inr import LglInr
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.system.machine import keep_freed_memory, num_cores
from lossbench.training.fit import process_settings, start_state, step_for
from lossbench.training.optimizer import Sgd
from lossbench.training.steps import State, train_epoch


def config_of(model: str, precision: str, num_steps: int, runtime: Runtime) -> Config:
    """LGL-INR on the network's data, with as many training images as the steps need."""
    name = "cifar10" if model in ("mobilenetv2", "resnet18") else "fmnist"
    schedule = replace(paper_schedule(name))
    schedule.precision = Precision(precision)
    num_train = num_steps * schedule.batch_size
    dataset = Cifar10(num_train=num_train) if name == "cifar10" else MnistType(name, num_train=num_train)
    return Config(dataset, MODELS[model].options(), LglInr(), schedule, 0, runtime)


Change = Callable[[State, Schedule], None]
"""A change of lossbench's usual training, applied to a run before its first step."""


class DefaultFormatData(Data):
    """Inputs in PyTorch's default memory format."""

    def inputs(self, pixels: Tensor) -> Tensor:
        return super().inputs(pixels).contiguous()


def default_format(state: State, schedule: Schedule) -> None:
    """PyTorch's default memory format (channels first) in place of channels-last."""
    state.data = DefaultFormatData(**{field.name: getattr(state.data, field.name) for field in fields(Data)})
    state.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    state.optimizer = Sgd(state.model, schedule)  # its velocities then have the weights' memory format


class Runner:
    """A run of lossbench that is trained one (short) epoch at a time."""

    def __init__(self, config: Config, num_threads: int, change: Change | None = None) -> None:
        keep_freed_memory()
        self.config, self.num_threads = config, num_threads
        self.device = torch.device("cpu" if config.runtime.device == "cpu" else "cuda")
        self.state: State = start_state(config, self.device)
        if change is not None:
            change(self.state, config.schedule)
        self._step, self._epoch = step_for(self.state, config), 0

    def __call__(self) -> float:
        """Train an epoch; returns images/s."""
        self._epoch += 1
        with process_settings(self.num_threads, self.config.schedule.precision, False):
            took = seconds(
                lambda: train_epoch(self.state, self._step, self.config, self._epoch, lambda *_: None), self.device
            )
        return len(self.state.data.train.labels) / took


_baseline: Baseline | None = None


def _start_baseline(config: Config, num_workers: int, num_threads: int) -> None:
    global _baseline
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # otherwise tf32 on a GPU, unlike the other rows
    torch.set_num_threads(num_threads)
    _baseline = Baseline(config, num_workers, config.runtime.device)


def _baseline_speed(num_steps: int) -> float:
    assert _baseline is not None
    loop = _baseline
    took = seconds(lambda: loop.steps(num_steps), torch.device(loop.device))
    return num_steps * (loop.loader.batch_size or 1) / took


class BaselineSpeed:
    """Images/s of the conventional loop on all cores, in a process without lossbench's settings."""

    def __init__(self, config: Config, num_workers: int, num_steps: int) -> None:
        config = replace(config, dataset=replace(config.dataset, num_train=None))
        self._num_steps = num_steps
        self._process = ProcessPoolExecutor(
            1, get_context("spawn"), _start_baseline, (config, num_workers, num_cores())
        )

    def __call__(self) -> float:
        speed = self._process.submit(_baseline_speed, self._num_steps).result()
        time.sleep(0.3)  # its workers read ahead
        return speed

    def close(self) -> None:
        self._process.shutdown()


_runner: Runner | None = None


START_S = 180
"""Time within which parallel processes must be ready, in s."""


def _start(config: Config, num_threads: int, ready: Any) -> None:
    global _runner
    _runner = Runner(config, num_threads)
    _runner()
    ready.wait(START_S)


def _until(end: float) -> tuple[int, float]:
    """Train full epochs until the time `end` of the system's clock; returns images and seconds."""
    assert _runner is not None
    began, images = time.time(), 0
    while time.time() < end:
        _runner()
        images += len(_runner.state.data.train.labels)
    return images, time.time() - began


class Together:
    """Several runs in parallel, each in a process with one thread."""

    def __init__(self, config: Config, num: int, duration: float, num_threads: int = 1) -> None:
        self._num, self._duration = num, duration
        context = get_context("spawn")
        ready = context.Barrier(num + 1)
        self._pool = context.Pool(num, _start, (config, num_threads, ready))
        ready.wait(START_S)  # otherwise the first measurement would include their start

    def __call__(self) -> float:
        """Images/s of all runs, each over its own time."""
        end = time.time() + self._duration
        done = [self._pool.apply_async(_until, (end,)) for _ in range(self._num)]
        return sum(images / max(took, 1e-9) for images, took in (each.get() for each in done))

    def close(self) -> None:
        self._pool.terminate()
        self._pool.join()


class Report:
    """Sections, printed and written as soon as they are measured, so that an interrupted benchmark keeps its results.

    Args:
        path: path of the files, without suffix.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text: list[str] = []
        self.raw: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        print(text + "\n", flush=True)
        self.text.append(text)
        self._path.with_suffix(".md").write_text("\n\n".join(self.text) + "\n")
        self._path.with_suffix(".json").write_text(json.dumps(self.raw, indent=1))

    def keep(self, section: str, found: dict[str, Spread]) -> dict[str, Spread]:
        self.raw[section] = {name: spread.values for name, spread in found.items()}
        return found
