"""Properties of every config and all logits: names, round trips, losses; each property catches a fault."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, fields, replace
from enum import Enum
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from lossbench import NUMERICS
from lossbench.cli import schemas
from lossbench.cli.schemas import CONF, register_schemas, to_config
from lossbench.config import run
from lossbench.config.options import ClassWeights
from lossbench.config.registry import LOSSES, MODELS
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.losses import lgl as lgl_module
from lossbench.losses import lgl_inr as lgl_inr_module
from lossbench.losses import sml as sml_module
from lossbench.losses.lgl_inr import LglInr, class_weights, lgl_inr
from lossbench.losses.sampling import Proposal, SampledConfig
from lossbench.losses.sml import sml

pytestmark = pytest.mark.long

# Configs

reals = st.floats(0, 1e6) | st.just(-0.0)
sizes = st.integers(1, 10**9)
fractions = st.floats(0.001, 0.999)
COMMON: dict[str, Any] = {
    "num_train": st.none() | sizes,
    "num_validation": st.sampled_from([None, 1, 7]),
    "classes": st.none() | st.lists(st.integers(0, 9), min_size=2, unique=True),
    "imbalance": st.none(),
    "imbalance_ratio": st.none(),
    "label_noise": st.none() | fractions,
    "label_shift": st.none() | st.integers(1, 9),
    "crop_padding": st.integers(0, 16),
    "image_shape": st.tuples(st.sampled_from([1, 3]), st.integers(8, 224), st.integers(8, 224)).map(list),
    "init_seed": st.none() | st.integers(0, 2**31 - 1),
    "scale": st.floats(1e-6, 1e6),
    "beta": reals,
    "class_weights": st.sampled_from([None, *ClassWeights]),
    "eps": st.floats(1e-30, 0.09),
    "r": st.floats(1e-6, 1),
    "lr": st.floats(1e-9, 1e3),
    "momentum": fractions,
    "weight_decay": reals,
    "milestones": st.lists(fractions, max_size=3, unique=True).map(sorted),
    "gamma": st.floats(1e-6, 1),
    "epochs": sizes,
    "batch_size": sizes,
    "evaluate_every_steps": st.none() | sizes,
    "warm_start": st.none() | st.sampled_from(["a-run", "another-run"]),
    "relabel": st.none(),
    "alpha": st.floats(1.001, 2),
    "k": st.floats(1e-6, 1e6),
    "m": st.floats(1e-6, 1e6),
    "a": reals,
    "optimizer": st.none(),
    "embedding": st.integers(1, 512),
    "hidden": st.integers(1, 512),
    "num_sampled": sizes,
    "power": st.floats(0, 2),
    "replacement": st.sampled_from([None, True, False]),
    "cutoffs": st.just([0.1, 0.4]),
}
"""Values of the fields that are neither a choice nor a switch."""


def values_of(part: type) -> st.SearchStrategy[Any]:
    """Any dataclass of a group, with valid values."""
    fields = {}
    for name, default in vars(part()).items():
        if isinstance(default, bool):
            fields[name] = st.booleans()
        elif isinstance(default, Enum):
            fields[name] = st.sampled_from(list(type(default)))
        elif name not in COMMON and isinstance(default, float):
            fields[name] = st.floats(default, 1.1 * default or 0.1)
        elif name != "name":
            fields[name] = COMMON[name]
    if not getattr(part, "takes_class_weights", True):
        fields["class_weights"] = st.none()  # others are refused
    if part is LglInr:
        fields["eps"] = st.none() | COMMON["eps"]
    if part is MnistType:
        fields["name"] = st.sampled_from(["mnist", "fmnist", "kmnist"])
    if issubclass(part, SampledConfig):
        unused = {"power": st.just(1.0)}
        kinds: list[dict[str, Any]] = [
            {"proposal": st.just(Proposal.unigram)},
            {"proposal": st.sampled_from([Proposal.uniform, Proposal.log_uniform])} | unused,
            {"proposal": st.just(Proposal.in_batch), "num_sampled": st.just(100), "replacement": st.none()} | unused,
        ]
        return st.one_of([st.builds(part, **fields | kind) for kind in kinds])
    return st.builds(part, **fields)


datasets = st.one_of([values_of(part) for part in (MnistType, Cifar10, Digits)])
models = st.one_of([values_of(part.options) for part in MODELS.values()])
runtimes = st.builds(
    Runtime,
    output_dir=st.text(max_size=9).filter(lambda path: not path.startswith("~")),  # the home of a user
    num_threads=st.none() | st.integers(1, 1024),
    experiment=st.none() | st.text(max_size=9),
)
kinds_of_losses = st.one_of([values_of(part.options) for part in LOSSES.values()])
configs = st.builds(Config, datasets, models, kinds_of_losses, values_of(Schedule), st.integers(0, 2**31 - 1), runtimes)


def shuffled(value: Any, draw: Callable[..., Any]) -> Any:
    """The same mapping in another order, whole numbers as floats and floats as whole numbers where they are."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(list(value)))}
    if isinstance(value, list):
        return tuple(shuffled(item, draw) for item in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return draw(st.sampled_from([value, float(value), *([int(value)] if value == int(value) else [])]))


@given(configs, st.data())
def test_a_name_is_the_same_however_the_config_is_written(config_: Config, data: st.DataObject) -> None:
    plain = json.loads(json.dumps(asdict(config_)))
    other = shuffled(plain, data.draw) | {"seed": config_.seed, "runtime": data.draw(runtimes)}
    assert run.name_of(other, NUMERICS) == run.name_of(plain, NUMERICS) == run_id(config_)


@given(configs, configs, st.data())
@settings(max_examples=200)
def test_a_name_changes_with_every_field(first: Config, second: Config, data: st.DataObject) -> None:
    group = data.draw(st.sampled_from(["dataset", "model", "loss", "schedule", "seed"]))
    old, new = getattr(first, group), getattr(second, group)
    changed = replace(first, **{group: new})
    assert (run_id(changed) == run_id(first)) == (new == old)
    if type(old) is not type(new) or group == "seed":
        return
    for name in vars(old):
        part = replace(old, **{name: getattr(new, name)})
        assert (run_id(replace(first, **{group: part})) == run_id(first)) == (part == old)


@given(configs)
@settings(max_examples=40)
def test_yaml_and_json_and_back_is_the_same_run(config_: Config) -> None:
    own = {part.name: getattr(config_, part.name) for part in fields(Config)}
    written = OmegaConf.create(OmegaConf.to_yaml(OmegaConf.structured(schemas.RunOptions(**own))))
    parts = (type(getattr(config_, group))() for group in ("dataset", "model", "loss", "schedule"))
    defaults = schemas.RunOptions(*parts)
    read = schemas.to_config(OmegaConf.merge(OmegaConf.structured(defaults), written))
    assert read == config_
    assert run_id(read) == run_id(config_)
    assert run.name_of(json.loads(json.dumps(asdict(config_))), NUMERICS) == run_id(config_)


@pytest.fixture(scope="module")
def conf() -> Iterator[None]:
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@given(configs)
@settings(max_examples=25)
def test_overrides_compose_to_the_config_that_they_describe(conf: None, config_: Config) -> None:
    overrides = [f"{group}={getattr(config_, group).name}" for group in ("dataset", "model", "loss")]
    for group in ("dataset", "model", "loss", "schedule"):
        for name, value in asdict(getattr(config_, group)).items():
            overrides += [] if name == "name" else [f"{group}.{name}={json.dumps(value)}"]
    composed = schemas.to_config(compose("config", [*overrides, f"seed={config_.seed}"]))
    assert replace(composed, runtime=config_.runtime) == config_
    assert run_id(composed) == run_id(config_)


# Losses

EXTREMES = [0.0, 1e4, -1e4, 17.0, -17.0, 90.0, -104.0]
OPTIONS = {
    "beta": st.sampled_from([0.0, 1.0, 4.0, 1e4]) | st.floats(0, 50),
    "detach_weights": st.booleans(),
    "missing": st.sampled_from(["drop", "keep"]),
    "reduction": st.sampled_from(["sum_classes", "mean"]),
}


@st.composite
def batches(draw: st.DrawFn, bound: float = 1e4) -> tuple[Tensor, Tensor]:
    """Logits [B, K] in float64 that float32 holds as well, and a target: ties, extremes, few classes included."""
    num, num_classes = draw(st.integers(1, 40)), draw(st.integers(2, 30))
    noise = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 20.0, bound]))
    logits = (scale * torch.randn(num, num_classes, generator=noise)).clamp(-bound, bound)
    if draw(st.booleans()):
        logits = logits.round()  # ties
    extremes = torch.tensor([value for value in EXTREMES if abs(value) <= bound])
    chosen = torch.rand(num, num_classes, generator=noise) < draw(st.sampled_from([0.0, 0.1, 1.0]))
    logits = torch.where(chosen, extremes[torch.randint(len(extremes), logits.shape, generator=noise)], logits)
    present = draw(st.integers(1, num_classes))  # 1: a single class in the batch
    target = torch.randperm(num_classes, generator=noise)[torch.randint(present, (num,), generator=noise)]
    return logits.double(), target


