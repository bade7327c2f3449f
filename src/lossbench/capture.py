"""How does a GPU do a step without waiting for Python? Recorded once as a CUDA graph, then replayed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP_STEPS = 3  # on a stream of their own, so that libraries choose their kernels before anything is recorded


class CapturedStep:
    """A step that is recorded for each batch size it meets, the epoch's last, smaller batch among them.

    Args:
        step: the plain step; it reads its argument, an int64 tensor [R, B], and changes tensors in place.
        changing: all tensors that it changes; the steps of the warm-up leave no trace in them.
    """

    def __init__(self, step: Callable[[Tensor], None], changing: Sequence[Tensor]) -> None:
        self._step, self._changing = step, changing
        self._recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, plan: Tensor) -> None:
        """Do the step on the given columns of an epoch's plan."""
        if plan.shape not in self._recorded:
            self._recorded[plan.shape] = self._record(plan)
        graph, argument = self._recorded[plan.shape]
        argument.copy_(plan)
        graph.replay()

    def _record(self, plan: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        argument = plan.clone()
        kept = [tensor.detach().clone() for tensor in self._changing]
        now = torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(now)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self._step(argument)
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._step(argument)
        with torch.no_grad():
            for tensor, value in zip(self._changing, kept, strict=True):
                tensor.copy_(value)
        return graph, argument
