"""How does a GPU do a step without waiting for Python? Recorded once as a CUDA graph, then replayed."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

WARM_UP_STEPS = 3  # on a stream of their own, so that libraries choose their kernels before anything is recorded

CAPTURE_ERRORS = range(900, 909)
"""CUDA's cudaErrorStreamCapture...: something that cannot be recorded, after which the device works as before.

PyTorch up to 2.11 at least may keep its memory pool open then, so what fails later in that process may follow from it.
"""


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
        now, side = torch.cuda.current_stream(), _side_stream(torch.cuda.current_device())
        side.wait_stream(now)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                self._step(argument)
        now.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.stream(now), warnings.catch_warnings():  # leaves the side stream whatever happens
                warnings.filterwarnings("error", message="The CUDA Graph is empty")  # it would train nothing
                with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                    self._step(argument)
        except (RuntimeError, UserWarning) as error:
            of_device = isinstance(error, (torch.AcceleratorError, torch.OutOfMemoryError))
            if of_device and getattr(error, "error_code", None) not in CAPTURE_ERRORS:
                raise
            raise RuntimeError(
                f"the step could not be recorded as a CUDA graph ({error}); runtime.cuda_graphs=false does without"
            ) from error
        with torch.no_grad():
            for tensor, value in zip(self._changing, kept, strict=True):
                tensor.copy_(value)
        return graph, argument


@cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """One a GPU for all runs of a process: libraries keep memory for each stream that they have met."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
