"""Estimates of how long runs take, from the runs that have been measured and, without any of a kind, from what they do.

The time of a run is first counted from its work (sweep/cost.py) and the rates of a machine (sweep/machines.py). That
is multiplied by the median ratio of measured to counted time over the nearest group of measured runs: those of the very
same kind, else of the same network and loss, else of the same network, else of the same kind of device. Without any
measured run on the kind of device the counted time stays as it is.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from lossbench.config.run import Config, Precision, Runtime
from lossbench.runs.records import Record
from lossbench.runs.restored import config_of
from lossbench.sweep.cost import Work, work
from lossbench.sweep.machines import CORE, GPUS, USUAL, Machine, gpu_named
from lossbench.system.machine import processor_name
from lossbench.training.evaluate import EVALUATION_BATCH

SPEEDUP = 0.9
"""n threads do the work of a run's layers n to this power times as fast as one; what remains takes as long."""


@dataclass(frozen=True)
class Level:
    """How near the measured runs are from which a time is estimated.

    Args:
        words: what they have in common with the run.
        factor: 90 % of the estimates are wrong by less than this factor, measured on the runs in `results/`.
    """

    words: str
    factor: float


SAME = Level("the same network, data set, loss and precision", 2.5)
LOSS = Level("the same network, loss and precision", 2.5)
NETWORK = Level("the same network and precision", 2.5)
PRECISION = Level("other networks in the same precision", 3.5)
KIND = Level("runs in another precision", 4.0)
COUNTED = Level("no measured run", 3.0)
LEVELS = (SAME, LOSS, NETWORK, PRECISION, KIND)
"""From near to far; without any measured run it is `COUNTED`."""


@dataclass(frozen=True)
class Estimate:
    """The estimated time of a run.

    Args:
        seconds: of one run, from its start to its end.
        level: how near the measured runs are.
        num_runs: how many of them there are.
        is_other_machine: whether they were all done on other processors or GPUs than the run is estimated for.
    """

    seconds: float
    level: Level
    num_runs: int
    is_other_machine: bool = False


@dataclass(frozen=True)
class Place:
    """What a run is estimated for.

    Args:
        machine: its rates.
        device_name: of a processor, as records give it; None: any, or a GPU.
    """

    machine: Machine
    device_name: str | None = None


class Estimates:
    """Measured runs, and the time that others take according to them."""

    def __init__(self, measured: Iterable[Mapping[str, Any]]) -> None:
        self._groups: dict[tuple[Level, str], list[Mapping[str, Any]]] = {}
        self._ratios: dict[str, float | None] = {}
        for fields in measured:
            if _number(fields.get("wall_s")) > 0:
                for level, key in _keys(fields["config"], str(fields["precision"]), str(fields["device"])):
                    self._groups.setdefault((level, key), []).append(fields)

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> "Estimates":
        """Estimates from finished runs, also those of other versions and of plugins that are not loaded."""
        return cls(record.fields for record in records)

    def seconds(self, config: Config, device: str = "cpu", threads: int = 1) -> float:
        """Time of a run in s, from its start to its end; always a number.

        Args:
            config: the run.
            device: "cpu" for this machine's processor, "cuda" for a GPU that is not known, or a GPU of `GPUS`.
            threads: of the processor, for each run.

        Raises:
            ValueError: there is no such device, or the data set's size cannot be known.
        """
        return self.estimate(config, place_of(device), threads).seconds

    def estimate(self, config: Config, place: Place, threads: int = 1) -> Estimate:
        """Time of a run with what it rests on; see `seconds`."""
        counted = seconds_counted(
            work_on(config, place.machine.kind), place.machine, config.schedule.precision, threads
        )
        plain = {"model": vars(config.model), "dataset": vars(config.dataset), "loss": vars(config.loss)}
        for level, key in _keys(plain, config.schedule.precision.value, place.machine.kind):
            known = self._groups.get((level, key), [])
            here = [fields for fields in known if _is_on(fields, place)]
            ratios = {True: self._known_ratios(here)} if here else {}
            if not ratios.get(True):
                ratios = {False: self._known_ratios(known)}
            for is_here, found in ratios.items():
                if found:
                    return Estimate(counted * math.exp(median(found)), level, len(found), not is_here)
        return Estimate(counted, COUNTED, 0)

    def _known_ratios(self, group: Iterable[Mapping[str, Any]]) -> list[float]:
        """Logarithms of measured over counted times; a run that cannot be counted here has none."""
        found = (self._ratio(fields) for fields in group)
        return [ratio for ratio in found if ratio is not None]

    def _ratio(self, fields: Mapping[str, Any]) -> float | None:
        name = str(fields["run_id"])
        if name not in self._ratios:
            self._ratios[name] = log_ratio(fields)
        return self._ratios[name]


