"""Checks of a loss at large logits and in low precision: overflow, NaN, and values that stop growing."""

import contextlib
import math
from typing import TYPE_CHECKING

from lossbench.properties.probe import LossError, Probe, close
from lossbench.properties.verdict import Findings

if TYPE_CHECKING:
    from torch import Tensor

SIZES = (10.0, 30.0, 100.0, 300.0, 1e3, 1e4)
"""Sizes of logits to try."""

FARTHEST = 160.0
"""How far a logit is moved to see whether the value stops growing."""

LONGEST_FALL = 1.25
"""Length of the fall of a slope from 80 to 10 % of its largest, relative to that of its stretch above 80 %.

A constant added inside a logarithm gives a long level slope and a short fall; losses that are bounded by design, such
as the Brier score, have a short level slope.
"""

OTHER_GROWS = "another class's logit grows"

LEAST_RISE, LEAST_LOGIT_RISE = 4.5, 8.0
"""Rise of the value, in nats and relative to the largest slope, below which a stop is one by design."""


def check_large(probe: Probe, found: Findings) -> None:
    """Value and gradient are finite for logits up to 1e4, in float32, for few and many classes."""
    if found.has("not_finite", "constant"):
        return
    others = set() if probe.is_slow else {2, 1000} - {probe.num_classes}
    for num_classes in (probe.num_classes, *sorted(others)):
        try:
            _check_large(probe if num_classes == probe.num_classes else Probe(probe.loss, num_classes), found)
        except LossError:
            continue  # numbers of classes that it does not take are reported elsewhere
        if found.has("overflow"):
            return


def _check_large(probe: Probe, found: Findings) -> None:
    import torch

    for size in SIZES:
        for words, logits, target in _cases(probe.num_classes, size):
            value, gradient = _both(probe, logits.to(torch.float32), target)
            if math.isfinite(value) and (gradient is None or gradient.isfinite().all()):
                continue
            what = f"its value is {value}" if not math.isfinite(value) else "its gradient is not finite, the value is,"
            text = f"{what} for {words} at K = {probe.num_classes} in float32"
            found.fault("overflow", text, _cure(words, math.isfinite(value)))
            return


def _cure(words: str, finite: bool) -> str:
    if finite and "right" in words:
        return "a power or a logarithm has no finite derivative at 0: add to its argument, or use another form"
    return "use log_softmax, logsumexp or logsigmoid in place of exp and of the logarithm of a probability"


def _cases(num_classes: int, size: float) -> "list[tuple[str, Tensor, Tensor]]":
    """Saturated batches of two samples: words, logits [2, K] and target."""
    import torch

    target = torch.tensor([0, num_classes - 1])
    zero = torch.zeros(2, num_classes)
    right, wrong, low = zero.clone(), zero.clone(), zero.clone()
    rows = torch.arange(2)
    right[rows, target] = size
    wrong[rows, 1 - target.clamp_max(1)] = size
    low[rows, target] = -size
    mixed = size * (2 * torch.rand(2, num_classes, generator=torch.Generator().manual_seed(4)) - 1)
    return [
        (f"all logits at {size:g}", zero + size, target),
        (f"all logits at {-size:g}", zero - size, target),
        (f"a confidently right sample (z_y {size:g} above the others)", right, target),
        (f"a confidently wrong sample (z_y {size:g} below the largest logit)", wrong, target),
        (f"a confidently wrong sample (z_y {size:g} below all others)", low, target),
        (f"random logits within {size:g}", mixed, target),
    ]


def _both(probe: Probe, logits: "Tensor", target: "Tensor") -> "tuple[float, Tensor | None]":
    """Value and gradient."""
    value = probe.value(logits, target)
    return value, None if probe.numeric else probe.autograd(logits, target)


def check_half(probe: Probe, found: Findings) -> None:
    """Logits of float16 and bfloat16: computed in float32, or at least without overflow."""
    import torch

    if found.has("not_finite", "constant", "overflow", "eps", "random", "keeps_state"):
        return
    worst = 0.0
    with contextlib.suppress(LossError):
        probe_of_ten = Probe(probe.loss, 10)  # sums over many classes are large in any formula
        probe_of_ten.numeric = probe.numeric
        probe = probe_of_ten
    for dtype, name in ((torch.float16, "float16"), (torch.bfloat16, "bfloat16")):
        for size in SIZES:
            for words, logits, target in _cases(probe.num_classes, size):
                low = logits.to(dtype)
                try:
                    value, gradient = _both(probe, low, target)
                except LossError as error:
                    found.fact("no_half", f"it does not take {name} logits on a CPU: {error}")
                    return
                exact, slopes = _both(probe, low.to(torch.float32), target)
                most = torch.finfo(dtype).max
                if gradient is None or (slopes is not None and float(slopes.abs().max()) > most):
                    gradient = torch.zeros(1)  # not known, or too large for the type of the logits itself
                if not (math.isfinite(value) and gradient.isfinite().all()):
                    text = f"it computes in {name} if its logits are in {name}, and overflows for {words}"
                    add = found.fault if size <= 1e3 else found.warning
                    add("half_overflow", text, "begin with logits = logits.float()")
                    return
                if size <= 30:
                    worst = max(worst, abs(value - exact) / max(abs(exact), 1.0))
    if worst > 0.05:
        text = f"it computes in the low precision of its logits: off by {100 * worst:.0f} % for bfloat16 or float16"
        found.warning("low_precision", text, "begin with logits = logits.float()")


