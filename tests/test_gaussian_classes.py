"""Gaussian classes, whose posterior is known, the linear network, and runs on them from config to record."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lossbench.cli.train import _train_all
from lossbench.config.options import DatasetConfig, Imbalance
from lossbench.config.run import Config, Optimizer, Runtime, Schedule, run_id
from lossbench.data.bayes import bayes
from lossbench.data.digits import Digits
from lossbench.data.gaussian_classes import Frequencies, GaussianClasses
from lossbench.data.load import load_data
from lossbench.data.prepared import _check, prepare, prepared_arrays
from lossbench.data.sizes import sizes
from lossbench.data.subsets import select, stratified_permutation
from lossbench.data.words import Words
from lossbench.engines.options import Local
from lossbench.losses.full_softmax import FullSoftmax
from lossbench.losses.sampled_softmax import SampledSoftmax
from lossbench.losses.sml import Sml
from lossbench.models.build import build_model, check_shape, flops_per_image
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.features import split
from lossbench.models.linear import Linear
from lossbench.models.word2next import Word2Next
from lossbench.runs.folder import open_run
from lossbench.runs.measures import measure
from lossbench.runs.records import own_records, verify
from lossbench.statistics.calibration import labels_sha256
from lossbench.sweep.run_all import run_all
from lossbench.training.evaluate_run import evaluate_run
from lossbench.training.fit import fit, start_state
from lossbench.training.weights import load_network

CPU = torch.device("cpu")


def made(**options: Any) -> GaussianClasses:
    """A small set."""
    return GaussianClasses(**{"num_classes": 5, "dims": 3, "num_samples": 400, "num_test": 100} | options)


def config(folder: Path, dataset: DatasetConfig, **changes: Any) -> Config:
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, parallel=1, tensorboard=False)
    schedule = Schedule(epochs=2, batch_size=100, lr=0.1, momentum=0.0, optimizer=Optimizer.adagrad)
    return replace(Config(dataset, Linear(), Sml(), schedule, 0, runtime), **changes)


def test_the_inputs_are_always_these() -> None:
    """Pinned: NumPy may change its generators' numbers, and then runs of the same name would have other data."""
    arrays = made().read(None)
    assert arrays["train_images"].dtype == np.float32
    assert arrays["train_images"][0].tolist() == pytest.approx(FIRST_INPUT, rel=1e-6)
    assert arrays["test_images"].sum(dtype=np.float64) == pytest.approx(SUM_OF_TEST, rel=1e-6)
    assert arrays["train_labels"][:12].tolist() == FIRST_LABELS


FIRST_INPUT = [-1.7944535, -0.33173925, -0.4292277]
SUM_OF_TEST = -21.643446
FIRST_LABELS = [3, 1, 2, 4, 0, 0, 2, 0, 2, 1, 0, 0]


def test_more_classes_and_samples_keep_those_of_fewer() -> None:
    few, more = made(), made(num_samples=500, num_test=150)
    arrays, longer = few.read(None), more.read(None)
    for name, array in arrays.items():
        assert np.array_equal(array, longer[name][: len(array)]), name
    assert np.array_equal(made(num_classes=9).means()[:5], few.means())
    assert np.array_equal(few.means(), few.means().astype(np.float32))
    other = made(data_seed=1).read(None)
    assert not np.isin(other["train_images"], arrays["train_images"]).any()
    assert not np.isin(arrays["test_images"], arrays["train_images"]).any()


@pytest.mark.parametrize("frequencies", Frequencies)
def test_samples_are_normal_around_the_mean_of_their_class(frequencies: Frequencies) -> None:
    dataset = made(frequencies=frequencies, num_samples=40_000, separation=2.0)
    arrays = dataset.read(None)
    inputs, labels = arrays["train_images"].astype(np.float64), arrays["train_labels"]
    shares = dataset.shares()
    zipf = np.array([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]) / (137 / 60)
    np.testing.assert_allclose(shares, zipf if frequencies is Frequencies.zipf else np.full(5, 0.2))
    found = np.bincount(labels, minlength=5) / 40_000
    assert (np.abs(found - shares) < 4 * np.sqrt(shares * (1 - shares) / 40_000)).all()
    rest = inputs - dataset.means()[labels]
    for label in range(5):
        own = rest[labels == label]
        assert np.abs(own.mean(axis=0)).max() < 4.5 / math.sqrt(len(own))
        np.testing.assert_allclose(np.cov(own.T), np.eye(3), atol=6 / math.sqrt(len(own)))
    means = made(num_classes=5000, separation=2.0).means()
    assert abs(means.mean()) < 4 * 2 / math.sqrt(15_000)
    assert means.std() == pytest.approx(2.0, rel=0.03)


