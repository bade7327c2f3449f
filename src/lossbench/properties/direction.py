"""Checks of where a loss drives the logits: which class it raises, whether it learns, and which formula it is."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lossbench.properties.probe import LossError, Probe, close
from lossbench.properties.verdict import Findings

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROWS = 10
"""Classes whose direction is looked at, and samples of them at least."""

LEARNED = 0.9
"""Accuracy, on training samples of a problem without noise, that a loss must reach."""

STEPS = 150
"""Steps of Adam to reach it in."""

FORMULA_SAMPLES = 16
"""Samples on which values are compared with those of other formulas."""


def check_direction(probe: Probe, found: Findings) -> None:
    """The gradient raises the logit of the sample's class, and lowers the others."""
    if found.has("constant", "no_target", "pairs", "p_log_p"):
        return
    if probe.num_classes == 2:  # a flipped label and a flipped sign are the same there
        try:
            probe_of_five = Probe(probe.loss, 5)
        except LossError:
            _check_two(probe, found)
        else:
            probe_of_five.numeric = probe.numeric
            _check_rows(probe_of_five, found)
        return
    _check_rows(probe, found)


def _rows(probe: Probe) -> "tuple[Tensor, list[int]]":
    """Gradients near equal logits, for samples of some classes, [B, K], and these classes."""
    import torch

    num = min(probe.num_classes, MOST_ROWS)
    classes = torch.linspace(0, probe.num_classes - 1, num).round().long().repeat(-(-MOST_ROWS // num))
    num = len(classes)
    logits = 0.05 * torch.randn(num, probe.num_classes, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return probe.gradient(logits.to(probe.dtype), classes), classes.tolist()


def _check_rows(probe: Probe, found: Findings) -> None:
    gradient, classes = _rows(probe)
    num_classes = probe.num_classes
    used = gradient.any(dim=1)  # bool [B]
    if not used.any():
        found.warning("flat", "its gradient is 0 where all logits are about equal, where training begins")
        return
    gradient, classes = gradient[used], [k for k, is_used in zip(classes, used.tolist(), strict=True) if is_used]
    raised, lowered = gradient.argmin(dim=1).tolist(), gradient.argmax(dim=1).tolist()
    up = _offset(classes, raised, num_classes)
    down = _offset(classes, lowered, num_classes)
    if up == 0:
        return
    if up is not None:
        text = f"it raises the logit of class {_shifted(up, num_classes)} for a sample of class y"
        text += f": the label is off by {_distance(up, num_classes)}"
        found.fault("label_off", text, "use the target as it is")
    elif down is not None:
        text = "it has the wrong sign: its gradient step lowers the logit of the sample's class"
        found.fault("sign", text, "negate it")
        if down:
            text = f"the class that it lowers is {_shifted(down, num_classes)}: the label is off, too"
            found.fault("label_off", text, "use the target as it is")
    elif len(set(raised)) == 1 and len(raised) > 2:
        found.fault("no_target", f"it raises the logit of class {raised[0]} for samples of every class")


def _check_two(probe: Probe, found: Findings) -> None:
    gradient, classes = _rows(probe)
    if gradient.argmin(dim=1).tolist() == [1 - k for k in classes]:
        found.fault("sign", "it raises the logit of the other class: its sign is wrong, or its labels are swapped")


def _offset(classes: list[int], chosen: list[int], num_classes: int) -> int | None:
    """The d such that (y + d) % K is chosen for all classes y but one at most; None: there is none."""
    offsets = [(k - y) % num_classes for y, k in zip(classes, chosen, strict=True)]
    offset = Counter(offsets).most_common(1)[0][0]
    others = {y for y, one in zip(classes, offsets, strict=True) if one != offset}
    return offset if len(others) <= 1 < len(set(classes)) else None


def _shifted(offset: int, num_classes: int) -> str:
    return f"y + {offset}" if offset <= num_classes // 2 else f"y - {num_classes - offset}"


def _distance(offset: int, num_classes: int) -> str:
    distance = min(offset, num_classes - offset)
    return "one" if distance == 1 else str(distance)


def check_learning(probe: Probe, found: Findings) -> None:
    """Trained on a problem without noise, it must classify the training samples."""
    directed = ("constant", "no_target", "pairs", "sign", "label_off", "ignores_class", "ignores_samples")
    if probe.numeric or found.has("not_finite", *directed):
        return
    accuracy = trained_accuracy(probe)
    if accuracy < LEARNED:
        text = f"it does not learn: it reaches accuracy {accuracy:.2f} on a problem that any linear classifier solves"
        found.fault("does_not_learn", text)
    else:
        found.fact("learns", f"it learns: accuracy {accuracy:.2f} on a separable problem")


def trained_accuracy(probe: Probe) -> float:
    """Accuracy on the training samples of a linear classifier, one input per class, after `STEPS` steps of Adam."""
    import torch

    num_classes = probe.num_classes
    inputs = torch.arange(num_classes).repeat(4 if num_classes <= 100 else 1)
    weights = torch.zeros(num_classes, num_classes, dtype=torch.float32, requires_grad=True)
    with torch.enable_grad():
        optimizer = torch.optim.Adam([weights], lr=0.1)
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.autograd.backward(probe.number(probe.call(weights[inputs], inputs)))
            optimizer.step()
    return float((weights.argmax(dim=1) == torch.arange(num_classes)).float().mean())


def check_prediction(probe: Probe, found: Findings) -> None:
    """The value is continuous where the predicted class changes."""
    import torch

    if probe.dtype != torch.float64 or found.has("constant"):
        return
    last = probe.num_classes - 1
    jumps = []
    cases = {(0, 1, 2 % (last + 1)), (1, last, 1), (last - 1, last, 0), (0, last, 0), (0, 1, 1)}
    for first, second, target in cases - {(1, 1, 1)}:
        logits = 0.5 * probe.batch(1, scale=1.0, seed=first)[0]
        logits[0, [first, second]] = 3.0
        near = logits.clone(), logits.clone()
        near[0][0, first] += 1e-7
        near[1][0, second] += 1e-7
        low, high = (probe.value(one, torch.tensor([target])) for one in near)
        if not close(low, high, 1e-3):
            jumps.append(abs(high - low))
    if jumps:
        text = f"its value jumps, by {max(jumps):.3g} in one case, where the predicted class changes"
        found.fault("prediction", text, "take weights and masks from the target, not from the prediction (argmax)")


def _mistakes() -> "Mapping[str, tuple[Callable[[Tensor, Tensor], Tensor], str, str]]":
    """Formulas of frequent mistakes: function of single samples, what is wrong, and what would help."""
    import torch.nn.functional as F

    def own(values: "Tensor", target: "Tensor") -> "Tensor":
        return values.gather(1, target[:, None])[:, 0]

    def one_vs_all(values: "Tensor", target: "Tensor") -> "Tensor":
        targets = F.one_hot(target, values.shape[1]).to(values.dtype)
        return F.binary_cross_entropy_with_logits(values, targets, reduction="none").sum(dim=1)

    return {
        "softmax_twice": (
            lambda z, y: F.cross_entropy(z.softmax(dim=1), y, reduction="none"),
            "it applies softmax twice: the cross-entropy takes logits and is given probabilities",
            "give it the logits",
        ),
        "sigmoid_twice": (
            lambda z, y: one_vs_all(z.sigmoid(), y),
            "it applies the sigmoid twice: the loss takes logits and is given probabilities",
            "give it the logits",
        ),
        "no_log": (
            lambda z, y: -own(z.softmax(dim=1), y),
            "its logarithm is missing: it is -p_y, not -log p_y",
            "use log_softmax in place of softmax",
        ),
        "no_softmax": (
            lambda z, y: -own(z, y),
            "its softmax is missing: it is -z_y, which falls without end as z_y grows",
            "use log_softmax of the logits",
        ),
        "p_log_p": (
            lambda z, y: -own(z.softmax(dim=1) * z.log_softmax(dim=1), y),
            "it is -p_y log p_y, which is 0 for p_y = 0 as well",
            "weight log p_y by the target, not by p_y",
        ),
    }


def check_mistakes(probe: Probe, found: Findings) -> None:
    """Whether the loss is the formula of a frequent mistake, up to a positive factor and a constant."""
    if _has_no_formula(probe, found):
        return
    logits, target = probe.batch(FORMULA_SAMPLES)
    values = probe.values(logits, target)
    for code, (formula, text, fix) in _mistakes().items():
        line = _line(formula(logits, target), values)
        if line is not None and line[0] > 0 and (code != "no_log" or abs(line[1]) < 1e-6):
            found.fault(code, text, fix)
            return


def _has_no_formula(probe: Probe, found: Findings) -> bool:
    import torch

    return probe.dtype != torch.float64 or found.has("batch_softmax", "constant", "no_target", "not_finite")


def check_known(probe: Probe, found: Findings, known: "Mapping[str, Callable[[Tensor, Tensor], Any]]") -> None:
    """Whether the loss equals one that is known, or the softmax cross-entropy of scaled logits.

    Args:
        probe: the loss.
        found: where findings go.
        known: other losses by name.
    """
    if _has_no_formula(probe, found):
        return
    logits, target = probe.batch(FORMULA_SAMPLES)
    values = probe.values(logits, target)
    for name, loss in known.items():
        other = Probe(loss, probe.num_classes)
        line = _line(other.values(logits, target), values)
        if line is not None and line[0] > 0:
            if not found.has("sum_over_batch", "not_scalar") and not close(
                line[0] * other.value(logits, target) + line[1], probe.value(logits, target)
            ):
                continue  # they agree for single samples alone
            factor = "" if close(line[0], 1) else f"{line[0]:.6g} times "
            added = "" if abs(line[1]) < 1e-6 else f" {'+' if line[1] > 0 else '-'} {abs(line[1]):.6g}"
            found.fact("equals", f"it is {factor}{name}{added}")
            return
    _check_temperature(probe, found, logits, target, values)


def _check_temperature(probe: Probe, found: Findings, logits: "Tensor", target: "Tensor", values: "Tensor") -> None:
    """Whether the loss is the softmax cross-entropy of scaled logits."""
    import math

    import torch.nn.functional as F

    equal = logits[:1] * 0
    wrong = equal.clone()
    wrong[0, target[0]] = -1000.0
    most = probe.value(wrong, target[:1]) - probe.value(wrong * 0.9, target[:1])
    least = probe.value(equal, target[:1])
    if not (most > 0 and least > 0 and math.isfinite(most)):
        return
    scale = most / 100 / (least / math.log(probe.num_classes))
    line = _line(F.cross_entropy(scale * logits, target, reduction="none"), values)
    if line is not None and line[0] > 0:
        text = f"it is {line[0]:.4g} times the softmax cross-entropy of {scale:.4g} times the logits"
        found.fact("temperature", f"{text} (temperature {1 / scale:.4g})")


def _line(inputs: "Tensor", outputs: "Tensor") -> tuple[float, float] | None:
    """Factor and constant of a straight line through all points; None: there is none."""
    import torch

    inputs = inputs.double()
    if not (inputs.isfinite().all() and outputs.isfinite().all()) or float(inputs.std()) < 1e-9:
        return None
    table = torch.stack([inputs, torch.ones_like(inputs)], dim=1)
    solution = torch.linalg.lstsq(table, outputs[:, None]).solution[:, 0]
    off = (table @ solution - outputs).abs().max()
    return (float(solution[0]), float(solution[1])) if float(off) < 1e-7 * max(1.0, float(outputs.std())) else None
