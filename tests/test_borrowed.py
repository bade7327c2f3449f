"""Calls on a machine without network: files arrive complete, a step is done once and stopped with its children."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lossbench.config.run import Config, Runtime, Schedule
from lossbench.data.digits import Digits
from lossbench.data.published import SOURCES
from lossbench.losses.lgl_inr import LglInr
from lossbench.models.cnn5c import Cnn5c
from lossbench.system import machine


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """borrowed.py with its folders below tmp_path."""
    import borrowed

    for name, place in (("CARRY", "carry"), ("DATA", "data"), ("NOTES", "outputs/borrowed.json")):
        monkeypatch.setattr(borrowed, name, tmp_path / place)
    monkeypatch.setattr(borrowed, "STOP_S", 3)
    return borrowed


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import carry

    return carry


def published(folder: Path) -> dict[str, bytes]:
    """Files of the published names, invented, of sizes that do not shrink; every third is there gzipped."""
    contents = {}
    for number, (source, name) in enumerate((one, name) for one in SOURCES.values() for name in one.digests):
        path = folder / source.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = os.urandom(1200 + 100 * (number % 4))
        contents[f"{source.folder}/{name}"] = content
        if number % 3:
            path.write_bytes(content)
        else:
            path.with_name(f"{name}.gz").write_bytes(gzip.compress(content))
    return contents


def test_lots_arrive_one_by_one_and_complete(here: ModuleType, far: ModuleType, tmp_path: Path) -> None:
    contents = published(tmp_path / "here")
    lots = here.pack(tmp_path / "here", tmp_path / "carry", 7000)
    assert set(lots) == set(contents)
    assert {number for name, number in lots.items() if name.startswith("FashionMNIST")} == {1}  # repeat.py needs it
    for number in range(1, max(lots.values()) + 1):
        sizes = [path.stat().st_size for path in (tmp_path / "carry" / f"lot{number}").rglob("*.xz")]
        assert 0 < sum(sizes) <= 7000
    with pytest.raises(SystemExit, match="must be copied along"):
        far.take_lots()
    (tmp_path / "carry" / "site").mkdir()
    (tmp_path / "carry" / "lots.json").write_text(json.dumps(lots))
    waiting = {number: (tmp_path / f"lot{number}") for number in set(lots.values())}
    for number, place in waiting.items():
        (tmp_path / "carry" / f"lot{number}").rename(place)
    for number, place in waiting.items():
        place.rename(tmp_path / "carry" / f"lot{number}")
        missing = far.take_lots()
        assert set(missing.values()) == {other for other in waiting if other > number}
    for name, content in contents.items():
        assert (tmp_path / "data" / name).read_bytes() == content
    assert not list((tmp_path / "carry").rglob("*.xz"))  # they are not kept twice


def test_a_file_that_is_not_there_is_named(here: ModuleType, tmp_path: Path) -> None:
    published(tmp_path / "here")
    (tmp_path / "here" / "cifar-10-batches-py" / "data_batch_2").unlink()
    with pytest.raises(SystemExit, match="data_batch_2 is missing"):
        here.pack(tmp_path / "here", tmp_path / "carry", 5000)


def test_the_copied_packages_are_complete(here: ModuleType, tmp_path: Path) -> None:
    for name in here.PACKAGES:
        here.copy_package(name, tmp_path / "site")
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import antlr4, hydra, omegaconf
with hydra.initialize_config_dir(sys.argv[2], version_base="1.3"):
    hydra.compose("plain", ["size=${other}", "other=3"])
print(*(module.__file__ for module in (antlr4, hydra, omegaconf)))
"""
    (tmp_path / "plain.yaml").write_text("size: 1\nother: 2\n")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "site", tmp_path], capture_output=True, text=True, check=True
    )
    assert all(Path(place).is_relative_to(tmp_path / "site") for place in done.stdout.split())