def test_the_posterior_is_that_of_the_densities() -> None:
    dataset = made()
    inputs = dataset.read(None)["test_images"]
    log_p = dataset.log_posterior()(inputs)
    for x, found in zip(inputs[:20].astype(np.float64), log_p, strict=False):
        densities = [
            share * math.exp(-sum((a - b) ** 2 for a, b in zip(x, mean, strict=True)) / 2)
            for share, mean in zip(dataset.shares(), dataset.means(), strict=True)
        ]
        np.testing.assert_allclose(np.exp(found), np.array(densities) / sum(densities), rtol=1e-9)


def test_bayes_agrees_with_numerical_integration() -> None:
    from scipy.stats import norm

    dataset = made(num_classes=2, dims=1, separation=1.0, num_test=200_000)
    (first,), (second,) = dataset.means()
    x = np.linspace(-12, 12, 400_001)
    joint = np.stack([2 / 3 * norm.pdf(x, first), 1 / 3 * norm.pdf(x, second)])
    posterior = joint / joint.sum(axis=0)
    nll = -np.trapezoid((joint * np.log(posterior)).sum(axis=0), x)
    accuracy = np.trapezoid(joint.max(axis=0), x)
    arrays = dataset.read(None)
    found = bayes(dataset, arrays["test_images"], arrays["test_labels"])
    assert found is not None
    each = -np.log(posterior)
    spread = math.sqrt(np.trapezoid((joint * each**2).sum(axis=0), x) - nll**2) / math.sqrt(200_000)
    assert found["nll"] == pytest.approx(nll, abs=4 * spread)
    assert found["accuracy"] == pytest.approx(accuracy, abs=4 * math.sqrt(accuracy * (1 - accuracy) / 200_000))
    assert found["top5_accuracy"] == 1
    border = math.log(2) / (second - first) + (first + second) / 2  # where both are as likely
    sign = math.copysign(1, second - first)
    right = 2 / 3 * norm.cdf(sign * (border - first)) + 1 / 3 * norm.cdf(sign * (second - border))
    assert accuracy == pytest.approx(right, abs=1e-6)


def test_bayes_in_parts_is_bayes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = made(num_classes=20)
    arrays = dataset.read(None)
    given = dataset, arrays["test_images"], arrays["test_labels"]
    log_p = dataset.log_posterior()(arrays["test_images"])
    ranks = (log_p > log_p[np.arange(100), arrays["test_labels"]][:, None]).sum(axis=1)
    expected = {
        "accuracy": (log_p.argmax(axis=1) == arrays["test_labels"]).mean(),
        "top5_accuracy": (ranks < 5).mean(),
        "nll": -log_p[np.arange(100), arrays["test_labels"]].mean(),
    }
    assert bayes(*given) == pytest.approx(expected)
    monkeypatch.setattr("lossbench.data.bayes.CHUNK", 7 * 20)
    assert bayes(*given) == pytest.approx(expected)


def test_the_posterior_given_some_classes_alone_and_where_it_is_not_known(tmp_path: Path) -> None:
    dataset = made(classes=[3, 0])
    arrays = select(dict(dataset.read(None)), dataset)
    found = bayes(dataset, arrays["test_images"], arrays["test_labels"])
    p = np.exp(made().log_posterior()(arrays["test_images"]))[:, [3, 0]]
    own = p[np.arange(len(p)), arrays["test_labels"]] / p.sum(axis=1)
    assert found is not None
    assert found["nll"] == pytest.approx(-np.log(own).mean())
    assert found["accuracy"] == pytest.approx((own > 0.5).mean())
    given = arrays["test_images"], arrays["test_labels"]
    assert bayes(made(label_noise=0.1), *given) is not None  # test samples keep their classes
    assert bayes(made(label_noise=0.1, num_validation=50), *given) is None
    assert bayes(made(label_shift=1, num_validation=50), *given) is None
    assert bayes(Digits(), *given) is None


def test_nothing_is_kept_on_disk(tmp_path: Path) -> None:
    dataset = made()
    runtime = Runtime(device="cpu", output_dir=str(tmp_path))
    prepare(dataset, runtime)
    assert prepared_arrays(dataset, runtime)["train_images"].shape == (400, 3)
    data = load_data(dataset, runtime, CPU)
    assert data.train.images.dtype == torch.float32
    assert torch.equal(data.inputs(data.train.images), data.train.images)
    assert data.class_counts.sum() == 400
    assert list(tmp_path.iterdir()) == []


