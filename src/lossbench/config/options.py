"""Options that all data sets, all networks or all losses share; each adds its own options in its own file."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Generator, Tensor, nn

    Floats = NDArray[np.float64]

    Loss = Callable[..., Tensor]
    """(logits [B, K], target [B]) -> scalar in nats; with `needs="features"`: (features [B, F], head, target)."""

Shape = tuple[int, ...]
"""Shape of one input: channels, height and width of an image, or the length of a text or vector."""


class Words(StrEnum):
    """The words that an option can be; a function that takes one as text looks it up here, `Reduction("mean")`."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        name = re.sub(r"(?<!^)(?=[A-Z])", " ", cls.__name__).lower()
        *others, last = cls
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, got {value!r}")


class Imbalance(Words):
    """Kinds of deliberate imbalance of a training set (data/imbalance.py)."""

    step = "step"  # half of the classes keep one sample in `imbalance_ratio`
    long_tail = "long_tail"  # from all of the first class down to one in `imbalance_ratio` of the last


class Normalization(Words):
    """Normalisation of the network's input, pixels in 0..1."""

    mnist = "mnist"  # 0.1307 and 0.3081, as in PyTorch's public MNIST example
    dataset = "dataset"  # mean and standard deviation of the training images, per channel
    none = "none"  # pixels stay in 0..1


class Init(Words):
    """Initial weights."""

    default = "default"  # PyTorch's own for each layer
    he_fan_out = "he_fan_out"  # He et al. 2015 for convolutions, N(0, 0.01) for linear layers; as in torchvision


class Reduction(Words):
    """Reduction of the B x K terms of a one-vs-all loss to one number."""

    mean = "mean"  # over batch and classes
    sum_classes = "sum_classes"  # mean over the batch, sum over classes


class ClassWeights(Words):
    """Weights of samples by the size of their class (losses/weighting.py)."""

    inverse = "inverse"
    sqrt_inverse = "sqrt_inverse"
    effective = "effective"  # the effective number of samples


