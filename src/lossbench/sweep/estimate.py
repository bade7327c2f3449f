"""Estimates of how long runs take, from the runs that have been measured and, without any of a kind, from what they do.

The time of a run is first counted from its work (sweep/cost.py) and the rates of a machine (sweep/machines.py). That
is multiplied by the median ratio of measured to counted time over the nearest group of measured runs: those of the very
same kind, else of the same network and loss, else of the same network, else of the same kind of device. Without any
measured run on the kind of device the counted time stays as it is.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, NamedTuple

from lossbench.config.registry import LOSSES
from lossbench.config.run import Config, Precision, Runtime
from lossbench.runs.records import Record
from lossbench.runs.restored import config_of
from lossbench.sweep.cost import Work, work
from lossbench.sweep.machines import CORE, GPUS, USUAL, Machine, gpu_named
from lossbench.system.machine import processor_name
from lossbench.training.evaluate import EVALUATION_BATCH

ALONE = 0.08
"""Share of a run's layers that more threads do not shorten: two threads were measured, more are an assumption."""


@dataclass(frozen=True)
class Level:
    """How near the measured runs are from which a time is estimated.

    Args:
        words: what they have in common with the run.
        factor: 90 % of the estimates are wrong by less than this factor, measured on the runs in `results/`.
    """

    words: str
    factor: float


USUAL_FACTOR = 1.2
"""Half of the estimates from measured runs are wrong by less than this factor."""

SAME = Level("the same network, data set, loss and precision", 2.8)
LOSS = Level("the same network, loss and precision", 2.8)
NETWORK = Level("the same network and precision", 2.8)
PRECISION = Level("other networks in the same precision", 3.5)
KIND = Level("runs in another precision", 4.0)
PROBED = Level("a training step measured now", 2.0)
COUNTED = Level("no measured run", 3.0)
OTHER_MACHINE = 3.0
"""The factor of an estimate from runs on other processors or GPUs alone, at least."""


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

    @property
    def factor(self) -> float:
        """About nine of ten times are expected within this factor of the estimate, either way."""
        return max(self.level.factor, OTHER_MACHINE if self.is_other_machine else 1.0)


@dataclass(frozen=True)
class Place:
    """What a run is estimated for.

    Args:
        machine: its rates.
        device_name: of its processor or GPU, as records give it; None: any GPU of the machine's kind.
        probed: measured over counted time of a training step there, by `probe_key`.
    """

    machine: Machine
    device_name: str | None = None
    probed: Mapping[str, float] = field(default_factory=dict)


class _Near(NamedTuple):
    """Measured runs near one: the median of their measured over their counted times, and what they are."""

    ratio: float
    level: Level
    num_runs: int
    is_other_machine: bool


