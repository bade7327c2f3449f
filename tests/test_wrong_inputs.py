"""Damaged data files and invalid values: refused by name before any work, and nothing is left behind."""

import gzip
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from called import call

from lossbench.config.options import DatasetConfig
from lossbench.config.registry import MODELS
from lossbench.config.run import Config, Precision, Runtime, Schedule
from lossbench.data import published
from lossbench.data.cifar10 import Cifar10
from lossbench.data.mnist_type import MnistType
from lossbench.data.prepared import prepare
from lossbench.data.published import SOURCES
from lossbench.losses.sml import Sml
from lossbench.models.build import build_model, check_shape
from lossbench.models.cnn2c import Cnn2c
from lossbench.models.cnn5c import Cnn5c, Padding
from lossbench.sweep.run_all import run_all
from lossbench.training.fit import choose_device

SETS: dict[str, DatasetConfig] = {
    "mnist": MnistType("mnist"),
    "fmnist": MnistType("fmnist"),
    "kmnist": MnistType("kmnist"),
    "cifar10": Cifar10(),
}
FILES = [(name, file) for name, source in SOURCES.items() for file in source.digests]


def fake(name: str) -> dict[str, bytes]:
    """Files of a tiny data set in the published format."""
    random = np.random.default_rng(0)
    files = {}
    for file in SOURCES[name].digests:
        labels = random.permutation(20) % 10
        if name == "cifar10":
            pixels = random.integers(256, size=(20, 3072), dtype=np.uint8)
            files[file] = pickle.dumps({"data": pixels, "labels": labels.tolist()})
        elif "images" in file:
            files[file] = bytes(16) + random.integers(256, size=20 * 28 * 28, dtype=np.uint8).tobytes()
        else:
            files[file] = bytes(8) + labels.astype(np.uint8).tobytes()
    return files


def run_of(dataset: DatasetConfig, folder: Path) -> Config:
    runtime = Runtime(
        device="cpu", output_dir=str(folder / "out"), data_dir=str(folder / "data"), num_threads=1, tensorboard=False
    )
    return Config(dataset, Cnn2c(), Sml(), Schedule(epochs=1, batch_size=16), runtime=runtime)


