"""The name of a run: what changes it, what does not, and that it is stable; the learning rate of an epoch."""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from lossbench import NUMERICS
from lossbench.config.options import Imbalance, Normalization
from lossbench.config.run import IDENTITY, Config, Optimizer, Precision, Runtime, Schedule, name_of, run_id
from lossbench.data import published
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.data.npz import Npz
from lossbench.losses.lgl import Lgl
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.models.cnn5c import Cnn5c
from lossbench.models.mobilenetv2 import MobileNetV2
from lossbench.models.resnet18 import ResNet18
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.options import Reproduce

BASE = Config(MnistType("fmnist"), Cnn2c(), LglInr(), Schedule())

SUBSET: dict[str, Any] = {
    "classes": [1, 0],
    "imbalance": {"imbalance": Imbalance.step, "imbalance_ratio": 10.0},  # neither goes without the other
    "imbalance_ratio": {"imbalance": Imbalance.step, "imbalance_ratio": 20.0},
    "label_noise": 0.2,
    "label_shift": 1,
}
OTHER: dict[type, dict[str, Any]] = {
    MnistType: {
        "name": "kmnist",
        "num_train": 100,
        "num_validation": 9,
        "normalization": Normalization.none,
        **SUBSET,
    },
    Cifar10: {
        "num_train": 100,
        "num_validation": 9,
        **SUBSET,
        "normalization": Normalization.none,
        "augment": False,
        "crop_padding": 3,
    },
    Digits: {
        "num_train": 100,
        "num_validation": 9,
        **SUBSET,
        "normalization": Normalization.none,
        "image_shape": [1, 32, 28],
        "augment": True,
        "crop_padding": 3,
    },
    Cnn2c: {"init": "he_fan_out", "init_seed": 3, "head": Head.direct},
    Cnn5c: {"init": "he_fan_out", "init_seed": 3, "padding": "second"},
    MobileNetV2: {"init": "he_fan_out", "init_seed": 3},
    ResNet18: {"init": "he_fan_out", "init_seed": 3},
    Sml: {"scale": 2.0, "class_weights": "inverse"},
    Lgl: {"scale": 2.0, "reduction": "sum_classes", "class_weights": "inverse"},
    LglInr: {
        "scale": 2.0,
        "beta": 1.5,
        "detach_weights": True,
        "eps": 1e-7,
        "counts": "dataset",
        "missing": "keep",
        "reduction": "mean",
    },
    Schedule: {
        "epochs": 21,
        "batch_size": 65,
        "lr": 0.011,
        "momentum": 0.6,
        "weight_decay": 1e-9,
        "milestones": [0.5],
        "gamma": 0.2,
        "precision": Precision.bf16,
        "nesterov": True,
        "decay_bias": False,
        "drop_last": True,
        "evaluate_every_steps": 5,
        "warm_start": "kmnist-cnn2c-sml-s0-01234567",
        "relabel": {"warm_start": "a-run", "relabel": True},
        "optimizer": {"optimizer": Optimizer.adamw, "momentum": 0.0},
    },
}
"""Another value for every field; `name` is left out where a class has only one."""

RUNTIMES: dict[str, Any] = {
    "device": "cpu",
    "output_dir": "elsewhere",
    "data_dir": "data2",
    "download": False,
    "num_threads": 3,
    "parallel": 2,
    "deterministic": True,
    "cuda_graphs": False,
    "runs_per_gpu": 2,
    "budget_min": 9.0,
    "tensorboard": False,
    "save_weights": True,
    "class_trace": True,
    "gradient_trace": True,
    "experiment": "table3",
    "profile": "quick",
    "num_seeds": 7,
}

GOLDEN = {
    "fmnist-cnn2c-lgl_inr-s0-9fa75754": BASE,
    "mnist-cnn2c-sml-s3-dec2136a": Config(MnistType("mnist"), Cnn2c(head=Head.direct), Sml(), Schedule(), seed=3),
    "kmnist-cnn5c-lgl-s0-ee5bc468": Config(MnistType("kmnist", num_train=1000), Cnn5c(), Lgl(), Schedule(epochs=2)),
    "cifar10-resnet18-lgl_inr-s1-a19d9e38": Config(
        Cifar10(), ResNet18(), LglInr(beta=4), paper_schedule("cifar10"), seed=1
    ),
    "cifar10-mobilenetv2-sml-s0-2ceda668": Config(Cifar10(), MobileNetV2(), Sml(), paper_schedule("cifar10")),
    "digits-mobilenetv2-lgl_inr-s0-b2b6cbcb": Config(
        Digits(image_shape=[3, 32, 32], augment=True), MobileNetV2(), LglInr(eps=1e-7), Schedule()
    ),
}
"""Names under NUMERICS 1, written down once: another name for the same run orphans every record made before."""


