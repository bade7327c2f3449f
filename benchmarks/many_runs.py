"""Times the commands that read many runs, on 1,000, 10,000 and 100,000 runs made from real ones.

    python benchmarks/many_runs.py --counts 1000,10000,100000 --folder FOLDER

A few short runs are trained. The others are copies with their own options, seeds and names: every command trusts them.
Each command is a process of its own; printed are its wall time and the peak of its memory, as a Markdown table.
"""

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossbench import NUMERICS
from lossbench.config.run import name_of
from lossbench.runs.folder import FILES, to_json
from lossbench.system.machine import commit, versions

LOSSES = ("sml", "lgl", "focal", "brier")
SEEDS = 5
"""Seeds of each group of options."""

EPOCHS = 20

DIVERGED_ONE_IN, STOPPED_ONE_IN = 100, 250
"""Shares of the runs that diverged and that were stopped."""

LINES = {
    "runs": "runs --output-dir {out}",
    "runs loss=sml --sort -accuracy": "runs loss=sml --sort -accuracy --output-dir {out}",
    "runs --json": "runs --json --output-dir {out}",
    "table": "table --output-dir {out}",
    "table --baseline loss=sml": "table --baseline loss=sml --output-dir {out}",
    "show RUN": "show {run} --output-dir {out}",
    "diff RUN RUN": "diff {run} {other} --output-dir {out}",
    "remove": "remove --output-dir {out}",
    "verify": "verify --output-dir {out} --results-dir {empty}",
    "export FILE.zip": "export {made}/runs.zip --output-dir {out}",
    "import FILE.zip, all known": "import {made}/runs.zip --output-dir {out}",
    "export FILE.parquet": "export {made}/runs.parquet --output-dir {out}",
    "report": "report runtime.output_dir={out} results_dir={empty}",
    "publish": "publish {made}/published --output-dir {out}",
    "table, committed": "table --output-dir {empty} --results-dir {made}/published",
    "report, committed": "report profile=paper runtime.output_dir={made}/committed results_dir={made}/published",
}
"""Commands by what the table calls them; `publish` makes the folder that the two after it read."""

LOSSBENCH = str(Path(sys.executable).with_name("lossbench"))
"""The command beside this interpreter."""

PLAN = "resume decision"
"""Not a command of its own: what `lossbench train`, `reproduce` and `reference` do first, on configs in memory."""


