"""A report's page: it can be read by everybody, and nothing is loaded from elsewhere."""

import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import product
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from page_tree import ODD, Tree, page_of, picture, shown, table

from lossbench.report.blocks import (
    Block,
    Count,
    Items,
    Page,
    Paragraph,
    Part,
    Section,
    Table,
    Terms,
    Tile,
    Tiles,
    plain_page,
)
from lossbench.report.html import html_page, to_html
from lossbench.report.markdown import blocks_to_markdown, to_markdown
from lossbench.report.style import PALETTE
from lossbench.report.table import table as of_lines
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING
from lossbench.statistics.inference import CellOutcome, Headline, Outcome, Word
from lossbench.studies.aaai20.second_verdicts import Answer, Status
from lossbench.studies.aaai20.verdicts import State

texts = st.sampled_from(ODD) | st.text(max_size=12) | st.text("\\`*_[]<>#&|~$!-+=.:()1ax \n", max_size=12)


def test_a_page_has_its_parts_in_order() -> None:
    sections = [
        Section("Same", [Paragraph("first"), Items(["one", "two"])]),
        Section("Same", [Paragraph("second")]),
        Section("Same 2", []),
        Section("漢字", [picture("same")]),
        Section("1 < 2", []),
    ]
    text = to_html(plain_page("A & B", [Paragraph("In short."), table({"x": ["1"]})], sections))
    tree = Tree(text)
    assert text.startswith("<!doctype html>\n")
    (root,) = tree.all("html")
    assert root["attrs"] == {"lang": "en"}
    metas = [meta["attrs"] for meta in tree.all("meta")]
    assert metas[0] == {"charset": "utf-8"}
    assert {meta["name"]: meta["content"] for meta in metas[1:]} == {
        "viewport": "width=device-width, initial-scale=1",
        "color-scheme": "light dark",
    }
    assert tree.texts("title", "h1", "h2") == ["A & B", "A & B", "Same", "Same", "Same 2", "漢字", "1 < 2"]
    anchors = [heading["attrs"]["id"] for heading in tree.all("h2")]
    assert anchors == ["same", "same-2", "same-2-2", "part-2", "1-2"]
    assert [figure["attrs"]["id"] for figure in tree.all("figure")] == ["same-3"]
    (contents,) = tree.all("nav")
    assert contents["attrs"] == {"aria-label": "Contents"}
    links = [(link["attrs"]["href"], link["text"]) for link in tree.all("a")]
    assert links == [
        ("#top", "Contents"),
        *((f"#{anchor}", title) for anchor, title in zip(anchors, tree.texts("h2"), strict=True)),
    ]
    order = [element["tag"] for element in tree.all("header", "h1", "section", "nav", "h2")]
    assert order == ["header", "h1", "nav", *["section", "h2"] * 5]
    lead = tree.all("header")[0]
    assert lead["attrs"] == {"id": "top"}
    assert lead["text"].split() == ["A", "&", "B", "In", "short.", "Table", "1.", "One:", "more", "x", "01"]
    assert [li["text"] for li in tree.all("li") if "nav" not in li["inside"]] == ["one", "two"]
    assert not tree.all("script", "link", "img", "iframe", "object")


def folded_page() -> Page:
    step = Section("It holds, but not here.", [Paragraph("Because.")], short="Does it hold")
    checks = [Section("Claims", [Paragraph("All.")], gist="Rule: 5 %, n=5."), Section("Plan", [])]
    lead = [
        Terms([("SML", "softmax"), ("LGL", "logistic")], [1, None]),
        Paragraph("In short."),
        picture("finding"),
        Tiles([Tile("26 numbers", [Count(8, "agree", "agrees"), Count(0, "differ", "differs")], ["15 not run"])]),
    ]
    parts = [Part("Evidence", [step]), Part("Full check", checks, folded=True, lead=[Paragraph("Scope.")])]
    return Page("Does it hold?", lead, parts, about="A replication")


