"""Damaged runs are found and named; what a kill leaves is not reported as damage."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from kinds_of_runs import Invoke, Made

from lossbench.runs.archive import publish
from lossbench.runs.folder import runs_dir
from lossbench.system.files import write_bytes


def test_what_a_kill_leaves_of_a_removal_is_no_finished_run(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lossbench.runs.folder.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        made["finished"].remove()
    assert not made["finished"].finished


def test_verify_finds_all_intact(made: Made, invoke: Invoke) -> None:
    assert invoke("verify").output == "5 runs, all intact\n"
    publish("outputs", "results")
    made["other"].remove()
    assert invoke("verify").output == "5 runs, all intact\n"
    assert json.loads(invoke("verify", "--json").stdout) == {"runs": 5, "problems": []}
    assert invoke("verify", "--output-dir", "no", "--results-dir", "no").output.startswith("0 runs, all intact\n")
    assert not Path("no").exists()


def _checkpoint() -> bytes:
    content = BytesIO()
    np.savez(content, weights=np.zeros(9))  # a zip archive, as torch's
    return content.getvalue()


DAMAGES: list[tuple[str, str, bytes | None, str]] = [
    ("stopped", "config.json", b"{", "config.json is missing or damaged"),
    ("failed", "config.json", None, "config.json is missing or damaged"),
    ("failed", "diverged.json", b"{}", "diverged.json holds a damaged divergence"),
    (
        "stopped",
        "metrics.jsonl",
        b'{"epoch": 1}\n{"epoch": 3}\n',
        "whole (ValueError: lacks epochs: it has 3 in line 2)",
    ),
    ("stopped", "metrics.jsonl", b'{"epoch": 1}\n{"epo\n', "metrics.jsonl is not whole (JSONDecodeError"),
    ("finished", "metrics.jsonl", b'{"epoch": 1}\n', "metrics.jsonl is not whole (ValueError: has 1 epochs of 3)"),
    ("finished", "metrics.jsonl", None, "metrics.jsonl is not whole (ValueError: has 0 epochs of 3)"),
    ("stopped", "checkpoint.pt", _checkpoint()[:-30], "checkpoint.pt is damaged"),
    ("stopped", "checkpoint.pt", _checkpoint().replace(bytes(72), b"1" + bytes(71)), "checkpoint.pt is damaged"),
    ("finished", "arrays.npz", b"other", "arrays.npz is not what"),
    ("finished", "arrays.npz", None, "arrays.npz is missing"),
    ("finished", "result.json", b"{}", "result.json holds a damaged record"),
]


@pytest.mark.parametrize(("kind", "file", "content", "words"), DAMAGES)
def test_verify_names_what_is_damaged(
    kind: str, file: str, content: bytes | None, words: str, made: Made, invoke: Invoke
) -> None:
    path = made[kind].folder / file
    path.unlink(missing_ok=True) if content is None else write_bytes(path, content)
    (line,) = invoke("verify", code=1).stdout.splitlines()
    assert str(made[kind].folder) in line
    assert words in line
    assert json.loads(invoke("verify", "--json", code=1).stdout) == {"runs": 5, "problems": [line]}
    assert made[kind].id in invoke("runs").output
    known = json.loads(invoke("show", made[kind].id, "--json").stdout)
    assert known["problems"] == [line]


def test_what_a_kill_leaves_of_an_unfinished_run_is_intact(made: Made, invoke: Invoke) -> None:
    with (made["stopped"].folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 3, "test/acc')
    made["stopped"].write_checkpoint(_checkpoint())
    assert invoke("verify").output == "5 runs, all intact\n"
    (line,) = json.loads(invoke("runs", "--status", "stopped", "--json").stdout)
    assert line["epoch"] == 2


def test_a_folder_under_another_name_is_damaged_and_goes_only_when_asked_for(made: Made, invoke: Invoke) -> None:
    for kind in ("finished", "stopped"):
        made[kind].folder.rename(made[kind].folder.with_name(f"digits-cnn2c-sml-s7-{kind}"))
    problems = invoke("verify", code=1).stdout.splitlines()
    assert [made[kind].id in problem for kind, problem in zip(("finished", "stopped"), problems, strict=True)] == [
        True
    ] * 2
    (line,) = json.loads(invoke("runs", "--status", "damaged", "--json").stdout)
    assert line["run_id"] == "digits-cnn2c-sml-s7-finished"
    assert line["reason"] == problems[0]
    assert "s7" not in invoke("remove").output
    invoke("remove", "--status", "damaged", "--yes")
    assert [run.name for run in runs_dir("outputs").glob("*s7*")] == ["digits-cnn2c-sml-s7-stopped"]


def test_damage_that_names_another_folder_is_not_the_damage_of_that_run(made: Made, invoke: Invoke) -> None:
    path = made["finished"].folder / "result.json"
    record = json.loads(path.read_text())
    record["config"]["seed"] = f"{made['stopped'].folder}/"  # the message repeats it
    path.write_text(json.dumps(record))
    assert str(made["stopped"].folder) in invoke("verify", code=1).stdout
    problems = {kind: json.loads(invoke("show", made[kind].id, "--json").stdout)["problems"] for kind in made}
    assert [kind for kind in made if problems[kind]] == ["finished"]
    assert "holds a damaged record" in problems["finished"][0]
