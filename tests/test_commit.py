"""The commit in a record is of the repository that tracks lossbench's own files, or there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import lossbench

PACKAGE = Path(lossbench.__file__).parent


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def told(folder: Path) -> str:
    """What the copy of lossbench in a folder takes for its commit."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop("LOSSBENCH_COMMIT", None)
    code = "import lossbench, lossbench.system.machine as e; print(lossbench.__file__, e.commit())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    place, _, commit = done.stdout.strip().rpartition(" ")
    assert place.startswith(str(folder))
    return commit


def test_the_commit_of_a_repository_that_does_not_track_lossbench_is_not_recorded(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "paper.tex").write_text("theirs")
    git(tmp_path, "add", "paper.tex")
    git(tmp_path, "commit", "--quiet", "-m", "theirs")
    shutil.copytree(PACKAGE, tmp_path / "lossbench", ignore=shutil.ignore_patterns("__pycache__"))
    assert told(tmp_path) == "None"
    git(tmp_path, "add", "lossbench")
    git(tmp_path, "commit", "--quiet", "-m", "ours now")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert told(tmp_path) == head
    (tmp_path / "paper.tex").write_text("changed")
    assert told(tmp_path) == f"{head}-dirty"
