"""Checks a report page in headless Chromium: screenshots at two widths, light and dark, and a line for every fault.

`make look` checks the last report; tests/test_looking.py small pages with one fault each, and a complete report.
`looking.js` has most checks, with every `details` opened, `printed.py` those of the page as it prints. Here it is
checked that the page is not too large, that it requests no other file, that its console has no errors, and that the
files it links to exist. Generated content, text over elements that are not its ancestors, and what is drawn in an `img`
or in an `svg` within another are not checked.
"""

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import printed

View = tuple[str, str, int, str]
"""Name, colours, width in px, and medium."""

VIEWS = [(f"{width} px", scheme, width, "screen") for width in (390, 1280) for scheme in ("light", "dark")]
VIEWS += [("paper", "light", 718, "print")]
"""A phone, a laptop, and A4 within the margins of 1 cm that Chromium leaves."""

HEIGHTS = {390: 844, 1280: 800, 718: 844}
PART = 1500
"""Height of the window by its width, and largest height of a screenshot, in px."""

MOST_MB = 2.0
"""Largest size of a page's file, which holds all its pictures."""

CHECKS = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync --hide-scrollbars"
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"  # requests of a page are logged but not sent


class BrowserMissingError(RuntimeError):
    """Chromium or its driver is not installed."""


@dataclass(frozen=True)
class Browser:
    """A session with chromedriver: WebDriver commands, and Chromium's own through it."""

    connection: HTTPConnection
    path: str

    def call(self, command: str, **parameters: Any) -> Any:
        """Execute a WebDriver command and return its value.

        Raises:
            RuntimeError: the browser's error.
        """
        self.connection.request("POST", f"{self.path}{command}", json.dumps(parameters))
        value = json.loads(self.connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"Chromium: {value['message'].splitlines()[0]}")
        return value

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Execute a command of the DevTools protocol and return its value."""
        return self.call("/goog/cdp/execute", cmd=command, params=parameters)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Entries logged since the last call: "browser" is the console, "performance" the network."""
        return list(self.call("/se/log", type=kind))


@contextmanager
def opened() -> Iterator[Browser]:
    """Run headless Chromium with a new profile in the block.

    Raises:
        BrowserMissingError: it is not installed.
    """
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        absent = " and ".join(name for name, path in (("chromium", chromium), ("chromedriver", driver)) if not path)
        raise BrowserMissingError(f"{absent} not found; on Debian: apt-get install chromium chromium-driver")
    options = {"binary": chromium, "args": [*FLAGS.split(), OFFLINE]}
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            connection = HTTPConnection("127.0.0.1", _port(process), timeout=60)
            session = Browser(connection, "/session").call("", capabilities={"alwaysMatch": wanted})["sessionId"]
            try:
                yield Browser(connection, f"/session/{session}")
            finally:
                connection.request("DELETE", f"/session/{session}")
                connection.getresponse().read()
        finally:
            process.terminate()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"started successfully on port (\d+)", line):
            return int(found[1])
    raise RuntimeError("chromedriver ended before it was ready")


def look(browser: Browser, page: Path, out: Path | None = None, views: Sequence[View] = VIEWS) -> list[str]:
    """Faults of a page over all views, one line each.

    Args:
        browser: from `opened`.
        page: an HTML file.
        out: folder for `first-<width>-<colours>.png`, which is what a visitor sees first, for all of the page in
            `<width>-<colours>-<part>.png`, and for `print.pdf`; None: they are not written.
        views: the views in which to open the page; it is printed if there is one of medium "print".
    """
    for kind in ("browser", "performance"):
        browser.log(kind)
    faults, here = [], ""
    megabytes = page.stat().st_size / 1e6
    if megabytes > MOST_MB:
        faults.append(f"the page has {megabytes:.1f} MB, more than {MOST_MB}")
    for view, colours, width, medium in views:
        _resize(browser, width, HEIGHTS[width])
        _open(browser, page, medium, colours)
        if out is not None and medium == "screen":
            _photograph(browser, out, width, colours)
        found, files, here = browser.call("/execute/sync", script=CHECKS, args=[view, colours])
        faults += found + [f"a link goes to {file}, which does not exist" for file in files if not Path(file).exists()]
    browser.devtools("Emulation.clearDeviceMetricsOverride")
    if any(medium == "print" for *_, medium in views):
        plain, marked, pictures = _print(browser, page)
        faults += printed.faults(plain, marked, pictures)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / "print.pdf").write_bytes(plain)
    faults += [f"the page requests {url}" for url in _requests(browser) if url != here]
    faults += [
        "console: " + re.sub(r"^\S+ \d+:\d+ ", "", entry["message"])  # without the place
        for entry in browser.log("browser")
        if entry["level"] == "SEVERE" and entry["source"] != "network"  # these are named as requests
    ]
    on_screen = {fault.removeprefix("light: ") for fault in faults if fault.startswith("light: ")}
    return [fault for fault in dict.fromkeys(faults) if fault.removeprefix("paper: ") not in on_screen]


