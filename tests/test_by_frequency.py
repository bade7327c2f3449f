"""Macro recall and numbers by the frequency of classes: by hand, in a run's record, and what is refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.words import Words
from lossbench.losses.nce import Nce
from lossbench.losses.sml import Sml
from lossbench.models.word2next import Word2Next
from lossbench.runs.checks import check_fields
from lossbench.runs.folder import open_run
from lossbench.runs.records import own_records, verify
from lossbench.statistics.by_frequency import bands, by_frequency, macro_recall
from lossbench.training.fit import fit

HEAD, MIDDLE, TAIL = 0, 1, 2


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([30, 20, 20, 10, 10, 10], [HEAD, HEAD, MIDDLE, MIDDLE, TAIL, TAIL]),  # exactly 50 and 80 %
        ([10, 10, 30, 10, 20, 20], [MIDDLE, TAIL, HEAD, TAIL, HEAD, MIDDLE]),  # the same in another order
        ([49, 31, 20], [HEAD, HEAD, TAIL]),  # the second class passes both
        ([90, 5, 5, 0], [HEAD, TAIL, TAIL, TAIL]),
        ([28, 7], [HEAD, TAIL]),  # 80 % of 35 as a product of floats is above 28
        ([5, 5], [HEAD, MIDDLE]),
        ([7], [HEAD]),
    ],
)
def test_classes_are_cut_at_50_and_80_percent_of_the_training_samples(counts: list[int], expected: list[int]) -> None:
    assert bands(np.array(counts)).tolist() == expected


def test_macro_recall_is_the_mean_over_the_classes_that_have_samples() -> None:
    labels = np.array([0, 0, 0, 0, 2, 2, 5])
    predictions = np.array([0, 0, 0, 9, 2, 1, 4])
    assert macro_recall(predictions, labels) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert math.isnan(macro_recall(predictions[:0], labels[:0]))


def test_numbers_of_each_band_by_hand() -> None:
    counts = np.array([10, 60, 10, 20, 0])  # class 1 is the head, 3 the middle, the others the tail
    labels, predictions = np.array([1, 1, 0, 1, 4], np.uint8), np.array([1, 0, 0, 1, 1], np.uint8)
    nll = np.array([0.1, 2.0, 0.5, 0.3, 7.5], np.float32)
    found = by_frequency(predictions, labels, nll, counts)
    assert found["macro_recall"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert list(found["by_frequency"]) == ["head", "middle", "tail"]
    assert found["by_frequency"]["head"] == pytest.approx(
        {"classes": 1, "test_samples": 3, "accuracy": 2 / 3, "nll": 0.8}
    )
    assert found["by_frequency"]["middle"] == {"classes": 1, "test_samples": 0, "accuracy": None, "nll": None}
    assert found["by_frequency"]["tail"] == {"classes": 3, "test_samples": 2, "accuracy": 0.5, "nll": 4.0}
    nll[2] = np.inf
    assert by_frequency(predictions, labels, nll, counts)["by_frequency"]["tail"]["nll"] is None


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 150 words with Zipf's frequencies, each after a word that often announces it."""
    path = tmp_path_factory.mktemp("text") / "own.txt"
    draw = np.random.default_rng(0)
    names = [f"w{'abcdefghijklmno'[k // 15]}{'abcdefghijklmno'[k % 15]}" for k in range(150)]
    chosen = draw.choice(150, size=6000, p=(1 / np.arange(1, 151)) / (1 / np.arange(1, 151)).sum())
    path.write_text(" ".join(f"{names[k]} {names[(k * 7) % 150]}" for k in chosen))
    return path


def config(text: Path, folder: Path, vocabulary: int, loss: Any) -> Config:
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, parallel=1, tensorboard=False)
    schedule = Schedule(epochs=2, batch_size=64, lr=0.5, momentum=0.0)
    words = Words(path=str(text), vocabulary=vocabulary, context=1)
    return Config(words, Word2Next(embedding=8, hidden=16), loss, schedule, 0, runtime)


