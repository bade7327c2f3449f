"""The config of a run (schedule, runtime, seed) and the run's name, which is derived from it."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import StrEnum
from typing import Any

from lossbench import NUMERICS
from lossbench.config.options import DatasetConfig, LossConfig, ModelConfig, require
from lossbench.config.registry import sources
from lossbench.system.files import expanded

IDENTITY = ("dataset", "model", "loss", "schedule", "seed")
"""The keys of a config that can change results, with `plugins`; `runtime` cannot, apart from rounding."""


class Precision(StrEnum):
    """Arithmetic of matrix products and convolutions; weights and losses stay in float32.

    tf32 also applies to the two matrix products inside LGL-INR.
    """

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Optimizer(StrEnum):
    """Optimisers (training/optimizer.py)."""

    sgd = "sgd"
    adagrad = "adagrad"
    adamw = "adamw"


@dataclass
class Schedule:
    """The training schedule, with SGD; the defaults are the paper's for MNIST-type data."""

    epochs: int = 20
    batch_size: int = 64
    lr: float = 0.01
    momentum: float = 0.5
    weight_decay: float = 0.0
    milestones: list[float] = field(default_factory=list)  # fractions of `epochs` at which lr is multiplied by gamma
    gamma: float = 0.1
    precision: Precision = Precision.fp32
    nesterov: bool = False
    decay_bias: bool = True  # weight decay acts on biases and batch-norm parameters too, as PyTorch's SGD does
    drop_last: bool = False  # leave out the last, smaller batch of an epoch
    evaluate_every_steps: int | None = None  # test within epochs too, every n steps of the run; None: only after epochs
    warm_start: str | None = None  # name of a finished run whose last weights to begin with; None: initial weights
    relabel: bool | None = None  # train on the classes that the run `warm_start` predicts; None: on the true labels
    optimizer: Optimizer | None = None  # None: SGD

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "schedule.epochs", ">= 1", self.epochs)
        require(self.batch_size >= 1, "schedule.batch_size", ">= 1", self.batch_size)
        require(0 < self.lr < float("inf"), "schedule.lr", "> 0 and finite", self.lr)
        require(0 <= self.momentum < 1, "schedule.momentum", "in [0, 1)", self.momentum)
        require(0 <= self.weight_decay < float("inf"), "schedule.weight_decay", ">= 0 and finite", self.weight_decay)
        rising = sorted(set(self.milestones)) == list(self.milestones) and all(0 < m < 1 for m in self.milestones)
        require(rising, "schedule.milestones", "rising fractions of the epochs, each in (0, 1)", self.milestones)
        require(0 < self.gamma <= 1, "schedule.gamma", "in (0, 1]", self.gamma)
        require(not self.nesterov or self.momentum > 0, "schedule.momentum", "> 0 with nesterov", self.momentum)
        every = self.evaluate_every_steps
        require(every is None or every >= 1, "schedule.evaluate_every_steps", "null or >= 1", every)
        start = self.warm_start
        valid = start is None or bool(re.fullmatch(r"[\w.-]{1,200}", start, re.ASCII))
        require(valid, "schedule.warm_start", "null or the name of a run", start)
        valid = self.relabel is None or start is not None
        require(valid, "schedule.relabel", "null without schedule.warm_start", self.relabel)
        if self.optimizer is Optimizer.sgd:
            self.optimizer = None  # the same runs, so the same names
        if self.optimizer is not None:
            only = f"for schedule.optimizer={self.optimizer}, which has no such momentum"
            require(not self.momentum and not self.nesterov, "schedule.momentum", f"0 {only}", self.momentum)

    def lr_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        passed = sum(epoch - 1 >= round(fraction * self.epochs, 6) for fraction in self.milestones)  # 0.29 * 100 is 29
        return self.lr * self.gamma**passed