def _open(browser: Browser, page: Path, medium: str, colours: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": colours}]
    browser.devtools("Emulation.setEmulatedMedia", media=medium, features=features)
    browser.call("/url", url=page.resolve(strict=True).as_uri())


def _resize(browser: Browser, width: int, height: int) -> None:
    window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.devtools("Emulation.setDeviceMetricsOverride", **window)


def _photograph(browser: Browser, out: Path, width: int, colours: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    name = f"{width}-{colours}"
    for old in out.glob(f"{name}-*.png"):
        old.unlink()
    size = browser.devtools("Page.getLayoutMetrics")["cssContentSize"]

    def shoot(path: Path, across: int, top: int, height: int) -> None:
        browser.call("/execute/sync", script="scrollTo(0, arguments[0])", args=[top])  # faster than beyond the window
        clip = {"x": 0, "y": top, "width": across, "height": height, "scale": 1}
        shot = browser.devtools("Page.captureScreenshot", clip=clip, captureBeyondViewport=across > width)
        path.write_bytes(base64.b64decode(shot["data"]))

    shoot(out / f"first-{name}.png", width, 0, HEIGHTS[width])
    _resize(browser, width, PART)
    for number, top in enumerate(range(0, size["height"], PART), 1):
        shoot(out / f"{name}-{number}.png", size["width"], top, min(PART, size["height"] - top))
    _resize(browser, width, HEIGHTS[width])
    browser.call("/execute/sync", script="scrollTo(0, 0)", args=[])


def _print(browser: Browser, page: Path) -> tuple[bytes, bytes, list[str]]:
    """The page as PDF, the same with marks, and the names of its pictures."""
    _open(browser, page, medium="", colours="")
    a4 = {"paperWidth": 21 / 2.54, "paperHeight": 29.7 / 2.54}

    def print_out() -> bytes:
        made = browser.devtools("Page.printToPDF", preferCSSPageSize=True, **a4)  # no backgrounds, as by default
        return base64.b64decode(made["data"])

    plain = print_out()
    pictures = browser.call("/execute/sync", script=CHECKS, args=["marks", ""])
    return plain, print_out(), pictures


def _requests(browser: Browser) -> list[str]:
    """Addresses that the page requested since the last call, without data within the page."""
    found = []
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
        elif message["method"] in ("Network.webSocketCreated", "Network.webTransportCreated"):
            found.append(message["params"]["url"])
    return [url for url in found if not url.startswith(("data:", "blob:"))]


def main() -> None:
    """Check a page, print its faults, and exit with code 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="an HTML file")
    parser.add_argument(
        "--out",
        type=lambda text: Path(text).expanduser(),
        help="folder for screenshots and PDF; by default none are written",
    )
    chosen = parser.parse_args()
    if not chosen.page.is_file():
        parser.error(f"there is no page {chosen.page}; make report writes one")
    try:
        with opened() as browser:
            faults = look(browser, chosen.page, chosen.out)
    except BrowserMissingError as error:
        parser.error(str(error))
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{chosen.page}: {len(faults)} faults" + (f", pictures in {chosen.out}" if chosen.out else ""))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
