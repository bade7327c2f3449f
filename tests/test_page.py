"""A report's page: it can be read by everybody, and nothing is loaded from elsewhere."""

import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.figure import Figure
from page_tree import Tree, page_of, picture, shown, table

from lossbench.report.blocks import (
    BLACK,
    Block,
    Items,
    Paragraph,
    Picture,
    Section,
    Table,
    blocks_to_markdown,
    page,
    to_html,
    to_markdown,
    write_picture,
)
from lossbench.report.table import table as of_lines
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING
from lossbench.statistics.inference import CellOutcome, Headline, Outcome, Word
from lossbench.studies.aaai20.second_verdicts import Answer, Status
from lossbench.studies.aaai20.verdicts import State

ODD = [
    "<b>&amp;</b><script>",
    "a|b\\|c\\",
    "# x ##",
    "1. x",
    "- x",
    "> x",
    "--",
    "==",
    "~~x~~ __init__ *x* _x_ _x)_y _.x_.",
    "[x](y) ![z](y)",
]
ODD += [
    "$x_1$ `y`",
    "a\r\n\nb\0",
    "\u202e\ud800",
    "<!-- -->",
    "&lt;",
    '" onload="x',
    "</style>",
    "",
    "漢字 é",
    "x" * 3000,
]
texts = st.sampled_from(ODD) | st.text(max_size=12) | st.text("\\`*_[]<>#&|~$!-+=.:()1ax \n", max_size=12)


def test_a_page_has_its_parts_in_order() -> None:
    sections = [
        Section("Same", [Paragraph("first"), Items(["one", "two"])]),
        Section("Same", [Paragraph("second")]),
        Section("Same 2", []),
        Section("漢字", [picture("same")]),
        Section("1 < 2", []),
    ]
    text = to_html("A & B", [Paragraph("In short."), table({"x": ["1"]})], sections)
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
    assert anchors == ["same", "same-2", "same-2-2", "part", "1-2"]
    assert [figure["attrs"]["id"] for figure in tree.all("figure")] == ["same-3"]
    (contents,) = tree.all("nav")
    assert contents["attrs"] == {"aria-label": "Contents"}
    links = [(link["attrs"]["href"], link["text"]) for link in tree.all("a")]
    assert links == [(f"#{anchor}", title) for anchor, title in zip(anchors, tree.texts("h2"), strict=True)]
    order = [element["tag"] for element in tree.all("h1", "section", "nav", "h2")]
    assert order == ["h1", "section", "nav", *["section", "h2"] * 5]
    lead = tree.all("section")[0]
    assert lead["attrs"] == {"class": "lead", "aria-label": "Summary"}
    assert lead["text"].split() == ["In", "short.", "Table", "1.", "One:", "more", "x", "01"]
    assert [li["text"] for li in tree.all("li") if "nav" not in li["inside"]] == ["one", "two"]
    assert not tree.all("script", "link", "img", "iframe", "object")


def test_a_short_page_lists_no_contents() -> None:
    assert page_of(Paragraph("x")).all("nav") == []
    tree = Tree(to_html("Title", [], []))
    assert tree.all("nav", "section", "h2") == []
    assert Tree(page("Title", "<p>x</p>")).texts("p") == ["x"]


