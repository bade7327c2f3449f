"""Data sets: verified files, fixed splits, caches, normalisation, and the order of an epoch."""

import gzip
import hashlib
import os
import shutil
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor

from lossbench.config.options import DatasetConfig, Normalization, Sizes
from lossbench.config.run import Runtime
from lossbench.data.cifar10 import Cifar10
from lossbench.data.digits import Digits
from lossbench.data.load import Data, batch, load_data, plan_epoch
from lossbench.data.mnist_type import MnistType
from lossbench.data.published import SOURCES, data_dir
from lossbench.data.sizes import sizes
from lossbench.data.subsets import stratified_permutation

CPU = torch.device("cpu")
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "altered": lambda content: flipped(content, len(content) // 4),  # a pixel, or what it is packed in
    "altered index": lambda content: flipped(content, len(content) - 6),  # of the archive that the cache is
}


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def load(config: DatasetConfig, folder: Path) -> Data:
    return load_data(config, Runtime(output_dir=str(folder / "out"), data_dir=str(folder / "data")), CPU)


def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception] = OSError) -> dict[str, bytes]:
    """A tiny data set in the published format, its digests in the place of MNIST's; nothing can be downloaded."""
    random = np.random.default_rng(0)
    files = {}
    for part, num in (("train", 20), ("t10k", 10)):
        pixels, labels = random.integers(256, size=(num, 28, 28), dtype=np.uint8), np.arange(num, dtype=np.uint8) % 10
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">4i", 2051, num, 28, 28) + pixels.tobytes()
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">2i", 2049, num) + labels.tobytes()
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], digests=digests))
    monkeypatch.setattr("torchvision.datasets.MNIST", Mock(side_effect=error("no network")))
    (folder / "data/MNIST/raw").mkdir(parents=True)
    return files


def write(folder: Path, files: dict[str, bytes], packed: bool = False) -> None:
    for name, content in files.items():
        path = folder / "data/MNIST/raw" / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gzipped"])
def test_published_files_are_read(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = publish(tmp_path, monkeypatch)
    write(tmp_path, files, packed)
    loaded = load(MnistType(), tmp_path)
    assert loaded.train.images.shape == (20, 1, 28, 28)
    for split, part in ((loaded.train, "train"), (loaded.test, "t10k")):
        assert split.images.dtype == torch.uint8
        assert split.images.numpy().tobytes() == files[f"{part}-images-idx3-ubyte"][16:]
        assert bytes(split.labels.tolist()) == files[f"{part}-labels-idx1-ubyte"][8:]


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_file_is_named(damage: str, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, publish(tmp_path, monkeypatch), packed)
    path = tmp_path / "data/MNIST/raw" / (IDX_FILES[2] + (".gz" if packed else ""))
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path} .*remove it"):
        load(MnistType(), tmp_path)
    assert not list(tmp_path.glob("out/cache/*"))


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_missing_files_that_cannot_be_fetched_name_the_way_out(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = publish(tmp_path, monkeypatch, error)
    write(tmp_path, {name: files[name] for name in IDX_FILES[:3]})
    with pytest.raises(ValueError, match=r"mnist: .*MNIST/raw .*no network.*runtime\.data_dir.*LOSSBENCH_DATA"):
        load(MnistType(), tmp_path)
    assert len(list(tmp_path.glob("data/MNIST/raw/*"))) == 3


def test_without_download_missing_files_are_refused_and_nothing_is_asked_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = publish(tmp_path, monkeypatch)
    write(tmp_path, {name: files[name] for name in IDX_FILES[:3]})

    def fetch(*args: object, **kwargs: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr("torchvision.datasets.MNIST", fetch)
    runtime = Runtime(output_dir=str(tmp_path / "out"), data_dir=str(tmp_path / "data"), download=False)
    with pytest.raises(
        ValueError, match=r"^mnist: .*MNIST/raw lacks .*runtime\.download=false .*; put .*LOSSBENCH_DATA$"
    ):
        load_data(MnistType(), runtime, CPU)
    write(tmp_path, files)
    assert load_data(MnistType(), runtime, CPU).num_classes == 10


def test_missing_files_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = publish(tmp_path, monkeypatch)

    def fetch(root: str, train: bool, download: bool) -> None:
        assert download
        assert root == str(tmp_path / "data")
        write(tmp_path, files)

    monkeypatch.setattr("torchvision.datasets.MNIST", fetch)
    assert load(MnistType(), tmp_path).train.labels.tolist() == [*range(10), *range(10)]


def test_data_dir_comes_from_the_option_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSBENCH_DATA", "elsewhere")
    assert [data_dir(Runtime(data_dir="here")), data_dir(Runtime())] == [Path("here"), Path("elsewhere")]
    monkeypatch.delenv("LOSSBENCH_DATA")
    assert data_dir(Runtime()) == Path("data")


def test_the_cache_is_written_once_and_then_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, publish(tmp_path, monkeypatch))
    first = load(MnistType(), tmp_path)
    (cache,) = (tmp_path / "out/cache").glob("*.npz")
    written = cache.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "data")
    second = load(MnistType(num_train=20), tmp_path)
    assert list((tmp_path / "out/cache").glob("[!.]*")) == [cache]
    assert cache.stat().st_mtime_ns == written
    assert torch.equal(first.test.images, second.test.images)
    assert torch.equal(first.train.images[stratified_permutation(first.train.labels.numpy())], second.train.images)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_again(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, publish(tmp_path, monkeypatch))
    first = load(MnistType(), tmp_path)
    (cache,) = (tmp_path / "out/cache").glob("*.npz")
    whole = cache.read_bytes()
    cache.write_bytes(DAMAGES[damage](whole))
    again = load(MnistType(), tmp_path)
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.test.labels, again.test.labels)
    assert len(cache.read_bytes()) == len(whole)


