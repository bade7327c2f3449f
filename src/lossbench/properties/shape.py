"""The shape of a loss as a function of the logits: derivatives at sampled points, kinks, margins, sums over targets.

A loss here is any function `loss(logits [B, K], target [B]) -> scalar` of torch that computes in the dtype of its
logits, float64. Second derivatives are differences of gradients, so that a function whose own second derivative is
missing or wrong is measured all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LossFunction = Callable[[Any, Any], Any]

SCALES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Standard deviations of sampled logits."""

FARTHEST = 100.0
"""Largest logit at which a Hessian is taken: differences of gradients lose digits with larger ones."""

STEP = 1e-5
"""Half of the distance of two gradients whose difference is a second derivative."""

MOST_MARGIN = 10.0
"""A larger margin is not looked for; a softmax comes near 0 but not to 0 at this distance."""


@dataclass(frozen=True)
class Batching:
    """How a loss combines the samples of a batch: by their mean, by their sum, or otherwise."""

    kind: str  # "mean", "sum" or "other"
    gap: float  # largest distance from the mean of the single losses, relative to it


def values(loss: LossFunction, logits: Floats, target: Ints) -> Floats:
    """The loss of each sample alone, [N]."""
    import torch

    z, y = torch.from_numpy(logits), torch.from_numpy(target)
    with torch.no_grad():
        return np.array([float(loss(z[i : i + 1], y[i : i + 1])) for i in range(len(y))])


def whole(loss: LossFunction, logits: Floats, target: Ints) -> tuple[float, Floats]:
    """The loss of a batch and its gradient, [N, K]."""
    import torch

    z = torch.from_numpy(np.ascontiguousarray(logits)).requires_grad_()
    value = loss(z, torch.from_numpy(target))
    (slope,) = torch.autograd.grad(value, z)
    return float(value.detach()), slope.double().numpy()


def gradients(loss: LossFunction, logits: Floats, target: Ints, batching: str = "mean") -> Floats:
    """The gradient of each sample's loss, [N, K], of a loss that is the mean or the sum over samples."""
    slope = whole(loss, logits, target)[1]
    return slope if batching == "sum" else slope * len(target)


def hessians(loss: LossFunction, logits: Floats, target: Ints, batching: str = "mean", step: float = STEP) -> Floats:
    """The Hessian of each sample's loss, [N, K, K]; wrong within `step` of a kink."""
    num_classes = logits.shape[1]
    columns = []
    for move in step * np.eye(num_classes):
        ahead, behind = (gradients(loss, logits + sign * move, target, batching) for sign in (1, -1))
        columns.append((ahead - behind) / (2 * step))
    found: Floats = np.stack(columns, axis=2)
    return (found + found.transpose(0, 2, 1)) / 2


def drawn(num_classes: int, number: int, random: np.random.Generator) -> tuple[Floats, Ints]:
    """Logits [N, K] of all `SCALES`, and classes [N]."""
    scale = np.resize(SCALES, number)[:, None]
    return scale * random.standard_normal((number, num_classes)), random.integers(num_classes, size=number)


def batching_of(loss: LossFunction, num_classes: int, random: np.random.Generator) -> Batching:
    """Whether the loss of a batch is the mean or the sum of the losses of its samples, tried on ten batches.

    Raises:
        ValueError: the loss is infinite or no number, or not in float64.
    """
    import torch

    example = loss(torch.zeros(2, num_classes, dtype=torch.float64), torch.arange(2))
    if example.dtype != torch.float64:
        said = f"returns {str(example.dtype).removeprefix('torch.')} for logits in float64"
        raise ValueError(f"the loss {said}; it must be computed in the dtype of its logits")
    gaps = {"mean": 0.0, "sum": 0.0}
    for _ in range(10):
        logits, target = (
            random.standard_normal((2 * num_classes, num_classes)),
            random.integers(num_classes, size=2 * num_classes),
        )
        alone, together = values(loss, logits, target), whole(loss, logits, target)[0]
        if not np.isfinite([*alone, together]).all():
            raise ValueError(f"the loss is not finite at logits drawn from a normal distribution, for K={num_classes}")
        for kind, expected in (("mean", alone.mean()), ("sum", alone.sum())):
            gaps[kind] = max(gaps[kind], abs(together - expected) / max(abs(expected), 1e-12))
    kind = next((kind for kind, gap in gaps.items() if gap < 1e-6), "other")
    return Batching(kind, gaps["mean"])


