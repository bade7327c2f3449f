"""Losses against plain loops, the published implementation's values, and properties that every loss must have."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import make_loss_values
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lossbench.config.options import ClassWeights, LossConfig, Reduction
from lossbench.losses.build import build_loss
from lossbench.losses.lgl import Lgl, lgl
from lossbench.losses.lgl_inr import Counts, LglInr, Missing, class_weights, lgl_inr
from lossbench.losses.sml import Sml, sml
from lossbench.losses.weighting import weights_by_size

COUNTS = torch.tensor([40, 10, 30, 20])  # training images of each class
TARGETS = {"all": [2, 0, 1, 3, 0, 2, 2], "some": [3, 1, 1, 3, 1, 3, 3], "one": [2] * 7}
BETAS = [0.0, 1.0, 2.0, 4.0, 50.0]
CONFIGS: list[LossConfig] = [
    Sml(),
    Lgl(),
    Lgl(reduction=Reduction.sum_classes),
    Sml(class_weights=ClassWeights.inverse),
    Lgl(class_weights=ClassWeights.effective),
    LglInr(),
    LglInr(beta=4.0),
    LglInr(detach_weights=True),
    LglInr(eps=1e-3),
    LglInr(counts=Counts.dataset),
    LglInr(missing=Missing.keep),
    LglInr(reduction=Reduction.mean),
]
REFERENCE = json.loads((Path(__file__).parent / "golden" / "lgl_inr_reference.json").read_text())["cases"]


def words(config: LossConfig) -> str:
    """Name of the loss and the option that is not the default, for the name of a test."""
    changed = vars(config).items() - vars(type(config)()).items()
    return "-".join([config.name, *(f"{name}={value}" for name, value in changed)])


def sml_as_defined(logits: Tensor, target: Tensor, *, class_weights: list[float] | None = None) -> Tensor:
    """Mean over the samples of the weight of its class times -log of the softmax probability of its class."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, label in zip(logits, target.tolist(), strict=True):
        weight = class_weights[label] if class_weights else 1.0
        total = total - weight * torch.log(torch.exp(row[label]) / sum(torch.exp(score) for score in row))
    return total / len(target)