def config_with(part: Any) -> Config:
    """A config that holds `part` where its kind belongs."""
    groups = {"dataset": (MnistType, Cifar10, Digits), "model": (Cnn2c, Cnn5c, MobileNetV2, ResNet18)}
    groups |= {"loss": (Sml, Lgl, LglInr), "schedule": (Schedule,)}
    (group,) = [group for group, classes in groups.items() if isinstance(part, classes)]
    return replace(BASE, **{group: part})


@pytest.mark.parametrize("part", OTHER, ids=lambda part: part.__name__)
def test_every_single_field_changes_the_name(part: type) -> None:
    names = {field.name for field in fields(part)}
    refused = {"class_weights"} if getattr(part, "takes_class_weights", True) is False else set()
    assert names - set(OTHER[part]) <= {"name"} | refused
    base = part()
    ids = [run_id(config_with(base))]
    changes = [value if isinstance(value, dict) else {name: value} for name, value in OTHER[part].items()]
    ids += [run_id(config_with(replace(base, **change))) for change in changes]
    assert len(set(ids)) == len(OTHER[part]) + 1


def test_every_choice_seed_and_numerics_changes_the_name() -> None:
    ids = [run_id(config_with(part())) for part in OTHER if part not in (LglInr, Schedule, Cnn2c)]
    ids += [run_id(replace(BASE, seed=seed)) for seed in (0, 1, 10, 2**31 - 1)]
    ids += [name_of(asdict(BASE), numerics) for numerics in (NUMERICS + 1, NUMERICS + 2)]
    assert len(set(ids)) == len(ids)
    assert run_id(BASE) == name_of(asdict(BASE), NUMERICS)


def test_no_field_of_runtime_changes_the_name() -> None:
    assert set(RUNTIMES) == {field.name for field in fields(Runtime)}
    for name, value in RUNTIMES.items():
        assert getattr(Runtime(), name) != value
        assert run_id(replace(BASE, runtime=replace(Runtime(), **{name: value}))) == run_id(BASE)
    assert set(IDENTITY) | {"runtime", "plugins"} == {field.name for field in fields(Config)}


@pytest.mark.parametrize("seed", [0, 12])
@pytest.mark.parametrize("part", OTHER, ids=lambda part: part.__name__)
def test_a_name_is_words_and_eight_hex_digits(part: type, seed: int) -> None:
    config = replace(config_with(part()), seed=seed)
    words = f"{config.dataset.name}-{config.model.name}-{config.loss.name}-s{seed}"
    assert re.fullmatch(re.escape(words) + "-[0-9a-f]{8}", run_id(config))


def test_the_same_number_written_otherwise_is_the_same_run() -> None:
    written = asdict(replace(BASE, loss=LglInr(beta=2.0), schedule=Schedule(milestones=[0.5])))
    other = asdict(replace(BASE, loss=LglInr(beta=2), schedule=Schedule(milestones=[0.5])))
    other["schedule"] |= {"epochs": 20.0, "milestones": (0.5,), "weight_decay": 0}
    other["seed"] = 0.0
    assert name_of(other, 1).replace("s0.0", "s0") == name_of(written, 1)
    assert name_of(json.loads(json.dumps(written)), 1) == name_of(written, 1)
    backwards = {key: dict(reversed(part.items())) if isinstance(part, dict) else part for key, part in written.items()}
    assert name_of(dict(reversed(backwards.items())), 1) == name_of(written, 1)


@dataclass
class LaterSml(Sml):
    """SML with an option that came later."""

    temperature: float | None = None


def test_a_later_option_renames_nothing_as_long_as_it_is_none() -> None:
    before = run_id(replace(BASE, loss=Sml()))
    assert run_id(replace(BASE, loss=LaterSml())) == before
    assert run_id(replace(BASE, loss=LaterSml(temperature=2.0))) != before


