"""The quick profile: its page is about its own runs alone, and the commands end with the page to open."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import divergence
from page_tree import Tree
from test_report import fill, finish, plan

from lossbench import NUMERICS
from lossbench.cli.report import _report
from lossbench.cli.reproduce import _reproduce
from lossbench.config.run import Config, Runtime, name_of, run_id
from lossbench.engines.options import Local
from lossbench.runs.archive import publish
from lossbench.runs.folder import open_run
from lossbench.studies.aaai20.grid import TABLES, cells, configs, in_words
from lossbench.studies.aaai20.quick import LEAD
from lossbench.studies.aaai20.report import write_report
from lossbench.studies.options import Profile, Reproduce

PAGES = ("index.html", "report.md", "summary.md")


def fail(folder: Path, config: Config, reason: str) -> str:
    """Let a run below `folder` have failed; returns its name."""
    run = open_run(replace(config, runtime=Runtime(output_dir=str(folder))))
    run.start(config)
    run.fail(reason)
    return run.id


def diverge(folder: Path, config: Config) -> str:
    config = replace(config, runtime=Runtime(output_dir=str(folder)))
    run = open_run(config)
    run.start(config)
    run.diverge(divergence(config))
    return run.id


def fill_all(folder: Path, accuracy: float = 0.5) -> None:
    for cell in (cell for table in TABLES for cell in cells(table, "quick")):
        fill(folder, cell, [accuracy, accuracy])


def committed_paper_runs(folder: Path, results: Path) -> list[str]:
    """Commit a finished and a diverged run of the paper's, and one whose arrays are missing; returns their names."""
    first, second, third = cells(3, "paper")[:3]
    fill(folder, first, [0.9])
    bare = finish(folder, second.config, 0.8).name
    diverged = diverge(folder, third.config)
    publish(folder, results)
    (results / "arrays" / f"{bare}.npz").unlink()
    with (results / "records.jsonl").open("a") as file:
        file.write("{damaged\n")
    return [run_id(first.config), bare, diverged]


