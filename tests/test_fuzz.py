"""Files on disk may be anything: damage is named, or the numbers are the same; each property catches a fault."""

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_runs import config, divergence, finished

from lossbench import NUMERICS
from lossbench.config.run import name_of
from lossbench.runs import records
from lossbench.runs.archive import export_archive, import_archive
from lossbench.runs.checks import DAMAGES
from lossbench.runs.folder import FILES, Run
from lossbench.runs.records import Found, committed_records, merge, own_records, verify

pytestmark = pytest.mark.long

Paths = tuple[str | int, ...]
RESULTS = ("test_accuracy", "test_accuracy_best")

ODD = (None, True, False, -1, 10**400, 1e300, math.nan, math.inf, "", "\ud800", "a\nb\0", [], {}, [[]], {"": None})
junk = st.one_of(
    st.sampled_from(ODD),
    st.floats(0, 1),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run that nobody has touched."""
    return finished(tmp_path_factory.mktemp("whole"), test_accuracy=0.9)


def leaves(value: Any, path: Paths = ()) -> Iterator[Paths]:
    """The places of everything in a JSON value, itself left out."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from leaves(item, (*path, key))


def at(value: Any, path: Paths) -> Any:
    for key in path:
        value = value[key]
    return value


def changed(draw: st.DrawFn, good: Mapping[str, Any]) -> bytes:
    """A record in which one value is another, of another type, or gone."""
    fields = deepcopy(dict(good))
    known = [(name,) for name in (*RESULTS, "epoch", "step", "reason")] + [("curves", "test/accuracy", 19)]
    often = [path for path in known if path[0] in fields]
    *parents, key = draw(st.sampled_from(often) | st.sampled_from(list(leaves(fields))))
    parent = at(fields, tuple(parents))
    old = parent[key]
    kind = draw(st.sampled_from(["junk", "gone", "text", "list", "number", "moved"]))
    if kind == "gone":
        del parent[key]
    elif kind == "moved":
        parent[f"{key}_" if isinstance(parent, dict) else 0] = parent.pop(key)
    else:
        numbers = float(old) if isinstance(old, (bool, int)) else 1
        parent[key] = {"junk": draw(junk), "text": str(old), "list": [old], "number": numbers}[kind]
    return json.dumps(fields).encode()


def damaged(draw: st.DrawFn, text: bytes) -> bytes:
    """A file that was cut, hit by a flipped bit, written in another encoding, or is something else."""
    place = draw(st.integers(0, len(text) - 1))
    kind = draw(st.sampled_from(["cut", "flip", "flip", "byte", "garbage", "deep", "encoding"]))
    return {
        "cut": text[:place],
        "flip": text[:place] + bytes([text[place] ^ 1 << draw(st.integers(0, 7))]) + text[place + 1 :],
        "byte": text[:place] + draw(st.binary(min_size=1, max_size=2)) + text[place + 1 :],
        "garbage": draw(st.binary(max_size=99)),
        "deep": draw(st.sampled_from([b"[", b'{"config":'])) * draw(st.sampled_from([500, 3000, 99999])),
        "encoding": text.decode(errors="replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig"]))),
    }[kind]


@st.composite
def touched(draw: st.DrawFn, good: Mapping[str, Any]) -> bytes:
    text = changed(draw, good) if draw(st.booleans()) else json.dumps(good).encode()
    return damaged(draw, text) if draw(st.booleans()) else text


