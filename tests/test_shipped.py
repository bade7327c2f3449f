"""The files that come with lossbench: where they are, who reads them, and what a report makes of records alone."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from kinds_of_runs import Invoke, Made
from test_report import fill, finish, place, plan

from lossbench.cli.reference import _reference
from lossbench.config.run import Runtime
from lossbench.engines.options import Local
from lossbench.runs.archive import publish
from lossbench.studies.aaai20.report import write_report
from lossbench.studies.options import Reproduce
from lossbench.system import shipped

ROOT = Path(__file__).parents[1]


def test_a_clone_has_them_at_its_top_wherever_a_command_is_given(tmp_path: Path) -> None:
    assert ROOT / "conf" == shipped.CONF
    code = (
        "from lossbench.studies.options import Reproduce as R;"
        "print(R().results_dir, R(results_dir='results').results_dir, R(results_dir=None).results_dir, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(ROOT / "results"), "results", "None"]


def test_commands_read_them_unless_another_folder_is_named(
    made: Made, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("outputs", "theirs")
    monkeypatch.setattr(shipped, "RESULTS", Path("theirs"))
    elsewhere = ("runs", "--committed", "--output-dir", "elsewhere")
    assert made["other"].id in invoke(*elsewhere).output
    assert made["other"].id not in invoke(*elsewhere, "--results-dir", "outputs").output
    told = invoke("table", *elsewhere[1:], "--format", "json")
    assert [made["other"].id] in [list(row["runs"].values()) for row in json.loads(told.stdout)]


def test_nothing_is_written_where_the_package_is(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inside = shipped.PACKAGE / "results"
    (tmp_path / "link").symlink_to(shipped.PACKAGE)
    for folder in (inside, tmp_path / "link" / "results"):
        for words in (("publish", str(folder)), ("simulate", "--publish", "--results-dir", str(folder))):
            said = str(invoke(*words, code=1).exception)
            assert f"must be a folder of yours, got {folder}, which belongs to the installed lossbench" in said
            assert said.endswith("name another, such as results")
        with pytest.raises(ValueError, match="results_dir must be a folder of yours"):
            _reference(
                Reproduce(results_dir=str(folder), runtime=Runtime(output_dir=str(tmp_path / "outputs"))), Local()
            )
    assert not inside.exists()
    shipped.check_not_shipped("results", "--results-dir")
    shipped.check_not_shipped(f"{shipped.PACKAGE}-results", "--results-dir")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Committed records of CNN2C's three losses on KMNIST, three seeds each, without their arrays."""
    for loss, mean in {"LGL": 0.91, "SML": 0.95, "LGL-INR": 0.97}.items():
        fill(tmp_path / "other", place(3, f"CNN2C {loss}", "KMNIST"), [mean - 0.01, mean, mean + 0.01])
    publish(tmp_path / "other", tmp_path / "results")
    shutil.rmtree(tmp_path / "results" / "arrays")
    return tmp_path / "results"


def test_a_report_of_records_alone_says_what_it_leaves_out(tmp_path: Path, results: Path) -> None:
    folder = write_report("paper", plan(tmp_path / "own", tables=[3], results_dir=str(results)))
    text = (folder / "report.md").read_text()
    assert "91.00 ± 1.00" in (folder / "table3.md").read_text()
    assert "\nThe 9 runs here are records without arrays (" in text
    notice = text.partition("records without arrays (")[2].partition("\n")[0]
    for title in ("Figure 1: classes", "Class weights on imbalanced data (Eq. 9 and 10)"):
        assert f'"{title}"' in notice
        assert f"\n### {title}" not in text
    assert "results/arrays/ of a clone of lossbench" in notice
    assert text.count("| needs arrays   | the runs' arrays are not here") == 6
    assert " not yet tested and 6 need the runs' arrays; of " in text
    assert f"- {results}/arrays is missing, of 9 records\n" in text
    assert ".npz is missing" not in text
    assert {path.name for path in folder.glob("figure*.svg")} == {"figure2.svg"}


def test_a_report_of_some_runs_with_arrays_says_how_many_have_none(tmp_path: Path, results: Path) -> None:
    for loss, accuracy in {"LGL": 0.93, "SML": 0.95, "LGL-INR": 0.99}.items():
        config = replace(place(3, f"CNN2C {loss}", "KMNIST").config, seed=3)
        finish(tmp_path / "own", config, accuracy)
    folder = write_report("paper", plan(tmp_path / "own", tables=[3], results_dir=str(results)))
    text = (folder / "report.md").read_text()
    assert "\n9 of the 12 runs here are records without arrays; the sections " in text
    assert "\n### Figure 1: classes" in text
    assert "LGL, n=1: 93.0 % right" in text
    assert text.count("| needs arrays   | in ") == 6


def test_the_arrays_of_a_wheels_records_are_no_problem(
    made: Made, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("outputs", "theirs")
    shutil.rmtree("theirs/arrays")
    elsewhere = ("--output-dir", "elsewhere", "--results-dir", "theirs")
    assert invoke("verify", *elsewhere, code=1).output == "theirs/arrays is missing, of 3 records\n"
    monkeypatch.setattr(shipped, "PACKAGE", Path.cwd())
    assert invoke("verify", *elsewhere).output == "3 runs, all intact\n"
    said = invoke("show", made["other"].id, *elsewhere).output
    assert said.endswith(f"its arrays are not here; those of lossbench's own runs are in {shipped.WHERE_ARRAYS_ARE}\n")
    assert "all intact" not in said
