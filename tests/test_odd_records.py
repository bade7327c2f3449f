"""A damaged record affects only itself: it is left out and named, and the other runs are shown."""

import errno
import hashlib
import json
import multiprocessing
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds_of_runs import Invoke, Made
from made_runs import contents

from lossbench.runs import checks
from lossbench.runs.archive import publish
from lossbench.runs.folder import Run, packed
from lossbench.runs.records import committed_records, own_records, verify
from lossbench.system.files import write_bytes

Fields = dict[str, Any]


def with_runtime(fields: Fields, runtime: Any) -> Fields:
    config = {key: value for key, value in fields["config"].items() if key != "runtime"}
    return fields | {"config": config | ({} if runtime is None else {"runtime": runtime})}


ODD_FIELDS: dict[str, Callable[[Fields], Fields]] = {
    **{
        f"{name} {value!r}": lambda fields, name=name, value=value: fields | {name: value}  # type: ignore[misc]
        for name in ("wall_s", "numerics", "step_ms", "num_test", "test_loss", "scores", "pruned", "num_threads")
        for value in (None, "much", [])
        if (name, value) != ("num_threads", None)
    },
    "wall_s infinite": lambda fields: fields | {"wall_s": float("inf")},
    "wall_s negative": lambda fields: fields | {"wall_s": -1},
    "scores without a map": lambda fields: fields | {"scores": {"sigmoid": dict.fromkeys(checks._SCORES, 0.5)}},
    "a curve of texts": lambda fields: fields | {"curves": fields["curves"] | {"test/loss": ["a", "b", "c"]}},
    "a curve that is none": lambda fields: fields | {"curves": fields["curves"] | {"lr": 3}},
    "no runtime": lambda fields: with_runtime(fields, None),
    "runtime a list": lambda fields: with_runtime(fields, []),
}


def check_the_others_are_shown(made: Made, invoke: Invoke, place: Path) -> None:
    """All commands go on, the odd run is named with its file, and no other is touched by it."""
    (problem,) = map(str, verify(own_records("outputs")))
    assert str(place) in problem
    assert invoke("verify", code=1).stdout.splitlines()[0] == problem
    assert len(invoke("runs").output.splitlines()) == 1 + len(made)
    known = json.loads(invoke("show", made["finished"].id, "--json").stdout)
    assert problem in known["problems"]
    invoke("show", made["finished"].id)
    invoke("diff", made["finished"].id, made["other"].id)
    invoke("remove")


@pytest.mark.parametrize("odd", ODD_FIELDS)
def test_an_odd_record_is_named_and_the_others_are_shown(odd: str, made: Made, invoke: Invoke) -> None:
    path = made["finished"].folder / "result.json"
    path.write_text(json.dumps(ODD_FIELDS[odd](json.loads(path.read_text()))))
    found = own_records("outputs")
    assert made["finished"].id not in found.records
    assert made["other"].id in found.records
    check_the_others_are_shown(made, invoke, path)


