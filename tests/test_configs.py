"""Every YAML file composes to its dataclass's defaults and builds; invalid choices, keys and values are refused."""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lossbench.cli.schemas import CONF, register_schemas, to_config
from lossbench.config.options import DatasetConfig
from lossbench.config.registry import LOSSES, MODELS
from lossbench.config.run import Config, Precision, Runtime, Schedule
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.data.sizes import sizes
from lossbench.engines.options import LAUNCHERS
from lossbench.losses.build import build_loss
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.build import build_model
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.models.cnn5c import Cnn5c, Padding
from lossbench.studies.aaai20.schedule import paper_schedule
from lossbench.studies.options import Profile, Reproduce, Selection

DATASETS: dict[str, DatasetConfig] = {
    "mnist": MnistType("mnist"),
    "fmnist": MnistType("fmnist"),
    "kmnist": MnistType("kmnist"),
    "cifar10": Cifar10(),
    "digits": Digits(),
}

GRAY = "name num_train num_validation classes imbalance imbalance_ratio label_noise label_shift normalization"
WORDS = "name num_train num_validation classes imbalance imbalance_ratio label_noise label_shift vocabulary context "
WORDS += "num_test path sha256 encoding"
GAUSSIAN = "name num_train num_validation classes imbalance imbalance_ratio label_noise label_shift num_classes dims "
GAUSSIAN += "frequencies separation num_samples num_test data_seed"
SAMPLED = "name scale class_weights num_sampled proposal power replacement"
SCHEDULE = "epochs batch_size lr momentum weight_decay milestones gamma precision nesterov decay_bias drop_last "
SCHEDULE += "evaluate_every_steps warm_start relabel optimizer"
RUNTIME = (
    "device output_dir data_dir download num_threads parallel runs_per_gpu budget_min deterministic cuda_graphs "
    "tensorboard save_weights class_trace gradient_trace experiment profile num_seeds"
)
KEYS = {
    "dataset": {
        "mnist": GRAY,
        "fmnist": GRAY,
        "kmnist": GRAY,
        "cifar10": f"{GRAY} augment crop_padding",
        "digits": f"{GRAY} image_shape augment crop_padding",
        "npz": f"{GRAY} path sha256 augment crop_padding",
        "words": WORDS,
        "gaussian_classes": GAUSSIAN,
    },
    "model": {
        "cnn2c": "name init init_seed head",
        "cnn5c": "name init init_seed padding",
        "mobilenetv2": "name init init_seed",
        "resnet18": "name init init_seed",
        "word2next": "name init init_seed embedding hidden prior_bias",
        "linear": "name init init_seed prior_bias",
    },
    "loss": {
        "sml": "name scale class_weights",
        "lgl": "name scale class_weights reduction",
        "lgl_inr": "name scale class_weights beta detach_weights eps counts missing reduction",
        "label_smoothing": "name scale class_weights eps",
        "brier": "name scale class_weights",
        "one_minus_p_squared": "name scale class_weights",
        "spherical": "name scale class_weights",
        "gce": "name scale class_weights r",
        "mae": "name scale class_weights",
        "poly1": "name scale class_weights eps",
        "crammer_singer": "name scale class_weights",
        "weston_watkins": "name scale class_weights",
        "weston_watkins_squared": "name scale class_weights",
        "logit_adjusted": "name scale class_weights tau",
        "ldam": "name scale class_weights max_margin logit_scale",
        "asymmetric": "name scale class_weights gamma_pos gamma_neg clip",
        "focal": "name scale class_weights gamma",
        "sparsemax": "name scale class_weights",
        "entmax": "name scale class_weights alpha",
        "squared": "name scale class_weights k m",
        "taylor_softmax": "name scale class_weights",
        "rg2": "name scale class_weights a",
        "rg2_features": "name scale class_weights a",
        "rankmax": "name scale class_weights",
        "full_softmax": "name scale class_weights",
        "adaptive_softmax": "name scale class_weights cutoffs shrink",
        "sampled_softmax": f"{SAMPLED} correction hits",
        "nce": f"{SAMPLED} correction hits",
        "sampled_lgl": SAMPLED,
    },
    "schedule": dict.fromkeys(
        ("mnist", "fmnist", "kmnist", "cifar10", "digits", "npz", "words", "gaussian_classes"), SCHEDULE
    ),
}
"""Every key that a user can set, by group and choice: a new one is a promise, and belongs here and in the docs."""


@pytest.fixture(autouse=True, scope="module")
def _conf() -> Iterator[None]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str, name: str = "config") -> Any:
    return to_config(compose(name, list(overrides)))


