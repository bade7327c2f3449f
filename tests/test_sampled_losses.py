"""Losses of sampled classes: plain twins, what they estimate and minimise, and their draws."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lossbench.config.options import LossConfig, TrainingClasses
from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.losses.adaptive_softmax import AdaptiveSoftmax
from lossbench.losses.full_softmax import FullSoftmax, full_softmax
from lossbench.losses.lgl import lgl
from lossbench.losses.nce import Nce, nce
from lossbench.losses.sampled_lgl import SampledLgl, sampled_lgl
from lossbench.losses.sampled_softmax import Correction, Hits, SampledSoftmax, sampled_softmax
from lossbench.losses.sampling import Drawn, Logits, Proposal, Sampler, logits_of
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.runs.folder import open_run
from lossbench.training.fit import fit, start_state
from lossbench.training.step_cost import peak_mb

K = 4
ETA = torch.tensor([0.5, 0.27, 0.15, 0.08], dtype=torch.float64)
Q = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def drawn(target: Tensor, classes: Tensor, q: Tensor) -> Drawn:
    log_expected = (len(classes) * q).log()
    return Drawn(classes, log_expected[classes], log_expected[target], target[:, None] == classes, None)


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Logits [5, K], target [5], drawn classes [3]."""
    logits = 2 * torch.randn(5, K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return logits, torch.tensor([0, 1, 3, 2, 1]), torch.tensor([1, 3, 1])


def of_classes(logits: Tensor, target: Tensor, classes: Tensor) -> Logits:
    return Logits(logits.gather(1, target[:, None])[:, 0], logits[:, classes])


@pytest.mark.parametrize("correction", ["both", "sampled", "none"])
@pytest.mark.parametrize("hits", ["keep", "mask"])
def test_sampled_softmax_equals_a_loop(correction: str, hits: str) -> None:
    logits, target, classes = batch()
    values = []
    for z, y in zip(logits.tolist(), target.tolist(), strict=True):
        own = z[y] - (math.log(3 * Q[y]) if correction == "both" else 0)
        others = [
            z[j] - (0 if correction == "none" else math.log(3 * Q[j])) for j in classes if hits == "keep" or j != y
        ]
        values.append(math.log(sum(map(math.exp, [own, *others]))) - own)
    found = sampled_softmax(
        of_classes(logits, target, classes), drawn(target, classes, Q), correction=correction, hits=hits
    )
    assert found.item() == pytest.approx(np.mean(values))


@pytest.mark.parametrize("correction", [True, False])
@pytest.mark.parametrize("hits", ["keep", "mask"])
def test_nce_and_sampled_lgl_equal_loops(correction: bool, hits: str) -> None:
    logits, target, classes = batch()
    contrastive, one_vs_all = [], []
    for z, y in zip(logits.tolist(), target.tolist(), strict=True):
        shift = [math.log(3 * q) if correction else 0 for q in Q.tolist()]
        negatives = [j for j in classes.tolist() if hits == "keep" or j != y]
        contrastive.append(
            math.log1p(math.exp(shift[y] - z[y])) + sum(math.log1p(math.exp(z[j] - shift[j])) for j in negatives)
        )
        one_vs_all.append(
            math.log1p(math.exp(-z[y]))
            + sum(math.log1p(math.exp(z[j])) / (3 * Q[j].item()) for j in classes.tolist() if j != y)
        )
    given = of_classes(logits, target, classes), drawn(target, classes, Q)
    assert nce(*given, correction=correction, hits=hits).item() == pytest.approx(np.mean(contrastive))
    assert sampled_lgl(*given).item() == pytest.approx(np.mean(one_vs_all))


def expected(loss: Any, z: Tensor, num: int) -> Tensor:
    """Expectation over targets from ETA and all draws of `num` classes from Q."""
    total = torch.zeros((), dtype=torch.float64)
    target = torch.arange(K)
    for draw in itertools.product(range(K), repeat=num):
        classes = torch.tensor(draw)
        probability = Q[classes].prod()
        for y in range(K):
            own = target[y : y + 1]
            one = loss(of_classes(z[None], own, classes), drawn(own, classes, Q))
            total = total + probability * ETA[y] * one
    return total


def minimiser(loss: Any, num: int) -> Tensor:
    z = torch.zeros(K, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [z], max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = expected(loss, z, num)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call, arg-type]
    return z.detach()


@pytest.mark.parametrize("num", [1, 2])
def test_sampled_softmax_with_both_corrected_and_hits_kept_has_the_posterior_as_its_minimiser(num: int) -> None:
    torch.testing.assert_close(minimiser(sampled_softmax, num).softmax(dim=0), ETA, rtol=0, atol=1e-5)


def test_without_correction_it_has_the_posterior_over_the_proposal() -> None:
    found = minimiser(lambda *given: sampled_softmax(*given, correction="none"), 2)
    torch.testing.assert_close(found.softmax(dim=0), (ETA / Q) / (ETA / Q).sum(), rtol=0, atol=1e-5)


def test_correcting_the_sampled_ones_alone_has_another_minimiser() -> None:
    found = minimiser(lambda *given: sampled_softmax(*given, correction="sampled", hits="mask"), 1)
    assert (found.softmax(dim=0) - ETA).abs().max() > 0.05


@pytest.mark.parametrize("num", [1, 2])
def test_nce_has_the_logarithm_of_the_posterior_and_negative_sampling_has_it_over_the_proposal(num: int) -> None:
    torch.testing.assert_close(minimiser(nce, num), ETA.log(), rtol=0, atol=1e-5)
    found = minimiser(lambda *given: nce(*given, correction=False), num)
    torch.testing.assert_close(found, (ETA / (num * Q)).log(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("num", [1, 3])
def test_sampled_lgl_is_unbiased_in_value_and_gradient(num: int) -> None:
    z = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(expected(sampled_lgl, z, num), z)
    whole = sum(ETA[y] * lgl(z[None], torch.tensor([y]), reduction="sum_classes") for y in range(K))
    (expected_slope,) = torch.autograd.grad(whole, z)  # type: ignore[arg-type]
    assert expected(sampled_lgl, z, num).item() == pytest.approx(float(whole))
    torch.testing.assert_close(slope, expected_slope)


def sampler(loss: Any, counts: list[int]) -> Sampler:
    classes = TrainingClasses(len(counts), torch.tensor(counts), None, torch.Generator().manual_seed(0))
    return Sampler(loss, classes)


SHARES = {
    (Proposal.uniform, 1.0): [1 / 4] * 4,
    (Proposal.log_uniform, 1.0): [math.log((k + 2) / (k + 1)) / math.log(5) for k in range(4)],
    (Proposal.unigram, 1.0): [8 / 16, 4 / 16, 3 / 16, 1 / 16],
    (Proposal.unigram, 0.5): [math.sqrt(n) / (math.sqrt(8) + 2 + math.sqrt(3) + 1) for n in (8, 4, 3, 1)],
}


@pytest.mark.parametrize(("proposal", "power"), SHARES)
def test_classes_are_drawn_as_often_as_the_proposal_says(proposal: Proposal, power: float) -> None:
    one = sampler(SampledSoftmax(proposal=proposal, power=power, num_sampled=40_000), [8, 4, 3, 0])
    found = one.draw(torch.tensor([0, 3]))
    share = SHARES[proposal, power]
    assert (torch.bincount(found.classes, minlength=4) / 40_000).tolist() == pytest.approx(share, abs=0.01)
    assert found.own_log_expected.exp().tolist() == pytest.approx([40_000 * share[0], 40_000 * share[3]])
    assert found.log_expected[:9].tolist() == pytest.approx([math.log(40_000 * share[k]) for k in found.classes[:9]])


def test_in_a_batch_the_others_classes_are_the_negatives() -> None:
    loss, target = SampledSoftmax(proposal=Proposal.in_batch), torch.tensor([0, 1, 0])
    found = sampler(loss, [5, 3, 2]).draw(target)
    logits = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value = sampled_softmax(of_classes(logits, target, target), found)
    q = [0.5, 0.3]
    expected = 0.0
    for n, y in enumerate(target.tolist()):
        corrected = [logits[n, j].item() - math.log(2 * q[j]) for j in target.tolist()]
        expected += math.log(sum(map(math.exp, corrected))) - corrected[n]
        assert corrected[n] == pytest.approx(logits[n, y].item() - math.log(2 * q[y]))
    assert value.item() == pytest.approx(expected / 3)


def test_the_logits_of_single_classes_are_those_of_all_and_have_a_sparse_gradient() -> None:
    head, draw = nn.Linear(3, 6), torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, generator=draw, requires_grad=True)
    target, classes = torch.tensor([5, 1]), torch.tensor([1, 1, 2, 0])
    own, others = logits_of(features, head, target, classes)
    every = head(features)
    torch.testing.assert_close(own, every.gather(1, target[:, None])[:, 0])
    torch.testing.assert_close(others, every[:, classes])
    (own.sum() + others.square().sum()).backward()  # type: ignore[no-untyped-call]
    assert head.weight.grad is not None
    assert head.weight.grad.is_sparse
    (every.gather(1, target[:, None]).sum() + every[:, classes].square().sum()).backward()  # type: ignore[no-untyped-call]
    first = head.weight.grad.to_dense() / 2
    head.weight.grad = None
    (head(features).gather(1, target[:, None]).sum() + head(features)[:, classes].square().sum()).backward()
    torch.testing.assert_close(first, head.weight.grad)


def config(folder: Path, loss: LossConfig, **schedule: Any) -> Config:
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, parallel=1, tensorboard=False)
    made = Schedule(**({"epochs": 2, "batch_size": 16} | schedule))
    return Config(Digits(num_train=64), Cnn2c(head=Head.direct), loss, made, 0, runtime)


LOSSES = [
    *(SampledSoftmax(num_sampled=5), SampledSoftmax(proposal=Proposal.in_batch, hits=Hits.mask)),
    *(Nce(num_sampled=5), SampledLgl(num_sampled=5), AdaptiveSoftmax(), Nce(num_sampled=5, replacement=False)),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_stop_and_tests_within_epochs_change_no_draw(loss: LossConfig, tmp_path: Path) -> None:
    def stop(epoch: int, fraction: float, line: str) -> None:
        if (epoch, fraction) == (1, 1.0):
            raise KeyboardInterrupt

    whole = config(tmp_path / "whole", loss)
    curves = fit(whole, open_run(whole))["curves"]
    assert curves["train/loss"][0] != curves["train/loss"][1]
    often = config(tmp_path / "often", loss, evaluate_every_steps=3)
    assert fit(often, open_run(often))["curves"] == curves
    stopped = config(tmp_path / "stopped", loss)
    with pytest.raises(KeyboardInterrupt):
        fit(stopped, open_run(stopped), stop)
    assert fit(stopped, open_run(stopped))["curves"] == curves


def test_full_softmax_trains_as_sml(tmp_path: Path) -> None:
    both = []
    for loss in (Sml(), FullSoftmax()):
        made = config(tmp_path / loss.name, loss)
        both.append(fit(made, open_run(made)))
    assert both[0]["curves"]["train/loss"] == pytest.approx(both[1]["curves"]["train/loss"], rel=1e-5)
    assert both[0]["test_accuracy"] == both[1]["test_accuracy"]


@pytest.mark.parametrize("chunk", [2**22, 90, 1])
@pytest.mark.parametrize("has_options", [True, False])
def test_full_softmax_in_parts_is_the_same(chunk: int, has_options: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossbench.losses.full_softmax.CHUNK", chunk)
    if not has_options:
        monkeypatch.delattr(nn, "LinearCrossEntropyOptions", raising=False)
    features, head = torch.randn(16, 5, dtype=torch.float64, requires_grad=True), nn.Linear(5, 30).double()
    target = torch.randint(30, (16,))
    values = full_softmax(features, head, target), nn.functional.cross_entropy(head(features), target)
    found = [[one, *torch.autograd.grad(one, (features, head.weight, head.bias))] for one in values]
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_full_softmax_in_parts_needs_no_memory_for_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    features, head = torch.randn(256, 8, requires_grad=True), nn.Linear(8, 20_000)
    target = torch.randint(20_000, (256,))
    all_mb = 256 * 20_000 * 4 / 1e6
    peaks = []
    for chunk in (2**30, 2**18):
        monkeypatch.setattr("lossbench.losses.full_softmax.CHUNK", chunk)
        peaks.append(peak_mb(lambda: full_softmax(features, head, target).backward(), torch.device("cpu")))
    assert peaks[0] > 2 * all_mb
    assert peaks[1] < 0.5 * all_mb


def test_adaptive_softmax_is_a_likelihood_with_its_own_output_layer(tmp_path: Path) -> None:
    made = config(tmp_path, AdaptiveSoftmax())
    state = start_state(made, torch.device("cpu"))
    again = start_state(made, torch.device("cpu"))
    network: Any = state.model
    inputs = state.data.inputs(state.data.train.images[:9])
    logits = network(inputs)
    torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(9))
    target = torch.arange(9)
    value = state.loss(network.features(inputs), network.head, target)
    torch.testing.assert_close(value, -logits.gather(1, target[:, None]).mean())
    for first, second in zip(network.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, second)
    assert sum(parameter.requires_grad for parameter in network.head.parameters()) > 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SampledSoftmax(num_sampled=0), "loss.num_sampled must be >= 1, got 0"),
        (lambda: Nce(power=-1), r"loss.power must be in \[0, 2\], got -1"),
        (lambda: AdaptiveSoftmax(cutoffs=[0.4, 0.1]), r"loss.cutoffs must be rising fractions in \(0, 1\)"),
        (lambda: AdaptiveSoftmax(cutoffs=[0.1, 0.11]).output_layer(8, 10), "must leave classes to each cluster"),
        (lambda: AdaptiveSoftmax(shrink=0.5), "loss.shrink must be >= 1, got 0.5"),
    ],
)
def test_wrong_options_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


