"""The digits are those of scikit-learn, read from its file or by its function."""

from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from lossbench.config.run import Runtime
from lossbench.data import digits
from lossbench.data.digits import Digits


def test_the_digits_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    def other_place(name: str) -> ModuleSpec:
        found = ModuleSpec(name, None)
        found.submodule_search_locations = ["nowhere"]
        return found

    known = load_digits()
    for place in (digits.find_spec, other_place, lambda name: None):
        monkeypatch.setattr(digits, "find_spec", place)
        images, labels = digits._bundled()
        assert (images.dtype, images.shape, labels.dtype) == (np.float64, (1797, 8, 8), np.uint8)
        assert np.array_equal(images, known.images)
        assert np.array_equal(labels, known.target)


def test_its_function_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    labels = load_digits().target
    monkeypatch.setattr("sklearn.datasets.load_digits", None)
    arrays = Digits(image_shape=[1, 8, 8]).read(Runtime(output_dir=str(tmp_path)))
    read = np.concatenate([arrays["train_labels"], arrays["test_labels"]])
    assert np.bincount(read).tolist() == np.bincount(labels).tolist()
