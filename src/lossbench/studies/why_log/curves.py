"""Losses in closed form over the logit of the true class, all other logits being 0: value, slope and curvature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lossbench.losses.gce import Gce
from lossbench.losses.squared import Squared

OF_P = ("sml", "one_minus_p_squared", "brier", "spherical", "gce", "mae")
"""Losses of the softmax probabilities, by name."""

OF_LOGITS = ("squared", "lgl", "sparsemax")
"""Losses that are no functions of them."""

Array = np.ndarray


@dataclass(frozen=True)
class Curve:
    """A loss and its first two derivatives in z_y, the logit of the true class; the other K - 1 logits are 0.

    Args:
        value: of a sample's loss, float64 as the logits given.
        slope: dL / dz_y, per unit of the logit.
        curvature: d²L / dz_y², likewise squared.
    """

    value: Array
    slope: Array
    curvature: Array


@dataclass(frozen=True)
class _At:
    """Where a loss is computed: its logit, p_y, 1 - p_y without cancellation, and K."""

    z: Array
    p: Array
    rest: Array
    num_classes: int


def probability(z: Array, num_classes: int) -> Array:
    """p_y by softmax, where the true class has logit z and the others 0: e^z / (e^z + K - 1).

    Args:
        z: logits of the true class, float64.
        num_classes: K.
    """
    from scipy.special import expit

    found: Array = expit(z - np.log(num_classes - 1))
    return found


def logit(p: Array, num_classes: int) -> Array:
    """The logit of the true class at which softmax gives p_y = p; the inverse of `probability`.

    Args:
        p: in (0, 1), float64.
        num_classes: K.
    """
    found: Array = np.log(p) - np.log1p(-p) + np.log(num_classes - 1)
    return found


def curve(name: str, z: Array, num_classes: int) -> Curve:
    """A registered loss with its default options, in closed form.

    Args:
        name: of the loss, one of `OF_P` and `OF_LOGITS`.
        z: logits of the true class, float64, any shape.
        num_classes: K; the other K - 1 logits are 0.

    Raises:
        KeyError: there is no closed form of this loss here.
    """
    from scipy.special import expit

    form = _FORMS[name]
    z = np.asarray(z, float)
    p, rest = probability(z, num_classes), expit(np.log(num_classes - 1) - z)
    return form(_At(z, p, rest, num_classes))


def _sml(at: _At) -> Curve:
    others = np.log(at.num_classes - 1)
    return Curve(np.logaddexp(at.z, others) - at.z, -at.rest, at.p * at.rest)


def _one_minus_p_squared(at: _At) -> Curve:
    p, rest = at.p, at.rest
    return Curve(rest**2, -2 * p * rest**2, -2 * p * rest**2 * (1 - 3 * p))


def _brier(at: _At) -> Curve:
    """Each other class has (1 - p) / (K - 1), so the score is K / (K - 1) times (1 - p)²."""
    square, factor = _one_minus_p_squared(at), at.num_classes / (at.num_classes - 1)
    return Curve(factor * square.value, factor * square.slope, factor * square.curvature)


def _spherical(at: _At) -> Curve:
    """1 - sqrt(q), q the softmax of the doubled logits."""
    from scipy.special import expit

    log_odds = 2 * at.z - np.log(at.num_classes - 1)
    q, rest = expit(log_odds), expit(-log_odds)
    root = np.sqrt(q)
    return Curve(rest / (1 + root), -root * rest, -root * rest * (1 - 3 * q))


def _gce(at: _At) -> Curve:
    r = Gce().r
    power = at.p**r
    value = -np.expm1(r * np.log(at.p)) / r
    return Curve(value, -power * at.rest, -power * at.rest * (r * at.rest - at.p))


def _mae(at: _At) -> Curve:
    p, rest = at.p, at.rest
    return Curve(2 * rest, -2 * p * rest, -2 * p * rest * (1 - 2 * p))


def _squared(at: _At) -> Curve:
    options, num = Squared(), at.num_classes
    away = at.z - options.m
    return Curve(options.k * away**2 / num, 2 * options.k * away / num, np.full_like(at.z, 2 * options.k / num))


def _lgl(at: _At) -> Curve:
    """The mean over the K classifiers; those of the other classes have logit 0 and cost log 2 each."""
    from scipy.special import expit

    num, own = at.num_classes, expit(-at.z)
    value = (np.logaddexp(0, -at.z) + (num - 1) * np.log(2)) / num
    return Curve(value, -own / num, own * expit(at.z) / num)


def _sparsemax(at: _At) -> Curve:
    """p_y is 0 below z = -1 / (K - 1), 1 above z = 1, and linear between them; the loss is then a square."""
    num, z = at.num_classes, at.z
    share = (num - 1) / num
    wrong, right = z <= -1 / (num - 1), z >= 1
    away = np.where(right, 0.0, 1 - z)
    value = np.where(wrong, -z + (num - 2) / (2 * (num - 1)), share * away**2 / 2)
    return Curve(value, np.where(wrong, -1.0, -share * away), np.where(wrong | right, 0.0, share))


_FORMS: Mapping[str, Callable[[_At], Curve]] = {
    "sml": _sml,
    "one_minus_p_squared": _one_minus_p_squared,
    "brier": _brier,
    "spherical": _spherical,
    "gce": _gce,
    "mae": _mae,
    "squared": _squared,
    "lgl": _lgl,
    "sparsemax": _sparsemax,
}


def concave_below(name: str, num_classes: int) -> float | None:
    """The p_y below which the curvature in z_y is negative, down to p_y = 0; None: it is negative nowhere.

    Args:
        name: of a loss of `OF_P`.
        num_classes: K; the other K - 1 logits are equal.
    """
    r = Gce().r
    known = {
        "one_minus_p_squared": 1 / 3,
        "brier": 1 / 3,
        "spherical": 1 / (1 + np.sqrt(2 * (num_classes - 1))),
        "gce": r / (1 + r),
        "mae": 1 / 2,
    }
    return known.get(name)


def lowest_curvature(name: str, num_classes: int) -> float:
    """The smallest d²L / dz_y² of a loss over z_y from -30 to 30, to four digits or more.

    Args:
        name: of the loss.
        num_classes: K.
    """
    return float(curve(name, np.linspace(-30, 30, 60_001), num_classes).curvature.min())


def time_to_rise(name: str, start: float, end: float) -> float:
    """How long z_y takes if it follows the slope, dz_y/dt = -dL/dz_y, from one p_y to another; two classes.

    Args:
        name: of a loss of `OF_P`.
        start: p_y at the start.
        end: p_y at the end, larger.

    Returns:
        The integral of 1 / |dL/dz_y| over z_y, in units of time in which a slope of 1 moves the logit by 1.
    """
    low, high = logit(np.array([start, end]), 2)
    z = np.linspace(low, high, 200_001)
    return float(np.trapezoid(1 / np.abs(curve(name, z, 2).slope), z))
