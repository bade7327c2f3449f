"""`lossbench collect`: runs of other output folders, here and on a host that rsync reaches by a stand-in for ssh."""

import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from kinds_of_runs import Invoke
from made_runs import ARRAYS, config, contents, diverged, finished, result
from test_travel import flip

from lossbench.runs.collect import collect
from lossbench.runs.folder import WEIGHTS, LockLostError, Run, open_run
from lossbench.runs.records import own_records, verify
from lossbench.runs.remote import Remote, remote_of
from lossbench.system.files import write_bytes

HAS_RSYNC = shutil.which("rsync") is not None
needs_rsync = pytest.mark.skipif(not HAS_RSYNC, reason="rsync is not installed")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RSYNC_RSH", raising=False)
    return tmp_path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a host whose home folder is the present one: a stand-in for ssh runs what it is given here."""
    shell = tmp_path / "ssh"
    lines = ["#!/bin/sh", '[ "$1" = "server" ] || { echo "ssh: Could not resolve hostname $1" >&2; exit 255; }']
    lines += ["shift", f"cd {tmp_path}", f'echo "$@" >> {tmp_path}/asked', 'exec sh -c "$*"']
    shell.write_text("\n".join(lines) + "\n")
    shell.chmod(shell.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("RSYNC_RSH", str(shell))
    return "server"


def begun(folder: Path, seed: int) -> Run:
    """A run that is not finished."""
    run = open_run(config(folder, seed))
    run.start(config(folder, seed))
    return run


def four(folder: Path) -> list[Run]:
    """Two finished runs, one that diverged and one that is not finished."""
    return [finished(folder, 0), finished(folder, 1), diverged(folder, 2), begun(folder, 3)]


def of_runs(folder: Path, *runs: Run) -> dict[str, bytes]:
    """The files of some runs that come along, by their place."""
    names = ("config.json", "metrics.jsonl", "arrays.npz", "result.json", "failure.txt", "diverged.json")
    found = {f"{run.id}/{name}": folder / "runs" / run.id / name for run in runs for name in names}
    return {place: path.read_bytes() for place, path in found.items() if path.exists()}


SOURCES = ["a", pytest.param("server:a", marks=needs_rsync)]


@pytest.mark.parametrize("source", SOURCES)
def test_finished_and_diverged_runs_come_and_a_repeated_collect_adds_nothing(
    source: str, server: str, invoke: Invoke
) -> None:
    *whole, open_one = four(Path("a"))
    own = finished(Path("outputs"), 7)
    said = invoke("collect", source).output.splitlines()
    assert said == [f"3 runs added from {source}, 0 existed already", f"1 run not finished there: {open_one.id}"]
    assert of_runs(Path("outputs"), *whole) == of_runs(Path("a"), *whole)
    assert {path.name for path in Path("outputs/runs").iterdir()} == {run.id for run in (*whole, own)}
    assert verify(own_records("outputs")) == []
    before = {place: content for place, content in contents(Path("outputs")).items() if place.startswith("runs/")}
    assert invoke("collect", source).output.splitlines()[0] == f"0 runs added from {source}, 3 existed already"
    after = {place: content for place, content in contents(Path("outputs")).items() if place.startswith("runs/")}
    assert after == before
    finished(Path("a"), 3)  # it has ended
    assert invoke("collect", source).output == f"1 run added from {source}, 3 existed already\n"


@needs_rsync
def test_arrays_of_known_runs_do_not_travel_again(server: str) -> None:
    runs = [finished(Path("a"), seed) for seed in (0, 1)]
    collect("server:a", "outputs")
    Path("asked").unlink()
    staged = {path.name for path in Path("outputs/collect").rglob("*") if path.is_file()}
    assert staged == {".lock", "config.json", "result.json"}
    collect("server:a", "outputs")
    assert len(Path("asked").read_text().splitlines()) == 1  # the results alone
    shutil.rmtree(Path("outputs/runs") / runs[0].id)
    assert collect("server:a", "outputs").new == [runs[0].id]
    shutil.rmtree(runs[1].folder)
    assert collect("server:a", "outputs").known == [runs[0].id]  # what is gone there is gone from the copy


@pytest.mark.parametrize("source", SOURCES)
def test_damaged_runs_are_named_by_their_source_and_the_others_come(source: str, server: str, invoke: Invoke) -> None:
    whole, damaged, odd = (finished(Path("a"), seed) for seed in range(3))
    flip(damaged.folder / "arrays.npz")
    (odd.folder / "result.json").write_text("{}")
    done = invoke("collect", source, code=1)
    assert done.stdout == f"1 run added from {source}, 0 existed already\n"
    first, second = sorted(done.stderr.splitlines())
    place = source if ":" in source else "a"
    assert f"{place}/runs/{damaged.id}/arrays.npz is not what {damaged.id} wrote" in first + second
    assert f"{place}/runs/{odd.id}/result.json holds a damaged record" in first + second
    assert [path.name for path in Path("outputs/runs").iterdir()] == [whole.id]


@pytest.mark.parametrize("source", SOURCES)
def test_another_result_than_the_one_here_is_named_and_changes_nothing(
    source: str, server: str, invoke: Invoke
) -> None:
    mine, other = finished(Path("outputs"), 0, 0.9), finished(Path("a"), 0, 0.8)
    new = finished(Path("a"), 1)
    before = of_runs(Path("outputs"), mine)
    done = invoke("collect", source, code=1)
    assert done.stdout == f"1 run added from {source}, 0 existed already\n"
    assert f"two records of {other.id} disagree: test_accuracy 0.9 beside outputs/runs/" in done.stderr
    assert "and 0.8 beside " in done.stderr
    assert of_runs(Path("outputs"), mine) == before
    assert (Path("outputs/runs") / new.id / "result.json").exists()


@pytest.mark.parametrize("source", SOURCES)
def test_weights_come_if_asked_for_also_later(source: str, server: str, invoke: Invoke) -> None:
    run = finished(Path("a"), 0)
    (run.folder / "result.json").unlink()
    run.finish(result(config(Path("a"), 0)), ARRAYS, b"weights")
    assert invoke("collect", source).output.startswith("1 run added")
    brought = Path("outputs/runs") / run.id / WEIGHTS
    assert not brought.exists()
    assert invoke("collect", source, "--weights").output.startswith("1 run added")
    assert brought.read_bytes() == b"weights"
    assert invoke("collect", source, "--weights").output.startswith("0 runs added")
    shutil.rmtree("outputs")
    write_bytes(run.folder / WEIGHTS, b"others!")
    done = invoke("collect", source, "--weights", code=1)
    assert f"runs/{run.id}/{WEIGHTS}" in done.stderr
    assert not (Path("outputs/runs") / run.id / "result.json").exists()


def test_a_run_that_is_trained_here_is_left_alone(invoke: Invoke) -> None:
    run = finished(Path("a"), 0)
    with open_run(config(Path("outputs"), 0)).held() as free:
        assert free
        done = invoke("collect", "a", code=1)
    assert done.stderr == f"left out: {run.id} is running here; collect it again when it has ended\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("at", range(4))
def test_an_interrupted_collect_leaves_nothing_half_written(
    at: int, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(Path("a"), 0)
    count = 0

    def write(run: Run, name: str, content: bytes) -> None:
        nonlocal count
        if count == at:
            raise error
        count += 1
        write_bytes(run.folder / name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write", write)
        with pytest.raises((KeyboardInterrupt, OSError)):
            collect("a", "outputs")
    assert not (Path("outputs/runs") / run.id).exists()
    assert collect("a", "outputs").new == [run.id]


def test_a_run_that_another_process_takes_over_meanwhile_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished(Path("a"), 0)

    def write(run: Run, name: str, content: bytes) -> None:
        write_bytes(run.folder / name, b"of the other")
        raise LockLostError("another process owns it")

    monkeypatch.setattr(Run, "write", write)
    found = collect("a", "outputs")
    assert (found.new, found.left_out) == ([], [f"{run.id} is running here; collect it again when it has ended"])
    assert (Path("outputs/runs") / run.id / "config.json").read_bytes() == b"of the other"


def test_a_killed_collect_leaves_an_unfinished_run_that_the_next_one_brings() -> None:
    run = finished(Path("a"), 0)
    here = Path("outputs/runs") / run.id
    here.mkdir(parents=True)
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(run.folder / name, here / name)
    assert own_records("outputs").records == {}
    assert collect("a", "outputs").new == [run.id]
    assert verify(own_records("outputs")) == []


@needs_rsync
def test_a_copy_that_was_cut_off_is_completed(server: str) -> None:
    run = finished(Path("a"), 0)
    collect("server:a", "outputs")
    (staging,) = Path("outputs/collect").iterdir()
    shutil.rmtree("outputs/runs")
    (staging / "runs" / run.id / "arrays.npz").write_bytes(b"half")
    assert collect("server:a", "outputs").new == [run.id]
    assert verify(own_records("outputs")) == []


FAULTS: dict[str, tuple[str, dict[str, str], str]] = {
    "no folder here": ("nowhere", {}, "nowhere: there is no folder nowhere/runs; name the folder that has runs/ in it"),
    "this folder": ("outputs", {}, "outputs is the folder into which the runs are brought; name another"),
    "no host": (":a", {}, ":a is no HOST:DIR"),
    "an option": ("-oProxyCommand=touch x:a", {}, "is no HOST:DIR"),
    "no folder there": ("server:no where", {}, "server:no where: there is no folder no where/runs on server"),
    "no such host": ("else:a", {}, "else:a: else cannot be reached (ssh: Could not resolve hostname else)"),
    "no ssh": ("server:a", {"RSYNC_RSH": "no-such-shell -v"}, "no-such-shell is not installed here"),
    "no rsync": ("server:a", {"PATH": "/nowhere"}, "rsync is not installed here"),
}


@needs_rsync
@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_cannot_be_read_is_one_sentence_and_the_others_are_read(
    fault: str, server: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(Path("outputs"), 5)
    finished(Path("b"), 0)
    source, environment, sentence = FAULTS[fault]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    words = ("--", source) if source.startswith("-") else (source,)
    done = invoke("collect", *words, "b", code=1)
    assert done.stdout == "1 run added from b, 0 existed already\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("left out: ")
    assert sentence in line
    assert not Path("outputs/collect").exists()
    assert not Path("x").exists()


@needs_rsync
def test_rsync_that_is_missing_there_is_said(server: str, tmp_path: Path, invoke: Invoke) -> None:
    shell = Path(os.environ["RSYNC_RSH"])
    shell.write_text(shell.read_text().replace('exec sh -c "$*"', 'PATH=/nowhere exec /bin/sh -c "$*"'))
    done = invoke("collect", "server:a", code=1)
    assert done.stderr == "left out: server:a: rsync is not installed on server; install it there\n"


def test_hosts_and_folders() -> None:
    assert remote_of("user@server:lossbench/outputs/") == Remote("user@server", "lossbench/outputs")
    assert remote_of("server:/") == Remote("server", "/")
    assert remote_of("outputs") is remote_of("./odd:name") is remote_of("/a/b:c") is None
    for wrong in ("server:", ":outputs", "-server:a", "server::module"):
        with pytest.raises(ValueError, match="is no HOST:DIR"):
            remote_of(wrong)


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_links_and_other_files_do_not_come(server: str, tmp_path: Path) -> None:
    run = finished(Path("a"), 0)
    (run.folder / "events.out").write_bytes(b"x")
    (Path("a/runs") / "link").symlink_to(tmp_path)
    assert collect("a", "outputs").new == [run.id]
    assert not (Path("outputs/runs") / run.id / "events.out").exists()
    if HAS_RSYNC:
        assert collect("server:a", "others").new == [run.id]
        assert not list(Path("others").rglob("events.out"))
