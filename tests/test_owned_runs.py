"""What a run promises while processes of several hosts may take it; other hosts and clocks are simulated."""

import errno
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from made_runs import ARRAYS, config, contents, result
from simulated_hosts import Clock, OnHost, silenced, taken

from lossbench.config.run import Runtime
from lossbench.runs import lease, removal
from lossbench.runs.folder import LockLostError, Run, Status, open_run
from lossbench.runs.inspect import entries
from lossbench.runs.lease import highest
from lossbench.sweep import run_all as sweep


def test_a_renewal_that_cannot_be_written_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path)

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with run.held() as mine:
        assert mine
        with monkeypatch.context() as patched:
            patched.setattr(os, "link", full)
            with pytest.raises(OSError, match="No space left"):
                run.write_checkpoint(b"state")
            assert run.lost() is None
        run.write_checkpoint(b"state")
        monkeypatch.setattr(Path, "write_bytes", full)  # nor can a released lease be left behind
    assert run.status() is Status.stopped
    owner = highest(tmp_path / ".claim")[1]
    assert owner is not None
    assert owner.released


def test_who_was_taken_for_dead_writes_nothing_more(tmp_path: Path, clock: Clock, on_host: OnHost) -> None:
    on_host("a")
    made = config(tmp_path)
    run = open_run(made)
    said = r"\.claim was taken over by a process on b, .*; this one writes nothing more; run the same command again to "
    with run.held() as mine:
        assert mine
        run.start(made)
        run.append_metrics({"epoch": 1})
        run.write_checkpoint(b"state")
        silenced(run.folder, clock, on_host)
        before = contents(run.folder)
        attempts: list[Callable[[], object]] = [
            lambda: run.write_checkpoint(b"late"),
            lambda: run.append_metrics({"epoch": 2}),
            lambda: run.finish(result(made), ARRAYS),
            lambda: run.fail("why"),
            lambda: run.diverge({"reason": "why"}),
            lambda: run.log("late"),
            lambda: run.start(made),
            lambda: run.restart(),
            lambda: run.metrics(0),
        ]
        for late in attempts:
            with pytest.raises(LockLostError, match=said):
                late()
        assert run.lost() is not None
    assert contents(run.folder) == before
    assert run.status() is Status.running  # on b; this process does not end the other's lease


def test_a_lease_that_is_lost_within_a_write_is_noticed_before_the_file_has_its_name(
    tmp_path: Path, clock: Clock, on_host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_host("a")
    run, fsync = Run(tmp_path), os.fsync

    def suspended(number: int) -> None:
        fsync(number)
        silenced(tmp_path, clock, on_host)

    with run.held() as mine:
        assert mine
        run.write_checkpoint(b"state")
        monkeypatch.setattr(os, "fsync", suspended)
        with pytest.raises(LockLostError):
            run.write_checkpoint(b"late")
    assert contents(tmp_path) == {"checkpoint.pt": b"state"}


@pytest.mark.parametrize("links", [True, False])
def test_a_record_is_never_replaced(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*given: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(os, "link", none)
    made = config(tmp_path)
    run = open_run(made)
    run.start(made)
    first = run.finish(result(made), ARRAYS)
    with pytest.raises(LockLostError, match=r"result\.json was written by another process meanwhile; this one writes "):
        run.finish(result(made) | {"test_accuracy": 0.5}, ARRAYS)
    assert run.record() == first
    assert list(run.folder.glob(".*.tmp")) == []


def test_a_run_of_another_host_is_shown_as_running_while_its_claim_is_young(
    tmp_path: Path, on_host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_host("a")
    run = Run(tmp_path)
    with run.held() as mine:
        assert mine
        on_host("b")
        assert run.status() is Status.running
        os.utime(tmp_path / ".claim", (time.time() - 290,) * 2)
        assert run.status() is Status.running
        os.utime(tmp_path / ".claim", (time.time() - 310,) * 2)
        assert run.status() is Status.stopped
        on_host("a")
        assert run.status() is Status.running


def test_removal_waits_for_a_host_that_may_be_dead(tmp_path: Path, clock: Clock, on_host: OnHost) -> None:
    on_host("a")
    runs = [open_run(config(tmp_path, seed)) for seed in range(2)]
    for seed, run in enumerate(runs):
        run.start(config(tmp_path, seed))
    dead, alive = taken(runs[0].folder), taken(runs[1].folder)
    found = {entry.run.folder: entry for entry in entries(tmp_path) if entry.run}
    on_host("b")
    wait = clock.wait

    def renewed(seconds: float) -> None:
        wait(seconds)
        alive.renew()

    began = clock.now
    assert removal.remove([found[runs[0].folder]]) == ([runs[0].id], {})
    assert 60 <= clock.now - began < 66
    assert not runs[0].folder.exists()
    on_host("a")
    assert dead.renew() is not None
    on_host("b")
    lease.time.sleep = renewed  # type: ignore[assignment]
    assert removal.remove([found[runs[1].folder]]) == ([], {runs[1].id: "it is running"})
    assert runs[1].folder.exists()
    assert clock.now - began < 68, "a renewal is noticed at once"


def test_locks_of_older_versions_go_when_a_run_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with Run(tmp_path).held() as mine:
        assert mine
        assert [path.name for path in tmp_path.iterdir()] == [".claim"]


def test_a_sweep_waits_only_when_all_that_is_left_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [config(tmp_path, seed) for seed in range(4)]
    for one in made:
        one.dataset.num_train, one.schedule.epochs, one.schedule.batch_size = 64, 1, 32
        one.runtime = Runtime("cpu", str(tmp_path), num_threads=1, parallel=1, tensorboard=False)
    runs = [open_run(one) for one in made]
    waits, sleep = [], time.sleep
    with ExitStack() as elsewhere:
        assert all(elsewhere.enter_context(run.held()) for run in runs[:2])

        def wait(seconds: float) -> None:
            if seconds != sweep.BUSY_WAIT_S:  # of another thread
                sleep(seconds)
                return
            waits.append([run.finished for run in runs])
            elsewhere.close()

        monkeypatch.setattr(sweep.time, "sleep", wait)
        summary = sweep.run_all(made)
    assert sorted(summary.finished) == sorted(run.id for run in runs)
    assert waits == [[False, False, True, True]]
