"""Whatever the records contain, the report is written, can be read, and counts and averages what it was given."""

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report import fields, plan

from lossbench.config.run import Runtime
from lossbench.report.blocks import Picture
from lossbench.report.drawing import Gallery
from lossbench.runs.folder import open_run
from lossbench.studies import tables as studies_tables
from lossbench.studies.aaai20 import report
from lossbench.studies.aaai20.grid import cells
from lossbench.studies.cells import Cell
from lossbench.studies.options import Selection

pytestmark = pytest.mark.long

ODD = [
    "<b>&amp;</b><script>",
    "a|b",
    r"\input{x}",
    "{",
    "}}",
    "$x_1^2~%#&",
    "ü漢字\u202e",
    "a,b\n\n\"c'",
    "x" * 3000,
    "\r\0",
    "",
]
texts = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TAGS = {"html", "head", "meta", "title", "style", "body", "main", "section", "nav", "div", "span", "a"}
TAGS |= {"h1", "h2", "p", "img", "ul", "li", "table", "caption", "thead", "tbody", "tr", "th", "td"}
TAGS |= {
    "figure",
    "figcaption",
    "header",
    "details",
    "summary",
    "button",
    "script",
    "dl",
    "dt",
    "dd",
    "b",
    "h3",
    "svg",
    "g",
    "defs",
    "path",
    "use",
    "clippath",
    "rect",
    "text",
    "tspan",
}
NUM_SEEDS = 10
Given = dict[str, dict[int, float]]
"""Test accuracies by the key of their cell and the seed."""


def confusion(num_classes: int, accuracy: float) -> np.ndarray:
    """So many classes, so much of everything right, the others taken for the next class."""
    eye = np.eye(num_classes)
    return 1000 * (accuracy * eye + (1 - accuracy) * np.roll(eye, 1, axis=1))


def give(folder: Path, cell: Cell, seed: int, accuracy: float, num_classes: int, odd: dict[str, Any]) -> None:
    """Write a finished run of a cell."""
    config = replace(cell.config, seed=seed, runtime=Runtime(output_dir=str(folder)))
    run = open_run(config)
    run.start(config)
    (run.folder / "result.json").unlink(missing_ok=True)  # a record is never replaced
    run.finish(fields(config, accuracy, **odd), {"confusion_matrix": confusion(num_classes, accuracy)})


@st.composite
def odd_fields(draw: st.DrawFn) -> dict[str, Any]:
    odd: dict[str, Any] = {name: draw(texts) for name in ("device", "device_name", "precision")}
    return odd | {"versions": {"torch": draw(texts)}, "commit": draw(st.none() | texts)}