def lgl_as_defined(
    logits: Tensor, target: Tensor, *, reduction: str = "mean", class_weights: list[float] | None = None
) -> Tensor:
    """-log p_k for the sample's class, -log(1 - p_k) for every other, p_k the sigmoid of logit k; times its weight."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, label in zip(logits, target.tolist(), strict=True):
        for k, score in enumerate(row):
            p = 1 / (1 + torch.exp(-score))
            weight = class_weights[label] if class_weights else 1.0
            total = total - weight * (torch.log(p) if k == label else torch.log(1 - p))
    return total / len(target) if reduction == "sum_classes" else total / logits.numel()


def weights_as_defined(
    logits: Tensor, target: Tensor, *, beta: float = 1.0, missing: str = "drop"
) -> dict[tuple[int, int], Tensor]:
    """lambda[j, k]: softmax over the classes j other than k of beta times the mean p_k over the samples of class j."""
    num_classes, labels = logits.shape[1], target.tolist()
    taking_part = [j for j in range(num_classes) if missing == "keep" or j in labels]
    weights = {}
    for k in range(num_classes):
        exponentials = {}
        for j in taking_part:
            if j == k:
                continue
            probabilities = [1 / (1 + torch.exp(-logits[i, k])) for i, label in enumerate(labels) if label == j]
            mean = sum(probabilities) / len(probabilities) if probabilities else torch.zeros((), dtype=logits.dtype)
            exponentials[j] = torch.exp(beta * mean)
        for j, exponential in exponentials.items():
            weights[j, k] = exponential / sum(exponentials.values())
    return weights


def lgl_inr_as_defined(
    logits: Tensor,
    target: Tensor,
    *,
    beta: float = 1.0,
    detach_weights: bool = False,
    eps: float | None = None,
    class_counts: Tensor | None = None,
    missing: str = "drop",
    reduction: str = "sum_classes",
    weights: dict[tuple[int, int], Tensor] | None = None,
) -> Tensor:
    """Eq. 11, classifier by classifier and sample by sample; `weights` replaces the lambdas by constants."""
    if weights is None:
        weights = weights_as_defined(logits.detach() if detach_weights else logits, target, beta=beta, missing=missing)
    labels, num_classes = target.tolist(), logits.shape[1]
    total = torch.zeros((), dtype=logits.dtype)
    for k in range(num_classes):
        for i, j in enumerate(labels):
            if class_counts is None:
                share = 1 / labels.count(j)
            else:  # 1 / N_j, times N / B: each sample of the batch stands for that many of the data set
                share = class_counts.sum().item() / len(labels) / class_counts[j].item()
            p = 1 / (1 + torch.exp(-logits[i, k]))
            p = p if j == k else 1 - p
            log = torch.log(p) if eps is None else torch.log(p + eps)
            total = total - share * log * (1 if j == k else weights[j, k])
    return total / num_classes if reduction == "mean" else total


def random_logits(num: int, num_classes: int, scale: float = 2.0, seed: int = 0) -> Tensor:
    noise = torch.randn(num, num_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (scale * noise).requires_grad_()


def value_and_grad(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


def assert_same(loss: Tensor, expected: Tensor, logits: Tensor) -> None:
    torch.testing.assert_close(value_and_grad(loss, logits), value_and_grad(expected, logits), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("present", TARGETS)
def test_sml_and_lgl_equal_plain_loops(present: str) -> None:
    logits, target = random_logits(7, 4), torch.tensor(TARGETS[present])
    assert_same(sml(logits, target), sml_as_defined(logits, target), logits)
    for reduction in ("mean", "sum_classes"):
        assert_same(
            lgl(logits, target, reduction=reduction), lgl_as_defined(logits, target, reduction=reduction), logits
        )


@pytest.mark.parametrize("num", [7, 3], ids=["by class", "by sample"])
@pytest.mark.parametrize("present", TARGETS)
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("detach_weights", [False, True])
@pytest.mark.parametrize("eps", [None, 1e-7])
def test_lgl_inr_equals_plain_loops(
    num: int, present: str, beta: float, detach_weights: bool, eps: float | None
) -> None:
    logits, target = random_logits(num, 4), torch.tensor(TARGETS[present][:num])
    options = {"beta": beta, "detach_weights": detach_weights, "eps": eps}
    assert_same(lgl_inr(logits, target, **options), lgl_inr_as_defined(logits, target, **options), logits)


@pytest.mark.parametrize("num", [7, 3], ids=["by class", "by sample"])
@pytest.mark.parametrize("present", TARGETS)
@pytest.mark.parametrize("missing", ["drop", "keep"])
@pytest.mark.parametrize("class_counts", [None, COUNTS], ids=["batch", "dataset"])
@pytest.mark.parametrize("reduction", ["sum_classes", "mean"])
def test_lgl_inr_options_equal_plain_loops(
    num: int, present: str, missing: str, class_counts: Tensor | None, reduction: str
) -> None:
    logits, target = random_logits(num, 4, seed=1), torch.tensor(TARGETS[present][:num])
    for beta in (0.0, 2.0):
        options = {"beta": beta, "class_counts": class_counts, "missing": missing, "reduction": reduction}
        assert_same(lgl_inr(logits, target, **options), lgl_inr_as_defined(logits, target, **options), logits)


@pytest.mark.parametrize("case", REFERENCE, ids=range(len(REFERENCE)))
def test_lgl_inr_equals_the_published_implementation(case: dict) -> None:
    logits = torch.tensor(case["logits"], dtype=torch.float64, requires_grad=True)
    options = {name: case[name] for name in ("beta", "detach_weights", "eps")}
    loss, grad = value_and_grad(lgl_inr(logits, torch.tensor(case["target"]), **options), logits)
    torch.testing.assert_close(loss.item(), case["loss"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad, torch.tensor(case["grad"], dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("num", "num_classes"), [(6, 2), (2, 1000), (1, 5)], ids=["K=2", "K=1000", "one sample"])
def test_extreme_shapes_equal_plain_loops(num: int, num_classes: int) -> None:
    logits = random_logits(num, num_classes)
    target = torch.randint(num_classes, (num,), generator=torch.Generator().manual_seed(0))
    assert_same(lgl_inr(logits, target), lgl_inr_as_defined(logits, target), logits)
    assert_same(lgl(logits, target), lgl_as_defined(logits, target), logits)
    assert_same(sml(logits, target), sml_as_defined(logits, target), logits)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that an operation returns."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.numel = max([self.numel, *(x.numel() for x in tree_leaves(result) if isinstance(x, Tensor))])
        return result


def test_with_thousands_of_classes_nothing_is_classes_by_classes() -> None:
    logits, target = random_logits(8, 3000), torch.arange(8) * 300
    with Largest() as largest:
        lgl_inr(logits, target).backward()
    assert logits.numel() <= largest.numel <= logits.numel() + len(target)  # a column more where none is a class's own


def test_one_class_alone_has_negatives_in_the_other_columns_only() -> None:
    logits = torch.tensor([[0.0, 1.0, -2.0]], dtype=torch.float64)
    expected = math.log1p(math.exp(-1.0)) + math.log(2.0) + math.log1p(math.exp(-2.0))
    assert lgl_inr(logits, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("config", [c for c in CONFIGS if not getattr(c, "detach_weights", False)], ids=words)
@pytest.mark.parametrize("present", TARGETS)
def test_gradient_is_that_of_the_value(config: LossConfig, present: str) -> None:
    loss, target = build_loss(config, COUNTS), torch.tensor(TARGETS[present])
    assert torch.autograd.gradcheck(lambda logits: loss(logits, target), random_logits(7, 4))


@pytest.mark.parametrize("present", TARGETS)
def test_gradient_with_detached_weights_is_that_of_constant_weights(present: str) -> None:
    logits, target, step = random_logits(7, 4), torch.tensor(TARGETS[present]), 1e-5
    _, grad = value_and_grad(lgl_inr(logits, target, beta=2.0, detach_weights=True), logits)
    values = logits.detach()
    weights = weights_as_defined(values, target, beta=2.0)
    for i, k in [(0, 0), (0, 2), (3, 1), (3, 3), (6, 2)]:
        shift = torch.zeros_like(values)
        shift[i, k] = step
        above, below = (lgl_inr_as_defined(values + sign * shift, target, weights=weights) for sign in (1, -1))
        assert grad[i, k].item() == pytest.approx((above - below).item() / (2 * step), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("config", [*CONFIGS, LglInr(beta=50.0), LglInr(beta=1e4)], ids=words)
def test_large_float32_logits_stay_finite(config: LossConfig) -> None:
    loss = build_loss(config, COUNTS)
    logits = random_logits(7, 4).detach().float().clamp(-1, 1) * 1e4
    logits[0], logits[1] = 1e4, -1e4
    for target in TARGETS.values():
        value, grad = value_and_grad(loss(logits.requires_grad_(), torch.tensor(target)), logits)
        assert value.isfinite()
        assert grad.isfinite().all()


def test_large_logits_give_the_exact_value() -> None:
    logits, target = torch.tensor([[1e4, -1e4]]), torch.tensor([1])
    assert sml(logits, target).item() == 2e4
    assert lgl(logits, target, reduction="sum_classes").item() == 2e4
    assert lgl_inr(logits, target).item() == 2e4


@pytest.mark.parametrize("config", CONFIGS, ids=words)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_losses_compute_in_at_least_float32(config: LossConfig, dtype: torch.dtype) -> None:
    loss, target = build_loss(config, COUNTS), torch.tensor(TARGETS["some"])
    logits = random_logits(7, 4).detach().to(dtype).requires_grad_()
    wider = torch.float64 if dtype == torch.float64 else torch.float32
    value, grad = value_and_grad(loss(logits, target), logits)
    assert value.dtype == wider
    assert grad.dtype == dtype
    assert torch.equal(value, loss(logits.to(wider), target))


@pytest.mark.parametrize("config", CONFIGS, ids=words)
def test_order_of_samples_and_names_of_classes_do_not_matter(config: LossConfig) -> None:
    logits, target = random_logits(7, 4).detach(), torch.tensor(TARGETS["some"])
    samples, classes = torch.tensor([3, 6, 0, 2, 5, 1, 4]), torch.tensor([2, 0, 3, 1])
    expected = build_loss(config, COUNTS)(logits, target)
    torch.testing.assert_close(build_loss(config, COUNTS)(logits[samples], target[samples]), expected)
    renamed = build_loss(config, COUNTS[classes])(logits[:, classes], torch.argsort(classes)[target])
    torch.testing.assert_close(renamed, expected)


@pytest.mark.parametrize("beta", BETAS)
def test_class_weights_share_out_one_among_the_other_classes(beta: float) -> None:
    means = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = class_weights(means, beta)
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(5, dtype=torch.float64))
    assert torch.equal(weights.diagonal(), torch.zeros(5, dtype=torch.float64))
    assert weights[1:, 0].max() == weights[1 + int(means[1:, 0].argmax()), 0]  # the hardest class weighs most
    torch.testing.assert_close(weights[1, 0] / weights[2, 0], torch.exp(beta * (means[1, 0] - means[2, 0])))


def test_class_weights_are_uniform_over_present_classes_at_beta_zero() -> None:
    present = torch.tensor([True, False, True, True])
    weights = class_weights(torch.rand(4, 4), 0.0, present)
    expected = torch.tensor(
        [[0, 1 / 3, 1 / 2, 1 / 2], [0, 0, 0, 0], [1 / 2, 1 / 3, 0, 1 / 2], [1 / 2, 1 / 3, 1 / 2, 0]]
    )
    torch.testing.assert_close(weights, expected)
    alone = class_weights(torch.rand(3, 3), 1.0, torch.tensor([False, True, False]))
    torch.testing.assert_close(alone, torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("loss", [sml, lgl, lgl_inr])
def test_wrong_shapes_are_refused_by_name(loss) -> None:
    target = torch.tensor([0, 1, 2])
    for shape in ([3], [3, 4, 1], [0, 4], [3, 1]):
        with pytest.raises(ValueError, match=f"logits.*{shape}".replace("[", r"\[").replace("]", r"\]")):
            loss(torch.zeros(shape), target)
    with pytest.raises(ValueError, match=r"target.*\[2\].*\[3\]"):
        loss(torch.zeros(2, 4), target)
    with pytest.raises(ValueError, match=r"target.*\[3\].*\[3, 1\]"):
        loss(torch.zeros(3, 4), target[:, None])


def test_unknown_options_are_refused_by_name() -> None:
    logits, target = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"reduction.*'sum'"):
        lgl(logits, target, reduction="sum")
    for name, value in (("reduction", "sum"), ("missing", "skip"), ("beta", -0.5)):
        with pytest.raises(ValueError, match=f"{name} must be .* got '?{value}"):
            lgl_inr(logits, target, **{name: value})


def test_a_word_is_looked_up_where_the_words_are_listed() -> None:
    assert Reduction("mean") is Reduction.mean
    said = "class weights must be inverse, sqrt_inverse or effective, got 'even'"
    with pytest.raises(ValueError, match=said):
        ClassWeights("even")
    with pytest.raises(ValueError, match="missing must be drop or keep, got 3"):
        Missing(3)


def weighted_by_hand(counts: list[float], kind: str) -> list[float]:
    """Weights by class size whose mean over the samples is 1."""
    formulas = {
        "inverse": lambda n: 1 / n,
        "sqrt_inverse": lambda n: 1 / math.sqrt(n),
        "effective": lambda n: 1 / sum(0.999**i for i in range(round(n))),
    }
    raw = [formulas[kind](n) for n in counts]
    mean = sum(n * weight for n, weight in zip(counts, raw, strict=True)) / sum(counts)
    return [weight / mean for weight in raw]


@pytest.mark.parametrize("kind", ["inverse", "sqrt_inverse", "effective"])
def test_class_weights_by_size_keep_the_scale_of_the_loss(kind: str) -> None:
    counts = [5000, 500, 50, 1]
    expected = weighted_by_hand(counts, kind)
    found = weights_by_size(np.array(counts, float), kind)
    assert found == pytest.approx(expected, rel=1e-9)
    assert weights_by_size(torch.tensor(counts).double(), kind).tolist() == pytest.approx(expected, rel=1e-9)
    assert np.diff(found).min() > 0  # the rarer, the more
    assert weights_by_size(np.full(3, 7.0), kind) == pytest.approx(np.ones(3))
    assert np.isfinite(weights_by_size(np.array([5.0, 0.0]), kind)).all()
    with pytest.raises(ValueError, match="must be inverse, sqrt_inverse or effective, got 'even'"):
        weights_by_size(np.ones(2), "even")


@pytest.mark.parametrize("config", CONFIGS, ids=words)
def test_build_loss_passes_every_option_on(config: LossConfig) -> None:
    logits, target = random_logits(7, 4), torch.tensor(TARGETS["some"])
    options = {name: value for name, value in vars(config).items() if name not in ("name", "scale", "counts")}
    if isinstance(config, LglInr):
        options["class_counts"] = COUNTS if config.counts is Counts.dataset else None
        del options["class_weights"]  # it takes none
    if options.get("class_weights"):
        options["class_weights"] = weighted_by_hand(COUNTS.tolist(), options["class_weights"].value)
    twins = {"sml": sml_as_defined, "lgl": lgl_as_defined, "lgl_inr": lgl_inr_as_defined}
    expected = twins[config.name](logits, target, **options)
    assert_same(build_loss(replace(config, scale=2.5), COUNTS)(logits, target), 2.5 * expected, logits)
    assert torch.allclose(build_loss(config, COUNTS)(logits, target), expected, rtol=1e-9)


@pytest.mark.parametrize("config", CONFIGS, ids=words)
def test_nothing_waits_for_the_device(config: LossConfig) -> None:
    logits = torch.empty(7, 4, device="meta", requires_grad=True)  # no values: whatever reads one raises
    target = torch.empty(7, device="meta", dtype=torch.int64)
    loss = build_loss(config, COUNTS.to("meta"))(logits, target)
    loss.backward()
    assert loss.shape == ()
    assert logits.grad.shape == logits.shape


@pytest.mark.parametrize("config", CONFIGS, ids=words)
def test_no_loss_changes_unless_numerics_is_raised(config: LossConfig) -> None:
    """A run's name does not say which code its loss had, so an edited loss would be taken for the old one."""
    known = json.loads(make_loss_values.PATH.read_text())
    assert words(config) in known, "a new option: run tests/make_loss_values.py"
    message = (
        f"{words(config)} gives other numbers than the committed runs have; where that is meant, raise NUMERICS in "
        "src/lossbench/__init__.py and run tests/make_loss_values.py"
    )
    found, expected = make_loss_values.value_and_gradient(config), known[words(config)]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12, abs=1e-15), message
    assert np.allclose(found["gradient"], expected["gradient"], rtol=1e-10, atol=1e-13), message


@pytest.mark.parametrize("config", CONFIGS, ids=words)
@pytest.mark.parametrize("wrong", [-1, 4, 100])
def test_a_class_that_is_none_is_refused_by_every_loss_alike(config: LossConfig, wrong: int) -> None:
    with pytest.raises(
        ValueError, match=rf"target must be in 0\.\.3 for 4 classes, got {min(wrong, 0)}\.\.{max(wrong, 2)}"
    ):
        build_loss(config, COUNTS)(random_logits(3, 4), torch.tensor([0, wrong, 2]))