@dataclass(frozen=True)
class Template:
    """A finished run: its record, and the content of its other files."""

    record: Mapping[str, Any]
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Cost:
    """What a process took: wall time and processor time in s, peak memory in 10^6 bytes, exit code."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    code: int


def trained(folder: Path) -> list[Template]:
    """Train the runs that are copied, or take those that an earlier call has trained."""
    words = ["dataset=digits", "model=linear", f"loss={','.join(LOSSES)}", "seed=0,1,2", f"schedule.epochs={EPOCHS}"]
    lossbench(["train", "-m", *words, f"runtime.output_dir={folder}", "runtime.tensorboard=false"])
    found = []
    for path in sorted((folder / "runs").iterdir()):
        record = json.loads((path / "result.json").read_text())
        found.append(Template(record, {name: (path / name).read_bytes() for name in FILES[1:3]}))
    return found


def config_of(number: int, config: Mapping[str, Any], output_dir: str) -> dict[str, Any]:
    """The config of the run of a number: that of a template with another seed, learning rate and weight decay."""
    group, seed = divmod(number, SEEDS)
    cell = group // len(LOSSES)
    changed = {"lr": round(0.001 * 1.1 ** (cell % 50), 6), "weight_decay": round(1e-5 * (cell // 50), 8)}
    runtime = {**config["runtime"], "output_dir": output_dir}
    return {**config, "seed": seed, "schedule": {**config["schedule"], **changed}, "runtime": runtime}


def made(count: int, templates: Sequence[Template], output_dir: Path) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """The files of runs 0 to count - 1 by name of the run; most are finished."""
    by_loss = {loss: [one for one in templates if one.record["config"]["loss"]["name"] == loss] for loss in LOSSES}
    for number in range(count):
        known = by_loss[LOSSES[(number // SEEDS) % len(LOSSES)]]
        template = known[number % len(known)]
        config = config_of(number, template.record["config"], str(output_dir))
        name = name_of(config, NUMERICS)
        written = to_json(config, indent=2)
        if number % DIVERGED_ONE_IN == 7:
            reason = "the training loss is nan in epoch 3, step 11, with lr 0.1"
            keys = ("numerics", "device", "device_name", "num_threads", "precision", "deterministic", "versions")
            facts = {key: template.record[key] for key in (*keys, "commit", "sessions") if key in template.record}
            fields = {"format": 2, "run_id": name, "config": config, "epoch": 3, "step": 11, "reason": reason, **facts}
            yield name, {"config.json": written, "failure.txt": reason.encode(), "diverged.json": to_json(fields)}
        elif number % STOPPED_ONE_IN == 13:
            lines = template.files["metrics.jsonl"].splitlines(keepends=True)[:7]
            yield name, {"config.json": written, "metrics.jsonl": b"".join(lines)}
        else:
            record = {**template.record, "run_id": name, "config": config}
            yield name, {"config.json": written, **template.files, "result.json": to_json(record)}


def write_runs(count: int, templates: Sequence[Template], output_dir: Path) -> None:
    """Write runs as folders, without waiting for the disk; the record last."""
    for name, files in made(count, templates, output_dir):
        folder = output_dir / "runs" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)


def lossbench(words: Iterable[str]) -> None:
    subprocess.run([LOSSBENCH, *words], check=True, stdout=subprocess.DEVNULL)


def _environment() -> dict[str, str]:
    """That of a user, whose Python keeps compiled modules."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def cost(command: Sequence[str], limit_s: float, log: Path) -> Cost:
    """Execute a command, its output in a file; one that takes longer than the limit is killed, with code -9."""
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=_environment())
        used: resource.struct_rusage | None = None
        while used is None:
            pid, status, found = os.wait4(process.pid, os.WNOHANG)
            if pid:
                used = found
            elif time.perf_counter() - began > limit_s:
                process.kill()
                _, status, used = os.wait4(process.pid, 0)
            else:
                time.sleep(0.005)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - began
    return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, process.returncode)