def largest_jump(loss: LossFunction, num_classes: int, batching: str, random: np.random.Generator) -> float:
    """The largest change of a sample's gradient over a distance of about 1e-8, found by halving 700 segments.

    It is relative to the largest gradient at their ends.
    """
    start, target = drawn(num_classes, 700, random)
    end = start + random.standard_normal(start.shape)
    at_start, at_end = (gradients(loss, z, target, batching) for z in (start, end))
    size = max(float(np.linalg.norm(slopes, axis=1).max()) for slopes in (at_start, at_end))
    for _ in range(28):
        middle = (start + end) / 2
        at_middle = gradients(loss, middle, target, batching)
        first = (np.linalg.norm(at_middle - at_start, axis=1) >= np.linalg.norm(at_end - at_middle, axis=1))[:, None]
        start, at_start = np.where(first, start, middle), np.where(first, at_start, at_middle)
        end, at_end = np.where(first, middle, end), np.where(first, at_middle, at_end)
    return float(np.linalg.norm(at_end - at_start, axis=1).max()) / max(size, 1e-300)


@dataclass(frozen=True)
class Curvature:
    """Extreme eigenvalues of a loss's Hessian over sampled logits, away from kinks.

    Args:
        number: of Hessians.
        least: smallest eigenvalue.
        least_at: its logits [K] and class.
        most: largest absolute value of an eigenvalue.
        turn: smallest (g(a) - g(b)) . (a - b) / |a - b|^2 over pairs of logits; negative: not convex.
    """

    number: int
    least: float
    least_at: tuple[Floats, int]
    most: float
    turn: float


def curvature(
    loss: LossFunction, num_classes: int, batching: str, random: np.random.Generator, number: int = 1400
) -> Curvature:
    """Curvature of a sample's loss, with a random search for both extremes after the first points."""
    found = [_extremes(loss, *drawn(num_classes, number, random), batching)]
    for _ in range(12):
        seeds = [
            (eigen.logits[i], eigen.target[i])
            for eigen in (_joined(found),)
            for i in {*np.argsort(eigen.least)[:20], *np.argsort(-eigen.most)[:20]}
        ]
        logits = np.repeat([z for z, _ in seeds], 8, axis=0)
        moves = np.resize([0.02, 0.1, 0.3, 1.0], len(logits))[:, None] * random.standard_normal(logits.shape)
        size = 0.1 + np.abs(logits).max(axis=1, keepdims=True)
        moved = (logits + size * moves).clip(-FARTHEST, FARTHEST)
        found.append(_extremes(loss, moved, np.repeat([y for _, y in seeds], 8).astype(np.int64), batching))
    eigen = _joined(found)
    worst = int(np.argmin(eigen.least))
    first, target = drawn(num_classes, 2800, random)
    second = first + np.resize([1e-3, 0.1, 1.0, 10.0], 2800)[:, None] * random.standard_normal(first.shape)
    change = gradients(loss, first, target, batching) - gradients(loss, second, target, batching)
    turn = ((change * (first - second)).sum(axis=1) / np.square(first - second).sum(axis=1)).min()
    at = (eigen.logits[worst], int(eigen.target[worst]))
    return Curvature(len(eigen.least), float(eigen.least[worst]), at, float(eigen.most.max()), float(turn))


@dataclass(frozen=True)
class _Eigenvalues:
    logits: Floats
    target: Ints
    least: Floats
    most: Floats


def _extremes(loss: LossFunction, logits: Floats, target: Ints, batching: str) -> _Eigenvalues:
    """Eigenvalues at the points where two step sizes agree on the Hessian."""
    wide, narrow = (hessians(loss, logits, target, batching, step) for step in (STEP, STEP / 4))
    size = 1 + np.abs(narrow).max(axis=(1, 2))
    smooth = np.abs(wide - narrow).max(axis=(1, 2)) < 1e-4 * size
    smooth[0] = True
    eigenvalues = np.linalg.eigvalsh(wide[smooth])
    return _Eigenvalues(logits[smooth], target[smooth], eigenvalues[:, 0], np.abs(eigenvalues).max(axis=1))


