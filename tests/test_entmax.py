"""Entmax and sparsemax against the exact algorithms and the bisection of the entmax package, and at their limits."""

import entmax as entmax_package
import numpy as np
import pytest
import torch
from torch import Tensor

from lossbench import losses


def drawn(num: int, num_classes: int, scale: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(num, num_classes, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), torch.randint(num_classes, (num,), generator=generator)


@pytest.mark.parametrize("alpha", [1.01, 1.2, 1.5, 1.8, 2.0])
@pytest.mark.parametrize("num_classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1e4])
def test_entmax_equals_the_entmax_package(alpha: float, num_classes: int, scale: float) -> None:
    logits, target = drawn(8, num_classes, scale)
    expected = entmax_package.entmax_bisect(logits.detach(), alpha=alpha, n_iter=80)
    assert torch.allclose(losses.entmax_probabilities(logits, alpha), expected, rtol=0, atol=1e-11)
    value = losses.entmax(logits, target, alpha=alpha)
    (grad,) = torch.autograd.grad(value, logits)
    published = entmax_package.entmax_bisect_loss(logits.detach(), target, alpha, 80).mean().item()
    assert value.item() == pytest.approx(published, rel=1e-10, abs=1e-10)
    one_hot = torch.nn.functional.one_hot(target, num_classes)
    assert torch.allclose(8 * grad, expected - one_hot, rtol=0, atol=1e-11)


def test_sparsemax_and_entmax_of_1_5_equal_the_exact_algorithms_of_the_entmax_package() -> None:
    logits, target = drawn(50, 200, scale=1.0, seed=3)
    values = logits.detach()
    assert torch.allclose(losses.sparsemax_probabilities(logits), entmax_package.sparsemax(values), rtol=0, atol=1e-14)
    assert torch.allclose(losses.entmax_probabilities(logits), entmax_package.entmax15(values), rtol=0, atol=1e-13)
    assert losses.sparsemax(logits, target).item() == pytest.approx(
        entmax_package.sparsemax_loss(values, target).mean().item(), rel=1e-13
    )
    assert losses.entmax(logits, target).item() == pytest.approx(
        entmax_package.entmax15_loss(values, target).mean().item(), rel=1e-13
    )


@pytest.mark.parametrize("alpha", [1.0001, 1.05, 1.3, 1.6, 1.9, 1.999])
def test_iterations_suffice_for_logits_that_are_hard_to_separate(alpha: float) -> None:
    edge = 1 / (alpha - 1)
    for num_classes in (2, 50, 3000):
        rows = [-edge * np.linspace(0, 1, num_classes), -np.logspace(-8, 4, num_classes), np.zeros(num_classes)]
        rows.append(-edge * (np.arange(num_classes) > 0) * (1 - 1e-9))
        p = losses.entmax_probabilities(torch.tensor(np.array(rows)), alpha)
        assert torch.allclose(p.sum(dim=1), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-11)
        assert (p >= 0).all()


def test_entmax_lies_between_cross_entropy_and_sparsemax() -> None:
    logits, target = drawn(6, 5)
    cross_entropy = torch.nn.functional.cross_entropy(logits, target).item()
    assert losses.entmax(logits, target, alpha=1 + 1e-9).item() == pytest.approx(cross_entropy, rel=1e-7)
    near = losses.entmax(logits, target, alpha=2 - 1e-9).item()
    assert near == pytest.approx(losses.sparsemax(logits, target).item(), rel=1e-7)
    softmax = torch.softmax(logits, dim=1)
    assert torch.allclose(losses.entmax_probabilities(logits, 1 + 1e-9), softmax, rtol=1e-6)
