"""The README's results are those of the committed records."""

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from lossbench.config.run import Precision
from lossbench.studies.aaai20 import without_gpu
from lossbench.studies.aaai20.verdicts import Judge

ROOT = Path(__file__).parents[1]


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import write_readme

    return write_readme


def test_the_readme_tells_the_committed_records(readme: ModuleType) -> None:
    command = ["git", "status", "--porcelain", "results"]
    changed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if changed.returncode or changed.stdout:
        pytest.skip("results/ is not that of a commit")
    text = (ROOT / "README.md").read_text()
    assert readme.written(text, ROOT / "results") == text, "python benchmarks/write_readme.py brings it up to date"


def test_the_overview_has_the_means_of_the_records(readme: ModuleType, committed: Judge) -> None:
    cell = committed.arms["paper"]["CNN2C", "KMNIST", "SML"]
    values = [value for value in committed.results.values(cell) if value is not None]
    text = readme.written(f"before\n{readme.BEGIN}stale text{readme.END}after", ROOT / "results")
    assert text.startswith(f"before\n{readme.BEGIN}")
    assert text.endswith(f"{readme.END}after")
    assert "stale" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| KMNIST") and "CNN2C  " in line]
    assert f"| {100 * sum(values) / len(values):.2f} ± " in line
    assert f"(n={len(values)}); 95.13, " in line
    assert "Runs in fp32 on cpu," in text  # the cells', though runs in bf16 lie beside them
    (one,) = [line for line in text.splitlines() if line.startswith("| KMNIST") and " in fp32 (paper " in line]
    large = committed.results.accuracy(without_gpu.cnn5c(Precision.fp32)[0].config)
    assert large is not None
    assert one.split(" | ")[1].strip() == f"{100 * large:.2f} (n=1) in fp32 (paper 96.39)"


def test_no_line_begins_with_a_minus_that_is_no_item(readme: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    item = "- " + " ".join(f"{'x' * (number % 7 + 1)} - y" for number in range(200))
    monkeypatch.setattr(readme, "overview", lambda results: f"words\n\n{item}\n")
    text = readme.written(f"{readme.BEGIN}{readme.END}", ROOT)
    assert [line for line in text.splitlines() if line.strip().startswith("- ")] == [text.splitlines()[4]]
    assert " ".join(text.splitlines()[4:-2]).replace("   ", " ") == item
    assert max(map(len, text.splitlines())) <= 120


def test_a_readme_without_the_marks_is_left_alone(readme: ModuleType) -> None:
    with pytest.raises(SystemExit, match="the README lacks the lines"):
        readme.written("nothing", ROOT / "results")