def test_a_page_folds_the_full_check_and_lists_all_of_it() -> None:
    text = to_html(folded_page())
    tree = Tree(text)
    headings = [(one["tag"], one["text"]) for one in tree.all("h1", "h2", "h3")]
    assert headings == [
        ("h1", "Does it hold?"),
        ("h2", "Evidence"),
        ("h3", "It holds, but not here."),
        ("h2", "Full check"),
        ("h3", "Claims"),
        ("h3", "Plan"),
    ]
    listed = [link["text"] for link in tree.all("a") if "nav" in link["inside"]]
    assert listed == ["Contents", "Evidence", "Does it hold", "Full check", "Claims", "Plan"]
    targets = {link["attrs"]["href"][1:] for link in tree.all("a") if "nav" in link["inside"]}
    assert targets <= {one["attrs"].get("id") for one in tree.elements}
    folded = tree.all("details")
    assert [one["text"].split() for one in folded] == [["Claims", "Rule:", "5", "%,", "n=5.", "All."], ["Plan"]]
    assert all("open" not in one["attrs"] for one in folded)
    assert [one["text"] for one in tree.all("summary")] == ["Claims Rule: 5 %, n=5.", "Plan "]
    (script,) = tree.all("script")
    assert script["attrs"] == {}  # nothing is loaded
    assert not re.search(r"https?:|fetch|import", script["text"])
    (beside,) = [one for one in tree.all("div") if one["attrs"].get("class") == "beside"]
    assert {"figure", "svg"} <= {one["tag"] for one in tree.elements if "div" in one["inside"]}
    assert "26 numbers" in beside["text"]
    bars = [one["attrs"] for one in tree.all("span") if "flex-grow" in one["attrs"].get("style", "")]
    assert bars == [{"class": "agrees", "style": "flex-grow:8"}]  # what is 0 has no bar, and a line all the same
    assert [one["text"] for one in tree.all("li") if "nav" not in one["inside"]] == ["8 agree", "0 differ"]
    assert [(one["text"], one["attrs"]) for one in tree.all("dt")] == [("SML", {"class": "hue1"}), ("LGL", {})]


def test_markdown_folds_nothing() -> None:
    text = to_markdown(folded_page())
    order = ["A replication", "# Does it hold?", "- **SML**: softmax", "In short.", "![What it shows](finding.svg)"]
    order += [
        "- **26 numbers**: 8 agree, 0 differ; 15 not run",
        "## Evidence",
        "### It holds, but not here.",
        "Because.",
    ]
    order += ["## Full check", "Scope.", "### Claims", "Rule: 5 %, n=5.", "All.", "### Plan"]
    places = [text.index(one) for one in order]
    assert places == sorted(places)


def test_a_short_page_lists_no_contents() -> None:
    assert page_of(Paragraph("x")).all("nav") == []
    tree = Tree(to_html(plain_page("Title", [], [])))
    assert tree.all("nav", "section", "h2") == []
    assert Tree(html_page("Title", "<p>x</p>")).texts("p") == ["x"]


def test_a_table_says_what_heads_what() -> None:
    index = pd.MultiIndex.from_tuples(
        [("A", "x", "1"), ("A", "x", "1"), ("A", "y", "1"), ("B", "y", "2"), ("A", "y", "2")], names=["N", None, "L"]
    )
    shown = table({"m": list("abcde"), "p": list("fghij")}, index, caption="Table 1. Of things: and how")
    tree = page_of(shown)
    assert tree.texts("caption") == ["Table 1. Of things: and how"]
    (place,) = [one for one in tree.all("div") if one["attrs"].get("class") == "scroll"]
    name = "Table 1. Of things"
    assert place["attrs"] == {"class": "scroll", "role": "region", "aria-label": name, "tabindex": "0"}
    heads = tree.all("th")
    assert [head["text"] for head in heads if "thead" in head["inside"]] == ["N", "N, L", "m", "p"]
    assert {head["attrs"]["scope"] for head in heads if "thead" in head["inside"]} == {"col"}
    rows = [head for head in heads if "tbody" in head["inside"]]
    assert {head["attrs"]["scope"] for head in rows} == {"row"}
    spans = [(head["text"], int(head["attrs"].get("rowspan", 1))) for head in rows]
    assert spans == [
        *[("A", 3), ("x", 2), ("A, x, 1", 1)],
        *[("A, x, 1", 1)],
        *[("y", 1), ("A, y, 1", 1)],
        *[("B", 1), ("y", 1), ("B, y, 2", 1)],
        *[("A", 1), ("y", 1), ("A, y, 2", 1)],
    ]
    innermost = [head for head in heads if head["attrs"].get("class") == "stays"]
    assert [head["text"].rpartition(", ")[2] for head in innermost] == ["L", "1", "1", "1", "2", "2"]
    outer = [one for one in tree.all("span") if one["attrs"].get("class") == "before"]  # shown on a phone alone
    assert [one["text"] for one in outer] == ["N, ", "A, x, ", "A, x, ", "A, y, ", "B, y, ", "A, y, "]
    assert all(one["attrs"]["aria-hidden"] == "true" for one in outer)
    assert [cell["text"] for cell in tree.all("td")] == ["", "a", "f", "b", "g", "c", "h", "d", "i", "e", "j"]
    css = tree.texts("style")[0]
    assert ".before { display: none; }" in css
    assert re.search(r"max-width: 40rem\) \{\s*\.outer \{ display: none; \}\s*\.before \{ display: inline; \}", css)