def test_a_cache_without_an_array_is_made_again(tmp_path: Path) -> None:
    first = load(Digits(), tmp_path)
    (cache,) = (tmp_path / "out/cache").glob("*.npz")
    whole = cache.read_bytes()
    with np.load(cache) as file:
        arrays = dict(file)
    for name in arrays:
        np.savez(cache, **{key: array for key, array in arrays.items() if key != name})
        assert torch.equal(load(Digits(), tmp_path).train.images, first.train.images)
        assert cache.read_bytes() == whole
    np.save(cache.with_suffix(".npy"), arrays["train_images"])
    cache.with_suffix(".npy").replace(cache)  # no archive, but numpy reads it
    assert torch.equal(load(Digits(), tmp_path).train.images, first.train.images)
    assert cache.read_bytes() == whole


def test_a_cache_that_holds_other_data_is_made_again(tmp_path: Path) -> None:
    first = load(Digits(), tmp_path)
    (cache,) = (tmp_path / "out/cache").glob("*.npz")
    whole = cache.read_bytes()
    with np.load(cache) as file:
        arrays = dict(file)
    swapped = arrays | {"train_labels": arrays["train_labels"][::-1]}
    np.savez(cache, **swapped)
    assert torch.equal(load(Digits(), tmp_path).train.labels, first.train.labels)
    assert cache.read_bytes() == whole
    load(Digits(image_shape=[1, 8, 8]), tmp_path)
    (other,) = set((tmp_path / "out/cache").glob("*.npz")) - {cache}
    shutil.copy(other, cache)  # whole, and of another data set
    assert load(Digits(), tmp_path).train.images.shape == first.train.images.shape
    assert cache.read_bytes() == whole


def test_a_damaged_cache_is_made_again_by_several_at_once(tmp_path: Path) -> None:
    first = load(Digits(), tmp_path)
    (cache,) = (tmp_path / "out/cache").glob("*.npz")
    for _ in range(5):
        cache.write_bytes(b"damaged")
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: load(Digits(), tmp_path), range(4)))
        assert all(torch.equal(one.train.images, first.train.images) for one in found)
    assert [path.name for path in cache.parent.glob("[!.]*")] == [cache.name]


def test_digits_are_split_once_and_for_all(tmp_path: Path) -> None:
    gray, colour = load(Digits(), tmp_path / "a"), load(Digits(image_shape=[3, 32, 32]), tmp_path / "b")
    assert gray.train.images.shape == (1497, 1, 28, 28)
    assert gray.test.images.shape == (300, 1, 28, 28)
    assert colour.test.images.shape == (300, 3, 32, 32)
    assert sizes(Digits(image_shape=[3, 32, 32])) == Sizes(1497, 300, (3, 32, 32), 10)
    assert sizes(Digits(num_train=70)) == Sizes(70, 300, (1, 28, 28), 10)
    assert gray.train.images.dtype == torch.uint8
    assert (colour.train.images == colour.train.images[:, :1]).all()
    assert torch.equal(gray.train.labels, colour.train.labels)
    assert torch.equal(gray.train.images, load(Digits(), tmp_path / "c").train.images)
    train, test = ({image.numpy().tobytes() for image in split.images} for split in (gray.train, gray.test))
    assert not train & test
    assert gray.train.labels[:10].tolist() == [3, 5, 1, 4, 6, 9, 7, 0, 2, 8]
    both = gray.class_counts + torch.bincount(gray.test.labels)
    assert both.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as scikit-learn has them
    assert ((gray.class_counts - both * 1497 / 1797).abs() <= 1).all()


