"""The labels in the package: those of the published files, and of every committed record."""

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lossbench.config.options import DatasetConfig
from lossbench.config.run import Runtime
from lossbench.data import labels
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.data.prepared import prepare
from lossbench.data.published import SOURCES
from lossbench.runs.records import committed_records

RECORDS = committed_records(Path(__file__).parents[1] / "results").records
PUBLISHED = [MnistType("mnist"), MnistType("fmnist"), MnistType("kmnist"), Cifar10()]


def test_labels_and_predictions_give_every_committed_confusion_matrix() -> None:
    assert len(RECORDS) >= 9
    for record in RECORDS.values():
        dataset, arrays = record.fields["config"]["dataset"], record.arrays()
        assert arrays is not None
        true = labels.test_labels(dataset)
        if true is None:
            assert dataset["num_validation"] or dataset["name"] in ("words", "gaussian_classes")
            continue
        confusion = np.zeros_like(arrays["confusion_matrix"], np.int64)  # of two classes in some
        np.add.at(confusion, (true, arrays["test_predictions"]), 1)
        assert np.array_equal(confusion, arrays["confusion_matrix"])
        counts = labels.train_counts(dataset)
        if dataset.get("num_train"):  # the large networks' beginnings: a part of the images
            assert counts is None
        else:
            assert known(counts).sum() == record.fields["num_train"]


@pytest.mark.parametrize("config", PUBLISHED, ids=lambda config: config.name)
def test_labels_are_those_of_the_published_files(config: DatasetConfig, tmp_path: Path) -> None:
    if not (Path(os.environ.get("LOSSBENCH_DATA", "data")) / SOURCES[config.name].folder).exists():
        pytest.skip(f"LOSSBENCH_DATA has no {SOURCES[config.name].folder}")
    path = prepare(config, Runtime(output_dir=str(tmp_path)))
    with np.load(path) as arrays:
        assert np.array_equal(arrays["test_labels"], known(labels.test_labels(asdict(config))))
        assert np.array_equal(np.bincount(arrays["train_labels"]), known(labels.train_counts(asdict(config))))
    path.unlink()  # it is large


@pytest.mark.parametrize("config", PUBLISHED, ids=lambda config: config.name)
def test_types_and_sizes(config: DatasetConfig) -> None:
    true, counts = known(labels.test_labels(asdict(config))), known(labels.train_counts(asdict(config)))
    assert [str(array.dtype) for array in (true, counts)] == ["uint8", "int64"]
    assert (true.shape, counts.shape) == ((10_000,), (10,))
    assert counts.sum() == (50_000 if isinstance(config, Cifar10) else 60_000)
    assert set(true) == set(range(10))
    with pytest.raises(ValueError, match="read-only"):
        true[0] = 1


def test_other_images_than_the_published_have_none() -> None:
    assert labels.test_labels(asdict(Digits())) is None
    assert labels.train_counts(asdict(Digits())) is None
    held_out = asdict(MnistType("kmnist", num_validation=6000))
    assert labels.test_labels(held_out) is None
    assert labels.train_counts(held_out) is None
    part = asdict(MnistType("kmnist", num_train=500))
    assert labels.test_labels(part) is not None
    assert labels.train_counts(part) is None


def known(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array