UNUSED = {
    "loss.num_sampled must be left out with loss.proposal=in_batch, which takes the other samples' classes, got 20": {
        "proposal": Proposal.in_batch,
        "num_sampled": 20,
    },
    "loss.power must be left out with loss.proposal=in_batch, got 0.75": {
        "proposal": Proposal.in_batch,
        "power": 0.75,
    },
    "loss.power must be left out with loss.proposal=uniform, got 0.75": {"proposal": Proposal.uniform, "power": 0.75},
}


@pytest.mark.parametrize("said", UNUSED)
def test_options_without_effect_are_refused(said: str) -> None:
    for loss in (SampledSoftmax, Nce, SampledLgl):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            loss(**UNUSED[said])


def test_clusters_of_an_adaptive_softmax_have_features() -> None:
    assert AdaptiveSoftmax(shrink=8).output_layer(64, 100) is not None
    with pytest.raises(ValueError, match=r"^loss\.shrink must be <= 8 with 64 features and 2 clusters, got 8\.5$"):
        AdaptiveSoftmax(shrink=8.5).output_layer(64, 100)


def test_options_are_words() -> None:
    assert SampledSoftmax(correction=Correction.none).correction == "none"
    assert replace(SampledSoftmax(), hits=Hits.mask).hits == "mask"
