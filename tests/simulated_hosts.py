"""Hosts and clocks for tests of leases within one process."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lossbench.runs import lease
from lossbench.runs.lease import Lease
from lossbench.system import host
from lossbench.system.host import this_process

OnHost = Callable[[str], None]


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


def simulated_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which leases are then measured."""
    made = Clock()
    fake = SimpleNamespace(monotonic=lambda: made.now, sleep=made.wait, time=time.time)
    monkeypatch.setattr(lease, "time", fake)
    return made


def simulated_host(monkeypatch: pytest.MonkeyPatch) -> OnHost:
    """A function that makes what follows happen on a host of this name, as far as processes can be told apart."""
    real = this_process()

    def change(name: str) -> None:
        for module in (lease, host):
            monkeypatch.setattr(module, "this_process", lambda: replace(real, host=name))

    return change


def taken(folder: Path) -> Lease:
    found = lease.take(folder)
    assert found is not None
    return found


def silenced(folder: Path, clock: Clock, on_host: OnHost) -> Lease:
    """Host b takes a folder from host a, which has not renewed its lease; afterwards everything happens on a."""
    on_host("b")
    for _ in range(4):
        assert lease.take(folder) is None
        clock.wait(15)
    mine = taken(folder)
    on_host("a")
    return mine
