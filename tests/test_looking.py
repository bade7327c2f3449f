"""Pages with one deliberate fault each, which is named; a page that only seems to have some; a complete report."""

import struct
import sys
from contextlib import nullcontext
from pathlib import Path

import looking
import pypdfium2
import pytest
from looking import VIEWS, Browser, look
from test_report import fill, plan

from lossbench.studies.aaai20.grid import TABLES, cells
from lossbench.studies.aaai20.report import write_report

pytestmark = pytest.mark.long

STYLE = ":root {color-scheme: light dark} body {background: #fff; color: #222}"
STYLE += "@media (prefers-color-scheme: dark) {body {background: #111; color: #eee}}"
HEAD = f'<title>a page</title><meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
PAGE = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{HEAD}</head><body><h1>One</h1></body></html>'
FULL = '<p style="border: 1px solid; height: 999px">full</p>'
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def figure(inside: str) -> str:
    return f'<svg role="img" aria-label="a figure" width="200" height="50">{inside}</svg>'


def write(folder: Path, *inside: str) -> Path:
    """A page without a fault, with something more in its body."""
    page = folder / "page.html"
    page.write_text(PAGE.replace("</body>", "".join(inside) + "</body>"), encoding="utf-8")
    return page


LEFT_OUT = [
    (' lang="en"', "the page has no lang"),
    ("a page", "the page has no title"),
    ("width=device-width", "the page has no meta viewport with width=device-width"),
]


@pytest.mark.parametrize(("words", "fault"), LEFT_OUT)
def test_what_is_missing_is_named(words: str, fault: str, browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path)
    page.write_text(page.read_text().replace(words, ""))
    assert look(browser, page, views=VIEWS[:1]) == [fault]


SCROLLED = "<style>@media screen {pre {width: 999px}}</style><div style='overflow-x: auto'><pre>wide</pre></div>"
STILL = "<style>html {overflow-x: hidden}</style>"
PLANTED = [
    ("<h3>Three</h3>", "h3 “Three” comes after level 1"),
    ("<table><tr><th>a</th></tr></table>", "table “a” has no caption"),
    ('<table class="t"><caption>c</caption><tr><td>a</td></tr></table>', "table.t “ca” has no th"),
    ("<p id=a></p><p id=b></p><p id=a></p><p id=a></p>", "id a is there more than once"),
    (4 * "<p id=a></p><p id=b></p><p id=c></p>", "id a is there more than once, and 2 more ids"),
    ("<img id=i>", "img#i “<img id=\"i\">” has no alternative text"),
    ("<svg id=s><title> </title></svg>", 'svg#s “<svg id="s"><title> </title></svg>” has no alternative text'),
    ("<b role=img aria-label=' '></b>", 'b “<b role="img" aria-label=" "></b>” has no alternative text'),
    ('<p><a href="#there">a</a></p>', "a link goes to #there, which is not there"),
    ('<p><a href="page.html#fünf">a</a></p>', "a link goes to #fünf, which is not there"),
    (figure('<defs><path id="m" d="M0 0h1"/></defs><use href="#n"/>'), "a link goes to #n, which is not there"),
    ('<p aria-describedby="no">a</p>', "p names #no in aria-describedby, which is not there"),
    ("<link rel=preconnect href=http://a.invalid/>", "link asks for a connection to http://a.invalid/"),
    ("<img alt=a src=http://a.invalid/a.png>", "the page requests http://a.invalid/a.png"),
    (f"{9 * FULL}<img alt=a loading=lazy src=http://[::1]:9/>", "the page requests http://[::1]:9/"),
    ("<style>@import 'http://a.invalid/a.css'</style>", "the page requests http://a.invalid/a.css"),
    ("<style>@media print {h1::after {content: url(http://a.invalid/a)}}</style>", "the page requests http://a.invalid/a"),
    ("<script>new WebSocket('ws://a.invalid/a')</script>", "the page requests ws://a.invalid/a"),
    ("<script>console.error('woe')</script>", 'console: "woe"'),
    ("<script>nothing()</script>", "console: Uncaught ReferenceError: nothing is not defined"),
    (f"{SCROLLED}<p style='width: 500px'>a</p>", "390 px: the page is 508 px wide; p “a” is the widest"),
    (f"{STILL}<p style='width: 384px'>a</p>", "390 px: the page is 392 px wide; p “a” is the widest"),
    ("<div style='overflow-x: auto'><pre style='width: 999px'>a</pre></div>", "paper: div “a” shows 702 of 999 px"),
]  # fmt: skip


