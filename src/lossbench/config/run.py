"""What is this run, and what is it called?

One dataclass a choice, each the schema of a YAML file under `conf/`. The dataclasses hold the defaults for Python; a
test composes every YAML and finds the same values there.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lossbench import NUMERICS
from lossbench.config.words import (
    ClassWeights,
    Counts,
    Head,
    Imbalance,
    Init,
    LglReduction,
    Missing,
    Normalization,
    Padding,
    Precision,
    Profile,
    Selection,
)
from lossbench.system.files import expanded, sha256_of

IDENTITY = ("dataset", "model", "loss", "schedule", "seed")
"""The keys of a config that can change a number; `runtime` cannot, beyond rounding."""


def _require(condition: bool, key: str, rule: str, value: object) -> None:
    if not condition:
        raise ValueError(f"{key} must be {rule}, got {value}")


@dataclass
class DatasetConfig:
    """A data set."""

    name: str = "???"
    num_train: int | None = None  # the first n of a fixed stratified permutation; None: all
    normalization: Normalization = Normalization.mnist
    num_validation: int | None = None  # so many training images, held out, stand for the test images; None: none do
    classes: list[int] | None = None  # these alone, numbered anew in this order; None: all
    imbalance: Imbalance | None = None  # of the training images; None: as they are
    imbalance_ratio: float | None = None  # of the largest class to the smallest, > 1; with `imbalance`

    def __post_init__(self) -> None:
        _require(self.name in self._names(), "dataset.name", " or ".join(self._names()), self.name)
        for key, number in (("num_train", self.num_train), ("num_validation", self.num_validation)):
            _require(number is None or number >= 1, f"dataset.{key}", "null or >= 1", number)
        chosen = self.classes
        valid = chosen is None or (len(chosen) >= 2 and len(set(chosen)) == len(chosen) and min(chosen) >= 0)
        _require(valid, "dataset.classes", "null or two classes or more, each once", chosen)
        ratio = self.imbalance_ratio
        if self.imbalance is None:
            _require(ratio is None, "dataset.imbalance_ratio", "null without dataset.imbalance", ratio)
        else:
            valid = ratio is not None and 1 < ratio < float("inf")
            _require(valid, "dataset.imbalance_ratio", "> 1 and finite with dataset.imbalance", ratio)
        padding = getattr(self, "crop_padding", 0)
        _require(0 <= padding <= 16, "dataset.crop_padding", "in 0..16", padding)

    def _names(self) -> tuple[str, ...]:
        return (type(self).name,)


@dataclass
class MnistType(DatasetConfig):
    """MNIST, Fashion-MNIST or KMNIST: 60,000 + 10,000 gray images of 28 x 28, ten classes."""

    name: str = "mnist"

    def _names(self) -> tuple[str, ...]:
        return ("mnist", "fmnist", "kmnist")


@dataclass
class Cifar10(DatasetConfig):
    """CIFAR-10: 50,000 + 10,000 colour images of 32 x 32, ten classes."""

    name: str = "cifar10"
    normalization: Normalization = Normalization.dataset
    augment: bool = True  # random crop and horizontal flip
    crop_padding: int = 4  # pixels


@dataclass
class Digits(DatasetConfig):
    """scikit-learn's 1,797 real 8 x 8 digits, enlarged: 1,497 to train and 300 to test. Needs no network."""

    name: str = "digits"
    normalization: Normalization = Normalization.dataset
    image_shape: list[int] = field(default_factory=lambda: [1, 28, 28])  # channels, height, width
    augment: bool = False
    crop_padding: int = 4  # pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = self.image_shape
        valid = len(shape) == 3 and shape[0] in (1, 3) and all(8 <= side <= 224 for side in shape[1:])
        _require(valid, "dataset.image_shape", "[1 or 3, height, width] with sides in 8..224", shape)


@dataclass
class Npz(DatasetConfig):
    """Images and labels of one's own in a NumPy .npz file; docs/data.md says what it has to hold."""

    name: str = "npz"
    normalization: Normalization = Normalization.dataset
    path: str | None = None  # of the file; no part of a run's name
    sha256: str | None = None  # of the file, and so in its place in the name; None: what is found at `path`
    augment: bool = False
    crop_padding: int = 4  # pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(bool(self.path), "dataset.path", "the .npz file with images and labels, such as my.npz", self.path)
        self.path = expanded(str(self.path), "dataset.path")
        if self.sha256 is None:
            _require(Path(self.path).is_file(), "dataset.path", "a file that is there", self.path)
            self.sha256 = sha256_of(Path(self.path))
        valid = len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef")
        _require(valid, "dataset.sha256", "null or 64 digits 0-9a-f", self.sha256)


