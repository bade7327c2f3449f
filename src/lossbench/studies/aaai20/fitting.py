"""Many small weighted logistic regressions and networks, fitted at once; numpy, no torch."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit

NUM_HIDDEN = 10
"""Hidden units of a network, each a sigmoid."""

Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Loss [M] and gradient [M, P] of some problems, from their parameters [M, P] and their places among all, [M]."""


def num_parameters(num_features: int) -> int:
    """P of a network: each hidden unit's weights in turn, the output's weights, its bias; the features hold a 1."""
    return NUM_HIDDEN * num_features + NUM_HIDDEN + 1


def fit_logistic(
    features: np.ndarray, target: np.ndarray, weights: np.ndarray, start: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients of weighted logistic regressions, [W, F], by Newton's method.

    Args:
        features: [F, N], or [W, F, N] where every regression has its own.
        target: classes 0 and 1, [N].
        weights: of the samples, [W, N]; a row sums to 1.
        start: where to begin, [W, F]; None: at 0.

    Raises:
        ArithmeticError: no optimum is found in 50 steps.
    """
    coefficients = np.zeros((len(weights), features.shape[-2])) if start is None else start
    transposed = features.swapaxes(-1, -2)
    for _ in range(50):
        probability = expit((coefficients[:, None] @ features)[:, 0])  # [W, N]
        gradient = ((weights * (probability - target))[:, None] @ transposed)[:, 0]  # [W, F]
        if np.abs(gradient).max() < 1e-12:
            return coefficients
        curvature = weights * probability * (1 - probability)
        hessian = (curvature[:, None] * features) @ transposed  # [W, F, F]
        coefficients = coefficients - np.linalg.solve(hessian, gradient[..., None])[..., 0]
    raise ArithmeticError(f"Newton's method ends with a gradient of {np.abs(gradient).max():.1e}")


def fit_networks(
    features: np.ndarray, target: np.ndarray, weights: np.ndarray, start: np.ndarray, stop: int, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters of networks with one hidden layer after `stop` iterations of BFGS, and at the end, each [W, P].

    At the end scale and bias of the output layer are solved for exactly, as the steps before are done in single
    precision: a double one takes more than twice as long.

    Args:
        features: [F, N], the last one constantly 1.
        target: classes 0 and 1, [N].
        weights: of the samples, [W, N]; a row sums to 1.
        start: initial parameters, [W, P].
        stop: iterations after which to look for the first time, >= 1.
        last: iterations at the end, [W], >= 1.
    """
    signs, single_weights = (2 * target - 1).astype(np.float32), weights.astype(np.float32)
    single_features = features.astype(np.float32)

    def evaluate(parameters: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return loss_and_gradient(parameters, single_features, signs, single_weights[which])

    stopped, ended = minimise(evaluate, start, stop, last)
    logits = network_logits(ended, features)
    own_features = np.stack([logits, np.ones_like(logits)], axis=1)  # [W, 2, N]
    scale, shift = np.split(
        fit_logistic(own_features, target, weights, np.tile([1.0, 0.0], (len(start), 1))), 2, axis=1
    )
    ended[:, -NUM_HIDDEN - 1 :] *= scale
    ended[:, -1:] += shift
    return stopped, ended


def _layers(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the hidden layer [M, hidden, F] and of the output [M, 1, hidden], and the output's bias [M, 1]."""
    hidden, output = parameters[:, : -NUM_HIDDEN - 1], parameters[:, -NUM_HIDDEN - 1 : -1]
    return hidden.reshape(len(parameters), NUM_HIDDEN, -1), output[:, None], parameters[:, -1:]


def network_logits(parameters: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Logits of class 1, [M, N], of networks with one hidden layer of sigmoid units."""
    hidden, output, bias = _layers(parameters)
    return np.asarray((output @ expit(hidden @ features))[:, 0] + bias)


def loss_and_gradient(
    parameters: np.ndarray, features: np.ndarray, signs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted cross-entropy (Eq. 1) of networks, [M], in nats, and its gradient, [M, P]; inf where it overflows.

    Every sigmoid is a tanh of half its argument, and arithmetic is in the features' precision: in single precision a
    tanh costs a third of an exp.

    Args:
        parameters: of M networks, [M, P].
        features: [F, N].
        signs: 1 for class 1 and -1 for class 0, [N].
        weights: of the samples, [M, N].
    """
    hidden, output, bias = (part.astype(features.dtype) for part in _layers(parameters / 2))
    units = np.tanh(hidden @ features)  # twice a unit's activation, minus 1, [M, hidden, N]
    right = (output @ units)[:, 0] + (output.sum(axis=2) + 2 * bias)  # logits
    right = np.tanh(right * (signs / 2))  # twice the probability of the right class, minus 1, [M, N]
    with np.errstate(divide="ignore"):
        loss = -(weights * np.log(0.5 + 0.5 * right)).sum(axis=1, dtype=float)  # or the last steps drown in rounding
    slopes = (right - 1) * (weights * (signs / 2))  # by the logits, [M, N]
    by_bias = slopes.sum(axis=1, keepdims=True)
    by_output = ((units @ slopes[..., None])[..., 0] + by_bias) / 2
    units *= units
    np.subtract(1, units, out=units)
    by_hidden = (units @ (slopes[:, None] * features).swapaxes(1, 2)) * (output.swapaxes(1, 2) / 2)
    return loss, np.concatenate([by_hidden.reshape(len(units), -1), by_output, by_bias], axis=1)


def minimise(evaluate: Evaluate, start: np.ndarray, stop: int, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters [M, P] of M problems after `stop` iterations of BFGS, and at the end.

    A step that does not lower the loss enough is cut to a fifth. Where no step does, the search restarts along the
    gradient, and ends if that does not help either.

    Args:
        evaluate: the losses.
        start: initial parameters, [M, P].
        stop: iterations after which to look for the first time.
        last: iterations at the end, [M].
    """
    identity = np.eye(start.shape[1])
    active = np.arange(len(start))
    parameters, stopped = start.copy(), start.copy()
    loss, gradient = (found.astype(float) for found in evaluate(start, active))
    inverse = np.tile(identity, (len(start), 1, 1))  # of the Hessian
    direction, step = -gradient, np.ones(len(start))
    num_iterations, fresh, done = np.zeros(len(start), int), np.ones(len(start), bool), np.zeros(len(start), bool)
    while len(active):
        moves = step[active, None] * direction[active]
        new_loss, new_gradient = evaluate(parameters[active] + moves, active)
        lower = new_loss < loss[active] + 1e-4 * (moves * gradient[active]).sum(axis=1)
        moved, held = active[lower], active[~lower]
        changes = new_gradient[lower] - gradient[moved]
        inverse[moved] = _updated(inverse[moved], moves[lower], changes)
        parameters[moved] += moves[lower]
        loss[moved], gradient[moved] = new_loss[lower], new_gradient[lower]
        num_iterations[moved] += 1
        step[moved], fresh[moved] = 1, False
        soon = moved[num_iterations[moved] <= stop]
        stopped[soon] = parameters[soon]
        step[held] /= 5
        lost = held[step[held] < 1e-5]
        done[lost] = fresh[lost]
        done[moved] = num_iterations[moved] >= last[moved]
        inverse[lost], step[lost], fresh[lost] = identity, 1, True
        turned = np.concatenate([moved, lost])
        direction[turned] = -(inverse[turned] @ gradient[turned, :, None])[..., 0]
        active = active[~done[active]]
    return stopped, parameters


def _updated(inverse: np.ndarray, moves: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Inverse Hessians [M, P, P] after moves [M, P] that changed the gradients; as they were where it curves down."""
    along = (moves * changes).sum(axis=1)
    shares = moves * np.where(along > 1e-12, 1 / np.maximum(along, 1e-12), 0)[:, None]
    image = (inverse @ changes[..., None])[..., 0]
    first = moves + (changes * image).sum(axis=1, keepdims=True) * shares - image
    return np.asarray(inverse + first[..., None] * shares[:, None] - shares[..., None] * image[:, None])
