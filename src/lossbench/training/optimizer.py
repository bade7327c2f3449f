"""Optimisers on PyTorch's fused kernels, with updates of single rows where a gradient is sparse."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lossbench.config.run import Optimizer, Schedule

BETAS, ADAM_EPS, ADAGRAD_EPS = (0.9, 0.999), 1e-8, 1e-10
"""Constants of AdamW and Adagrad: PyTorch's defaults."""


@dataclass
class _Group:
    """Parameters with the same weight decay.

    Args:
        parameters: changed in place.
        decay: weight decay.
        buffers: of each kind as many tensors as there are parameters, shaped like them.
    """

    parameters: list[Tensor]
    decay: float
    buffers: list[list[Tensor]] = field(default_factory=list)


class Steps:
    """An optimiser: what all of them share.

    A parameter whose gradient is sparse (rows of an embedding, or of an output layer that a loss of features reads in
    part) is updated in the rows that the gradient has, and in no others: momentum, moments and weight decay of the
    other rows wait, as in `torch.optim.SparseAdam`. Adagrad without weight decay, and SGD without both, do the same as
    with a dense gradient.

    PyTorch's own classes import the compiler when created, which takes longer than importing torch itself.

    Args:
        model: its parameters are changed in place.
        schedule: learning rate, momentum, weight decay, Nesterov; without `decay_bias`, weight decay does not act on
            biases and batch-norm parameters.
        num_buffers: tensors that are kept for each parameter.
    """

    def __init__(self, model: nn.Module, schedule: Schedule, num_buffers: int) -> None:
        self._lr: float | Tensor = schedule.lr
        parameters: list[Tensor] = list(model.parameters())
        if parameters[0].is_cuda:  # a tensor, so that a recorded step sees changes
            self._lr = torch.tensor(schedule.lr, device=parameters[0].device)
        spared = [] if schedule.decay_bias else [parameter for parameter in parameters if parameter.ndim == 1]
        decayed = [parameter for parameter in parameters if schedule.decay_bias or parameter.ndim > 1]
        self._groups = [
            _Group(group, decay, [[torch.zeros_like(one) for one in group] for _ in range(num_buffers)])
            for group, decay in ((decayed, schedule.weight_decay), (spared, 0.0))
            if group
        ]

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the following steps."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)
        else:
            self._lr = lr

    def zero_grad(self) -> None:
        """Remove the gradients of all parameters."""
        for group in self._groups:
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their present gradients."""
        self._begin()
        for group in self._groups:
            dense = [nth for nth, one in enumerate(group.parameters) if one.grad is not None and not one.grad.is_sparse]
            if dense:
                self._dense(
                    [group.parameters[nth] for nth in dense],
                    [group.parameters[nth].grad for nth in dense],  # type: ignore[misc]  # not None
                    [[kind[nth] for nth in dense] for kind in group.buffers],
                    group.decay,
                )
            for nth, one in enumerate(group.parameters):
                if one.grad is not None and one.grad.is_sparse:
                    gradient = one.grad.coalesce()
                    buffers = [kind[nth] for kind in group.buffers]
                    self._rows(one, gradient.indices()[0], gradient.values(), buffers, group.decay)

    def state(self) -> list[Tensor]:
        """What it keeps between steps, for a checkpoint."""
        return [tensor for group in self._groups for kind in group.buffers for tensor in kind]

    def restore(self, state: list[Tensor]) -> None:
        """Restore the state of a checkpoint."""
        for tensor, kept in zip(self.state(), state, strict=True):
            tensor.copy_(kept)

    def _begin(self) -> None:
        """What comes before the updates of a step."""

    def _dense(
        self, parameters: list[Tensor], gradients: list[Tensor], buffers: Sequence[list[Tensor]], decay: float
    ) -> None:
        raise NotImplementedError

    def _rows(self, parameter: Tensor, rows: Tensor, gradient: Tensor, buffers: Sequence[Tensor], decay: float) -> None:
        """Update some rows [R] of a parameter from their gradient [R, ...]."""
        parts = [kind[rows] for kind in buffers]
        values = parameter[rows]
        self._dense([values], [gradient], [[part] for part in parts], decay)
        parameter[rows] = values
        for kind, part in zip(buffers, parts, strict=True):
            kind[rows] = part


class Sgd(Steps):
    """SGD whose steps equal those of `torch.optim.SGD(fused=True)`."""

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        super().__init__(model, schedule, 1 if schedule.momentum else 0)
        self._momentum, self._nesterov = schedule.momentum, schedule.nesterov

    def _dense(
        self, parameters: list[Tensor], gradients: list[Tensor], buffers: Sequence[list[Tensor]], decay: float
    ) -> None:
        torch._fused_sgd_(
            parameters,
            gradients,
            buffers[0] if buffers else [],
            lr=self._lr,
            momentum=self._momentum,
            weight_decay=decay,
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
            is_first_step=False,  # equivalent, since velocities begin at zero
        )


class _Counted(Steps):
    """An optimiser that counts its steps: one count, as a tensor on the device, which is the last of its state."""

    def __init__(self, model: nn.Module, schedule: Schedule, num_buffers: int) -> None:
        super().__init__(model, schedule, num_buffers)
        self._count = torch.zeros((), device=self._groups[0].parameters[0].device)

    def state(self) -> list[Tensor]:
        """The buffers and the number of steps."""
        return [*super().state(), self._count]

    def _begin(self) -> None:
        self._count += 1


class Adagrad(_Counted):
    """Adagrad (Duchi et al. 2011) whose steps equal those of `torch.optim.Adagrad(fused=True)`."""

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        super().__init__(model, schedule, 1)

    def _dense(
        self, parameters: list[Tensor], gradients: list[Tensor], buffers: Sequence[list[Tensor]], decay: float
    ) -> None:
        if parameters[0].is_cuda:  # PyTorch has no fused kernel of it there
            for one, gradient, total in zip(parameters, gradients, buffers[0], strict=True):
                slope = gradient + decay * one if decay else gradient
                total.addcmul_(slope, slope)
                one.sub_(self._lr * slope / (total.sqrt() + ADAGRAD_EPS))
            return
        torch._fused_adagrad_(
            parameters,
            gradients,
            buffers[0],
            [self._count] * len(parameters),
            lr=self._lr,
            lr_decay=0.0,
            weight_decay=decay,
            eps=ADAGRAD_EPS,
            maximize=False,
        )


class AdamW(_Counted):
    """AdamW (Loshchilov and Hutter 2019) whose steps equal those of `torch.optim.AdamW(fused=True)`."""

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        super().__init__(model, schedule, 2)

    def _dense(
        self, parameters: list[Tensor], gradients: list[Tensor], buffers: Sequence[list[Tensor]], decay: float
    ) -> None:
        torch._fused_adamw_(
            parameters,
            gradients,
            buffers[0],
            buffers[1],
            [],
            [self._count] * len(parameters),
            lr=self._lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=decay,
            eps=ADAM_EPS,
            amsgrad=False,
            maximize=False,
        )


OPTIMIZERS = {None: Sgd, Optimizer.sgd: Sgd, Optimizer.adagrad: Adagrad, Optimizer.adamw: AdamW}
"""The optimisers by the value of `schedule.optimizer`."""


def build_optimizer(model: nn.Module, schedule: Schedule) -> Steps:
    """The optimiser that a schedule names."""
    return OPTIMIZERS[schedule.optimizer](model, schedule)
