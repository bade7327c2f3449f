"""A report page as headless Chromium shows it: pictures at two widths, light and dark, and every fault in a line.

`make look` looks at the last report; `test_looking.py` at small pages with one fault each, and at a whole report. What
is looked for stands in `looking.js`; here, that the page asks for no other file, that nothing is wrong on its console,
and that the files it links to are there. Generated content, and text over what is not its ancestor, need the eye.
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

View = tuple[str, str, int, str]
"""Room, colours, width in px, and medium."""

VIEWS = [(f"{width} px", scheme, width, "screen") for width in (390, 1280) for scheme in ("light", "dark")]
VIEWS += [("paper", "light", 718, "print")]
"""A phone, a laptop, and A4 within the margins of 1 cm that Chromium leaves."""

HEIGHT = 844
PART = 1500
"""Of the window, and the most of a picture, in px; higher ones are made smaller where they are looked at."""

CHECKS = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync --hide-scrollbars"
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"  # what a page asks for is seen, and not sent


class BrowserMissingError(RuntimeError):
    """Chromium or its driver is not installed."""


@dataclass(frozen=True)
class Browser:
    """A session with chromedriver: WebDriver commands, and Chromium's own through it."""

    connection: HTTPConnection
    path: str

    def call(self, command: str, **parameters: Any) -> Any:
        """The value that a WebDriver command gives back.

        Raises:
            RuntimeError: the browser refused; its own words.
        """
        self.connection.request("POST", f"{self.path}{command}", json.dumps(parameters))
        value = json.loads(self.connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"Chromium: {value['message'].splitlines()[0]}")
        return value

    def devtools(self, command: str, **parameters: Any) -> Any:
        """The value that a command of the DevTools protocol gives back."""
        return self.call("/goog/cdp/execute", cmd=command, params=parameters)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: "browser" is the console, "performance" the network."""
        return list(self.call("/se/log", type=kind))


@contextmanager
def opened() -> Iterator[Browser]:
    """A headless Chromium with a new profile, which ends with the block.

    Raises:
        BrowserMissingError: there is none here.
    """
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        absent = " and ".join(name for name, path in (("chromium", chromium), ("chromedriver", driver)) if not path)
        raise BrowserMissingError(f"there is no {absent} here; on Debian: apt-get install chromium chromium-driver")
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
    raise RuntimeError("chromedriver ended before it could be asked for anything")


def look(browser: Browser, page: Path, out: Path | None = None, views: Sequence[View] = VIEWS) -> list[str]:
    """Every fault of a page in a line, as it opens in each view; none, if all is well.

    Args:
        browser: as `opened` gives it.
        page: an HTML file.
        out: where `<width>-<colours>-<part>.png` and `print.pdf` are written, if anywhere.
        views: rooms and colours to open it in.
    """
    for kind in ("browser", "performance"):
        browser.log(kind)
    faults, here = [], ""
    for room, colours, width, medium in views:
        window = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.devtools("Emulation.setDeviceMetricsOverride", **window)
        _open(browser, page, medium, colours)
        if out is not None and medium == "screen":
            _photograph(browser, out, f"{width}-{colours}")
        found, files, here = browser.call("/execute/sync", script=CHECKS, args=[room, colours])
        faults += found + [f"a link goes to {file}, which is not there" for file in files if not Path(file).exists()]
    browser.devtools("Emulation.clearDeviceMetricsOverride")
    if out is not None:
        _open(browser, page, medium="", colours="")
        a4 = {"paperWidth": 21 / 2.54, "paperHeight": 29.7 / 2.54}
        printed = browser.devtools("Page.printToPDF", preferCSSPageSize=True, **a4)  # no backgrounds, as by default
        (out / "print.pdf").write_bytes(base64.b64decode(printed["data"]))
    faults += [f"the page asks for {url}" for url in _requests(browser) if url != here]
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


def _photograph(browser: Browser, out: Path, name: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob(f"{name}-*.png"):
        old.unlink()
    size = browser.devtools("Page.getLayoutMetrics")["cssContentSize"]
    for number, top in enumerate(range(0, size["height"], PART), 1):
        clip = {"x": 0, "y": top, "width": size["width"], "height": min(PART, size["height"] - top), "scale": 1}
        shot = browser.devtools("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        (out / f"{name}-{number}.png").write_bytes(base64.b64decode(shot["data"]))


def _requests(browser: Browser) -> list[str]:
    """Addresses the page asked for since the last call, without what it holds itself."""
    found = []
    for entry in browser.log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
        elif message["method"] in ("Network.webSocketCreated", "Network.webTransportCreated"):
            found.append(message["params"]["url"])
    return [url for url in found if not url.startswith(("data:", "blob:"))]


def main() -> None:
    """Look, tell, and fail where there are faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="an HTML file")
    parser.add_argument(
        "--out",
        type=lambda text: Path(text).expanduser(),
        help="a folder for the pictures and the PDF; without it none are made",
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
