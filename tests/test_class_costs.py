"""Cost of a step by the number of classes: what is measured, against counts by hand."""

import json
import math
from typing import Any

import pytest
import torch

from lossbench.config.options import LossConfig
from lossbench.losses.adaptive_softmax import AdaptiveSoftmax
from lossbench.losses.full_softmax import FullSoftmax
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.nce import Nce
from lossbench.losses.sampled_softmax import SampledSoftmax
from lossbench.losses.sampling import Proposal
from lossbench.losses.sparsemax import Sparsemax
from lossbench.training import class_costs
from lossbench.training.class_costs import BASELINE, measured_class_costs, zipf_counts
from lossbench.training.step_cost import peak_mb

K, F, B, M = 1000, 16, 32, 50


class Failing(LossConfig):
    """A loss that cannot be computed."""

    name = "sml"

    def __init__(self) -> None:
        self.scale, self.class_weights = 1.0, None

    def build(self, classes: Any) -> Any:
        raise RuntimeError("no such loss")


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    losses = {
        "full": FullSoftmax(),
        "lgl": Lgl(),
        "lgl_inr": LglInr(),
        "sparsemax": Sparsemax(),
        "sampled": SampledSoftmax(num_sampled=M),
        "in_batch": SampledSoftmax(proposal=Proposal.in_batch),
        "many": Nce(num_sampled=2 * K),
        "adaptive": AdaptiveSoftmax(),
        "failing": Failing(),
    }
    return measured_class_costs(losses, K, F, B, rounds=3)


def test_all_is_plain_json_with_what_it_was_measured_on(measured: dict[str, Any]) -> None:
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    known = {key: measured[key] for key in ("classes", "features", "batch_size", "rounds", "num_threads", "torch")}
    expected = {"classes": K, "features": F, "batch_size": B, "rounds": 3, "num_threads": 1}
    assert known == expected | {"torch": torch.__version__}
    assert list(measured["losses"])[-1] == BASELINE


def test_each_loss_takes_turns_with_the_baseline(measured: dict[str, Any]) -> None:
    losses = measured["losses"]
    done = [name for name in losses if name not in ("failing", BASELINE)]
    assert len(done) == 8
    for name in done:
        assert len(losses[name]["ms"]) == len(losses[name]["baseline_ms"]) == 3
        assert min(losses[name]["ms"]) > 0
    every = [ms for name in done for ms in losses[name]["baseline_ms"]]
    assert losses[BASELINE]["ms"] == losses[BASELINE]["baseline_ms"] == every
    assert losses["failing"] == {"failed": "RuntimeError: no such loss"}


def test_operations_are_those_of_the_matrix_products(measured: dict[str, Any]) -> None:
    losses = measured["losses"]
    full = 6 * B * K * F / 1e6  # logits, and the gradients in features and weights; a multiply-add counts twice
    for name in (BASELINE, "full", "lgl", "sparsemax"):
        assert losses[name]["mflop"] == pytest.approx(full), name
    assert losses["sampled"]["mflop"] == pytest.approx(full * M / K)
    assert losses["in_batch"]["mflop"] == pytest.approx(full * B / K)
    assert losses["many"]["mflop"] == pytest.approx(2 * full)
    assert losses["adaptive"]["mflop"] < full / 2


def test_memory_is_that_of_the_tensors_of_a_step(measured: dict[str, Any]) -> None:
    losses = measured["losses"]
    logits, layer = 4 * B * K / 1e6, 4 * K * (F + 1) / 1e6
    assert losses[BASELINE]["mb"] == pytest.approx(3 * logits, rel=0.1)  # logits, their log-softmax, and its gradient
    rows = 4 * (B + M) * F / 1e6
    assert 2 * rows < losses["sampled"]["mb"] < 2 * rows + layer
    assert losses["sampled"]["mb"] < losses[BASELINE]["mb"] / 3


def test_memory_of_a_sparse_gradient_is_that_of_its_indices_and_rows() -> None:
    weight, places = torch.randn(1000, 250, requires_grad=True), torch.arange(100)

    def rows() -> None:
        torch.nn.functional.embedding(places, weight, sparse=True).sum().backward()

    assert peak_mb(rows, torch.device("cpu")) == pytest.approx(0.1, rel=0.02)  # freed before the gradient is made
    assert weight.grad is not None
    assert weight.grad.is_sparse


def test_class_sizes_follow_zipf() -> None:
    counts = zipf_counts(1000)
    assert counts[0] == round(1e6 / sum(1 / k for k in range(1, 1001)))
    assert counts[0] / counts[9] == pytest.approx(10, rel=1e-3)
    assert zipf_counts(200_000)[-1] == 1


def test_a_turn_has_more_steps_where_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    step = class_costs._Step(None, 10, 4, 8)
    monkeypatch.setattr(step, "_seconds", lambda steps: 0.003)
    step.prepare()
    assert step._steps == math.ceil(0.02 / 0.003)
    monkeypatch.setattr(step, "_seconds", lambda steps: 3.0)
    step.prepare()
    assert step._steps == 1


def test_a_step_is_one_of_adagrad_on_the_loss() -> None:
    step = class_costs._Step(None, 12, 4, 8)
    given: Any = step._head
    other = torch.nn.Linear(4, 12)
    other.load_state_dict(given.state_dict())
    optimizer = torch.optim.Adagrad(other.parameters(), lr=0.1)
    for nth in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(other(step._features.detach()), step._targets[nth]).backward()
        optimizer.step()
        step.step()
    torch.testing.assert_close(given.weight, other.weight)
    torch.testing.assert_close(given.bias, other.bias)
    assert step._features.grad is not None
    with_draws = class_costs._Step(SampledSoftmax(num_sampled=5), 12, 4, 8)
    before = with_draws._head.weight.clone()  # type: ignore[operator, union-attr]
    with_draws.step()
    changed = (with_draws._head.weight != before).any(dim=1)  # type: ignore[operator, union-attr]
    assert set(with_draws._targets[0].tolist()) <= set(changed.nonzero()[:, 0].tolist())
