"""Sparsemax and entmax of the largest logits alone: the same as of all, in value, gradient and second derivative."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lossbench import losses
from lossbench.losses import largest
from lossbench.losses.largest import with_support

LOSSES: dict[str, Any] = {"sparsemax": losses.sparsemax} | {
    f"entmax {alpha}": lambda logits, target, alpha=alpha: losses.entmax(logits, target, alpha=alpha)
    for alpha in (1.02, 1.3, 1.5, 1.9, 2.0)
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def of(loss: Any, logits: Tensor, target: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient, and the gradient of its product with itself, when `first` logits are tried."""
    logits = logits.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(largest, "FIRST", first)
        value = loss(logits, target)
        (slope,) = torch.autograd.grad(value, logits, create_graph=True)
        (curved,) = torch.autograd.grad(slope.square().sum(), logits, allow_unused=True)
    return value.detach(), slope.detach(), torch.zeros_like(logits) if curved is None else curved


def same(name: str, logits: Tensor, target: Tensor, first: int = 100) -> None:
    tolerance = 1e-12 if logits.dtype == torch.float64 else 1e-6
    found, expected = (of(LOSSES[name], logits, target, number) for number in (first, 10**9))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def rows(num_classes: int, scale: float, seed: int) -> dict[str, Tensor]:
    """Logits [2, K] of every kind."""
    draw = torch.Generator().manual_seed(seed)
    normal = scale * torch.randn(2, num_classes, dtype=torch.float64, generator=draw)
    huge, far = normal.clone(), normal.clone()
    huge[0, seed % num_classes] += 1e4
    far[1, ::3] -= 1e5
    ladder = -scale * torch.arange(num_classes, dtype=torch.float64) / num_classes
    return {
        "normal": normal,
        "ties": normal.round(),
        "all equal": torch.full_like(normal, scale),
        "two equal groups": (torch.arange(num_classes) % 2).double().expand(2, -1) * scale,
        "one huge": huge,
        "some far below": far,
        "a ladder": torch.stack([ladder, ladder.flip(0)]),
    }


@every_loss
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    num_classes=st.integers(101, 320),
    scale=st.sampled_from([1e-3, 0.05, 0.5, 3.0, 30.0]),
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    first=st.sampled_from([1, 2, 10, 100]),
)
def test_the_largest_logits_give_what_all_give(
    name: str, num_classes: int, scale: float, seed: int, dtype: torch.dtype, first: int
) -> None:
    target = torch.tensor([seed % num_classes, num_classes - 1])
    for logits in rows(num_classes, scale, seed).values():
        same(name, logits.to(dtype), target, first)


@pytest.mark.parametrize(("supported", "expected"), [(5, 100), (100, 100), (101, 101), (200, 200), (201, 400)])
def test_as_many_logits_are_taken_as_the_support_needs(supported: int, expected: int) -> None:
    """Equal logits are all in the support or none of them; with more than half of the classes all are taken."""
    logits = torch.full((2, 400), -50.0)
    logits[:, 40 : 40 + supported] = 3.0
    centred, own = with_support(logits, torch.tensor([40, 399]), lambda top: top[:, :1] - 1 / top.shape[1])
    assert centred.shape == (2, expected)
    assert own.tolist() == [0, -53]
    assert (centred.amax(dim=1) == 0).all()
    assert ((centred > -1).sum(dim=1) == supported).all()


@every_loss
def test_second_derivatives_are_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "FIRST", 3)
    draw = torch.Generator().manual_seed(0)
    for scale in (0.2, 4.0):  # supports of all classes and of few
        logits = (scale * torch.randn(2, 9, dtype=torch.float64, generator=draw)).requires_grad_()
        target = torch.tensor([int(logits[0].argmax()), 4])
        assert torch.autograd.gradgradcheck(lambda z, target=target: LOSSES[name](z, target), logits)


@every_loss
def test_up_to_a_hundred_classes_nothing_is_chosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = torch.randn(3, 100, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    monkeypatch.setattr(torch.Tensor, "topk", None)
    assert torch.isfinite(LOSSES[name](logits, target))
    with pytest.raises(TypeError):
        LOSSES[name](torch.cat([logits, logits], dim=1), target)


def test_not_a_number_stays_one() -> None:
    logits = torch.randn(2, 300)
    logits[0, 7] = torch.nan
    for loss in LOSSES.values():
        assert torch.isnan(loss(logits, torch.tensor([0, 1])))


@every_loss
def test_on_another_device_all_logits_are_taken_and_nothing_waits_for_it(name: str) -> None:
    """The meta device has shapes and no numbers: a branch on a number raises."""
    logits = torch.randn(2, 300, device="meta", requires_grad=True)
    value = LOSSES[name](logits, torch.zeros(2, dtype=torch.int64, device="meta"))
    (slope,) = torch.autograd.grad(value, logits)
    assert slope.shape == (2, 300)
    chosen, own = with_support(logits, torch.zeros(2, dtype=torch.int64, device="meta"), lambda top: top)
    assert (chosen.shape, own.shape) == ((2, 300), (2,))
