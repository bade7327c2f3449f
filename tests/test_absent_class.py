"""A class without test images has no accuracy and no mean: null, nan, no point, or "-"."""

import json
from pathlib import Path

import numpy as np
import pytest
from kinds_of_runs import Invoke
from test_npz import arrays, config_of, saved

from lossbench.runs.folder import open_run
from lossbench.training.fit import fit


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run on four classes, of which the test images lack the last."""
    made = arrays(num_train=40, num_test=12, classes=4)
    made["test_labels"] = np.minimum(made["test_labels"], 2)
    config = config_of(saved(tmp_path, **made), tmp_path / "out")
    fit(config, open_run(config))
    return open_run(config).folder


def test_records_say_null_and_arrays_nan(trained: Path) -> None:
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    accuracies = [json.loads(line, parse_constant=pytest.fail)["test/class_accuracy"] for line in lines]
    assert all(line[3] is None and None not in line[:3] for line in accuracies)
    found = np.load(trained / "arrays.npz")
    for name in ("test_mean_softmax", "test_mean_sigmoid"):
        assert np.isnan(found[name]).any(axis=1).tolist() == [False, False, False, True]
        assert np.isfinite(found[name.replace("test", "train")]).all()
    weights = found["class_weights"]
    assert np.isfinite(weights).all()
    assert (weights[:, 3] == 0).all(), "an absent class counts among nobody's negatives"
    assert weights.sum(axis=1) == pytest.approx(np.ones((len(weights), 4)))


def test_show_has_a_dash(trained: Path, invoke: Invoke) -> None:
    name, output = trained.name, str(trained.parents[1])
    shown = invoke("show", name, "--output-dir", output).output
    block = shown.partition("accuracy by class")[2].partition("last epoch")[0].split("\n")
    assert [line.split()[-1] for line in block if line.strip()][3] == "-"
    known = json.loads(invoke("show", name, "--output-dir", output, "--json").output)
    assert known["class_accuracy"][3] is None