@dataclass
class Runtime:
    """Options of how and where a run is executed; they are not part of its name."""

    device: str = "auto"  # auto | cpu | cuda | cuda:1; auto: a GPU if there is one
    output_dir: str = "outputs"
    data_dir: str | None = None  # None: the environment variable LOSSBENCH_DATA, else data/
    download: bool = True  # download a published data set that is missing; false: fail with a message
    num_threads: int | None = None  # CPU threads per run; None: the cores divided among the parallel runs
    parallel: int | str = "auto"  # number of parallel runs; auto: as many as fill the cores, or `runs_per_gpu` per GPU
    runs_per_gpu: int = 1
    budget_min: float | None = None  # minutes after which a sweep stops; it can be resumed
    deterministic: bool = False  # on a GPU: bitwise reproducible, slower
    cuda_graphs: bool = True  # on a GPU: record the training step once and replay it; false: run each step normally
    tensorboard: bool = True
    save_weights: bool = False  # keep the last weights: for `lossbench evaluate`, Python, and `schedule.warm_start`
    class_trace: bool = False  # keep class means and gradient norms by class of every epoch
    gradient_trace: bool = False  # keep the gradient's norm by p_y, its zeros and the Hessian's spectrum, by epoch
    experiment: str | None = None  # set by a sweep: the experiment that the run belongs to; kept in its record
    profile: str | None = None  # likewise, the sweep's profile
    num_seeds: int | None = None  # likewise, the sweep's number of seeds

    def __post_init__(self) -> None:
        valid = self.num_threads is None or 1 <= self.num_threads <= 1024
        require(valid, "runtime.num_threads", "null or in 1..1024", self.num_threads)
        valid = self.parallel == "auto" or (isinstance(self.parallel, int) and self.parallel >= 1)
        require(valid, "runtime.parallel", "auto or >= 1", self.parallel)
        require(self.runs_per_gpu >= 1, "runtime.runs_per_gpu", ">= 1", self.runs_per_gpu)
        require(self.budget_min is None or self.budget_min > 0, "runtime.budget_min", "null or > 0", self.budget_min)
        self.output_dir = expanded(self.output_dir, "runtime.output_dir")
        self.data_dir = self.data_dir and expanded(self.data_dir, "runtime.data_dir")
        kind, _, index = self.device.partition(":")
        valid = self.device in ("auto", "cpu", "cuda") or (kind == "cuda" and index.isdigit())
        require(valid, "runtime.device", "auto, cpu, cuda or cuda:<n>", self.device)


@dataclass
class Config:
    """The complete config of a run."""

    dataset: DatasetConfig
    model: ModelConfig
    loss: LossConfig
    schedule: Schedule
    seed: int = 0
    runtime: Runtime = field(default_factory=Runtime)
    plugins: dict[str, str] | None = None  # filled in: SHA-256 of the plugin of "dataset", "model" or "loss"

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**31, "seed", "in 0..2147483647", self.seed)
        found = {part: source.sha256 for part, source in sources(self.parts()).items()} or None
        valid = self.plugins is None or dict(self.plugins) == found
        require(valid, "plugins", f"{found or 'null'}, which follows from the plugins' files", self.plugins)
        self.plugins = found

    def parts(self) -> dict[str, str]:
        """The names of data set, network and loss."""
        return {"dataset": self.dataset.name, "model": self.model.name, "loss": self.loss.name}


def run_id(config: Config) -> str:
    """Name of a run: readable words and a hash of everything that can change its results."""
    return name_of({key: _plain(getattr(config, key)) for key in (*IDENTITY, "plugins")}, NUMERICS)


def _plain(value: Any) -> Any:
    """A part of a config as a mapping, as `asdict` makes it; without copies where all options are simple values."""
    if not is_dataclass(value) or isinstance(value, type):
        return value
    options = {one.name: getattr(value, one.name) for one in fields(value)}
    return options if all(map(_is_simple, options.values())) else asdict(value)


def _is_simple(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(item is None or isinstance(item, (str, int, float)) for item in value)
    return value is None or isinstance(value, (str, int, float))


_SORTED = json.JSONEncoder(sort_keys=True)


def name_of(config: Mapping[str, Any], numerics: int) -> str:
    """Name of the run that a config, given as a plain mapping, describes under the given `NUMERICS`."""
    identity = {key: canonical(config[key]) for key in IDENTITY} | {"numerics": numerics}
    if config.get("plugins"):
        identity["plugins"] = canonical(config["plugins"])
    identity["dataset"].pop("path", None)  # the sha256 identifies the file; its place does not matter
    digest = hashlib.sha256(_SORTED.encode(identity).encode()).hexdigest()[:8]
    words = (config["dataset"]["name"], config["model"]["name"], config["loss"]["name"], f"s{config['seed']}", digest)
    return "-".join(words)


def canonical(value: Any) -> Any:
    """The value in the form that is hashed: numbers as floats (1 becomes 1.0), keys whose value is None left out."""
    kind = value.__class__
    if kind is float or kind is int:  # the usual kinds first: names of tens of thousands of runs are computed
        return float(value) + 0.0  # -0.0 is 0.0
    if kind is str or kind is bool:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) + 0.0  # -0.0 is 0.0
    return value