class Markup(HTMLParser):
    """Refuses all markup that is not ours."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS

    def handle_endtag(self, tag: str) -> None:
        assert tag in TAGS


def check_forms(folder: Path, table: int) -> None:
    """The forms of a table can be read by those who read them."""
    Markup().feed((folder / f"table{table}.html").read_text())
    needs, _, tex = (folder / f"table{table}.tex").read_text().partition("\n")
    assert needs == r"% needs \usepackage{booktabs}"
    bare = re.sub(r"\\[\\{}$%&#_]", "", tex)
    depths = np.cumsum([(letter == "{") - (letter == "}") for letter in bare])
    assert depths.min() >= 0
    assert depths[-1] == 0
    assert bare.count("$") % 2 == 0
    assert not re.search(r"[%#_^~]", bare)
    assert "\\input" not in bare
    assert "\n\n" not in tex.strip()
    lines = [line for line in (folder / f"table{table}.md").read_text().splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def check_numbers(folder: Path, table: int, profile: str, given_: Given, selection: Selection) -> None:
    frame = pd.read_csv(StringIO((folder / f"table{table}.csv").read_text()), keep_default_na=False)
    expected = cells(table, profile, NUM_SEEDS)
    assert len(frame) == len(expected)
    for cell, line in zip(expected, frame.to_dict("records"), strict=True):
        values = [100 * value for _, value in sorted(given_.get(cell.key, {}).items())]
        if selection is Selection.best:
            values = [100 * fields(cell.config, value / 100)["test_accuracy_best"] for value in values]
        assert (line["row"], str(line["column"]).removesuffix(".0")) == (cell.row, cell.column)
        assert (line["n"], line["n_wanted"]) == (len(values), len(cell.configs))
        assert line["mean"] == "" if not values else float(line["mean"]) == pytest.approx(np.mean(values), rel=1e-12)
        sd = "" if len(values) < 2 else pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-12)
        assert (line["sd"] if sd == "" else float(line["sd"])) == sd
        assert str(line["seeds"]).split() == [str(seed) for seed in sorted(given_.get(cell.key, {}))]


def check_report(data: st.DataObject, profile: str, tables: list[int], most: int) -> None:
    """Any runs of some tables."""
    places = list({cell.key: cell for table in tables for cell in cells(table, profile)}.values())
    num_classes = data.draw(st.integers(2, 12))
    seeds = st.dictionaries(st.integers(0, NUM_SEEDS - 1), st.floats(0, 1), max_size=4)
    given_: Given = {cell.key: data.draw(seeds) for cell in data.draw(st.permutations(places))[:most]}
    selection = data.draw(st.sampled_from(Selection))
    said: list[str] = []
    with TemporaryDirectory() as name:
        for cell in places:
            for seed, accuracy in given_.get(cell.key, {}).items():
                odd = data.draw(odd_fields())
                give(Path(name), cell, seed, accuracy, num_classes, odd)
                said += [odd["device_name"].strip()] if odd["device_name"].isprintable() else []
        folder = report.write_report(profile, plan(Path(name), tables=tables, selection=selection, seeds=NUM_SEEDS))
        for table in tables:
            check_forms(folder, table)
            check_numbers(folder, table, profile, given_, selection)
        page = (folder / "index.html").read_text()
        Markup().feed(page)
        assert all(text in html.unescape(page) for text in said)
        assert "Not in any table" not in (folder / "summary.md").read_text()
        if 3 in tables:
            matrices = pd.read_csv(folder / "figure1.csv")
            assert len(matrices) % num_classes**2 == 0


@contextmanager
def undrawn() -> Iterator[None]:
    """Figures are made, but not drawn, which takes a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gallery, "_draw", blank)
        yield


def blank(gallery: Gallery, picture: Picture, key: str) -> bytes:
    """A picture's numbers without its drawing."""
    gallery._write_data(picture)
    return b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"></svg>'


@given(st.data())
@settings(max_examples=25)
def test_any_runs_make_a_report(data: st.DataObject) -> None:
    with undrawn():
        check_report(data, data.draw(st.sampled_from(["paper", "quick"])), [data.draw(st.sampled_from([4, 5]))], 6)


@given(st.data())
@settings(max_examples=5)
def test_any_runs_make_figures(data: st.DataObject) -> None:
    with undrawn():
        check_report(data, data.draw(st.sampled_from(["paper", "quick"])), [3, 5], 30)


PERCENTS = studies_tables._percents


def of_the_first_again(records: Any, selection: Selection) -> list[float]:
    return PERCENTS([*records[:-1], *records[:1]], selection)


def of_the_last_epoch(records: Any, selection: Selection) -> list[float]:
    return PERCENTS(records, Selection.last)


def as_it_is(text: object) -> str:
    return str(text)


def for_the_percent_sign_alone(text: object) -> str:
    return str(text).replace("%", r"\%")


FAULTS: list[tuple[str, Callable[..., Any]]] = [
    ("studies.tables._percents", of_the_first_again),
    ("studies.tables._percents", of_the_last_epoch),
    ("studies.tables.plain", as_it_is),
    ("report.latex._tex", for_the_percent_sign_alone),
    ("report.html.html.escape", as_it_is),
]


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_faulty_report_is_caught(name: str, fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"lossbench.{name}", fault)
    with pytest.raises(AssertionError):
        test_any_runs_make_a_report()