@pytest.mark.parametrize(("inside", "fault"), PLANTED)
def test_a_planted_fault_is_named(inside: str, fault: str, browser: Browser, tmp_path: Path) -> None:
    assert look(browser, write(tmp_path, inside), views=[VIEWS[0], VIEWS[-1]]) == [fault]


def test_a_missing_file_is_named(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a table.csv").touch()
    page = write(tmp_path, '<p><a href="a%20table.csv">a</a> <a href="none.csv">b</a></p>')
    assert look(browser, page) == [f"a link goes to {tmp_path / 'none.csv'}, which does not exist"]


CUT = ['<text x="180" y="30">right</text>', '<text x="-9" y="30">left</text>', '<text x="9" y="1">top</text>']
WHOLE = ['<text x="170" y="30">end</text>', '<text transform="translate(20 50) rotate(-90)">up</text>']


def test_text_that_a_figure_cuts_off_is_named(browser: Browser, tmp_path: Path) -> None:
    ink = "<style>svg {background: #fff}</style>"
    found = look(browser, write(tmp_path, ink, *(figure(text) for text in CUT + WHOLE)))
    views = ("390 px", "1280 px", "paper")
    words = ("right", "left", "top")
    assert found == [f"{view}: svg cuts off its text “{word}”" for view in views for word in words]


def test_text_too_small_to_read_is_named(browser: Browser, tmp_path: Path) -> None:
    small = '<svg role="img" aria-label="small" width="100" viewBox="0 0 200 50">{}</svg>'
    drawn = small.format('<text y="30" font-size="14">a</text><text y="30" font-size="8">b</text>')
    page = write(tmp_path, WHITE.format('<p style="font-size: 5.5px">c</p><p style="font-size: 6px">d</p>' + drawn))
    assert look(browser, page, views=VIEWS[:1]) == ["390 px: text of 4.0 px: “b” in text and 1 more"]


WHITE = '<div style="background: #fff; color: #000">{}</div>'
ROOF = '<path d="M0 9h9v-9" fill="#333"/>'
WIDE = '<text y="30" textLength="150" lengthAdjust="spacingAndGlyphs">a</text>'
UNKNOWN = "unknown, for a picture, gradient or filter"
PALE = [  # what is painted, and contrast, ink and ground by hand
    ('<p style="color: #777">a</p>', "4.47, #777777 on #ffffff"),
    ('<p style="color: rgb(0 0 0 / 50%)">a</p>', "4.00, #7f7f7f on #ffffff"),
    ('<p style="color: oklch(0 0 0); background: #333">a</p>', "1.66, #000000 on #333333"),
    ('<p style="opacity: 0.5; background: #000; color: #fff">a</p>', "3.94, #ffffff on #808080"),
    ('<p style="opacity: 0.5">a</p>', "3.94, #808080 on #ffffff"),
    ('<div style="background: rgb(0 0 0 / 50%)"><p style="background: #0008">a</p></div>', "1.87, #000000 on #3b3b3b"),
    ('<p style="background: linear-gradient(red, blue)">a</p>', UNKNOWN),
    ('<p style="filter: invert(1)">a</p>', UNKNOWN),
    ('<p style="mix-blend-mode: multiply">a</p>', UNKNOWN),
    ("<details><summary>s</summary><p style='color: #fff'>a</p></details>", "1.00, #ffffff on #ffffff"),
    (figure('<text y="30" fill="#777">a</text>'), "4.47, #777777 on #ffffff"),
    (figure('<text y="30" fill-opacity="0.5">a</text>'), "3.94, #808080 on #ffffff"),
    (figure('<g opacity="0.5"><text y="30">a</text></g>'), "3.94, #808080 on #ffffff"),
    (figure('<rect width="200" height="50" fill="#333"/><text y="30">a</text>'), "1.66, #000000 on #333333"),
    (figure(f'<g transform="scale(9)">{ROOF}</g><text y="50" x="70">a</text>'), "1.66, #000000 on #333333"),
    (figure(f'<circle cy="25" r="40" fill="#333"/>{WIDE}'), "1.66, #000000 on #333333"),
    (figure(f'<circle cx="150" cy="25" r="40" fill="#333"/>{WIDE}'), "1.66, #000000 on #333333"),
    (figure('<path d="M-9 0v50" stroke="#333" stroke-width="40"/><text y="30">a</text>'), "1.66, #000000 on #333333"),
    (figure('<path d="M0 25h9" stroke="#333" stroke-width="40"/><text y="30">a</text>'), "1.66, #000000 on #333333"),
    (figure('<text y="30">a</text><rect width="200" height="50" fill="#333"/>'), "1.00, #333333 on #333333"),
    (figure('<text y="30" fill="#333" stroke="#000" paint-order="stroke">a</text>'), "1.66, #333333 on #000000"),
    (figure(f'<image width="99" height="50" href="{DOT}"/><text y="30">a</text>'), UNKNOWN),
    (figure('<linearGradient id="g"/><text y="30" fill="url(#g)">a</text>'), UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("inside", "fault"), PALE)
def test_pale_text_is_named_in_both_schemes(inside: str, fault: str, browser: Browser, tmp_path: Path) -> None:
    found = look(browser, write(tmp_path, WHITE.format(inside)), views=VIEWS[:2])
    found = [fault for fault in found if "cuts off" not in fault]  # some grounds are larger than their figure
    place = "text" if "<svg" in inside else "p"
    assert found == [f"{scheme}: contrast {fault}: “a” in {place}" for scheme in ("light", "dark")]


def test_pale_text_is_named_once_in_the_scheme_where_it_is_pale(browser: Browser, tmp_path: Path) -> None:
    grey = '<p style="color: #767676">a</p><p style="color: #767676">b</p><b style="color: #888">c</b>'
    assert look(browser, write(tmp_path, grey, figure('<text y="30">d</text>'))) == [
        "light: contrast 3.54, #888888 on #ffffff: “c” in b",
        "dark: contrast 4.15, #767676 on #111111: “a” in p and 1 more",
        "dark: contrast 1.11, #000000 on #111111: “d” in text",
    ]


UNPAINTED = ("defs", "clipPath", "mask", "pattern", "marker", "symbol")
SEEMS = [
    '<h2 id="two">Two</h2><h3>Three</h3><h2>Four</h2><a href="#two">a</a> <a href="#top">b</a> <a href="#">c</a>',
    '<p><a href="page.html#two">a</a> <a href="http://a.invalid/">b</a></p>',
    SCROLLED,
    f'<img alt="" src="{DOT}"><svg aria-hidden="true"></svg><svg role="img"><title>a</title><svg></svg></svg>',
    '<svg role="img" aria-labelledby="two"></svg><table role="presentation"><tr><td>a</td></tr></table>',
    "<p style='position: absolute; width: 1px; height: 1px; overflow: hidden; color: #fff; background: #fff'>a</p>",
    "<p style='opacity: 0'>a</p><p style='visibility: hidden; color: #fff; background: #fff'>a</p>",
    WHITE.format(
        figure('<rect width="9" height="9" fill="#000"/><text y="30">beside</text>')
        + figure('<text y="30">below</text><rect width="200" height="50" fill="#fff" fill-opacity="0.3"/>')
        + figure('<rect width="200" height="50" fill="none" stroke="#000"/><text y="30">framed</text>')
        + figure('<path d="M0 25h200" stroke="#000"/><text y="30">on a line</text>')
        + "".join(figure(f'<{tag}><rect width="200" height="50"/></{tag}><text y="30">a</text>') for tag in UNPAINTED)
        + figure('<clipPath id="c"><rect width="9" height="9"/></clipPath><text y="30">a</text>')
        + figure('<rect width="200" height="50" clip-path="url(#c)"/><text y="30">a</text>')
        + figure('<g clip-path="url(#c)"><rect width="200" height="50"/></g><text y="30">a</text>')
        + figure('<rect width="200" height="50" visibility="hidden"/><text y="30">a</text>')
        + figure('<text y="30" fill="#fff" stroke="#000" stroke-width="5" paint-order="stroke">a</text>')
    ),
]


def test_what_only_seems_a_fault_is_not_named(browser: Browser, tmp_path: Path) -> None:
    assert look(browser, write(tmp_path, *SEEMS)) == []


def size(picture: Path) -> tuple[int, ...]:
    return struct.unpack(">II", picture.read_bytes()[16:24])


def test_pictures_show_all_of_the_page_in_parts(browser: Browser, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "390-light-9.png").touch()
    (out / "other.png").touch()
    body = '<p style="height: 3000px; border: 1px solid">high</p>'
    assert look(browser, write(tmp_path, body), out) == []
    sizes = {path.name: size(path) for path in out.glob("[0-9]*.png")}
    kinds = [(width, colours) for width in (390, 1280) for colours in ("light", "dark")]
    assert set(sizes) == {f"{width}-{colours}-{part}.png" for width, colours in kinds for part in (1, 2, 3)}
    for width, colours in kinds:
        parts = [sizes[f"{width}-{colours}-{part}.png"] for part in (1, 2, 3)]
        assert [part[0] for part in parts] == [width] * 3
        assert [part[1] for part in parts[:2]] == [1500, 1500]
        assert 0 < parts[2][1] < 200
    assert (out / "390-light-1.png").read_bytes() != (out / "390-dark-1.png").read_bytes()
    assert (out / "print.pdf").read_bytes().startswith(b"%PDF-")
    assert (out / "other.png").exists()


def test_pictures_show_the_page_as_it_opens(browser: Browser, tmp_path: Path) -> None:
    folded = '<details><summary>s</summary><p style="height: 3000px; border: 1px solid">high</p></details>'
    assert look(browser, write(tmp_path, folded), tmp_path) == []
    first = {path.name: size(path) for path in tmp_path.glob("first-*.png")}
    assert first == {
        f"first-{width}-{colours}.png": (width, height)
        for width, height in ((390, 844), (1280, 800))
        for colours in ("light", "dark")
    }
    assert not list(tmp_path.glob("*-2.png"))
    assert len(pypdfium2.PdfDocument(tmp_path / "print.pdf")) == 1


def call(page: Path, monkeypatch: pytest.MonkeyPatch) -> str | int | None:
    monkeypatch.setattr(sys, "argv", ["looking.py", str(page)])
    with pytest.raises(SystemExit) as ended:
        looking.main()
    return ended.value.code


def test_the_command_fails_where_there_are_faults(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(looking, "opened", lambda: nullcontext(browser))
    page = write(tmp_path)
    assert call(page, monkeypatch) == 0
    assert capsys.readouterr().out == f"{page}: 0 faults\n"
    assert call(write(tmp_path, "<h3>Three</h3>"), monkeypatch) == 1
    assert capsys.readouterr().out == f"FAULT: h3 “Three” comes after level 1\n{page}: 1 faults\n"


def test_the_command_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("looking.shutil.which", {"chromedriver": "/usr/bin/chromedriver"}.get)
    assert call(tmp_path / "none.html", monkeypatch) == 2
    assert f"there is no page {tmp_path / 'none.html'}; make report writes one" in capsys.readouterr().err
    assert call(write(tmp_path), monkeypatch) == 2
    assert "chromium not found; on Debian: apt-get install chromium chromium-driver" in capsys.readouterr().err


@pytest.mark.parametrize("profile", ["quick", "paper"])
def test_a_report_has_no_fault(profile: str, browser: Browser, tmp_path: Path) -> None:
    for table in TABLES if profile == "quick" else ():
        for cell in cells(table, "quick"):
            fill(tmp_path, cell, [0.5, 0.6])
    committed = str(Path(__file__).parents[1] / "results") if profile == "paper" else None
    assert look(browser, write_report(profile, plan(tmp_path, results_dir=committed)) / "index.html") == []
