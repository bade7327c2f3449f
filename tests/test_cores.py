"""Number of cores that a process may use: its CPU affinity or its container's quota, of control groups 1 and 2."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lossbench.system.machine import num_cores

V2 = "0::/docker/abc\n"
V1 = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n"


def v1(quota: int, place: str = "cpu,cpuacct") -> dict[str, str]:
    folder = f"sys/fs/cgroup/{place}"
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("cores", "group", "files", "expected"),
    [
        (64, None, {}, 64),
        (64, V2, {}, 64),
        (64, V2, {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),  # as a container sees it
        (64, V2, {"sys/fs/cgroup/docker/abc/cpu.max": "200000 100000\n"}, 2),
        (
            64,
            V2,
            {"sys/fs/cgroup/docker/cpu.max": "300000 100000", "sys/fs/cgroup/docker/abc/cpu.max": "max 100000"},
            3,
        ),
        (64, V2, {"sys/fs/cgroup/docker/cpu.max": "300000 100000", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        (64, "0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 64),
        (2, "0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        (2, "0::/\n", {"sys/fs/cgroup/cpu.max": "800000 100000\n"}, 2),
        (64, "0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),  # at least one
        (64, "0::/\n", {"sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        (64, "0::/\n", {"sys/fs/cgroup/cpu.max": "no words"}, 64),
        (64, V1, v1(200000), 2),
        (64, V1, v1(200000, "cpu,cpuacct/docker/abc"), 2),
        (64, V1, v1(200000, "cpu"), 2),
        (64, V1, v1(-1), 64),
        (2, V1, v1(100000), 1),
        (64, V1 + "0::/docker/abc\n", v1(400000), 4),
        (64, V1, v1(200000, "memory"), 64),
    ],
)
def test_a_quota_of_a_container_counts_as_cores(
    cores: int,
    group: str | None,
    files: Mapping[str, str],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    for name, text in {**files, **({} if group is None else {"proc/self/cgroup": group})}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert num_cores(tmp_path) == expected