def test_keys_that_are_none_do_not_enter_anywhere() -> None:
    config = asdict(BASE)
    without = {**config, "dataset": {key: value for key, value in config["dataset"].items() if value is not None}}
    assert "num_train" not in without["dataset"]
    assert name_of(without, 1) == name_of(config, 1)
    assert name_of({**config, "schedule": {**config["schedule"], "warmup": None}}, 1) == name_of(config, 1)
    assert name_of({**config, "schedule": {**config["schedule"], "warmup": 0}}, 1) != name_of(config, 1)
    assert name_of({**config, "schedule": {**config["schedule"], "nested": {"a": None}}}, 1) != name_of(config, 1)
    assert name_of({**config, "comment": "no part of it"}, 1) == name_of(config, 1)


def test_true_is_not_one() -> None:
    config = asdict(BASE)
    one = {**config, "loss": {**config["loss"], "detach_weights": 1}}
    true = {**config, "loss": {**config["loss"], "detach_weights": True}}
    assert name_of(one, 1) != name_of(true, 1)


def test_names_stay() -> None:
    assert {name_of(asdict(config), 1): config for config in GOLDEN.values()} == GOLDEN


def test_cifar10s_rate_is_divided_by_ten_at_half_and_three_quarters() -> None:
    schedule = paper_schedule("cifar10")
    rates = [schedule.lr_at(epoch) for epoch in range(1, 101)]
    assert rates == pytest.approx([0.1] * 50 + [0.01] * 25 + [0.001] * 25, rel=1e-12)
    assert [paper_schedule("kmnist").lr_at(epoch) for epoch in (1, 20)] == [0.01, 0.01]


@pytest.mark.parametrize(
    ("epochs", "milestones", "num_each"),
    [(1, [0.5], [1]), (2, [0.5], [1, 1]), (3, [0.5], [2, 1]), (4, [0.5, 0.75], [2, 1, 1]), (5, [0.1, 0.2], [1, 0, 4])],
)
def test_the_rate_drops_after_the_named_share_of_the_epochs(
    epochs: int, milestones: list[float], num_each: list[int]
) -> None:
    schedule = Schedule(epochs=epochs, lr=1.0, milestones=milestones, gamma=0.5)
    expected = [0.5**passed for passed, num in enumerate(num_each) for _ in range(num)]
    assert [schedule.lr_at(epoch) for epoch in range(1, epochs + 1)] == expected


def test_the_rate_drops_after_every_whole_percent_of_100_epochs() -> None:
    first_low = []
    for percent in range(1, 100):
        schedule = Schedule(epochs=100, milestones=[percent / 100])
        first_low.append(next(epoch for epoch in range(1, 101) if schedule.lr_at(epoch) < schedule.lr))
    assert first_low == list(range(2, 101))


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOSSBENCH_DATA", "~/data")
    runtime = Runtime(output_dir="~/out", data_dir="~")
    assert (runtime.output_dir, runtime.data_dir) == (f"{tmp_path}/out", str(tmp_path))
    assert published.data_dir(runtime) == tmp_path
    assert published.data_dir(Runtime()) == tmp_path / "data"
    assert Reproduce(results_dir="~/results").results_dir == f"{tmp_path}/results"
    assert Reproduce(results_dir=None).results_dir is None
    assert Runtime(output_dir="a/~").output_dir == "a/~"
    for key, make in (
        ("runtime.output_dir", lambda path: Runtime(output_dir=path)),
        ("runtime.data_dir", lambda path: Runtime(data_dir=path)),
        ("results_dir", lambda path: Reproduce(results_dir=path)),
        ("dataset.path", lambda path: Npz(path=path)),
    ):
        with pytest.raises(ValueError, match=f"^{key} must be a path, got ~nobody-there/x, but there is no home"):
            make("~nobody-there/x")
        with pytest.raises(ValueError, match=f"^{key} must be a path in UTF-8, got b'o.xff'; name another$"):
            make("o\udcff")
    monkeypatch.setenv("LOSSBENCH_DATA", "~nobody-there")
    with pytest.raises(ValueError, match=r"^LOSSBENCH_DATA must be a path, got ~nobody-there, "):
        published.data_dir(Runtime())
