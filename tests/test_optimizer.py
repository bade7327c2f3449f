"""The optimiser against SGD with plain loops."""

import pytest
import torch
from torch import nn

from lossbench.config.run import Schedule
from lossbench.training.optimizer import Sgd


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("decay_bias", [False, True])
def test_steps_equal_sgd_written_out(momentum: float, nesterov: bool, decay_bias: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)).double()
    schedule = Schedule(lr=0.1, momentum=momentum, weight_decay=0.3, nesterov=nesterov, decay_bias=decay_bias)
    optimizer = Sgd(model, schedule)
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    velocities = [torch.zeros_like(weight) for weight in weights]
    for lr in (0.1, 0.1, 0.02):
        optimizer.set_lr(lr)
        optimizer.zero_grad()
        model(torch.randn(5, 2, 4, 4, dtype=torch.float64)).square().sum().backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        optimizer.step()
        for weight, velocity, gradient in zip(weights, velocities, gradients, strict=True):
            assert gradient is not None
            slope = gradient + (0.3 * weight if decay_bias or weight.ndim > 1 else 0.0)
            velocity.mul_(momentum).add_(slope)
            weight.sub_(lr * (slope + momentum * velocity if nesterov else velocity))
        for weight, parameter in zip(weights, model.parameters(), strict=True):
            torch.testing.assert_close(parameter.detach(), weight, rtol=1e-12, atol=1e-12)


def test_restored_velocities_continue_the_same_path() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6)
    whole, stopped, resumed = (nn.Linear(6, 1, bias=False) for _ in range(3))
    schedule = Schedule(lr=0.1, momentum=0.9)

    def step(model: nn.Linear, optimizer: Sgd) -> None:
        optimizer.zero_grad()
        (model.weight * weight).exp().sum().backward()
        optimizer.step()

    with torch.no_grad():
        stopped.weight.copy_(whole.weight)
    optimizers = [Sgd(model, schedule) for model in (whole, stopped, resumed)]
    for _ in range(3):
        step(whole, optimizers[0])
        step(stopped, optimizers[1])
    resumed.load_state_dict(stopped.state_dict())
    optimizers[2].restore(optimizers[1].state())
    step(whole, optimizers[0])
    step(resumed, optimizers[2])
    assert torch.equal(whole.weight, resumed.weight)
    assert not torch.equal(whole.weight, stopped.weight)


def test_groups_without_parameters_are_no_trouble() -> None:
    bias_only = nn.BatchNorm2d(3)
    optimizer = Sgd(bias_only, Schedule(lr=0.5, momentum=0.0, weight_decay=0.3, decay_bias=False))
    bias_only(torch.ones(2, 3, 2, 2)).sum().backward()
    optimizer.step()
    assert torch.equal(bias_only.bias.detach(), torch.full((3,), -4.0))  # no decay, 8 values a channel
    assert optimizer.state() == []
