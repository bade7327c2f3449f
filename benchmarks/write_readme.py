"""The README's results, from the committed records: python benchmarks/write_readme.py.

What stands between the two marks is replaced.
"""

import textwrap
from pathlib import Path

from lossbench.studies.aaai20.report import overview

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- results: benchmarks/write_readme.py -->\n", "<!-- end of results -->\n"


def written(readme: str, results: Path) -> str:
    """A README with the results of the records in a folder."""
    before, _, rest = readme.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"the README lacks the lines {BEGIN!r} and {END!r}")
    lines = overview(results).splitlines()
    text = "\n".join(line if line.startswith("|") else _wrapped(line) for line in lines)
    return f"{before}{BEGIN}\n{text}\n\n{END}{after}"


def _wrapped(line: str) -> str:
    indent, minus = "  " if line.startswith("- ") else "", "\N{NO-BREAK SPACE}-\N{NO-BREAK SPACE}"
    kept = line.replace(" - ", minus)  # at the beginning of a line a minus would make a list
    return textwrap.fill(kept, 120, subsequent_indent=indent, break_on_hyphens=False).replace(minus, " - ")


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(written(path.read_text(), ROOT / "results"))
