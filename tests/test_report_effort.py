"""A report does nothing twice: files are read once, rules applied once, and modules it has no use for stay out."""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lossbench.config.run import Runtime
from lossbench.runs.records import Record
from lossbench.studies.aaai20 import second_runs
from lossbench.studies.aaai20.paper_page import Drawn, other_studies, paper_page
from lossbench.studies.aaai20.report import write_report
from lossbench.studies.aaai20.second_verdicts import SecondRound
from lossbench.studies.options import Reproduce
from lossbench.studies.results import known_results
from lossbench.studies.study import Known

RESULTS = Path(__file__).parents[1] / "results"

NOT_NEEDED = ("torch", "scipy.stats", "scipy.optimize", "lossbench.report.own", "lossbench.report.own_figures")
"""Modules that are slow to import and that the page of the paper does not need."""


def test_the_page_of_the_paper_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    program = (
        "import sys; from lossbench.cli.report import report; report(); "
        f"print('imported:', *[name for name in {NOT_NEEDED!r} if name in sys.modules])"
    )
    options = ["profile=paper", "results_dir=null", f"runtime.output_dir={tmp_path}"]
    done = subprocess.run([sys.executable, "-c", program, *options], capture_output=True, text=True, check=True)
    assert (tmp_path / "report" / "paper" / "index.html").exists()
    assert done.stdout.splitlines()[-1].split() == ["imported:"]


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the committed records are not here")
def test_arrays_are_read_once_and_rules_applied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, Counter[object]] = {"arrays": Counter(), "second round": Counter(), "blind": Counter()}
    read, begin, judge = Record.arrays, SecondRound.__init__, SecondRound._blind

    def counted_read(self: Record) -> object:
        counts["arrays"][self.id] += 1
        return read(self)

    def counted_begin(self: SecondRound, *given: object) -> None:
        counts["second round"]["begun"] += 1
        begin(self, *given)

    def counted_blind(self: SecondRound, contrast: object, *cells: object) -> object:
        counts["blind"][contrast] += 1
        return judge(self, contrast, *cells)

    monkeypatch.setattr(Record, "arrays", counted_read)
    monkeypatch.setattr(SecondRound, "__init__", counted_begin)
    monkeypatch.setattr(SecondRound, "_blind", counted_blind)
    results = known_results(tmp_path, RESULTS)
    assert results.problems() == []
    paper_page(results, None, Drawn({}, [], [], [], []), [])
    assert set(counts["arrays"]) == set(results.records)
    assert len(second_runs.first_cells(results.accuracy)["paper"]) == 9
    assert {name: set(found.values()) for name, found in counts.items()} == {name: {1} for name in counts}


def test_each_study_plans_its_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()
    for study in other_studies():

        def plan(known: Known, name: str = study.name, plan: Any = study.plan) -> Any:
            counts[name] += 1
            return plan(known)

        monkeypatch.setattr(study, "plan", plan)
    write_report("paper", Reproduce(tables=[5], results_dir=None, runtime=Runtime(output_dir=str(tmp_path))))
    assert counts == dict.fromkeys([study.name for study in other_studies()], 1)
