"""What runs cost on a machine before they are done: hours on the clock and of devices, and energy."""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lossbench.config.run import Config, Precision
from lossbench.sweep.estimate import Estimate, Estimates, Place

WATTS_PER_CORE = 8.0
"""Of a core with its share of the rest, in W: a server processor of 64 to 96 cores draws 280 to 400 W, 4 to 5 W a core;
memory, fans and the power supply take more than half as much again. A laptop's core draws about as much, a desktop's
twice as much."""

GPU_LOAD = 0.5
"""Share of its board power that a GPU is assumed to draw: networks as small as these do not keep it busy."""


@dataclass(frozen=True)
class Todo:
    """A run that is to be done.

    Args:
        config: the run.
        share: of its time that is left, in (0, 1]; less than 1 where a checkpoint has some of its epochs.
    """

    config: Config
    share: float = 1.0


@dataclass(frozen=True)
class Target:
    """A machine, or several of a kind, that the runs are planned for.

    Args:
        word: what it is called.
        place: its rates, and whose measured runs count.
        nodes: machines.
        devices: GPUs or cores of each.
        runs_per_gpu: on every GPU at a time.
    """

    word: str
    place: Place
    nodes: int = 1
    devices: int = 1
    runs_per_gpu: int = 1

    @property
    def is_gpu(self) -> bool:
        """Whether the runs are on GPUs."""
        return self.place.machine.kind == "cuda"


@dataclass(frozen=True)
class Power:
    """Assumptions on power: W of a core with its share of the rest, and the share of its board power a GPU draws."""

    watts_per_core: float = WATTS_PER_CORE
    gpu_load: float = GPU_LOAD

    def watts(self, target: Target) -> float:
        """Power of a device of a target with what serves it, in W; a GPU's runs have a core each."""
        if not target.is_gpu:
            return self.watts_per_core
        return self.gpu_load * (target.place.machine.watts or 0.0) + target.runs_per_gpu * self.watts_per_core


@dataclass(frozen=True)
class Cost:
    """What runs cost on a target.

    Args:
        estimates: of the runs that can be done there, each from its start to its end.
        num_impossible: runs that cannot be done there: tf32 needs a GPU.
        parallel: runs at a time, at most.
        threads: of each, on a processor, at most.
        device_hours: core-hours, or GPU-hours.
        wall_hours: from the first start to the last end.
        kwh: energy.
        factor: within which, either way, about nine of ten times of single runs are expected; a mean over their time.
    """

    estimates: Sequence[Estimate]
    num_impossible: int
    parallel: int
    threads: int
    device_hours: float
    wall_hours: float
    kwh: float
    factor: float


def cost(blocks: Iterable[Sequence[Todo]], target: Target, known: Estimates, power: Power) -> Cost:
    """What runs cost on a target.

    Args:
        blocks: the runs; all of a block are done before the next begins.
        target: where they are done.
        known: the measured runs.
        power: assumptions on power.
    """
    num_impossible, parallel, threads = 0, 1, 1
    wall_s = device_s = 0.0
    estimates: list[Estimate] = []
    for block in blocks:
        able = [todo for todo in block if target.is_gpu or todo.config.schedule.precision is not Precision.tf32]
        num_impossible += len(block) - len(able)
        if not able:
            continue
        slots, threads_each = slots_of(able, target)
        found = [known.estimate(todo.config, target.place, threads_each, target.runs_per_gpu) for todo in able]
        seconds = {nth: found[nth].seconds * todo.share for nth, todo in enumerate(able)}
        order = sorted(seconds, key=lambda nth: (able[nth].config.seed, -seconds[nth]))  # as a sweep does them
        wall_s += makespan([seconds[nth] for nth in order], slots)
        device_s += sum(seconds.values()) * (1 / target.runs_per_gpu if target.is_gpu else threads_each)
        parallel, threads = max(parallel, min(slots, len(able))), max(threads, threads_each)
        estimates += [replace(one, seconds=seconds[nth]) for nth, one in enumerate(found)]
    hours = device_s / 3600
    energy = hours * power.watts(target) / 1000
    return Cost(estimates, num_impossible, parallel, threads, hours, wall_s / 3600, energy, _factor(estimates))


def slots_of(block: Sequence[Todo], target: Target) -> tuple[int, int]:
    """Runs at a time on a target, and threads of each, as a sweep chooses them on each machine."""
    if target.is_gpu:
        return target.nodes * target.devices * target.runs_per_gpu, 1
    runtime = block[0].config.runtime
    runs_a_node = math.ceil(len(block) / target.nodes)
    if runtime.parallel == "auto":
        each = min(runs_a_node, max(1, target.devices // (runtime.num_threads or 1)))
    else:
        each = min(runs_a_node, int(runtime.parallel))
    return target.nodes * each, runtime.num_threads or max(1, target.devices // each)


def makespan(seconds: Iterable[float], slots: int) -> float:
    """When the last run ends, if each begins in the given order as soon as one of so many places is free; in s."""
    free = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def _factor(estimates: Sequence[Estimate]) -> float:
    total = sum(one.seconds for one in estimates)
    if total <= 0:
        return 1.0
    return math.exp(sum(one.seconds * math.log(one.factor) for one in estimates) / total)


def two_figures(value: float) -> str:
    """A number >= 0 with two significant figures, as more would not be known."""
    if value <= 0:
        return "0"
    rounded = float(f"{value:.1e}")
    return f"{rounded:,.{max(0, 1 - math.floor(math.log10(rounded)))}f}"