def test_numbers_line_up() -> None:
    columns = {
        "ragged": ["1.5", "-10.25", "missing", "–", ""],
        "even": ["99.15", "89.44", "94.37", "91.15", "missing"],
        "text": ["1", "10", "100 (n=2)", "x", ""],
        "empty": ["", "missing", "", "", ""],
        "percent": ["5 %", "12.5 %", "−3 %", "1e-05", "+2"],
    }
    tree = page_of(table(columns))
    right = {
        head["text"]: "number" in head["attrs"].get("class", "") for head in tree.all("th") if head["text"] in columns
    }
    assert right == {"ragged": True, "even": False, "text": False, "empty": False, "percent": True}
    for at, cell in enumerate(tree.all("td")[1:]):
        assert ("number" in cell["attrs"].get("class", "")) == right[list(columns)[at % 5]]
    assert "tabular-nums" in tree.texts("style")[0]


@pytest.mark.parametrize(
    ("cell", "tone"),
    [
        (toned("consistent"), "agrees"),
        (toned("holds", " (p = 0.9)"), "agrees"),
        (toned("paper lower", ", by 0.3"), "differs"),
        (toned("failed", " (2 of 5)"), "differs"),
        (toned("higher, within the margin"), "ordered"),
        (toned("too few"), "open"),
        (MISSING, "open"),
        (toned("yes"), None),
        ("holds", None),  # a text that says no verdict, whatever its words
        ("higher after Holm", None),
        ("99.15", None),
    ],
)
def test_verdicts_are_tinted_and_said(cell: str, tone: str | None) -> None:
    tree = page_of(table({"x": [cell]}))
    shown = tree.all("td")[1]
    assert shown["text"] == cell
    assert shown["attrs"].get("class") == tone
    assert tone is None or f".{tone} {{ color: var(--" in tree.texts("style")[0]
    assert blocks_to_markdown([table({"x": [cell]})]) == blocks_to_markdown([table({"x": [str(cell)]})])


def test_every_word_of_a_verdict_has_its_tone() -> None:
    kinds = (CellOutcome, Word, Outcome, Headline, State, Status, Answer)
    for word in (word for kind in kinds for word in get_args(kind)):
        assert toned(word) == word
    assert {toned(word).tone for word in get_args(CellOutcome)} == {"agrees", "differs", "open"}
    assert toned("contradicted").tone == toned("fails").tone == "differs"
    with pytest.raises(KeyError):
        toned("holdsfast")


def test_columns_may_share_a_heading() -> None:
    lines = {"a": {"n": "1", "p, first": "0.1", "p, second": "0.2"}, "b": {"n": "2", "p, second": "0.4"}}
    block = of_lines(lines, ["Row"], "Table 1.", dict.fromkeys(("p, first", "p, second"), "p"))
    assert list(block.frame.columns) == ["n", "p", "p"]
    tree = page_of(block)
    assert [head["text"] for head in tree.all("th") if "thead" in head["inside"]] == ["Row", "n", "p", "p"]
    assert tree.texts("td")[:3] == ["1", "0.1", "0.2"]
    assert "| a     | 1   | 0.1 | 0.2 |" in blocks_to_markdown([block])


