"""Probabilities of a trained network: maps from logits, proper scores, calibration error and reliability.

Softmax gives each image K probabilities that sum to 1; those of one-vs-all sigmoids need not, and can be normalised:

    softmax               exp(z_k) / sum over j of exp(z_j)
    sigmoid               1 / (1 + exp(-z_k)), one classifier for each class
    shifted               the sigmoid of z_k - log(K - 1)
    sigmoid_normalised    the K sigmoids divided by their sum
    shifted_normalised    the K shifted sigmoids divided by their sum
    own                   the loss's own, `LossConfig.probabilities`

If the probabilities sum to 1, NLL is -log p_y; otherwise it is the sum of the K binary cross-entropies. Brier is the
sum over k of (p_k - [k = y])^2. The prediction is the class with the highest logit, the confidence its probability.

A loss's own map can give a probability of exactly 0, where -log p_y is infinite. In its NLL, p_y below `FLOOR` counts
as `FLOOR`; the share of images with p_y = 0 is kept beside it.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, log_softmax, logsumexp

from lossbench.config.options import LossConfig
from lossbench.config.registry import LOSSES, Map

Floats = NDArray[np.float64]

NUM_BINS = 15
"""Number of bins of confidence: of equal width from 0 to 1, each including its upper end, or of equal count."""

TEMPERATURES = (0.05, 20.0)
"""Range of a fitted temperature."""

FLOOR = 1e-12
"""Smallest probability of the true class that counts in the NLL of a loss's own map."""

OwnMap = Callable[[Floats], Floats]
"""A loss's own map, from logits [N, K] to probabilities [N, K]."""

MOST_CLASSES = 100
"""No temperature is fitted for more classes than this."""


@dataclass(frozen=True)
class Scores:
    """Scores of the probabilities of a run's test images, kept in its record."""

    nll: float  # negative log-likelihood, nats per image
    brier: float
    ece: float  # expected calibration error: mean over images of |accuracy - confidence| of the image's bin
    adaptive_ece: float  # the same with bins of equal count
    overconfidence: float  # mean confidence minus accuracy


@dataclass(frozen=True)
class Calibration:
    """Scores of a run's test images, and its reliability by bin of confidence."""

    scores: Scores
    counts: NDArray[np.int64]  # images, [NUM_BINS]
    confidence: Floats  # mean, [NUM_BINS]; nan in an empty bin
    accuracy: Floats  # likewise


@dataclass(frozen=True)
class Tempered:
    """Probabilities of each half of the images by the map and temperature that fit the other half best."""

    p: Floats  # [N, K]
    maps: tuple[Map, Map]  # chosen on the images with even index, and on those with odd index
    temperatures: tuple[float, float]  # likewise


def own_map(loss: LossConfig, num_classes: int, class_counts: np.ndarray | None = None) -> OwnMap | None:
    """A loss's own map from logits to probabilities; None: it has none with these options, or without class sizes.

    Args:
        loss: the loss's options.
        num_classes: K.
        class_counts: training samples of each class, [K]; None: not known.
    """
    counts = None if class_counts is None else np.asarray(class_counts, np.float64)
    if loss.probabilities(np.zeros((1, num_classes)), counts) is None:
        return None

    def probabilities(logits: Floats) -> Floats:
        found = loss.probabilities(logits, counts)
        assert found is not None
        return found

    return probabilities


def log_probabilities(logits: np.ndarray, name: Map, temperature: float = 1.0, own: OwnMap | None = None) -> Floats:
    """Logarithms of a map's probabilities, [N, K]; logits are divided by the temperature after any shift.

    Raises:
        ValueError: the map is "own" and not given.
    """
    z = np.asarray(logits, np.float64)
    if name == "own":
        if own is None:
            raise ValueError("the map own needs the loss's options; give its own_map")
        with np.errstate(divide="ignore"):
            of_own: Floats = np.log(own(z / temperature))
        return of_own
    if name.startswith("shifted"):
        z = z - math.log(max(z.shape[1] - 1, 1))
    z = z / temperature
    if name == "softmax":
        found: Floats = log_softmax(z, axis=1)
        return found
    logs: Floats = log_expit(z)
    return logs - logsumexp(logs, axis=1, keepdims=True) if name.endswith("normalised") else logs


def calibration(logits: np.ndarray, labels: np.ndarray, name: Map, own: OwnMap | None = None) -> Calibration:
    """Scores and reliability of a map's probabilities.

    Args:
        logits: finite, [N, K].
        labels: classes in 0..K-1, integers [N], N >= 1.
        name: the map.
        own: the loss's own map, for "own".
    """
    logits, rows = np.asarray(logits, np.float64), np.arange(len(labels))
    log_p = log_probabilities(logits, name, own=own)
    nll = _nll(log_p, labels, name)
    if name in ("sigmoid", "shifted"):  # add the other classifiers' cross-entropies; log(1 - p) is log_expit(-z)
        z = logits - (math.log(max(logits.shape[1] - 1, 1)) if name == "shifted" else 0.0)
        others = log_expit(-z)
        nll = nll - others.sum(axis=1) + others[rows, labels]
    return _calibration(np.exp(log_p), float(nll.mean()), logits.argmax(axis=1), labels)


