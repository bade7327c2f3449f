"""Kinds of parts that the suite itself lacks: losses of features, tokens, many classes, runs in two phases."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossbench.config.options import DatasetConfig, Imbalance, LossConfig, ModelConfig, Shape, Sizes, TrainingClasses
from lossbench.config.registry import DATASETS, LOSSES, MODELS, register_dataset, register_loss, register_model
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.data.sizes import sizes
from lossbench.losses.sml import Sml, sml
from lossbench.models.build import build_model
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.features import split
from lossbench.models.resnet18 import ResNet18
from lossbench.runs.folder import open_run
from lossbench.runs.records import own_records, verify
from lossbench.sweep.run_all import run_all
from lossbench.training import evaluate
from lossbench.training.evaluate import evaluate as evaluated
from lossbench.training.fit import fit, start_state
from lossbench.training.steps import train_step

CPU = torch.device("cpu")
NUM_WORDS, LENGTH = 50, 6


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """What a test registers is gone after it."""
    registries: list[Any] = [LOSSES, MODELS, DATASETS]
    before = [dict(registry.items()) for registry in registries]
    yield
    for registry, known in zip(registries, before, strict=True):
        registry._known = known


def config(folder: Path, **changes: Any) -> Config:
    runtime = Runtime(device="cpu", output_dir=str(folder), num_threads=1, parallel=1, tensorboard=False)
    one = Config(Digits(num_train=96), Cnn2c(), Sml(), Schedule(epochs=2, batch_size=32), 0, runtime)
    return replace(one, **changes)


def by_features() -> LossConfig:
    """Cross-entropy of the target's and a few other classes' logits, as sampled softmax computes them."""

    @register_loss(label="few logits")
    @dataclass
    class FewLogits(LossConfig):
        name: str = "few_logits"
        num_others: int = 9

        needs = "features"

        def build(self, classes: TrainingClasses) -> Any:
            def loss(features: Tensor, head: nn.Linear, target: Tensor) -> Tensor:
                others = (target[:, None] + torch.arange(1, self.num_others + 1)) % classes.num_classes
                chosen = torch.cat([target[:, None], others], dim=1)  # [B, 1 + n]
                logits = (head.weight[chosen] @ features[:, :, None]).squeeze(2) + head.bias[chosen]
                return F.cross_entropy(logits, torch.zeros_like(target))

            return loss

    return FewLogits()


def tokens(num_classes: int) -> tuple[DatasetConfig, ModelConfig]:
    """A text data set whose class is its first word, and a network for it."""

    @register_dataset(label="first words")
    @dataclass
    class Words(DatasetConfig):
        name: str = "first_words"

        metrics: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity", "top5_accuracy")

        def sizes(self) -> Sizes:
            return Sizes(512, 256, (LENGTH,), num_classes)

        def read(self, runtime: Any) -> Mapping[str, np.ndarray]:
            draw = np.random.default_rng(0)
            arrays = {f"{part}_images": draw.integers(num_classes, size=(n, LENGTH)) for part, n in PARTS}
            return arrays | {f"{part}_labels": arrays[f"{part}_images"][:, 0] for part, _ in PARTS}

    @register_model(label="bag of words")
    @dataclass
    class Bag(ModelConfig):
        name: str = "bag"

        def build(self, shape: Shape, num_classes: int) -> nn.Module:
            return nn.Sequential(nn.Embedding(num_classes, 16), nn.Flatten(), nn.Linear(16 * shape[0], num_classes))

    return Words(), Bag()


PARTS = (("train", 512), ("test", 256))


@pytest.mark.parametrize("model", [Cnn2c(), ResNet18()], ids=lambda model: model.name)
def test_a_network_in_two_parts_gives_the_same_logits(model: ModelConfig) -> None:
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    whole = build_model(model, (1, 28, 28), 10, seed=3).eval()
    expected = whole(images)
    parts: Any = split(build_model(model, (1, 28, 28), 10, seed=3)).eval()
    assert torch.equal(parts(images), expected)
    assert torch.equal(parts.head(parts.features(images)), expected)
    assert parts.features(images).shape == (3, parts.head.in_features)


def test_a_loss_of_features_moves_weights_as_the_same_loss_of_logits(tmp_path: Path) -> None:
    plan = torch.arange(32)[None]
    states = [start_state(config(tmp_path, loss=loss), CPU) for loss in (Sml(), by_features())]
    for state in states:
        train_step(state, plan)
    moved = [torch.cat([weight.flatten() for weight in state.model.parameters()]) for state in states]
    torch.testing.assert_close(*moved, rtol=0, atol=1e-6)
    assert states[1].by_features
    assert states[0].loss_sum.item() == pytest.approx(states[1].loss_sum.item(), rel=1e-6)


def test_a_loss_of_features_computes_no_logits_in_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = start_state(config(tmp_path, loss=by_features()), CPU)
    network: Any = state.model

    def forbidden(features: Tensor) -> Tensor:
        raise AssertionError("logits of all classes were computed")

    network.head.forward = forbidden
    train_step(state, torch.arange(32)[None])
    assert math.isfinite(state.loss_sum.item())


def test_a_loss_of_features_goes_from_config_to_record(tmp_path: Path) -> None:
    made = config(tmp_path, loss=by_features(), schedule=Schedule(epochs=4, batch_size=8, lr=0.05))
    assert run_all([made]).failed == {}
    found = own_records(tmp_path)
    assert verify(found) == []
    record = found.records[run_id(made)].fields
    assert record["test_accuracy"] > 0.5
    assert record["train_accuracy"] > 0.5
    assert set(record["scores"]) == {"softmax", "tempered"}


def test_tokens_go_from_config_to_record_with_the_metrics_that_the_data_set_declares(tmp_path: Path) -> None:
    dataset, model = tokens(NUM_WORDS)
    made = config(tmp_path, dataset=dataset, model=model, schedule=Schedule(epochs=15, batch_size=16, lr=0.3))
    assert run_all([made]).failed == {}
    found = own_records(tmp_path)
    assert verify(found) == []
    record = found.records[run_id(made)].fields
    assert "normalization" not in record["config"]["dataset"]
    assert record["test_accuracy"] > 0.8
    assert record["metrics"]["test/perplexity"] == pytest.approx(math.exp(record["test_loss"]), rel=1e-5)
    assert record["test_accuracy"] <= record["metrics"]["test/top5_accuracy"] <= 1
    assert record["curves"]["test/perplexity"][-1] == record["metrics"]["test/perplexity"]


def test_with_many_classes_nothing_is_classes_by_classes_or_kept_for_each(tmp_path: Path) -> None:
    dataset, model = tokens(101)
    made = config(tmp_path, dataset=dataset, model=model)
    made = replace(made, runtime=replace(made.runtime, tensorboard=True))
    run = open_run(made)
    record = fit(made, run)
    with np.load(run.folder / "arrays.npz") as arrays:
        assert sorted(arrays) == ["test_labels", "test_predictions"]
        right = (arrays["test_labels"] == arrays["test_predictions"]).mean()
    assert record["test_accuracy"] == pytest.approx(right)
    assert verify(own_records(tmp_path)) == []
    assert [line["test/class_accuracy"] for line in run.metrics(2)] == [None, None]
    events = b"".join(path.read_bytes() for path in run.folder.rglob("events.out.tfevents.*"))
    assert b"test/perplexity" in events
    assert b"class_accuracy" not in events


def test_evaluation_in_parts_agrees_with_evaluation_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, names = start_state(config(tmp_path), CPU), ("accuracy", "perplexity", "top5_accuracy")
    at_once = evaluated(state, state.data.test, names)
    monkeypatch.setattr(evaluate, "MOST_CLASSES", 9)
    in_parts = evaluated(state, state.data.test, names)
    assert in_parts.logits is None
    assert torch.equal(in_parts.predictions, at_once.predictions)
    assert in_parts.loss == pytest.approx(at_once.loss, rel=1e-5)
    assert in_parts.metrics == pytest.approx(at_once.metrics, rel=1e-5)


def test_tests_within_epochs_change_nothing_else(tmp_path: Path) -> None:
    plain, often = config(tmp_path / "plain"), config(tmp_path / "often")
    often = replace(often, schedule=replace(often.schedule, evaluate_every_steps=2))
    records = [fit(one, open_run(one)) for one in (plain, often)]
    assert records[0]["curves"] == records[1]["curves"]
    within = records[1]["within_epochs"]
    assert [one["step"] for one in within] == [2, 4, 6]  # of three steps an epoch
    assert within[-1]["test/accuracy"] == records[1]["test_accuracy"]
    assert within[-1]["test/loss"] == pytest.approx(records[1]["test_loss"])
    assert "within_epochs" not in records[0]


def test_a_run_begins_with_the_weights_and_labels_of_another(tmp_path: Path) -> None:
    first = config(tmp_path)
    first = replace(first, runtime=replace(first.runtime, save_weights=True))
    second = config(tmp_path, schedule=replace(first.schedule, warm_start=run_id(first)))
    relabelled = replace(second, schedule=replace(second.schedule, relabel=True))
    assert len({run_id(one) for one in (config(tmp_path), second, relabelled)}) == 3
    with pytest.raises(
        ValueError, match=rf"schedule\.warm_start={run_id(first)}: that run is not finished in .*runs; "
    ):
        start_state(second, CPU)
    record = fit(first, open_run(first))
    state = start_state(second, CPU)
    assert evaluated(state, state.data.test).metrics["accuracy"] == record["test_accuracy"]
    own = start_state(relabelled, CPU)
    assert torch.equal(own.data.train.labels, evaluated(state, state.data.train).predictions)
    assert torch.equal(own.data.class_counts, torch.bincount(own.data.train.labels, minlength=10))
    assert run_all([second, relabelled]).failed == {}
    other = replace(second, model=ResNet18())
    with pytest.raises(ValueError, match="are those of another network than this one"):
        start_state(other, CPU)
    fewer = replace(relabelled, dataset=Digits(num_train=64))
    with pytest.raises(ValueError, match="was trained on 96 samples, but this one has 64"):
        start_state(fewer, CPU)
    (open_run(first).folder / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match=r"the weights of .* are not in .*; bring them with"):
        start_state(second, CPU)


def test_the_loss_of_a_copy_is_the_loss(tmp_path: Path) -> None:
    """A loss that is registered anew under another name gives the same numbers as the one it copies."""

    @register_loss(label="copy")
    @dataclass
    class Copy(LossConfig):
        name: str = "copy"

        def build(self, classes: TrainingClasses) -> Any:
            return sml

    records = [fit(one, open_run(one)) for one in (config(tmp_path), config(tmp_path, loss=Copy()))]
    assert records[0]["curves"] == records[1]["curves"]
    assert records[0]["scores"] == records[1]["scores"]
    with pytest.raises(
        ValueError, match=r"loss\.class_weights must be null for loss=copy, which takes no class weights"
    ):
        Copy(class_weights="inverse")  # type: ignore[arg-type]


def test_a_record_of_a_later_format_is_refused_in_a_sentence(tmp_path: Path) -> None:
    made = config(tmp_path)
    fit(made, open_run(made))
    path = open_run(made).folder / "result.json"
    record = json.loads(path.read_text())
    assert record["format"] == 2
    path.write_text(json.dumps({key: value for key, value in record.items() if key != "format"}))
    assert own_records(tmp_path).problems == []  # as all were before
    path.write_text(json.dumps(record | {"format": 3}))
    (problem,) = own_records(tmp_path).problems
    assert "its format is 3, but this lossbench reads 1 to 2; update lossbench" in problem.message


def test_a_few_images_of_some_classes_only_train(tmp_path: Path) -> None:
    made = config(tmp_path, dataset=Digits(num_train=3), schedule=Schedule(epochs=1, batch_size=2))
    assert run_all([made]).failed == {}


def test_what_imbalance_leaves_is_not_silently_less_than_asked(tmp_path: Path) -> None:
    rare = Digits(imbalance=Imbalance.step, imbalance_ratio=50.0, classes=[8, 1, 2])
    num = len(start_state(config(tmp_path, dataset=rare, schedule=Schedule(batch_size=8)), CPU).data.train.labels)
    batches = config(tmp_path, dataset=rare, schedule=Schedule(batch_size=num + 1, drop_last=True))
    refused = rf"schedule\.batch_size must be <= {num}, the training samples, got {num + 1}"
    with pytest.raises(ValueError, match=refused):
        start_state(batches, CPU)
    left = rf"dataset\.num_train must be <= {num}, the training samples that dataset\.imbalance leaves, got {num + 1}"
    made = config(tmp_path, dataset=replace(rare, num_train=num + 1), schedule=Schedule(batch_size=8))
    assert sizes(made.dataset).num_train == num + 1  # which is of classes of equal size
    with pytest.raises(ValueError, match=left):
        start_state(made, CPU)