def plan(output_dir: Path, count: int, templates: Sequence[Template]) -> tuple[float, float]:
    """Wall and processor time, s, for which of `count` runs are left to do; their configs are made before."""
    from lossbench.config.run import Runtime
    from lossbench.runs.restored import config_of as restored
    from lossbench.sweep.run_all import remaining

    runtime, configs = Runtime(output_dir=str(output_dir)), []
    for number in range(count):
        of_loss = [one for one in templates if one.record["config"]["loss"]["name"] == LOSSES[(number // SEEDS) % 4]]
        config = config_of(number, of_loss[0].record["config"], str(output_dir))
        record = {"config": config, "run_id": name_of(config, NUMERICS), "numerics": NUMERICS}
        configs.append(restored(record, runtime))
    began, used = time.perf_counter(), time.process_time()
    left = remaining(configs)
    took = time.perf_counter() - began, time.process_time() - used
    unfinished = sum(number % DIVERGED_ONE_IN == 7 or number % STOPPED_ONE_IN == 13 for number in range(count))
    if len(left) != unfinished:
        raise SystemExit(f"{len(left)} runs are left to do instead of {unfinished}")
    return took


def measured(count: int, folder: Path, names: Sequence[str], limit_s: float, repetitions: int) -> dict[str, list[Cost]]:
    """Make the runs, unless an earlier call has, and measure the commands on them, the fastest first in each list."""
    templates, output_dir, work = trained(folder / "templates"), folder / f"runs{count}", folder / f"made{count}"
    if not (output_dir / "ready").exists():
        shutil.rmtree(output_dir, ignore_errors=True)
        began = time.perf_counter()
        write_runs(count, templates, output_dir)
        (output_dir / "ready").touch()
        print(f"{count} runs written in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    shutil.rmtree(work, ignore_errors=True)
    (work / "empty").mkdir(parents=True)
    shutil.rmtree(output_dir / "report", ignore_errors=True)
    some = sorted(path.parent.name for path in (output_dir / "runs").glob("digits-linear-sml-s0-*/result.json"))
    places = {"out": output_dir, "empty": work / "empty", "made": work, "run": some[0], "other": some[-1]}
    found: dict[str, list[Cost]] = {}
    for name in names:
        if name == PLAN:
            command = [sys.executable, __file__, "--plan", str(count), "--folder", str(folder)]
        else:
            words = [word.format_map(places) for word in LINES[name].split()]
            command = [LOSSBENCH, *words]
        costs = []
        for _ in range(repetitions):
            costs.append(cost(command, limit_s, work / "log.txt"))
            print(f"{count} {name}: {costs[-1]}", file=sys.stderr, flush=True)
            if costs[-1].code not in (0, -9):
                print((work / "log.txt").read_text(errors="replace")[-500:], file=sys.stderr)
        if name == PLAN and not costs[-1].code:
            took = [float(word) for word in (work / "log.txt").read_text().split()[-2:]]
            costs = [Cost(took[0], took[1], one.peak_mb, one.code) for one in costs]
        found[name] = sorted(costs, key=lambda one: one.cpu_s)
    return found


def table(found: Mapping[int, Mapping[str, Sequence[Cost]]]) -> str:
    """Processor and wall time, peak memory, and growth from each count to the next per decade, as Markdown.

    Growth is that of the processor time, which other work on the machine changes less than the wall time.
    """
    counts = sorted(found)
    heads = [f"{count:,} runs: s (wall), MB" for count in counts]
    heads += [f"growth to {count:,}" for count in counts[1:]]
    lines = [["command", *heads], ["---"] * (1 + len(heads))]
    for name in found[counts[0]]:
        costs = [found[count][name][len(found[count][name]) // 2] for count in counts]
        texts = [f"{one.cpu_s:.2f} ({one.wall_s:.1f}), {one.peak_mb:.0f}" for one in costs]
        cells = [f"exit code {one.code}" if one.code else text for one, text in zip(costs, texts, strict=True)]
        for place in range(1, len(counts)):
            decades = math.log10(counts[place] / counts[place - 1])
            ratio = (costs[place].cpu_s / costs[place - 1].cpu_s) ** (1 / decades)
            cells.append("-" if costs[place].code or costs[place - 1].code else f"{ratio:.1f}")
        lines.append([name if name == PLAN else f"`{name}`", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--counts", default="1000,10000", help="numbers of runs, such as 1000,10000,100000")
    parser.add_argument("--folder", type=Path, default=Path("outputs/many_runs"), help="where the runs are made")
    parser.add_argument("--only", default="", help="parts of the names of commands, separated by commas")
    parser.add_argument("--limit-s", type=float, default=600, help="seconds after which a command is killed")
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--plan", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.folder.absolute()
    if given.plan:
        print(*plan(folder / f"runs{given.plan}", given.plan, trained(folder / "templates")))
        return
    parts = [part for part in given.only.split(",") if part]
    names = [name for name in (PLAN, *LINES) if not parts or any(part in name for part in parts)]
    counts = [int(text) for text in given.counts.split(",")]
    found = {count: measured(count, folder, names, given.limit_s, given.repetitions) for count in counts}
    (folder / "costs.json").write_text(
        json.dumps({n: {k: [vars(c) for c in v] for k, v in f.items()} for n, f in found.items()})
    )
    print(table(found))
    print(f"\n{given.repetitions} repetitions; {versions()}; commit {commit()}")


if __name__ == "__main__":
    main()
