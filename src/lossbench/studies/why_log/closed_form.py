"""What follows from the losses' formulas alone: pictures, numbers, and where the answers' algebra errs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lossbench.config.registry import LABELS
from lossbench.losses.gce import Gce
from lossbench.report.blocks import Block, Items, Paragraph, Picture, Table
from lossbench.report.curves_figure import LossCurve, Ranges, curves_picture
from lossbench.report.table import table
from lossbench.report.wording import enumerated
from lossbench.studies.why_log import algebra
from lossbench.studies.why_log.curves import (
    OF_LOGITS,
    OF_P,
    concave_below,
    curve,
    logit,
    lowest_curvature,
    probability,
    time_to_rise,
)

FIRST = ("sml", "one_minus_p_squared")
"""The two that the question is about."""

NUM_CLASSES = 10
"""Of the data sets of the study."""

_AT = (1e-6, 0.01, 0.5)
_REACH = 12.0  # of the logits in the second picture
_BEST = 1 - 1e-3  # highest p_y in the first
_NUM_POINTS = 121  # of the data; lines are drawn through four times as many
_SHARED = (0.7, 0.3)  # of two wrong classes


def closed_form_blocks() -> list[Block]:
    """Value, slope and curvature of nine losses, in pictures, a table and sentences; no run is needed."""
    found: list[Block] = [Paragraph(_answer()), over_p_picture(), over_logit_picture(), slopes_table()]
    return [*found, Items(_facts())]


def _answer() -> str:
    log, square = (float(curve(name, logit(np.array(_AT[0]), 2), 2).slope) for name in FIRST)
    return (
        "The log keeps the slope where the network is wrong. For SML, the loss -log p, the slope in the logit of the "
        f"true class is -(1-p); for (1-p)² it is 2p(1-p) times as large. At p = {_number(_AT[0])} the slopes are "
        f"{_number(log)} and {_number(square)}. These are formulas; no run is needed for them."
    )


def _facts() -> list[str]:
    """What follows, in sentences."""
    label = LABELS["one_minus_p_squared"]
    factors = ", ".join(f"{_number(2 * p * (1 - p))} at p = {_number(p)}" for p in _AT)
    log, square = (time_to_rise(name, _AT[0], _AT[2]) for name in FIRST)
    flat = [LABELS[name] for name in OF_P if name != "sml"]
    concave = ", ".join(
        f"{LABELS[name]} for p < {below:.3f}"
        for name in OF_P
        if (below := concave_below(name, NUM_CLASSES)) is not None
    )
    z = np.array(-_REACH)
    others = ", ".join(f"{LABELS[name]} {_number(abs(float(curve(name, z, NUM_CLASSES).slope)))}" for name in OF_LOGITS)
    return [
        f"The gradient of {label} is 2p(1-p) times that of SML, all logits alike, whatever the number of classes: "
        f"{factors}. It goes to 0 as the network gets more wrong; SML's does not.",
        f"A logit that follows its slope, dz/dt = -dL/dz, rises from p = {_number(_AT[0])} to {_number(_AT[2])} in "
        f"{_number(log)} units of time with SML and in {_number(square)} with {label}, {_number(square / log)} times "
        "as long (two classes; the logit is free, without a network).",
        f"{enumerated(flat)} are flat at both ends: where p is near 1, and where it is near 0. Near 0 the slope of GCE "
        f"falls as p^{Gce().r:g}, that of the others as p.",
        f"With {NUM_CLASSES} classes, the others equal, these are concave where the network is wrong: {concave}. "
        "SML and the losses of the logits are convex.",
        f"Of the losses of the logits none is flat at z = {z:g}, {NUM_CLASSES} classes, the other logits 0: size of "
        f"the slope {others}.",
        f"Limit: the curves follow one line, on which all wrong classes are equal. Off it SML, {label}, GCE "
        "and MAE still depend on p alone, their whole gradient being p - e (e: the one-hot label) times a factor of p; "
        "that of spherical vanishes with p too. Brier's need not be flat: with three classes and probabilities 0 for "
        f"the true one, {_SHARED[0]:g} and {_SHARED[1]:g} for the others, the norm of its gradient is "
        f"{_number(brier_norm((0.0, *_SHARED)))}, as it moves the two towards each other; the slope in the true "
        "class's logit is 0.",
    ]


def brier_norm(p: Sequence[float]) -> float:
    """Norm of the Brier score's gradient in the logits where the true class is the first.

    Args:
        p: probabilities of all classes; they sum to 1.
    """
    every = np.array(p)
    errors = every - np.eye(len(every))[0]
    return float(np.linalg.norm(2 * every * (errors - every @ errors)))


def slopes_table() -> Table:
    """Size of the slope of the losses of p at three probabilities, ten classes, and where they are concave."""
    p = np.array(_AT)
    rows = {}
    for name in OF_P:
        slopes = np.abs(curve(name, logit(p, NUM_CLASSES), NUM_CLASSES).slope)
        base = np.abs(curve("sml", logit(p, NUM_CLASSES), NUM_CLASSES).slope)
        below = concave_below(name, NUM_CLASSES)
        rows[LABELS[name]] = {
            **{f"p = {_number(at)}": _number(slope) for at, slope in zip(_AT, slopes, strict=True)},
            f"SML's, times, at {_number(_AT[0])}": _number(slopes[0] / base[0]),
            "Concave for p below": "nowhere" if below is None else f"{below:.3f}",
            "Lowest curvature": _number(min(lowest_curvature(name, NUM_CLASSES), 0.0), 1e-9),
        }
    caption = (
        f"Size of the slope in the logit of the true class, |dL/dz|, by its softmax probability p. {NUM_CLASSES} "
        "classes, the wrong ones equal; for SML, (1-p)², GCE and MAE the first three columns hold for any number of "
        "classes. Lowest curvature: of d²L/dz² over all p; below 0 the loss is not convex."
    )
    return table(rows, ["Loss"], caption)


def over_p_picture() -> Picture:
    """The losses of the probability over p_y, with two classes."""
    z = _grid(*logit(np.array([_AT[0], _BEST]), 2))
    p = probability(z, 2)
    curves = _curves(OF_P, p, z, 2)
    caption = (
        "Losses of the probability over p, two classes with logits z and 0, so that p = sigmoid(z). The derivatives "
        "are in z. Thick: the two of the question. Middle: SML's slope stays near 1 where p is near 0; that of the "
        f"others goes to 0. Bottom: below the line a loss is concave. SML reaches {-np.log(_AT[0]):.1f} at "
        f"p = {_number(_AT[0])}."
    )
    ranges = Ranges((0.0, 3.2), (1e-6, 2.0), _limits(curves))
    alt = f"Losses over p, two classes, p = {', '.join(map(_number, _AT))}. {_told(OF_P, logit(np.array(_AT), 2), 2)}"
    return curves_picture("why_log_curves_p", curves, _labels(FIRST), ranges, True, caption, alt, _data(OF_P, z, 2))


def over_logit_picture() -> Picture:
    """All losses over the logit of the true class, with ten classes."""
    names = (*OF_P, *OF_LOGITS)
    z = _grid(-_REACH, _REACH)
    curves = _curves(names, z, z, NUM_CLASSES)
    ends = probability(np.array([-_REACH, _REACH]), NUM_CLASSES)
    caption = (
        f"All losses over the logit z of the true class, {NUM_CLASSES} classes, the other logits 0; by softmax p goes "
        f"from {ends[0]:.1g} to 1 - {1 - ends[1]:.1g}. {enumerated(_labels(OF_LOGITS))} do not use softmax: they are "
        "losses of the logits. Sparsemax is exactly 0 from z = 1, LGL and squared are means over the classes as they "
        "are registered. LGL-INR is left out: its loss depends on the batch. Thick: the two of the question."
    )
    at = np.array([-_REACH, 0.0, _REACH])
    alt = f"Losses over z at {', '.join(f'{one:g}' for one in at)}, ten classes. {_told(names, at, NUM_CLASSES)}"
    data = _data(names, z, NUM_CLASSES)
    ranges = Ranges((0.0, 6.0), (1e-7, 5.0), _limits(curves))
    return curves_picture("why_log_curves_z", curves, _labels(FIRST), ranges, False, caption, alt, data)


def _grid(low: float, high: float) -> np.ndarray:
    """Logits at which lines are drawn."""
    return np.linspace(low, high, 4 * (_NUM_POINTS - 1) + 1)


def _labels(names: Sequence[str]) -> list[str]:
    return [LABELS[name] for name in names]


def _curves(names: Sequence[str], x: np.ndarray, z: np.ndarray, num_classes: int) -> list[LossCurve]:
    found = []
    for name in names:
        one = curve(name, z, num_classes)
        found.append(LossCurve(LABELS[name], *(tuple(each.tolist()) for each in (x, *vars(one).values()))))
    return found


def _limits(curves: Sequence[LossCurve]) -> tuple[float, float]:
    values = [value for one in curves for value in one.curvature]
    return min(values) - 0.05, max(values) + 0.05


def _told(names: Sequence[str], z: np.ndarray, num_classes: int) -> str:
    texts = []
    for name in names:
        one = curve(name, z, num_classes)
        parts = [
            f"{what} {', '.join(map(_number, values))}"
            for what, values in (("value", one.value), ("|slope|", np.abs(one.slope)), ("curvature", one.curvature))
        ]
        texts.append(f"{LABELS[name]}: {'; '.join(parts)}.")
    return " ".join(texts)


def _data(names: Sequence[str], grid: np.ndarray, num_classes: int) -> pd.DataFrame:
    """The numbers at every fourth point of a grid of logits."""
    z, frames = grid[::4], []
    for name in names:
        columns = {"p": probability(z, num_classes), "z": z, **vars(curve(name, z, num_classes))}
        rounded = {key: [float(f"{value:.6g}") for value in values] for key, values in columns.items()}
        frames.append(pd.DataFrame({"loss": LABELS[name], "num_classes": num_classes, **rounded}))
    return pd.concat(frames, ignore_index=True)


def _number(value: float, zero: float = 0.0) -> str:
    """Three significant digits; large numbers with commas, small ones as 2e-6, up to `zero` in size as 0."""
    if abs(value) <= zero:
        return "0"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}".replace("e-0", "e-")


def algebra_blocks() -> list[Block]:
    """What the question's answers say of the formulas, and what is right, in numbers."""
    caption = (
        "The answers' algebra, checked. ŷ = s = 1 / (1 + e^-t), t = θx: the probability of the first answer's logistic "
        "regression. What the sentences say of training is tested by the runs."
    )
    said = {key: {"What is right": right} for key, right in _rows().items()}
    return [table(said, ["What was said"], caption)]


