"""Sweeps shared by several hosts, which die, or stop for longer than their lease."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hosts
import numpy as np
import pytest
from hosts import Host, check_hosts
from killing import TIMES, starts
from made_runs import contents

from lossbench.runs.folder import all_runs

pytestmark = pytest.mark.long

KINDS = ("local", "sshfs")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the runs produce on one host alone."""
    check_hosts()
    scratch = tmp_path_factory.mktemp("alone")
    host = Host(None, scratch / "outputs", scratch)
    assert host.said().splitlines()[-1] == "8"
    return outcome(scratch / "outputs")


@pytest.fixture(params=KINDS)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Path]]:
    """The same folder as two hosts see it."""
    check_hosts()
    with hosts.shared(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def ended() -> Iterator[ExitStack]:
    """Ends the hosts of a test."""
    with ExitStack() as stack:
        yield stack


def outcome(folder: Path) -> dict[str, Any]:
    """Records, metrics and arrays of the runs, except times."""
    found = {}
    for run in all_runs(folder):
        record = {key: value for key, value in run.record().items() if key not in TIMES}
        record["config"]["runtime"] = None
        metrics = [
            {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
            for line in run.whole_metrics()
        ]
        with np.load(run.folder / "arrays.npz") as arrays:
            packed = {name: (arrays[name].dtype.str, arrays[name].shape, arrays[name].tobytes()) for name in arrays}
        names = {path.name for path in run.folder.iterdir()}
        found[run.id] = (names, record, metrics, packed)
    return found


def start(ended: ExitStack, name: str, folder: Path, scratch: Path, **options: Any) -> Host:
    host = Host(name, folder, scratch, **options)
    ended.callback(host.end)
    return host


def wait_for(folder: Path, epochs: int) -> None:
    """Wait until a run has done some epochs and is not finished."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for run in all_runs(folder):
            if not run.finished and len(list(run.whole_metrics())) >= epochs:
                return
        time.sleep(0.02)
    raise AssertionError("no run began")


@pytest.mark.parametrize("parallel", [1, 2])
def test_two_hosts_share_a_sweep(
    parallel: int, places: list[Path], alone: dict[str, Any], tmp_path: Path, ended: ExitStack
) -> None:
    both = [
        start(ended, name, place / "outputs", tmp_path, parallel=parallel)
        for name, place in zip(("hosta", "hostb"), places, strict=True)
    ]
    said = [host.said() for host in both]
    assert [text.splitlines()[-1] for text in said] == ["8", "8"] or sum(
        int(text.splitlines()[-1]) for text in said
    ) >= 8, said
    folder = tmp_path / "shared" / "outputs"
    assert list(starts(folder).values()) == [[1]] * 8  # no run was begun twice
    assert outcome(folder) == alone


def test_a_host_that_dies_leaves_its_run_to_another_after_the_lease(
    places: list[Path], alone: dict[str, Any], tmp_path: Path, ended: ExitStack
) -> None:
    folder = tmp_path / "shared" / "outputs"
    first = start(ended, "hosta", places[0] / "outputs", tmp_path, runs=1, epochs=400)
    wait_for(folder, 3)
    second = start(ended, "hostb", places[1] / "outputs", tmp_path, runs=1, epochs=400)
    assert second.process.stdout is not None
    assert second.process.stdout.readline() == "ready\n"
    first.signal(signal.SIGKILL)
    first.process.wait()
    killed = time.monotonic()
    ((name, begun),) = starts(folder).items()
    assert begun == [1]
    while len(starts(folder)[name]) == 1:
        assert time.monotonic() < killed + 60
        time.sleep(0.05)
    assert time.monotonic() - killed > 2
    second.signal(signal.SIGKILL)
    second.process.wait()
    (begun,) = starts(folder).values()
    (run,) = all_runs(folder)
    assert len(begun) == 2
    assert begun[1] > 3
    assert not run.finished


def test_a_host_that_stops_for_longer_than_its_lease_writes_nothing_more(
    places: list[Path], tmp_path: Path, ended: ExitStack
) -> None:
    folder = tmp_path / "shared" / "outputs"
    first = start(ended, "hosta", places[0] / "outputs", tmp_path, runs=1, epochs=60)
    wait_for(folder, 3)
    first.signal(signal.SIGSTOP)
    second = start(ended, "hostb", places[1] / "outputs", tmp_path, runs=1, epochs=60)
    assert second.said().splitlines()[-1] == "1"
    (run,) = all_runs(folder)
    assert run.finished
    before = contents(folder)
    first.signal(signal.SIGCONT)
    said = first.said()
    assert "this one writes nothing more; run the same command again to continue" in said
    assert contents(folder) == before
    assert [json.loads(line)["epoch"] for line in run.whole_metrics()] == list(range(1, 61))
