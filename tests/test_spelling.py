"""Text from outside stays plain text: on a terminal, in Markdown, and in a spreadsheet."""

import csv
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinds_of_runs import Invoke, Made
from made_runs import finished
from test_report import finish

from lossbench.cli import printing
from lossbench.cli.main import main
from lossbench.config.run import Runtime
from lossbench.report.files import write_csv
from lossbench.runs.folder import runs_dir
from lossbench.studies.aaai20 import grid
from lossbench.studies.aaai20.report import write_report
from lossbench.studies.options import Reproduce
from lossbench.sweep.progress import Progress
from lossbench.system.spelling import csv_cell, spelled, spelled_lines

ESCAPE = "\x1b[31mred\x1b]0;title\x07\r\x9b2J\u202e"
SPELLED = r"\x1b[31mred\x1b]0;title\x07 \x9b2J\u202e"
MARKUP = "<script>alert(1)</script> **bold** [link](http://x) [red]a[/x] |"


def is_plain(text: str) -> bool:
    return all(letter.isprintable() for line in text.split("\n") for letter in line)


@given(st.text())
def test_what_is_spelled_can_be_printed_on_one_line(text: str) -> None:
    assert is_plain(spelled(text).replace("\u3000", " ")) or re.search(r"\s", spelled(text))
    assert "\n" not in spelled(text)
    assert "\x1b" not in spelled_lines(text)
    assert spelled_lines(text).count("\n") == text.count("\n")
    assert spelled("Zürich ± λ 漢字") == "Zürich ± λ 漢字"


@pytest.mark.parametrize("way", ["a pipe", "a terminal"])
def test_escapes_in_names_reasons_and_devices_are_spelled_out(
    way: str, made: Made, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = made["stopped"].folder.rename(runs_dir("outputs") / f"digits-{ESCAPE}-[red]a-s1")
    made["failed"].fail(f"Traceback\nOSError: {ESCAPE}")
    odd = finished(Path("outputs"), 7, device_name=ESCAPE)
    if way == "a terminal":
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setattr(printing, "on_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", "400")
        for words in (["runs"], ["diff", odd.id, named.name]):
            monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
            with pytest.raises(SystemExit):
                main(words)
            said = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)  # the table's own colours
            assert is_plain(said)
            assert SPELLED in said
            assert "[red]a" in said
        return
    outputs = [
        invoke("runs").output,
        invoke("diff", odd.id, made["other"].id).output,
        invoke("diff", odd.id, named.name).output,
        invoke("show", odd.id).output,
        invoke("show", made["failed"].id).output,
        invoke("verify", code=1).output,
        invoke("remove", "--status", "failed").output,
    ]
    assert all(map(is_plain, outputs))
    assert SPELLED in outputs[0]
    assert SPELLED in outputs[1]
    assert "reason: \\x9b2J\\u202e\n" in outputs[4]  # a carriage return ends a line
    with pytest.raises(SystemExit):
        main(["show", f"no {ESCAPE}"])
    assert is_plain(capsys.readouterr().err)


def test_why_a_run_failed_is_spelled_out_as_it_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress({"a": 1.0}, 1) as progress:
        progress.done("a", None, ESCAPE)
    said = capsys.readouterr().out
    assert is_plain(said)
    assert "FAILED a: " in said


CELLS: list[tuple[Any, Any]] = [
    ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
    ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
    ("-2+3", "'-2+3"),
    ("@SUM(1)", "'@SUM(1)"),
    (" =1+1", "' =1+1"),
    ("\t=1+1", "' =1+1"),
    ("-1.5", "-1.5"),
    ("+1e-5", "+1e-5"),
    (-1.5, -1.5),
    ("a = b", "a = b"),
    ("LGL-INR", "LGL-INR"),
    (ESCAPE, SPELLED),
]


@pytest.mark.parametrize(("value", "cell"), CELLS)
def test_no_cell_of_a_csv_file_is_a_formula(value: Any, cell: Any, tmp_path: Path) -> None:
    assert csv_cell(value) == cell
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [value]}))
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [*csv.reader(file)] == [["x"], [str(cell)]]


def test_devices_of_a_report_are_text_in_every_form(tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://x";"y")'
    first, second = grid.cells(3, "quick")[:2]
    finish(tmp_path, first.config, 0.9, device_name=formula, device=MARKUP)
    finish(tmp_path, second.config, 0.8, device_name=ESCAPE)
    folder = write_report("quick", Reproduce(tables=(3,), results_dir=None, runtime=Runtime(output_dir=str(tmp_path))))
    for path in folder.iterdir():
        if path.suffix in (".md", ".html", ".csv", ".tex"):
            assert is_plain(path.read_text()), path
    devices = pd.read_csv(folder / "table3.csv")["device"].dropna().tolist()
    assert devices == [f"'{formula}", SPELLED]
    for name in ("summary.md", "table3.md", "report.md"):
        text = (folder / name).read_text()
        assert r"\<script>" in text
        assert not re.search(r"(?<!\\)<script>", text)
        assert r"\*\*bold" in text
        assert "[link](" not in text.replace(r"\[link", "")
