"""Failing runs: what is reported, what is kept, and that other runs continue."""

import os
import pickle
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from made_runs import config, contents, diverged, finished

from lossbench.config.run import Config, Runtime
from lossbench.data import npz_file
from lossbench.data.load import load_data
from lossbench.data.mnist_type import MnistType
from lossbench.data.prepared import prepare
from lossbench.runs import inspect
from lossbench.runs.folder import Run, Status, open_run
from lossbench.runs.records import own_records
from lossbench.sweep import run_all as sweep
from lossbench.sweep.run_all import run_all
from lossbench.system import files
from lossbench.system.files import NotAFileError, sha256_of, write_bytes


def small(folder: Path, seed: int = 0) -> Config:
    """A run of two epochs that takes a second."""
    made = config(folder, seed)
    made.dataset.num_train, made.schedule.epochs, made.schedule.batch_size = 64, 2, 32
    made.runtime = Runtime("cpu", str(folder), num_threads=1, parallel=1, tensorboard=False)
    return made


def half_done(made: Config) -> Run:
    """The run of a config after its first epoch."""

    def stop(epoch: int, fraction: float, line: str) -> None:
        if line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep.fit(made, open_run(made), stop)
    return open_run(made)


class Payload:
    """What a stranger's checkpoint would do when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_checkpoint_from_elsewhere_executes_no_code(tmp_path: Path) -> None:
    made = small(tmp_path / "outputs")
    run, mark = open_run(made), tmp_path / "mark"
    run.start(made)
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()  # so it would
    mark.rmdir()
    torch.save(Payload(mark), run.folder / "checkpoint.pt")
    plain = pickle.dumps(Payload(mark))
    for content in ((run.folder / "checkpoint.pt").read_bytes(), plain, b"", b"noise", plain[:9]):
        run.write_checkpoint(content)
        summary = run_all([made])
        assert (
            "checkpoint.pt is no checkpoint of this run; remove it, and the run starts afresh" in summary.failed[run.id]
        )
        assert not mark.exists()
        assert run.read_checkpoint() == content  # it is the user's to remove
    (run.folder / "checkpoint.pt").unlink()
    assert run_all([made]).finished == [run.id]


def test_out_of_gpu_memory_is_a_sentence_and_the_others_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = sweep.fit

    def full(config: Config, *rest: Any) -> dict[str, Any]:
        if config.seed == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB. GPU 0 has ...")
        return fit(config, *rest)

    monkeypatch.setattr(sweep, "fit", full)
    first, second = small(tmp_path), small(tmp_path, seed=1)
    summary = run_all([first, second])
    said = "out of GPU memory (CUDA out of memory); fewer runtime.runs_per_gpu or a smaller batch may fit"
    assert summary.failed == {open_run(first).id: said}
    assert summary.finished == [open_run(second).id]
    assert open_run(first).status() is Status.failed
    assert open_run(first).failure() == said
    assert open_run(first).read_divergence() is None


def test_a_diverging_run_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    made = small(tmp_path)
    made.schedule.epochs, made.schedule.lr, made.schedule.milestones = 4, 1e-3, [0.5]
    good = small(tmp_path, seed=1)
    step, run = sweep.fit.__globals__["train_step"], open_run(made)

    def poisoned(state: Any, plan: Any) -> None:
        step(state, plan)
        if state.optimizer._lr < 1e-3:  # from the third epoch on
            next(state.model.parameters()).data.fill_(float("nan"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sweep.fit.__globals__, "train_step", poisoned)
        summary = run_all([made, good])
    assert summary.finished == [open_run(good).id]
    assert "epoch 3, step 2: the loss sml is nan at lr 0.0001; the last finished epoch is 2" in summary.failed[run.id]
    content = run.read_checkpoint()
    assert content is not None
    assert len(run.metrics(2)) == 2
    assert run.read_divergence() is not None
    assert "Traceback" in (run.folder / "failure.txt").read_text()
    assert run_all([made]).finished == [run.id]  # mended, it goes on from there
    assert run.read_divergence() is None
    assert (run.folder / "train.log").read_text().count(": epoch 3 of 4") == 1


def test_prepared_data_do_not_need_the_published_files(tmp_path: Path) -> None:
    source = Path(os.environ.get("LOSSBENCH_DATA", "data")) / "MNIST"
    if not source.exists():
        pytest.skip("LOSSBENCH_DATA has no MNIST")
    runtime = Runtime("cpu", str(tmp_path / "outputs"), str(tmp_path / "data"))
    shutil.copytree(source, tmp_path / "data" / "MNIST")
    prepare(MnistType("mnist"), runtime)
    shutil.rmtree(tmp_path / "data")
    assert len(load_data(MnistType("mnist"), runtime, torch.device("cpu")).train.labels) == 60_000
    shutil.rmtree(tmp_path / "outputs")


def piped(path: Path) -> None:
    """A named pipe in a file's place; whoever opens it to read waits for a writer."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["result.json", "arrays.npz", "config.json", "metrics.jsonl", "diverged.json"])