def log_ratio(fields: Mapping[str, Any]) -> float | None:
    """Logarithm of a measured run's time over the counted one; None: its parts are not known here."""
    known = fields["config"].get("runtime", {})
    try:
        config = config_of(fields, Runtime(gradient_trace=bool(known.get("gradient_trace"))))
        todo = work_on(config, str(fields["device"]))
    except (ValueError, KeyError, TypeError):
        return None
    is_gpu = str(fields["device"]) == "cuda"
    machine = (gpu_named(str(fields.get("device_name"))) or GPUS[USUAL]) if is_gpu else CORE
    threads = max(1, int(_number(fields.get("num_threads"))))
    counted = seconds_counted(todo, machine, config.schedule.precision, threads)
    return math.log(_number(fields["wall_s"]) / counted)


def place_of(device: str) -> Place:
    """The place that a word stands for: "cpu", "cuda" or one of `GPUS`.

    Raises:
        ValueError: there is no such device.
    """
    kind = device.partition(":")[0]
    if kind == "cpu":
        return Place(CORE, processor_name())
    if kind == "cuda":
        return Place(replace(GPUS[USUAL], name="a GPU", known_as=""))
    if kind not in GPUS:
        raise ValueError(f"there is no device {device}, only cpu, cuda, {', '.join(GPUS)}")
    return Place(GPUS[kind])


def work_on(config: Config, kind: str) -> Work:
    """What a run has to do on a kind of device, "cpu" or "cuda"."""
    return work(config, EVALUATION_BATCH.get(kind, EVALUATION_BATCH["cpu"]))


def seconds_counted(todo: Work, machine: Machine, precision: Precision, threads: int = 1) -> float:
    """Time of a run in s according to its work and a machine's rates alone.

    A GPU computes while it reads and writes, and the longer of both counts.
    """
    rate = machine.flops.get(precision, machine.flops[Precision.fp32])
    computing = todo.flops / rate
    moving = todo.network_bytes / machine.network_rate + todo.loss_bytes / machine.loss_rate
    moving += todo.update_bytes / machine.update_rate
    layers = max(computing, moving) if machine.kind == "cuda" else (computing + moving) / threads**SPEEDUP
    calls = todo.steps * machine.step_s + todo.calls * machine.call_s
    points = todo.epochs * machine.epoch_s + todo.spectra * machine.spectrum_s
    return machine.start_s + layers + calls + points


def _is_on(fields: Mapping[str, Any], place: Place) -> bool:
    name = str(fields.get("device_name"))
    if place.device_name is not None:
        return name == place.device_name
    return bool(place.machine.known_as) and gpu_named(name) == place.machine


def _keys(config: Mapping[str, Any], precision: str, kind: str) -> list[tuple[Level, str]]:
    """The groups of runs that a run is in, from near to far."""
    network = json.dumps(_options(config["model"]), sort_keys=True)
    dataset, loss = config["dataset"]["name"], config["loss"]["name"]
    parts = ((network, dataset, loss, precision), (network, loss, precision), (network, precision), (precision,), ())
    return [(level, json.dumps([kind, *map(str, part)])) for level, part in zip(LEVELS, parts, strict=True)]


def _options(model: Mapping[str, Any]) -> dict[str, str]:
    """A network's options that change how much it computes."""
    without = ("init", "init_seed", "prior_bias")
    return {key: str(value) for key, value in model.items() if value is not None and key not in without}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