def test_options_of_parts_of_a_set_work_on_it(tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", output_dir=str(tmp_path))
    held = load_data(made(num_validation=100, num_train=200), runtime, CPU)
    assert (len(held.train.labels), len(held.test.labels)) == (200, 100)
    some = load_data(made(classes=[4, 1]), runtime, CPU)
    assert (some.num_classes, len(some.class_counts)) == (2, 2)
    rare = load_data(
        made(imbalance=Imbalance.step, imbalance_ratio=10.0, frequencies=Frequencies.uniform), runtime, CPU
    )
    full = load_data(made(frequencies=Frequencies.uniform), runtime, CPU).class_counts
    assert rare.class_counts.tolist() == [*full[:3].tolist(), *(round(n / 10) for n in full[3:].tolist())]
    noisy = load_data(made(label_noise=0.25), runtime, CPU)
    clean = load_data(made(), runtime, CPU)
    assert (noisy.train.labels != clean.train.labels).sum() == 100
    assert torch.equal(noisy.test.labels, clean.test.labels)


def test_imbalance_keeps_the_first_of_each_class_in_the_stratified_order() -> None:
    dataset = made(imbalance=Imbalance.long_tail, imbalance_ratio=8.0)
    arrays = dict(made().read(None))
    order, labels = stratified_permutation(arrays["train_labels"]), arrays["train_labels"]
    counts = np.bincount(labels)
    left = [max(1, round(n * 8 ** (-k / 4))) for k, n in enumerate(counts)]
    chosen = np.sort(np.concatenate([order[labels[order] == label][:n] for label, n in enumerate(left)]))
    assert np.array_equal(select(arrays, dataset)["train_images"], arrays["train_images"][chosen])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_classes": 1}, "dataset.num_classes must be in 2..100000, got 1"),
        ({"num_classes": 100_001}, "dataset.num_classes must be in 2..100000, got 100001"),
        ({"dims": 0}, "dataset.dims must be in 1..1024, got 0"),
        ({"separation": 0.0}, "dataset.separation must be in (0, 100], got 0.0"),
        ({"separation": math.nan}, "dataset.separation must be in (0, 100], got nan"),
        ({"num_samples": 0}, "dataset.num_samples must be in 1..715827882 with dataset.dims=3, got 0"),
        ({"num_test": 0}, "dataset.num_test must be in 1..715827882 with dataset.dims=3, got 0"),
        ({"data_seed": -1}, "dataset.data_seed must be in 0..2147483647, got -1"),
    ],
)
def test_a_set_that_cannot_be_is_refused_in_a_sentence(options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        made(**options)


def test_the_linear_network_is_an_output_layer() -> None:
    network = build_model(Linear(), (3,), 5, seed=0)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    layer: Any = network[1]  # type: ignore[index]
    assert torch.equal(network(x), x @ layer.weight.T + layer.bias)
    assert layer.weight.shape == (5, 3)
    parts: Any = split(network)
    assert torch.equal(parts.features(x), x)
    assert parts.head is layer
    assert flops_per_image(Linear(), (3,), 5, "vectors") == (30, 60)
    assert build_model(Linear(), (1, 28, 28), 10, seed=0)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("model", "shape", "gives", "said"),
    [
        (Linear(), (4,), "words", "model=linear reads vectors and images, but the data set is of words; "),
        (Cnn2c(), (4,), "vectors", "model=cnn2c reads images, but the data set is of vectors; model=linear goes with"),
        (Word2Next(), (4,), "vectors", "model=word2next reads words, but the data set is of vectors; dataset=words"),
        (Word2Next(), (1, 28, 28), None, "model=word2next reads words, but the data set is of images; dataset=words"),
        (Cnn2c(), (4,), None, "model=cnn2c reads images, but the data set is of words; model=word2next goes with it"),
    ],
)
def test_a_network_for_other_inputs_is_refused(model: Any, shape: Any, gives: str | None, said: str) -> None:
    check_shape(Linear(), (4,), "vectors")
    check_shape(Linear(), (1, 28, 28), "images")
    with pytest.raises(ValueError, match=re.escape(said)):
        check_shape(model, shape, gives)


def test_each_kind_of_data_set_says_what_it_gives() -> None:
    assert [one.gives for one in (Digits(), Words(), made())] == ["images", "words", "vectors"]


def test_a_linear_network_approaches_the_posterior(tmp_path: Path) -> None:
    """Full softmax on many samples: the NLL above the posterior's is near p / (2 N), and never far below it."""
    dataset = made(num_classes=12, separation=1.0, num_samples=60_000, num_test=20_000)
    schedule = Schedule(epochs=6, batch_size=500, lr=0.3, momentum=0.0, optimizer=Optimizer.adagrad)
    for loss in (Sml(), FullSoftmax()):
        run = config(tmp_path, dataset, loss=loss, schedule=schedule)
        record = fit(run, open_run(run))
        assert record["bayes"] == bayes(dataset, *(dataset.read(None)[f"test_{part}"] for part in ("images", "labels")))
        above = measure("nll_above_bayes", [record]).of(record)
        assert above == pytest.approx(math.log(record["metrics"]["test/perplexity"]) - record["bayes"]["nll"], abs=2e-3)
        assert -0.002 < above < 0.005, loss.name
        assert abs(record["test_accuracy"] - record["bayes"]["accuracy"]) < 0.01


