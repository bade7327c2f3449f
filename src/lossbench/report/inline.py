"""A figure's SVG as part of a page: in the page's ink, paper, colours and fonts, with ids of its own."""

import re
from xml.etree import ElementTree

from lossbench.report.style import PALETTE
from lossbench.system.spelling import spelled

_SHARE_LEGIBLE = 0.66  # of its own width, below which a wide picture scrolls instead of shrinking
_NARROW = 540  # pixels; pictures up to this width stand side by side
_HUES = {entry["color"]: f"var(--hue{number})" for number, entry in enumerate(PALETTE)}
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e[-+]\d+)?")


def inline(svg: bytes, anchor: str, alt: str) -> tuple[str, bool]:
    """A figure for inside a page, and whether it is narrow enough to stand beside another.

    Args:
        svg: as `drawing.Gallery` gives it.
        anchor: how its ids begin.
        alt: what it shows, in words.
    """
    root = ElementTree.fromstring(svg)
    width, height = (float(size) for size in root.attrib["viewBox"].split()[2:])
    pixels = round(width * 96 / 72)
    for place in root.findall("{*}defs"):
        for style in place.findall("{*}style"):
            place.remove(style)  # it would hold for the whole page; ours says the same
    for place in root.findall("{*}rect[@id='background']"):
        root.remove(place)
    _adopt(root, anchor, fixed=False)
    root.attrib = {
        "viewBox": f"0 0 {width:g} {height:g}",
        "style": f"max-width:{pixels}px;min-width:{round(_SHARE_LEGIBLE * pixels)}px",
        "role": "img",
        "aria-label": spelled(alt).strip(),
    }
    return ElementTree.tostring(root, encoding="unicode"), pixels <= _NARROW


def _adopt(element: ElementTree.Element, anchor: str, fixed: bool) -> None:
    """Make an element, and what is in it, part of a page; what is `fixed` keeps its colours."""
    element.tag = element.tag.rpartition("}")[2]
    is_text = element.tag in ("text", "tspan")
    if element.get("id", "").startswith("QuadMesh"):  # colours that mean numbers
        fixed = True
        element.set("fill", "#000000")  # else left out, as SVG's default
    for key, value in list(element.items()):
        del element.attrib[key]
        element.set(*_adopted(key.rpartition("}")[2], value, anchor, fixed, is_text))
    if not is_text:
        element.text = (element.text or "").strip() or None
    for child in element:
        _adopt(child, anchor, fixed)
        if not is_text:
            child.tail = None


def _adopted(key: str, value: str, anchor: str, fixed: bool, is_text: bool) -> tuple[str, str]:
    """An attribute as the page has it."""
    if key == "id":
        value = f"{anchor}_{value}"
    elif key == "href":
        value = re.sub("^#", f"#{anchor}_", value)
    elif key in ("d", "x", "y", "transform", "points"):
        value = _LONG_NUMBER.sub(lambda found: f"{round(float(found[0]), 2):g}", " ".join(value.split()))
    elif key in ("style", "fill", "clip-path"):
        value = re.sub(r"font-family: [^;]*", "font-family: inherit", value)
        value = value.replace("url(#", f"url(#{anchor}_")
        if not fixed:
            value = value.replace("#000000", "currentColor")
            value = value if is_text else value.replace("#ffffff", "var(--paper)")
            for color, hue in _HUES.items():
                value = value.replace(color, hue)
    return key, value