def check_float32(probe: Probe, found: Findings) -> None:
    """The value in float32 is that in float64."""
    import torch

    if probe.dtype != torch.float64 or found.has("overflow", "not_finite", "random"):
        return
    for size in (1.0, 10.0, 20.0):
        for words, logits, target in _cases(probe.num_classes, size):
            exact, rounded = (probe.value(logits.to(dtype), target) for dtype in (torch.float64, torch.float32))
            if not close(exact, rounded, 1e-3) and abs(exact - rounded) > 1e-5:
                found.warning(
                    "rounding", f"its value is {rounded:.4g} in float32 and {exact:.4g} in float64 for {words}"
                )
                return


def check_growth(probe: Probe, found: Findings) -> None:
    """Whether the value stops growing as a sample becomes wrong: by design, or by a constant inside a logarithm."""
    import torch

    is_off = found.has("label_off")
    if found.has("constant", "no_target", "overflow") or (is_off and probe.num_classes < 4):
        return
    positions = torch.cat([torch.arange(-6, 6, 0.05), torch.arange(6, FARTHEST, 0.5)]).double()
    # With a label that is off by one, class 2 is a wrong class for target 0 all the same.
    ways = [(OTHER_GROWS, 2)] if is_off else [("z_y falls", 0), (OTHER_GROWS, 1)]
    for words, column in ways:
        direction = 1 if column else -1
        rows = torch.zeros(len(positions), probe.num_classes, dtype=torch.float64)
        rows[:, column] = direction * positions
        values = _along(probe, rows, found)
        if not values.isfinite().all():
            return
        stop = _stop(positions, values)
        if stop is not None:
            if found.has("batch_softmax"):
                stop = stop.split(",")[0]  # the rise is that of two samples
            text = f"its value stops at {stop} as {words}: a confidently wrong sample has no gradient"
            fix = "use log_softmax or logsigmoid in place of log(p + eps) or of a clamped p"
            found.fault("eps", text, fix)
            return
        fall = _fall(positions, values)
        if fall is not None and column and found.has("class_specific"):
            continue  # some wrong classes may be better than others
        if fall is not None:
            place = f"{'z_j' if column else 'z_y'} = {direction * fall:.2g}"
            text = f"its value falls as {words} beyond {place}: a badly wrong sample moves farther away"
            found.warning("not_monotone", text)
        elif _bounded(values):
            text = f"its value is bounded as {words} (at most {float(values.max()):.3g})"
            found.warning("bounded", f"{text}: the gradient of a confidently wrong sample vanishes")
    right = torch.eye(1, probe.num_classes, dtype=probe.dtype) * 1e4
    if not is_off and not found.has("sign") and probe.value(right, torch.tensor([0])) < -1e3:
        found.fault("unbounded_below", "its value falls without end as the logit of the sample's class grows")


def _along(probe: Probe, rows: "Tensor", found: Findings) -> "Tensor":
    """The loss of each sample for target 0, with the sign that it should have, float64 [B]."""
    import torch

    if found.has("batch_softmax"):
        values = _beside_another(probe, rows)
    else:
        values = probe.values(rows.to(probe.dtype), torch.zeros(len(rows), dtype=torch.int64))
    return -values if found.has("sign") else values


def _beside_another(probe: Probe, rows: "Tensor") -> "Tensor":
    """Twice the loss of each sample in a batch with a second one, whose logits are 0, float64 [B]."""
    import torch

    target = torch.tensor([0, 0])
    pairs = (torch.stack([row, torch.zeros_like(row)]).to(probe.dtype) for row in rows)
    values = torch.tensor([2 * probe.value(pair, target) for pair in pairs], dtype=torch.float64)
    return values / max(1.0, float(values.diff().max() / rows.diff(dim=0).abs().max(dim=1).values.max()))


def _stop(positions: "Tensor", values: "Tensor") -> str | None:
    """The value at which growth stops abruptly, in words; None: it does not."""
    slopes = values.diff() / positions.diff()
    most = float(slopes.max())
    rise = float(values[-1] - values.min())
    if most <= 0 or float(slopes[-8:].abs().max()) > 0.02 * most:
        return None
    level = (slopes > 0.8 * most).nonzero()[:, 0]
    start, end = int(level[0]), int(level[-1])
    below = (slopes[end:] < 0.1 * most).nonzero()[:, 0]
    fall = float(positions[end + int(below[0])] - positions[end])
    long = float(positions[end] - positions[start]) * LONGEST_FALL >= fall
    if not long or (rise < LEAST_RISE and rise / most < LEAST_LOGIT_RISE):
        return None
    last = float(values[-1])
    if not 0.9 < most < 1.5:  # the loss or its logits have a factor
        return f"{last:.3g}"
    if close(rise, last, 0.02):
        return f"{last:.3g} = -log {math.exp(-last):.1g}"
    return f"{last:.3g}, after a rise of {rise:.3g} = -log {math.exp(-rise):.1g},"


def _fall(positions: "Tensor", values: "Tensor") -> float | None:
    """The place beyond which the value falls again; None: it does not."""
    top = int(values.argmax())
    drop = float(values[top] - values[-1])
    return float(positions[top]) if drop > 1e-3 * float(values.max() - values.min()) else None


def _bounded(values: "Tensor") -> bool:
    rise = float(values.max() - values.min())
    return rise > 0 and float(values[-1] - values[len(values) // 2]) < 1e-3 * rise
