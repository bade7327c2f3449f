"""Deliberately wrong training labels: how many, which, where, and that nothing else changes."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.data.labels import train_counts
from lossbench.data.mnist_type import MnistType
from lossbench.data.prepared import prepared_arrays
from lossbench.data.subsets import select
from lossbench.data.wrong_labels import wrong_labels
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return prepared_arrays(Digits(), Runtime(output_dir=str(tmp_path_factory.mktemp("digits"))))


LABELS = np.arange(60_000) % 10


@pytest.mark.parametrize("noise", [0.2, 0.4])
def test_noise_is_symmetric_and_of_the_fraction_asked_for(noise: float) -> None:
    found = wrong_labels(LABELS, 10, Digits(label_noise=noise))
    wrong = found != LABELS
    assert wrong.sum() == round(noise * 60_000)
    by_shift = np.bincount((found - LABELS)[wrong] % 10, minlength=10)
    assert by_shift[0] == 0
    assert by_shift[1:].min() > 0.93 * wrong.sum() / 9
    assert np.bincount(LABELS[wrong]).min() > 0.93 * wrong.sum() / 10


def test_noise_is_fixed_and_nested() -> None:
    less, more = (wrong_labels(LABELS, 10, Digits(label_noise=noise)) for noise in (0.2, 0.4))
    np.testing.assert_array_equal(less, wrong_labels(LABELS, 10, Digits(label_noise=0.2)))
    changed = less != LABELS
    np.testing.assert_array_equal(more[changed], less[changed])


def test_a_shift_replaces_every_label_by_the_next_class(digits: dict[str, np.ndarray]) -> None:
    found = select(digits, Digits(label_shift=1))
    np.testing.assert_array_equal(found["train_labels"], (digits["train_labels"] + 1) % 10)
    np.testing.assert_array_equal(found["test_labels"], digits["test_labels"])
    assert found["train_labels"].dtype == digits["train_labels"].dtype
    two = select(digits, Digits(label_shift=1, classes=[4, 6]))
    plain = select(digits, Digits(classes=[4, 6]))
    np.testing.assert_array_equal(two["train_labels"], 1 - plain["train_labels"])


def test_held_out_images_are_noisy_and_test_images_are_not(digits: dict[str, np.ndarray]) -> None:
    held = select(digits, Digits(label_noise=0.4, num_validation=400))
    true = {image.tobytes(): label for image, label in zip(digits["train_images"], digits["train_labels"], strict=True)}
    wrong = [
        true[image.tobytes()] != label for image, label in zip(held["test_images"], held["test_labels"], strict=True)
    ]
    assert 0.3 < np.mean(wrong) < 0.5
    np.testing.assert_array_equal(
        select(digits, Digits(label_noise=0.4))["test_labels"], select(digits, Digits())["test_labels"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"label_noise": 0.0}, r"dataset.label_noise must be null or in \(0, 1\), got 0.0"),
        ({"label_noise": 1.0}, r"dataset.label_noise must be null or in \(0, 1\), got 1.0"),
        ({"label_shift": 0}, "dataset.label_shift must be null or >= 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Digits(**options)


def test_class_sizes_of_wrong_labels_are_not_taken_from_the_published_ones() -> None:
    assert train_counts(asdict(MnistType("mnist"))) is not None
    assert train_counts(asdict(MnistType("mnist", label_noise=0.2))) is None
    assert train_counts(asdict(MnistType("mnist", label_shift=1))) is None


def test_no_name_of_a_run_changes() -> None:
    one = Config(Digits(), Cnn2c(), Sml(), Schedule())
    assert run_id(one) == run_id(Config(Digits(label_noise=None, label_shift=None), Cnn2c(), Sml(), Schedule()))
    assert run_id(one) != run_id(Config(Digits(label_noise=0.2), Cnn2c(), Sml(), Schedule()))
