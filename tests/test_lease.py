"""The rules by which one process of all hosts owns a folder; other hosts and clocks are simulated."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from simulated_hosts import Clock, OnHost, taken

from lossbench.runs import lease
from lossbench.runs.lease import Lease, Owner, highest, numbers_of
from lossbench.system import files, host
from lossbench.system.files import remove_leftovers, write_bytes
from lossbench.system.host import Life, this_process


def test_numbers_only_grow_and_the_last_one_stays(tmp_path: Path) -> None:
    claim = tmp_path / ".claim"
    with lease.held(tmp_path) as mine:
        assert mine is not None
        assert highest(claim)[0] == 1
        assert [mine.renew() for _ in range(3)] == [None] * 3
        assert numbers_of(claim) == [1, 2, 3, 4]
        assert lease.take(tmp_path) is None
    assert [path.name for path in claim.iterdir()] == ["4"]
    owner = highest(claim)[1]
    assert owner is not None
    assert owner.released
    with lease.held(tmp_path) as mine:
        assert mine is not None
        assert numbers_of(claim) == [4, 5]


def test_one_of_many_that_try_at_once_wins(tmp_path: Path) -> None:
    for round_ in range(30):
        folder, start = tmp_path / str(round_), threading.Barrier(8)
        (folder / ".claim").mkdir(parents=True)
        won: list[Lease] = []

        def rush(folder: Path = folder, start: threading.Barrier = start, won: list[Lease] = won) -> None:
            one = Lease(folder / ".claim", 0)  # all have read the folder before one of them writes
            start.wait()
            if one.take():
                won.append(one)

        threads = [threading.Thread(target=rush) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert won[0].renew() is None
        won[0].release()
        assert [path.name for path in (folder / ".claim").iterdir()] == ["2"]


def test_another_host_waits_for_a_lease_of_silence_by_its_own_clock(
    tmp_path: Path, clock: Clock, on_host: OnHost
) -> None:
    on_host("a")
    mine = taken(tmp_path)
    on_host("b")
    assert lease.take(tmp_path) is None
    for _ in range(59):
        clock.wait(1)
        assert lease.take(tmp_path) is None
    on_host("a")
    assert mine.renew() is None
    on_host("b")
    for _ in range(60):  # from the beginning
        clock.wait(1)
        assert lease.take(tmp_path) is None
    clock.wait(1)
    yours = taken(tmp_path)
    on_host("a")
    assert (
        mine.renew() == f"{tmp_path}/.claim was taken over by a process on b, as this one had not renewed it for 60 s"
    )
    assert yours.renew() is None


def test_a_suspended_observer_does_not_count_its_sleep(tmp_path: Path, clock: Clock, on_host: OnHost) -> None:
    on_host("a")
    taken(tmp_path)
    on_host("b")
    for _ in range(4):
        assert lease.take(tmp_path) is None
        clock.wait(10000)
    taken(tmp_path)


def test_a_process_of_this_host_keeps_its_run_as_long_as_it_lives(tmp_path: Path, clock: Clock) -> None:
    code = "import sys, time; from pathlib import Path; from lossbench.runs.lease import take\n"
    code += "take(Path(sys.argv[1])); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(10):
            clock.wait(100)
            assert lease.take(tmp_path) is None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but its parent has not asked for it
        taken(tmp_path)


def test_a_process_with_the_number_of_a_dead_one_is_another(tmp_path: Path) -> None:
    here = this_process()
    assert here.life() is Life.alive
    assert here.started is not None
    assert replace(here, started=here.started - 1).life() is Life.dead
    assert replace(here, started=None).life() is Life.unknown
    others = [replace(here, **{key: "x"}) for key in ("host", "boot", "machine", "namespace")]
    assert [other.life() for other in others] == [Life.unknown] * 4
    assert replace(here, machine="").life() is Life.unknown
    (tmp_path / ".claim").mkdir()
    left = Owner("another token", here, 60.0)  # of a process before this one, with the same number and start
    (tmp_path / ".claim" / "7").write_text(json.dumps(asdict(left)))
    taken(tmp_path)


@pytest.mark.parametrize("number", [errno.EIO, errno.EEXIST, errno.EPERM])
def test_what_an_attempt_reports_is_not_trusted(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def unspecific(*given: Any) -> None:
        link(*given)
        raise OSError(number, "the answer was lost")

    def silent(*given: Any) -> None:
        """A number that another process has, reported as created."""

    monkeypatch.setattr(os, "link", unspecific)
    mine = taken(tmp_path)
    assert mine.renew() is None
    late = Lease(tmp_path / ".claim", 1)
    monkeypatch.setattr(os, "link", silent)
    assert not late.take()
    assert numbers_of(tmp_path / ".claim") == [1, 2]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_without_hard_links_files_are_created_exclusively(
    number: int, tmp_path: Path, clock: Clock, on_host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*given: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", none)
    on_host("a")
    mine, claim = taken(tmp_path), tmp_path / ".claim"
    assert mine.renew() is None
    assert numbers_of(claim) == [1, 2]
    assert not Lease(claim, 1).take()
    on_host("b")
    assert lease.take(tmp_path) is None
    (claim / "3").touch()  # by a process that was killed before it wrote its name
    on_host("a")
    assert mine.renew() is not None
    for _ in range(4):
        assert lease.take(tmp_path) is None
        clock.wait(15)
    yours = taken(tmp_path)
    assert numbers_of(claim)[-1] == 4
    assert yours.renew() is None
    shutil.rmtree(claim)
    assert yours.renew() == f"{claim} was removed or replaced during the run, so another process may execute it now"


def test_an_old_list_of_numbers_wins_nothing(tmp_path: Path, clock: Clock) -> None:
    mine, claim = taken(tmp_path), tmp_path / ".claim"
    for _ in range(100):
        assert mine.renew() is None
    assert len(numbers_of(claim)) == 101  # an observer may have a list that is a lease old
    assert not Lease(claim, 50).take()
    clock.wait(61)
    assert mine.renew() is None
    assert numbers_of(claim) == list(range(38 + 1, 102 + 1))
    late = Lease(claim, 10)  # 11 can be created again
    assert not late.take()
    assert 11 not in numbers_of(claim)
    assert mine.renew() is None
    mine.release()
    assert [path.name for path in claim.iterdir()] == ["103"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"token": 1}', "number", "lease"], ids=["empty", "half", "list", "short", "all", "inf"]
)
def test_a_number_that_cannot_be_read_is_of_an_unknown_owner(content: str, tmp_path: Path, clock: Clock) -> None:
    owner = asdict(Owner("token", this_process(), 60.0))
    if content == "number":
        owner["process"]["number"] = "all"
        content = json.dumps(owner)
    elif content == "lease":
        content = json.dumps(owner | {"lease_s": float("inf")})
    (tmp_path / ".claim").mkdir()
    (tmp_path / ".claim" / "5").write_text(content)
    for _ in range(4):
        assert lease.take(tmp_path) is None
        clock.wait(15)
    taken(tmp_path)
    assert numbers_of(tmp_path / ".claim") == [5, 6]


def test_a_claim_that_another_has_begun_anew_is_not_released(tmp_path: Path) -> None:
    mine = taken(tmp_path)
    shutil.rmtree(tmp_path / ".claim")
    yours = taken(tmp_path)
    mine.release()
    assert lease.take(tmp_path) is None
    assert yours.renew() is None


def test_hosts_that_cannot_be_told_apart_wait_for_the_lease(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import sys; from pathlib import Path; from lossbench.runs import lease; from lossbench.system import host\n"
    code += "host._machine = lambda: ''; lease.take(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    monkeypatch.setattr(host, "_machine", lambda: "")
    for _ in range(4):  # the process is dead, but it may be that of a copy of this machine
        assert lease.take(tmp_path) is None
        clock.wait(15)
    taken(tmp_path)


def test_what_was_left_by_killed_processes_goes(tmp_path: Path) -> None:
    claim = tmp_path / ".claim"
    claim.mkdir()
    (claim / ".owner-00").write_bytes(b"half")
    (claim / ".free-00").touch()
    mine = taken(tmp_path)
    assert len(list(claim.iterdir())) == 2
    mine.release()
    assert [path.name for path in claim.iterdir()] == ["1"]


@pytest.mark.parametrize("text", ["0", "-1", "inf", "nan", "a minute"])
def test_a_lease_that_cannot_be_is_one_sentence(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSBENCH_LEASE_S", text)
    with pytest.raises(ValueError, match=f"^LOSSBENCH_LEASE_S must be a number of seconds > 0, got {text}$"):
        lease.take(tmp_path)


def test_the_time_of_a_lease_is_the_owners(
    tmp_path: Path, clock: Clock, on_host: OnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_host("a")
    monkeypatch.setenv("LOSSBENCH_LEASE_S", "4000")
    taken(tmp_path)
    on_host("b")
    monkeypatch.setenv("LOSSBENCH_LEASE_S", "4")
    for _ in range(4):
        assert lease.take(tmp_path) is None
        clock.wait(1000)
    taken(tmp_path)


def test_a_thread_renews_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSBENCH_LEASE_S", "0.2")
    with lease.held(tmp_path) as mine:
        assert mine is not None
        end = time.monotonic() + 2  # ten leases
        while highest(tmp_path / ".claim")[0] < 5 and time.monotonic() < end:
            time.sleep(0.01)
        assert highest(tmp_path / ".claim")[0] >= 5
    last = numbers_of(tmp_path / ".claim")
    time.sleep(0.3)
    assert numbers_of(tmp_path / ".claim") == last


def test_temporary_files_of_other_hosts_and_living_processes_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    mark = files._mark()
    names = {f".x.{mark}-{process.pid}-00.tmp": False, f".x.{mark}-{os.getpid()}-00.tmp": True}
    names |= {f".x.00000000-{process.pid}-00.tmp": True, ".x.4711.tmp": False}
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, shared=True)
    assert {path.name for path in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []
    write_bytes(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
