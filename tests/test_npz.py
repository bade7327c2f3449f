"""A user's own data set: layouts, values, its name, a complete run, and every way in which a file can be wrong."""

import hashlib
import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir

from lossbench import NUMERICS
from lossbench.cli.schemas import CONF, register_schemas, to_config
from lossbench.config.options import Imbalance, Normalization, Sizes
from lossbench.config.registry import MODELS
from lossbench.config.run import Config, Runtime, Schedule, name_of, run_id
from lossbench.data.load import load_data, plan_epoch
from lossbench.data.npz import Npz
from lossbench.data.sizes import sizes
from lossbench.losses.lgl_inr import LglInr
from lossbench.losses.sml import Sml
from lossbench.models.cnn2c import Cnn2c
from lossbench.runs.folder import open_run
from lossbench.runs.records import own_records
from lossbench.sweep import run_all
from lossbench.sweep.cost import flops

Arrays = dict[str, np.ndarray]


def arrays(num_train: int = 30, num_test: int = 12, shape: tuple[int, ...] = (16, 18), classes: int = 3) -> Arrays:
    """Three classes that differ in brightness, in noise."""
    random = np.random.default_rng(0)
    made: Arrays = {}
    for part, num in (("train", num_train), ("test", num_test)):
        labels = np.arange(num) % classes
        noise = random.integers(0, 60, size=(num, *shape))
        made[f"{part}_images"] = (noise + 60 * labels.reshape(-1, *[1] * len(shape))).astype(np.uint8)
        made[f"{part}_labels"] = labels
    return made


def saved(folder: Path, changes: dict[str, Any] | None = None, name: str = "own.npz", **made: Any) -> Path:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **((made or arrays()) | (changes or {})))
    return path


def load(path: Path, **options: Any) -> Any:
    config = Npz(path=str(path), **options)
    return load_data(config, Runtime(output_dir=str(path.parent / "out")), torch.device("cpu"))


def config_of(path: Path, folder: Path, **changes: Any) -> Config:
    runtime = Runtime(output_dir=str(folder), num_threads=1, tensorboard=False, device="cpu")
    base = Config(Npz(path=str(path)), Cnn2c(), LglInr(), Schedule(epochs=1, batch_size=8), runtime=runtime)
    return replace(base, **changes)


def test_every_layout_gives_the_same_images(tmp_path: Path) -> None:
    gray, colour = arrays(), arrays(shape=(9, 11, 3))
    as_uint8 = load(saved(tmp_path / "a", **gray))
    assert as_uint8.train.images.dtype == torch.uint8
    assert as_uint8.train.images.shape == (30, 1, 16, 18)
    assert np.array_equal(as_uint8.train.images[:, 0].numpy(), gray["train_images"])
    assert as_uint8.test.labels.tolist() == gray["test_labels"].tolist()
    for number, change in enumerate(
        [
            lambda images: images[..., None],
            lambda images: images[:, None],
            lambda images: np.asfortranarray(images),
            lambda images: images / 255,
            lambda images: (images / 255).astype(np.float32),
            lambda images: (images[:, None] / 255).astype(">f4"),
        ]
    ):
        changed = {name: change(array) if name.endswith("images") else array for name, array in gray.items()}
        loaded = load(saved(tmp_path / str(number), **changed))
        assert torch.equal(loaded.train.images, as_uint8.train.images)
        assert torch.equal(loaded.test.images, as_uint8.test.images)
    last = load(saved(tmp_path / "last", **colour))
    first = {name: np.moveaxis(array, 3, 1) if name.endswith("images") else array for name, array in colour.items()}
    for loaded in (last, load(saved(tmp_path / "first", **first))):
        assert loaded.shape == (3, 9, 11)
        assert np.array_equal(loaded.test.images.numpy(), first["test_images"])


def test_sizes_need_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Npz(path=str(saved(tmp_path, **arrays(50, 20, (9, 11, 3), classes=5))))
    read = np.lib.format.read_array

    def labels_only(*arguments: Any, **options: Any) -> np.ndarray:
        array: np.ndarray = read(*arguments, **options)
        assert array.ndim == 1
        return array

    monkeypatch.setattr(np.lib.format, "read_array", labels_only)
    assert sizes(config) == Sizes(50, 20, (3, 9, 11), 5)
    assert sizes(replace(config, num_train=7)).num_train == 7
    with pytest.raises(ValueError, match=r"dataset\.num_train must be <= 50 for npz, got 51"):
        sizes(replace(config, num_train=51))


