"""A run's folder: what is written when, and what a stop leaves."""

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from made_runs import ARRAYS, config, contents, divergence, finished, result

from lossbench.runs import folder
from lossbench.runs.folder import Run, Status, all_runs, open_run
from lossbench.system.files import write_atomically, write_bytes


def test_the_record_is_written_last_and_means_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(config(tmp_path))
    assert not tmp_path.joinpath("runs").exists()
    run.start(config(tmp_path))
    run.write_checkpoint(b"state")
    written: list[str] = []

    def spy(path: Path, content: bytes, *more: Any) -> None:
        written.append(path.name)
        assert not run.finished
        assert run.read_checkpoint() == b"state"
        write_bytes(path, content, *more)

    monkeypatch.setattr("lossbench.runs.folder.write_bytes", spy)
    assert run.read_checkpoint() == b"state"
    run.finish(result(config(tmp_path)), ARRAYS)
    assert written == ["arrays.npz", "result.json"]
    assert run.finished
    assert run.record() == result(config(tmp_path)) | {
        "arrays_sha256": hashlib.sha256((run.folder / "arrays.npz").read_bytes()).hexdigest()
    }
    assert run.read_checkpoint() is None
    assert json.loads((run.folder / "config.json").read_text()) == asdict(config(tmp_path))


def test_that_a_run_diverged_is_written_last_and_goes_when_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, fields = open_run(config(tmp_path)), divergence(config(tmp_path))
    run.start(config(tmp_path))
    assert run.read_divergence() is None

    def killed(path: Path, content: bytes, *more: Any) -> None:
        if path.name == "diverged.json":
            raise KeyboardInterrupt
        write_bytes(path, content, *more)

    monkeypatch.setattr("lossbench.runs.folder.write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        run.diverge(fields)
    monkeypatch.undo()
    assert run.read_divergence() is None
    assert run.failure() == fields["reason"]  # failed, and nothing more is known
    run.diverge(fields)
    assert json.loads(run.read_divergence() or b"") == fields
    assert run.status() is Status.failed
    assert not run.finished
    run.start(config(tmp_path))
    assert {path.name for path in run.folder.iterdir()} == {"config.json"}
    assert run.status() is Status.stopped


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_bytes(path, b"old")

    def write(file: Any) -> None:
        file.write(b"half of the ne")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write)
    assert contents(tmp_path) == {"folder/file": b"old"}
    write_bytes(path, b"new")
    assert contents(tmp_path) == {"folder/file": b"new"}


def test_a_finished_run_holds_its_files_and_no_others(tmp_path: Path) -> None:
    run = open_run(config(tmp_path))
    run.fail("a reason")
    assert (run.folder / "failure.txt").read_text() == "a reason"
    run.write_checkpoint(b"state")
    finished(tmp_path)
    assert sorted(path.name for path in run.folder.iterdir()) == sorted(folder.FILES)


@pytest.mark.parametrize("tail", ["", '{"epoch": 3}\n', '{"epoch": 3}\n{"epoch": 4}\n', '{"epoch": 3, "test/acc'])
def test_metrics_end_where_the_checkpoint_does(tail: str, tmp_path: Path) -> None:
    run = Run(tmp_path)
    first = '{"epoch": 1, "x": 0.1}\n{"epoch": 2, "x": 0.2}\n'
    (tmp_path / "metrics.jsonl").write_text(first + tail)
    assert run.metrics(2) == [{"epoch": 1, "x": 0.1}, {"epoch": 2, "x": 0.2}]
    assert (tmp_path / "metrics.jsonl").read_text() == first
    run.append_metrics({"epoch": 3, "x": 0.3})
    assert [line["epoch"] for line in run.metrics(3)] == [1, 2, 3]
    assert run.metrics(0) == []
    run.restart()
    assert run.metrics(0) == []
    assert list(tmp_path.iterdir()) == []


def test_metrics_that_lack_an_epoch_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for text in ("", '{"epoch": 1}\n', '{"epoch": 1}\n{"epoch": 3}\n'):
        (tmp_path / "metrics.jsonl").write_text(text)
        with pytest.raises(ValueError, match="lacks some of the epochs 1 to 2"):
            run.metrics(2)
        assert (tmp_path / "metrics.jsonl").read_text() == text


def test_what_killed_processes_left_goes(tmp_path: Path) -> None:
    run = open_run(config(tmp_path))
    run.start(config(tmp_path))
    (run.folder / ".checkpoint.pt.4711.tmp").write_bytes(b"half")
    run.start(config(tmp_path))
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]
    finished(tmp_path)
    run.write_checkpoint(b"state")
    (run.folder / ".result.json.4711.tmp").write_bytes(b"half")
    run.tidy()
    assert sorted(path.name for path in run.folder.iterdir()) == sorted(folder.FILES)


def test_one_process_at_a_time_holds_a_run(tmp_path: Path) -> None:
    run = open_run(config(tmp_path))
    with run.held() as mine, Run(run.folder).held() as yours:
        assert mine
        assert not yours
        assert run.status() is Status.running
        assert run.lost() is None  # though others have tried to take it
    code = "import sys, time; from pathlib import Path; from lossbench.runs.folder import Run\n"
    code += "with Run(Path(sys.argv[1])).held() as mine: print(mine, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(run.folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with run.held() as mine:
            assert not mine
        process.kill()
    with run.held() as mine:  # the lock went with its process
        assert mine


def test_a_run_says_how_it_stands(tmp_path: Path) -> None:
    run = open_run(config(tmp_path))
    assert all_runs(tmp_path) == []
    run.start(config(tmp_path))
    assert run.status() is Status.stopped
    assert run.failure() is None
    assert run.failure_mark() is None
    assert not run.failed_since(None)
    run.fail("Traceback\n  somewhere\nValueError: why")
    assert run.status() is Status.failed
    assert run.failure() == "ValueError: why"
    mark = run.failure_mark()
    assert run.failed_since(None)
    assert not run.failed_since(mark)
    run.fail("again")
    assert run.failed_since(mark)
    finished(tmp_path)
    assert run.status() is Status.finished
    assert [each.id for each in all_runs(tmp_path)] == [run.id]