def test_a_step_is_done_once_and_only_if_there_is_time(
    far: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    command = ["-c", "import os; print(os.environ['PYTHONPATH']); print(os.environ['LOSSBENCH_DATA'])"]
    far.Call(9, out).once("late", command, 600)
    assert "late: left for a later call" in capsys.readouterr().out
    for _ in range(2):
        far.Call(9, out).once("step", command, 60)
    assert capsys.readouterr().out.count("step: done after") == 2
    path, place = (out / "step.log").read_text().splitlines()  # once
    assert path.startswith(f"{tmp_path / 'carry' / 'site'}{os.pathsep}")
    assert place == str(tmp_path / "data")
    far.Call(9, out).once("broken", ["-c", "raise SystemExit(3)"], 60)
    assert "broken: FAILED with code 3" in capsys.readouterr().out
    assert set(json.loads(far.NOTES.read_text())) == {"step", "broken"}


def test_a_call_does_what_its_data_allow_and_without_graphs_where_their_tests_fail(
    far: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[list[str]] = []

    def do(call: object, name: str, command: list[str], limit_s: float) -> str:
        done.append([name, *command[1:]])
        (tmp_path / "out" / "records.zip").write_bytes(b"")
        return ended.get(name, "done")

    def call(*missing: str, more: Sequence[str] = ()) -> list[str]:
        done.clear()
        monkeypatch.setattr(far, "take_lots", lambda: dict.fromkeys(missing, 2))
        monkeypatch.setattr(sys, "argv", ["borrowed.py", "--out", str(tmp_path / "out"), *more])
        far.main()
        return [name for name, *_ in done]

    ended = {"graphs": "FAILED with code 1 after 9 s", "tests": "FAILED with code 1 after 9 s"}
    monkeypatch.setattr(far.Call, "do", do)
    assert call("FashionMNIST/raw/x", "cifar-10-batches-py/x") == ["graphs", "tests", "reference", "export"]
    assert [command[-1] for command in done[:2]] == ["recorded or replayed", "not (recorded or replayed)"]
    assert "runtime.download=false" in done[2]
    assert call("cifar-10-batches-py/x", more=["--benchmark"]) == ["repeat", "formats-mnist", "reference", "export"]
    assert done[1][-3:] == ["--models", "cnn2c", "cnn5c"]
    assert "1 files of the lots [2] are missing" in capsys.readouterr().out
    assert call(more=["--benchmark"]) == ["formats-cifar10", "networks", "reference", "export"]
    assert [command[-1] for command in done[:2]] == ["mobilenetv2", "networks"]
    assert "runtime.cuda_graphs=false" in done[2]
    for graphs in ("done", "FAILED, out of time after 120 s", "left for a later call"):
        ended["graphs"] = graphs
        far.NOTES.write_text(
            json.dumps({"graphs": graphs, "tests": ended["tests"], **dict.fromkeys(("repeat", *far.FORMATS), "done")})
        )
        assert call() == ["reference", "export"]
        assert "runtime.cuda_graphs=false" not in done[0]


@pytest.mark.long
def test_the_default_memory_format_is_one_and_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import runners

    schedule = Schedule(batch_size=32, momentum=0.5)
    runtime = Runtime("cpu", str(tmp_path), tensorboard=False)
    config = Config(Digits(num_train=64), Cnn5c(), LglInr(), schedule, 0, runtime)
    ours, other = runners.Runner(config, 1), runners.Runner(config, 1, runners.default_format)
    for runner, last in ((ours, True), (other, False)):
        runner()
        weight = next(parameter for name, parameter in runner.state.model.named_parameters() if name == "3.weight")
        images = runner.state.data.inputs(runner.state.data.train.images[:2].repeat(1, 3, 1, 1))
        (velocity,) = (each for each in runner.state.optimizer.state() if each.shape == weight.shape)
        for tensor in (weight, images, velocity):
            assert tensor.is_contiguous(memory_format=torch.channels_last) == last, tensor.shape
            assert tensor.is_contiguous() != last
    assert other.state.loss_sum.item() == pytest.approx(ours.state.loss_sum.item(), rel=1e-4)


def test_records_are_never_carried_under_a_commit_that_is_not_theirs(
    here: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "CARRY", tmp_path / "carry")
    monkeypatch.setattr(here, "commit", lambda: "abc-dirty")
    monkeypatch.setattr(sys, "argv", ["carry.py"])
    with pytest.raises(SystemExit, match="commit them first"):
        here.main()
    assert not (tmp_path / "carry").exists()


@pytest.mark.long
def test_a_step_out_of_time_goes_with_all_that_it_started(far: ModuleType, tmp_path: Path) -> None:
    marker = tmp_path / "alive"
    child = f"""
import pathlib, time
while True:
    pathlib.Path({str(marker)!r}).write_text(str(time.time()))
    time.sleep(0.05)
"""
    parent = f"""
import signal, subprocess, sys, time
def asked(*_):
    print("asked")
    sys.exit()
signal.signal(signal.SIGTERM, asked)
subprocess.Popen([sys.executable, "-c", {child!r}])
time.sleep(60)
"""
    ended = far.Call(9, tmp_path).do("stuck", ["-c", parent], 5)
    assert ended.startswith("FAILED, out of time after")
    assert (tmp_path / "stuck.log").read_text() == "asked\n"
    last = marker.read_text()
    time.sleep(0.3)
    assert marker.read_text() == last


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, records = tmp_path / "repo" / "src" / "environment.py", tmp_path / "repo" / "results" / "records.jsonl"
    for path in (module, records):
        path.parent.mkdir(parents=True)
        path.write_text("as committed")
    monkeypatch.delenv("LOSSBENCH_COMMIT", raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(machine, "__file__", str(module))
    assert machine.commit.__wrapped__() is None
    for words in (["init"], ["add", "."], ["commit", "-m", "all"]):
        git(tmp_path / "repo", *words)
    clean = machine.commit.__wrapped__()
    assert clean is not None
    assert len(clean) == 40
    records.write_text("one more")
    assert machine.commit.__wrapped__() == clean
    module.write_text("other code")
    assert machine.commit.__wrapped__() == f"{clean}-dirty"


def test_a_copy_without_history_takes_its_commit_from_the_environment(
    far: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "carry").mkdir()
    (tmp_path / "carry" / "commit").write_text("abc123\n")
    told = far.Call(9, tmp_path).environment["LOSSBENCH_COMMIT"]
    monkeypatch.setenv("LOSSBENCH_COMMIT", told)
    assert machine.commit.__wrapped__() == "abc123"
    monkeypatch.delenv("LOSSBENCH_COMMIT")
    assert machine.commit.__wrapped__() != "abc123"


def test_a_lot_gets_what_the_repository_and_the_packages_leave(
    here: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, site = tmp_path / "repo", tmp_path / "repo" / "carry" / "site"
    site.mkdir(parents=True)
    for path, size in ((repo / "code", 3000), (repo / "arrays", 50_000), (site / "package", 200)):
        path.write_bytes(bytes(size))
    for words in (["init"], ["add", "code", "arrays"]):
        git(repo, *words)
    monkeypatch.setattr(here, "SPARE", 100)
    monkeypatch.setattr(here, "LEAST_SPACE", 1000)
    assert here.left_for_a_lot(repo, site, 60_000) == 60_000 - 53_000 - 200 - 100
    with pytest.raises(SystemExit, match="git sparse-checkout set"):
        here.left_for_a_lot(repo, site, 54_000)
    (repo / "arrays").unlink()  # as a sparse checkout leaves it out
    assert here.left_for_a_lot(repo, site, 54_000) == 54_000 - 3000 - 200 - 100