@st.composite
def all_losses(draw: st.DrawFn, num_classes: int) -> tuple[Callable[..., Tensor], dict[str, Any], Tensor | None]:
    """A loss, its options, and the sizes of the classes, which are renamed with them."""
    kind = draw(st.sampled_from(["sml", "lgl", "lgl_inr", "lgl_inr"]))
    if kind == "sml":
        return sml_module.sml, {}, None
    if kind == "lgl":
        return lgl_module.lgl, {"reduction": draw(OPTIONS["reduction"])}, None
    options = {name: draw(values) for name, values in OPTIONS.items()}
    options["eps"] = draw(st.none() | st.sampled_from([1e-30, 1e-12, 1e-7]) | st.floats(1e-7, 0.09))
    sizes_ = torch.tensor(draw(st.lists(st.integers(1, 10**5), min_size=num_classes, max_size=num_classes)))
    return lgl_inr_module.lgl_inr, options, draw(st.sampled_from([None, sizes_]))


def evaluate(
    loss: Callable[..., Tensor], options: dict[str, Any], sizes_: Tensor | None, logits: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Value and gradient."""
    logits = logits.detach().requires_grad_()
    value = loss(logits, target, **options, **({} if sizes_ is None else {"class_counts": sizes_}))
    return value.detach(), torch.autograd.grad(value, logits)[0]


def close(found: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


@given(batches(), st.data())
@settings(max_examples=200)
def test_losses_are_finite_in_float32_and_agree_with_float64(batch: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    logits, target = batch
    loss, options, sizes_ = data.draw(all_losses(logits.shape[1]))
    value, grad = evaluate(loss, options, sizes_, logits.float(), target)
    assert value.dtype == grad.dtype == torch.float32
    assert value.isfinite()
    assert grad.isfinite().all()
    exact, _ = evaluate(loss, options, sizes_, logits, target)
    assert exact.isfinite()
    if options.get("eps") is None:
        close(value.double(), exact, rtol=1e-4 + 1e-6 * options.get("beta", 0), atol=1e-4)


@given(batches(), st.data())
@settings(max_examples=200)
def test_names_of_classes_and_order_of_samples_do_not_matter(batch: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    logits, target = batch
    loss, options, sizes_ = data.draw(all_losses(logits.shape[1]))
    value, grad = evaluate(loss, options, sizes_, logits, target)
    rows = torch.tensor(data.draw(st.permutations(range(len(target)))))
    columns = torch.tensor(data.draw(st.permutations(range(logits.shape[1]))))
    renamed = None if sizes_ is None else sizes_[columns]
    moved = logits[rows][:, columns], torch.argsort(columns)[target[rows]]
    close(evaluate(loss, options, renamed, *moved), (value, grad[rows][:, columns]))


@given(batches(), st.data())
@settings(max_examples=200)
def test_a_batch_many_times_over_is_the_batch(batch: tuple[Tensor, Tensor], data: st.DataObject) -> None:
    """Also where the first is taken by samples and the second by classes: the two forms of LGL-INR agree."""
    logits, target = batch
    loss, options, sizes_ = data.draw(all_losses(logits.shape[1]))
    times = -(-logits.shape[1] // len(target)) + data.draw(st.integers(0, 1))
    value, grad = evaluate(loss, options, sizes_, logits, target)
    whole, parts = evaluate(loss, options, sizes_, logits.repeat(times, 1), target.repeat(times))
    close((whole, parts.reshape(times, *logits.shape).sum(dim=0)), (value, grad))


@given(batches(), st.data())
def test_classes_that_never_occur_and_are_never_predicted_change_nothing(
    batch: tuple[Tensor, Tensor], data: st.DataObject
) -> None:
    """More classes than samples make LGL-INR go by samples; padded, both forms see the same batch."""
    logits, target = batch
    assume(logits.shape[1] <= len(target))
    options = {name: data.draw(OPTIONS[name]) for name in ("beta", "detach_weights")}
    padded = F.pad(logits, (0, len(target)), value=-1e5)
    value, grad = evaluate(lgl_inr_module.lgl_inr, options, None, logits, target)
    close(evaluate(lgl_inr_module.lgl_inr, options, None, padded, target), (value, F.pad(grad, (0, len(target)))))


@given(batches(), st.floats(-1e4, 1e4))
def test_sml_sees_differences_of_logits_only(batch: tuple[Tensor, Tensor], shift: float) -> None:
    logits, target = batch
    value, grad = evaluate(sml_module.sml, {}, None, logits, target)
    shifted = logits + shift * torch.arange(len(target))[:, None].cos()  # each sample by another number
    close(evaluate(sml_module.sml, {}, None, shifted, target), (value, grad))
    close(grad.sum(dim=1), torch.zeros(len(target), dtype=torch.float64))


@given(batches(), st.sampled_from([0.0, 1.0, 50.0, 1e6]))
def test_class_weights_share_out_one_or_nothing(batch: tuple[Tensor, Tensor], beta: float) -> None:
    logits, target = batch
    num_classes = logits.shape[1]
    present = torch.bincount(target, minlength=num_classes) > 0
    means = torch.sigmoid(logits[torch.arange(num_classes) % len(target)])
    weights = lgl_inr_module.class_weights(means, beta, present)
    others = present.sum() - present.long()
    close(weights.sum(dim=0), (others > 0).double())
    assert (weights >= 0).all()
    assert weights.diagonal().eq(0).all()
    assert weights[~present].eq(0).all()


# Faults


def without_a_field(given_: Any, numerics: int) -> str:
    other = deepcopy(dict(given_))
    other["schedule"].pop("nesterov")
    return str(NAME_OF(other, numerics))


def in_order(given_: Any, numerics: int) -> str:
    return NAME_OF(given_, numerics) + json.dumps({key: given_[key] for key in run.IDENTITY}, default=str)


NAME_OF = run.name_of


def softmax_without_maximum(logits: Tensor, target: Tensor) -> Tensor:
    exponentials = torch.exp(logits)
    return -torch.log(exponentials[torch.arange(len(target)), target] / exponentials.sum(dim=1)).mean()


def naive_logarithm(logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    return lgl_inr(logits, target, **(options | {"eps": options.get("eps") or 1e-50}))


def first_class_apart(logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    return lgl_inr(logits, target, **options) + 1e-6 * torch.sigmoid(logits[:, 0]).mean()


def by_sample_without_counts(logits: Tensor, target: Tensor, **options: Any) -> Tensor:
    doubled = len(target) < logits.shape[1] and len(target.unique()) < len(target)
    return lgl_inr(logits, target, **options) * (1 + 1e-6 * doubled)


def not_shared_out_anew(means: Tensor, beta: float, present: Tensor | None = None) -> Tensor:
    weights = class_weights(means, beta)
    return weights if present is None else weights * present[:, None]


def one_sided(logits: Tensor, target: Tensor) -> Tensor:
    return sml(logits, target) + 1e-6 * logits.mean()


FAULTS: list[tuple[Any, str, Any, Callable[[], None]]] = [
    (run, "name_of", without_a_field, test_a_name_changes_with_every_field),
    (run, "name_of", in_order, test_a_name_is_the_same_however_the_config_is_written),
    (sml_module, "sml", softmax_without_maximum, test_losses_are_finite_in_float32_and_agree_with_float64),
    (lgl_inr_module, "lgl_inr", naive_logarithm, test_losses_are_finite_in_float32_and_agree_with_float64),
    (lgl_inr_module, "lgl_inr", first_class_apart, test_names_of_classes_and_order_of_samples_do_not_matter),
    (lgl_inr_module, "lgl_inr", by_sample_without_counts, test_a_batch_many_times_over_is_the_batch),
    (
        lgl_inr_module,
        "lgl_inr",
        by_sample_without_counts,
        test_classes_that_never_occur_and_are_never_predicted_change_nothing,
    ),
    (sml_module, "sml", one_sided, test_sml_sees_differences_of_logits_only),
    (lgl_inr_module, "class_weights", not_shared_out_anew, test_class_weights_share_out_one_or_nothing),
]


@pytest.mark.parametrize(("room", "name", "fault", "law"), FAULTS, ids=lambda part: getattr(part, "__name__", None))
def test_a_fault_is_caught(
    room: Any, name: str, fault: Any, law: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, name, fault)
    with pytest.raises(AssertionError):
        law()


def test_to_config_that_forgets_a_field_is_caught(conf: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "to_config", lambda composed: replace(to_config(composed), seed=0))
    with pytest.raises(AssertionError):
        test_overrides_compose_to_the_config_that_they_describe(conf)