def test_the_choices_are_these() -> None:
    choices = {group: {path.stem for path in (CONF / group).iterdir()} for group in KEYS}
    assert {group: names for group, names in choices.items() if group != "loss"} == {
        group: set(keys) for group, keys in KEYS.items() if group != "loss"
    }
    assert choices["loss"] == set(KEYS["loss"]) == set(LOSSES)
    assert choices["model"] == set(MODELS)
    others = {"npz", "words", "gaussian_classes"}  # they have test files of their own
    assert choices["dataset"] == choices["schedule"] == {*DATASETS, *others}
    assert {path.name for path in CONF.iterdir()} == {"base.yaml", "config.yaml", "reproduce.yaml", "launcher", *KEYS}
    assert {path.stem for path in (CONF / "launcher").iterdir()} == set(LAUNCHERS)
    for path in CONF.rglob("*.yaml"):
        assert path.read_text().startswith("# "), f"{path.name} does not say what it is"


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_combination_gives_the_dataclasses_defaults(dataset: str) -> None:
    turn = list(DATASETS).index(dataset)  # over the data sets, every network meets every loss
    for place, model in enumerate(MODELS):
        loss = list(LOSSES)[(place + turn) % len(LOSSES)]
        config = composed(f"dataset={dataset}", f"model={model}", f"loss={loss}")
        expected = Config(
            DATASETS[dataset], MODELS[model].options(), LOSSES[loss].options(), paper_schedule(dataset), 0, Runtime()
        )
        assert config == expected
        assert [type(part) for part in vars(config).values()] == [type(part) for part in vars(expected).values()]
        assert {group: " ".join(asdict(config)[group]) for group in (*KEYS, "runtime")} == {
            "dataset": KEYS["dataset"][dataset],
            "model": KEYS["model"][model],
            "loss": KEYS["loss"].get(loss, " ".join(asdict(LOSSES[loss].options()))),
            "schedule": SCHEDULE,
            "runtime": RUNTIME,
        }
        assert set(asdict(config)) == {*KEYS, "seed", "runtime", "plugins"}


def test_without_a_word_it_is_fashion_mnist_cnn2c_sml() -> None:
    assert composed() == Config(MnistType("fmnist"), Cnn2c(), Sml(), Schedule())


def test_the_papers_schedules() -> None:
    gray = Schedule(20, 64, 0.01, 0.5, 0.0, [], 0.1, Precision.fp32, nesterov=False, decay_bias=True, drop_last=False)
    cifar10 = replace(gray, epochs=100, lr=0.1, momentum=0.9, weight_decay=1e-4, milestones=[0.5, 0.75])
    schedules = {name: composed(f"schedule={name}").schedule for name in DATASETS}
    assert schedules == {name: cifar10 if name == "cifar10" else gray for name in DATASETS}


def test_the_schedule_follows_from_the_data_set_unless_overridden() -> None:
    assert composed("dataset=cifar10", "schedule.epochs=3").schedule == replace(paper_schedule("cifar10"), epochs=3)
    assert composed("dataset=cifar10", "schedule=mnist").schedule == Schedule()
    assert composed("schedule=cifar10", "dataset=digits").schedule == paper_schedule("cifar10")
    changed = composed("schedule.precision=bf16", "schedule.milestones=[0.25,0.5]", "schedule.lr=1").schedule
    assert changed == Schedule(precision=Precision.bf16, milestones=[0.25, 0.5], lr=1.0)


def test_options_arrive() -> None:
    config = composed(
        *("dataset=digits", "dataset.image_shape=[3,32,32]", "dataset.num_train=64", "model=cnn2c", "seed=7"),
        *("model.head=direct", "loss=lgl_inr", "loss.beta=2", "loss.eps=1e-7", "runtime.device=cuda:1"),
    )
    expected = Config(
        Digits(num_train=64, image_shape=[3, 32, 32]), Cnn2c(head=Head.direct), LglInr(beta=2.0, eps=1e-7), Schedule()
    )
    assert config == replace(expected, seed=7, runtime=Runtime(device="cuda:1"))
    assert composed("model=cnn5c", "model.padding=valid_k7").model == Cnn5c(padding=Padding.valid_k7)


