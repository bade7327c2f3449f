"""SGD with momentum and weight decay, on PyTorch's fused kernel."""

import torch
from torch import Tensor, nn

from lossbench.config.run import Schedule


class Sgd:
    """SGD whose steps equal those of `torch.optim.SGD(fused=True)`.

    PyTorch's own class imports the compiler when created, which takes longer than importing torch itself.

    Args:
        model: its parameters are changed in place.
        schedule: learning rate, momentum, weight decay, Nesterov; without `decay_bias`, weight decay does not act on
            biases and batch-norm parameters.
    """

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        self._lr: float | Tensor = schedule.lr
        self._momentum, self._nesterov = schedule.momentum, schedule.nesterov
        parameters: list[Tensor] = list(model.parameters())
        if parameters[0].is_cuda:  # a tensor, so that a recorded step sees changes
            self._lr = torch.tensor(schedule.lr, device=parameters[0].device)
        spared = [] if schedule.decay_bias else [parameter for parameter in parameters if parameter.ndim == 1]
        decayed = [parameter for parameter in parameters if schedule.decay_bias or parameter.ndim > 1]
        self._groups = [
            (group, [torch.zeros_like(parameter) for parameter in group] if schedule.momentum else [], decay)
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
        for parameters, _, _ in self._groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters from their present gradients."""
        for parameters, velocities, decay in self._groups:
            torch._fused_sgd_(
                parameters,
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                velocities,
                lr=self._lr,
                momentum=self._momentum,
                weight_decay=decay,
                dampening=0.0,
                nesterov=self._nesterov,
                maximize=False,
                is_first_step=False,  # equivalent, since velocities begin at zero
            )

    def state(self) -> list[Tensor]:
        """The velocities, for a checkpoint."""
        return [velocity for _, velocities, _ in self._groups for velocity in velocities]

    def restore(self, state: list[Tensor]) -> None:
        """Restore the velocities of a checkpoint."""
        for velocity, kept in zip(self.state(), state, strict=True):
            velocity.copy_(kept)
