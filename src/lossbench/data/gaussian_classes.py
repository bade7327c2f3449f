"""Gaussian classes: a synthetic task of many classes whose posterior is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lossbench.config.options import DatasetConfig, Sizes, Words, require
from lossbench.config.registry import register_dataset

if TYPE_CHECKING:
    from lossbench.config.options import Floats

MEANS, TRAIN_LABELS, TRAIN_NOISE, TEST_LABELS, TEST_NOISE = range(5)
"""Streams of random numbers, so that no number of samples or classes changes another part."""

LARGEST = 2**31
"""Numbers that the training inputs may have at most, 8 GB."""


class Frequencies(Words):
    """Frequencies pi_k of the classes k = 0..K-1."""

    zipf = "zipf"  # proportional to 1 / (k + 1)
    uniform = "uniform"  # all the same


@register_dataset(label="Gaussian classes")
@dataclass
class GaussianClasses(DatasetConfig):
    """Normal inputs x around the mean of their class, x | y=k ~ N(mu_k, I), whose posterior is known.

    The means are drawn from N(0, separation^2 I). The posterior is the softmax of log pi_k + mu_k.x - |mu_k|^2 / 2: it
    is log-linear in x, so that `model=linear` can represent it.
    """

    name: str = "gaussian_classes"
    num_classes: int = 10_000  # K, in the order of frequency
    dims: int = 16  # length of an input
    frequencies: Frequencies = Frequencies.zipf
    separation: float = 0.7  # standard deviation of the class means in each dimension; that of the inputs is 1
    num_samples: int = 500_000  # training samples
    num_test: int = 10_000  # test samples
    data_seed: int = 0  # of means and samples; the run's seed does not change them

    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "top5_accuracy", "perplexity", "mrr", "ndcg10")
    gives: ClassVar[str] = "vectors"
    is_cached: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.num_classes <= 100_000, "dataset.num_classes", "in 2..100000", self.num_classes)
        require(1 <= self.dims <= 1024, "dataset.dims", "in 1..1024", self.dims)
        require(0 < self.separation <= 100, "dataset.separation", "in (0, 100]", self.separation)
        most = LARGEST // self.dims
        for key, number in (("num_samples", self.num_samples), ("num_test", self.num_test)):
            require(1 <= number <= most, f"dataset.{key}", f"in 1..{most} with dataset.dims={self.dims}", number)
        require(0 <= self.data_seed < 2**31, "dataset.data_seed", "in 0..2147483647", self.data_seed)

    def sizes(self) -> Sizes:
        """As the options say."""
        return Sizes(self.num_samples, self.num_test, (self.dims,), self.num_classes)

    def variant(self) -> str:
        """All options that change a number."""
        kind = f"{self.num_classes}-{self.dims}-{self.frequencies}-{self.separation:g}"
        return f"{kind}-{self.num_samples}-{self.num_test}-{self.data_seed}"

    def _random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.data_seed, stream])

    def means(self) -> "Floats":
        """The class means, float64 [K, dims]; those of fewer classes are the first of these."""
        drawn = self._random(MEANS).standard_normal((self.num_classes, self.dims))
        found: Floats = (self.separation * drawn).astype(np.float32).astype(np.float64)  # as the inputs are made
        return found

    def shares(self) -> "Floats":
        """The frequencies pi_k, float64 [K], which sum to 1."""
        sizes = np.ones(self.num_classes)
        if self.frequencies is Frequencies.zipf:
            sizes /= np.arange(1, self.num_classes + 1)
        found: Floats = sizes / sizes.sum()
        return found

    def sizes_of(self, classes: Sequence[int]) -> tuple[int, int]:
        """Numbers of training and test samples of some classes, counted."""
        streams = (self.num_samples, TRAIN_LABELS), (self.num_test, TEST_LABELS)
        train, test = (int(np.isin(self._labels(number, stream), classes).sum()) for number, stream in streams)
        return train, test

    def _labels(self, number: int, stream: int) -> np.ndarray:
        """The first labels of a split, integers [number]."""
        ends = self.shares().cumsum()
        return np.searchsorted(ends[:-1], self._random(stream).random(number), side="right")

    def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
        """Inputs, float32 [N, dims], and labels, int32 [N], drawn anew, always the same.

        A set with more samples begins with those of one with fewer.
        """
        means = self.means().astype(np.float32)
        arrays: dict[str, np.ndarray] = {}
        for split, number, labels_of, noise_of in (
            ("train", self.num_samples, TRAIN_LABELS, TRAIN_NOISE),
            ("test", self.num_test, TEST_LABELS, TEST_NOISE),
        ):
            labels = self._labels(number, labels_of)
            inputs = self._random(noise_of).standard_normal((number, self.dims), dtype=np.float32)
            inputs += means[labels]
            arrays |= {f"{split}_images": inputs, f"{split}_labels": labels.astype(np.int32)}
        return arrays

    def log_posterior(self) -> "Callable[[np.ndarray], Floats]":
        """Log P(k | x): log pi_k + mu_k.x - |mu_k|^2 / 2 less the logarithm of the sum of its exponentials."""
        means = self.means()
        weights = np.ascontiguousarray(means.T)  # [dims, K]
        biases = np.log(self.shares()) - 0.5 * (means**2).sum(axis=1)

        def of_inputs(inputs: np.ndarray) -> "Floats":
            scores: Floats = inputs.astype(np.float64) @ weights
            scores += biases
            scores -= scores.max(axis=1, keepdims=True)
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
            return scores

        return of_inputs