def _rows() -> dict[str, str]:
    right, printed = (
        [_number(float(square(t))) for t in (5.0, -5.0)] for square in (algebra.right_square, algebra.printed_square)
    )
    square, cross = (algebra.local_minima(one) for one in (algebra.mean_square, algebra.mean_cross_entropy))
    minima = enumerated(f"θ = {one.theta:.3f} (mean loss {one.value:.3f})" for one in square)
    points = enumerated(f"x = {x:g}, y = {label}" for x, label in algebra.POINTS)
    ends = enumerated(f"{one.theta:.3f}" for one in cross)
    p = 0.35  # the question's
    brier = lowest_curvature("brier", 2)
    return {
        "(1 - ŷ)² = (e^(θx) / (1 + e^(-θx)))²": (
            "1 - ŷ = e^-t / (1 + e^-t): the numerator lacks its minus sign. Right values at t = 5 and -5: "
            f"{enumerated(right)}; of the printed formula: {enumerated(printed)}. The printed one rises without bound "
            "as the prediction gets better; it is also convex, its second derivative being (16 - 18s + 6s²) times "
            "itself."
        ),
        "The formula is not convex": (
            "Right for (1 - ŷ)², y = 1: its second derivative in t is -2s(1-s)²(1-3s), below 0 exactly for s < 1/3. "
            f"The lowest is {_number(lowest_curvature('one_minus_p_squared', 2))}."
        ),
        "... since the gradient may point to local optima": (
            "Not for one sample: the loss falls all the way as t rises, and has no local optimum. For several it is "
            f"possible: with {points}, one weight and no intercept, the mean of the squares has "
            f"{len(square)} local minima, at {minima}; cross-entropy has {len(cross)}, at {ends}."
        ),
        "Cross-entropy takes both labels into account at the same time": (
            f"With y = 1 its second term is (1 - y) log(1 - ŷ) = 0. At ŷ = {p:g} the terms are "
            f"{-np.log(p):.3f} and 0. Each row counts by its own label alone, as with the square."
        ),
        "Convex loss functions with respect to the output": (
            "SML is convex in the logits, with any number of classes. In the weights of a network with hidden layers "
            "no loss of this study is convex, so convexity in the logits does not exclude local optima."
        ),
        "MSE has a very nonlinear, non-convex behaviour": (
            "It depends on what is squared. The squared loss on the logits is convex; its Hessian is constant, "
            f"2/K times the identity ({_number(2 / NUM_CLASSES)} with {NUM_CLASSES} classes). The squared distance of "
            f"the softmax from the one-hot label (Brier) is not: down to {_number(brier)} in z with two classes."
        ),
        "Softmax is for labels that are mutually exclusive": (
            "True, and another question: softmax or sigmoid. Either can be trained on the log or on the square."
        ),
    }