@pytest.mark.parametrize("name", ["result.json", "arrays.npz", "metrics.jsonl", "failure.txt", "config.json"])
@pytest.mark.parametrize("way", ["a folder", "no right to read"])
def test_a_file_that_cannot_be_read_is_named(
    name: str, way: str, made: Made, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "failed" if name == "failure.txt" else "finished"
    path = Path(made[kind].folder, name)
    if way == "a folder":
        path.unlink()
        path.mkdir()
    else:
        real = os.open

        def refuse(target: Any, *args: Any, **named: Any) -> int:
            if Path(target) == path:
                raise PermissionError(13, os.strerror(13), str(target))
            return real(target, *args, **named)

        monkeypatch.setattr(os, "open", refuse)
    assert len(invoke("runs").output.splitlines()) == 1 + len(made)
    known = json.loads(invoke("show", made[kind].id, "--json").stdout)
    invoke("show", made[kind].id)
    if name == "failure.txt":
        assert str(path) in known["reason"]
        return
    assert any(str(path) in problem for problem in known["problems"])
    assert str(path) in invoke("verify", code=1).stdout


def with_header(shape: str) -> bytes:
    """Arrays whose header claims more than there is."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        whole = BytesIO()
        np.save(whole, np.zeros((2, 2)))
        header = b"(2, 2), }" + b" " * (len(shape) - 6)  # it is padded with blanks
        assert header in whole.getvalue()
        archive.writestr("confusion_matrix.npy", whole.getvalue().replace(header, f"{shape}, }}".encode()))
    return content.getvalue()


def bomb() -> bytes:
    return packed({"confusion_matrix": np.eye(2), "other": np.zeros(2**27, np.uint8)})


SQUARE = np.array([[3, 7], [7, 3]])  # an accuracy of 0.3, as the record says
ODD_ARRAYS: dict[str, Callable[[], bytes]] = {
    "a matrix that is a vector": lambda: packed({"confusion_matrix": np.ones(3)}),
    "a matrix that is not square": lambda: packed({"confusion_matrix": np.ones((2, 5)) * 0.3}),
    "a cube": lambda: packed({"confusion_matrix": np.ones((2, 2, 2))}),
    "no class": lambda: packed({"confusion_matrix": np.ones((0, 0))}),
    "counts below zero": lambda: packed({"confusion_matrix": np.array([[3, 8], [-1, 0]])}),
    "another K": lambda: packed({"confusion_matrix": SQUARE, "output_bias": np.zeros(3)}),
    "logits of another K": lambda: packed({"confusion_matrix": SQUARE, "test_logits": np.zeros((9, 3))}),
    "predictions of another N": lambda: packed(
        {"confusion_matrix": SQUARE, "test_predictions": np.zeros(9, np.uint8), "test_labels": np.zeros(8, np.uint8)}
    ),
    "a class that is none": lambda: packed({"confusion_matrix": SQUARE, "test_predictions": np.array([0, 2])}),
    "texts": lambda: packed({"confusion_matrix": np.array([["a", "b"], ["c", "d"]])}),
    "75 GB": lambda: with_header("(97000, 97000)"),
    "a damaged header": lambda: with_header("(97000, ''2000"),
    "a bomb": bomb,
}


@pytest.mark.parametrize("odd", ODD_ARRAYS)
def test_odd_arrays_are_named_and_the_others_are_shown(odd: str, made: Made, invoke: Invoke) -> None:
    run, content = made["finished"], ODD_ARRAYS[odd]()
    write_bytes(run.folder / "arrays.npz", content)
    fields = run.record() | {"arrays_sha256": hashlib.sha256(content).hexdigest()}
    write_bytes(run.folder / "result.json", json.dumps(fields).encode())
    check_the_others_are_shown(made, invoke, run.folder / "arrays.npz")


def test_committed_records_that_cannot_be_read_are_named(made: Made, invoke: Invoke) -> None:
    publish("outputs", "results")
    Path("results/failures.jsonl").mkdir()
    (problem,) = committed_records("results").problems
    assert problem.message == "results/failures.jsonl is not a file; remove it"
    assert len(invoke("runs", "--committed").output.splitlines()) == 1 + len(made)
    assert "results/failures.jsonl is not a file" in invoke("verify", code=1).stdout
    with pytest.raises(ValueError, match="is not a file"):
        publish("outputs", "results")


def test_an_odd_name_of_a_folder_stops_no_command(made: Made, invoke: Invoke) -> None:
    for seed in ("²", "9" * 200, "", "-1"):
        folder = made["stopped"].folder.with_name(f"digits-cnn2c-sml-s{seed}")
        folder.mkdir()
        write_bytes(folder / "config.json", b"{}")
    assert len(invoke("runs").output.splitlines()) == 1 + len(made) + 4


@pytest.mark.parametrize("value", [None, "0.9", [1], {"a": 1}, True])
def test_odd_values_in_the_last_line_of_metrics_stop_no_command(value: Any, made: Made, invoke: Invoke) -> None:
    line = {"epoch": 3, "test/accuracy": value, "test/class_accuracy": value}
    made["stopped"].append_metrics(line)
    (shown,) = json.loads(invoke("runs", "--status", "stopped", "--json").stdout)
    assert (shown["epoch"], shown["accuracy"]) == (3, None)
    invoke("runs")
    invoke("show", made["stopped"].id)
    invoke("diff", made["stopped"].id, made["other"].id)


def test_a_run_that_is_a_symbolic_link_is_not_removed(made: Made, invoke: Invoke, tmp_path: Path) -> None:
    run, elsewhere = made["failed"], tmp_path / "elsewhere"
    run.folder.rename(elsewhere)
    run.folder.symlink_to(elsewhere)
    before = contents(elsewhere)
    for words in (["remove", "--yes", run.id], ["remove", "--yes", "--status", "failed"]):
        result = invoke(*words, code=1)
        assert result.stderr == f"kept: {run.id}: it is a symbolic link to {elsewhere}; remove both by hand\n"
        assert result.stdout == f"0 of 1 run, {result.stdout.partition(', ')[2]}"
    assert contents(elsewhere) == before
    assert run.folder.is_symlink()
    record = made["finished"].folder / "result.json"
    record.unlink()
    record.mkdir()
    assert invoke("remove", "--yes", made["finished"].id).stdout.endswith(" removed\n")
    assert not made["finished"].folder.exists()


def _hold(folder: Path, ready: Any, done: Any) -> None:
    with Run(folder).held() as free:
        assert free
        ready.set()
        done.wait(60)


def test_a_folder_that_may_only_be_read_is_listed(made: Made, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*args: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    monkeypatch.setenv("LOSSBENCH_LEASE_S", "3600")  # the other process writes nothing meanwhile
    other = context.Process(target=_hold, args=(made["stopped"].folder, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        before = sorted(Path().rglob("*"))
        for module, name in ((Path, "mkdir"), (Path, "write_bytes"), (os, "link"), (os, "replace")):
            monkeypatch.setattr(module, name, read_only)
        shown = {line["run_id"]: line["status"] for line in json.loads(invoke("runs", "--json").stdout)}
        assert shown == {
            made["finished"].id: "finished",
            made["other"].id: "finished",
            made["superseded"].id: "finished",
            made["failed"].id: "failed",
            made["stopped"].id: "running",
        }
        assert invoke("show", made["failed"].id).stdout.startswith(f"{made['failed'].id}: failed, epoch 1/3")
        assert invoke("verify").output == "5 runs, all intact\n"
        assert sorted(Path().rglob("*")) == before, "nothing was written"
    finally:
        done.set()
        other.join()


def test_a_long_file_of_metrics_is_listed_in_bounded_memory(made: Made, invoke: Invoke) -> None:
    path = made["stopped"].folder / "metrics.jsonl"
    filler = "x" * 400
    with path.open("w") as file:
        for epoch in range(1, 30001):
            file.write(json.dumps({"epoch": epoch, "test/accuracy": 0.25, "more": filler}) + "\n")
        file.write('{"epoch": 30001, "te')  # a kill
    assert path.stat().st_size > 13e6
    invoke("runs")
    for words, most in ((("runs", "--status", "stopped", "--json"), 1e6), (("show", made["stopped"].id), 3e6)):
        tracemalloc.start()
        shown = invoke(*words).stdout
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most
        assert "30000" in shown
    assert invoke("verify").output == "5 runs, all intact\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", None),
        (b"\n", b""),
        (b"a", None),
        (b"a\n", b"a"),
        (b"a\nb", b"a"),
        (b"a\nbc\n", b"bc"),
        (b"a\n" + b"b" * 20000 + b"\nc", b"b" * 20000),
        (b"b" * 20000 + b"\nc", b"b" * 20000),
        (b"a\n" + b"b" * (2**14 - 1) + b"\n", b"b" * (2**14 - 1)),
    ],
    ids=range(9),
)
def test_the_last_complete_line_is_found(content: bytes, line: bytes | None, tmp_path: Path) -> None:
    assert Run(tmp_path).last_metrics() is None
    (tmp_path / "metrics.jsonl").write_bytes(content)
    assert Run(tmp_path).last_metrics() == line


def test_a_line_of_metrics_that_never_ends_is_named(made: Made, invoke: Invoke) -> None:
    with (made["stopped"].folder / "metrics.jsonl").open("ab") as file:
        file.truncate(50 * 10**6)
    tracemalloc.start()
    assert "metrics.jsonl is not whole" in invoke("verify", code=1).stdout
    invoke("runs")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6
