"""Minimisers of the expected loss sum over k of eta_k loss(z, k), for given class posteriors eta.

A world has M inputs; each has D samples, of which whole numbers belong to each class. The loss of all M D samples as
one batch is then the expected loss, also of a loss that depends on the batch, and is minimised over all logits [M, K].
Two logits of an input can be tied, kept equal: if the smallest value does not rise, the loss does not tell which class
is more likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossbench.properties.shape import Floats, Ints, LossFunction, gradients, hessians, values

BOX = 30.0
"""Logits are kept within about +-BOX, where a minimiser at infinity ends."""

MOST_PLANES = 60
"""Tangent planes of each class's loss, at most; a loss that is linear between its kinks needs fewer."""

DENOMINATOR = 40
"""Samples of each input."""


@dataclass(frozen=True)
class Problem:
    """An expected loss to minimise: how many samples of each class, int [K], and the pair of tied logits, if any."""

    counts: Ints
    tie: tuple[int, int] | None = None


def posteriors(num_classes: int, number: int, random: np.random.Generator, total: int = DENOMINATOR) -> Ints:
    """Random class counts [number, K] that sum to `total`, distinct, at least 1; with K > 2 half have no majority."""
    found: list[np.ndarray] = []
    while len(found) < number:
        counts = 1 + random.multinomial(total - num_classes, random.dirichlet(np.ones(num_classes)))
        has_majority = 2 * counts.max() > total
        wanted = num_classes == 2 or len(found) % 2 == 1
        if 2 * counts.max() != total and len({*counts}) == num_classes and has_majority == wanted:
            found.append(counts)
    return np.array(found, dtype=np.int64)


def expand(counts: Ints) -> tuple[Ints, Ints]:
    """Input and class of each sample of a world, [N] each, for class counts [M, K]."""
    num_classes = counts.shape[1]
    return (
        np.repeat(np.arange(len(counts)), counts.sum(axis=1)),
        np.repeat(np.tile(np.arange(num_classes), len(counts)), counts.ravel()),
    )