@dataclass
class ModelConfig:
    """A network."""

    name: str = "???"
    init: Init = Init.default
    init_seed: int | None = None  # of the initial weights, so that the run's is of the order alone; None: the run's

    def __post_init__(self) -> None:
        _require(self.name == type(self).name, "model.name", type(self).name, self.name)
        valid = self.init_seed is None or 0 <= self.init_seed < 2**31
        _require(valid, "model.init_seed", "null or in 0..2147483647", self.init_seed)


@dataclass
class Cnn2c(ModelConfig):
    """CNN2C of Table 2: two convolutions; 431,080 parameters for ten classes, 33,580 with the direct head."""

    name: str = "cnn2c"
    head: Head = Head.hidden


@dataclass
class Cnn5c(ModelConfig):
    """CNN5C of Table 2: five convolutions, three of them batch-normalised; 1,573,834 parameters for ten classes."""

    name: str = "cnn5c"
    padding: Padding = Padding.first


@dataclass
class MobileNetV2(ModelConfig):
    """MobileNetV2 for 32 x 32 images, as the public implementation of 2019; 2,296,922 parameters for ten classes."""

    name: str = "mobilenetv2"


@dataclass
class ResNet18(ModelConfig):
    """ResNet-18 with the CIFAR stem (3 x 3, stride 1, no pooling); 11,173,962 parameters for ten classes."""

    name: str = "resnet18"


@dataclass
class LossConfig:
    """A loss."""

    name: str = "???"
    scale: float = 1.0  # factor on the loss, > 0; without weight decay the same as a factor on lr

    def __post_init__(self) -> None:
        _require(self.name == type(self).name, "loss.name", type(self).name, self.name)
        _require(0 < self.scale < float("inf"), "loss.scale", "> 0 and finite", self.scale)


@dataclass
class Sml(LossConfig):
    """SML: softmax cross-entropy (Eq. 1)."""

    name: str = "sml"
    class_weights: ClassWeights | None = None  # None: all classes alike


@dataclass
class Lgl(LossConfig):
    """LGL: one-vs-all logistic loss."""

    name: str = "lgl"
    reduction: LglReduction = LglReduction.mean
    class_weights: ClassWeights | None = None  # None: all classes alike


