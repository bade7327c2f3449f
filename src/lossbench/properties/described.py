"""The estimated properties of a loss, a line each."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lossbench.properties.probe import LossError, Probe, TooSlowError, limited

CLASSES = (4, 3, 2)
"""Numbers of classes to estimate with, if the loss does not take its own, at most 10."""

MOST_CLASSES = 5
"""Largest number of classes to estimate with; with more it takes minutes."""

SECONDS = 8.0
"""Time for the estimation."""

SLOWEST_S = 0.02
"""Longest forward and backward pass over 512 samples, in seconds, with which the estimation is begun."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` in the block after this time, also outside of the loss; in the main thread of Unix alone."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def describe(
    loss: Callable[..., Any],
    num_classes: int,
    own_map: Callable[[Any], Any] | None = None,
    as_read: Callable[[Any], Any] = lambda logits: logits,
) -> dict[str, str]:
    """Properties in words, by name; one line with the reason if they cannot be estimated.

    Args:
        loss: a function of logits [B, K] and target [B].
        num_classes: K that the loss takes.
        own_map: from logits [N, K] to probabilities [N, K], NumPy arrays; None: softmax.
        as_read: the logits [N, K] whose order predicts, from those of the loss.
    """
    from scipy.special import softmax

    from lossbench.properties.estimate import Finding, estimate

    probe = _small(loss, num_classes)
    if isinstance(probe, str):
        return {"not estimated": probe}
    if probe.num_classes > MOST_CLASSES:
        return {"not estimated": f"it works for {probe.num_classes} classes, but not for {CLASSES[0]}"}
    try:
        probabilities = own_map or (lambda z: softmax(z, axis=1))
        with time_limit(2 * SECONDS):
            found = estimate(limited(loss, SECONDS), probe.num_classes, probabilities=probabilities, as_read=as_read)
    except TooSlowError:
        return {"not estimated": f"it takes more than {SECONDS:g} seconds"}
    except Exception as error:  # of the loss, for logits that no check has tried
        return {"not estimated": f"{type(error).__name__}: {' '.join(str(error).split()):.160}"}

    def answered(finding: Finding) -> str:
        if finding.value is None:
            return finding.evidence
        return "yes" if finding.value else f"no; {finding.evidence}"

    def number(finding: Finding, otherwise: str) -> str:
        return otherwise if finding.value is None else f"{finding.value:.3g}"

    map_name = "its own map" if own_map else "softmax"
    lines = {
        "convex in the logits": answered(found.convex),
        "largest gradient of a sample": number(found.gradient_bound, found.gradient_bound.evidence),
        "largest curvature": number(found.smoothness, found.smoothness.evidence),
        "margin beyond which the gradient is 0": number(found.margin, "none"),
        "top-1 consistent": answered(found.top1_consistent),
        "keeps the order of the posterior": answered(found.order_preserving),
        "posterior can be recovered": answered(found.recoverable),
        f"proper with {map_name}": answered(found.strictly_proper),
    }
    if found.batch_dependent.value:  # nothing is known of single samples
        lines = {key: text for key, text in lines.items() if "gradient" not in key and "curvature" not in key}
    return {"number of classes": str(probe.num_classes), **lines}


def _small(loss: Callable[..., Any], num_classes: int) -> "Probe | str":
    """The loss with few classes, or why its properties cannot be estimated."""
    for number in (*CLASSES, num_classes):
        try:
            probe = Probe(loss, number)
        except LossError:
            continue
        break
    else:
        return f"it takes {num_classes} classes alone"
    if number > 10:
        return f"it takes {num_classes} classes alone, which is too many"
    if not probe.precise:
        return "it does not compute in float64"
    begin = time.perf_counter()
    try:
        probe.autograd(*probe.batch(512))
    except LossError as error:
        return str(error)
    if time.perf_counter() - begin > SLOWEST_S:
        probe.autograd(*probe.batch(512))
        begin = time.perf_counter()
        probe.autograd(*probe.batch(512))
        if (taken := time.perf_counter() - begin) > SLOWEST_S:
            return f"it takes {1000 * taken:.0f} ms for 512 samples"
    return probe
