"""All checks of a loss, in an order in which the cause of a fault is found before what follows from it."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from lossbench.properties.batches import check_batch, check_classes
from lossbench.properties.calls import (
    check_bad_targets,
    check_device,
    check_other_batches,
    check_result,
    check_same_twice,
)
from lossbench.properties.cost import costs
from lossbench.properties.derivatives import check_curvature, check_gradient
from lossbench.properties.described import describe
from lossbench.properties.direction import (
    check_direction,
    check_known,
    check_learning,
    check_mistakes,
    check_prediction,
)
from lossbench.properties.precision import check_precision
from lossbench.properties.probe import LossError, Probe, TooSlowError, limited
from lossbench.properties.ranges import check_float32, check_growth, check_half, check_large
from lossbench.properties.verdict import Findings, Verdict

CHECKS: tuple[Callable[[Probe, Findings], None], ...] = (
    check_result,
    check_precision,
    check_same_twice,
    check_other_batches,
    check_gradient,
    check_batch,
    check_mistakes,
    check_direction,
    check_prediction,
    check_classes,
    check_large,
    check_growth,
    check_half,
    check_float32,
    check_learning,
    check_curvature,
    check_bad_targets,
    check_device,
)

SECONDS = 12.0
"""Time for the checks of faults."""

FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "absent_class": ("one_sample", "fails"),
    "in_half": (
        *("wrong_gradient", "not_finite", "constant", "second_derivative", "no_second", "random"),
        *("overflow", "half_overflow", "low_precision", "rounding", "float64", "eps", "bounded", "not_monotone"),
        *("depends_on_batch", "mean", "order", "class_specific", "does_not_learn", "flat"),
    ),
    "random": ("depends_on_batch", "batch_size", "class_specific", "order", "mean"),
    "label_off": ("ignores_class", "class_specific"),
    "order": ("batch_size",),
    "no_softmax": ("unbounded_below",),
    "no_log": ("bounded",),
    "softmax_twice": ("bounded",),
    "sigmoid_twice": ("bounded",),
    "p_log_p": ("does_not_learn", "not_monotone", "eps"),
}
"""What follows from a fault, by its code, and is not listed beside it."""


def check(
    loss: Callable[..., Any],
    name: str,
    num_classes: int = 10,
    known: Mapping[str, Callable[..., Any]] | None = None,
    briefly: bool = False,
) -> Verdict:
    """Check a loss for faults.

    Args:
        loss: a function of logits [B, K] and target, int64 [B].
        name: of the loss, for the sentences of the verdict.
        num_classes: K of most checks, >= 2.
        known: other losses by name; the verdict says if the loss equals one of them.
        briefly: leave out the cost and the properties.

    Raises:
        ValueError: the loss cannot be called with an ordinary batch.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the batches are small
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the wrong arguments that are tried
            return _check(loss, name, num_classes, known or {}, briefly)
    finally:
        torch.set_num_threads(threads)


def _check(
    loss: Callable[..., Any], name: str, num_classes: int, known: Mapping[str, Callable[..., Any]], briefly: bool
) -> Verdict:
    given = loss
    loss = limited(loss, SECONDS)
    try:
        probe = Probe(loss, num_classes)
    except LossError as error:
        shapes = f"logits [8, {num_classes}] (float32) and target [8] (int64)"
        raise ValueError(f"{name} fails for {shapes}: {error}") from error
    found = Findings()
    for one in CHECKS:
        _run(lambda one=one: one(probe, found), found)  # type: ignore[misc]
        if found.has("keeps_state"):
            break
    if not found.has("keeps_state"):
        _run(lambda: check_known(probe, found, known), found)
    followers = {code for cause in FOLLOWS if found.has(cause) for code in FOLLOWS[cause]}
    if found.has_fault():
        followers |= {"equals", "temperature", "mean"}  # facts of a loss that is right
    listed = [finding for finding in found if finding.code not in followers]
    if briefly:
        return Verdict(name, num_classes, listed)
    properties: dict[str, str] = {}
    if not found.has_fault():
        read = {"as_read": given.as_read} if hasattr(given, "as_read") else {}
        properties = describe(given, num_classes, getattr(given, "own_map", None), **read)
    return Verdict(name, num_classes, listed, costs(given), properties)


def _run(one: Callable[[], None], found: Findings) -> None:
    try:
        one()
    except TooSlowError:
        found.warning("slow", f"it is slow: some checks were left out after {SECONDS:g} seconds")
    except LossError as error:
        if not found.has_fault():
            found.fault("fails", f"it fails for some logits: {error}")