class Estimates:
    """Measured runs, and the time that others take according to them."""

    def __init__(self, measured: Iterable[Mapping[str, Any]], ratios: dict[str, float | None] | None = None) -> None:
        """Groups measured runs.

        Args:
            measured: the fields of their records.
            ratios: what `log_ratio` says of runs by name, as far as it is known; is added to.
        """
        self._groups: dict[tuple[Level, str], list[Mapping[str, Any]]] = {}
        self._ratios = {} if ratios is None else ratios
        self._found: dict[tuple[object, ...], _Near | None] = {}
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

    def estimate(
        self,
        config: Config,
        place: Place,
        threads: int = 1,
        at_once: int = 1,
        without: Collection[str] = frozenset(),
    ) -> Estimate:
        """Time of a run with what it rests on; see `seconds`.

        Args:
            config: the run.
            place: what it is estimated for.
            threads: of the processor, for each run.
            at_once: runs that share a GPU.
            without: names of measured runs that are left out.
        """
        precision = config.schedule.precision
        todo = work_on(config, place.machine.kind)
        counted = seconds_counted(todo, place.machine, precision, threads, at_once)
        if (probed := place.probed.get(probe_key(config))) is not None:
            return Estimate(counted * probed, PROBED, 1)
        near = self._near(config, place, without)
        if near is None:
            return Estimate(counted, COUNTED, 0, is_other_machine=True)
        return Estimate(counted * near.ratio, near.level, near.num_runs, near.is_other_machine)

    def _near(self, config: Config, place: Place, without: Collection[str]) -> _Near | None:
        """The nearest measured runs, looked up once for each kind of run; None: none are on the kind of device."""
        plain = {"model": vars(config.model), "dataset": vars(config.dataset), "loss": vars(config.loss)}
        keys = _keys(plain, config.schedule.precision.value, place.machine.kind)
        asked = str(keys[0]), place.machine.name, place.device_name, frozenset(without)
        if asked not in self._found:
            self._found[asked] = self._nearest(keys, place, without)
        return self._found[asked]

    def _nearest(self, keys: Iterable[tuple[Level, str]], place: Place, without: Collection[str]) -> _Near | None:
        for level, key in keys:
            known = [one for one in self._groups.get((level, key), ()) if one["run_id"] not in without]
            for group, is_other in (([one for one in known if _is_on(one, place)], False), (known, True)):
                if ratios := self._known_ratios(group):
                    middle = median(map(median, ratios.values()))
                    return _Near(math.exp(middle), level, sum(map(len, ratios.values())), is_other)
        return None

    def _known_ratios(self, group: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
        """Logarithms of measured over counted times, by network; a run that cannot be counted here has none."""
        found: dict[str, list[float]] = {}
        for fields in group:
            ratio = self._ratio(fields)
            if ratio is not None:
                found.setdefault(str(fields["config"]["model"]["name"]), []).append(ratio)
        return found

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


def place_here(device: str) -> Place:
    """This machine's processor for "cpu", its GPU for "cuda"."""
    if device == "cpu":
        return place_of("cpu")
    import torch

    return gpu_place(torch.cuda.get_device_name()) if torch.cuda.is_available() else place_of("cuda")


def gpu_place(device_name: str) -> Place:
    """A GPU by the name that PyTorch gives it; one that is not among `GPUS` has the rates of `USUAL`."""
    return Place(gpu_named(device_name) or replace(GPUS[USUAL], name=device_name, known_as=""), device_name)


def work_on(config: Config, kind: str) -> Work:
    """What a run has to do on a kind of device, "cpu" or "cuda"."""
    return work(config, EVALUATION_BATCH.get(kind, EVALUATION_BATCH["cpu"]))


def probe_key(config: Config) -> str:
    """What runs have in common for which a step of one of them tells the time of the others."""
    return json.dumps([_options(vars(config.model)), config.loss.name, config.schedule.precision.value])


def seconds_counted(todo: Work, machine: Machine, precision: Precision, threads: int = 1, at_once: int = 1) -> float:
    """Time of a run in s according to its work and a machine's rates alone.

    A GPU computes while it reads and writes, and the longer of both counts; runs that share one take turns in that.
    """
    layers, others = _parts(todo, machine, precision)
    return layers * (at_once if machine.kind == "cuda" else _share_of_time(threads)) + others


def seconds_of_steps(todo: Work, machine: Machine, precision: Precision, threads: int = 1) -> float:
    """Likewise of training steps alone, without start and epochs."""
    layers, others = _parts(todo, machine, precision)
    layers *= 1 if machine.kind == "cuda" else _share_of_time(threads)
    return layers + others - machine.start_s


def _share_of_time(threads: int) -> float:
    """Time of a run's layers with some threads, relative to one."""
    return ALONE + (1 - ALONE) / threads


def _parts(todo: Work, machine: Machine, precision: Precision) -> tuple[float, float]:
    """Time in s that more threads shorten, and the rest."""
    rate = machine.flops.get(precision, machine.flops[Precision.fp32])
    computing = todo.flops / rate
    moving = todo.network_bytes / machine.network_rate + todo.loss_bytes / machine.loss_rate
    moving += todo.update_bytes / machine.update_rate
    layers = max(computing, moving) if machine.kind == "cuda" else computing + moving
    calls = todo.steps * machine.step_s + todo.calls * machine.call_s
    points = todo.epochs * machine.epoch_s + todo.spectra * machine.spectrum_s
    return layers, machine.start_s + calls + points


def _is_on(fields: Mapping[str, Any], place: Place) -> bool:
    name = str(fields.get("device_name"))
    if place.device_name is not None:
        return name == place.device_name
    return bool(place.machine.known_as) and gpu_named(name) == place.machine


def _keys(config: Mapping[str, Any], precision: str, kind: str) -> list[tuple[Level, str]]:
    """The groups of runs that a run is in, from near to far."""
    network = json.dumps(_options(config["model"]), sort_keys=True)
    dataset, loss = config["dataset"]["name"], config["loss"]["name"]
    needs = LOSSES[loss].options.needs if loss in LOSSES else "logits"
    groups: list[tuple[Level, tuple[str, ...]]] = [
        (SAME, ("same", network, dataset, loss, precision)),
        (LOSS, ("loss", network, loss, precision)),
        (NETWORK, ("needs", network, needs, precision)),
        (NETWORK, ("network", network, precision)),
        (PRECISION, ("precision", precision)),
        (KIND, ("kind",)),
    ]
    return [(level, json.dumps([kind, *parts])) for level, parts in groups]


def _options(model: Mapping[str, Any]) -> dict[str, str]:
    """A network's options that change how much it computes."""
    without = ("init", "init_seed", "prior_bias")
    return {key: str(value) for key, value in model.items() if value is not None and key not in without}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
