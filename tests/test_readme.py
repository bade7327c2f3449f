"""docs/results.md and the README's finding are those of the committed records; the README is short, its links work."""

import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from lossbench.config.run import Precision
from lossbench.report.blocks import Items, Page, Paragraph, plain_page
from lossbench.studies.aaai20 import without_gpu
from lossbench.studies.aaai20.keys import labelled
from lossbench.studies.aaai20.report import finding, overview
from lossbench.studies.aaai20.verdicts import Judge

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import write_results

    return write_results


@pytest.fixture(scope="module")
def of_records() -> Page:
    """What the committed records give as docs/results.md."""
    return overview(ROOT / "results")


def test_results_and_finding_are_those_of_the_committed_records(tool: ModuleType, of_records: Page) -> None:
    command = ["git", "status", "--porcelain", "results"]
    changed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if changed.returncode or changed.stdout:
        pytest.skip("results/ is not that of a commit")
    way_out = "python tools/write_results.py brings it up to date"
    assert tool.page(of_records) == (ROOT / "docs" / "results.md").read_text(), way_out
    assert tool.with_finding(README, ROOT / "results") == README, way_out


def test_the_results_have_the_means_of_the_records(tool: ModuleType, committed: Judge, of_records: Page) -> None:
    cell = committed.conditions["paper"][labelled("CNN2C", "KMNIST", "SML")]
    values = [value for value in committed.results.values(cell) if value is not None]
    text = tool.page(of_records)
    (line,) = [line for line in text.splitlines() if line.startswith("| KMNIST") and "CNN2C  " in line]
    assert f"| {100 * sum(values) / len(values):.2f} ± " in line
    assert f"(n={len(values)}); 95.13, " in line
    assert "Runs in fp32 on cpu," in text  # the cells', though runs in bf16 lie beside them
    (one,) = [line for line in text.splitlines() if line.startswith("| KMNIST") and "CNN5C" in line]
    large = committed.results.accuracy(without_gpu.cnn5c(Precision.fp32)[0].config)
    assert large is not None
    assert one.split(" | ")[4].strip() == f"{100 * large:.2f} (n=1); 96.39, too few"


def test_the_finding_stands_between_its_marks(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "finding", lambda results: "It is +1.22 points (n=5, -0.05). By others: undecided.")
    text = tool.with_finding(f"before\n{tool.BEGIN}stale text{tool.END}after", ROOT)
    found = "It is +1.22 points (n=5, -0.05). By others: undecided."
    assert text == f"before\n{tool.BEGIN}\n{found}\n\n{tool.PICTURE}\n\n{tool.END}after"
    assert "(docs/finding.svg)](docs/results.md)" in tool.PICTURE


def test_the_finding_says_what_the_blind_seeds_make_of_it() -> None:
    text = finding(ROOT / "results")
    assert "LGL-INR's lead over SML on KMNIST is 1.22 points at the paper's learning rate, -0.05 at each" in text
    assert "Seeds 5 to 9 show the lead again and leave its end undecided (+0.08)" in text


def test_no_line_begins_with_a_minus_that_is_no_item(tool: ModuleType) -> None:
    item = " ".join(f"{'x' * (number % 7 + 1)} - y" for number in range(200))
    lines = tool.page(plain_page("", [Paragraph("words"), Items([item])], [])).splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.strip().startswith("- ")]
    last = lines.index("", first)
    assert " ".join(lines[first:last]).replace("   ", " ") == f"- {item}"
    assert max(map(len, lines)) <= 120


def test_a_readme_without_the_marks_is_left_alone(tool: ModuleType) -> None:
    with pytest.raises(SystemExit, match="the README lacks the lines"):
        tool.with_finding("nothing", ROOT / "results")


def test_the_readme_is_short_and_begins_with_the_quick_start() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert "make setup" in lines[:15]
    assert any("scripts/train.py" in line for line in lines[:15])
    assert lines.index("<!-- end of finding -->") < 40


def test_every_link_of_the_documentation_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
