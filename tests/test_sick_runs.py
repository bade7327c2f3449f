"""Runs that cannot go on: what is said, what is kept, and that the others go on."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_runs import config

from lossbench import sweep
from lossbench.config import Config, MnistType, Runtime
from lossbench.data import load_data, prepare
from lossbench.runs import Status, open_run
from lossbench.sweep import run_all


def small(folder: Path, seed: int = 0) -> Config:
    """A run of two epochs that takes a second."""
    made = config(folder, seed)
    made.dataset.num_train, made.schedule.epochs, made.schedule.batch_size = 64, 2, 32
    made.runtime = Runtime("cpu", str(folder), num_threads=1, parallel=1, tensorboard=False)
    return made


class Payload:
    """What a stranger's checkpoint would do when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_strangers_checkpoint_runs_no_code(tmp_path: Path) -> None:
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


def test_out_of_gpu_memory_is_a_sentence_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_sick_run_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
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
    assert "epoch 3, step 2: the loss sml is nan at lr 0.0001; the last whole epoch is 2" in summary.failed[run.id]
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
