"""Checks of how the loss of a batch depends on its samples."""

import math
from typing import TYPE_CHECKING

from lossbench.properties.probe import Probe, close
from lossbench.properties.verdict import Findings

if TYPE_CHECKING:
    from torch import Tensor


def check_batch(probe: Probe, found: Findings) -> None:
    """The loss of a batch is the mean of those of its samples, in any order."""
    import torch

    logits, target = probe.batch()
    value = probe.value(logits, target)
    if found.has("constant"):
        return
    shift = 3 * probe.batch(1, seed=5)[0]  # [1, K]
    same = target[:1].expand(len(target))
    alone = probe.values(logits, same)  # of one sample; a softmax over one sample is constant
    if close(probe.value(logits + shift, target), value) and close(float(alone.min()), float(alone.max())):
        text = (
            "its softmax is over the batch axis: a number added to the logits of a class in all samples changes nothing"
        )
        found.fault("batch_softmax", text, "use dim=1")
        return
    _check_pairs(probe, found)
    if found.has("no_target", "pairs"):
        return
    ignored = _ignored(probe, logits, target)
    order = torch.arange(len(target)).roll(3)
    if ignored:
        moved = _ignored(probe, logits[order], target[order])
        classes = {int(target[i]) for i in ignored}
        counted = {int(k) for i, k in enumerate(target) if i not in ignored}
        if not classes & counted and classes == {int(target[order][i]) for i in moved}:
            text = f"it ignores the samples of {_classes(classes)}"
            found.fault("ignores_class", text, "every class from 0 to K - 1 must count")
        else:
            text = f"its value depends on {len(target) - len(ignored)} of the {len(target)} samples alone"
            found.fault("ignores_samples", text, "average over the whole batch")
        return
    if not found.has("random") and not close(probe.value(logits[order], target[order]), value):
        found.fault("order", "its value depends on the order of the samples")
    twice = probe.value(torch.cat([logits, logits]), torch.cat([target, target]))
    each = float(probe.values(logits, target).mean())
    if close(twice, value, 1e-4) and close(each, value, 1e-4):
        found.fact("mean", "the loss of a batch is the mean of the losses of its samples")
    elif close(twice, 2 * value, 1e-4):
        text = "it is the sum over the batch: twice the batch gives twice the loss"
        found.fault("sum_over_batch", text, "take the mean, or the learning rate depends on the batch size")
    elif close(2 * twice, value, 1e-4):
        text = "it is divided by the batch size twice: twice the batch gives half the loss"
        found.fault("batch_size", text, "take the mean once")
    elif not close(twice, value, 1e-2):
        text = f"its value depends on the batch size: the batch twice gives {twice / value:.3g} times the loss"
        power = math.log2(abs(twice / value)) if value else 0.0
        is_power = any(abs(power - one) < 0.01 for one in (-2, -0.5, 0.5, 1.5, 2))
        add = found.fault if is_power else found.warning
        add("batch_size", text, "take the mean over the batch in all of its parts")
    else:
        text = "the loss of a batch is not the mean of the losses of its samples"
        fix = "if that is not meant, look for [B, 1] against [B], or for class weights that are divided by their sum"
        found.warning("depends_on_batch", text, fix)


def _check_pairs(probe: Probe, found: Findings) -> None:
    """Each sample goes with its own target."""
    logits, target = probe.batch()
    value = probe.value(logits, target)
    if close(probe.value(logits, (target + 1) % probe.num_classes), value) and close(
        probe.value(logits, target * 0), value
    ):
        found.fault("no_target", "its value does not depend on the targets")
    elif len(set(target.tolist())) > 1 and close(probe.value(logits, target.roll(1)), value):
        text = "it pairs every sample with the targets of all samples"
        found.fault("pairs", text, "use logits.gather(1, target[:, None]), not logits[:, target]")


def _ignored(probe: Probe, logits: "Tensor", target: "Tensor") -> list[int]:
    """The samples that can become badly wrong, undecided or right without a change of the value."""
    value, ignored = probe.value(logits, target), []
    for i, k in enumerate(target.tolist()):
        for size in (-5.0, 0.0, 6.0):
            changed = logits.clone()
            changed[i] = 0
            changed[i, k] = size
            if probe.value(changed, target) != value:
                break
        else:
            ignored.append(i)
    return ignored


def _classes(numbers: set[int]) -> str:
    words = ", ".join(map(str, sorted(numbers)))
    return f"class {words}" if len(numbers) == 1 else f"the classes {words}"


def check_classes(probe: Probe, found: Findings) -> None:
    """Whether classes are interchangeable, and whether a constant added to all logits of a sample matters."""
    logits, target = probe.batch()
    value = probe.value(logits, target)
    order = probe.batch(1, seed=3)[0][0].argsort()  # a permutation of the classes
    if close(probe.value(logits[:, order], order.argsort()[target]), value):
        found.fact("symmetric", "it treats all classes alike")
    elif not found.has("label_off", "prediction"):
        found.fact("class_specific", "it treats classes differently: renumbering the classes changes the value")
    if close(probe.value(logits + 1.7, target), value):
        found.fact("shift", "a number added to all logits of a sample changes nothing")
    else:
        found.fact(
            "shift", "a number added to all logits of a sample changes the value, as with one classifier per class"
        )
