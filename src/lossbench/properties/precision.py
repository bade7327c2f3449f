"""Check of a loss for arithmetic in half precision, whatever the precision of its logits."""

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lossbench.properties.probe import LossError, Probe
from lossbench.properties.ranges import SIZES
from lossbench.properties.verdict import Findings

if TYPE_CHECKING:
    from torch import Tensor

FIX = "compute in the precision of the logits, without .half(), .bfloat16() or autocast"


def check_precision(probe: Probe, found: Findings) -> None:
    """Logits of float32 are computed with in float32; if not, where half precision overflows."""
    import torch

    logits, target = probe.batch()
    low = [kind for kind in _kinds(probe, logits.float(), target) if kind in (torch.float16, torch.bfloat16)]
    if not low:
        return
    name = str(low[0]).removeprefix("torch.")
    ordinary = f"it computes in {name} although its logits are in float32"
    for size in SIZES:
        rows = torch.zeros(2, probe.num_classes)
        rows[:, 0] = size
        with suppress(LossError):
            for words, given in ((f"logits at {size:g}", rows), (f"logits at {-size:g}", -rows)):
                value = probe.value(given, torch.tensor([0, 1]))
                if not math.isfinite(value):
                    found.fault("in_half", f"{ordinary}, and overflows: its value is {value} for {words}", FIX)
                    return
    digits = "3" if low[0] == torch.float16 else "2"
    found.fault("in_half", f"{ordinary}: its value has about {digits} digits", FIX)


def _kinds(probe: Probe, logits: "Tensor", target: "Tensor") -> list[Any]:
    """The types of all floating-point numbers that the loss computes."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    kinds: dict[torch.dtype, None] = {}

    class Kinds(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
                    kinds[leaf.dtype] = None
            return result

    with Kinds(), suppress(LossError):  # type: ignore[no-untyped-call]
        probe.call(logits, target)
    return list(kinds)