@dataclass
class LglInr(LossConfig):
    """LGL-INR: one-vs-all logistic loss with re-weighted non-target classes (Eq. 11)."""

    name: str = "lgl_inr"
    beta: float = 1.0  # sharpness of the class weights, >= 0
    detach_weights: bool = False  # the weights count as constants in the gradient
    eps: float | None = None  # inside the logarithm, as the published code (1e-7); None: log-sigmoid
    counts: Counts = Counts.batch
    missing: Missing = Missing.drop
    reduction: LglReduction = LglReduction.sum_classes  # over the K classifiers

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(0 <= self.beta < float("inf"), "loss.beta", ">= 0 and finite", self.beta)
        _require(self.eps is None or 1e-30 <= self.eps < 0.1, "loss.eps", "null or in [1e-30, 0.1)", self.eps)


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

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "schedule.epochs", ">= 1", self.epochs)
        _require(self.batch_size >= 1, "schedule.batch_size", ">= 1", self.batch_size)
        _require(0 < self.lr < float("inf"), "schedule.lr", "> 0 and finite", self.lr)
        _require(0 <= self.momentum < 1, "schedule.momentum", "in [0, 1)", self.momentum)
        _require(0 <= self.weight_decay < float("inf"), "schedule.weight_decay", ">= 0 and finite", self.weight_decay)
        rising = sorted(set(self.milestones)) == list(self.milestones) and all(0 < m < 1 for m in self.milestones)
        _require(rising, "schedule.milestones", "rising fractions of the epochs, each in (0, 1)", self.milestones)
        _require(0 < self.gamma <= 1, "schedule.gamma", "in (0, 1]", self.gamma)
        _require(not self.nesterov or self.momentum > 0, "schedule.momentum", "> 0 with nesterov", self.momentum)

    def lr_at(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 1."""
        passed = sum(epoch - 1 >= round(fraction * self.epochs, 6) for fraction in self.milestones)  # 0.29 * 100 is 29
        return self.lr * self.gamma**passed


def paper_schedule(dataset: str) -> Schedule:
    """The paper's schedule for a data set, as in `conf/schedule/<dataset>.yaml`."""
    if dataset == "cifar10":
        return Schedule(epochs=100, lr=0.1, momentum=0.9, weight_decay=1e-4, milestones=[0.5, 0.75])
    return Schedule()


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
    class_trace: bool = False  # keep class means and gradient norms by class of every epoch
    experiment: str | None = None  # what the run was made for; kept in its record
    profile: str | None = None  # likewise
    num_seeds: int | None = None  # likewise

    def __post_init__(self) -> None:
        valid = self.num_threads is None or 1 <= self.num_threads <= 1024
        _require(valid, "runtime.num_threads", "null or in 1..1024", self.num_threads)
        valid = self.parallel == "auto" or (isinstance(self.parallel, int) and self.parallel >= 1)
        _require(valid, "runtime.parallel", "auto or >= 1", self.parallel)
        _require(self.runs_per_gpu >= 1, "runtime.runs_per_gpu", ">= 1", self.runs_per_gpu)
        _require(self.budget_min is None or self.budget_min > 0, "runtime.budget_min", "null or > 0", self.budget_min)
        self.output_dir = expanded(self.output_dir, "runtime.output_dir")
        self.data_dir = self.data_dir and expanded(self.data_dir, "runtime.data_dir")
        kind, _, index = self.device.partition(":")
        valid = self.device in ("auto", "cpu", "cuda") or (kind == "cuda" and index.isdigit())
        _require(valid, "runtime.device", "auto, cpu, cuda or cuda:<n>", self.device)


@dataclass
class Config:
    """A run, whole."""

    dataset: DatasetConfig
    model: ModelConfig
    loss: LossConfig
    schedule: Schedule
    seed: int = 0
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**31, "seed", "in 0..2147483647", self.seed)


@dataclass
class Reproduce:
    """What `scripts/reproduce.py` and `scripts/report.py` do."""

    profile: Profile = Profile.auto
    tables: list[int] = field(default_factory=lambda: [3, 4, 5])
    seeds: int | None = None  # runs a cell; None: the profile's
    dry: bool = False  # say what would be run, and run nothing
    selection: Selection = Selection.last
    results_dir: str | None = "results"  # committed records; they count as done. None: leave them out
    runtime: Runtime = field(default_factory=Runtime)

    def __post_init__(self) -> None:
        known = bool(self.tables) and all(table in (3, 4, 5) for table in self.tables)
        _require(known, "tables", "some of [3,4,5]", self.tables)
        _require(self.seeds is None or self.seeds >= 1, "seeds", "null or >= 1", self.seeds)
        self.results_dir = self.results_dir and expanded(self.results_dir, "results_dir")


MODELS = {"cnn2c": Cnn2c, "cnn5c": Cnn5c, "mobilenetv2": MobileNetV2, "resnet18": ResNet18}
LOSSES = {"lgl": Lgl, "sml": Sml, "lgl_inr": LglInr}


def run_id(config: Config) -> str:
    """Name of a run: words for people and a hash of all that can change a number."""
    return name_of(asdict(config), NUMERICS)


def name_of(config: Mapping[str, Any], numerics: int) -> str:
    """Name of the run that a config, as a plain mapping, describes under the given `NUMERICS`."""
    identity = {key: _canonical(config[key]) for key in IDENTITY} | {"numerics": numerics}
    identity["dataset"].pop("path", None)  # where a file lies; what is in it, its sha256 says
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    words = (config["dataset"]["name"], config["model"]["name"], config["loss"]["name"], f"s{config['seed']}", digest)
    return "-".join(words)


def _canonical(value: Any) -> Any:
    """The same value in the one form that is hashed: numbers as floats (1 is 1.0), no keys that are None."""
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) + 0.0  # -0.0 is 0.0
    return value
