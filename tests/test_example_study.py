"""The example study of docs/studies.md works as printed there; the registered studies are listed."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from test_recipes import Copy, blocks

from lossbench.studies.study import STUDIES, Study, register_study, studies

OWN = ("many_classes", "why_log", "eight_losses", "softmax_family", "aaai20", "imbalance")
ROOT = Path(__file__).parents[1]
DRIVER = """
import json
from lossbench.config.run import Runtime
from lossbench.report.blocks import plain_page
from lossbench.report.markdown import to_markdown
from lossbench.studies.measurements import measure_all
from lossbench.studies.results import known_results
from lossbench.studies.study import STUDIES, Known
from lossbench.sweep.run_all import run_all

study, known = STUDIES["second_phase"], Known(runtime=Runtime(device="cpu", num_threads=1, parallel=1))
for name, configs in study.plan(known):
    assert run_all(configs).failed == {}, name
first, again = (measure_all(study.measurements(known), "outputs") for _ in range(2))
page = to_markdown(plain_page(study.title, [], study.sections(known_results("outputs", None))))
print(json.dumps([first.finished, again.finished, again.skipped, page]))
"""


def test_the_example_study_is_listed_trained_measured_once_and_shown(tmp_path: Path) -> None:
    for name in ("src", "conf", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (code,) = blocks("docs/studies.md")
    assert len([line for line in code.splitlines() if line]) <= 45
    (tmp_path / "src" / "lossbench" / "studies" / "second_phase.py").write_text(code)
    copy = Copy(tmp_path)
    done = copy.python("-c", DRIVER)
    assert done.returncode == 0, done.stderr
    finished, again, skipped, page = json.loads(done.stdout.splitlines()[-1])
    assert (len(finished), again, skipped) == (1, [], finished)
    rows = re.findall(r"^\| (first|second) .*?(\d+\.\d\d), (\d+\.\d\d)", page, re.MULTILINE)
    assert [row[0] for row in rows] == ["first", "second"]
    listed = copy.python("-c", "from lossbench.cli.main import main; main(['studies', '--json'])")
    known = {line["study"]: line for line in json.loads(listed.stdout)}
    assert set(known) == {*OWN, "second_phase"}
    assert (known["second_phase"]["planned"], known["second_phase"]["finished"]) == (4, 4)


def test_the_studies_are_listed_with_their_runs(invoke: Callable[..., Result]) -> None:
    lines = json.loads(invoke("studies", "--json", "--results-dir", str(ROOT / "results")).stdout)
    assert [line["study"] for line in lines] == list(OWN)
    for line in lines:
        assert 0 < line["finished"] + line["diverged"] <= line["planned"]
    *_, paper, imbalance = lines
    assert (imbalance["planned"], imbalance["finished"]) == (135, 135)
    assert paper["planned"] > 500
    assert "imbalance" in invoke("studies").stdout


def test_a_study_without_a_title_is_refused() -> None:
    class Untitled(Study):
        name, rules = "untitled", "nowhere"

    with pytest.raises(ValueError, match="the study Untitled has no title; give it one, a text"):
        register_study(Untitled)
    assert "untitled" not in STUDIES
    assert [study.name for study in studies()] == list(OWN)
