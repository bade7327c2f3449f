"""Draws without replacement: their probabilities, what the losses estimate with them, and what is refused."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lossbench.config.options import TrainingClasses
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.adaptive_softmax import AdaptiveSoftmax
from lossbench.losses.build import build_loss
from lossbench.losses.lgl import lgl
from lossbench.losses.nce import Nce, nce
from lossbench.losses.sampled_lgl import SampledLgl, sampled_lgl
from lossbench.losses.sampled_softmax import Hits, SampledSoftmax, sampled_softmax
from lossbench.losses.sampling import Drawn, Logits, Proposal, Sampler, first_to_arrive
from lossbench.models.cnn2c import Cnn2c
from lossbench.training.fit import check

COUNTS = [50, 27, 15, 8]
Q = torch.tensor(COUNTS, dtype=torch.float64) / 100
ETA = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
K = len(COUNTS)


def sampler(num: int, **options: Any) -> Sampler:
    given = SampledSoftmax(num_sampled=num, **options)
    return Sampler(given, TrainingClasses(K, torch.tensor(COUNTS), None, torch.Generator().manual_seed(0)))


def of_classes(z: Tensor, target: Tensor, classes: Tensor) -> Logits:
    return Logits(z[target], z[classes].expand(len(target), -1))


def arrivals_around(k: int, num: int) -> tuple[Tensor, Tensor, float]:
    """Arrivals with class k among the first, the same with k behind, and the time before which k has to arrive."""
    times = torch.empty(K, dtype=torch.float64).exponential_(generator=torch.Generator().manual_seed(k)) / Q
    others = torch.cat([times[:k], times[k + 1 :]]).sort().values
    early, late = times.clone(), times.clone()
    early[k], late[k] = 0.3 * others[num - 1], 1.7 * others[num - 1]
    return early, late, others[num - 1].item()


@pytest.mark.parametrize("num", [1, 2, 3])
@pytest.mark.parametrize("k", range(K))
def test_given_the_others_a_class_is_drawn_with_the_probability_it_is_said_to_have(k: int, num: int) -> None:
    early, late, time = arrivals_around(k, num)
    expected = 1 - torch.exp(-time * Q[k])
    inside, outside = (first_to_arrive(one, Q.log(), torch.tensor([k]), num) for one in (early, late))
    assert k in inside.classes
    assert k not in outside.classes
    assert len(set(inside.classes.tolist())) == num
    torch.testing.assert_close(inside.log_expected[inside.classes == k].exp(), expected[None])
    for one in (inside, outside):
        torch.testing.assert_close(one.own_log_expected.exp(), expected[None])
    assert (inside.is_hit.sum().item(), outside.is_hit.sum().item()) == (1, 0)


@pytest.mark.parametrize("num", [1, 2, 3])
def test_nce_without_replacement_has_the_logarithm_of_the_posterior_as_its_minimiser(num: int) -> None:
    for k in range(K):
        early, late, time = arrivals_around(k, num)
        probability = 1 - torch.exp(-time * Q[k])
        slope = torch.zeros((), dtype=torch.float64)
        for one, share in ((early, probability), (late, 1 - probability)):
            for y in range(K):
                z, target = ETA.log().requires_grad_(), torch.tensor([y])
                found = first_to_arrive(one, Q.log(), target, num)
                (gradient,) = torch.autograd.grad(nce(of_classes(z, target, found.classes), found), z)
                slope += share * ETA[y] * gradient[k]
        assert abs(slope.item()) < 1e-12


def test_classes_are_drawn_one_after_the_other_from_those_left() -> None:
    one, num = sampler(2, replacement=False), 20_000
    pairs = [tuple(one.draw(torch.tensor([0])).classes.tolist()) for _ in range(num)]
    for a, b in itertools.permutations(range(K), 2):
        p = (Q[a] * Q[b] / (1 - Q[a])).item()
        assert pairs.count((a, b)) / num == pytest.approx(p, abs=4 * (p * (1 - p) / num) ** 0.5)
    assert all(a != b for a, b in pairs)


def many(loss: Any, drawn_by: Sampler, num: int, weight: Any = lambda drawn: drawn) -> tuple[Tensor, Tensor]:
    """Means over draws, and their standard errors: of the loss and of its gradient in z, [1 + K]."""
    found, target = [], torch.arange(K)
    for _ in range(num):
        z = (2 * ETA.log()).requires_grad_()
        drawn = weight(drawn_by.draw(target))
        value = sum(
            ETA[y]
            * loss(
                of_classes(z, target[y : y + 1], drawn.classes),
                Drawn(
                    drawn.classes, drawn.log_expected, drawn.own_log_expected[y : y + 1], drawn.is_hit[y : y + 1], None
                ),
            )
            for y in range(K)
        )
        (gradient,) = torch.autograd.grad(value, z)
        found.append(torch.cat([value.detach()[None], gradient]))
    values = torch.stack(found)
    return values.mean(dim=0), values.std(dim=0) / num**0.5


@pytest.mark.parametrize("num", [1, 2])
def test_sampled_lgl_without_replacement_is_unbiased_in_value_and_gradient(num: int) -> None:
    z, target = (2 * ETA.log()).requires_grad_(), torch.arange(K)
    whole: Any = sum(ETA[y] * lgl(z[None], target[y : y + 1], reduction="sum_classes") for y in range(K))
    expected = torch.cat([whole[None], *torch.autograd.grad(whole, z, retain_graph=True)]).detach()
    mean, error = many(sampled_lgl, sampler(num, replacement=False), 2000)
    assert ((mean - expected).abs() < 4 * error + 1e-12).all()

    def with_replacement(drawn: Drawn) -> Drawn:
        return drawn._replace(log_expected=(num * Q[drawn.classes]).log())

    if num > 1:  # a single draw has both weights: 1 / q on average
        wrong, error = many(sampled_lgl, sampler(num, replacement=False), 2000, with_replacement)
        assert ((wrong - expected).abs() > 8 * error).any()


def test_the_softmax_of_sampled_softmax_is_the_posterior_with_replacement_and_only_near_it_without() -> None:
    def slope(replacement: bool) -> Tensor:
        one, total = sampler(2, replacement=replacement), []
        target = torch.multinomial(ETA, 20_000, replacement=True, generator=torch.Generator().manual_seed(1))
        for part in target.split(10):
            z = ETA.log().requires_grad_()
            drawn = one.draw(part)
            total += torch.autograd.grad(sampled_softmax(of_classes(z, part, drawn.classes), drawn), z)
        gradients = torch.stack(total)
        return (gradients.mean(dim=0) / gradients.std(dim=0) * len(gradients) ** 0.5).abs().max()

    assert slope(True) < 4
    assert slope(False) > 6


def test_with_as_many_classes_as_there_are_all_are_drawn_and_weigh_one() -> None:
    target, head = torch.tensor([3, 0, 1]), nn.Linear(5, K).double()
    features = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = sampler(K, replacement=False).draw(target)
    assert sorted(found.classes.tolist()) == list(range(K))
    assert found.log_expected.tolist() == [0] * K
    assert found.own_log_expected.tolist() == [0] * 3
    counts = torch.tensor(COUNTS)
    whole = lgl(head(features), target, reduction="sum_classes")
    torch.testing.assert_close(
        build_loss(SampledLgl(num_sampled=K, replacement=False), counts)(features, head, target), whole
    )
    masked = SampledSoftmax(num_sampled=K, replacement=False, hits=Hits.mask)
    torch.testing.assert_close(
        build_loss(masked, counts)(features, head, target), nn.functional.cross_entropy(head(features), target)
    )


def test_no_proposal_gives_a_class_the_probability_zero() -> None:
    counts = torch.tensor([10**9, 0, 0, 5])
    powers = [(Proposal.unigram, power) for power in (0.0, 1.0, 2.0)]
    for proposal, power in [*powers, *((one, 1.0) for one in Proposal)]:
        loss = Nce(proposal=proposal, power=power)
        log_q = Sampler(loss, TrainingClasses(K, counts)).log_q
        assert torch.isfinite(log_q).all()
        assert log_q.exp().sum().item() == pytest.approx(1)


def config(folder: Path, loss: Any) -> Config:
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, parallel=1, tensorboard=False)
    return Config(Digits(num_train=64), Cnn2c(), loss, Schedule(epochs=1, batch_size=16), 0, runtime)


SAID = "loss.num_sampled must be <= 10, the number of classes, with loss.replacement=false, got 11"


def test_more_different_classes_than_there_are_are_refused_before_training(tmp_path: Path) -> None:
    loss = Nce(num_sampled=11, replacement=False)
    for refusing in (
        lambda: check(config(tmp_path / "out", loss)),
        lambda: build_loss(loss, torch.full((10,), 3)),
    ):
        with pytest.raises(ValueError, match=SAID):
            refusing()
    check(config(tmp_path / "out", Nce(num_sampled=11)))
    check(config(tmp_path / "out", Nce(num_sampled=10, replacement=False)))
    with pytest.raises(ValueError, match=r"^loss\.cutoffs must leave classes to each cluster, got .* for 10 classes"):
        check(config(tmp_path / "out", AdaptiveSoftmax(cutoffs=[0.1, 0.12])))
    assert list(tmp_path.iterdir()) == []
    said = "loss.replacement must be true with loss.proposal=in_batch, which draws no classes, got False"
    with pytest.raises(ValueError, match=said):
        SampledLgl(proposal=Proposal.in_batch, replacement=False)


def test_a_draw_without_replacement_waits_for_no_device() -> None:
    """The meta device has shapes and no numbers: a branch on a number raises."""
    arrivals = torch.rand(30, dtype=torch.float64, device="meta")
    for num in (1, 29, 30):
        found = first_to_arrive(arrivals, arrivals, torch.zeros(5, dtype=torch.int64, device="meta"), num)
        assert found.classes.shape == found.log_expected.shape == (num,)
        assert found.is_hit.shape == (5, num)