@pytest.fixture(params=[False, True], ids=["raw", "gzipped"])
def packed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def publish(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a fake data set in the place of a published one; gives the folder of its files."""

    def place(name: str) -> Path:
        files, source = fake(name), SOURCES[name]
        digests = {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        monkeypatch.setitem(SOURCES, name, replace(source, digests=digests))
        monkeypatch.setattr(f"torchvision.datasets.{source.torchvision}", Mock(side_effect=OSError("no network")))
        folder = tmp_path / "data" / source.folder
        folder.mkdir(parents=True)
        for file, content in files.items():
            path = folder / (f"{file}.gz" if packed else file)
            path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        return folder

    return place


def refusal(name: str, folder: Path) -> str:
    """What a run says that must be refused, once it is known that it left nothing."""
    with pytest.raises(ValueError, match="expected") as caught:
        run_all([run_of(SETS[name], folder)])
    assert not (folder / "out").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_unpacked(packed: bytes, other: bytes) -> bool:
    try:
        return gzip.decompress(packed) == gzip.decompress(other)
    except (OSError, EOFError, zlib.error):
        return False


def damages(content: bytes, seed: int, packed: bool) -> Iterator[tuple[str, bytes]]:
    """A byte changed at five random places and at both ends, both ends cut off, and nothing at all."""
    for place in [0, len(content) - 1, *np.random.default_rng(seed).integers(len(content), size=5)]:
        altered = content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        if not packed or not same_unpacked(altered, content):  # gzip's header holds a date and a name
            yield f"byte {place}", altered
    for length in (1, len(content) // 2, len(content) - 1):
        yield f"the first {length} bytes", content[:length]
        yield f"the last {length} bytes", content[-length:]
    yield "nothing", b""
    yield "more", content + b"more"


@pytest.mark.parametrize(("name", "file"), FILES)
def test_every_damage_of_every_file_is_refused_by_name(
    name: str, file: str, packed: bool, publish: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = publish(name)
    path = folder / (f"{file}.gz" if packed else file)
    whole = path.read_bytes()
    for damage, content in damages(whole, FILES.index((name, file)), packed):
        path.write_bytes(content)
        said = refusal(name, tmp_path)
        assert said.startswith(f"{path} "), damage
        digest = SOURCES[name].digests[file]
        assert said.endswith(
            f"expected SHA-256 {digest[:12]}... unpacked; remove it, and the next run downloads it again"
        )
    for other in folder.iterdir():
        if other != path:
            shutil.copy(other, path)
            assert refusal(name, tmp_path).startswith(f"{path} is not the published file: it holds ")
    path.unlink()
    path.mkdir()
    assert refusal(name, tmp_path).startswith(f"{path} cannot be read (Is a directory), ")
    path.rmdir()
    path.write_bytes(whole)
    assert prepare(SETS[name], run_of(SETS[name], tmp_path).runtime).exists()


@pytest.mark.parametrize("name", SETS)
def test_a_file_that_may_not_be_read_is_refused_by_name(
    name: str, publish: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in sorted(publish(name).iterdir()):
        read = published.read_file

        def forbidden(asked: Path, path: Path = path, read: Callable[[Path], bytes] = read) -> bytes:
            if asked == path:
                raise PermissionError(13, "Permission denied", str(asked))
            return read(asked)

        with monkeypatch.context() as patched:
            patched.setattr(published, "read_file", forbidden)
            assert refusal(name, tmp_path).startswith(f"{path} cannot be read (Permission denied), expected SHA-256 ")


@pytest.mark.parametrize("name", SETS)
def test_a_missing_file_is_named_with_the_way_out(name: str, publish: Callable[[str], Path], tmp_path: Path) -> None:
    folder = publish(name)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(ValueError, match=r"the download failed \(no network\); put the published") as caught:
            run_all([run_of(SETS[name], tmp_path)])
        assert str(folder) in str(caught.value)
        assert not (tmp_path / "out").exists()
        path.write_bytes(content)


def test_a_data_folder_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for place in ("nowhere", "file", "file/below"):
        runtime = replace(run_of(MnistType(), tmp_path).runtime, data_dir=str(tmp_path / place))
        with pytest.raises(ValueError, match=r"^runtime\.data_dir must be an existing folder, got .*create it"):
            run_all([replace(run_of(MnistType(), tmp_path), runtime=runtime)])
        monkeypatch.setenv("LOSSBENCH_DATA", str(tmp_path / place))
        with pytest.raises(ValueError, match=r"^LOSSBENCH_DATA must be an existing folder, got .*create it"):
            prepare(MnistType(), replace(runtime, data_dir=None))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


REAL = Path(os.environ.get("LOSSBENCH_DATA", "data")) / SOURCES["mnist"].folder


@pytest.mark.long
@pytest.mark.parametrize("file", SOURCES["mnist"].digests)
def test_damages_of_the_real_mnist(file: str, tmp_path: Path) -> None:
    real = {
        name: path for name in SOURCES["mnist"].digests for path in (REAL / f"{name}.gz", REAL / name) if path.exists()
    }
    if len(real) < 4:
        pytest.skip("LOSSBENCH_DATA has no MNIST")
    folder = tmp_path / "data" / SOURCES["mnist"].folder
    folder.mkdir(parents=True)
    for path in real.values():
        (folder / path.name).symlink_to(path.resolve())
    path, whole = folder / real[file].name, real[file].read_bytes()
    path.unlink()
    for damage, content in damages(whole, 7, path.suffix == ".gz"):
        path.write_bytes(content)
        assert refusal("mnist", tmp_path).startswith(f"{path} "), damage


REFUSED = [
    ("train", "schedule.lr=0", "schedule.lr must be > 0 and finite, got 0.0"),
    ("train", "schedule.lr=nan", "schedule.lr must be > 0 and finite, got nan"),
    ("train", "schedule.lr=inf", "schedule.lr must be > 0 and finite, got inf"),
    ("train", "schedule.epochs=0", "schedule.epochs must be >= 1, got 0"),
    (
        "train",
        "dataset=digits schedule.batch_size=1498",
        "schedule.batch_size must be <= 1497, the training samples, got 1498",
    ),
    (
        "train",
        "dataset=digits dataset.num_train=9 schedule.batch_size=10",
        "schedule.batch_size must be <= 9, the training samples, got 10",
    ),
    ("train", "dataset=digits dataset.num_train=1498", "dataset.num_train must be <= 1497 for digits, got 1498"),
    ("train", "dataset.num_train=0", "dataset.num_train must be null or >= 1, got 0"),
    ("train", "loss=lgl_inr loss.beta=-1", "loss.beta must be >= 0 and finite, got -1.0"),
    ("train", "runtime.device=tpu", "runtime.device must be auto, cpu, cuda or cuda:<n>, got tpu"),
    ("train", "runtime.device=cuda", "runtime.device=cuda: no CUDA device is available; use runtime.device=cpu"),
    ("train", "schedule.precision=tf32", "schedule.precision=tf32 needs a CUDA device; use fp32 or bf16 on a CPU"),
    ("train", "seed=-1", "seed must be in 0..2147483647, got -1"),
    (
        "train",
        "schedule.milestones=[50,75]",
        "schedule.milestones must be rising fractions of the epochs, each in (0, 1), got [50.0, 75.0]",
    ),
    ("train", "runtime.num_threads=100000", "runtime.num_threads must be null or in 1..1024, got 100000"),
    (
        "train",
        "dataset=digits dataset.image_shape=[1,15,28]",
        "model=cnn2c needs images of at least 16 x 16 pixels, but the data set's have 15 x 28; enlarge them, or choose "
        "another network",
    ),
    (
        "train",
        "runtime.data_dir=nowhere",
        "runtime.data_dir must be an existing folder, got nowhere; create it, and the published files are downloaded "
        "into it",
    ),
    (
        "train",
        "dataset=digits runtime.output_dir=file",
        "runtime.output_dir must be a folder, got file, but file is none; choose another path",
    ),
    (
        "train",
        "dataset=digits runtime.output_dir=file/below/it",
        "runtime.output_dir must be a folder, got file/below/it, but file is none; choose another path",
    ),
    ("train", "-m seed=range(3,3)", "the sweep holds no run: one of its ranges or globs is empty"),
    ("profile_run", "dataset=digits schedule.batch_size=2000", "schedule.batch_size must be <= 1497"),
    ("profile_run", "runtime.output_dir=file", "runtime.output_dir must be a folder, got file"),
    ("reproduce", "runtime.output_dir=file", "runtime.output_dir must be a folder, got file"),
    ("reproduce", "seeds=0", "seeds must be null or >= 1, got 0"),
    ("report", "runtime.output_dir=file", "runtime.output_dir must be a folder, got file"),
]


@pytest.mark.parametrize(("script", "line", "sentence"), REFUSED, ids=lambda part: str(part))
def test_a_value_that_cannot_be_is_one_sentence(
    script: str,
    line: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOSSBENCH_DATA", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *line.split()])
    with pytest.raises(SystemExit) as ended:
        call(script)
    output, errors = capsys.readouterr()
    assert ended.value.code == 1
    assert errors.startswith(f"lossbench: {sentence}")
    assert errors.count("\n") == 1
    assert output == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(ValueError, match=rf"^runtime\.output_dir must be a writable folder, .*{tmp_path} is read-only"):
        run_all([run_of(MnistType(), tmp_path)])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"^runtime\.output_dir must be a folder, .*out is none"):
        run_all([run_of(MnistType(), tmp_path)])


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"^runtime\.device=cuda:2: there are only 2 CUDA devices"):
        choose_device("cuda:2", Precision.fp32)


SMALLEST = [
    (Cnn2c(), 16),
    *((Cnn5c(padding=padding), 28) for padding in Padding if padding is not Padding.same_adaptive),
    (Cnn5c(padding=Padding.same_adaptive), 4),
    (MODELS["resnet18"].options(), 9),
    (MODELS["mobilenetv2"].options(), 9),
]


@pytest.mark.parametrize(("model", "side"), SMALLEST, ids=str)
def test_images_too_small_for_a_network_are_refused_and_no_others(model: Any, side: int) -> None:
    for shape in ((1, side, side + 5), (3, side + 5, side)):
        check_shape(model, shape)
        network = build_model(model, shape, num_classes=3, seed=0).train()
        assert network(torch.zeros(1, *shape)).shape == (1, 3)
    for shape in ((1, side - 1, 40), (1, 40, side - 1)):
        with pytest.raises(ValueError, match=f"^model={model.name} needs images of at least {side} x {side} pixels"):
            check_shape(model, shape)
    with pytest.raises((RuntimeError, ValueError)):
        build_model(model, (1, side - 1, side - 1), num_classes=3, seed=0).train()(
            torch.zeros(1, 1, side - 1, side - 1)
        )


def test_make_takes_paths_with_a_space(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parents[1] / "Makefile", tmp_path)
    python, own = tmp_path / "a b" / "python3", tmp_path / ".venv" / "bin" / "python"
    for path in (python, own):
        path.parent.mkdir(parents=True)
        path.write_text("""#!/bin/sh\ntest "$1" = -c || { printf '<%s>' "$0" "$@"; exit 3; }\n""")
        path.chmod(0o755)
    own.rename(tmp_path / "own")
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()

    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}

    def said(*words: str) -> str:
        done = subprocess.run(["make", *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        return done.stdout

    assert f"<{python}><-m><venv><.venv>" in said("setup", f"PYTHON={python}")
    (tmp_path / "own").rename(own)
    (tmp_path / ".venv" / "ready").touch()
    for target in ("report", "reproduce-tables"):
        assert said(target, "RESULTS=/a b/c").endswith("<results_dir=/a b/c>")
