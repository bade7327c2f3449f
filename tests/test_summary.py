"""The reproducibility summary: its numbers are the records', its deviations are those of docs/statistics.md."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from blocks import table
from invented import Known

from lossbench.config.run import Runtime, run_id
from lossbench.report.blocks import Block, Table, Terms
from lossbench.studies.aaai20 import grid, paper
from lossbench.studies.aaai20.conditions import PLACES, curve
from lossbench.studies.aaai20.grid import LOSSES
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, FIRST_SEEDS
from lossbench.studies.aaai20.sections.summary import deviations, reproducibility
from lossbench.studies.aaai20.verdicts import SEEN_SEED, Judge

ROOT = Path(__file__).parents[1]
MOST_WORDS = 500
HELD_OUT = curve(PLACES[0], LOSSES[0], Runtime())[0.01]
DATE = r"20\d\d-\d\d-\d\d"


def terms(blocks: list[Block]) -> Mapping[str, str]:
    (found,) = [block for block in blocks if isinstance(block, Terms)]
    return dict(found.lines)


def machine(name: str, hours: float, **changes: Any) -> dict[str, Any]:
    return {"device_name": name, "wall_s": 3600 * hours, "precision": "fp32"} | changes


def made() -> tuple[Known, set[str]]:
    """Four runs of 6.75 hours on two machines, one of them no part of the paper's tables; two of them diverged."""
    results = Known("one", "another")
    first, second, *_ = grid.cells(3, "paper")
    results.add(first.configs[0], 0.9, **machine("Slow", 1.5))
    results.add(first.configs[1], 0.9, **machine("Slow", 2.0))
    results.add(second.configs[1], 0.9, **machine("Fast", 3.0, precision="bf16"))
    results.add(HELD_OUT, 0.9, **machine("Fast", 0.25))
    return results, set(results.records)


def test_runs_hours_devices_and_seeds_are_those_of_the_records() -> None:
    results, used = made()
    assert terms(reproducibility(results, used))["Compute"] == (
        "4 runs (3 in fp32 and 1 in bf16) in 6.8 hours on Fast and Slow; 2 more diverged. Seeds 0 to 1 and 1000."
    )
    fewer = used - {run_id(HELD_OUT)}
    said = terms(reproducibility(results, fewer))
    assert "3 runs (2 in fp32 and 1 in bf16) in 6.5 hours on Fast and Slow;" in said["Compute"]
    assert said["Compute"].endswith("Seeds 0 to 1.")
    assert "held-out" not in said["Data"]


def test_planned_runs_and_held_out_images_are_counted() -> None:
    results, used = made()
    said = terms(reproducibility(results, used))
    assert said["Scope"].endswith("Runs done: 3 of 117 in Table 3, 0 of 18 in Table 4 and 0 of 15 in Table 5.")
    assert "on 6,000 held-out training images" in said["Data"]
    assert "A run of CNN2C takes 120.0 minutes (median, n=3)." in said["What was easy"]


def test_without_runs_it_says_so() -> None:
    said = terms(reproducibility(Known(), []))
    assert said["Compute"] == "No runs yet."
    assert "0 of 117 in Table 3" in said["Scope"]
    assert "median" not in said["What was easy"]


def test_committed_records_are_added_up(committed: Judge) -> None:
    names = sorted(committed.results.records)
    hours = sum(committed.results.records[name].fields["wall_s"] for name in names) / 3600
    said = terms(reproducibility(committed.results, names))["Compute"]
    assert said.startswith(f"{len(names)} runs (")
    assert f" in {hours:.1f} hours on " in said


def words(blocks: list[Block]) -> list[str]:
    texts: list[str] = []
    for block in blocks:
        if isinstance(block, Terms):
            texts += [part for line in block.lines for part in line]
        else:
            assert isinstance(block, Table)
            cells = block.frame.reset_index().astype(str)
            texts += [block.caption, *cells.columns, *cells.to_numpy().ravel()]
    return [word for word in " ".join(texts).split() if not re.fullmatch(DATE, word)]


def test_it_is_short(committed: Judge) -> None:
    blocks = reproducibility(committed.results, committed.results.records)
    found = words(blocks)
    assert MOST_WORDS / 2 < len(found) <= MOST_WORDS, len(found)
    assert max(len(text.split()) for text in terms(blocks).values()) <= 70


def dated() -> list[tuple[str, str]]:
    """The dated entries of docs/statistics.md and what each says on one line; what stands before them is the rules'."""
    text = (ROOT / "docs" / "statistics.md").read_text()
    start = rf"^(?:- (?={DATE})|## The second round \((?={DATE})|\*\*Later\*\*, (?={DATE})|\*\*Words that change)"
    entries = [" ".join(part.split()) for part in re.split(start, text, flags=re.MULTILINE)[1:]]
    found, date = [], ""
    for entry in entries:
        date = entry[:10] if re.match(DATE, entry) else "2026-11-28"  # the words changed with the second round
        found.append((date, entry))
    return found


def test_every_deviation_is_in_the_rules_entry_of_its_date() -> None:
    lines = paper.lines("deviations.csv")
    assert len(lines) >= 10
    for line in lines:
        dates = {date for date, entry in dated() if line["noted"] in entry}
        assert dates == {line["date"]}, line
    assert [line["date"] for line in lines] == sorted(line["date"] for line in lines)


def test_every_date_is_one_of_a_commit_to_the_rules() -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    if git("rev-parse", "--is-shallow-repository").strip() != "false":
        pytest.skip("the history is not here")
    committed = set(git("log", "--format=%ad", "--date=short", "--", "docs/statistics.md").split())
    assert {line["date"] for line in paper.lines("deviations.csv")} <= committed


def test_the_table_shows_each_deviation_and_its_numbers_are_the_codes() -> None:
    lines = paper.lines("deviations.csv")
    frame = table([deviations()])
    assert list(frame.index) == [line["date"] for line in lines]
    assert list(frame.columns) == ["Rule", "Done", "Effect"]
    assert frame.to_numpy().tolist() == [[line["rule"], line["done"], line["effect"]] for line in lines]
    assert all(text.strip() for text in frame.to_numpy().ravel())
    said = " ".join(frame["Done"])
    assert f"Seeds {BLIND_SEEDS[0]} to {BLIND_SEEDS[-1]} added, " in said
    assert f"with seeds {FIRST_SEEDS[0]} to {FIRST_SEEDS[-1]} seen" in said
    assert f"The nine were repeated as seed {SEEN_SEED}" in said
    assert len(Judge(Known()).seen()) == 9
