"""The learning property against autograd, stationary points, the paper's own example, and every committed record."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import root
from torch import Tensor

from lossbench.config import registry
from lossbench.config.options import ClassWeights, LossConfig, Reduction
from lossbench.config.run import Config, Schedule
from lossbench.data import labels
from lossbench.data.digits import Digits
from lossbench.losses import build, lgl_inr
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import Counts, LglInr, Missing
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.records import committed_records
from lossbench.statistics import learning_property
from lossbench.statistics.learning_property import Balance, balances
from lossbench.training import metrics

COUNTS = torch.tensor([7, 3, 9, 5])
TARGET = torch.repeat_interleave(torch.arange(4), COUNTS)
LOSSES: list[LossConfig] = [
    Sml(),
    Sml(scale=3.0),
    Lgl(),
    Lgl(scale=0.5),
    Lgl(reduction=Reduction.sum_classes),
    Sml(class_weights=ClassWeights.inverse),
    Lgl(class_weights=ClassWeights.effective, scale=2.0),
    LglInr(detach_weights=True),
    LglInr(detach_weights=True, beta=4.0, scale=2.0, reduction=Reduction.mean),
    LglInr(detach_weights=True, beta=2.0, counts=Counts.dataset, missing=Missing.keep),
    LglInr(beta=0.0),
    LglInr(),
    LglInr(beta=4.0, scale=2.0, reduction=Reduction.mean),
]
RECORDS = committed_records(Path(__file__).parents[1] / "results").records


def words(config: LossConfig) -> str:
    changed = vars(config).items() - vars(type(config)()).items()
    return "-".join([config.name, *(f"{name}={value}" for name, value in sorted(changed))])


def config(loss: LossConfig, **schedule: Any) -> dict[str, Any]:
    return asdict(Config(Digits(), Cnn2c(), loss, Schedule(**schedule)))


def arrays(logits: Tensor, bias: Tensor, target: Tensor = TARGET) -> dict[str, np.ndarray]:
    """What a run leaves whose training and test images have these logits, [N, K], without the bias."""
    logits = logits + bias
    means = {name: mean.numpy() for name, mean in metrics.mean_probabilities(logits, target).items()}
    return {
        "test_predictions": logits.argmax(dim=1).numpy(),
        "test_logits": logits.numpy(),
        "confusion_matrix": metrics.confusion_matrix(logits, target).numpy(),
        "output_bias": bias.numpy(),
    } | {f"{split}_mean_{name}": mean for split in ("train", "test") for name, mean in means.items()}


def is_attached(loss: LossConfig) -> bool:
    return isinstance(loss, LglInr) and loss.beta > 0 and not loss.detach_weights


@pytest.mark.parametrize("loss", LOSSES, ids=words)
def test_the_gradient_is_that_of_autograd(loss: LossConfig) -> None:
    draw = torch.Generator().manual_seed(5)
    logits = 3 * torch.randn(len(TARGET), 4, dtype=torch.float64, generator=draw)
    bias = torch.randn(4, dtype=torch.float64, generator=draw).requires_grad_()
    value = build.build_loss(loss, COUNTS)(logits + bias, TARGET)
    (expected,) = torch.autograd.grad(value, bias)
    found = balances(config(loss), arrays(logits, bias.detach()), COUNTS.numpy(), TARGET.numpy())
    assert found["test"].gradient == pytest.approx(expected.numpy(), rel=1e-12, abs=1e-15)
    if is_attached(loss):
        assert np.isnan(found["train"].attached).all()
        assert np.abs(found["test"].attached).max() > 1e-3
    else:
        assert found["train"].gradient == pytest.approx(expected.numpy(), rel=1e-12, abs=1e-15)
        assert (found["test"].attached == 0).all()


@pytest.mark.parametrize("decay_bias", [True, False])
@pytest.mark.parametrize("loss", LOSSES, ids=words)
def test_the_residual_at_a_stationary_point_is_predicted(loss: LossConfig, decay_bias: bool) -> None:
    inputs = torch.randn(len(TARGET), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    function, weight_decay = build.build_loss(loss, COUNTS), 0.01

    def step(values: np.ndarray) -> np.ndarray:
        """What SGD follows: the gradient of a linear layer and its weight decay."""
        parameters = torch.tensor(values).reshape(4, 3).requires_grad_()
        weight, bias = parameters[:, :2], parameters[:, 2]
        (slope,) = torch.autograd.grad(function(inputs @ weight.T + bias, TARGET), parameters)
        decayed = torch.tensor([1.0, 1.0, float(decay_bias)]) * parameters.detach()
        return (slope + weight_decay * decayed).numpy().ravel()

    solution = root(step, np.zeros(12), tol=1e-13)
    assert np.abs(solution.fun).max() < 1e-12
    found = torch.tensor(solution.x).reshape(4, 3)
    run = arrays(inputs @ found[:, :2].T, found[:, 2])
    schedule = {"weight_decay": weight_decay, "decay_bias": decay_bias}
    balance = balances(config(loss, **schedule), run, COUNTS.numpy(), TARGET.numpy())["test"]
    assert balance.residual == pytest.approx(balance.decay + balance.attached, abs=1e-9 * balance.unit)
    assert np.abs(balance.decay).max() > 1e-3 if decay_bias else (balance.decay == 0).all()


def by_hand(loss: LossConfig, means: list[list[float]], counts: list[int], tested: int = 50) -> dict[str, Balance]:
    """The balances of a run with the given mean probabilities, each class tested on as many images."""
    size = len(means)
    run = {f"{split}_mean_{name}": np.array(means) for split in ("train", "test") for name in ("softmax", "sigmoid")}
    run |= {"confusion_matrix": tested * np.eye(size, dtype=np.int64), "output_bias": np.zeros(size, np.float32)}
    return balances(config(loss), run, np.array(counts))


def test_the_papers_example_of_imbalance_is_in_balance() -> None:
    # N0 = 10 N1 and p_00 = 0.98 ask for p_11 = 0.8 (text below Eq. 10); the test images are as many of each class.
    for balance in by_hand(Sml(), [[0.98, 0.02], [0.2, 0.8]], [1000, 100]).values():
        assert balance.left == pytest.approx([20, 20])
        assert balance.right == pytest.approx([20, 20])
        assert balance.ratio == pytest.approx([1, 1])
        assert balance.relative == pytest.approx([0, 0], abs=1e-12)


def test_one_vs_all_classifiers_are_out_of_balance_each_for_itself() -> None:
    balance = by_hand(Lgl(), [[0.9, 0.2, 0.0], [0.3, 0.5, 0.0], [0.1, 0.0, 1.0]], [10, 20, 40])["train"]
    assert balance.left == pytest.approx([1, 10, 0])
    assert balance.right == pytest.approx([20 * 0.3 + 40 * 0.1, 10 * 0.2, 0])
    assert balance.ratio[:2] == pytest.approx([0.1, 5])
    assert balance.relative[:2] == pytest.approx([-9 / 11, 8 / 12])
    assert np.isnan([balance.ratio[2], balance.relative[2]]).all()  # nothing wrong on either side
    assert balance.gradient == pytest.approx([9 / 210, -8 / 210, 0])


def test_lgl_inr_weighs_classes_and_not_images() -> None:
    means = [[0.9, 0.2, 0.5], [0.3, 0.5, 0.5], [0.1, 0.0, 1.0]]
    first = np.exp(2 * 0.3) / (np.exp(2 * 0.3) + np.exp(2 * 0.1))
    second = np.exp(2 * 0.2) / (np.exp(2 * 0.2) + 1)
    for counts in ([10, 20, 40], [70, 30, 10]):
        balance = by_hand(LglInr(beta=2.0), means, counts)["test"]
        assert balance.left == pytest.approx([0.1, 0.5, 0])
        assert balance.right == pytest.approx([first * 0.3 + (1 - first) * 0.1, second * 0.2, 0.5])


@pytest.mark.parametrize("beta", [0.0, 1.0, 50.0])
def test_class_weights_are_those_of_the_loss(beta: float) -> None:
    means = torch.rand(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = learning_property.class_weights(means.numpy(), beta)
    assert found == pytest.approx(lgl_inr.class_weights(means, beta).numpy(), abs=1e-14)


@pytest.mark.parametrize("loss", [Sml(), Lgl(), LglInr()], ids=words)
def test_without_images_of_a_class_nothing_is_known(loss: LossConfig) -> None:
    logits = torch.randn(len(TARGET), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    run = arrays(logits, torch.zeros(4, dtype=torch.float64))
    there = TARGET != 2
    run |= {name: run[name][there.numpy()] for name in ("test_logits", "test_predictions")}
    run["confusion_matrix"] = metrics.confusion_matrix(logits[there], TARGET[there]).numpy()
    for name, means in metrics.mean_probabilities(logits[there], TARGET[there]).items():
        run[f"test_mean_{name}"] = means.numpy()
    found = balances(config(loss), run, COUNTS.numpy(), TARGET[there].numpy())
    assert np.isnan(found["test"].residual).all()
    assert np.isfinite(found["train"].residual).all()


def test_what_is_not_of_the_run_is_refused() -> None:
    logits = torch.randn(len(TARGET), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    run, counts, true = arrays(logits, torch.zeros(4, dtype=torch.float64)), COUNTS.numpy(), TARGET.numpy()
    own = config(Sml())
    other = own | {"loss": {"name": "brier"}}
    with pytest.raises(ValueError, match="known for the losses lgl, lgl_inr, sml, not for brier"):
        balances(other, run, counts)
    for wrong in ([1, 2, 3], [1, 2, 0, 3]):
        with pytest.raises(
            ValueError, match=r"train_counts must be 4 numbers >= 1, one for each class, got \[1\.0, 2\.0"
        ):
            balances(own, run, np.array(wrong))
    swapped, negative, beyond = true[::-1].copy(), true - 1, true + 4
    for wrong_labels in (true[1:], swapped, negative, beyond):
        with pytest.raises(ValueError, match="test_labels must be the classes of the run's 24 test images"):
            balances(own, run, counts, wrong_labels)


def test_a_loss_says_which_law_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(len(TARGET), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    run, counts = arrays(logits, torch.zeros(4, dtype=torch.float64)), COUNTS.numpy()
    for name, options in (("sml", Sml()), ("lgl", Lgl()), ("lgl_inr", LglInr())):
        monkeypatch.setitem(registry.LOSSES._load(), "another", registry.LOSSES[name])
        own = config(options)
        found = balances(own | {"loss": own["loss"] | {"name": "another"}}, run, counts)
        assert found["train"].residual.tolist() == balances(own, run, counts)["train"].residual.tolist()
    monkeypatch.setitem(registry.LOSSES._load(), "another", replace(registry.LOSSES["sml"], law=None))
    with pytest.raises(ValueError, match="known for the losses lgl, lgl_inr, sml, not for another"):
        balances(own | {"loss": own["loss"] | {"name": "another"}}, run, counts)


def test_committed_records_have_their_balances() -> None:
    measured = 0
    for record in RECORDS.values():
        own, run = record.fields["config"], record.arrays()
        assert run is not None
        counts = labels.train_counts(own["dataset"])
        if counts is None:
            continue
        measured += 1
        for balance in (found := balances(own, run, counts, labels.test_labels(own["dataset"]))).values():
            assert np.isfinite(balance.ratio).all()
            if own["loss"]["name"] == "sml":  # K equations, of which K - 1 say something
                assert balance.residual.sum() == pytest.approx(0, abs=1e-6)
        if "test_logits" in run or own["loss"]["name"] != "lgl_inr":
            assert np.isfinite(found["test"].gradient).all()
        if own["loss"]["name"] == "lgl_inr":
            weights = learning_property.class_weights(run["test_mean_sigmoid"], own["loss"]["beta"])
            assert run["class_weights"][-1] == pytest.approx(weights, abs=1e-6)
    assert measured >= 9


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0, 30.0])
def test_reversed_negatives_are_those_that_autograd_raises(beta: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(len(TARGET), 4, dtype=torch.float64, generator=generator)).requires_grad_()
    (slopes,) = torch.autograd.grad(lgl_inr.lgl_inr(logits, TARGET, beta=beta), logits)
    negatives = slopes[TARGET[:, None] != torch.arange(4)]
    found = learning_property.reversed_share(logits.detach().numpy(), TARGET.numpy(), beta)
    assert found == (negatives < 0).double().mean().item()
    assert (found > 0) == (beta > 0)


def test_unevenness_is_the_share_of_weight_that_lies_elsewhere() -> None:
    uniform = (1 - np.eye(5)) / 4
    assert learning_property.unevenness(uniform) == 0
    assert learning_property.unevenness(np.roll(np.eye(5), 1, axis=0)) == pytest.approx(3 / 4)
    half = uniform.copy()
    half[[1, 2], 0] = 0.35, 0.15
    assert learning_property.unevenness(half) == pytest.approx(0.1 / 5)