def test_the_page_lists_no_runs_but_the_profiles(tmp_path: Path) -> None:
    own, results = tmp_path / "own", tmp_path / "results"
    others = committed_paper_runs(tmp_path / "other", results)
    fill_all(own)
    others.append(fail(own, cells(5, "paper")[1].config, "OSError: the disk is full"))
    others.append(finish(own, cells(5, "paper")[2].config, 0.7).name)
    folder = write_report("quick", plan(own, results_dir=str(results)))
    for text in ((folder / page).read_text() for page in PAGES):
        assert [name for name in others if name in text] == []
        assert "kmnist" not in text.lower()
        assert "damaged" not in text
        assert "Not in any table" not in text
        assert "Table 1" not in text
    tree = Tree((folder / "index.html").read_text())
    assert tree.texts("h2") == ["Table 3", "Table 4", "Table 5", "Figure 1", "Figure 2", "What it ran on"]
    (line,) = [line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| Some Processor")]
    assert line.replace(" ", "").endswith("|34|0.0|")
    beside = write_report("paper", plan(own, results_dir=str(results)))
    for name in others[1:4]:  # what is left out here is said there
        assert name in (beside / "summary.md").read_text()


def test_the_profiles_own_failures_and_problems_are_said(tmp_path: Path) -> None:
    first, second, third, fourth = cells(3, "quick")[:4]
    said = [fail(tmp_path, first.config, "OSError: the disk is full")]
    damaged, touched = finish(tmp_path, second.config, 0.5), finish(tmp_path, third.config, 0.5)
    (damaged / "result.json").write_bytes((damaged / "result.json").read_bytes()[:-9])
    (touched / "arrays.npz").write_bytes(b"no arrays")
    other_seed = finish(tmp_path, replace(first.config, seed=9), 0.5)
    old = finish(tmp_path, fourth.config, 0.5)
    fields = json.loads((old / "result.json").read_text())
    name = name_of(fields["config"], NUMERICS + 1)
    (old / "result.json").write_text(json.dumps(fields | {"numerics": NUMERICS + 1, "run_id": name}))
    old.rename(old.with_name(name))
    said += [damaged.name, touched.name, other_seed.name, name]
    folder = write_report("quick", plan(tmp_path))
    for text in ((folder / page).read_text() for page in PAGES):
        assert [one for one in said if one not in text] == []
        assert "OSError: the disk is full" in text
        assert "1 run has a seed that the tables do not show" in text


def test_the_page_begins_with_what_it_is_in_three_sentences(tmp_path: Path) -> None:
    fill_all(tmp_path)
    tree = Tree((write_report("quick", plan(tmp_path)) / "index.html").read_text())
    assert tree.texts("h1") == ["lossbench: quick profile"]
    assert tree.texts("p")[0] == " ".join(LEAD)
    assert len(LEAD) == 3
    assert all(sentence.endswith(".") and len(sentence) < 180 for sentence in LEAD)
    assert "on small digits" in LEAD[0]
    assert LEAD[1] == "Its numbers are not the paper's."
    assert "lossbench report profile=paper" in LEAD[2]


def test_a_cell_at_chance_is_named_below_its_table(tmp_path: Path) -> None:
    fill_all(tmp_path)
    text = (write_report("quick", plan(tmp_path)) / "report.md").read_text()
    assert "at chance" not in text
    poor = cells(4, "quick")[0]
    fill(tmp_path, poor, [0.15, 0.5])
    folder = write_report("quick", plan(tmp_path))
    words = "at chance in some run, with too little training for this loss, so not a result: MobileNetV2 LGL. Device"
    assert (folder / "report.md").read_text().count(words) == 1
    assert words in (folder / "table4.md").read_text()
    fill(tmp_path, poor, [0.16, 0.5])
    write_report("quick", plan(tmp_path))
    assert "at chance" not in (folder / "report.md").read_text()


def test_the_terminal_calls_a_run_by_its_place() -> None:
    words = in_words([3, 5], "quick", 1)
    names = [run_id(config) for config in configs([3, 5], "quick", 1, Runtime())]
    assert sorted(words) == sorted(names)
    assert words[names[0]] == "Table 3, CNN2C LGL, seed 0"
    assert words[run_id(cells(5, "quick")[0].config)] == "Table 3, CNN2C LGL-INR, seed 0"
    assert words[run_id(cells(5, "quick")[2].config)] == "Table 5, beta 4, seed 0"
    assert len(set(words.values())) == len(words)
    assert "Table 5, beta 2, KMNIST, seed 4" in in_words([5], "paper", None).values()
    assert "Table 4, MobileNetV2 LGL, CIFAR-10, seed 0" in in_words([4], "paper", 1).values()


@pytest.mark.parametrize("profile", [Profile.quick, Profile.paper])
def test_reproduce_says_what_it_is_and_ends_with_the_page_to_open(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lossbench.studies.aaai20.table1.load", lambda *places: None)
    monkeypatch.setattr("lossbench.studies.aaai20.table1.simulate", lambda: None)
    monkeypatch.setattr("lossbench.studies.aaai20.table1.write", lambda *rest: None)
    for cell in cells(5, profile.value, 1):
        fill(Path("outputs"), cell, [0.5])
    _reproduce(Reproduce(profile, tables=[5], seeds=1, results_dir=None, runtime=Runtime(device="cpu")), Local())
    lines = capsys.readouterr().out.splitlines()
    is_quick = profile is Profile.quick
    assert lines[0].startswith(f"profile {profile} (as chosen): 0 of 3 runs to do; ")
    assert lines[1].startswith("A check that everything works: ") == is_quick
    folder = f"outputs/report/{profile}"
    assert lines[-2:] == [f"tables and figures: {folder}", f"open {folder}/index.html"]
    assert Path(lines[-1].removeprefix("open ")).is_file()
    assert ("These numbers are not the paper's. " in lines[-3]) == is_quick
    assert (Path(folder) / "table5.md").read_text() in "\n".join(lines)


def test_the_first_line_says_how_long_it_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    runtime = Runtime(output_dir=str(tmp_path), device="cpu")
    _reproduce(Reproduce(Profile.quick, dry=True, results_dir=None, runtime=runtime), Local())
    line = capsys.readouterr().out.splitlines()[0]
    assert line == (
        "profile quick (as chosen): 34 of 34 runs to do, a few minutes on two CPU cores; "
        "profile=paper selects the other"
    )
    _reproduce(Reproduce(Profile.quick, seeds=9, dry=True, results_dir=None, runtime=runtime), Local())
    assert "153 of 153 runs to do, " in (line := capsys.readouterr().out.splitlines()[0])
    assert re.search(r" TFLOP, about \d+\.\d core-hours, 0\.\d+ kWh, from no measured run; ", line)


def test_report_ends_with_every_page_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(Path("outputs"), cells(5, "quick")[0], [0.5])  # of no profile, so one's own as well
    fill(Path("outputs"), cells(5, "paper")[0], [0.5])
    _report(Reproduce(tables=[5], results_dir=None))
    pages = [f"open outputs/report/{name}/index.html" for name in ("paper", "quick", "own")]
    assert capsys.readouterr().out.splitlines()[-3:] == pages
    assert all(Path(page.removeprefix("open ")).is_file() for page in pages)
