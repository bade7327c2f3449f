"""Measurements that are no training runs: done once, completely or not at all; a failure does not stop the others."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lossbench.runs import measurements as store
from lossbench.runs.measurements import Identity
from lossbench.studies.measurements import Measurement, measure_all, result_of
from lossbench.studies.results import known_results

BIAS = Identity("example", "bias", {"samples": 10})


class Counted:
    """Something that is measured, and how often it was."""

    def __init__(self, value: Any = 0.25) -> None:
        self.value, self.times = value, 0

    def __call__(self) -> Mapping[str, Any]:
        self.times += 1
        if isinstance(self.value, BaseException):
            raise self.value
        return {"mean": self.value}


def measured(measure: Callable[[], Mapping[str, Any]], identity: Identity = BIAS) -> Measurement:
    return Measurement(identity, measure)


def test_a_measurement_is_done_once_and_read_from_both_places(tmp_path: Path) -> None:
    own, committed, counted = tmp_path / "out", tmp_path / "results", Counted()
    assert measure_all([measured(counted)], own, committed).finished == [BIAS.id]
    assert measure_all([measured(counted)], own, committed).skipped == [BIAS.id]
    assert measure_all([measured(counted)], tmp_path / "another", committed).skipped == [BIAS.id]
    assert counted.times == 1
    for place in (own, committed):
        assert (place / "measurements" / BIAS.id / "result.json").exists()
        assert result_of(BIAS, [place]) == {"mean": 0.25}
    assert known_results(own, None).measured(BIAS) == {"mean": 0.25}
    assert known_results(tmp_path / "none", tmp_path / "no results").measured(BIAS) is None


def test_what_can_change_a_result_is_in_its_name() -> None:
    assert BIAS.id == Identity("example", "bias", {"samples": 10.0, "later_option": None}).id
    others = [
        Identity("example", "bias", {"samples": 11}),
        Identity("example", "bias", {"samples": 10}, version=2),
        Identity("example", "variance", {"samples": 10}),
        Identity("another", "bias", {"samples": 10}),
    ]
    assert len({BIAS.id, *(one.id for one in others)}) == 5
    assert BIAS.id.startswith("example-bias-")
    with pytest.raises(ValueError, match=r"must be of a-z, 0-9 and _, got 'a/b'"):
        Identity("example", "a/b")
    with pytest.raises(ValueError, match="parameters of measurement bias of example must be plain JSON"):
        Identity("example", "bias", {"at": float("nan")})


def test_one_that_fails_is_named_and_the_others_are_done(tmp_path: Path) -> None:
    bad, other = Identity("example", "bad"), Identity("example", "other")
    chosen = [measured(Counted(ValueError("no data")), bad), measured(Counted({1}), BIAS), measured(Counted(1), other)]
    summary = measure_all(chosen, tmp_path)
    assert summary.finished == [other.id]
    assert summary.failed[bad.id] == "ValueError: no data"
    assert summary.failed[BIAS.id].startswith(f"ValueError: the result of {BIAS.id} is no plain JSON")
    assert "no data" in (store.folder_of(bad, tmp_path) / "failure.txt").read_text()
    again = measure_all([measured(Counted(2), bad)], tmp_path)
    assert again.finished == [bad.id]
    assert not (store.folder_of(bad, tmp_path) / "failure.txt").exists()


def test_a_kill_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, content: bytes) -> None:
        path.with_name(f".{path.name}.1.tmp").write_bytes(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            measure_all([measured(Counted())], tmp_path)
    assert result_of(BIAS, [tmp_path]) is None
    assert measure_all([measured(Counted())], tmp_path).finished == [BIAS.id]
    folder = store.folder_of(BIAS, tmp_path)
    assert {path.name for path in folder.iterdir()} - {".claim"} == {"result.json"}


@pytest.mark.parametrize("damage", ["", '{"result": {}}', "[]", '{"measurement": {}, "result": {}}'])
def test_a_damaged_result_is_named_and_measured_again(tmp_path: Path, damage: str) -> None:
    measure_all([measured(Counted(1))], tmp_path)
    path = store.folder_of(BIAS, tmp_path) / "result.json"
    path.write_text(damage)
    with pytest.raises(ValueError, match=f"{path} is .*; remove it to measure again"):
        result_of(BIAS, [tmp_path])
    assert known_results(tmp_path, None).measured(BIAS) is None
    summary = measure_all([measured(Counted(2))], tmp_path)
    assert summary.finished == [BIAS.id]
    assert [str(path) in sentence for sentence in summary.damaged] == [True]
    assert result_of(BIAS, [tmp_path]) == {"mean": 2}


def test_what_another_process_is_measuring_is_left_to_it(tmp_path: Path) -> None:
    counted = Counted()
    with store.held(BIAS, tmp_path) as free:
        assert free
        assert measure_all([measured(counted)], tmp_path).busy == [BIAS.id]
    assert counted.times == 0