def _joined(parts: list[_Eigenvalues]) -> _Eigenvalues:
    names = ("logits", "target", "least", "most")
    return _Eigenvalues(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def batch_curvature(loss: LossFunction, num_classes: int, random: np.random.Generator, number: int = 60) -> float:
    """The smallest eigenvalue of the Hessian in all logits of a batch of 2K samples, two of each class."""
    target = np.repeat(np.arange(num_classes), 2)
    shape = (len(target), num_classes)
    least = np.inf
    for scale in np.resize([0.3, 1.0, 3.0], number):
        logits = scale * random.standard_normal(shape) + 2 * np.eye(num_classes)[target]
        columns = []
        for move in STEP * np.eye(logits.size):
            ahead, behind = (whole(loss, logits + sign * move.reshape(shape), target)[1] for sign in (1, -1))
            columns.append((ahead - behind).ravel() / (2 * STEP))
        found = np.stack(columns)
        least = min(least, float(np.linalg.eigvalsh((found + found.T) / 2)[0]))
    return least


def gradient_norms(
    loss: LossFunction, num_classes: int, batching: str, random: np.random.Generator
) -> tuple[float, float]:
    """The largest norm of a sample's gradient, after a local search; infinite if a hundredfold of the logits raises it.

    Returns:
        The largest norm or infinity, and the largest one of the logits first drawn, up to about 100.
    """
    logits, target = drawn(num_classes, 2800, random)
    near, far = (np.linalg.norm(gradients(loss, factor * logits, target, batching), axis=1) for factor in (1, 100))
    if far.max() > 5 * near.max():
        return float("inf"), float(near.max())
    best = logits[np.argsort(-near)[:40]], target[np.argsort(-near)[:40]]
    most = max(near.max(), far.max())
    for _ in range(12):
        moves = np.resize([0.02, 0.1, 0.3, 1.0], 320)[:, None] * random.standard_normal((320, num_classes))
        points, classes = np.repeat(best[0], 8, axis=0) * (1 + moves[:, :1]) + moves, np.repeat(best[1], 8)
        norms = np.linalg.norm(gradients(loss, points, classes, batching), axis=1)
        order = np.argsort(-norms)[:40]
        if norms[order[0]] > most:
            best, most = (points[order], classes[order]), norms[order[0]]
    return float(most), float(near.max())


def margin(loss: LossFunction, num_classes: int, batching: str, random: np.random.Generator) -> float | None:
    """The distance z_y - max z_j from which on a sample's gradient is 0; None: it is not 0 at `MOST_MARGIN`."""
    target = random.integers(num_classes, size=400)
    own = target[:, None] == np.arange(num_classes)
    below = random.exponential(1.0, own.shape) * (random.random(own.shape) < 0.5)
    below -= np.where(own, np.inf, below).min(axis=1, keepdims=True)  # the strongest other class lies at the margin

    def vanishes(distance: float) -> bool:
        logits = np.where(own, 0.0, -distance - below) + random.standard_normal((400, 1))
        slopes = gradients(loss, logits, target, batching)
        return bool((slopes[~own] == 0).all() and np.abs(slopes[own]).max() < 1e-9)  # a softmax is small, but not 0

    if not vanishes(MOST_MARGIN):
        return None
    low, high = 0.0, MOST_MARGIN
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if vanishes(middle) else (middle, high)
    return high


def spread_over_targets(loss: LossFunction, num_classes: int, random: np.random.Generator) -> tuple[float, float]:
    """The mean of the sum of a sample's loss over all K targets, and its standard deviation, over 70 logits."""
    logits, _ = drawn(num_classes, 70, random)
    target = np.tile(np.arange(num_classes), 70)
    sums = values(loss, np.repeat(logits, num_classes, axis=0), target).reshape(70, num_classes).sum(axis=1)
    return float(sums.mean()), float(sums.std())
