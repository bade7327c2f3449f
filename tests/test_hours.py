"""Hours of runs in words."""

import re
from pathlib import Path

import pytest
from made_runs import config, finished

from lossbench.runs.records import own_records
from lossbench.sweep.estimate import Estimates
from lossbench.sweep.hours import hours, in_words


def test_hours_come_from_the_median_of_runs_of_a_kind(tmp_path: Path) -> None:
    for seed, wall_s in enumerate((100.0, 120.0, 500.0)):
        finished(tmp_path, seed, wall_s=wall_s, num_train=1497)
    finished(tmp_path, 3, wall_s=None, num_train=1497)
    finished(tmp_path, 4, wall_s="long", num_train=1497)
    known = Estimates.from_records(own_records(tmp_path).records.values())
    made = config(tmp_path)
    total, counted = hours([made, made], known, "cpu")
    assert total == pytest.approx(2 * 120 / 3600)
    assert counted == 0
    assert in_words([made] * 30, known, "cpu") == "about 1.0 core-hours, 0.0080 kWh"
    assert in_words([], known, "cpu") == ""


def test_words_say_what_no_measured_run_was_behind(tmp_path: Path) -> None:
    finished(tmp_path, 0, wall_s=120.0)
    known, made = Estimates.from_records(own_records(tmp_path).records.values()), config(tmp_path)
    nothing = in_words([made] * 600, Estimates([]), "cpu")
    assert re.fullmatch(r"about [\d.]+ core-hours, 0\.0\d+ kWh, from no measured run", nothing)
    assert 0.3 < float(nothing.split()[1]) < 10  # 600 runs of some seconds
    assert in_words([made], known, "cuda").endswith(" kWh, from no measured run")