def scores_of(p: Floats, nll: float, predicted: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores of probabilities.

    Args:
        p: of the images, [N, K].
        nll: their negative log-likelihood, nats per image.
        predicted: the predicted classes, integers [N].
        labels: the true ones.
    """
    return _calibration(p, nll, predicted, labels).scores


def _nll(log_p: Floats, labels: np.ndarray, name: Map) -> Floats:
    """-log p_y of each image, [N], with the floor of `FLOOR` for a loss's own map."""
    own = log_p[np.arange(len(labels)), labels]
    found: Floats = -np.maximum(own, math.log(FLOOR)) if name == "own" else -own
    return found


def _calibration(p: Floats, nll: float, predicted: np.ndarray, labels: np.ndarray) -> Calibration:
    rows = np.arange(len(labels))
    confidence, right = p[rows, predicted], (predicted == labels).astype(np.float64)
    squares = (p**2).sum(axis=1) - 2 * p[rows, labels] + 1
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(bins, values, NUM_BINS) / counts for values in (confidence, right)]
    ece = np.nansum(counts * np.abs(means[1] - means[0])) / len(labels)
    scores = Scores(
        nll,
        float(squares.mean()),
        float(ece),
        _adaptive_ece(confidence, right),
        float(confidence.mean() - right.mean()),
    )
    return Calibration(scores, counts, *means)


def _adaptive_ece(confidence: Floats, right: Floats) -> float:
    """Calibration error over bins of equal count (to within one image); ties are ordered by image."""
    order = np.argsort(confidence, kind="stable")
    gaps = [abs(float((right[part] - confidence[part]).sum())) for part in np.array_split(order, NUM_BINS) if len(part)]
    return sum(gaps) / len(right)


def tempered(logits: np.ndarray, labels: np.ndarray, maps: Sequence[Map], own: OwnMap | None = None) -> Tempered:
    """Probabilities after temperature scaling, cross-fitted between the images with even and with odd index.

    On each half, the map and the temperature with the lowest NLL are chosen; they give the other half's probabilities.

    Args:
        logits: finite, [N, K], N >= 2.
        labels: classes in 0..K-1, integers [N].
        maps: candidates, whose probabilities sum to 1.
        own: the loss's own map, for "own".
    """
    logits, p = np.asarray(logits, np.float64), np.zeros(logits.shape)
    chosen: list[tuple[Map, float]] = []
    for half in (0, 1):
        fitted = [(*_fit(logits[half::2], labels[half::2], name, own), name) for name in maps]
        _, temperature, name = min(fitted, key=lambda one: one[0])
        p[1 - half :: 2] = np.exp(log_probabilities(logits[1 - half :: 2], name, temperature, own))
        chosen.append((name, temperature))
    (first, second) = chosen
    return Tempered(p, (first[0], second[0]), (first[1], second[1]))


def _fit(logits: Floats, labels: np.ndarray, name: Map, own: OwnMap | None) -> tuple[float, float]:
    """The lowest NLL over temperatures, and its temperature."""
    from scipy.optimize import minimize_scalar  # here, since only this needs it, and it is slow to import

    def nll(log_temperature: float) -> float:
        log_p = log_probabilities(logits, name, math.exp(log_temperature), own)
        return float(_nll(log_p, labels, name).mean())

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(found.fun), math.exp(float(found.x))


def scores(
    logits: np.ndarray, labels: np.ndarray, loss: LossConfig | str, class_counts: np.ndarray | None = None
) -> dict[str, dict[str, Any]]:
    """Scores of a run's logits, as its record keeps them: through each map of its loss, and after temperature scaling.

    Args:
        logits: finite, [N, K], as in `arrays.npz` (half precision).
        labels: classes in 0..K-1, integers [N].
        loss: the loss's options; its name alone leaves out its own map.
        class_counts: training samples of each class, [K], which some losses' own maps need; None: not known.

    Returns:
        Scores by map; "own" also has `zeros`, the share of images whose class has probability 0, and is left out where
        the loss has no own map. The entry "tempered" also has the chosen maps and temperatures; it is left out for more
        than `MOST_CLASSES` classes or fewer than 2 images.
    """
    logits, rows = np.asarray(logits, np.float64), np.arange(len(labels))
    name = loss if isinstance(loss, str) else loss.name
    maps: tuple[Map, ...] = LOSSES[name].maps if name in LOSSES else ("softmax",)
    own = own_map(loss, logits.shape[1], class_counts) if isinstance(loss, LossConfig) and "own" in maps else None
    if own is None:
        maps = tuple(one for one in maps if one != "own")
    found: dict[str, dict[str, Any]] = {one: asdict(calibration(logits, labels, one, own).scores) for one in maps}
    if own is not None:
        found["own"]["zeros"] = float((own(logits)[rows, labels] == 0).mean())
    if len(labels) >= 2 and logits.shape[1] <= MOST_CLASSES:
        best = tempered(logits, labels, [one for one in maps if one not in ("sigmoid", "shifted")], own)
        with np.errstate(divide="ignore"):
            of_label = -np.log(best.p[rows, labels])
        if "own" in best.maps:
            of_label = np.minimum(of_label, -math.log(FLOOR))
        of_best = _calibration(best.p, float(of_label.mean()), logits.argmax(axis=1), labels).scores
        found["tempered"] = asdict(of_best) | {"maps": list(best.maps), "temperatures": list(best.temperatures)}
    return found


def scored(
    logits: np.ndarray, labels: np.ndarray, loss: LossConfig | str, class_counts: np.ndarray | None = None
) -> dict[str, Any]:
    """The fields of a record that come from a run's logits: `scores`, and a digest of the labels used for them."""
    return {"scores": scores(logits, labels, loss, class_counts), "test_labels_sha256": labels_sha256(labels)}


def labels_sha256(labels: np.ndarray) -> str:
    """SHA-256 of true classes [N] as little-endian int64."""
    return hashlib.sha256(np.asarray(labels).astype("<i8").tobytes()).hexdigest()
