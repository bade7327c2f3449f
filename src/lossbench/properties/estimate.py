"""What a loss is, found by computation alone: convexity, bounds, margin, and what its minimisers say of the posterior.

    estimate(loss, num_classes=4, seed=0, probabilities=softmax)

works on any function `loss(logits [B, K], target [B]) -> scalar` of torch that computes in float64 if its logits do.
A finding "false" stands on a counterexample, "true" on its absence among the points that were tried, all drawn from
the seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np

from lossbench.properties import minimisers, shape
from lossbench.properties.minimisers import BOX, CuttingPlanes, Problem
from lossbench.properties.shape import Floats, Ints, LossFunction

Probabilities = Callable[[Floats], Floats]
"""A map from logits [N, K] to probabilities [N, K]."""

NUM_POSTERIORS = 10
"""Posteriors whose minimisers are found, half of them with a majority class."""

KINK = 1e-4
"""A gradient that changes by more over a distance of 1e-8 has a kink there; relative to the largest gradient."""

EQUAL = 1e-6
"""Two values of an expected loss are equal if they differ by less, relative to its range from zeros to the minimum."""

EXACT = 1e-5
"""Largest error of a posterior that is recovered."""


@dataclass(frozen=True)
class Finding:
    """A value and what it stands on.

    Args:
        value: true, false, a number, or None: the question does not apply, was not decided, or there is no such number.
        evidence: what was tried, with the counterexample if the value is false; one sentence.
    """

    value: bool | float | None
    evidence: str


@dataclass(frozen=True)
class Estimate:
    """The properties of a loss for K classes.

    Args:
        batch_dependent: whether the loss of a batch is something else than the mean (or sum) over its samples.
        convex: in the logits.
        smoothness: the largest absolute eigenvalue of a sample's Hessian; None: none is finite.
        gradient_bound: the largest norm of a sample's gradient; None: none is finite.
        margin: how far z_y must exceed all other logits for a gradient of 0; None: it never is.
        symmetric: whether a sample's loss summed over all targets is constant.
        sparse: whether the map to probabilities gives exact zeros.
        strictly_proper: whether the map gives the posterior at every minimiser; false without a map.
        recoverable: whether the minimiser determines the posterior, by whatever map.
        top1_consistent: whether every minimiser has its largest logit, alone, at the most likely class.
        order_preserving: whether every minimiser's logits are in the strict order of the posterior.
    """

    batch_dependent: Finding
    convex: Finding
    smoothness: Finding
    gradient_bound: Finding
    margin: Finding
    symmetric: Finding
    sparse: Finding
    strictly_proper: Finding
    recoverable: Finding
    top1_consistent: Finding
    order_preserving: Finding

    def values(self) -> dict[str, bool | float | None]:
        """The values alone, by name."""
        return {field.name: getattr(self, field.name).value for field in fields(self)}


def estimate(
    loss: LossFunction,
    num_classes: int = 4,
    seed: int = 0,
    probabilities: Probabilities | None = None,
    as_read: Callable[[Floats], Floats] = lambda logits: logits,
) -> Estimate:
    """Find the properties of a loss; takes seconds.

    Args:
        loss: of logits [B, K] and target [B], a torch scalar; in the dtype of its logits, which are float64.
        num_classes: K, 2 to about 10; the cost grows with K squared.
        seed: of all that is drawn.
        probabilities: the map from logits to probabilities that belongs to the loss; None: there is none.
        as_read: the logits [N, K] whose order predicts, from those of the loss.
    """
    random = np.random.default_rng(seed)
    batching = shape.batching_of(loss, num_classes, random)
    if batching.kind == "other":
        return _of_a_batch(loss, num_classes, probabilities, batching.gap, random)
    jump = shape.largest_jump(loss, num_classes, batching.kind, random)
    has_kinks = jump > KINK
    curvature = shape.curvature(loss, num_classes, batching.kind, random)
    convex = _convex(curvature)
    if has_kinks:
        smoothness = Finding(
            None, f"the gradient jumps by {100 * jump:.2g} % of its largest value over a distance of about 1e-8"
        )
    else:
        smoothness = Finding(curvature.most, f"the largest of {curvature.number} Hessians, after a local search")
    margin = shape.margin(loss, num_classes, batching.kind, random)
    solved = _solve(loss, num_classes, batching.kind, has_kinks, bool(convex.value), random)
    return Estimate(
        Finding(False, f"the loss of a batch is the {batching.kind} of those of its samples, on 10 batches"),
        convex,
        smoothness,
        _gradient_bound(*shape.gradient_norms(loss, num_classes, batching.kind, random)),
        Finding(margin, f"400 samples, up to a margin of {shape.MOST_MARGIN:g}"),
        _symmetric(*shape.spread_over_targets(loss, num_classes, random)),
        _sparse(probabilities, num_classes, random),
        _strictly_proper(probabilities, solved.counts, solved.logits),
        _recoverable(loss, solved, batching.kind, has_kinks),
        _ordered(solved, as_read, first_only=True),
        _ordered(solved, as_read, first_only=False),
    )


def _convex(found: shape.Curvature) -> Finding:
    allowed = 1e-6 * max(1.0, found.most)
    if found.least < -allowed:
        z, y = found.least_at
        point = ", ".join(f"{value:.3g}" for value in z)
        return Finding(False, f"the Hessian at z = ({point}), target {y}, has the eigenvalue {found.least:.2g}")
    if found.turn < -allowed:
        return Finding(False, f"the slope falls along a line between two logits, by {-found.turn:.2g}")
    return Finding(True, f"no negative eigenvalue of {found.number} Hessians and no falling slope between 2,800 pairs")


def _gradient_bound(norm: float, near: float) -> Finding:
    if norm == float("inf"):
        return Finding(None, f"no bound: the gradient grows with the logits, beyond the {near:.3g} first found")
    return Finding(norm, "the largest of 9,440 gradients, after a local search")


def _symmetric(mean: float, deviation: float) -> Finding:
    constant = deviation < 1e-9 * max(1.0, abs(mean))
    said = f"the sum over targets has mean {mean:.4g} and standard deviation {deviation:.2g} over 70 logits"
    return Finding(constant, said)


def _sparse(probabilities: Probabilities | None, num_classes: int, random: np.random.Generator) -> Finding:
    if probabilities is None:
        return Finding(False, "there is no map to probabilities")
    logits = random.standard_normal((400, num_classes))
    share = float((probabilities(3 * logits) == 0).mean())
    return Finding(share > 0, f"{100 * share:.0f} % of the probabilities of 400 drawn logits are 0")


def _strictly_proper(probabilities: Probabilities | None, counts: Ints, logits: Floats) -> Finding:
    if probabilities is None:
        return Finding(False, "there is no map to probabilities")
    posterior = counts / counts.sum(axis=1, keepdims=True)
    errors = np.abs(probabilities(logits) - posterior).max(axis=1)
    worst = int(errors.argmax())
    if not errors[worst] < EXACT:
        given = _written(probabilities(logits[worst : worst + 1])[0])
        return Finding(False, f"at posterior {_written(posterior[worst])} the minimiser's probabilities are {given}")
    return Finding(True, f"largest error {errors[worst]:.1e} at the minimisers of {len(counts)} posteriors")


@dataclass(frozen=True)
class _Solved:
    """Minimisers of the expected loss, and how much it rises where two classes are tied.

    Args:
        counts: classes of each posterior, [M, K].
        logits: minimisers, [M, K].
        points: all that was reached from several starts, [S, M, K].
        reached: the expected losses there, [S, M].
        least: the smallest of them, [M].
        size: range of each expected loss from zeros to the minimum or, if larger, 1 % of the largest range; [M].
        gaps: by posterior and pair of classes, the more likely one first: rise of the smallest value by their tie.
    """

    counts: Ints
    logits: Floats
    points: Floats
    reached: Floats
    least: Floats
    size: Floats
    gaps: dict[tuple[int, int, int], float]


def _solve(
    loss: LossFunction, num_classes: int, batching: str, kinks: bool, convex: bool, random: np.random.Generator
) -> _Solved:
    counts = minimisers.posteriors(num_classes, NUM_POSTERIORS, random)
    counts[-1] = _neighbour(counts[-2])
    counts[0] = _neighbour(counts[1])
    order = np.argsort(-counts, axis=1)
    ties = {
        (m, int(i), int(j))
        for m, ranks in enumerate(order)
        for i, j in [*pairwise(ranks), *((ranks[0], one) for one in ranks[1:])]
    }
    keys = sorted(ties)
    problems = [Problem(one) for one in counts] + [Problem(counts[m], (i, j)) for m, i, j in keys]
    if not kinks:
        points, reached = minimisers.smooth(loss, problems, batching, random)
    elif convex:
        points, reached = _by_planes(loss, problems, keys, batching)
    else:
        points, reached = _searched(loss, problems, keys)
    number, least, which = len(counts), reached.min(axis=0), reached.argmin(axis=0)
    logits = points[which[:number], np.arange(number)]
    size = minimisers.risks(loss, counts, np.zeros(counts.shape)) - least[:number]
    size = np.maximum(size, max(1e-2 * size.max(), 1e-12))
    gaps = {key: float(value - least[key[0]]) for key, value in zip(keys, least[number:], strict=True)}
    return _Solved(counts, logits, points[:, :number], reached[:, :number], least[:number], size, gaps)


def _neighbour(counts: Ints) -> Ints:
    """Counts in the same order, with one sample moved from the least likely class that can spare it to the first."""
    moved = counts.copy()
    ranks = np.argsort(counts)
    spare = next((k for k in ranks[:-1] if counts[k] > 1 and counts[k] - 1 not in counts), None)
    if spare is None:
        return moved
    moved[spare] -= 1
    moved[ranks[-1]] += 1
    return moved


def _by_planes(
    loss: LossFunction, problems: list[Problem], keys: list[tuple[int, int, int]], batching: str
) -> tuple[Floats, Floats]:
    """Minimisers [1, P, K] and values by cutting planes; by direct search where the loss is too curved for them."""
    planes = CuttingPlanes(loss, len(problems[0].counts), batching)
    try:
        found = [planes.minimise(problem) for problem in problems]
    except ValueError:
        return _searched(loss, problems, keys, num_starts=1)
    return np.array([[point for point, _ in found]]), np.array([[value for _, value in found]])


def _searched(
    loss: LossFunction, problems: list[Problem], keys: list[tuple[int, int, int]], num_starts: int = 2
) -> tuple[Floats, Floats]:
    """Minimisers [1, P, K] and values by direct search: with ties first, then without, also from the tied ones."""
    number = len(problems) - len(keys)
    points, least = np.zeros((len(problems), len(problems[0].counts))), np.full(len(problems), np.inf)
    logs = [np.log(problem.counts / problem.counts.sum()) for problem in problems]
    for place in range(number, len(problems)):
        begin = [logs[place], np.zeros(len(logs[place]))]
        points[place], least[place] = minimisers.searched(loss, problems[place], begin[:num_starts])
    for place in range(number):
        own = [number + at for at, key in enumerate(keys) if key[0] == place]
        begin = [logs[place], *(points[at] for at in sorted(own, key=lambda at: least[at])[:num_starts])]
        points[place], least[place] = minimisers.searched(loss, problems[place], begin)
    return points[None], least[None]


def _ordered(solved: _Solved, as_read: Callable[[Floats], Floats], first_only: bool) -> Finding:
    """Whether ties raise the expected loss and the minimiser found is in order."""
    right = 0
    shown = ""
    for m, counts in enumerate(solved.counts):
        ranks = np.argsort(-counts)
        others = [(ranks[0], one) for one in ranks[1:]] if first_only else list(pairwise(ranks))
        reached = solved.reached[:, m] < solved.least[m] + EQUAL * solved.size[m]
        equal = as_read(solved.points[reached, m])  # [minimisers, K]
        wrong = [
            (int(i), int(j))
            for i, j in others
            if solved.gaps[m, int(i), int(j)] < EQUAL * solved.size[m] or not (equal[:, i] > equal[:, j]).all()
        ]
        right += not wrong
        if wrong and not shown:
            i, j = wrong[0]
            posterior = _written(counts / counts.sum())
            shown = f"; at posterior {posterior} a minimiser does not put class {i} before class {j}"
    word = "the most likely class first" if first_only else "the order of the posterior"
    said = f"every minimiser has {word} for {right} of {len(solved.counts)} posteriors{shown}"
    return Finding(right == len(solved.counts), said)


def _recoverable(loss: LossFunction, solved: _Solved, batching: str, kinks: bool) -> Finding:
    if kinks:
        return _apart(loss, solved)
    num_classes = solved.counts.shape[1]
    classes = np.arange(num_classes)
    typical = np.linalg.norm(shape.gradients(loss, np.zeros((num_classes, num_classes)), classes, batching))
    worst = 0.0
    for counts, z in zip(solved.counts, solved.logits, strict=True):
        slopes = shape.gradients(loss, np.tile(z, (num_classes, 1)), classes, batching)  # [class, coordinate]
        posterior = counts / counts.sum()
        directions, sizes, _ = np.linalg.svd(slopes)
        if np.abs(z - np.median(z)).max() > BOX / 2 and sizes[-2] < 1e-6 * typical:
            said = "its minimiser is at infinity and the gradients vanish there"
            return Finding(False, f"at posterior {_written(posterior)} {said}")
        if sizes[-2] < 1e-5 * sizes[0]:
            said = "more than one posterior fits the gradients at the minimiser"
            return Finding(False, f"at posterior {_written(posterior)} {said}")
        found = directions[:, -1] / directions[:, -1].sum()
        worst = max(worst, float(np.abs(found - posterior).max()))
    said = f"solving sum_y eta_y grad loss(z, y) = 0 for eta at {len(solved.counts)} minimisers"
    if worst > EXACT:
        return Finding(None, f"not decided: {said} has an error of {worst:.1e}")
    return Finding(True, f"{said} gives eta back, largest error {worst:.1e}")


def _apart(loss: LossFunction, solved: _Solved) -> Finding:
    """Whether no two posteriors share a minimiser; for losses with kinks."""
    for m, counts in enumerate(solved.counts):
        others = minimisers.risks(loss, solved.counts, np.tile(solved.logits[m], (len(solved.counts), 1)))
        for n in np.flatnonzero(others - solved.least < EQUAL * solved.size):
            if not np.array_equal(solved.counts[n], counts):
                pair = " and ".join(_written(one / one.sum()) for one in (counts, solved.counts[n]))
                return Finding(False, f"posteriors {pair} have a minimiser in common")
    return Finding(None, f"not decided: no two of {len(solved.counts)} posteriors share a minimiser")


def _of_a_batch(
    loss: LossFunction,
    num_classes: int,
    probabilities: Probabilities | None,
    gap: float,
    random: np.random.Generator,
) -> Estimate:
    """What can be said of a loss that depends on the batch: minimisers are those of a world as one batch."""
    least = shape.batch_curvature(loss, num_classes, random)
    said = f"smallest eigenvalue {least:.2g} of 60 Hessians in all logits of a batch of {2 * num_classes} samples"
    counts = minimisers.posteriors(num_classes, 3 * NUM_POSTERIORS, random)
    counts[:, 0] += 30  # a class of its own size, so that prior and posterior both matter
    logs = np.log(counts / counts.sum(axis=1, keepdims=True))
    logits = minimisers.minimise_world(loss, counts, logs - logs.mean(axis=1, keepdims=True))
    ranks = np.argsort(-counts, axis=1, kind="stable")
    same = np.argsort(-logits, axis=1, kind="stable") == ranks
    top, full, number = int(same[:, 0].sum()), int(same.all(axis=1).sum()), len(counts)
    where = f"of {number} inputs of a world of classes of unequal size"
    depends = "not the property of a single sample: the loss depends on the batch"
    return Estimate(
        Finding(True, f"the loss of a batch differs from the mean over its samples by up to {100 * gap:.0f} %"),
        Finding(least >= -1e-6, said),
        Finding(None, depends),
        Finding(None, depends),
        Finding(None, depends),
        Finding(None, depends),
        _sparse(probabilities, num_classes, random),
        _strictly_proper(probabilities, counts, logits),
        Finding(None, "not decided: what the minimiser says depends on the other inputs"),
        Finding(top == number, f"the minimiser has the most likely class first for {top} {where}"),
        Finding(full == number, f"the minimiser has the order of the posterior for {full} {where}"),
    )


def _written(values: Floats) -> str:
    return "(" + ", ".join(f"{value:.3g}" for value in values) + ")"