def test_a_sampled_loss_goes_from_config_to_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = made(num_classes=300, num_samples=3000, num_test=500)
    run = config(tmp_path, dataset, loss=SampledSoftmax(num_sampled=20))
    assert run_all([run]).failed == {}
    found = own_records(tmp_path)
    assert verify(found) == []
    record = found.records[run_id(run)].fields
    assert record["test_labels_sha256"] == labels_sha256(dataset.read(None)["test_labels"])
    assert "scores" not in record
    above = math.log(record["metrics"]["test/perplexity"]) - record["bayes"]["nll"]
    assert measure("nll_above_bayes", [record]).of(record) == pytest.approx(above)
    capsys.readouterr()
    _train_all([run], Local())
    said = capsys.readouterr().out
    assert f"true posterior on the same 500 test samples: accuracy {record['bayes']['accuracy']:.4f}, NLL " in said
    assert f"the run's NLL is {above:.4f} above it" in said
    assert run_id(run).startswith("gaussian_classes-linear-sampled_softmax-s0-")
    assert run_id(replace(run, dataset=replace(dataset, data_seed=1))) != run_id(run)


def test_saved_weights_give_the_record_again(tmp_path: Path) -> None:
    run = config(tmp_path, made(), loss=FullSoftmax())
    run = replace(run, runtime=replace(run.runtime, save_weights=True))
    record = fit(run, open_run(run))
    (found,) = own_records(tmp_path).records.values()
    again = evaluate_run(found, open_run(run).folder, None, run.runtime)
    assert (again.as_recorded, again.accuracy) == (True, record["test_accuracy"])
    inputs = made().read(None)["test_images"]
    logits = load_network(open_run(run).folder)(torch.from_numpy(inputs))
    right = (logits.argmax(dim=1).numpy() == made().read(None)["test_labels"]).mean()
    assert right == pytest.approx(record["test_accuracy"])


def test_vectors_of_a_plugin_must_be_floats() -> None:
    dataset = made()
    arrays = dict(dataset.read(None))
    _check(arrays, dataset)
    with pytest.raises(ValueError, match=r"train_images must be floats \[N, F\], got int64"):
        _check(arrays | {"train_images": arrays["train_images"].astype(np.int64)}, dataset)


def test_other_runs_have_no_such_field(tmp_path: Path) -> None:
    record = fit(run := config(tmp_path, Digits(num_train=100, image_shape=[1, 8, 8])), open_run(run))
    assert "bayes" not in record
    assert measure("nll_above_bayes", [record]).of(record) is None


def test_the_biases_begin_at_the_class_shares(tmp_path: Path) -> None:
    state = start_state(config(tmp_path, made()), CPU)
    shares = np.bincount(made().read(None)["train_labels"]) / 400
    assert state.model[1].bias.tolist() == pytest.approx(np.log(shares), abs=1e-6)  # type: ignore[index]


@pytest.mark.parametrize("frequencies", list(Frequencies))
def test_sizes_of_some_classes_are_counted(frequencies: Frequencies) -> None:
    some = GaussianClasses(
        num_classes=50, dims=2, num_samples=3000, num_test=400, frequencies=frequencies, classes=[7, 0, 2]
    )
    arrays = some.read(None)
    expected = [int(np.isin(arrays[f"{split}_labels"], [7, 0, 2]).sum()) for split in ("train", "test")]
    known = sizes(some)
    assert [known.num_train, known.num_test, known.num_classes] == [*expected, 3]
    assert expected[0] > 3 * 3000 / 50 or frequencies is Frequencies.uniform


def test_measures_of_many_classes_are_those_of_the_record() -> None:
    bands = {"head": {"accuracy": 0.5}, "middle": {"accuracy": 0.25}, "tail": {"accuracy": None}}
    record = {"metrics": {"test/perplexity": math.exp(2.5)}, "macro_recall": 0.125, "by_frequency": bands}
    names = ("nll", "macro_recall", "head_accuracy", "middle_accuracy", "tail_accuracy")
    found = [measure(name, [record]).of(record) for name in names]
    assert found == [pytest.approx(2.5), 0.125, 0.5, 0.25, None]
    assert measure("nll", [record]).of({"config": {"loss": {"name": "sml"}}}) is None
    assert measure("perplexity", [record]).text(1.8e15) == "1.800e+15"
    assert measure("perplexity", [record]).text(140.5) == "140.5000"