def test_a_pipe_in_a_files_place_is_named_and_not_waited_for(name: str, tmp_path: Path) -> None:
    run = diverged(tmp_path) if name == "diverged.json" else finished(tmp_path)
    whole = finished(tmp_path, seed=1)
    piped(run.folder / name)
    sizes = {entry.id: entry.status for entry in inspect.entries(tmp_path, None)}
    assert set(sizes) == {run.id, whole.id}
    problems = inspect.check(tmp_path, None)[1]
    assert len([problem for problem in problems if f"{run.folder / name} " in problem]) >= 1
    assert set(own_records(tmp_path).records) >= {whole.id}


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.jsonl", "train.log"])
def test_a_pipe_in_a_runs_way_fails_that_run_with_a_sentence(name: str, tmp_path: Path) -> None:
    made = small(tmp_path)
    run = half_done(made)
    piped(run.folder / name)
    summary = run_all([made, small(tmp_path, seed=1)])
    assert f"{run.folder / name} is no regular file; remove it" in summary.failed[run.id]
    assert len(summary.finished) == 1
    assert run.failure() == summary.failed[run.id]


def test_data_in_a_pipe_are_refused(tmp_path: Path) -> None:
    piped(tmp_path / "data.npz")
    piped(tmp_path / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte")
    with pytest.raises(ValueError, match=r"data\.npz cannot be read \(it is no regular file\)"):
        npz_file.read(str(tmp_path / "data.npz"), "0" * 64)
    with pytest.raises(ValueError, match=r"ubyte cannot be read \(it is no regular file\)"):
        load_data(MnistType("mnist"), Runtime("cpu", str(tmp_path), str(tmp_path / "data")), torch.device("cpu"))
    with pytest.raises(NotAFileError, match=r"data\.npz is no regular file; remove it"):
        sha256_of(tmp_path / "data.npz")


@pytest.mark.parametrize("name", ["train.log", "metrics.jsonl"])
def test_a_link_in_the_place_of_a_file_that_grows_is_not_followed(name: str, tmp_path: Path) -> None:
    made, mine = small(tmp_path), tmp_path / "mine.txt"
    run = half_done(made)
    content = (run.folder / name).read_bytes()
    mine.write_bytes(content)
    (run.folder / name).unlink()
    (run.folder / name).symlink_to(mine)
    said = run_all([made]).failed[run.id]
    assert f"{run.folder / name} is a symbolic link, which is not followed; remove it" in said
    assert mine.read_bytes() == content


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"mine")
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 2 * size)
    (tmp_path / f".file.{files._mark()}-{os.getpid()}-{'0' * 8}.tmp").symlink_to(mine)
    write_bytes(tmp_path / "file", b"other")
    assert (mine.read_bytes(), (tmp_path / "file").read_bytes()) == (b"mine", b"other")


@pytest.mark.parametrize("offset_s", [-3600, 0, 3600])
def test_a_failure_is_tried_again_whatever_its_date(offset_s: int, tmp_path: Path) -> None:
    made = small(tmp_path)
    run = open_run(made)
    run.fail("a reason")
    os.utime(run.folder / "failure.txt", (time.time() + offset_s,) * 2)
    assert run_all([made]).finished == [run.id]


def test_what_another_process_failed_at_meanwhile_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = small(tmp_path), small(tmp_path, seed=1)
    fit = sweep.fit

    def meanwhile(*given: Any) -> dict[str, Any]:
        open_run(second).fail("why")
        os.utime(open_run(second).folder / "failure.txt", (0, 0))  # its clock is another one
        return fit(*given)

    monkeypatch.setattr(sweep, "fit", meanwhile)
    summary = run_all([first, second])
    assert (summary.finished, summary.failed) == ([open_run(first).id], {open_run(second).id: "why"})


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_whose_lock_was_removed_stops_and_writes_nothing_more(
    replaced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, fit = small(tmp_path), sweep.fit
    made.schedule.epochs = 3
    run = open_run(made)
    kept: list[dict[str, bytes]] = []

    def disturbed(config: Config, run: Run, on_step: Any) -> dict[str, Any]:
        def watched(epoch: int, fraction: float, line: str) -> None:
            on_step(epoch, fraction, line)
            if line and epoch == 1:
                shutil.rmtree(run.folder / ".claim")
                if replaced:
                    (run.folder / ".claim").mkdir()
                    (run.folder / ".claim" / "1").touch()
                kept.append(contents(run.folder))

        return fit(config, run, watched)

    with monkeypatch.context() as patched:
        patched.setattr(sweep, "fit", disturbed)
        summary = run_all([made])
    assert summary.failed[run.id].startswith(f"{run.folder / '.claim'} was removed or replaced during the run, so ")
    assert [contents(run.folder)] == kept  # another process may have gone on
    assert run_all([made]).finished == [run.id]
    assert (run.folder / "train.log").read_text().count(": epoch 2 of 3") == 1
