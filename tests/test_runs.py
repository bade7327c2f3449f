"""Run folders and records: what is written when, what is refused, and what travels."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossbench import NUMERICS, runs
from lossbench.config import Cnn2c, Config, Digits, Runtime, Schedule, Sml
from lossbench.files import write_atomically, write_bytes
from lossbench.runs import Record, Run, committed_records, export_archive, import_archive, merge, open_run, own_records

ARRAYS = {"confusion_matrix": np.eye(3, dtype=np.int64), "output_bias": np.array([0.5, -1.0, 2.0], np.float32)}


def config(folder: Path, seed: int = 0) -> Config:
    return Config(Digits(), Cnn2c(), Sml(), Schedule(), seed, Runtime(output_dir=str(folder)))


def result(config: Config, test_accuracy: float = 0.9, **changes: Any) -> dict[str, Any]:
    """The record of a run that was never trained."""
    fields = {"run_id": runs.run_id(config), "numerics": NUMERICS, "config": asdict(config)}
    fields |= {"test_accuracy": test_accuracy, "device": "cpu", "device_name": "a processor", "num_threads": 1}
    return fields | {"deterministic": False, "versions": {"torch": "2.0"}} | changes


def finished(folder: Path, seed: int = 0, test_accuracy: float = 0.9, **changes: Any) -> Run:
    """A finished run below `folder`, its record as given."""
    run = open_run(config(folder, seed))
    run.start(config(folder, seed))
    run.append_metrics({"epoch": 1, "test/accuracy": test_accuracy})
    run.finish(result(config(folder, seed), test_accuracy, **changes), ARRAYS)
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_record_is_written_last_and_means_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(config(tmp_path))
    assert not tmp_path.joinpath("runs").exists()
    run.start(config(tmp_path))
    run.write_checkpoint(b"state")
    written: list[str] = []

    def spy(path: Path, write: Any) -> None:
        written.append(path.name)
        assert not run.finished
        assert run.read_checkpoint() == b"state"
        write_atomically(path, write)

    monkeypatch.setattr("lossbench.runs.write_atomically", spy)
    monkeypatch.setattr("lossbench.runs.write_bytes", lambda path, content: spy(path, lambda f: f.write(content)))
    assert run.read_checkpoint() == b"state"
    run.finish(result(config(tmp_path)), ARRAYS)
    assert written == ["arrays.npz", "result.json"]
    assert run.finished
    assert run.record() == result(config(tmp_path))
    assert run.read_checkpoint() is None
    assert json.loads((run.folder / "config.json").read_text()) == asdict(config(tmp_path))


def test_a_run_is_where_its_name_says(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert run.folder == tmp_path / "runs" / run.id
    (record,) = own_records(tmp_path)
    assert record.id == run.id
    assert record.fields == run.record()
    arrays = record.arrays()
    assert arrays is not None
    assert arrays.keys() == ARRAYS.keys()
    assert all(
        np.array_equal(arrays[name], ARRAYS[name]) and arrays[name].dtype == ARRAYS[name].dtype for name in ARRAYS
    )
    (run.folder / "arrays.npz").unlink()
    assert record.arrays() is None


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
    assert sorted(path.name for path in run.folder.iterdir()) == sorted(runs.FILES)


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


def records(folder: Path, test_accuracy: float, **changes: Any) -> list[Record]:
    finished(folder, 0, test_accuracy, **changes)
    return own_records(folder)


def test_merge_takes_a_run_that_is_there_twice_once(tmp_path: Path) -> None:
    own, committed = records(tmp_path / "own", 0.9), records(tmp_path / "committed", 0.9)
    finished(tmp_path / "committed", seed=1)
    merged = merge(own, own_records(tmp_path / "committed"))
    assert set(merged) == {own[0].id, runs.run_id(config(tmp_path, 1))}
    assert merged[own[0].id] is own[0]
    assert merge(committed, own)[own[0].id] is committed[0]


def test_merge_refuses_a_run_with_two_results_on_one_machine(tmp_path: Path) -> None:
    own, committed = records(tmp_path / "own", 0.9), records(tmp_path / "committed", 0.8)
    with pytest.raises(ValueError, match=r"disagree: test_accuracy 0\.9 .* and 0\.8 ") as error:
        merge(own, committed)
    assert str(own[0].arrays_path) in str(error.value)
    assert str(committed[0].arrays_path) in str(error.value)


OTHER_MACHINES = [{"device": "cuda"}, {"device_name": "another"}, {"num_threads": 2}, {"deterministic": True}]


@pytest.mark.parametrize("machine", [*OTHER_MACHINES, {"versions": {"torch": "2.1"}}], ids=lambda machine: min(machine))
def test_merge_prefers_the_earlier_source_over_another_machine(machine: Mapping[str, Any], tmp_path: Path) -> None:
    own, committed = records(tmp_path / "own", 0.9), records(tmp_path / "committed", 0.8, **machine)
    assert merge(own, committed)[own[0].id].fields["test_accuracy"] == 0.9
    assert merge(committed, own)[own[0].id].fields["test_accuracy"] == 0.8


def without(key: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != key}


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path = finished(tmp_path).folder / "result.json"
    good = json.loads(path.read_text())
    damaged = [json.dumps(good)[:-20], "", "[]", "null", "\0" * 50, json.dumps(good | {"test_accuracy": None})]
    damaged += [json.dumps(without(key, good)) for key in ("run_id", "numerics", "config", "test_accuracy")]
    damaged += [json.dumps(good | {"config": without("loss", good["config"])})]
    for content in [*(text.encode() for text in damaged), b"\xff\xfe" * 20]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path} holds a damaged record"):
            own_records(tmp_path)


def test_a_record_under_another_runs_name_is_refused(tmp_path: Path) -> None:
    path = finished(tmp_path).folder / "result.json"
    good = json.loads(path.read_text())
    for changes in ({"config": good["config"] | {"seed": 1}}, {"numerics": NUMERICS + 1}, {"run_id": "another"}):
        path.write_text(json.dumps(good | changes))
        with pytest.raises(ValueError, match=f"{path} holds a record named .*remove it"):
            own_records(tmp_path)


def test_a_damaged_line_of_committed_records_is_named(tmp_path: Path) -> None:
    finished(tmp_path / "own")
    runs.publish(tmp_path / "own", tmp_path / "results")
    path = tmp_path / "results" / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=f"{path} holds a damaged record"):
        committed_records(tmp_path / "results")
    assert committed_records(None) == committed_records(tmp_path / "elsewhere") == []


def test_export_and_import_keep_every_byte(tmp_path: Path) -> None:
    for seed in (0, 1):
        (finished(tmp_path / "a", seed).folder / "train.log").write_text("stays here")
    open_run(config(tmp_path / "a", 2)).start(config(tmp_path / "a", 2))  # not finished
    archive = tmp_path / "runs.zip"
    assert export_archive(archive, tmp_path / "a") == 2
    finished(tmp_path / "b", seed=1)
    before = contents(tmp_path / "b")
    assert import_archive(archive, tmp_path / "b") == (1, 1)
    after = contents(tmp_path / "b")
    expected = {name: content for name, content in contents(tmp_path / "a").items() if Path(name).name in runs.FILES}
    new = {name for name in expected if runs.run_id(config(tmp_path, 0)) in name}
    assert after == before | {name: expected[name] for name in new}
    assert len(new) == 4
    assert import_archive(archive, tmp_path / "b") == (0, 2)
    assert contents(tmp_path / "b") == after
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "runs.zip"]


def test_an_archive_with_another_result_of_a_run_is_refused(tmp_path: Path) -> None:
    finished(tmp_path / "a", seed=0)
    finished(tmp_path / "a", seed=1, test_accuracy=0.7)
    export_archive(tmp_path / "runs.zip", tmp_path / "a")
    finished(tmp_path / "b", seed=1)
    before = contents(tmp_path / "b")
    with pytest.raises(ValueError, match="disagree"):
        import_archive(tmp_path / "runs.zip", tmp_path / "b")
    assert contents(tmp_path / "b") == before


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    finished(tmp_path / "a")
    archive = tmp_path / "runs.zip"
    export_archive(archive, tmp_path / "a")
    whole = archive.read_bytes()
    flipped = [whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :] for place in range(0, len(whole), 5)]
    for number, content in enumerate([whole[: len(whole) // 2], b"", b"text", *flipped]):
        archive.write_bytes(content)
        refused, target = "", tmp_path / f"b{number}"
        try:
            import_archive(archive, target)
        except ValueError as error:
            refused = str(error)
        if number < 3 or refused:
            assert str(archive) in refused
            assert not target.exists()
        else:  # the byte says nothing about the contents, such as the time of a file
            assert contents(target) == contents(tmp_path / "a")
    with pytest.raises(ValueError, match=r"nowhere\.zip"):
        import_archive(tmp_path / "nowhere.zip", tmp_path / "b")


@pytest.mark.parametrize(
    "foreign", ["../{}", "{}/../../{}", "/{}", "{}/checkpoint.pt", "{}/x/result.json", "{}/", "result.json"]
)
def test_an_archive_with_foreign_paths_is_refused(foreign: str, tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    archive = tmp_path / "runs.zip"
    export_archive(archive, tmp_path / "a")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(foreign.format(run.id, "result.json"), "{}")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"{archive} is not an archive of whole runs"):
        import_archive(archive, tmp_path / "b")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("folder", ["..", ".", "/", "another"])
def test_an_archive_with_a_run_under_another_name_is_refused(folder: str, tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    archive = tmp_path / "runs.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in runs.FILES:
            file.write(run.folder / name, f"{folder}/{name}")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=str(archive)):
        import_archive(archive, tmp_path / "b" / "c")
    assert contents(tmp_path) == before


def test_publish_adds_records_and_arrays_once(tmp_path: Path) -> None:
    results = tmp_path / "results"
    finished(tmp_path / "a", seed=1)
    assert runs.publish(tmp_path / "a", results) == 1
    run = finished(tmp_path / "a", seed=0)
    assert runs.publish(tmp_path / "a", results) == 1
    published = contents(results)
    ids = sorted(runs.run_id(config(tmp_path, seed)) for seed in (0, 1))
    assert sorted(published) == sorted(["records.jsonl", *(f"arrays/{id_}.npz" for id_ in ids)])
    assert published[f"arrays/{run.id}.npz"] == (run.folder / "arrays.npz").read_bytes()
    assert [record.id for record in committed_records(results)] == ids
    own = {record.id: record.fields for record in own_records(tmp_path / "a")}
    assert {record.id: record.fields for record in committed_records(results)} == own
    arrays = committed_records(results)[0].arrays()
    assert arrays is not None
    assert np.array_equal(arrays["output_bias"], ARRAYS["output_bias"])
    assert runs.publish(tmp_path / "a", results) == 0
    assert runs.publish(tmp_path / "nothing", results) == 0
    assert contents(results) == published
    merged = runs.all_records(tmp_path / "a", results)
    assert [merged[id_].arrays_path.parent.parent.parent.name for id_ in ids] == ["a", "a"]