def test_a_table_says_what_heads_what() -> None:
    index = pd.MultiIndex.from_tuples(
        [("A", "x", "1"), ("A", "x", "1"), ("A", "y", "1"), ("B", "y", "2"), ("A", "y", "2")], names=["N", None, "L"]
    )
    shown = table({"m": list("abcde"), "p": list("fghij")}, index, caption="Table 1. Of things: and how")
    tree = page_of(shown)
    assert tree.texts("caption") == ["Table 1. Of things: and how"]
    (place,) = tree.all("div")
    name = "Table 1. Of things"
    assert place["attrs"] == {"class": "scroll", "role": "region", "aria-label": name, "tabindex": "0"}
    heads = tree.all("th")
    assert [head["text"] for head in heads if "thead" in head["inside"]] == ["N", "L", "m", "p"]
    assert {head["attrs"]["scope"] for head in heads if "thead" in head["inside"]} == {"col"}
    rows = [head for head in heads if "tbody" in head["inside"]]
    assert {head["attrs"]["scope"] for head in rows} == {"row"}
    spans = [(head["text"], int(head["attrs"].get("rowspan", 1))) for head in rows]
    assert spans == [
        *[("A", 3), ("x", 2), ("1", 1)],
        *[("1", 1)],
        *[("y", 1), ("1", 1)],
        *[("B", 1), ("y", 1), ("2", 1)],
        *[("A", 1), ("y", 1), ("2", 1)],
    ]
    assert sum(span for _, span in spans) == 3 * 5
    innermost = [head["text"] for head in heads if head["attrs"].get("class") == "stays"]
    assert innermost == ["L", "1", "1", "1", "2", "2"]  # which stays in sight while the rest scrolls
    assert [cell["text"] for cell in tree.all("td")] == ["", "a", "f", "b", "g", "c", "h", "d", "i", "e", "j"]


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
    assert foregrounds == {"ink", "quiet", "link", "agrees", "differs", "ordered"}
    for colors, front, back in product((light, dark), foregrounds, ("paper", "box")):
        low, high = sorted((luminance(colors[front]), luminance(colors[back])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{colors[front]} on {colors[back]}"
    used = set(re.findall(r"var\(--(\w+)\)", css))
    assert used == set(light) | {"under"}
    assert css.count("@media screen and (prefers-color-scheme: dark)") == 1  # so that print is light


def svg_of(text: str) -> str:
    (svg,) = re.findall(r"<svg.*</svg>", text, re.DOTALL)
    return str(svg)


def test_a_picture_is_part_of_its_page() -> None:
    text = to_html("Title", [], [Section("Part", [picture(alt='Curves "rise" & fall')])])
    tree = Tree(text)
    (svg,) = tree.all("svg")
    assert svg["attrs"]["viewbox"] == "0 0 432 216"
    assert svg["attrs"]["style"] == "max-width:576px;min-width:576px"  # 6 in, and legible as it is
    assert (svg["attrs"]["role"], svg["attrs"]["aria-label"]) == ("img", 'Curves "rise" & fall')
    assert svg["inside"][-2:] == ["figure", "div"]
    assert tree.texts("figcaption") == ["Figure 1. A caption: it goes on."]
    (place,) = tree.all("div")
    assert place["attrs"]["aria-label"] == "Figure 1. A caption"
    wide = Picture("wide", Figure(figsize=(12, 3)), "", "")
    assert "max-width:1152px;min-width:640px" in to_html("Title", [wide], [])
    assert len(tree.all("style")) == 1
    assert "http" not in text
    assert not re.search(r"xlink|xmlns|DOCTYPE|metadata|DejaVu|font-family: '", svg_of(text))
    assert set(re.findall(r'href="(.)', text)) == {"#"}


def test_ink_and_paper_follow_the_page_and_other_colours_stay() -> None:
    tree = page_of(picture())
    styles = {element["text"]: element["attrs"].get("style", "") for element in tree.all("text")}
    assert "fill: #ffffff" in styles["white number"]
    assert f"fill: {BLACK}" in styles[f"{BLACK} number"]
    assert all("fill" not in styles[text] for text in ("in a box", "line", "of lines", "0"))
    assert "fill: currentColor" in tree.texts("style")[0]
    meshes = [g for g in tree.all("g") if g["attrs"].get("id", "").startswith("one_QuadMesh")]
    assert [mesh["attrs"]["fill"] for mesh in meshes] == ["#000000"]
    svg = svg_of(to_html("Title", [picture()], []))
    within = re.split(r'<g id="one_QuadMesh_1".*?</g>', svg, flags=re.DOTALL)
    assert len(within) == 2
    mesh = svg[len(within[0]) : -len(within[1])]
    assert len(re.findall("stroke: #(000000|ffffff)", mesh)) == 2
    assert "var(--paper)" not in mesh
    assert "currentColor" not in mesh
    around = re.sub("<text.*?</text>", "", "".join(within))
    assert not re.search("#000000|#ffffff", around)
    assert around.count("fill: var(--paper)") == 3 + 1 + 1 + 1  # markers, again in the legend, its frame, the box
    assert around.count("stroke: currentColor") > 10
    assert "stroke: #123456" in around
    assert "#654321" in around


def test_two_pictures_share_no_id_and_each_finds_its_own() -> None:
    tree = page_of(picture("one"), picture("one"), picture("two & more"))
    ids = [element["attrs"]["id"] for element in tree.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids)) > 200
    assert [figure["attrs"]["id"] for figure in tree.all("figure")] == ["one", "one-2", "two-more"]
    owner, num_found = "", 0
    for element in tree.elements:
        owner = element["attrs"]["id"] if element["tag"] == "figure" else owner
        values = {key: value or "" for key, value in element["attrs"].items() if key in ("href", "style", "clip-path")}
        for target in re.findall(r"(?:^#|url\(#)([\w-]+)", "\n".join(values.values()), re.MULTILINE):
            assert target in ids
            assert target.startswith(f"{owner}_")
            num_found += 1
    assert num_found > 100


def test_a_page_is_the_same_every_time(tmp_path: Path) -> None:
    one, two, again = picture("one"), picture("two"), picture("one")
    first = to_html("Title", [one, two], [])
    write_picture(tmp_path, one)
    assert to_html("Title", [one, two], []) == first
    write_picture(tmp_path / "again", again)
    assert to_html("Title", [again, two], []) == first
    for form in ("png", "pdf"):
        assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / "again" / f"one.{form}").read_bytes()


