"""Records: which are found, which are refused, and which are exported."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import ARRAYS, config, contents, finished, result

from lossbench import NUMERICS
from lossbench.config.options import DatasetConfig
from lossbench.config.run import name_of, run_id
from lossbench.data.digits import Digits
from lossbench.data.mnist_type import MnistType
from lossbench.runs.archive import export_archive, import_archive, publish
from lossbench.runs.folder import FILES, open_run
from lossbench.runs.records import Found, Record, all_records, committed_records, merge, outdated, own_records, verify
from lossbench.studies.results import known_results


def known(found: Any) -> Any:
    assert found is not None
    return found


def test_a_run_is_where_its_name_says(tmp_path: Path) -> None:
    run = finished(tmp_path)
    assert run.folder == tmp_path / "runs" / run.id
    (record,) = own_records(tmp_path).records.values()
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


def found(folder: Path, test_accuracy: float, **changes: Any) -> Found:
    finished(folder, 0, test_accuracy, **changes)
    return own_records(folder)


def test_merge_takes_a_run_that_is_there_twice_once(tmp_path: Path) -> None:
    own, committed = found(tmp_path / "own", 0.9), found(tmp_path / "committed", 0.9)
    finished(tmp_path / "committed", seed=1)
    merged = merge(own, own_records(tmp_path / "committed"))
    assert set(merged.records) == {*own.records, run_id(config(tmp_path, 1))}
    assert merged.problems == []
    (name,) = own.records
    assert merged.records[name] is own.records[name]
    assert merge(committed, own).records[name] is committed.records[name]


def test_a_run_with_two_results_on_one_machine_is_in_no_table(tmp_path: Path) -> None:
    own, committed = found(tmp_path / "own", 0.9), found(tmp_path / "committed", 0.8)
    merged = merge(own, committed)
    assert merged.records == {}
    (problem,) = merged.problems
    assert "disagree: test_accuracy 0.9 " in problem.message
    assert " and 0.8 " in problem.message
    for each in (own, committed):
        assert str(next(iter(each.records.values())).arrays_path) in problem.message


@pytest.mark.parametrize("deterministic", [True, False])
def test_on_a_gpu_only_a_deterministic_run_contradicts_itself(deterministic: bool, tmp_path: Path) -> None:
    own, committed = found(tmp_path / "own", 0.9), found(tmp_path / "committed", 0.8)
    (name,) = own.records
    for each in (own, committed):
        each.records[name].fields.update(device="cuda", deterministic=deterministic)
    merged = merge(own, committed)
    assert (list(merged.records), len(merged.problems)) == (([], 1) if deterministic else ([name], 0))


OTHER_MACHINES = [{"device": "cuda"}, {"device_name": "another"}, {"num_threads": 2}, {"deterministic": True}]


@pytest.mark.parametrize("machine", [*OTHER_MACHINES, {"versions": {"torch": "2.1"}}], ids=lambda machine: min(machine))
def test_merge_prefers_the_earlier_source_over_another_machine(machine: Mapping[str, Any], tmp_path: Path) -> None:
    own, committed = found(tmp_path / "own", 0.9), found(tmp_path / "committed", 0.8, **machine)
    (name,) = own.records
    assert merge(own, committed).records[name].fields["test_accuracy"] == 0.9
    assert merge(committed, own).records[name].fields["test_accuracy"] == 0.8


def without(key: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != key}


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path, other = finished(tmp_path).folder / "result.json", finished(tmp_path, seed=1)
    good = json.loads(path.read_text())
    damaged = [json.dumps(good)[:-20], "", "[]", "null", "\0" * 50, json.dumps(good | {"test_accuracy": None})]
    damaged += [json.dumps(without(key, good)) for key in ("run_id", "numerics", "config", "test_accuracy")]
    damaged += [json.dumps(good | {"config": without("loss", good["config"])})]
    for content in [*(text.encode() for text in damaged), b"\xff\xfe" * 20]:
        path.write_bytes(content)
        whole = own_records(tmp_path)
        assert list(whole.records) == [other.id]
        (problem,) = whole.problems
        assert problem.message.startswith(f"{path} holds a damaged record")


def test_a_record_under_another_runs_name_is_refused(tmp_path: Path) -> None:
    path = finished(tmp_path).folder / "result.json"
    good = json.loads(path.read_text())
    for changes in ({"config": good["config"] | {"seed": 1}}, {"numerics": NUMERICS + 1}, {"run_id": "another"}):
        path.write_text(json.dumps(good | changes))
        records, (problem,), _ = own_records(tmp_path)
        assert records == {}
        assert problem.message.startswith(f"{path} holds a record named ")
        assert problem.message.endswith("remove it")


@pytest.mark.parametrize("accuracy", [-0.1, 91.4, float("nan"), float("inf")])
def test_an_accuracy_that_cannot_be_is_refused(accuracy: float, tmp_path: Path) -> None:
    finished(tmp_path, test_accuracy=accuracy)
    records, (problem,), _ = own_records(tmp_path)
    assert records == {}
    assert "not in 0..1" in problem.message


def test_arrays_that_another_hand_has_touched_are_named(tmp_path: Path) -> None:
    run, other = finished(tmp_path), finished(tmp_path, seed=1)
    found = own_records(tmp_path)
    assert verify(found) == []
    path = run.folder / "arrays.npz"
    whole = path.read_bytes()
    for content in (
        whole[:-1],
        whole[:50] + bytes([whole[50] ^ 1]) + whole[51:],
        (other.folder / "arrays.npz").read_bytes() + b"x",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path} is not what {run.id} wrote"):
            found.records[run.id].arrays()
        assert len(verify(found)) == 1
        with pytest.raises(ValueError, match="is not what"):
            publish(tmp_path, tmp_path / "results")
        assert contents(tmp_path / "results") == {}
    path.unlink()
    assert list(map(str, verify(found))) == [f"{path} is missing"]


def run_on(folder: Path, dataset: DatasetConfig, kept: Mapping[str, np.ndarray]) -> Record:
    """The record of a run on a data set, with these arrays."""
    made = config(folder)
    made.dataset = dataset
    run = open_run(made)
    run.start(made)
    run.finish(result(made), ARRAYS | kept)
    return own_records(folder).records[run.id]


def test_a_run_knows_what_its_test_images_are(tmp_path: Path) -> None:
    own = np.array([1, 0, 1], np.uint8)
    record = run_on(tmp_path / "own", MnistType("mnist"), {"test_predictions": own, "test_labels": own})
    assert known(record.test_labels(known(record.arrays()))).tolist() == [1, 0, 1]  # not MNIST's 10,000
    record = run_on(tmp_path / "old", MnistType("fmnist", classes=[4, 6]), {"test_predictions": np.zeros(2000, int)})
    labels = known(record.test_labels(known(record.arrays())))
    assert np.bincount(labels).tolist() == [1000, 1000]
    record = run_on(tmp_path / "digits", Digits(), {"test_predictions": own})
    assert record.test_labels(known(record.arrays())) is None


@pytest.mark.parametrize("name", ["test_predictions", "test_logits"])
def test_predictions_of_other_images_than_the_data_sets_are_named(name: str, tmp_path: Path) -> None:
    kept = np.zeros((9, 2), np.float16) if name == "test_logits" else np.zeros(9, np.uint8)
    record = run_on(tmp_path, MnistType("mnist"), {name: kept})
    (problem,) = verify(own_records(tmp_path))
    assert problem.run == record.id
    assert problem.message == (
        f"{record.arrays_path} holds {name} of 9 images, and {record.id} is tested on 10000; remove it"
    )
    results = known_results(tmp_path, None)
    assert results.problems() == [problem.message]


def test_runs_of_another_numerics_are_not_used(tmp_path: Path) -> None:
    run = finished(tmp_path)
    path = run.folder / "result.json"
    fields = json.loads(path.read_text())
    old = fields | {"numerics": 1, "run_id": name_of(fields["config"], 1)}
    path.write_text(json.dumps(old))
    run.folder.rename(run.folder.with_name(old["run_id"]))
    finished(tmp_path, seed=1)
    assert outdated(own_records(tmp_path).records.values()) == [old["run_id"]]


def test_a_damaged_line_of_committed_records_is_named(tmp_path: Path) -> None:
    finished(tmp_path / "own")
    publish(tmp_path / "own", tmp_path / "results")
    path = tmp_path / "results" / "records.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    records, (problem,), _ = committed_records(tmp_path / "results")
    assert records == {}
    assert problem.message.startswith(f"{path}, line 1 holds a damaged record")
    with pytest.raises(ValueError, match="damaged"):  # publishing would lose what is left of the line
        publish(tmp_path / "own", tmp_path / "results")
    assert committed_records(None) == committed_records(tmp_path / "elsewhere") == Found({}, [])


def test_a_record_that_is_committed_twice_is_named(tmp_path: Path) -> None:
    run = finished(tmp_path / "own")
    publish(tmp_path / "own", tmp_path / "results")
    path = tmp_path / "results" / "records.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    records, problems, _ = committed_records(tmp_path / "results")
    assert list(records) == [run.id]
    assert list(map(str, problems)) == [f"{path}, line 2 holds {run.id} a second time; remove one"]


def test_export_and_import_keep_every_byte(tmp_path: Path) -> None:
    for seed in (0, 1):
        (finished(tmp_path / "a", seed).folder / "train.log").write_text("stays here")
    open_run(config(tmp_path / "a", 2)).start(config(tmp_path / "a", 2))  # not finished
    archive = tmp_path / "runs.zip"
    assert len(export_archive(archive, tmp_path / "a").records) == 2
    finished(tmp_path / "b", seed=1)
    before = contents(tmp_path / "b")
    assert import_archive(archive, tmp_path / "b") == (1, 1, [])
    after = contents(tmp_path / "b")
    expected = {name: content for name, content in contents(tmp_path / "a").items() if Path(name).name in FILES}
    new = {name for name in expected if run_id(config(tmp_path, 0)) in name}
    assert after == before | {name: expected[name] for name in new}
    assert len(new) == 4
    assert import_archive(archive, tmp_path / "b") == (0, 2, [])
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
    with pytest.raises(ValueError, match=f"{archive} is not an archive of complete runs"):
        import_archive(archive, tmp_path / "b")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("folder", ["..", ".", "/", "another"])
def test_an_archive_with_a_run_under_another_name_is_refused(folder: str, tmp_path: Path) -> None:
    run = finished(tmp_path / "a")
    archive = tmp_path / "runs.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in FILES:
            file.write(run.folder / name, f"{folder}/{name}")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=str(archive)):
        import_archive(archive, tmp_path / "b" / "c")
    assert contents(tmp_path) == before


def test_publish_adds_records_and_arrays_once(tmp_path: Path) -> None:
    results = tmp_path / "results"
    finished(tmp_path / "a", seed=1)
    assert publish(tmp_path / "a", results) == 1
    run = finished(tmp_path / "a", seed=0)
    assert publish(tmp_path / "a", results) == 1
    published = contents(results)
    ids = sorted(run_id(config(tmp_path, seed)) for seed in (0, 1))
    assert sorted(published) == sorted(["records.jsonl", *(f"arrays/{id_}.npz" for id_ in ids)])
    assert published[f"arrays/{run.id}.npz"] == (run.folder / "arrays.npz").read_bytes()
    committed = committed_records(results).records
    assert list(committed) == ids
    own = own_records(tmp_path / "a").records
    for name, record in own.items():
        assert str(tmp_path) in json.dumps(record.fields)
        assert str(tmp_path) not in json.dumps(committed[name].fields)  # nobody's business
        runtime = dict(record.fields["config"]["runtime"])
        del runtime["output_dir"], runtime["data_dir"]
        whole = record.fields["config"] | {"runtime": runtime}
        assert committed[name].fields == dict(record.fields) | {"config": whole}
    arrays = committed[ids[0]].arrays()
    assert arrays is not None
    assert np.array_equal(arrays["output_bias"], ARRAYS["output_bias"])
    assert publish(tmp_path / "a", results) == 0
    assert publish(tmp_path / "nothing", results) == 0
    assert contents(results) == published
    merged = all_records(tmp_path / "a", results).records
    assert [merged[id_].arrays_path.parent.parent.parent.name for id_ in ids] == ["a", "a"]


def test_publish_of_named_runs_leaves_the_others_alone(tmp_path: Path) -> None:
    wanted, other, damaged = (finished(tmp_path / "a", seed) for seed in range(3))
    (damaged.folder / "result.json").write_text("{}")
    assert publish(tmp_path / "a", tmp_path / "results", {wanted.id, "not-there"}) == 1
    assert list(committed_records(tmp_path / "results").records) == [wanted.id]
    assert publish(tmp_path / "a", tmp_path / "results", set()) == 0
    with pytest.raises(ValueError, match="damaged"):
        publish(tmp_path / "a", tmp_path / "results")
    assert other.id not in committed_records(tmp_path / "results").records
