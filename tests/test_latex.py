"""LaTeX tables: required packages are named, every text is escaped, and each table compiles."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from lossbench.config.run import Runtime
from lossbench.report.blocks import Table
from lossbench.studies.aaai20.report import write_report
from lossbench.studies.options import Reproduce
from lossbench.studies.tables import to_latex

pytestmark = pytest.mark.long

NASTY = r"50 % of a_b & c # {x} $y$ ^ ~ \textbf ± –"

DOCUMENT = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def compiled(tables: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "all.tex").write_text(DOCUMENT % "\n".join(tables))
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, errors="replace")


def nasty() -> Table:
    index = pd.MultiIndex.from_tuples([(NASTY, "lambda_0"), (NASTY, "N_1/N_0")], names=[NASTY, "x_1"])
    return Table(pd.DataFrame({NASTY: [NASTY, "2_3"], "b&c": ["1", "2"]}, index=index), NASTY)


def test_every_text_of_a_table_is_escaped_and_what_it_needs_is_said() -> None:
    latex = to_latex(nasty(), "tab:1")
    assert latex.startswith("% needs \\usepackage{booktabs}\n")
    assert "multirow" not in latex
    body = re.sub(r"\\[%_#&{}$]|\\text\w+\{\}|\$\\pm\$|\\label\{tab:1\}", "", latex.partition("\n")[2])
    assert not re.search(r"[%_#$^~]", body)
    assert "lambda\\_0" in latex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs; .ci/run installs it")
def test_every_table_compiles(tmp_path: Path) -> None:
    runtime = Runtime(output_dir=str(tmp_path))
    results = str(Path(__file__).parents[1] / "results")
    written = [
        path.read_text()
        for profile, results_dir in (("paper", results), ("quick", None))
        for path in sorted(write_report(profile, Reproduce(results_dir=results_dir, runtime=runtime)).glob("*.tex"))
    ]
    assert len(written) == 9  # Table 1 is simulated, and the quick profile has none of its own
    done = compiled([*written, to_latex(nasty(), "tab:nasty")], tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]