def test_a_stratified_permutation_has_the_classes_in_proportion_all_along() -> None:
    labels = np.repeat(np.arange(5), 30)
    order = stratified_permutation(labels)
    assert sorted(order) == list(range(150))
    for num in range(1, 151):
        counts = np.bincount(labels[order[:num]], minlength=5)
        assert counts.max() - counts.min() <= 1
    uneven = np.repeat([0, 1], [90, 10])
    for num in (20, 50, 70):
        assert np.bincount(uneven[stratified_permutation(uneven)[:num]])[1] == num // 10


def test_num_train_takes_the_beginning_of_one_order(tmp_path: Path) -> None:
    small, large = load(Digits(num_train=50), tmp_path), load(Digits(num_train=200), tmp_path)
    assert small.train.images.shape[0] == 50
    assert torch.equal(small.train.images, large.train.images[:50])
    assert torch.equal(small.train.labels, large.train.labels[:50])
    assert small.class_counts.sum() == 50
    assert small.class_counts.max() - small.class_counts.min() <= 1
    assert torch.equal(small.test.images, load(Digits(), tmp_path).test.images)
    with pytest.raises(ValueError, match=r"num_train must be <= 1497 .*got 1498"):
        load(Digits(num_train=1498), tmp_path)


def test_validation_holds_out_training_images_and_leaves_the_test_images_alone(tmp_path: Path) -> None:
    whole, split = load(Digits(), tmp_path), load(Digits(num_validation=300), tmp_path)
    assert sizes(Digits(num_validation=300)) == Sizes(1197, 300, (1, 28, 28), 10)
    assert (len(split.train.labels), len(split.test.labels)) == (1197, 300)

    def bag(*images: torch.Tensor) -> list[bytes]:
        return sorted(image.numpy().tobytes() for batch in images for image in batch)

    assert bag(split.train.images, split.test.images) == bag(whole.train.images)  # all of them, each once
    shares = torch.bincount(split.test.labels) - torch.bincount(whole.train.labels) * 300 / 1497
    assert shares.abs().max() <= 1
    again = load(Digits(num_validation=300, num_train=50), tmp_path)
    assert torch.equal(again.test.images, split.test.images)
    assert len(again.train.labels) == 50
    for bad, said in (
        (Digits(num_validation=1497), r"num_validation must be < 1497, got 1497"),
        (Digits(num_validation=300, num_train=1198), r"num_train must be <= 1197 .*got 1198"),
    ):
        with pytest.raises(ValueError, match=said):
            load(bad, tmp_path)


@pytest.mark.parametrize("normalization", Normalization)
def test_normalization_has_the_stated_mean_and_deviation(normalization: Normalization, tmp_path: Path) -> None:
    loaded = load(Digits(num_train=100, normalization=normalization, image_shape=[3, 9, 12]), tmp_path)
    pixels = loaded.train.images.double() / 255
    mean, std = {
        Normalization.mnist: (0.1307, 0.3081),
        Normalization.dataset: (pixels[:, 0].mean(), pixels[:, 0].std(correction=0)),
        Normalization.none: (0.0, 1.0),
    }[normalization]
    inputs = loaded.inputs(loaded.train.images)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(inputs.double(), (pixels - mean) / std, rtol=0, atol=1e-6)


def test_normalization_is_per_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(256, size=(8, 3, 10, 9)) // np.array([1, 2, 4])[:, None, None]
    arrays = {f"{split}_images": images.astype(np.uint8) for split in ("train", "test")}
    arrays |= {f"{split}_labels": np.arange(8, dtype=np.uint8) % 2 for split in ("train", "test")}
    monkeypatch.setattr(Digits, "read", lambda self, runtime: arrays)
    inputs = load(Digits(), tmp_path).inputs(torch.from_numpy(arrays["train_images"])).double()
    torch.testing.assert_close(inputs.mean(dim=(0, 2, 3)), torch.zeros(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3).double(), rtol=0, atol=1e-6)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_only(tmp_path: Path) -> None:
    plain = load(Digits(num_train=60), tmp_path)
    padded = load(Digits(num_train=60, image_shape=[3, 32, 32], augment=True), tmp_path)
    state = torch.get_rng_state()
    plan = plan_epoch(plain, seed=3, epoch=2)
    assert torch.equal(torch.get_rng_state(), state)
    (order,) = plan
    assert sorted(order.tolist()) == list(range(60))
    assert torch.equal(order, plan_epoch(padded, seed=3, epoch=2)[0])
    others = [plan_epoch(plain, seed, epoch) for seed, epoch in ((3, 1), (4, 2), (2, 3))]
    assert not any(torch.equal(plan, other) for other in others)
    inputs, target = batch(plain, plan[:, 10:25])
    assert torch.equal(inputs, plain.inputs(plain.train.images)[order[10:25]])
    assert torch.equal(target, plain.train.labels[order[10:25]])