def test_a_picture_is_written_for_papers_and_pages(tmp_path: Path) -> None:
    write_picture(tmp_path, picture("one"))
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "one.pdf"}
    png, pdf = ((tmp_path / name).read_bytes() for name in ("one.png", "one.pdf"))
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") == 6 * 150
    assert pdf.startswith(b"%PDF-")
    assert b"CreationDate" not in pdf


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
    text = to_markdown(
        "lossbench: one",
        [Paragraph("In short.")],
        [Section("Part", [table({"a|b": ["1.50", "c|d"]}, index), Items(["x", "y"]), picture(alt="Bars [2]")])],
    )
    assert text == (
        "# lossbench: one\n\nIn short.\n\n## Part\n\nTable 1. One: more\n\n"
        "| N   | L   | a\\|b   |\n|:----|:----|:-------|\n| A   | x   | 1.50   |\n| A   | y   | c\\|d   |\n\n"
        "- x\n- y\n\n![Bars \\[2\\]](one.png)\n\nFigure 1. A caption: it goes on.\n"
    )
    assert "![](a%20%28b%29.png)" in to_markdown("x", [picture("a (b)", alt="")], [])


def test_tables_without_rows_are_tables() -> None:
    empty = Table(pd.DataFrame({"a": [], "b": []}, index=pd.Index([], name="N")), "None yet")
    assert page_of(empty).texts("th") == ["N", "a", "b"]
    assert "| N   | a   | b   |" in to_markdown("x", [empty], [])


@given(st.lists(texts, min_size=8, max_size=8))
@settings(max_examples=200)
def test_any_text_is_shown_as_it_is(given_: list[str]) -> None:
    title, heading, paragraph, item, caption, column, row, cell = given_
    frame = pd.DataFrame([[cell, "z"], ["z", cell]], columns=[column, column], index=pd.Index([row, row], name=column))
    content: list[Block] = [Paragraph(paragraph), Items([item, "end"]), Table(frame, caption)]
    sections = [Section(heading, content), Section(heading, [])]
    tree = Tree(to_html(title, [], sections))
    assert tree.texts("title", "h1") == [shown(title)] * 2
    assert tree.texts("h2") == [shown(heading)] * 2 == tree.texts("a")
    assert [p for p in tree.texts("p") if p != "Contents"] == [shown(paragraph)]
    assert tree.texts("caption") == [shown(caption)]
    assert tree.texts("li")[2:] == [shown(item), "end"]
    heads = [shown(column)] * (3 if column else 2)
    assert tree.texts("th") == [*heads, shown(row), shown(row)]
    assert [td for td in tree.texts("td") if td or column] == [
        td for td in (shown(cell), "z", "z", shown(cell)) if td or column
    ]
    tokens = blocks_in(to_markdown(title, [], sections))
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h1", "h2"}
    assert not any(token.type in ("html_block", "fence", "code_block", "hr", "blockquote_open") for token in tokens)
    said = [shown(text) for text in (title, heading, paragraph, item, "end", caption)]
    said += [shown(text) for text in (column, column, column, row, cell, "z", row, "z", cell)] + [shown(heading)]
    assert [text for text in inline(tokens) if text] == [text for text in said if text]


@given(texts, texts, texts)
@settings(max_examples=40)
def test_any_name_makes_a_picture(name: str, caption: str, alt: str) -> None:
    small = Figure(figsize=(1, 1))
    text = to_html("Title", [], [Section(name, [Picture(name, small, caption, alt)] * 2)])
    tree = Tree(text)
    assert [svg["attrs"]["aria-label"] for svg in tree.all("svg")] == [shown(alt)] * 2
    assert tree.texts("figcaption") == [shown(caption)] * 2
    ids = [element["attrs"]["id"] for element in tree.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
