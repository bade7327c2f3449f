"""A loss as the checks call it: with the same random numbers each time, its errors in one sentence."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, dtype

BATCH = 8
"""Samples of an ordinary batch, unequal to the usual numbers of classes in the checks."""


SLOW_S = 0.003
"""Time of one call, in seconds, above which checks with many more classes are left out."""


class LossError(Exception):
    """The loss has raised an error, or returns what is no number."""


class TooSlowError(Exception):
    """The time for the checks is over."""


def limited(loss: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """The loss, which raises `TooSlowError` once so much time has passed since now."""
    end = time.monotonic() + seconds

    def called(logits: "Tensor", target: "Tensor") -> Any:
        if time.monotonic() > end:
            raise TooSlowError
        return loss(logits, target)

    return called


class Probe:
    """A loss and batches for it.

    Args:
        loss: called with logits [B, K] and target, int64 [B].
        num_classes: K of the batches.

    Raises:
        LossError: it cannot be called with an ordinary batch.
    """

    def __init__(self, loss: Callable[..., Any], num_classes: int) -> None:
        import torch

        self.loss, self.num_classes = loss, num_classes
        self.numeric = False
        """Whether gradients are central differences, since those of the loss are wrong."""
        self.dtype: dtype = torch.float32
        logits, target = self.batch()
        self.call(logits, target)
        begin = time.monotonic()
        self.call(logits, target)
        self.is_slow = time.monotonic() - begin > SLOW_S
        try:
            self.call(logits.double(), target)
            self.dtype = torch.float64
        except LossError:
            pass
        self.precise = self.dtype == torch.float64 and self._notices_small_changes()
        """Whether it computes in float64 if the logits are float64."""

    def _notices_small_changes(self) -> bool:
        logits, target = self.batch()
        changes = [self.batch(seed=seed)[0] * 1e-11 for seed in (1, 2, 3)]
        return any(self.value(logits + change, target) != self.value(logits, target) for change in changes)

    def batch(self, batch_size: int = BATCH, *, scale: float = 1.5, seed: int = 0) -> "tuple[Tensor, Tensor]":
        """Random logits [B, K] with this standard deviation, and targets, all of them different where K allows it.

        The classes 0 and K - 1 are among the targets if B >= 2.
        """
        import torch

        random = torch.Generator().manual_seed(seed)
        logits = scale * torch.randn(batch_size, self.num_classes, generator=random, dtype=torch.float64)
        classes = torch.arange(self.num_classes).roll(1).repeat(-(-batch_size // self.num_classes))[:batch_size]
        return logits.to(self.dtype), classes[torch.randperm(batch_size, generator=random)]

    def call(self, logits: "Tensor", target: "Tensor") -> Any:
        """What the loss returns.

        Raises:
            LossError: it raises an error.
        """
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # torch.manual_seed(0) formats the stack thrice for absent devices
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.manual_seed_all(0)
            try:
                return self.loss(logits, target)
            except TooSlowError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())
                raise LossError(f"{type(error).__name__}: {reason:.160}" if reason else type(error).__name__) from error

    def number(self, returned: Any) -> "Tensor":
        """What the loss has returned as a scalar: the mean if it has several elements.

        Raises:
            LossError: it is no number.
        """
        import torch

        if not isinstance(returned, torch.Tensor):
            try:
                returned = torch.as_tensor(returned)
            except (TypeError, ValueError, RuntimeError) as error:
                raise LossError(f"it returns a {type(returned).__name__}") from error
        number: Tensor = returned if returned.ndim == 0 else returned.mean()
        return number

    def value(self, logits: "Tensor", target: "Tensor") -> float:
        """The loss as a number.

        Raises:
            LossError: it raises an error, or returns no number.
        """
        return float(self.number(self.call(logits.clone(), target)).detach())

    def values(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """The loss of each sample in a batch of its own, float64 [B]."""
        import torch

        rows = [self.value(logits[i : i + 1], target[i : i + 1]) for i in range(len(target))]
        return torch.tensor(rows, dtype=torch.float64)

    def autograd(self, logits: "Tensor", target: "Tensor", *, create_graph: bool = False) -> "Tensor | None":
        """The gradient by torch, [B, K]; None: the value has none."""
        import torch

        leaf = logits.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = self.number(self.call(leaf * 1, target))
            return differentiated(value, leaf, create_graph=create_graph)

    def gradient(self, logits: "Tensor", target: "Tensor") -> "Tensor":
        """The gradient, [B, K]: by torch, or by central differences if `numeric` is true."""
        import torch

        found = None if self.numeric else self.autograd(logits, target)
        if found is not None:
            return found
        found = torch.zeros_like(logits)
        for i in range(logits.shape[0]):
            for k in range(logits.shape[1]):
                found[i, k] = self.slope(logits, target, i, k, self.step)
        return found

    @property
    def step(self) -> float:
        """Step of central differences."""
        return 1e-6 if self.precise else 1e-2

    def slope(self, logits: "Tensor", target: "Tensor", i: int, k: int, step: float) -> float:
        """The derivative in one logit by a central difference."""
        high, low = logits.clone(), logits.clone()
        high[i, k] += step
        low[i, k] -= step
        return (self.value(high, target) - self.value(low, target)) / float(high[i, k] - low[i, k])


def differentiated(value: "Tensor", leaf: "Tensor", *, create_graph: bool = False) -> "Tensor | None":
    """The gradient of a scalar in `leaf`; None: it has none.

    Raises:
        LossError: the backward pass raises an error.
    """
    import torch

    if not value.requires_grad:
        return None
    try:
        (found,) = torch.autograd.grad(value, leaf, create_graph=create_graph, allow_unused=True)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise LossError(f"its backward pass fails, {type(error).__name__}: {reason:.160}") from error
    return found


@contextmanager
def cuts_of_graph() -> "Iterator[set[str]]":
    """Collects, while it is open, what has cut floating-point tensors from the graph, such as ".detach()"."""
    import torch
    from torch.overrides import TorchFunctionMode, resolve_name

    cuts: set[str] = set()
    words = {
        "detach": ".detach()",
        "detach_": ".detach()",
        "item": ".item()",
        "tolist": ".tolist()",
        "numpy": ".numpy()",
    }
    words |= {"__float__": "float()", "data.__get__": ".data"}

    class Listening(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = (resolve_name(func) or "").removeprefix("torch.Tensor.")
            given = args[0] if args else None
            if isinstance(given, torch.Tensor) and given.is_floating_point():
                if name in words:
                    cuts.add(words[name])
                elif not torch.is_grad_enabled():
                    cuts.add("torch.no_grad()")
            return func(*args, **(kwargs or {}))

    with Listening():
        yield cuts


def close(a: float, b: float, tolerance: float = 1e-6) -> bool:
    """Whether two values agree, relatively where they are large."""
    return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-3)