def test_hydra_writes_nothing_and_uses_our_sweeper() -> None:
    for name in ("config", "reproduce"):
        settings = compose(name, return_hydra_config=True).hydra
        assert settings.output_subdir is None
        assert settings.run.dir == settings.sweep.dir == settings.sweep.subdir == "."
        assert settings.sweeper._target_ == "hydra_plugins.lossbench_plugin.LossbenchSweeper"
        assert settings.job_logging.get("handlers") is None
        assert settings.hydra_logging.get("handlers") is None


REFUSED_BY_HYDRA = [
    ("loss=sml loss.beta=2", "Key 'beta' not in 'Sml'"),
    ("loss=lgl loss.eps=1e-7", "Key 'eps' not in 'Lgl'"),
    ("model=resnet18 model.head=direct", "Key 'head' not in 'ResNet18'"),
    ("dataset=mnist dataset.augment=true", "Key 'augment' not in 'MnistType'"),
    ("dataset=imagenet", "Could not find 'dataset/imagenet'"),
    ("model=vgg", "Could not find 'model/vgg'"),
    ("loss=nosuch", "Could not find 'loss/nosuch'"),
    ("schedule=long", "Could not find 'schedule/long'"),
    ("epochs=3", "Key 'epochs' not in 'RunOptions'"),
    ("schedule.warmup=1", "Key 'warmup' not in 'Schedule'"),
    ("runtime.gpu=1", "Key 'gpu' not in 'Runtime'"),
    ("schedule.epochs=1.5", "could not be converted to Integer"),
    ("schedule.epochs=ten", "could not be converted to Integer"),
    ("schedule.epochs=true", "could not be converted to Integer|unsupported type"),
    ("schedule.epochs=null", "not Optional"),
    ("schedule.lr=fast", "could not be converted to Float"),
    ("schedule.nesterov=2.5", "not a valid bool"),
    ("schedule.milestones=0.5", "not"),
    ("schedule.milestones=[half]", "could not be converted to Float"),
    ("schedule.precision=fp16", r"expected one of \[fp32, tf32, bf16\]"),
    ("dataset.normalization=zscore", r"expected one of \[mnist, dataset, none\]"),
    ("model.head=deep", r"expected one of \[hidden, direct\]"),
    ("loss=lgl loss.reduction=sum", r"expected one of \[mean, sum_classes\]"),
    ("seed=null", "not Optional"),
    ("seed=zero", "could not be converted to Integer"),
    ("schedule.lr", "no viable alternative|missing EQUAL"),
]

OUT_OF_RANGE = [
    *("model.name=foo", "loss.name=lgl", "dataset.name=cifar10", "seed=-1", "seed=2147483648"),
    *("dataset.num_train=0", "dataset=cifar10 dataset.crop_padding=-1", "dataset=cifar10 dataset.crop_padding=17"),
    *("dataset=digits dataset.image_shape=[28,28]", "dataset=digits dataset.image_shape=[2,28,28]"),
    *("dataset=digits dataset.image_shape=[1,7,28]", "dataset=digits dataset.image_shape=[1,28,225]"),
    *("loss.scale=0", "loss.scale=-1", "loss.scale=nan", "loss.scale=inf"),
    *("loss=lgl_inr loss.beta=-0.1", "loss=lgl_inr loss.beta=nan", "loss=lgl_inr loss.beta=inf"),
    *("loss=lgl_inr loss.eps=0", "loss=lgl_inr loss.eps=-1e-7", "loss=lgl_inr loss.eps=0.1"),
    *("schedule.epochs=0", "schedule.batch_size=0", "schedule.lr=0", "schedule.lr=inf", "schedule.lr=nan"),
    *("schedule.momentum=1", "schedule.momentum=-0.1", "schedule.weight_decay=-1", "schedule.weight_decay=inf"),
    *("schedule.milestones=[0.75,0.5]", "schedule.milestones=[0.5,0.5]", "schedule.milestones=[0]"),
    *("schedule.milestones=[1]", "schedule.milestones=[50,75]", "schedule.gamma=0", "schedule.gamma=1.1"),
    *("runtime.device=tpu", "runtime.device=cuda:", "runtime.device=cpu:0", "runtime.num_threads=0"),
    *("runtime.parallel=0", "runtime.parallel=some", "runtime.runs_per_gpu=0", "runtime.budget_min=0"),
    "schedule.momentum=0 schedule.nesterov=true",
]


