"""A loss whose logits are read otherwise than by their size: Taylor softmax."""

from pathlib import Path

import numpy as np
import torch

from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.load import plan_epoch
from lossbench.losses.sml import Sml
from lossbench.losses.taylor_softmax import TaylorSoftmax
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.features import output_layer
from lossbench.training.evaluate import evaluate
from lossbench.training.fit import start_state
from lossbench.training.steps import train_step


def test_logits_are_read_as_they_are_unless_the_loss_says_otherwise() -> None:
    logits = torch.tensor([[0.5, -4.0, 1.0]])
    assert Sml().as_read(logits) is logits
    assert TaylorSoftmax().as_read(logits).tolist() == [[0.5, 2.0, 1.0]]


def test_a_loss_may_read_its_logits_otherwise(tmp_path: Path) -> None:
    runtime = Runtime("cpu", str(tmp_path), num_threads=1)
    config = Config(Digits(num_train=64), Cnn2c(), TaylorSoftmax(), Schedule(batch_size=32), 0, runtime)
    state = start_state(config, torch.device("cpu"))
    with torch.no_grad():
        output_layer(state.model).bias.copy_(-20 * torch.eye(10)[3])  # class 3 is far below -1
        logits = state.model.eval()(state.data.inputs(state.data.test.images))
    found = evaluate(state, state.data.test)
    assert set(found.predictions.tolist()) == {3}
    assert found.logits is not None
    torch.testing.assert_close(found.logits, (logits + 1).abs() - 1)
    by_map = TaylorSoftmax().probabilities(logits.double().numpy(), None).argmax(axis=1)
    np.testing.assert_array_equal(found.predictions.numpy(), by_map)
    assert found.metrics["accuracy"] == (state.data.test.labels == 3).double().mean()
    state.loss_sum.zero_()
    train_step(state, plan_epoch(state.data, 0, 1)[:, :32])
    assert int(state.correct_sum) == (state.data.train.labels[plan_epoch(state.data, 0, 1)[0, :32]] == 3).sum()
