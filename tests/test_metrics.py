"""Metrics against plain loops."""

import math
import sys

import pytest
import torch

from lossbench.training.metrics import (
    METRICS,
    class_accuracy,
    class_means,
    confusion_matrix,
    mean_probabilities,
    num_correct,
)

LOGITS = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(4, (40,), generator=torch.Generator().manual_seed(1))  # class 4 has no samples


def predictions() -> list[int]:
    return [max(range(5), key=row.__getitem__) for row in LOGITS.tolist()]


def test_num_correct() -> None:
    expected = sum(label == predicted for label, predicted in zip(TARGET.tolist(), predictions(), strict=True))
    assert 0 < expected < 40
    assert num_correct(LOGITS, TARGET).item() == expected


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    expected = [[0] * 5 for _ in range(5)]
    for label, predicted in zip(TARGET.tolist(), predictions(), strict=True):
        expected[label][predicted] += 1
    confusion = confusion_matrix(LOGITS, TARGET)
    assert confusion.dtype == torch.int64
    assert confusion.tolist() == expected
    assert confusion.diagonal().sum() == num_correct(LOGITS, TARGET)


def test_class_accuracy() -> None:
    pairs = list(zip(TARGET.tolist(), predictions(), strict=True))
    expected = []
    for label in range(5):
        own = [predicted == label for true, predicted in pairs if true == label]
        expected.append(sum(own) / len(own) if own else math.nan)
    accuracy = class_accuracy(confusion_matrix(LOGITS, TARGET).double())
    torch.testing.assert_close(accuracy, torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    assert accuracy.isnan().tolist() == [False] * 4 + [True], "a class without samples has no accuracy"


def test_class_means() -> None:
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for label in range(5):
        for column in range(5):
            own = [LOGITS[i, column].item() for i in range(40) if TARGET[i] == label]
            expected[label, column] = sum(own) / len(own) if own else math.nan
    means = class_means(LOGITS, TARGET)
    assert means.dtype == torch.float64
    torch.testing.assert_close(means, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_mean_probabilities() -> None:
    expected = {map_: torch.zeros(5, 5, dtype=torch.float64) for map_ in ("softmax", "sigmoid")}
    labels = TARGET.tolist()
    for row, label in zip(LOGITS.tolist(), labels, strict=True):
        total = sum(math.exp(score) for score in row)
        for k, score in enumerate(row):
            expected["softmax"][label, k] += math.exp(score) / total / labels.count(label)
            expected["sigmoid"][label, k] += 1 / (1 + math.exp(-score)) / labels.count(label)
    means = mean_probabilities(LOGITS, TARGET)
    assert means.keys() == expected.keys()
    for map_, mean in means.items():
        expected[map_][4] = math.nan  # no samples
        torch.testing.assert_close(mean, expected[map_], rtol=1e-12, atol=1e-12, equal_nan=True)


def test_a_perplexity_too_large_for_a_float_is_the_largest_one() -> None:
    perplexity = METRICS["perplexity"].from_mean
    assert perplexity(2.0) == pytest.approx(math.e**2)
    assert perplexity(800.0) == sys.float_info.max
