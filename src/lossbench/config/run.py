"""What a run is and what it is called: its schedule, its runtime, and the name that follows from all that counts."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lossbench import NUMERICS
from lossbench.config.options import DatasetConfig, LossConfig, ModelConfig, require
from lossbench.config.registry import sources
from lossbench.system.files import expanded

IDENTITY = ("dataset", "model", "loss", "schedule", "seed")
"""The keys of a config that can change a number, with `plugins`; `runtime` cannot, beyond rounding."""


class Precision(StrEnum):
    """Arithmetic of the matrix products and convolutions; weights and losses stay in float32.

    With tf32 the two products within LGL-INR are in it too.
    """

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


@dataclass
class Schedule:
    """How the weights move: SGD. The defaults are the paper's for MNIST-type data."""

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
    evaluate_every_steps: int | None = None  # test within epochs as well, every n steps of the run; None: after epochs
    warm_start: str | None = None  # a finished run, by name: begin with its last weights; None: with fresh ones
    relabel: bool | None = None  # train on the classes that the run `warm_start` predicts; None: on the true ones

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

    def lr_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        passed = sum(epoch - 1 >= round(fraction * self.epochs, 6) for fraction in self.milestones)  # 0.29 * 100 is 29
        return self.lr * self.gamma**passed


@dataclass
class Runtime:
    """How and where a run is done; no part of its name."""

    device: str = "auto"  # auto | cpu | cuda | cuda:1; auto: a GPU where there is one
    output_dir: str = "outputs"
    data_dir: str | None = None  # None: the environment variable LOSSBENCH_DATA, else data/
    download: bool = True  # fetch a published data set that is not there; false: refuse at once, as without network
    num_threads: int | None = None  # CPU threads a run; None: the cores shared out among the runs at a time
    parallel: int | str = "auto"  # runs at a time; auto: as many as fill the cores, `runs_per_gpu` on each GPU
    runs_per_gpu: int = 1
    budget_min: float | None = None  # minutes after which a sweep stops, everything resumable
    deterministic: bool = False  # on a GPU: the same bits every time, slower
    cuda_graphs: bool = True  # on a GPU: record the step once and replay it; false: the plain step
    tensorboard: bool = True
    save_weights: bool = False  # keep the weights after the last epoch: for `lossbench evaluate`, Python, `warm_start`
    class_trace: bool = False  # keep class means and gradient norms by class of every epoch
    experiment: str | None = None  # what the run was made for; kept in its record
    profile: str | None = None  # likewise
    num_seeds: int | None = None  # likewise

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
    """A run, whole."""

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
    """Name of a run: words for people and a hash of all that can change a number."""
    return name_of(asdict(config), NUMERICS)


def name_of(config: Mapping[str, Any], numerics: int) -> str:
    """Name of the run that a config, as a plain mapping, describes under the given `NUMERICS`."""
    identity = {key: canonical(config[key]) for key in IDENTITY} | {"numerics": numerics}
    if config.get("plugins"):
        identity["plugins"] = canonical(config["plugins"])
    identity["dataset"].pop("path", None)  # where a file lies; what is in it, its sha256 says
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    words = (config["dataset"]["name"], config["model"]["name"], config["loss"]["name"], f"s{config['seed']}", digest)
    return "-".join(words)


def canonical(value: Any) -> Any:
    """The same value in the one form that is hashed: numbers as floats (1 is 1.0), no keys that are None."""
    if isinstance(value, Mapping):
        return {key: canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) + 0.0  # -0.0 is 0.0
    return value
