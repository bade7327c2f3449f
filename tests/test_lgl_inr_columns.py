"""LGL-INR column by column: the same as the matrix form, in parts and in two processes too."""

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor

from lossbench.losses import lgl_inr as module
from lossbench.losses import lgl_inr_columns as columns
from lossbench.losses.lgl_inr import lgl_inr
from lossbench.losses.lgl_inr_columns import lgl_inr_columns
from lossbench.training.step_cost import peak_mb

OPTIONS: list[dict[str, Any]] = [
    *({}, {"beta": 0.0}, {"beta": 4.0}, {"detach_weights": True}, {"missing": "keep"}, {"reduction": "mean"}),
    {"class_counts": True},
    {"class_counts": True, "missing": "keep", "beta": 2.0, "detach_weights": True},
]


def batch(size: int, num_classes: int, spread: float = 4.0) -> tuple[Tensor, Tensor]:
    """Logits [B, K] in float64 and classes with Zipf's frequencies."""
    draw = torch.Generator().manual_seed(size + num_classes)
    logits = spread * torch.randn(size, num_classes, dtype=torch.float64, generator=draw)
    return logits, torch.multinomial(1 / torch.arange(1, num_classes + 1.0), size, True, generator=draw)


def value_and_gradient(logits: Tensor, target: Tensor, **options: Any) -> tuple[float, Tensor]:
    given = logits.clone().requires_grad_()
    loss = lgl_inr(given, target, **options)
    loss.backward()  # type: ignore[no-untyped-call]
    assert given.grad is not None
    return loss.item(), given.grad


@pytest.mark.parametrize("elements", [2**16, 1000], ids=["whole", "in chunks"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("size", "num_classes"), [(64, 300), (200, 150), (7, 120), (1, 150)])
def test_it_equals_the_matrix_form(
    size: int, num_classes: int, options: dict[str, Any], elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, target = batch(size, num_classes)
    if options.get("class_counts"):
        counts = torch.randint(9, (num_classes,), generator=torch.Generator().manual_seed(0))
        options = options | {"class_counts": counts}
    monkeypatch.setitem(columns.CHUNK_ELEMENTS, "cpu", elements)
    value, gradient = value_and_gradient(logits, target, **options)
    monkeypatch.setattr(module, "PLAIN", 10**9)
    expected, slope = value_and_gradient(logits, target, **options)
    assert value == pytest.approx(expected, rel=1e-14)
    torch.testing.assert_close(gradient, slope, rtol=1e-13, atol=1e-15)


def test_its_gradient_is_the_only_copy_of_the_logits() -> None:
    """Peak of live tensors in multiples of the logits; PyTorch's cross-entropy, with its log-probabilities, has 3."""
    logits, target = batch(256, 10_000)
    given = logits.float().requires_grad_()
    cost = {
        loss: peak_mb(lambda loss=loss: torch.autograd.grad(2 * loss(given, target), given), torch.device("cpu"))  # type: ignore[misc]
        for loss in (lgl_inr, torch.nn.functional.cross_entropy)
    }
    assert 1 <= cost[lgl_inr] / (given.nbytes / 1e6) < 1.5
    assert cost[torch.nn.functional.cross_entropy] / (given.nbytes / 1e6) == pytest.approx(3, abs=0.1)


def test_its_gradient_can_be_asked_for_again() -> None:
    logits, target = batch(64, 300)
    given = logits.requires_grad_()
    loss = lgl_inr(given, target)
    (first,) = torch.autograd.grad(loss, given, retain_graph=True)
    kept = first.clone()
    (doubled,) = torch.autograd.grad(loss, given, torch.tensor(2.0, dtype=torch.float64), retain_graph=True)
    (again,) = torch.autograd.grad(loss, given)
    assert torch.equal(first, kept)
    assert torch.equal(doubled, 2 * kept)
    assert torch.equal(again, kept)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, given)


def test_it_is_finite_at_any_logits_and_scales_with_what_comes_after() -> None:
    logits, target = batch(5, 130)
    logits[0], logits[1], logits[2, 7] = 1e4, -1e4, 500.0
    value, gradient = value_and_gradient(logits.float(), target)
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()
    given = logits.float().requires_grad_()
    (3 * lgl_inr(given, target)).backward()
    torch.testing.assert_close(given.grad, 3 * gradient)


def test_groups_without_unique_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = batch(64, 300)

    def one_a_sample(target: Tensor, dtype: Any) -> columns.Groups:
        """As on a GPU."""
        same = target[:, None] == target
        place = same.int().argmax(dim=1)
        return columns.Groups(place, target, 1 / same.sum(dim=1).to(dtype), place == torch.arange(len(target)))

    results = []
    for missing in (False, True):
        for groups in (columns.groups, one_a_sample):
            monkeypatch.setattr(columns, "groups", groups)
            given = logits.clone().requires_grad_()
            value = lgl_inr_columns(given, target, beta=2.0, keeps_missing=missing)
            value.backward()  # type: ignore[no-untyped-call]
            results.append((value.detach(), given.grad))
    for first, second in (results[:2], results[2:]):
        torch.testing.assert_close(first, second, rtol=1e-13, atol=1e-15)


def test_a_second_derivative_is_refused() -> None:
    logits, target = batch(4, 130)
    given = logits.requires_grad_()
    with pytest.raises(RuntimeError, match="LGL-INR with more than 100 classes has no second derivative"):
        torch.autograd.grad(lgl_inr(given, target), given, create_graph=True)


def part(rank: int, folder: str) -> None:
    """One of two processes, each with half of the classes."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    logits, target = batch(32, 201)
    own = slice(0, 100) if rank == 0 else slice(100, 201)
    given = logits[:, own].clone().requires_grad_()
    value = lgl_inr_columns(given, target, beta=2.0, first=own.start, num_classes=201, keeps_missing=True)
    value.backward()  # type: ignore[no-untyped-call]
    whole = value.detach().clone()
    torch.distributed.all_reduce(whole)
    torch.save((whole, given.grad), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_classes_split_over_two_processes_give_the_same_loss_and_gradients(tmp_path: Path) -> None:
    multiprocessing.spawn(part, (str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    expected, slope = value_and_gradient(*batch(32, 201), beta=2.0, missing="keep")
    assert [value.item() for value, _ in parts] == pytest.approx([expected, expected], rel=1e-14)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in parts], dim=1), slope, rtol=1e-13, atol=1e-15)
