"""Writes docs/results.md and the README's finding from the committed records: python tools/write_results.py."""

import textwrap
from pathlib import Path

from lossbench.studies.aaai20.report import finding, overview

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- finding: tools/write_results.py -->\n", "<!-- end of finding -->\n"
HEAD = """\
<!-- written by tools/write_results.py -->

# Results so far

Does the paper hold? This page is made from the records in `results/`. `make report` builds the whole report from them
in seconds, without training: `outputs/report/paper/index.html`, one page that needs no other file, and the same as
`report.md`. The rules were written down before the runs ([statistics.md](statistics.md)).
"""


def page(results: Path) -> str:
    """docs/results.md for the records in a folder."""
    lines = overview(results).splitlines()
    text = "\n".join(line if line.startswith("|") else _wrapped(line) for line in lines)
    return f"{HEAD}\n{text}\n"


def with_finding(readme: str, results: Path) -> str:
    """A README with the main finding between its two marks.

    Raises:
        SystemExit: the README lacks the marks.
    """
    before, _, rest = readme.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"the README lacks the lines {BEGIN!r} and {END!r}")
    text = _wrapped(f"{finding(results)} All results: [docs/results.md](docs/results.md)")
    return f"{before}{BEGIN}\n{text}\n\n{END}{after}"


def _wrapped(line: str) -> str:
    indent, minus = "  " if line.startswith("- ") else "", "\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}"
    kept = line.replace(" - ", minus)  # at the beginning of a line a minus would make a list
    return textwrap.fill(kept, 120, subsequent_indent=indent, break_on_hyphens=False).replace(minus, " - ")


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_finding(path.read_text(), ROOT / "results"))
    (ROOT / "docs" / "results.md").write_text(page(ROOT / "results"))