def require(condition: bool, key: str, rule: str, value: object) -> None:
    """Raise a ValueError that names an option, its rule and the value, unless the condition holds."""
    if not condition:
        raise ValueError(f"{key} must be {rule}, got {value}")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a data set, known before its samples are read."""

    num_train: int
    num_test: int
    shape: Shape
    num_classes: int


@dataclass
class DatasetConfig:
    """Options of a data set: inputs that have a class each."""

    name: str = "???"
    num_train: int | None = None  # the first n of a fixed stratified permutation; None: all
    num_validation: int | None = None  # number of training samples held out and used as the test set; None: none
    classes: list[int] | None = None  # only these, renumbered 0, 1, ... in this order; None: all
    imbalance: Imbalance | None = None  # of the training samples; None: unchanged
    imbalance_ratio: float | None = None  # of the largest class to the smallest, > 1; with `imbalance`
    label_noise: float | None = None  # fraction of training samples with a random wrong label, in (0, 1); None: none
    label_shift: int | None = None  # added to every training label, modulo the number of classes; None: none

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    """Metrics of runs on it, names in `lossbench.training.metrics.METRICS`; must contain "accuracy"."""

    gives: ClassVar[str] = "words"
    """What its inputs are: "images", uint8 [N, C, H, W]; "words", integers [N, L]; or "vectors", floats [N, F]."""

    is_cached: ClassVar[bool] = True
    """Whether what `read` returns is kept on disk; false where it is made as fast as it is loaded."""

    def __post_init__(self) -> None:
        require(self.name in self.names(), "dataset.name", " or ".join(self.names()), self.name)
        for key, number in (("num_train", self.num_train), ("num_validation", self.num_validation)):
            require(number is None or number >= 1, f"dataset.{key}", "null or >= 1", number)
        chosen = self.classes
        valid = chosen is None or (len(chosen) >= 2 and len(set(chosen)) == len(chosen) and min(chosen) >= 0)
        require(valid, "dataset.classes", "null or two classes or more, each once", chosen)
        ratio = self.imbalance_ratio
        if self.imbalance is None:
            require(ratio is None, "dataset.imbalance_ratio", "null without dataset.imbalance", ratio)
        else:
            valid = ratio is not None and 1 < ratio < float("inf")
            require(valid, "dataset.imbalance_ratio", "> 1 and finite with dataset.imbalance", ratio)
        noise, shift = self.label_noise, self.label_shift
        require(noise is None or 0 < noise < 1, "dataset.label_noise", "null or in (0, 1)", noise)
        require(shift is None or shift >= 1, "dataset.label_shift", "null or >= 1", shift)
        padding = getattr(self, "crop_padding", 0)
        require(0 <= padding <= 16, "dataset.crop_padding", "in 0..16", padding)

    def names(self) -> tuple[str, ...]:
        """The names that `name` may take: one, unless several data sets share these options."""
        return (type(self).name,)

    def sizes(self) -> Sizes:
        """Sizes of the full data set, before a subset is taken, without reading more than labels and headers.

        Raises:
            ValueError: the file is no data set.
        """
        raise NotImplementedError

    def sizes_of(self, classes: Sequence[int]) -> tuple[int, int]:
        """Numbers of training and test samples of some classes; as here, of classes of equal size."""
        full = self.sizes()
        train, test = (number * len(classes) // full.num_classes for number in (full.num_train, full.num_test))
        return train, test

    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes in the order of their labels; None: the classes have no names."""
        return None

    def variant(self) -> str:
        """Distinguishes cached data sets of the same name, such as different image sizes."""
        return "published"

    def read(self, runtime: Any) -> "Mapping[str, Any]":
        """The full data set as NumPy arrays: train_images, train_labels, test_images, test_labels.

        Args:
            runtime: the run's `Runtime`: where the files are, and whether they may be downloaded.

        Raises:
            ValueError: the files are missing or wrong.
        """
        raise NotImplementedError

    def log_posterior(self) -> "Callable[[NDArray[Any]], Floats] | None":
        """The true posterior, where it is known: from inputs [N, ...] as `read` returns them to log P(k | x).

        Returns:
            A function to float64 [N, K], K the classes of the full data set; None: it is not known.
        """
        return None


TRAINING_ONLY = (
    *("num_train", "imbalance", "imbalance_ratio", "label_noise", "label_shift"),
    *("normalization", "augment", "crop_padding"),
)
"""Options of data sets that change no test samples once a network is trained: its normalisation is kept with it."""


@dataclass
class ImageDataset(DatasetConfig):
    """Options of a data set of images, uint8 [N, C, H, W]."""

    gives: ClassVar[str] = "images"

    normalization: Normalization = Normalization.mnist


