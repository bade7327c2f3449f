"""Checks of how a loss behaves as a function in PyTorch: what it returns, changes, repeats, accepts and refuses."""

import math
from typing import TYPE_CHECKING

from lossbench.properties.probe import LossError, Probe
from lossbench.properties.verdict import Findings

if TYPE_CHECKING:
    from torch import Tensor


def check_result(probe: Probe, found: Findings) -> None:
    """A scalar tensor, finite."""
    import torch

    logits, target = probe.batch()
    returned = probe.call(logits.clone().requires_grad_() * 1, target)
    if not isinstance(returned, torch.Tensor):
        kind = type(returned).__name__
        found.fault(
            "detached", f"it returns a {kind}, which has no gradient", "return a tensor, without .item() or float()"
        )
        return
    shape = list(returned.shape)
    batch_size, num_classes = logits.shape
    if shape == [batch_size]:
        found.fault(
            "not_scalar", f"it returns one value for each sample, {shape}, in place of a scalar", "take .mean()"
        )
    elif shape == [num_classes]:
        text = f"it returns one value for each class, {shape}: the average is over the batch alone"
        found.fault("not_scalar", text, "sum over the classes first, then take the mean over the batch")
    elif shape:
        found.fault(
            "not_scalar", f"it returns a tensor of shape {shape} in place of a scalar", "reduce it to one number"
        )
    if not returned.isfinite().all():
        found.fault("not_finite", f"its value is {float(probe.number(returned))} for ordinary random logits")
    if returned.device != logits.device:
        found.fault("device", f"it returns a tensor on {returned.device} for logits on {logits.device}")


def check_same_twice(probe: Probe, found: Findings) -> None:
    """The same value for the same arguments, which stay as they are."""
    import torch

    logits, target = probe.batch()
    given, classes = logits.clone(), target.clone()
    probe.call(given, classes)
    if not torch.equal(given, logits):
        found.fault(
            "changes_logits",
            "it changes the logits that it is given, in place",
            "work on a copy, without x_() or x[...] =",
        )
    if not torch.equal(classes, target):
        found.fault("changes_target", "it changes the targets that it is given, in place", "work on a copy")
    once, twice = probe.value(logits, target), probe.value(logits, target)
    if once != twice and not (math.isnan(once) and math.isnan(twice)):
        found.fault(
            "keeps_state", "two calls with the same arguments give different values: it keeps something between calls"
        )
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        probe.loss(logits.clone(), target.clone())
        drawn = not torch.equal(before, torch.random.get_rng_state())
    if drawn:
        found.warning(
            "random", "it draws random numbers from torch's global generator; its value is another at each call"
        )


def check_other_batches(probe: Probe, found: Findings) -> None:
    """Batches without some classes, of one sample, and of other numbers of classes."""
    logits, target = probe.batch()
    last = probe.num_classes - 1
    few = target.clone().fill_(int(last > 1))
    try:
        probe.value(logits, few)
    except LossError as error:
        text = f"it fails for a batch without samples of class {last} ({error})"
        found.fault("absent_class", text, "give one_hot its num_classes")
        return
    try:
        probe.value(logits[:1], target[:1])
    except LossError as error:
        found.fault("one_sample", f"it fails for a batch of one sample ({error})")
    for num_classes in sorted(({2} if probe.is_slow else {2, 1000}) - {probe.num_classes}):
        try:
            Probe(probe.loss, num_classes)
        except LossError as error:
            text = f"it works for {probe.num_classes} classes, but not for {num_classes} ({error})"
            found.warning(f"classes_{num_classes}", text)
    if probe.dtype != logits.double().dtype:
        found.warning("float64", "it fails for float64 logits, so that its derivatives are checked less closely")


def check_bad_targets(probe: Probe, found: Findings) -> None:
    """Wrong labels should give an error."""
    import torch

    logits, target = probe.batch()
    accepted = []
    for words, wrong in (
        ("class -1", _with(target, -1)),
        (f"class {probe.num_classes}", _with(target, probe.num_classes)),
        ("targets of type float", target.to(torch.float32) + 0.5),
        ("targets [B, 1]", target[:, None]),
        ("more targets than samples", torch.cat([target, target[:1]])),
    ):
        try:
            value = probe.value(logits, wrong)
        except LossError:
            continue
        accepted.append(f"{words} (value {value:.3g})")
    if accepted:
        text = f"a wrong label gives a wrong value without an error: {', '.join(accepted)}"
        found.warning("bad_targets", text, "check the range, type and shape of the targets")


def check_device(probe: Probe, found: Findings) -> None:
    """No tensors of its own on the CPU; tried on torch's "meta" device, which computes shapes alone."""
    logits, target = probe.batch()
    try:
        probe.call(logits.to("meta"), target.to("meta"))
    except LossError as error:
        if "meta" in str(error) and "cpu" in str(error) and "device" in str(error):
            text = "it uses a tensor on the CPU, so that it fails for logits on a GPU"
            found.warning("cpu_tensor", text, "create it with device=logits.device")


def _with(target: "Tensor", wrong: int) -> "Tensor":
    changed = target.clone()
    changed[0] = wrong
    return changed
