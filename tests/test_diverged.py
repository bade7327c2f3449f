"""Diverged runs: a result that is published, exported and shown, and that the reference plan does not repeat."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invented import plan_alone
from kinds_of_runs import Invoke, Made
from made_runs import config, contents, diverged, divergence, finished

from lossbench.cli.reference import _reference
from lossbench.config.run import Config, Runtime, Schedule, run_id
from lossbench.data.digits import Digits
from lossbench.engines.options import Local
from lossbench.runs.archive import export_archive, import_archive, publish
from lossbench.runs.folder import DIVERGED_FILES, Status, open_run
from lossbench.runs.records import Problem, all_records, committed_records, failures, own_records, verify
from lossbench.studies.aaai20.grid import cells
from lossbench.studies.aaai20.report import write_report
from lossbench.studies.options import Profile, Reproduce
from lossbench.sweep import run_all


def test_runs_that_diverged_are_published_and_other_failures_are_not(tmp_path: Path) -> None:
    own, results = tmp_path / "own", tmp_path / "results"
    second, first = diverged(own, seed=1), diverged(own, seed=0)
    open_run(config(own, 2)).fail("OutOfMemoryError: no room")
    done = finished(own, seed=3)
    assert publish(own, results, {second.id}) == 1
    assert list(committed_records(results).diverged) == [second.id]
    assert publish(own, results) == 2
    assert sorted(contents(results)) == [f"arrays/{done.id}.npz", "failures.jsonl", "records.jsonl"]
    lines = (results / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["run_id"] for line in lines] == sorted([first.id, second.id])
    assert str(tmp_path) not in "".join(lines)
    for line, seed in zip(lines, (0, 1), strict=True):
        expected = divergence(config(own, seed))
        runtime = {key: value for key, value in expected["config"]["runtime"].items() if not key.endswith("_dir")}
        assert json.loads(line) == expected | {"config": expected["config"] | {"runtime": runtime}}
    found = committed_records(results)
    assert (list(found.records), found.problems) == ([done.id], [])
    assert all(found.diverged[run.id].reason == divergence(config(own))["reason"] for run in (first, second))
    published = contents(results)
    assert publish(own, results) == publish(tmp_path / "nothing", results) == 0
    assert contents(results) == published


def test_why_runs_failed_is_known_from_own_and_committed_ones(tmp_path: Path) -> None:
    own, other, results = tmp_path / "own", tmp_path / "other", tmp_path / "results"
    for seed in (0, 1, 2):
        diverged(other, seed, reason="there")
    finished(other, 5)
    publish(other, results)
    names = [run_id(config(own, seed)) for seed in range(5)]
    assert failures(own, all_records(own, results)) == dict.fromkeys(names[:3], "there")
    assert failures(own, all_records(own, None)) == {}
    open_run(config(own, 0)).fail("Traceback\nOSError: the disk is full")  # there it has come to a result
    diverged(own, 1, reason="here")
    finished(own, 2)
    diverged(own, 3, reason="here, too")
    open_run(config(own, 4)).fail("Traceback\nOSError: the disk is full")
    open_run(config(own, 5)).fail("Traceback\nOSError: the disk is full")  # there it has a record
    said = ["there", "here", "here, too", "OSError: the disk is full"]
    assert failures(own, all_records(own, results)) == dict(zip([names[0], names[1], *names[3:]], said, strict=True))
    assert list(all_records(own, results).diverged) == [names[0], names[1], names[3]]
    publish(own, results)
    assert failures(tmp_path / "nothing", committed_records(results)) == {
        names[0]: "there",
        names[1]: "there",
        names[3]: "here, too",
    }
    assert list(committed_records(results).diverged) == names[:4]  # what was committed stays


@pytest.mark.parametrize(
    "changes",
    [
        *({"epoch": epoch} for epoch in (0, 21, 3.0, True, None, "3")),
        *({"step": step} for step in (0, -1, 7.0, True, "7")),
        *({"reason": reason} for reason in ("", "two\nlines", None, 3, "\ud800")),
        *({"device_name": None}, {"versions": {}}, {"commit": 3}, {"config": {}}),
    ],
    ids=str,
)
def test_a_damaged_divergence_is_named(changes: dict[str, Any], tmp_path: Path) -> None:
    own, results = tmp_path / "own", tmp_path / "results"
    run, other = diverged(own), diverged(own, seed=1)
    publish(own, results)
    first, second = (results / "failures.jsonl").read_text().splitlines()
    (results / "failures.jsonl").write_text(f"{json.dumps(json.loads(first) | changes)}\n\n{second}\n")
    write_own = run.folder / "diverged.json"
    write_own.write_text(json.dumps(json.loads(write_own.read_text()) | changes))
    before = contents(results)
    for found, place in (
        (committed_records(results), results / "failures.jsonl, line 1"),
        (own_records(own), write_own),
    ):
        assert list(found.diverged) == [other.id]
        assert [problem.message.partition(" (")[0] for problem in found.problems] == [
            f"{place} holds a damaged divergence"
        ]
        assert verify(found) == found.problems
    with pytest.raises(ValueError, match=r"failures\.jsonl, line 1 holds a damaged divergence"):
        publish(tmp_path / "nothing", results)  # else what is left of the line were lost
    with pytest.raises(ValueError, match=r"diverged\.json holds a damaged divergence"):
        publish(own, tmp_path / "new")
    assert contents(results) == before
    assert contents(tmp_path / "new") == {}
    assert run.id in failures(own, all_records(own, None))  # its failure.txt still says why
    assert failures(tmp_path / "nothing", committed_records(results)) == {other.id: divergence(config(own))["reason"]}


def test_a_divergence_under_another_runs_name_or_a_second_time_is_named(tmp_path: Path) -> None:
    own, results = tmp_path / "own", tmp_path / "results"
    run = diverged(own)
    publish(own, results)
    path = results / "failures.jsonl"
    line = path.read_text()
    path.write_text(line + line + line.replace('"seed": 0', '"seed": 1'))
    found = committed_records(results)
    assert list(found.diverged) == [run.id]
    assert found.problems[0].message == f"{path}, line 2 holds {run.id} a second time; remove one"
    assert found.problems[1].message.startswith(
        f"{path}, line 3 holds a record named {run.id!a} whose config is that of "
    )
    moved = run.folder.rename(run.folder.with_name("digits-cnn2c-sml-s7-00000000"))
    message = f"{moved}/diverged.json is the record of {run.id}; rename the folder, or remove it"
    assert own_records(own) == ({}, [Problem(message, moved.name)], {})


def test_an_archive_carries_runs_that_diverged(tmp_path: Path) -> None:
    runs = [diverged(tmp_path / "a", seed) for seed in (0, 1, 2)]
    finished(tmp_path / "a", seed=3)
    open_run(config(tmp_path / "a", 4)).fail("OSError: the disk is full")  # stays
    archive = tmp_path / "runs.zip"
    exported = export_archive(archive, tmp_path / "a")
    assert (len(exported.records), sorted(exported.diverged)) == (1, sorted(run.id for run in runs))
    here = [finished(tmp_path / "b", seed=0), open_run(config(tmp_path / "b", 1)), open_run(config(tmp_path / "b", 2))]
    here[1].start(config(tmp_path / "b", 1))
    here[1].write_checkpoint(b"state")
    diverged(tmp_path / "b", seed=3)
    before = contents(tmp_path / "b")
    assert import_archive(archive, tmp_path / "b") == (3, 1, [])
    after = contents(tmp_path / "b")
    assert {name: after[name] for name in before if here[0].id in name} == {
        name: content for name, content in before.items() if here[0].id in name
    }
    for run, source in zip(here[1:], runs[1:], strict=True):
        assert run.status() is Status.failed
        for name in DIVERGED_FILES:
            assert (run.folder / name).read_bytes() == (source.folder / name).read_bytes()
    assert here[1].read_checkpoint() == b"state"
    found = own_records(tmp_path / "b")
    assert sorted(found.records) == sorted([here[0].id, run_id(config(tmp_path, 3))])
    assert sorted(found.diverged) == sorted(run.id for run in here[1:])
    assert found.problems == []
    assert import_archive(archive, tmp_path / "b") == (0, 4, [])


@pytest.mark.parametrize("damage", [*DIVERGED_FILES, "more", "text"])
def test_an_archive_with_a_part_of_a_run_that_diverged_is_refused(damage: str, tmp_path: Path) -> None:
    run = diverged(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as file:
        for name in {*DIVERGED_FILES} - {damage}:
            file.writestr(f"{run.id}/{name}", "{}" if damage == "text" else (run.folder / name).read_bytes())
        if damage == "more":
            file.writestr(f"{run.id}/result.json", "{}")
    with pytest.raises(ValueError, match=f"{tmp_path}/runs.zip"):
        import_archive(tmp_path / "runs.zip", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def reference(folder: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Config], Reproduce]:
    """A plan of two short runs on digits, one of which diverges."""
    runtime = Runtime("cpu", str(folder), num_threads=1, parallel=1, tensorboard=False)
    good = replace(config(folder), dataset=Digits(num_train=64), schedule=Schedule(1, 32), runtime=runtime)
    plan = [replace(good, schedule=Schedule(2, 32, lr=1e20)), good]
    plan_alone(monkeypatch, [("two runs", plan)])
    return plan, Reproduce(results_dir=str(results), runtime=runtime)


def test_a_reference_run_that_diverged_is_published_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    (sick, good), plan = reference(tmp_path / "own", results, monkeypatch)
    with pytest.raises(SystemExit, match="1"):
        _reference(plan, Local())
    assert "2 records added to" in capsys.readouterr().out
    found = committed_records(results)
    assert (list(found.records), list(found.diverged), found.problems) == ([run_id(good)], [run_id(sick)], [])
    fields = found.diverged[run_id(sick)].fields
    assert (fields["epoch"], fields["step"], fields["device"], fields["num_threads"]) == (1, 2, "cpu", 1)
    assert fields["reason"].startswith("epoch 1, step 2: the loss sml is nan at lr 1e+20; the last finished epoch is 0")
    assert str(tmp_path) not in (results / "failures.jsonl").read_text()
    published = contents(results)

    def retried(configs: Sequence[Config]) -> None:
        raise AssertionError(f"tried again: {configs}")

    with monkeypatch.context() as patch:
        patch.setattr("lossbench.engines.launch.run_all", retried)
        _reference(plan, Local())
        _, elsewhere = reference(tmp_path / "elsewhere", results, patch)
        _reference(elsewhere, Local())
        said = "two runs: 0 of 2 runs to do, 0 TFLOP; 1 diverged, which is a result, and are not repeated\n"
        assert capsys.readouterr().out == 2 * f"{said}0 records added to {results}\n"
        assert contents(results) == published
        (results / "failures.jsonl").unlink()
        _reference(plan, Local())  # its own folder knows as well
        assert contents(results) == published
    assert list(run_all.run_all([sick]).failed) == [run_id(sick)]  # asked for by itself, it is


def test_a_run_whose_divergence_is_committed_is_shown_as_failed(tmp_path: Path) -> None:
    own, other, results = tmp_path / "own", tmp_path / "other", tmp_path / "results"
    cell = next(cell for cell in cells(5, "paper") if cell.column == "2")
    made = replace(cell.config, runtime=Runtime(output_dir=str(other)))
    open_run(made).diverge(divergence(made))
    publish(other, results)
    plan = Reproduce(profile=Profile.paper, tables=[5], results_dir=str(results), runtime=Runtime(output_dir=str(own)))
    folder = write_report("paper", plan)
    for name in ("table5.md", "index.html"):
        assert (folder / name).read_text().count("failed (1 of 5)") == 1
    for name in ("summary.md", "index.html"):
        said = (folder / name).read_text()
        assert said.count(f"{run_id(made)} failed: epoch 3, step 7: the loss sml is nan at lr 1") == 1


def test_runs_that_diverged_are_listed_and_shown(made: Made, invoke: Invoke) -> None:
    run = diverged(Path("outputs"), seed=7)
    invoke("publish", "results")
    assert invoke("export", "runs.zip").output == "3 finished runs and 1 that diverged written to runs.zip\n"
    assert "runs.csv would be an archive; name a .zip" in str(invoke("export", "runs.csv", code=1).exception)
    (line,) = json.loads(invoke("runs", "--seed", "7", "--json").stdout)
    assert (line["status"], line["epoch"], line["committed"]) == ("failed", 2, False)
    assert invoke("verify").output == "6 runs, all intact\n"
    run.remove()
    assert json.loads(invoke("runs", "--seed", "7", "--json").stdout) == []
    (line,) = json.loads(invoke("runs", "--seed", "7", "--committed", "--json").stdout)
    assert (line["status"], line["epoch"], line["committed"]) == ("failed", 2, True)
    assert line["reason"] == divergence(config(Path("outputs")))["reason"]
    known = json.loads(invoke("show", run.id, "--json").stdout)
    assert (known["result"]["device_name"], known["result"]["num_threads"], known["problems"]) == ("a processor", 1, [])
    assert f"reason: {line['reason']}\n" in invoke("show", run.id).output
    assert invoke("verify").output == "6 runs, all intact\n"
    invoke("import", "runs.zip")
    assert run.status() is Status.failed
    assert "1 run, " in invoke("remove", "--seed", "7", "--yes").output
    Path("results", "failures.jsonl").write_text("{}\n")
    assert "failures.jsonl, line 1 holds a damaged divergence" in invoke("verify", code=1).output