def test_the_name_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = config_of(path, tmp_path)
    moved = tmp_path / "elsewhere" / "other.npz"
    moved.parent.mkdir()
    shutil.copy(path, moved)
    assert run_id(config_of(moved, tmp_path)) == run_id(before)
    assert before.dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()  # type: ignore[attr-defined]
    changed = arrays()
    changed["test_labels"][0] = 1
    assert run_id(config_of(saved(tmp_path, **changed), tmp_path)) != run_id(before)
    path.unlink()
    moved.unlink()
    assert name_of(json.loads(json.dumps(asdict(before))), NUMERICS) == run_id(before)  # a record needs no file
    assert run_id(before).startswith("npz-cnn2c-lgl_inr-s0-")
    assert re.search(r"-[0-9a-f]{8}$", run_id(before))


def test_every_option_but_the_path_changes_the_name(tmp_path: Path) -> None:
    path = saved(tmp_path)
    others = {
        "num_train": 9,
        "num_validation": 9,
        "normalization": Normalization.none,
        "augment": True,
        "crop_padding": 3,
        "label_noise": 0.2,
        "label_shift": 1,
    }
    others |= {"normalization": Normalization.none, "sha256": "0" * 64, "classes": [1, 0]}
    ratios = [{"imbalance": Imbalance.step, "imbalance_ratio": ratio} for ratio in (10.0, 20.0)]  # neither goes alone
    base = Npz(path=str(path))
    parts = [base, *(replace(base, **change) for change in (*({name: others[name]} for name in others), *ratios))]
    assert set(asdict(base)) == {"name", "path", "imbalance", "imbalance_ratio", *others}
    assert len({run_id(config_of(path, tmp_path, dataset=part)) for part in parts}) == len(parts)


def test_a_file_that_has_changed_under_a_config_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    config = config_of(path, tmp_path / "out")
    saved(tmp_path, {"test_labels": np.arange(12)[::-1] % 3})
    summary = None
    with pytest.raises(ValueError, match=f"dataset.path={path} is not the file that was named: .*expected"):
        summary = run_all.run_all([config])
    assert summary is None
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"dataset\.path=.* is not the file that was named"):
        sizes(Npz(path=str(path), sha256="0" * 64))


def test_yaml_composes_and_asks_for_a_path(tmp_path: Path) -> None:
    register_schemas()
    path = saved(tmp_path)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = to_config(compose("config", ["dataset=npz", f"dataset.path={path}", "loss=lgl"]))
        assert config.dataset == Npz(path=str(path))
        assert config.schedule == Schedule()
        with pytest.raises(ValueError, match=r"^dataset\.path must be the \.npz file .*, got None"):
            to_config(compose("config", ["dataset=npz"]))
        for override in ("dataset.path=nowhere.npz", f"dataset.path={tmp_path}", "dataset.path=''"):
            with pytest.raises(ValueError, match=r"^dataset\.path must be .*file .*, got "):
                to_config(compose("config", ["dataset=npz", override]))
        for override in ("dataset.sha256=12ab", f"dataset.sha256={'A' * 64}", "dataset.crop_padding=17"):
            with pytest.raises(ValueError, match=f"^{override.partition('=')[0]} must be .*, got "):
                to_config(compose("config", ["dataset=npz", f"dataset.path={path}", override]))


def test_normalization_num_train_and_augmentation_are_those_of_the_others(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays(shape=(16, 18, 3)))
    own = load(path, num_train=9)
    assert own.class_counts.tolist() == [3, 3, 3]
    inputs = own.inputs(own.train.images).double()
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3).double(), rtol=0, atol=1e-6)
    none = load(path, normalization=Normalization.none)
    torch.testing.assert_close(none.inputs(none.test.images), none.test.images / 255)
    mnist = load(path, normalization=Normalization.mnist)
    torch.testing.assert_close(mnist.inputs(mnist.test.images), (mnist.test.images / 255 - 0.1307) / 0.3081)
    augmented = load(path, augment=True, crop_padding=2)
    assert augmented.padded.shape == (30, 3, 20, 22)
    assert plan_epoch(augmented, seed=0, epoch=1).shape == (4, 30)
    assert len(list((tmp_path / "out" / "cache").glob("[!.]*"))) == 1


