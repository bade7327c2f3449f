"""Estimates of how long runs will take."""

from pathlib import Path

import pytest
from made_runs import config, finished

from lossbench.runs.records import own_records
from lossbench.sweep.hours import hours, in_words, rates


def test_hours_come_from_the_median_of_runs_of_a_kind(tmp_path: Path) -> None:
    for seed, wall_s in enumerate((100.0, 120.0, 500.0)):
        finished(tmp_path, seed, wall_s=wall_s, num_train=1000, num_threads=2)
    finished(tmp_path, 3, wall_s=None, num_train=1000)
    finished(tmp_path, 4, wall_s="long", num_train=1000)
    known = rates(own_records(tmp_path).records.values())
    assert known == {("cnn2c", "fp32", "cpu"): pytest.approx(2 * 120 / (1000 * 20))}
    made = config(tmp_path)
    total, unknown = hours([made, made], known, "cpu")
    assert total == pytest.approx(2 * 0.012 * 1497 * 20 / 3600)
    assert (unknown, hours([made], known, "cuda")) == (0, (0.0, 1))
    assert in_words([made, made], known, "cpu") == "about 0.2 core-hours"
    assert in_words([made], {}, "cpu") == "hours unknown, as no similar run has finished"
    assert in_words([], {}, "cpu") == ""
