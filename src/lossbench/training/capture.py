"""Training steps as CUDA graphs: recorded once and replayed, so that the GPU does not wait for Python."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

WARM_UP_STEPS = 3  # on a separate stream, so that libraries choose their kernels before the recording

CAPTURE_ERRORS = range(900, 909)
"""CUDA's error codes cudaErrorStreamCapture...: the step cannot be recorded, but the device still works.

PyTorch, at least up to 2.11, may keep its memory pool open then, which can cause later failures in the same process.
"""


class CapturedStep:
    """A training step that is recorded once for each batch size, including the smaller last batch of an epoch.

    Args:
        step: the step to record; it reads its argument, an int64 tensor [R, B], and changes tensors in place.
        changing: all tensors that it changes; they are restored after the warm-up steps.
    """

    def __init__(self, step: Callable[[Tensor], None], changing: Sequence[Tensor]) -> None:
        self._step, self._changing = step, changing
        self._recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, plan: Tensor) -> None:
        """Execute the step on the given columns of an epoch's plan."""
        if plan.shape not in self._recorded:
            self._recorded[plan.shape] = self._record(plan)
        graph, argument = self._recorded[plan.shape]
        argument.copy_(plan)
        graph.replay()

    def _record(self, plan: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        argument = plan.clone()
        kept = [tensor.detach().clone() for tensor in self._changing]
        now, side = torch.cuda.current_stream(), _side_stream(torch.cuda.current_device())
        side.wait_stream(now)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self._step(argument)
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.stream(now), warnings.catch_warnings():  # back on the main stream also after an error
                warnings.filterwarnings("error", message="The CUDA Graph is empty")  # such a graph would not train
                with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                    self._step(argument)
        except (RuntimeError, UserWarning) as error:
            of_device = isinstance(error, (torch.AcceleratorError, torch.OutOfMemoryError))
            if of_device and getattr(error, "error_code", None) not in CAPTURE_ERRORS:
                raise
            raise RuntimeError(
                f"the step could not be recorded as a CUDA graph ({error}); runtime.cuda_graphs=false avoids it"
            ) from error
        with torch.no_grad():
            for tensor, value in zip(self._changing, kept, strict=True):
                tensor.copy_(value)
        return graph, argument


@cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """One stream per GPU for all runs of a process, because libraries keep memory for every stream they have used."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
