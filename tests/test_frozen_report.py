"""The report keeps its numbers: built from a fixed list of records, every table and text is the same to the byte.

A commit that changes a sentence on purpose runs this file as a program, which writes the digests anew, and says why.
"""

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

import pytest

from lossbench.config.run import Runtime
from lossbench.report.markdown import to_markdown
from lossbench.studies.aaai20.report import finding, overview, write_report
from lossbench.studies.options import Reproduce

FROZEN = Path(__file__).parent / "frozen"
RESULTS = Path(__file__).parents[1] / "results"
SUFFIXES = (".csv", ".html", ".md", ".tex")


def results_of_frozen_names(folder: Path) -> Path:
    """A folder of committed records that holds the named ones alone."""
    names = set((FROZEN / "record_names.txt").read_text().split())
    for file in ("records.jsonl", "failures.jsonl"):
        lines = (RESULTS / file).read_text().splitlines(keepends=True)
        (folder / file).write_text("".join(line for line in lines if json.loads(line)["run_id"] in names))
    (folder / "arrays").symlink_to(RESULTS / "arrays")
    for path in RESULTS.glob("*.json"):
        (folder / path.name).symlink_to(path)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every text of the report, by file; the page without pictures and styles."""
    (folder / "results").mkdir()
    results = results_of_frozen_names(folder / "results")
    plan = Reproduce(results_dir=str(results), runtime=Runtime(output_dir=str(folder / "outputs")))
    written = write_report("paper", plan)
    texts = {path.name: path.read_text() for path in sorted(written.iterdir()) if path.suffix in SUFFIXES}
    texts["docs/results.md"] = to_markdown(overview(results))
    texts["README's finding"] = finding(results)
    texts = {name: re.sub(r"<(svg|style|script)\b.*?</\1>", "", text, flags=re.DOTALL) for name, text in texts.items()}
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}


@pytest.mark.skipif(not RESULTS.is_dir(), reason="the committed records are not here")
def test_the_report_on_a_fixed_list_of_records_stays_the_same(tmp_path: Path) -> None:
    known = json.loads((FROZEN / "report.json").read_text())
    found = digests(tmp_path)
    assert {name for name in known.keys() | found.keys() if known.get(name) != found.get(name)} == set()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(digests(Path(scratch)), indent=1)
    (FROZEN / "report.json").write_text(text + "\n")
    print(f"{FROZEN / 'report.json'} written", file=sys.stderr)
