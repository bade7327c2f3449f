"""Times TensorBoard on many runs: until it answers, until it has read all runs, and until a page shows them.

    python benchmarks/many_tensorboard.py --counts 10,100,1000 --folder FOLDER

A few short runs are trained with events; the others are copies under other names. Headless Chromium opens the page.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import many_runs

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import looking

TENSORBOARD = str(Path(sys.executable).with_name("tensorboard"))
PORT = 6123

_CELLS = """const found = [];
(function walk(node) {
  if (node.shadowRoot) walk(node.shadowRoot);
  if ((node.tagName || '').includes('TABLE-CONTENT-CELL') || (node.tagName || '').startsWith('VAADIN-GRID-CELL'))
    found.push(node);
  for (const child of node.children || []) walk(child);
})(document.body);
return found.length"""

PAGES = {
    "Time series": ("timeseries", "return document.querySelectorAll('line-chart canvas, line-chart svg path').length"),
    "HParams": ("hparams", _CELLS),
}
"""Pages by name: the end of their address, and what is more than 0 once something of the runs is shown."""


def make(count: int, folder: Path) -> Path:
    """Runs with events, `count` of them, in a folder of their own; returns it."""
    templates, made = folder / "with_events", folder / f"events{count}"
    words = ["dataset=digits", "model=linear", f"loss={','.join(many_runs.LOSSES)}", "seed=0"]
    words += [f"schedule.epochs={many_runs.EPOCHS}", f"runtime.output_dir={templates}"]
    many_runs.lossbench(["train", "-m", *words])
    runs = sorted((templates / "runs").iterdir())
    if not made.exists():
        for number in range(count):
            shutil.copytree(runs[number % len(runs)], made / "runs" / f"{runs[number % len(runs)].name}-{number}")
    return made / "runs"


@contextmanager
def started(logdir: Path, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """TensorBoard in the block."""
    command = [TENSORBOARD, "--logdir", str(logdir), "--port", str(PORT), *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def answer(path: str) -> Any:
    """The JSON that TensorBoard answers to a request; None while it does not."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def until(holds: Callable[[], bool], began: float, limit_s: float) -> float | None:
    """Seconds since a moment at which something holds first; None: it does not within the limit."""
    while time.perf_counter() - began < limit_s:
        if holds():
            return time.perf_counter() - began
        time.sleep(0.1)
    return None


def memory_mb(process: int) -> float:
    """Memory of a process and its children, in 10^6 bytes."""
    total = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(folder.name) == process or int(words[1]) == process:
                total += int(words[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return total


def shown(browser: looking.Browser, page: str, limit_s: float) -> float | None:
    """Seconds from opening a page until something of the runs is shown."""
    end, script = PAGES[page]
    began = time.perf_counter()
    browser.call("/url", url="about:blank")
    browser.call("/url", url=f"http://127.0.0.1:{PORT}/#{end}")

    def there() -> bool:
        return bool(browser.call("/execute/sync", script=script, args=[]))

    return until(there, began, limit_s)


def measured(logdir: Path, count: int, words: list[str], limit_s: float) -> list[str]:
    """The times of one start, as texts."""
    began = time.perf_counter()
    with started(logdir, words) as process:
        times = [until(lambda: answer("/data/environment") is not None, began, limit_s)]
        times.append(until(lambda: len(answer("/data/runs") or []) >= 2 * count, began, limit_s))  # HParams is a run
        with looking.opened() as browser:
            times += [shown(browser, page, limit_s) for page in PAGES]
        used = memory_mb(process.pid)
    return [*("-" if one is None else f"{one:.1f}" for one in times), f"{used:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time TensorBoard on many runs.")
    parser.add_argument("--counts", default="10,100,1000")
    parser.add_argument("--folder", type=Path, default=Path("outputs/many_runs"))
    parser.add_argument("--limit-s", type=float, default=120)
    parser.add_argument("--words", default="--samples_per_plugin images=0,scalars=0", help="options of TensorBoard")
    given = parser.parse_args()
    looking.OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    print(f"| runs | answers, s | has read all, s | {', s | '.join(PAGES)}, s | memory, MB |", flush=True)
    for count in map(int, given.counts.split(",")):
        logdir = make(count, given.folder.absolute())
        print(f"| {count} | {' | '.join(measured(logdir, count, given.words.split(), given.limit_s))} |", flush=True)


if __name__ == "__main__":
    main()