@pytest.mark.parametrize("loss", [Sml(), Nce(num_sampled=20)], ids=["sml", "nce"])
def test_a_record_of_many_classes_has_them(loss: Any, text: Path, tmp_path: Path) -> None:
    made = config(text, tmp_path, 120, loss)
    run = open_run(made)
    record = fit(made, run)
    counts = np.bincount(made.dataset.read(None)["train_labels"], minlength=120)
    with np.load(run.folder / "arrays.npz") as arrays:
        labels, predictions = arrays["test_labels"], arrays["test_predictions"]
    recalls = [(predictions[labels == k] == k).mean() for k in range(120) if (labels == k).any()]
    assert record["macro_recall"] == pytest.approx(np.mean(recalls))
    found = record["by_frequency"]
    order = sorted(range(120), key=lambda k: -counts[k])
    share = np.cumsum(counts[order]) / counts.sum()
    first, second = (next(k + 1 for k in range(120) if share[k] >= end) for end in (0.5, 0.8))
    assert [band["classes"] for band in found.values()] == [first, second - first, 120 - second]
    for name, classes in zip(found, (order[:first], order[first:second], order[second:]), strict=True):
        chosen = np.isin(labels, classes)
        assert found[name]["test_samples"] == chosen.sum() > 0
        assert found[name]["accuracy"] == pytest.approx((predictions == labels)[chosen].mean())
    total = sum(band["nll"] * band["test_samples"] for band in found.values()) / len(labels)
    assert total == pytest.approx(math.log(record["metrics"]["test/perplexity"]), rel=1e-5)
    assert found["head"]["nll"] < found["tail"]["nll"]
    assert verify(own_records(tmp_path)) == []
    assert own_records(tmp_path).records[run_id(made)].fields["by_frequency"] == found


def test_a_run_continued_after_its_last_epoch_has_them_too(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = config(text, tmp_path / "whole", 120, Nce(num_sampled=20))
    expected = fit(whole, open_run(whole))
    made = config(text, tmp_path / "stopped", 120, Nce(num_sampled=20))

    def stop(epoch: int, fraction: float, line: str) -> None:
        if (epoch, fraction) == (2, 1.0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(made, open_run(made), stop)
    record = fit(made, open_run(made))
    assert {key: record[key] for key in ("macro_recall", "by_frequency")} == {
        key: expected[key] for key in ("macro_recall", "by_frequency")
    }


def test_a_record_of_few_classes_has_none_and_is_valid(text: Path, tmp_path: Path) -> None:
    made = config(text, tmp_path, 90, Sml())
    record = fit(made, open_run(made))
    assert not {"macro_recall", "by_frequency"} & record.keys()
    assert verify(own_records(tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"macro_recall": "much"}, "macro_recall is str, not a number"),
        ({"by_frequency": [1, 2]}, "by_frequency is list, not a mapping"),
        ({"by_frequency": {"head": 3}}, "by_frequency.head is int, not a mapping"),
        (
            {"by_frequency": {"head": {"classes": 1, "test_samples": 2, "accuracy": "x", "nll": None}}},
            "accuracy is str",
        ),
        ({"by_frequency": {"head": {"classes": None, "test_samples": 2, "accuracy": 1, "nll": 1}}}, "classes is None"),
    ],
)
def test_a_record_with_other_types_is_refused(change: dict[str, Any], said: str) -> None:
    groups: dict[str, Any] = {group: {} for group in ("dataset", "model", "loss", "runtime")}
    fields = {"numerics": 2, "config": {**groups, "loss": {"name": "sml"}, "schedule": {"epochs": 1}}}
    check_fields(fields)
    right = {"head": {"classes": 1, "test_samples": 0, "accuracy": None, "nll": None}}
    check_fields(json.loads(json.dumps(fields | {"macro_recall": 0.5, "by_frequency": right})))
    with pytest.raises(TypeError, match=said):
        check_fields(fields | change)
