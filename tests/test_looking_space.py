"""Pages that do not show all they have: numbers off-screen, cut pictures, blank paper."""

from pathlib import Path

import pytest
from looking import VIEWS, Browser, look
from test_looking import FULL, WHITE, figure, write

pytestmark = pytest.mark.long

Case = tuple[str, str, str]
"""Inside of a page with a fault, the fault, and inside of a similar page without one."""


def scroller(inside: str, width: str = "auto") -> str:
    return f'<div style="overflow-x: auto; width: {width}">{inside}</div>'


def table(*widths: int, style: str = "") -> str:
    """A table of a th and then td, 2 px wider than their widths, in a body 374 px wide on a phone."""
    heading, *cells = (f"<{{}} style='min-width: {width}px; {{}}'>{width}</{{}}>" for width in widths)
    row = heading.format("th", style, "th") + "".join(cell.format("td", "", "td") for cell in cells)
    return f"<table style='border-spacing: 0'><caption>c</caption><tr>{row}</tr></table>"


def drawn(inside: str, fault: str, without: str) -> Case:
    return figure(inside), f"svg “a figure” {fault}", figure(without)


HIDDEN = "table “c” shows 0 of 60 px of its first column of data"
TWO_ROWS = table(300, 60, 200).replace("</tr>", "</tr><tr><th>a</th><td>{}</td><td>2</td></tr>")
STAYS = "position: sticky; left: 0"
CLIPPED = '<clipPath id="c"><rect width="{}" height="9"/></clipPath><rect width="300" height="9" clip-path="url(#c)"/>'
LINE = '<path d="M{}" stroke="#000"/>'
THICK = '<path d="M{}" stroke="#000" stroke-width="6"/>'
USED = '<defs><path id="m" d="M-9 0h18v1h-18z"/></defs><use href="#m" x="{}" y="9"/><use href="#m" x="{}" y="9"/>'
VISIBLE = "<style>svg {overflow: visible}</style>"
PADDED = "<style>svg {padding: 9px}</style>"
IMAGE = "<svg xmlns='http://www.w3.org/2000/svg' width='100' height='60'/>"
FITTED = f'<img alt=a style="width: 60px; height: 60px; object-fit: {{}}" src="data:image/svg+xml,{IMAGE}">'
ON_A_PHONE = [
    (
        scroller(table(330, 60)),
        "table “c” shows 41 of 60 px of its first column of data",
        scroller(table(300, 60, 200)),
    ),
    (scroller(table(400, 60)), HIDDEN, scroller(table(400))),
    (
        f"<details><summary>s</summary>{scroller(table(400, 60))}</details>",
        HIDDEN,
        f"<div hidden>{table(400, 60)}</div>",
    ),
    (
        scroller(TWO_ROWS.format("")),
        "table “c” shows 9 of 200 px of its first column of data",
        scroller(TWO_ROWS.format("1")),
    ),
    (
        scroller(table(230, 60, 200, style=STAYS)),
        "table “c” has sticky cells over 62 % of the 374 px that it scrolls in",
        scroller(table(230, 60, style=STAYS)) + scroller(table(210, 60, 200, style=STAYS)),
    ),
    drawn(LINE.format("9 9h196"), "cuts off 5 px of its path at the right", LINE.format("9 9h192")),
    drawn('<circle r="8" cx="9" cy="5"/>', "cuts off 3 px of its circle at the top", '<circle r="8" cx="9" cy="8"/>'),
    drawn(
        '<g transform="translate(0 30)"><rect width="9" height="26"/></g>',
        "cuts off 6 px of its rect at the bottom",
        '<rect y="26" width="9" height="99" opacity="0"/><rect y="26" width="9" height="99" fill="none"/>',
    ),
    drawn(USED.format(5, 6), "cuts off 4 px of its use at the left and of 1 more", USED.format(9, 100)),
    drawn(THICK.format("9 0h9"), "cuts off more than 1 px of its path at the top", LINE.format("9 0h9")),
    drawn(
        THICK.replace("/>", ' stroke-linecap="square"/>').format("0 9h9"),
        "cuts off more than 1 px of its path at the left",
        THICK.format("0 9h9"),
    ),
    drawn(CLIPPED.format(210), "cuts off 10 px of its rect at the right", CLIPPED.format(200)),
    drawn(
        VISIBLE + '<rect width="210" height="9"/>',
        "draws outside its box 10 px of its rect at the right",
        VISIBLE + '<rect width="200" height="9"/>',
    ),
    (
        VISIBLE + figure('<text x="180" y="30">right</text>'),
        "svg draws outside its box its text “right”",
        VISIBLE + figure('<text x="170" y="30">end</text>'),
    ),
    drawn(
        PADDED + '<rect x="-5" width="9" height="9"/>',
        "cuts off 5 px of its rect at the left",
        PADDED + '<rect width="9" height="9"/>',
    ),
    (FITTED.format("cover"), "img “a” cuts off 40 px of its picture", FITTED.format("contain")),
    (FITTED.format("none"), "img “a” cuts off 40 px of its picture", FITTED.format("scale-down")),
]