def crop_and_flip(image: Tensor, padding: int, top: int, left: int, flip: bool) -> Tensor:
    """The window of the image's size at (top, left) of the zero-padded image, mirrored left to right if `flip`."""
    channels, height, width = image.shape
    window = torch.zeros_like(image)
    for channel in range(channels):
        for row in range(height):
            for column in range(width):
                y, x = top + row - padding, left + column - padding
                if 0 <= y < height and 0 <= x < width:
                    window[channel, row, width - 1 - column if flip else column] = image[channel, y, x]
    return window


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_augmentation_equals_a_plain_version(padding: int, tmp_path: Path) -> None:
    loaded = load(Digits(num_train=60, image_shape=[3, 8, 11], augment=True, crop_padding=padding), tmp_path)
    plan = plan_epoch(loaded, seed=1, epoch=5)
    inputs, target = batch(loaded, plan[:, 12:30])
    for i, place in enumerate(range(12, 30)):
        index, top, left, flip = plan[:, place].tolist()
        expected = crop_and_flip(loaded.train.images[index], padding, top, left, bool(flip))
        assert torch.equal(inputs[i], loaded.inputs(expected[None])[0])
        assert target[i] == loaded.train.labels[index]


def test_crops_and_flips_differ_by_epoch_and_cover_their_range(tmp_path: Path) -> None:
    loaded = load(Digits(image_shape=[1, 8, 11], augment=True, crop_padding=2), tmp_path)
    plan, again, other = (plan_epoch(loaded, seed=1, epoch=epoch) for epoch in (1, 1, 2))
    assert torch.equal(plan, again)
    assert all((row != row_of_other).any() for row, row_of_other in zip(plan, other, strict=True))
    for offsets in plan[1:3]:
        counts = torch.bincount(offsets)
        assert len(counts) == 5
        assert counts.min() > 230  # of 1497, 299 expected with a standard deviation of 15
    assert not torch.equal(plan[1], plan[2])
    assert 650 < int(plan[3].sum()) < 850


REAL_SETS = {  # class counts of both splits, first labels of both, mean and standard deviation of the training pixels
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        *([5, 0, 4, 1, 9], [7, 2, 1, 0, 4], [0.1307], [0.3081]),
    ),
    "fmnist": ([6000] * 10, [1000] * 10, [9, 0, 0, 3, 0], [9, 2, 1, 1, 6], [0.2860], [0.3530]),
    "kmnist": ([6000] * 10, [1000] * 10, [8, 7, 0, 1, 4], [2, 9, 3, 8, 3], [0.1918], [0.3483]),
    "cifar10": (
        *([5000] * 10, [1000] * 10, [6, 9, 9, 4, 1], [3, 8, 8, 0, 6]),
        *([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ),
}


@pytest.mark.parametrize("name", REAL_SETS)
def test_real_data(name: str, tmp_path: Path) -> None:
    source = SOURCES[name]
    folder = Path(os.environ.get("LOSSBENCH_DATA", "data")) / source.folder
    if not all((folder / file).exists() or (folder / f"{file}.gz").exists() for file in source.digests):
        pytest.skip(f"LOSSBENCH_DATA has no {source.folder}")
    config = Cifar10() if name == "cifar10" else MnistType(name, normalization=Normalization.dataset)
    loaded = load_data(config, Runtime(output_dir=str(tmp_path)), CPU)
    shutil.rmtree(tmp_path / "cache")  # it is large
    known = sizes(config)
    num_train, num_test, shape = known.num_train, known.num_test, known.shape
    assert loaded.train.images.shape == (num_train, *shape)
    assert loaded.test.images.shape == (num_test, *shape)
    std = 1 / (255 * loaded.scale.flatten())
    mean = -loaded.shift.flatten() * std
    train_counts, test_counts, first_train, first_test, *statistics = REAL_SETS[name]
    assert loaded.class_counts.tolist() == train_counts
    assert torch.bincount(loaded.test.labels).tolist() == test_counts
    assert loaded.train.labels[:5].tolist() == first_train
    assert loaded.test.labels[:5].tolist() == first_test
    torch.testing.assert_close((mean, std), tuple(map(torch.tensor, statistics)), rtol=0, atol=6e-5)
