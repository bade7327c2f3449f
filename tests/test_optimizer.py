"""The optimiser against SGD with plain loops."""

from typing import Any

import pytest
import torch
from torch import nn

from lossbench.config.run import Optimizer, Schedule
from lossbench.training.optimizer import Sgd, build_optimizer


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


def network() -> nn.Sequential:
    """An embedding and a linear layer, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2))


def trained(model: nn.Sequential, optimizer: Any, sparse: bool, num_steps: int = 6) -> dict[str, torch.Tensor]:
    """The weights after some steps on fixed words."""
    model[0].sparse = sparse  # type: ignore[union-attr]
    draw = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        words = torch.randint(5, (4, 2), generator=draw)  # words 5 and 6 never occur
        optimizer.zero_grad()
        model(words).square().sum().backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["adagrad", "adamw"])
def test_other_optimisers_equal_those_of_torch(kind: str, decay: float) -> None:
    model, other = network(), network()
    schedule = Schedule(lr=0.1, momentum=0.0, weight_decay=decay, optimizer=Optimizer(kind))
    theirs = {"adagrad": torch.optim.Adagrad, "adamw": torch.optim.AdamW}[kind]
    ours = trained(model, build_optimizer(model, schedule), sparse=False)
    expected = trained(other, theirs(other.parameters(), lr=0.1, weight_decay=decay), sparse=False)
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [None, "adagrad"])
def test_sparse_gradients_move_weights_as_dense_ones_where_nothing_waits(kind: str | None) -> None:
    model, other = network(), network()
    schedule = Schedule(lr=0.1, momentum=0.0, optimizer=kind and Optimizer(kind))
    dense = trained(model, build_optimizer(model, schedule), sparse=False)
    sparse = trained(other, build_optimizer(other, schedule), sparse=True)
    for name, value in dense.items():
        torch.testing.assert_close(value, sparse[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", [None, "adagrad", "adamw"])
def test_rows_without_gradient_wait(kind: str | None) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    schedule = Schedule(lr=0.1, momentum=0.0 if kind else 0.9, weight_decay=0.1, optimizer=kind and Optimizer(kind))
    after = trained(model, build_optimizer(model, schedule), sparse=True)
    assert torch.equal(after["0.weight"][5:], before["0.weight"][5:])
    assert (after["0.weight"][:5] != before["0.weight"][:5]).all()
    assert (after["2.weight"] != before["2.weight"]).all()


def test_a_row_has_momentum_and_decay_from_its_own_steps() -> None:
    model = nn.Sequential(nn.Embedding(3, 1, sparse=True))
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # type: ignore[union-attr, operator]
    optimizer = build_optimizer(model, Schedule(lr=0.1, momentum=0.5, weight_decay=0.2))
    expected, velocity = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for word in (0, 1, 0, 0):
        optimizer.zero_grad()
        model(torch.tensor([word])).sum().backward()
        optimizer.step()
        velocity[word] = 0.5 * velocity[word] + 1.0 + 0.2 * expected[word]
        expected[word] -= 0.1 * velocity[word]
    assert model[0].weight[:, 0].tolist() == pytest.approx(expected)  # type: ignore[union-attr, index]


@pytest.mark.parametrize("kind", ["adagrad", "adamw"])
def test_a_restored_optimiser_goes_on_as_if_nothing_had_happened(kind: str) -> None:
    schedule = Schedule(lr=0.1, momentum=0.0, optimizer=Optimizer(kind))
    whole, stopped = network(), network()
    first = build_optimizer(stopped, schedule)
    trained(stopped, first, sparse=True, num_steps=3)
    trained(whole, (same := build_optimizer(whole, schedule)), sparse=True, num_steps=3)
    resumed = network()
    resumed.load_state_dict(stopped.state_dict())
    second = build_optimizer(resumed, schedule)
    second.restore([tensor.clone() for tensor in first.state()])
    for model, optimizer in ((whole, same), (resumed, second)):
        trained(model, optimizer, sparse=True, num_steps=2)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


@pytest.mark.parametrize("kind", ["adagrad", "adamw"])
def test_another_optimiser_takes_no_momentum(kind: str) -> None:
    with pytest.raises(ValueError, match=f"schedule.momentum must be 0 for schedule.optimizer={kind}"):
        Schedule(optimizer=Optimizer(kind))
    assert Schedule(optimizer=Optimizer.sgd) == Schedule()