def luminance(color: str) -> float:
    """Relative luminance of a colour (WCAG 2)."""
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_every_text_stands_out_by_day_and_night() -> None:
    css = files("lossbench.report").joinpath("style.css").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in css.split("@media")[:2])
    assert list(light) == list(dark)
    foregrounds = set(light) - {"paper", "box", "line"}
    hues = {f"hue{number}" for number in range(len(PALETTE))}
    assert foregrounds == {"ink", "quiet", "link", "agrees", "differs", "ordered"} | hues
    for colors, front, back in product((light, dark), foregrounds, ("paper", "box")):
        low, high = sorted((luminance(colors[front]), luminance(colors[back])))
        least = 3 if front in hues else 4.5  # of lines and markers, and of texts
        assert (high + 0.05) / (low + 0.05) >= least, f"{colors[front]} on {colors[back]}"
    assert [light[f"hue{number}"] for number in range(len(PALETTE))] == [style["color"] for style in PALETTE]
    used = set(re.findall(r"var\(--(\w+)\)", css))
    assert used == set(light) | {"hue"}
    assert css.count("@media screen and (prefers-color-scheme: dark)") == 1  # so that print is light


def inline(tokens: Sequence[Token]) -> list[str]:
    """The texts that Markdown shows; refuses all marks within them but pictures."""
    found = []
    for token in tokens:
        if token.type == "inline":
            assert {child.type for child in token.children or []} <= {"text", "image"}, token.content
            found.append("".join(child.content for child in token.children or [] if child.type == "text"))
    return found


def blocks_in(markdown: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)


def test_markdown_says_the_same() -> None:
    index = pd.MultiIndex.from_tuples([("A", "x"), ("A", "y")], names=["N", "L"])
    blocks = [table({"a|b": ["1.50", "c|d"]}, index), Items(["x", "y"]), picture(alt="Bars [2]")]
    text = to_markdown(plain_page("lossbench: one", [Paragraph("In short.")], [Section("Part", blocks)]))
    assert text == (
        "# lossbench: one\n\nIn short.\n\n## Part\n\nTable 1. One: more\n\n"
        "| N   | L   | a\\|b   |\n|:----|:----|:-------|\n| A   | x   | 1.50   |\n| A   | y   | c\\|d   |\n\n"
        "- x\n- y\n\n![Bars \\[2\\]](one.svg)\n\nFigure 1. A caption: it goes on.\n"
    )
    assert "![](a%20%28b%29.svg)" in to_markdown(plain_page("x", [picture("a (b)", alt="")], []))


def test_tables_without_rows_are_tables() -> None:
    empty = Table(pd.DataFrame({"a": [], "b": []}, index=pd.Index([], name="N")), "None yet")
    assert page_of(empty).texts("th") == ["N", "a", "b"]
    assert "| N   | a   | b   |" in to_markdown(plain_page("x", [empty], []))


@given(st.lists(texts, min_size=8, max_size=8))
@settings(max_examples=200)
def test_any_text_is_shown_as_it_is(given_: list[str]) -> None:
    title, heading, paragraph, item, caption, column, row, cell = given_
    columns, rows = pd.Index([column, column], dtype=object), pd.Index([row, row], dtype=object, name=column)
    frame = pd.DataFrame([[cell, "z"], ["z", cell]], rows, columns, dtype=object)  # pyarrow refuses half a character
    content: list[Block] = [Paragraph(paragraph), Items([item, "end"]), Table(frame, caption)]
    sections = [Section(heading, content), Section(heading, [])]
    page = plain_page(title, [], sections)
    tree = Tree(to_html(page))
    assert tree.texts("title", "h1") == [shown(title)] * 2
    assert tree.texts("h2") == [shown(heading)] * 2 == tree.texts("a")[1:]
    assert [p for p in tree.texts("p") if p != "Contents"] == [shown(paragraph)]
    assert tree.texts("caption") == [shown(caption)]
    assert tree.texts("li")[2:] == [shown(item), "end"]
    heads = [shown(column)] * (3 if shown(column) else 2)
    assert tree.texts("th") == [*heads, shown(row), shown(row)]
    assert [td for td in tree.texts("td") if td or shown(column)] == [
        td for td in (shown(cell), "z", "z", shown(cell)) if td or shown(column)
    ]
    tokens = blocks_in(to_markdown(page))
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h1", "h2"}
    assert not any(token.type in ("html_block", "fence", "code_block", "hr", "blockquote_open") for token in tokens)
    said = [shown(text) for text in (title, heading, paragraph, item, "end", caption)]
    said += [shown(text) for text in (column, column, column, row, cell, "z", row, "z", cell)] + [shown(heading)]
    assert [text for text in inline(tokens) if text] == [text for text in said if text]