@pytest.mark.parametrize(("inside", "fault", "without"), ON_A_PHONE)
def test_what_a_phone_does_not_show_is_named(
    inside: str, fault: str, without: str, browser: Browser, tmp_path: Path
) -> None:
    assert look(browser, write(tmp_path, WHITE.format(inside)), views=VIEWS[:2]) == [f"390 px: {fault}"]
    assert look(browser, write(tmp_path, WHITE.format(without)), views=VIEWS[:2]) == []


def test_text_of_a_picture_is_larger_where_the_picture_does_not_scroll(browser: Browser, tmp_path: Path) -> None:
    picture = (
        "<svg role=img aria-label=a style='width: {}px' viewBox='0 0 200 50'><text y=30 font-size={}>a</text></svg>"
    )
    both = picture.format(100, 13) + scroller(picture.format(400, 3.25))
    page = write(tmp_path, WHITE.format(both))
    assert look(browser, page, views=VIEWS[:1]) == ["390 px: text of 6.5 px: “a” in text"]
    page = write(tmp_path, WHITE.format(picture.format(100, 14) + scroller(picture.format(400, 2.9))))
    assert look(browser, page, views=VIEWS[:1]) == ["390 px: text of 5.8 px: “a” in text"]


def test_a_picture_that_scrolls_on_a_wide_screen_is_named(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path, scroller(figure(""), "190px"), scroller(figure(""), "199px"))
    assert look(browser, page, views=VIEWS[:3]) == ["1280 px: svg “a figure” is 200 px wide in a column of 190 px"]


HALF = FULL.replace("999", "500")
FIGURE = '<svg role="img" aria-label="a figure" width="{0}" height="{1}"><rect width="{0}" height="{1}"/></svg>'
MOVED = f'<div style="transform: translateY({{}}px)">{FIGURE.format(99, 400)}</div>'
OPENS = "<script>addEventListener('beforeprint', () => (document.querySelector('details').open = true))</script>"
FOLDED = f"<details><summary>s</summary>{FULL}</details>"
ON_PAPER = [
    (FIGURE.format(800, 50), "the page is 808 px wide; svg “” is the widest", FIGURE.format(700, 50)),
    (HALF + FIGURE.format(99, 1060), "svg “a figure” is higher than a page", HALF + FIGURE.format(99, 1040)),
    (HALF + MOVED.format(300), "svg “a figure” is broken over pages 1 and 2", HALF + MOVED.format(9)),
    (FULL, "95 % of page 1 is blank, at its bottom", HALF + FULL),
    (
        HALF + FULL + FULL.replace("999", "100") + FULL,
        "90 % of page 3 is blank, at its bottom",
        HALF + FULL + HALF.replace("500", "530") + FULL,
    ),
    (FOLDED + OPENS, "91 % of page 1 is blank, at its bottom", FOLDED),
]


@pytest.mark.parametrize(("inside", "fault", "without"), ON_PAPER)
def test_what_paper_does_not_show_is_named(
    inside: str, fault: str, without: str, browser: Browser, tmp_path: Path
) -> None:
    keep = "<style>p {break-inside: avoid} svg {display: block}</style>"
    assert look(browser, write(tmp_path, keep, inside), views=VIEWS[-1:]) == [f"paper: {fault}"]
    assert look(browser, write(tmp_path, keep, without), views=VIEWS[-1:]) == []


def test_a_heavy_page_is_named(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path, f"<!--{2_100_000 * 'a'}-->")
    assert look(browser, page, views=VIEWS[:1]) == ["the page has 2.1 MB, more than 2.0"]
    assert look(browser, write(tmp_path, f"<!--{1_900_000 * 'a'}-->"), views=VIEWS[:1]) == []