def minimise_world(loss: LossFunction, counts: Ints, start: Floats, ties: Floats | None = None) -> Floats:
    """Logits [M, K] that minimise the loss of all samples as one batch, by L-BFGS.

    Args:
        loss: differentiable.
        counts: samples of each input and class, [M, K].
        start: logits to start from, [M, K].
        ties: symmetric matrices [M, K, K] that the logits are multiplied by; None: none.
    """
    import torch

    inputs, target = (torch.from_numpy(part) for part in expand(counts))
    free = torch.from_numpy(start.copy()).requires_grad_()
    average = None if ties is None else torch.from_numpy(ties)

    def logits() -> torch.Tensor:
        return free if average is None else (free[:, :, None] * average).sum(dim=1)

    def objective() -> torch.Tensor:
        search.zero_grad()
        beyond = (free.abs() - BOX).relu().square().sum()  # keeps logits finite, and is 0 at a finite minimiser
        value: torch.Tensor = len(counts) * loss(logits()[inputs], target) + beyond
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search = torch.optim.LBFGS(
        [free],
        max_iter=800,
        max_eval=1000,
        tolerance_grad=1e-11,
        tolerance_change=1e-14,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    search.step(objective)  # type: ignore[no-untyped-call]
    found: Floats = logits().detach().numpy()
    return found


def risks(loss: LossFunction, counts: Ints, logits: Floats) -> Floats:
    """The expected loss of each input, [M], at logits [M, K]."""
    num_classes = counts.shape[1]
    single = values(loss, np.repeat(logits, num_classes, axis=0), np.tile(np.arange(num_classes), len(logits)))
    found: Floats = (single.reshape(counts.shape) * counts).sum(axis=1) / counts.sum(axis=1)
    return found


def starts(problems: Sequence[Problem], random: np.random.Generator) -> list[Floats]:
    """Logits [P, K] to start from: zeros, log eta, the most likely class ahead, and random ones."""
    counts = np.array([problem.counts for problem in problems])
    logs = np.log(counts / counts.sum(axis=1, keepdims=True))
    first = 3.0 * (counts == counts.max(axis=1, keepdims=True))
    return [
        np.zeros(counts.shape),
        logs - logs.mean(axis=1, keepdims=True),
        first,
        random.standard_normal(counts.shape),
    ]


def smooth(
    loss: LossFunction, problems: Sequence[Problem], batching: str, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """What four starts lead to: logits [4, P, K] and expected losses [4, P] of a differentiable loss, convex or not."""
    counts = np.array([problem.counts for problem in problems])
    num_classes = counts.shape[1]
    ties = np.tile(np.eye(num_classes), (len(problems), 1, 1))
    for place, problem in enumerate(problems):
        if problem.tie:
            i, j = problem.tie
            ties[place][np.ix_([i, j], [i, j])] = 0.5
    free = [place for place, problem in enumerate(problems) if not problem.tie]
    points = []
    for start in starts(problems, random):
        logits = minimise_world(loss, counts, start, ties)
        logits[free] = _polished(loss, counts[free], logits[free], batching)
        points.append(logits)
    return np.stack(points), np.stack([risks(loss, counts, logits) for logits in points])


def _polished(loss: LossFunction, counts: Ints, logits: Floats, batching: str) -> Floats:
    """Newton steps from logits [M, K] near a minimiser, kept where they shorten the gradient and stay in the box."""
    num_classes = counts.shape[1]
    weights = (counts / counts.sum(axis=1, keepdims=True))[:, :, None]
    target = np.tile(np.arange(num_classes), len(logits))

    def slopes(z: Floats) -> Floats:
        single = gradients(loss, np.repeat(z, num_classes, axis=0), target, batching)
        found: Floats = (weights * single.reshape(len(z), num_classes, num_classes)).sum(axis=1)
        return found

    for _ in range(4):
        slope = slopes(logits)
        bends = hessians(loss, np.repeat(logits, num_classes, axis=0), target, batching)
        bend = (weights[..., None] * bends.reshape(len(logits), num_classes, num_classes, num_classes)).sum(axis=1)
        if not np.isfinite(bend).all():
            return logits
        step = np.einsum("mkj,mj->mk", np.linalg.pinv(bend, rcond=1e-7, hermitian=True), slope)
        moved = logits - step
        shorter = np.linalg.norm(slopes(moved), axis=1) < np.linalg.norm(slope, axis=1)
        small = (np.abs(step).max(axis=1) < 0.1) & (np.abs(moved).max(axis=1) <= BOX)
        logits = np.where((shorter & small)[:, None], moved, logits)
    return logits


class CuttingPlanes:
    """Minimisers of a convex loss with kinks, by linear programs over tangent planes of the loss of each class.

    The planes belong to the loss, not to a posterior, and serve all problems. A program's value is a lower bound; with
    the value at its solution it brackets the minimum.
    """

    def __init__(self, loss: LossFunction, num_classes: int, batching: str) -> None:
        self._loss, self._num_classes, self._batching = loss, num_classes, batching
        self._planes, self._levels = np.zeros((0, 2 * num_classes)), np.zeros(0)
        self._touch(np.zeros(num_classes))

    def _touch(self, z: Floats) -> None:
        """Add the tangent plane of each class's loss at logits [K]: slope . x - t_class <= slope . z - loss."""
        classes = np.arange(self._num_classes)
        points = np.tile(z, (self._num_classes, 1))
        slopes = gradients(self._loss, points, classes, self._batching)
        levels = slopes @ z - values(self._loss, points, classes)
        self._planes = np.vstack([self._planes, np.hstack([slopes, -np.eye(self._num_classes)])])
        self._levels = np.concatenate([self._levels, levels])

    def minimise(self, problem: Problem, tolerance: float = 1e-8) -> tuple[Floats, float]:
        """A minimiser [K] within +-10 and the smallest value.

        Raises:
            ValueError: the bounds did not meet with `MOST_PLANES` planes of each class, of all problems so far.
        """
        from scipy.optimize import linprog

        size = self._num_classes
        eta = problem.counts / problem.counts.sum()
        equal = None
        if problem.tie:
            equal = np.zeros((1, 2 * size))
            equal[0, list(problem.tie)] = 1, -1
        while len(self._levels) < MOST_PLANES * size:
            found = linprog(
                np.concatenate([np.zeros(size), eta]),
                A_ub=self._planes,
                b_ub=self._levels,
                A_eq=equal,
                b_eq=None if equal is None else [0.0],
                bounds=[(-10, 10)] * size + [(-1e6, None)] * size,
            )
            if found.status != 0:
                break
            z = np.asarray(found.x[:size])
            value = float(risks(self._loss, problem.counts[None], z[None])[0])
            if value - found.fun < tolerance * (1 + abs(value)):
                return z, value
            self._touch(z)
        raise ValueError("cutting planes did not find the minimum of the expected loss")


def searched(loss: LossFunction, problem: Problem, begin: Sequence[Floats], repeats: int = 2) -> tuple[Floats, float]:
    """The best point [K] and value that Nelder and Mead's search finds from some starts, for any loss."""
    from scipy.optimize import minimize

    size = len(problem.counts)
    places = np.arange(size)
    if problem.tie:
        places[problem.tie[1]] = problem.tie[0]
    free = np.unique(places)[1:] if 0 in places else np.unique(places)  # the first logit stays: it is 0
    index = {place: at for at, place in enumerate(free)}

    def full(x: Floats) -> Floats:
        return np.array([x[index[place]] if place in index else 0.0 for place in places])

    target = np.repeat(np.arange(size), problem.counts)

    def value(x: Floats) -> float:
        import torch

        z = torch.from_numpy(np.clip(full(x), -BOX, BOX)).expand(len(target), -1)
        with torch.no_grad():
            return float(loss(z, torch.from_numpy(target)))

    best, least = np.zeros(size), np.inf
    for start in begin:
        x = (start - start[0])[free]
        for _ in range(repeats):
            found = minimize(value, x, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxfev": 1000})
            x = found.x
        if found.fun < least:
            best, least = full(x), float(found.fun)
    return best, least
