"""How does a gradient change the weights? SGD on torch's fused kernel."""

import torch
from torch import Tensor, nn

from lossbench.config.run import Schedule


class Sgd:
    """SGD with momentum and weight decay, step for step that of `torch.optim.SGD(fused=True)`.

    torch's own class imports the compiler when it is made, which takes longer than importing torch itself.

    Args:
        model: its parameters are changed in place.
        schedule: momentum, weight decay, Nesterov; without `decay_bias`, weight decay spares biases and batch-norm
            parameters.
    """

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        self._lr: float | Tensor = schedule.lr
        self._momentum, self._nesterov = schedule.momentum, schedule.nesterov
        parameters: list[Tensor] = list(model.parameters())
        if parameters[0].is_cuda:  # there a tensor, so that a recorded step sees when it changes
            self._lr = torch.tensor(schedule.lr, device=parameters[0].device)
        spared = [] if schedule.decay_bias else [parameter for parameter in parameters if parameter.ndim == 1]
        decayed = [parameter for parameter in parameters if schedule.decay_bias or parameter.ndim > 1]
        self._groups = [
            (group, [torch.zeros_like(parameter) for parameter in group] if schedule.momentum else [], decay)
            for group, decay in ((decayed, schedule.weight_decay), (spared, 0.0))
            if group
        ]

    def set_lr(self, lr: float) -> None:
        """Change the learning rate from the next step on."""
        if isinstance(self._lr, Tensor):
            self._lr.fill_(lr)
        else:
            self._lr = lr

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameters, _, _ in self._groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights by the gradients that are there."""
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
                is_first_step=False,  # from zero velocities the first step is the plain one
            )

    def state(self) -> list[Tensor]:
        """What a checkpoint keeps: the velocities."""
        return [velocity for _, velocities, _ in self._groups for velocity in velocities]

    def restore(self, state: list[Tensor]) -> None:
        """Take over the velocities of a checkpoint."""
        for velocity, kept in zip(self.state(), state, strict=True):
            velocity.copy_(kept)
