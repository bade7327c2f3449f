"""Results that travel while something else goes on, or of which a part is damaged."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import pytest
from made_runs import finished

from lossbench import archive
from lossbench.archive import publish
from lossbench.records import Found, committed_records, verify


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
