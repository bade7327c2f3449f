"""Exporting and publishing while other processes are active, or with damaged parts."""

import multiprocessing
import os
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import config, contents, diverged, finished

from lossbench.cli.main import main
from lossbench.runs import archive
from lossbench.runs.archive import export_archive, import_archive, publish
from lossbench.runs.folder import FILES, Run, open_run
from lossbench.runs.records import Found, committed_records, own_records, verify


def _publish_slowly(output_dir: Path, results_dir: Path, together: Any) -> None:
    """As `publish`, with half a second between reading what is committed and writing it."""

    def read_slowly(folder: Path) -> Found:
        found = committed_records(folder)
        time.sleep(0.5)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "committed_records", read_slowly)
        together.wait(60)
        publish(output_dir, results_dir)


def test_two_processes_that_publish_at_once_lose_no_record(tmp_path: Path) -> None:
    names = {finished(tmp_path / "a", 0).id, finished(tmp_path / "a", 1).id, finished(tmp_path / "b", 2).id}
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(2)
    both = [
        context.Process(target=_publish_slowly, args=(tmp_path / own, tmp_path / "results", together)) for own in "ab"
    ]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    found = committed_records(tmp_path / "results")
    assert set(found.records) == names
    assert verify(found) == []


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped byte of arrays.npz": lambda folder: flip(folder / "arrays.npz"),
    **{f"{name} missing": lambda folder, name=name: (folder / name).unlink() for name in FILES[:3]},  # type: ignore[misc]
    "config.json of another run": lambda folder: (folder / "config.json").write_text('{"seed": 5}') and None,
    "config.json garbage": lambda folder: (folder / "config.json").write_bytes(b"\xff\0") and None,
    "metrics.jsonl garbage": lambda folder: (folder / "metrics.jsonl").write_bytes(b"\xff\n") and None,
    "metrics.jsonl short": lambda folder: (folder / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n') and None,
    "a record with an odd field": lambda folder: (folder / "result.json").write_text("{}") and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_damaged_run_costs_the_export_itself_alone(damage: str, tmp_path: Path) -> None:
    damaged, whole, other = finished(tmp_path / "a", 0), finished(tmp_path / "a", 1), diverged(tmp_path / "a", 2)
    DAMAGES[damage](damaged.folder)
    found = export_archive(tmp_path / "runs.zip", tmp_path / "a")
    assert (list(found.records), list(found.diverged)) == ([whole.id], [other.id])
    (problem,) = found.problems
    assert str(damaged.folder) in problem.message
    assert import_archive(tmp_path / "runs.zip", tmp_path / "b") == (2, 0, [])
    assert verify(own_records(tmp_path / "b")) == []


def packed_as_is(file: Path, *runs: Run) -> None:
    """An archive of everything in some folders, as an export that checks nothing would write it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for run in runs:
            for name in ("failure.txt", "diverged.json", *FILES):
                if (run.folder / name).exists():
                    archive.write(run.folder / name, f"{run.id}/{name}")


@pytest.mark.parametrize("damage", [name for name in DAMAGES if "missing" not in name])
def test_an_import_takes_intact_runs_and_names_the_rest(damage: str, tmp_path: Path) -> None:
    damaged, whole = finished(tmp_path / "a", 0), finished(tmp_path / "a", 1)
    DAMAGES[damage](damaged.folder)
    file = tmp_path / "runs.zip"
    packed_as_is(file, damaged, whole)
    new, known, (problem,) = import_archive(file, tmp_path / "b")
    assert (new, known) == (1, 0)
    assert f"{file}/{damaged.id}" in problem or f"{file}, {damaged.id}" in problem
    assert list((tmp_path / "b" / "runs").iterdir()) == [tmp_path / "b" / "runs" / whole.id]
    packed_as_is(file, damaged)
    with pytest.raises(ValueError, match=str(file)):  # nothing is whole
        import_archive(file, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe garbage", b"Traceback\nOSError: the disk is full"])
def test_a_failure_that_says_something_else_than_its_divergence_is_not_taken(content: bytes, tmp_path: Path) -> None:
    run = diverged(tmp_path / "a")
    (run.folder / "failure.txt").write_bytes(content)
    packed_as_is(tmp_path / "runs.zip", run)
    with pytest.raises(ValueError, match=r"failure\.txt is damaged"):
        import_archive(tmp_path / "runs.zip", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert len(export_archive(tmp_path / "runs.zip", tmp_path / "a").problems) == 1


@pytest.mark.parametrize("name", FILES)
def test_an_archive_that_would_unpack_to_far_more_than_its_size_is_refused(name: str, tmp_path: Path) -> None:
    runs = [finished(tmp_path / "a", seed) for seed in (0, 1)]
    file = tmp_path / "runs.zip"
    packed_as_is(file, runs[0])
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as bomb,
        bomb.open(f"{runs[1].id}/{name}", "w") as member,
    ):
        for _ in range(100):
            member.write(bytes(10**6))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"{file} is damaged or no archive of runs .* bytes would unpack to 100"):
            import_archive(file, tmp_path / "b")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "b").exists()


def _hold(folder: Path, ready: Any, done: Any) -> None:
    with Run(folder).held() as free:
        assert free
        ready.set()
        done.wait(60)


def test_an_import_leaves_a_run_alone_that_is_trained_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, file = [finished(tmp_path / "a", seed) for seed in (0, 1)], tmp_path / "runs.zip"
    export_archive(file, tmp_path / "a")
    here = open_run(config(tmp_path / "b", 0))
    here.start(config(tmp_path / "b", 0))
    here.append_metrics({"epoch": 1, "test/accuracy": 0.5})
    here.write_checkpoint(b"state")
    before = contents(here.folder)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(here.folder, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(SystemExit) as stop:
            main(["import", str(file), "--output-dir", str(tmp_path / "b")])
        assert stop.value.code == 1
        said = capsys.readouterr()
        assert said.out == f"1 runs added to {tmp_path}/b/runs, 0 existed already\n"
        assert said.err == f"left out: {here.id} is running here; import {file} again when it has ended\n"
        assert contents(here.folder) == before
    finally:
        done.set()
        other.join()
    assert import_archive(file, tmp_path / "b") == (1, 1, [])
    assert contents(here.folder) == contents(runs[0].folder), "no checkpoint of another history stays"


def test_an_export_replaces_nothing_but_files(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    target = tmp_path / "target.zip"
    target.write_bytes(b"mine")
    link, dangling, folder = tmp_path / "link.zip", tmp_path / "dangling.zip", tmp_path / "folder.zip"
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "nothing")
    pipe = tmp_path / "pipe.zip"
    folder.mkdir()
    os.mkfifo(pipe)
    for path, kind in ((link, "link"), (dangling, "link"), (folder, "folder"), (pipe, "pipe")):
        with pytest.raises(ValueError, match=rf"must be a regular file or a new path, got {path}, which is a .*{kind}"):
            export_archive(path, tmp_path / "a")
    assert target.read_bytes() == b"mine"
    assert link.is_symlink()
    assert pipe.is_fifo()
    export_archive(target, tmp_path / "a")
    with pytest.raises(ValueError, match="is not a file"):
        import_archive(Path("/dev/zero"), tmp_path / "b")