@pytest.mark.parametrize(("overrides", "said"), REFUSED_BY_HYDRA)
def test_unknown_keys_choices_and_types_are_refused(overrides: str, said: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
        composed(*overrides.split())
    causes = [str(caught.value), str(caught.value.__cause__)]
    assert any(re.search(said, cause) for cause in causes), causes


@pytest.mark.parametrize("overrides", OUT_OF_RANGE)
def test_values_out_of_range_are_refused_by_name(overrides: str) -> None:
    key = overrides.split()[-1].partition("=")[0].replace("nesterov", "momentum")
    with pytest.raises(ValueError, match=f"^{key} must be .*, got "):
        composed(*overrides.split())


@pytest.mark.parametrize("extra", ["+foo=1", "+loss.beta=2", "+schedule.warmup=1", "+runtime.gpu=0"])
def test_a_key_that_nothing_reads_is_refused_also_behind_a_plus(extra: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException, ValueError), match=extra[1:].partition("=")[0]):
        composed(extra)


@pytest.mark.parametrize("group", ["dataset", "model", "loss"])
def test_a_group_without_a_choice_is_refused(group: str) -> None:
    with pytest.raises((HydraException, OmegaConfBaseException), match=group):
        composed(f"~{group}")


def test_reproduce_composes_to_its_defaults() -> None:
    assert composed(name="reproduce") == Reproduce()
    plan = composed("profile=quick", "tables=[3,5]", "seeds=1", "dry=true", "selection=best", name="reproduce")
    assert plan == Reproduce(Profile.quick, [3, 5], 1, dry=True, selection=Selection.best)
    assert composed("results_dir=null", name="reproduce").results_dir is None
    assert set(asdict(plan)) == {"profile", "tables", "seeds", "dry", "selection", "results_dir", "runtime"}


@pytest.mark.parametrize("override", ["tables=[6]", "tables=[]", "tables=[3,1]", "seeds=0", "seeds=-2"])
def test_reproduce_refuses_what_it_does_not_know(override: str) -> None:
    with pytest.raises(ValueError, match=f"^{override.partition('=')[0]} must be .*, got "):
        composed(override, name="reproduce")


@pytest.mark.parametrize(
    "override", ["profile=slow", "selection=worst", "tables=3", "table=[3]", "seed=1", "dry=maybe"]
)
def test_reproduce_refuses_other_keys_and_types(override: str) -> None:
    with pytest.raises(HydraException, match=override.partition("=")[0]):
        composed(override, name="reproduce")


@torch.inference_mode()
@pytest.mark.parametrize("model", [name for name in MODELS if name != "word2next"])  # which reads words
def test_every_network_builds_for_every_data_set(model: str) -> None:
    shapes = {sizes(dataset).shape for dataset in (*DATASETS.values(), Digits(image_shape=[3, 32, 32]))}
    assert shapes == {(1, 28, 28), (3, 32, 32)}
    for shape in shapes:
        network = build_model(composed(f"model={model}").model, shape, num_classes=10, seed=0).eval()
        assert network(torch.zeros(1, *shape)).shape == (1, 10)


AT_ZERO = {
    "sml": math.log(10),
    "lgl": math.log(2),
    "lgl_inr": 20 * math.log(2),
    "label_smoothing": math.log(10),
    "brier": 0.9,
    "one_minus_p_squared": 0.81,
    "spherical": 1 - 1 / math.sqrt(10),
    "gce": (1 - 0.1**0.7) / 0.7,
    "mae": 1.8,
    "poly1": math.log(10) + 0.9,
    "crammer_singer": 1.0,
    "weston_watkins": 9.0,
    "weston_watkins_squared": 9.0,
    "logit_adjusted": math.log(10),
    "ldam": math.log(1 + 9 * math.exp(15)),
    "asymmetric": math.log(2) - 9 * 0.45**4 * math.log(0.55),
    "focal": 0.81 * math.log(10),
    "sparsemax": (1 - 0.1) / 2,
    "entmax": (1 - 10 * 0.1**1.5) / 0.75,
    "squared": 0.1,
    "taylor_softmax": math.log(10),
    "rg2": (9**2 + 9) / 40,
    "rankmax": math.log(10),
}
"""Values for logits of 0, ten classes of equal size and default options."""


@pytest.mark.parametrize("loss", [name for name, facts in LOSSES.items() if facts.options.needs == "logits"])
def test_every_loss_builds(loss: str) -> None:
    logits, target, counts = torch.zeros(10, 10), torch.arange(10), torch.full((10,), 6000)
    expected = AT_ZERO[loss]
    value = build_loss(composed(f"loss={loss}").loss, counts)(logits, target)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    doubled = build_loss(composed(f"loss={loss}", "loss.scale=2").loss, counts)(logits, target)
    assert doubled.item() == pytest.approx(2 * expected, rel=1e-6)