@pytest.mark.parametrize("model", [name for name in MODELS if name != "word2next"])  # which reads words
def test_three_classes_train_from_end_to_end(model: str, tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays(shape=(28, 30) if model == "cnn5c" else (16, 18)))
    config = config_of(path, tmp_path / "out", model=MODELS[model].options())
    assert flops(config) > 0
    assert run_all.run_all([config]).finished == [run_id(config)]
    record = open_run(config).record()
    assert (record["num_train"], record["num_test"]) == (30, 12)
    assert record["config"]["dataset"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    with np.load(open_run(config).folder / "arrays.npz") as written:
        assert written["test_logits"].shape == (12, 3)
        assert written["confusion_matrix"].sum(axis=1).tolist() == [4, 4, 4]
        assert written["class_weights"].shape == (1, 3, 3)
        assert written["output_bias"].shape == written["gradient_norms_init"].shape == (3,)
    path.unlink()
    assert [record.id for record in own_records(tmp_path / "out").records.values()] == [run_id(config)]


def test_three_bright_classes_are_learned(tmp_path: Path) -> None:
    path = saved(tmp_path, **arrays(300, 60))
    config = config_of(path, tmp_path / "out", loss=Sml(), schedule=Schedule(epochs=3, batch_size=16))
    run_all.run_all([config])
    assert open_run(config).record()["test_accuracy"] > 0.9


def test_the_cost_counts_the_classes_that_there_are(tmp_path: Path) -> None:
    costs = []
    for classes in (3, 10):
        config = config_of(saved(tmp_path / str(classes), **arrays(30, 10, classes=classes)), tmp_path)
        costs.append(flops(config))
    each = 2 * 500 * (10 - 3)  # operations an image that seven classes more cost, forward
    assert costs[1] - costs[0] == 30 * 3 * each + 10 * each + 30 * each


def change(name: str, array: Any) -> Callable[[Arrays], Arrays]:
    return lambda whole: whole | {name: array}


def with_value(name: str, value: float, dtype: str = "f4") -> Callable[[Arrays], Arrays]:
    def changed(whole: Arrays) -> Arrays:
        images = (whole[name] / 255).astype(dtype)
        images[1, 2, 3] = value
        return whole | {name: images}

    return changed


WRONG: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "no test labels": (
        lambda whole: {name: array for name, array in whole.items() if name != "test_labels"},
        r"lacks test_labels; it holds train_images, train_labels, test_images$",
    ),
    "other names": (lambda whole: {"x_train": whole["train_images"]}, r"lacks train_images, .*; it holds x_train$"),
    "nothing": (lambda whole: {}, "lacks train_images, .*; it holds nothing$"),
    "objects": (
        change("train_images", np.array([{}, 1, "a"], object)),
        "train_images has shape .* and holds Python objects, which are never unpickled, expected uint8, or floats",
    ),
    "object labels": (change("test_labels", np.array([0] * 12, object)), "test_labels .*Python objects.* integers"),
    "flat images": (
        change("train_images", np.zeros((30, 288), np.uint8)),
        r"train_images has shape \[30,288\] and holds uint8, expected \[N,H,W\], \[N,H,W,C\] or \[N,C,H,W\]",
    ),
    "two channels": (change("test_images", np.zeros((12, 16, 18, 2), np.uint8)), r"test_images .*\[12,16,18,2\].*C 1"),
    "five axes": (change("test_images", np.zeros((12, 1, 16, 18, 1), np.uint8)), "test_images .*expected"),
    "too small": (change("train_images", np.zeros((30, 7, 18), np.uint8)), "sides of at least 8"),
    "a number": (change("train_images", np.uint8(3)), r"train_images has shape \[\]"),
    "no image": (
        change("test_images", np.zeros((0, 16, 18), np.uint8)),
        r"test_images has shape \[0,16,18\].* N is 0$",
    ),
    "no image to train on": (change("train_images", np.zeros((0, 16, 18), np.uint8)), r"train_images .* N is 0$"),
    "other size": (
        change("test_images", np.zeros((12, 18, 18), np.uint8)),
        r"test_images are 1 x 18 x 18 \(channels, height, width\), expected 1 x 16 x 18 as the training images",
    ),
    "wide integers": (change("train_images", np.zeros((30, 16, 18), int)), "train_images .*int64, expected uint8, or"),
    "bool images": (change("train_images", np.zeros((30, 16, 18), bool)), "train_images .*bool, expected uint8"),
    "complex": (change("train_images", np.zeros((30, 16, 18), complex)), "train_images .*complex128, expected uint8"),
    "text": (change("train_labels", np.array(["cat"] * 30)), "train_labels .*<U3, expected integers"),
    "float labels": (change("train_labels", np.zeros(30)), "train_labels .*float64, expected integers"),
    "bool labels": (change("train_labels", np.arange(30) % 2 == 0), "train_labels .*bool, expected integers"),
    "column": (change("train_labels", np.zeros((30, 1), int)), r"train_labels has shape \[30,1\].* expected \[30\], a"),
    "one-hot": (change("test_labels", np.eye(12, 3, dtype=int)), r"test_labels has shape \[12,3\]"),
    "too few labels": (change("train_labels", np.arange(29) % 3), r"train_labels has shape \[29\].*expected \[30\]"),
    "one class": (change("train_labels", np.zeros(30, int)), "train_labels holds one class only, 0, expected at least"),
    "from one": (
        change("train_labels", np.arange(30) % 3 + 1),
        r"train_labels holds 3 different labels from 1 to 3, expected all of 0\.\.2, without a gap",
    ),
    "a gap": (change("train_labels", np.arange(30) % 2 * 2), r"2 different labels from 0 to 2, expected all of 0\.\.1"),
    "negative": (change("train_labels", np.arange(30) % 3 - 1), "different labels from -1 to 1"),
    "huge label": (change("train_labels", np.array([2**64 - 1, 0] * 15, np.uint64)), "to 18446744073709551615"),
    "unknown test label": (
        change("test_labels", np.arange(12) % 4),
        r"test_labels holds the label 3, which train_labels does not hold, expected labels in 0\.\.2",
    ),
    "negative test label": (change("test_labels", np.arange(12) - 1), "test_labels holds the label -1, which"),
    "NaN": (with_value("train_images", np.nan), "train_images holds 1 values that are NaN or infinite, expected none"),
    "infinity": (with_value("test_images", np.inf, "f8"), "test_images holds 1 values that are NaN or infinite"),
    "floats to 255": (
        change("train_images", np.arange(30 * 288.0).reshape(30, 16, 18) % 256),
        r"train_images holds floats from 0 to 255, expected floats in 0\.\.1, or uint8 in 0\.\.255",
    ),
    "negative floats": (with_value("test_images", -0.5), r"test_images holds floats from -0\.5 to"),
    "constant": (
        change("train_images", np.full((30, 16, 18), 7, np.uint8)),
        "train_images holds one value only, 7 of 255, in channel 0, expected pixels that differ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_data_set_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    made, words = WRONG[case]
    path = tmp_path / "own.npz"
    np.savez(path, **made(arrays()))
    config = config_of(path, tmp_path / "out")
    with pytest.raises(ValueError, match=words) as caught:
        run_all.run_all([config])
    assert str(caught.value).startswith(f"dataset.path={path}")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def refused(path: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"^dataset\.path") as caught:
        run_all.run_all([config_of(path, folder)])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not folder.exists()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
def test_every_damage_is_refused_by_name(packed: bool, tmp_path: Path) -> None:
    path, damaged = tmp_path / "own.npz", tmp_path / "damaged.npz"
    (np.savez_compressed if packed else np.savez)(path, **arrays())
    whole = path.read_bytes()
    clean = load(path)
    random = np.random.default_rng(1)
    for length in [0, 1, 100, len(whole) - 1, *random.integers(len(whole), size=20)]:
        damaged.write_bytes(whole[:length])
        refused(damaged, tmp_path / "none")
        damaged.write_bytes(whole[len(whole) - length :])
        refused(damaged, tmp_path / "none")
    outcomes = set()
    for place in [0, len(whole) - 1, *random.integers(len(whole), size=100)]:
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            loaded = load(damaged)
        except ValueError as error:
            assert str(damaged) in str(error)  # noqa: PT017
            outcomes.add("refused")
        else:  # the archive's dates and the like
            assert torch.equal(loaded.train.images, clean.train.images)
            assert torch.equal(loaded.test.labels, clean.test.labels)
    assert outcomes == {"refused"}


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, {"train_labels": np.array([Trap()] * 30, object)})
    refused(path, tmp_path / "out")
    path.write_bytes(pickle.dumps(Trap()))
    refused(path, tmp_path / "out")
    np.save(path.open("wb"), arrays()["train_images"])
    refused(path, tmp_path / "out")
    with zipfile.ZipFile(path, "w") as archive:  # the right names, the wrong content
        for name in arrays():
            archive.writestr(f"{name}.npy", pickle.dumps(Trap()))
    refused(path, tmp_path / "out")
    assert not Path("sprung").exists()


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = {name: array.copy() for name, array in arrays().items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in whole.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": array.dtype.str, "fortran_order": False, "shape": (10**9, *array.shape[1:])}
                )
                file.write(array.tobytes())
    refused(path, tmp_path / "out")


def test_a_run_with_images_too_small_leaves_nothing(tmp_path: Path) -> None:
    config = config_of(saved(tmp_path, **arrays(shape=(15, 30))), tmp_path / "out")
    with pytest.raises(ValueError, match=r"model=cnn2c needs images of at least 16 x 16 .*data set's have 15 x 30"):
        run_all.run_all([config])
    assert not (tmp_path / "out").exists()
