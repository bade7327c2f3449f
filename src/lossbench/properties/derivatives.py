"""Checks of a loss's first and second derivatives against central differences."""

import math
from typing import TYPE_CHECKING, Any

from lossbench.properties.probe import LossError, Probe, cuts_of_graph, differentiated
from lossbench.properties.verdict import Findings

if TYPE_CHECKING:
    from torch import Tensor

MOST_SLOPES = 40
"""Logits whose derivatives are compared."""

TOLERANCE = {1e-6: 1e-4, 1e-2: 3e-2}
"""Accepted difference of the two, relative to the largest derivative, for each step of the central differences."""


def check_gradient(probe: Probe, found: Findings) -> None:
    """The gradient is that of the value; if not, what has cut the graph."""
    import torch

    logits, target = probe.batch(5)
    logits[::2].scatter_add_(1, target[::2, None], torch.full_like(logits[::2, :1], math.log(probe.num_classes)))
    leaf = logits.clone().requires_grad_()
    with cuts_of_graph() as cuts, torch.enable_grad():
        value = probe.number(probe.call(leaf * 1, target))
    blame = f" by {' and '.join(sorted(cuts))}" if cuts else ""
    gradient = differentiated(value, leaf)
    chosen = _chosen(logits, target)
    slopes = torch.tensor([probe.slope(logits, target, i, k, probe.step) for i, k in chosen])
    if gradient is None or not gradient.isfinite().all():
        probe.numeric = True
        if found.has("detached", "not_finite"):
            return
        if gradient is not None:
            found.fault("not_finite", "its gradient is not finite for ordinary random logits")
        elif not slopes.any():
            text = "its value does not change with the logits, so that it has no gradient"
            found.fault("constant", text, "argmax, comparisons and rounding have no gradient: use probabilities")
        else:
            text = f"its value has no gradient: the graph is cut{blame}"
            found.fault("detached", text, "compute the value from the logits with differentiable operations alone")
        return
    given = torch.tensor([float(gradient[i, k]) for i, k in chosen])
    allowed = TOLERANCE[probe.step] * max(float(slopes.abs().max()), float(given.abs().max())) + 1e-12
    if float(((slopes - given).abs() > allowed).float().mean()) > 0.05:  # a few may lie at kinks
        probe.numeric = True
        if cuts and not _has_own_backward(value):
            text = f"its gradient is not that of its value: a part is cut from the graph{blame}"
            found.fault("part_detached", text, "if that part is meant as a constant, this is no fault")
        else:
            found.fault("wrong_gradient", "its gradient is not the derivative of its value: its backward pass is wrong")
        return
    doubled = differentiated(2 * probe.number(probe.call(leaf * 1, target)), leaf)
    if doubled is None or not torch.allclose(doubled, 2 * gradient, rtol=1e-3):
        text = "its backward pass ignores the gradient that it is given: twice the loss has the same gradient"
        found.fault("wrong_gradient", text, "multiply by grad_output in backward")


def _has_own_backward(value: "Tensor") -> bool:
    """Whether a `torch.autograd.Function` written in Python is part of the graph."""
    from torch.autograd.function import BackwardCFunction

    waiting: list[Any] = [value.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            if isinstance(node, BackwardCFunction):
                return True
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
    return False


def _chosen(logits: "Tensor", target: "Tensor") -> list[tuple[int, int]]:
    """Places of logits: those of the targets, then random ones."""
    import torch

    places = torch.randperm(logits.numel(), generator=torch.Generator().manual_seed(1))[:MOST_SLOPES].tolist()
    others = [divmod(place, logits.shape[1]) for place in places]
    return list(dict.fromkeys([*enumerate(target.tolist()), *others]))[:MOST_SLOPES]


def check_curvature(probe: Probe, found: Findings) -> None:
    """The second derivative is that of the gradient, in three random directions."""
    if probe.numeric or not probe.precise:
        return
    logits, target = probe.batch(4)
    step, zero, wrong = 1e-5, 0, 0
    for seed in range(3):
        direction = probe.batch(4, scale=1.0, seed=seed + 7)[0]
        try:
            given = _second(probe, logits, target, direction)
        except LossError as error:
            found.fact("no_second", f"it has no second derivative: {error}")
            return
        high, low = (probe.gradient(logits + sign * step * direction, target) for sign in (1, -1))
        real = (high - low) / (2 * step)
        scale = float(real.abs().max())
        if float((given - real).abs().max()) > 1e-2 * max(scale, 1e-4):
            wrong += 1
            zero += not given.any()
    if wrong >= 2:
        text = "its second derivative is 0 without an error" if zero >= 2 else "its second derivative is wrong"
        fix = (
            "training does not need it; methods with curvature do"
            if zero >= 2
            else "a part of its gradient is detached"
        )
        found.warning("second_derivative", text, fix)


def _second(probe: Probe, logits: "Tensor", target: "Tensor", direction: "Tensor") -> "Tensor":
    """The second derivative times a direction, [B, K]."""
    import torch

    leaf = logits.clone().requires_grad_()
    gradient = differentiated(probe.number(probe.call(leaf * 1, target)), leaf, create_graph=True)
    product = None if gradient is None else differentiated((gradient * direction).sum(), leaf)
    return torch.zeros_like(logits) if product is None else product