def is_sentence(text: str, *words: object) -> bool:
    """Whether a problem can be printed, is short, and names its place."""
    return 20 < len(text.encode()) < 5000 and all(str(word) in text for word in words)


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What a function returns, or the sentence with which it refuses."""
    try:
        return function(*args)
    except ValueError as error:
        return str(error)


def check_found(found: Found, good: Mapping[str, Any], place: Path) -> None:
    """The record with the results that the run wrote, or a problem."""
    assert all(is_sentence(problem.message, place) for problem in found.problems)
    assert len(found.records) + len(found.problems) >= 1
    for name, record in found.records.items():
        assert name == record.id == good["run_id"]
        for key in RESULTS:
            assert type(record.fields[key]) is float
            assert record.fields[key] == good[key]
        assert name_of(record.fields["config"], record.fields["numerics"]) == name
        assert not re.search("[\ud800-\udfff]", json.dumps(record.fields, ensure_ascii=False))
    assert all(is_sentence(problem.message) for problem in verify(found))


@given(st.data())
@settings(max_examples=400)
def test_a_touched_result_is_named_or_has_the_same_numbers(whole: Run, data: st.DataObject) -> None:
    good = whole.record()
    path = whole.folder / "result.json"
    before = path.read_bytes()
    try:
        path.write_bytes(data.draw(touched(good)))
        check_found(own_records(whole.folder.parents[1]), good, path)
    finally:
        path.write_bytes(before)


@given(st.data())
@settings(max_examples=400)
def test_touched_lines_of_committed_records_are_named(whole: Run, data: st.DataObject) -> None:
    good = whole.record()
    line = json.dumps(good).encode()
    lines = data.draw(st.lists(st.just(line) | touched(good), min_size=1, max_size=4))
    with TemporaryDirectory() as folder:
        path = Path(folder, "records.jsonl")
        path.write_bytes(b"\n".join(lines) + data.draw(st.sampled_from([b"", b"\n", b"\r\n\n"])))
        found = committed_records(folder)
        if any(part.strip() for part in lines):
            check_found(found, good, path)
            check_found(merge(found, found), good, path)
        if all(part == line for part in lines):
            assert len(found.problems) == len(lines) - 1
        merged = merge(found, own_records(whole.folder.parents[1]))
        assert all(is_sentence(problem.message) for problem in merged.problems)
        assert merged.records or merged.problems


@given(st.data())
@settings(max_examples=400)
def test_touched_lines_of_committed_failures_are_named(data: st.DataObject) -> None:
    good = divergence(config(Path("outputs")))
    line = json.dumps(good).encode()
    lines = data.draw(st.lists(st.just(line) | touched(good), min_size=1, max_size=4))
    with TemporaryDirectory() as folder:
        path = Path(folder, "failures.jsonl")
        path.write_bytes(b"\n".join(lines))
        found = committed_records(folder)
    assert found.records == {}
    assert all(is_sentence(problem.message, path) for problem in found.problems)
    assert found.diverged or found.problems or not any(part.strip() for part in lines)
    for name, one in found.diverged.items():
        assert name == one.id == good["run_id"]
        assert type(one.fields["epoch"]) is int
        assert 1 <= one.fields["epoch"] <= 20
        assert one.fields["step"] is None or (type(one.fields["step"]) is int and one.fields["step"] >= 1)
        assert one.reason.isprintable()
        assert one.reason
    if all(part == line for part in lines):
        assert len(found.problems) == len(lines) - 1


@given(st.data())
def test_odd_names_of_runs_are_refused(whole: Run, data: st.DataObject) -> None:
    fields = deepcopy(whole.record())
    group = data.draw(st.sampled_from(["dataset", "model", "loss"]))
    text = st.text(max_size=300) | st.sampled_from(["../..", "/", "a/b", "\ud800", "x" * 500, "\0", "\n", ".", ""])
    fields["config"][group]["name"] = name = data.draw(text)
    fields["run_id"] = name_of(fields["config"], NUMERICS)
    with TemporaryDirectory() as folder:
        path = Path(folder, "records.jsonl")
        path.write_text(json.dumps(fields) + "\n")
        found = committed_records(folder)
        assert all(is_sentence(problem.message, path) for problem in found.problems)
        assert len(found.records) + len(found.problems) == 1
        for record in found.records.values():
            assert record.arrays_path.parent == Path(folder, "arrays")
            assert not {*name} & {*"/\\\0\n"}
        assert all(is_sentence(problem.message) for problem in verify(found))


@given(st.data())
def test_touched_arrays_are_named(whole: Run, data: st.DataObject) -> None:
    path = whole.folder / "arrays.npz"
    before = path.read_bytes()
    after = damaged(data.draw, before)
    record = whole.record()
    if data.draw(st.booleans()):  # somebody has made the checksum fit
        record["arrays_sha256"] = hashlib.sha256(after).hexdigest()
    found = Found({whole.id: records.Record(record, path)}, [])
    try:
        path.write_bytes(after)
        problems = verify(found)
    finally:
        path.write_bytes(before)
    if after != before and record["arrays_sha256"] == whole.record()["arrays_sha256"]:
        assert problems
    assert all(is_sentence(problem.message, path) for problem in problems)


@given(st.data())
@settings(max_examples=300)
def test_a_touched_archive_is_refused_or_brings_the_same_numbers(whole: Run, data: st.DataObject) -> None:
    good = whole.record()
    with TemporaryDirectory() as folder:
        archive, target = Path(folder, "runs.zip"), Path(folder, "target")
        if data.draw(st.booleans()):
            export_archive(archive, whole.folder.parents[1])
            archive.write_bytes(damaged(data.draw, archive.read_bytes()))
        else:
            names = data.draw(st.permutations(FILES))
            odd = data.draw(st.sampled_from([*[whole.id] * 6, "..", "", "a/b", "con", "x" * 200, "\u2028"]))
            hit = data.draw(st.sampled_from([*FILES, "any", "none"]))
            with zipfile.ZipFile(archive, "w") as file:
                for name in names[: data.draw(st.sampled_from([4, 4, 3]))]:
                    text = (whole.folder / name).read_bytes()
                    touch = hit == name or (hit == "any" and data.draw(st.booleans()))
                    other = data.draw(touched(good)) if name == "result.json" else damaged(data.draw, text)
                    file.writestr(f"{odd}/{name}", other if touch else text)
        done = outcome(import_archive, archive, target)
        if isinstance(done, str):
            assert is_sentence(done, archive)
            assert not target.exists()
            return
        assert done == (1, 0, [])
        check_found(own_records(target), good, target)
        assert verify(own_records(target)) == []
        assert (target / "runs" / whole.id / "arrays.npz").read_bytes() == (whole.folder / "arrays.npz").read_bytes()


@given(st.integers(0, 4), st.integers(0, 5), st.binary(max_size=30), st.data())
def test_metrics_are_those_of_the_checkpoints_epochs(
    last_epoch: int, written: int, tail: bytes, data: st.DataObject
) -> None:
    accuracies = data.draw(st.lists(st.floats(0, 1), min_size=written, max_size=written))
    lines = [{"epoch": epoch, "test/accuracy": value} for epoch, value in enumerate(accuracies, start=1)]
    with TemporaryDirectory() as folder:
        run, path = Run(Path(folder)), Path(folder, "metrics.jsonl")
        for line in lines:
            run.append_metrics(line)
        if data.draw(st.booleans()) and written > last_epoch:  # a kill within the epoch after the checkpoint
            tail = json.dumps(lines[last_epoch]).encode()[: data.draw(st.integers(0, 30))]
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:last_epoch]))
        before = (path.read_bytes() if path.exists() else b"") + tail
        path.write_bytes(before)
        metrics = outcome(run.metrics, last_epoch)
        if written < last_epoch:
            assert is_sentence(metrics, path)
            assert path.read_bytes() == before
            return
        assert metrics == lines[:last_epoch]
        run.append_metrics({"epoch": last_epoch + 1})  # the next epoch, on a line of its own
        assert run.metrics(last_epoch + 1) == [*lines[:last_epoch], {"epoch": last_epoch + 1}]


@given(st.data())
def test_damaged_metrics_are_an_error_or_complete(data: st.DataObject) -> None:
    text = b"".join(json.dumps({"epoch": epoch}).encode() + b"\n" for epoch in (1, 2, 3))
    with TemporaryDirectory() as folder:
        run, path = Run(Path(folder)), Path(folder, "metrics.jsonl")
        path.write_bytes(damaged(data.draw, text))
        metrics = outcome(run.metrics, 3)
        if isinstance(metrics, str):
            assert is_sentence(metrics, path)
            return
        assert [line["epoch"] for line in metrics] == [1, 2, 3]
        run.append_metrics({"epoch": 4})
        assert len(run.metrics(4)) == 4


@given(st.binary(max_size=99))
def test_a_reason_may_be_anything(reason: bytes) -> None:
    with TemporaryDirectory() as folder:
        run = Run(Path(folder))
        (run.folder / "failure.txt").write_bytes(reason)
        said = run.failure()
        assert said is None or "\n" not in said
        run.fail(reason.decode(errors="surrogateescape"))
        assert (run.failure() is None) == (not reason.strip())


def unchecked(text: records.Text, arrays: Path, place: str) -> records.Record:
    """A reader that takes the accuracy as it stands."""
    try:
        fields = json.loads(text.read_bytes() if isinstance(text, Path) else text)
        if fields["run_id"] != name_of(fields["config"], fields["numerics"]):
            raise ValueError(f"{place} holds a record of another name")
        if not all(0 <= fields[name] <= 1 for name in RESULTS):
            raise ValueError(f"{place} holds a record with an accuracy out of 0..1")
    except DAMAGES as error:
        raise ValueError(f"{place} holds a damaged record") from error
    return records.Record(fields, arrays)


def no_checksum(record: records.Record, content: bytes = b"") -> dict[str, Any]:
    return {}


def with_part_of_a_line(run: Run, last_epoch: int) -> list[dict[str, Any]]:
    """What a reader without the last line's end does."""
    path = run.folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)[:last_epoch] if path.exists() else []
    metrics = [json.loads(line) for line in lines]
    if len(metrics) < last_epoch:
        raise ValueError(f"{path} lacks epochs of 1 to {last_epoch}")
    return metrics


FAULTS: list[tuple[str, Any, Callable[..., None]]] = [
    ("lossbench.runs.records._record", unchecked, test_a_touched_result_is_named_or_has_the_same_numbers),
    ("lossbench.runs.records._record", unchecked, test_touched_lines_of_committed_records_are_named),
    ("lossbench.runs.records.re.fullmatch", lambda *args: True, test_odd_names_of_runs_are_refused),
    ("lossbench.runs.records.Record.arrays", no_checksum, test_touched_arrays_are_named),
    ("lossbench.runs.records.Record.unpack", no_checksum, test_a_touched_archive_is_refused_or_brings_the_same_numbers),
]


@pytest.mark.parametrize(("place", "fault", "law"), FAULTS)
def test_a_faulty_reader_is_caught(
    place: str, fault: Any, law: Callable[..., None], whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, fault)
    with pytest.raises(AssertionError):
        law(whole)


def test_a_faulty_reader_of_metrics_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "metrics", with_part_of_a_line)
    with pytest.raises(AssertionError):
        test_metrics_are_those_of_the_checkpoints_epochs()
