"""Writes docs/results.md, its picture, and the README's finding from the committed records.

python tools/write_results.py
"""

import textwrap
from dataclasses import replace
from pathlib import Path

from lossbench.report.blocks import Page, Picture
from lossbench.report.drawing import saved
from lossbench.report.markdown import to_markdown
from lossbench.studies.aaai20.report import finding, overview

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- finding: tools/write_results.py -->\n", "<!-- end of finding -->\n"
PICTURE = """\
[![Test accuracy of three losses at the paper's and at their own learning rates](docs/finding.svg)](docs/results.md)"""
HEAD = "<!-- written by tools/write_results.py -->\n\n"
END_OF_PAGE = """\
## The whole report

`make report` builds it from the records in `results/` in seconds, without training: `outputs/report/paper/index.html`,
one page with every table, figure and claim of the paper, each with its rule and n, and the same as `report.md`. The
rules were written before the runs ([statistics.md](statistics.md)).
"""


def page(shown: Page) -> str:
    """docs/results.md for the first screen and the evidence."""
    lines = to_markdown(replace(shown, title="Results so far")).splitlines()
    text = "\n".join(line if line.startswith(("|", "!")) else _wrapped(line) for line in lines)
    return f"{HEAD}{text}\n\n{END_OF_PAGE}"


def with_finding(readme: str, results: Path) -> str:
    """A README with the main finding between its two marks.

    Raises:
        SystemExit: the README lacks the marks.
    """
    before, _, rest = readme.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"the README lacks the lines {BEGIN!r} and {END!r}")
    text = f"{_wrapped(finding(results))}\n\n{PICTURE}"
    return f"{before}{BEGIN}\n{text}\n\n{END}{after}"


def _wrapped(line: str) -> str:
    indent, minus = "  " if line.startswith("- ") else "", "\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}"
    kept = line.replace(" - ", minus)  # at the beginning of a line a minus would make a list
    return textwrap.fill(kept, 120, subsequent_indent=indent, break_on_hyphens=False).replace(minus, " - ")


def main() -> None:
    """Write all three."""
    readme, shown = ROOT / "README.md", overview(ROOT / "results")
    readme.write_text(with_finding(readme.read_text(), ROOT / "results"))
    (ROOT / "docs" / "results.md").write_text(page(shown))
    (picture,) = [block for block in shown.lead if isinstance(block, Picture)]
    figure = picture.drawing.function(*picture.drawing.arguments)
    (ROOT / "docs" / f"{picture.name}.svg").write_bytes(saved(figure, "svg", picture.name))


if __name__ == "__main__":
    main()
