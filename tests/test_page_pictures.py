"""Pictures of a page: part of it, in its ink and colours, kept as files, and drawn anew only where they changed."""

import re
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from page_tree import ODD, Tree, page_of, picture, shown

from lossbench.report.blocks import Paragraph, Picture, Section, plain_page
from lossbench.report.drawing import Gallery, drawing
from lossbench.report.html import to_html
from lossbench.report.style import BLACK, PALETTE

texts = st.sampled_from(ODD) | st.text(max_size=12)


def svg_of(text: str) -> str:
    (svg,) = re.findall(r"<svg.*</svg>", text, re.DOTALL)
    return str(svg)


def test_a_picture_is_part_of_its_page() -> None:
    text = to_html(plain_page("Title", [], [Section("Part", [picture(alt='Curves "rise" & fall')])]))
    tree = Tree(text)
    (svg,) = tree.all("svg")
    assert svg["attrs"]["viewbox"] == "0 0 432 216"
    assert svg["attrs"]["style"] == "max-width:576px;min-width:380px"  # 6 in, and legible at two thirds
    assert (svg["attrs"]["role"], svg["attrs"]["aria-label"]) == ("img", 'Curves "rise" & fall')
    assert svg["inside"][-2:] == ["figure", "div"]
    assert tree.texts("figcaption") == ["Figure 1. A caption: it goes on."]
    (place,) = [one for one in tree.all("div") if one["attrs"].get("class") == "scroll"]
    assert place["attrs"]["aria-label"] == "Figure 1. A caption"
    assert [one["attrs"].get("class") for one in tree.all("figure")] == [None]  # too wide for two side by side
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
    svg = svg_of(to_html(plain_page("Title", [picture()], [])))
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


def sized(width: float) -> Figure:
    return Figure(figsize=(width, 1))


def test_narrow_pictures_stand_side_by_side() -> None:
    narrow, wide = (Picture(f"p{width:g}", drawing(sized, width), "", "") for width in (5.6, 9.6))
    tree = page_of(narrow, narrow, wide, Paragraph("x"), wide, narrow)
    (grid,) = [one for one in tree.all("div") if one["attrs"].get("class") == "pictures"]
    assert grid["inside"][-1] == "section"
    assert [one["inside"][-1] for one in tree.all("figure")] == ["div", "div", "section", "section", "section"]
    assert [one["attrs"].get("class") for one in tree.all("figure")] == ["narrow", "narrow", None, None, "narrow"]


def test_colours_of_losses_follow_the_page(tmp_path: Path) -> None:
    svg = svg_of(to_html(plain_page("Title", [Picture("lines", drawing(lines_of_losses), "", "")], [])))
    for number, style in enumerate(PALETTE):
        assert svg.count(f"stroke: var(--hue{number})") >= 1
        assert style["color"] not in svg
    gallery = Gallery(tmp_path)
    gallery.write([Picture("lines", drawing(lines_of_losses), "", "")])
    by_itself = (tmp_path / "lines.svg").read_text()  # for slides and papers, with colours and paper of its own
    assert all(style["color"] in by_itself for style in PALETTE)
    assert "var(" not in by_itself
    assert '<rect id="background" width="100%" height="100%" fill="#ffffff"/>' in by_itself


def lines_of_losses() -> Figure:
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    for style in PALETTE:
        axes.plot([0, 1], **style)
    return figure


def test_a_page_is_the_same_every_time(tmp_path: Path) -> None:
    page = plain_page("Title", [picture("one"), picture("two")], [])
    first = to_html(page)
    assert to_html(page) == first
    written = to_html(page, Gallery(tmp_path))
    assert re.sub(r' <span class="files">.*?</span>', "", written) == first
    assert to_html(page, Gallery(tmp_path)) == written
    to_html(page, Gallery(tmp_path / "again"))
    for name in ("one.svg", "one.pdf", "two.svg"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_picture_and_its_numbers_are_files(tmp_path: Path) -> None:
    numbers = pd.DataFrame({"loss": ["SML", "LGL"], "accuracy_percent": [95.5, 91.25]})
    shown = Picture("one", drawing(sized, 6.0), "", "", numbers)
    text = to_html(plain_page("Title", [shown], []), Gallery(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"one.svg", "one.pdf", "one.csv", ".drawn.json"}
    links = [(link["attrs"]["href"], link["text"]) for link in Tree(text).all("a")]
    assert links == [("one.svg", "SVG"), ("one.pdf", "PDF"), ("one.csv", "CSV")]
    assert (tmp_path / "one.csv").read_text() == "loss,accuracy_percent\nSML,95.5\nLGL,91.25\n"
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"CreationDate" not in pdf


def test_only_what_changed_is_drawn_anew(tmp_path: Path) -> None:
    def drawn_of(*pictures: Picture) -> list[str]:
        gallery = Gallery(tmp_path)
        text = to_html(plain_page("Title", [*pictures, *pictures], []), gallery)
        assert text.count("<svg") == 2 * len(pictures)
        return gallery.drawn

    one, two = (Picture(name, drawing(sized, 6.0), "", "") for name in ("one", "two"))
    assert drawn_of(one, two) == ["one", "two"]  # once each, though each is shown twice
    assert drawn_of(one, two) == []
    other = Picture("two", drawing(sized, 5.0), "", "")
    assert drawn_of(one, other) == ["two"]
    assert 'viewBox="0 0 360 72"' in to_html(plain_page("Title", [other], []), Gallery(tmp_path))
    (tmp_path / "one.pdf").unlink()
    assert drawn_of(one, other) == ["one"]
    (tmp_path / ".drawn.json").write_text("{broken")
    assert drawn_of(one, other) == ["one", "two"]


@given(texts, texts, texts)
@settings(max_examples=40)
def test_any_name_makes_a_picture(name: str, caption: str, alt: str) -> None:
    small = Picture(name, drawing(sized, 1.0), caption, alt)
    text = to_html(plain_page("Title", [], [Section(name, [small] * 2)]))
    tree = Tree(text)
    assert [svg["attrs"]["aria-label"] for svg in tree.all("svg")] == [shown(alt)] * 2
    assert tree.texts("figcaption") == [shown(caption)] * 2
    ids = [element["attrs"]["id"] for element in tree.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
