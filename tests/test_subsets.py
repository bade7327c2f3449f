"""Selected classes and imbalanced training sets: which images stay, and that sizes and labels agree everywhere."""

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossbench.config.options import Imbalance, Sizes
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data import labels
from lossbench.data.digits import Digits
from lossbench.data.imbalance import sizes_left
from lossbench.data.load import load_data
from lossbench.data.mnist_type import MnistType
from lossbench.data.sizes import sizes
from lossbench.data.subsets import select
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.training.fit import fit

CPU = torch.device("cpu")
STEP: dict[str, Any] = {"imbalance": Imbalance.step, "imbalance_ratio": 10.0}
TAIL: dict[str, Any] = {"imbalance": Imbalance.long_tail, "imbalance_ratio": 100.0}


def runtime(folder: Path) -> Runtime:
    return Runtime(device="cpu", output_dir=str(folder), num_threads=1, tensorboard=False)


def test_sizes_are_those_of_the_definitions() -> None:
    counts = np.full(10, 6000)
    assert sizes_left(counts, "step", 10).tolist() == [6000] * 5 + [600] * 5
    assert sizes_left(np.full(3, 50), "step", 10).tolist() == [50, 50, 5]
    assert sizes_left(counts, "long_tail", 100).tolist() == [round(6000 * 100 ** (-k / 9)) for k in range(10)]
    assert sizes_left(np.array([7, 7]), "long_tail", 1e6).tolist() == [7, 1]
    with pytest.raises(ValueError, match="must be step or long_tail, got 'none'"):
        sizes_left(counts, "none", 2)


def test_images_of_an_imbalanced_set_are_among_those_of_the_full_set(tmp_path: Path) -> None:
    whole = load_data(Digits(), runtime(tmp_path), CPU)
    for changes in (STEP, TAIL):
        data = load_data(Digits(**changes), runtime(tmp_path), CPU)
        expected = sizes_left(whole.class_counts.numpy(), changes["imbalance"].value, changes["imbalance_ratio"])
        assert data.class_counts.tolist() == expected.tolist()
        assert torch.equal(data.test.images, whole.test.images)
        kept = {image.tobytes() for image in data.train.images.numpy()}
        assert kept <= {image.tobytes() for image in whole.train.images.numpy()}
        again = load_data(Digits(**changes), runtime(tmp_path), CPU)
        assert torch.equal(data.train.images, again.train.images)
    milder = load_data(Digits(imbalance=Imbalance.step, imbalance_ratio=5.0), runtime(tmp_path), CPU)
    harder = load_data(Digits(**STEP), runtime(tmp_path), CPU)
    images = {image.tobytes() for image in milder.train.images.numpy()}
    assert {image.tobytes() for image in harder.train.images.numpy()} <= images  # nested


def test_classes_are_selected_and_renumbered(tmp_path: Path) -> None:
    whole = load_data(Digits(), runtime(tmp_path), CPU)
    config = Digits(classes=[6, 4])
    data = load_data(config, runtime(tmp_path), CPU)
    assert (data.num_classes, sizes(config).num_classes) == (2, 2)
    for split in ("train", "test"):
        of_whole, part = getattr(whole, split), getattr(data, split)
        for new, old in enumerate([6, 4]):
            assert torch.equal(part.images[part.labels == new], of_whole.images[of_whole.labels == old])
        assert set(part.labels.tolist()) == {0, 1}
    both = load_data(replace(config, **STEP), runtime(tmp_path), CPU)
    assert both.class_counts[0] == data.class_counts[0]
    assert both.class_counts[1] == round(int(data.class_counts[1]) / 10)
    held = load_data(replace(config, num_validation=40, **STEP), runtime(tmp_path), CPU)
    assert torch.bincount(held.test.labels).tolist() == [20, 20]  # validation stays as it was


def test_sizes_without_reading_are_near_and_refuse_what_is_not_there(tmp_path: Path) -> None:
    for config in (Digits(**STEP), Digits(classes=[6, 4]), Digits(classes=[1, 2, 3], **TAIL)):
        known = sizes(config)
        data = load_data(config, runtime(tmp_path), CPU)
        assert known.num_train == pytest.approx(len(data.train.labels), rel=0.1)
        assert known.num_test == pytest.approx(len(data.test.labels), rel=0.2)
        assert known.shape == data.shape
    assert sizes(MnistType("fmnist", classes=[6, 4], **STEP)) == Sizes(6600, 2000, (1, 28, 28), 2)
    with pytest.raises(ValueError, match=r"dataset.classes must be in 0..9 for mnist, got \[3, 10\]"):
        sizes(MnistType("mnist", classes=[3, 10]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": [3]}, "dataset.classes must be null or two classes or more, each once"),
        ({"classes": [3, 3]}, "each once, got"),
        ({"classes": [-1, 3]}, "dataset.classes must be"),
        ({"imbalance_ratio": 10.0}, "dataset.imbalance_ratio must be null without dataset.imbalance, got 10"),
        ({"imbalance": Imbalance.step}, "must be > 1 and finite with dataset.imbalance, got None"),
        ({"imbalance": Imbalance.step, "imbalance_ratio": 1.0}, "> 1 and finite"),
    ],
)
def test_contradictions_are_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Digits(**changes)


def test_labels_without_the_files_know_subsets() -> None:
    config = asdict(MnistType("fmnist", classes=[6, 4], **STEP))
    counts, true = labels.train_counts(config), labels.test_labels(config)
    assert counts is not None
    assert true is not None
    assert counts.tolist() == [6000, 600]
    whole = labels.test_labels({"name": "fmnist"})
    assert whole is not None
    assert true.tolist() == [[6, 4].index(label) for label in whole.tolist() if label in (6, 4)]


def test_a_binary_imbalanced_run_goes_through(tmp_path: Path) -> None:
    dataset = Digits(classes=[3, 8], **STEP)
    config = Config(dataset, Cnn2c(), Sml(), Schedule(epochs=1), runtime=runtime(tmp_path))
    record = fit(config, open_run(config))
    assert record["num_train"] == load_data(dataset, config.runtime, CPU).class_counts.sum()
    with np.load(tmp_path / "runs" / run_id(config) / "arrays.npz") as arrays:
        assert arrays["confusion_matrix"].shape == (2, 2)


@pytest.mark.parametrize("part", ["train", "test"])
def test_classes_without_an_image_are_named_and_that_n_is_0(part: str) -> None:
    arrays = {
        "train_images": np.zeros((4, 1, 8, 8), np.uint8),
        "train_labels": np.array([0, 1, 2, 3]),
        "test_images": np.zeros((4, 1, 8, 8), np.uint8),
        "test_labels": np.array([0, 1, 2, 3]),
    }
    arrays[f"{part}_labels"] = np.array([0, 0, 1, 1])
    said = f"that digits has {'training' if part == 'train' else part} images of, got [2, 3], which have none"
    with pytest.raises(ValueError, match=rf"^dataset\.classes must be classes {re.escape(said)}$"):
        select(arrays, Digits(classes=[2, 3]))