@dataclass
class ModelConfig:
    """Options of a network."""

    name: str = "???"
    init: Init = Init.default
    init_seed: int | None = None  # of the initial weights only, not of the samples' order; None: the run's seed

    reads: ClassVar[str | tuple[str, ...] | None] = None
    """What it can read, one or several of "images", "words" and "vectors"; None: not said, and not checked."""

    def __post_init__(self) -> None:
        require(self.name == type(self).name, "model.name", type(self).name, self.name)
        valid = self.init_seed is None or 0 <= self.init_seed < 2**31
        require(valid, "model.init_seed", "null or in 0..2147483647", self.init_seed)

    def smallest_side(self) -> int:
        """Smallest height and width of an image, in pixels, that the network's layers can process."""
        return 1

    def build(self, shape: Shape, num_classes: int) -> "nn.Module":
        """The network on the CPU, from inputs [B, *shape] to logits [B, num_classes], given by its last linear layer.

        Its weights are drawn again afterwards, according to `init`.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class TrainingClasses:
    """Facts about the training samples that a loss may use.

    Args:
        num_classes: K.
        counts: training samples of each class, int64 [K], on the device of the logits.
        weights: class weights by `loss.class_weights`, lambda_k of Eq. 1, float64 [K]; None: all classes count equally.
        draws: generator of a loss's random draws, on the device of the logits, seeded anew in each epoch; None: that of
            PyTorch.
    """

    num_classes: int
    counts: "Tensor"
    weights: "Tensor | None" = None
    draws: "Generator | None" = None


@dataclass
class LossConfig:
    """Options of a loss."""

    name: str = "???"
    scale: float = 1.0  # factor on the loss, > 0; without weight decay the same as a factor on lr
    class_weights: ClassWeights | None = None  # None: all classes count equally

    takes_class_weights: ClassVar[bool] = False
    """Whether `build` uses `TrainingClasses.weights`; if not, loss.class_weights is refused."""

    needs: ClassVar[str] = "logits"
    """Arguments of the loss: "logits" for logits and target, "features" for features, output layer and target."""

    def __post_init__(self) -> None:
        require(self.name == type(self).name, "loss.name", type(self).name, self.name)
        require(0 < self.scale < float("inf"), "loss.scale", "> 0 and finite", self.scale)
        valid = self.class_weights is None or self.takes_class_weights
        require(
            valid, "loss.class_weights", f"null for loss={self.name}, which takes no class weights", self.class_weights
        )

    def check_classes(self, num_classes: int) -> None:
        """Checks the options against the number of classes, K, before anything is trained.

        Raises:
            ValueError: they do not fit.
        """

    def build(self, classes: TrainingClasses) -> "Loss":
        """The loss as a function of logits [B, K] and target [B], without `scale`."""
        raise NotImplementedError

    def probabilities(self, logits: "Floats", class_counts: "Floats | None") -> "Floats | None":
        """The posterior according to logits of the loss's minimiser, where it is not the usual map; None: no such map.

        A loss that defines this method has the map "own"; losses without it are read by softmax or sigmoids. Class
        weights are not taken out: with them the posterior is that of the weighted classes.

        Args:
            logits: float64 [N, K].
            class_counts: training samples of each class, [K]; None: not known.

        Returns:
            Probabilities, float64 [N, K], that sum to 1; zeros are allowed. None: the options, or unknown class sizes,
            leave none.
        """
        return None

    def as_read(self, logits: "Tensor") -> "Tensor":
        """Logits [N, K] as they are read where a network is evaluated; the prediction is the largest of them.

        They differ from the network's logits only for a loss that has the same value at other logits.
        """
        return logits

    def num_columns(self, num_classes: int, num_features: int, batch_size: int) -> float:
        """Classes whose logits a step computes, for estimates of its cost: all, unless a loss of features says less.

        A loss whose cost grows otherwise gives the number of classes for which the output layer would cost as much.

        Args:
            num_classes: K.
            num_features: inputs of the output layer.
            batch_size: samples in a step.
        """
        return num_classes

    def output_layer(self, num_features: int, num_classes: int) -> "nn.Module | None":
        """An output layer in place of the network's, from features [B, F] to logits [B, K]; None: the network's stays.

        For losses with `needs="features"` alone.
        """
        return None

    def prior_logits(self, class_counts: "Tensor") -> "Tensor":
        """Logits whose probabilities, by the map inside the loss, are the class shares: where output biases may begin.

        For softmax log(share), for one classifier for each class log(share / (1 - share)); a class without samples
        counts as one sample.

        Args:
            class_counts: training samples of each class, [K].

        Returns:
            float64 [K].
        """
        from lossbench.config.registry import LOSSES

        counts = class_counts.double().clamp_min(1)
        share = counts / counts.sum()
        return share.logit() if LOSSES[self.name].probabilities == "sigmoid" else share.log()

    def trace(self, means: "Tensor", present: "Tensor") -> "dict[str, Tensor]":
        """Diagnostics of an epoch to keep in the run's trace, by name: vectors [K] or matrices [K, K].

        Args:
            means: mean probability of class k over the test samples of class j, float64 [K, K] (row j, column k), by
                the loss's own map from logits to probabilities; 0 in the rows of absent classes.
            present: which classes have test samples, bool [K].
        """
        return {}
