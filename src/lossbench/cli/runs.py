"""The `lossbench` command: its words, tables and exit codes. `housekeeping.py` knows the runs."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import click

from lossbench import __version__
from lossbench.cli import shown
from lossbench.cli.paths import OUTPUT_DIR as _OUTPUT_DIR
from lossbench.cli.paths import RESULTS_DIR as _RESULTS_DIR
from lossbench.cli.paths import GivenPath
from lossbench.runs import archive, inspect
from lossbench.runs.folder import all_runs
from lossbench.runs.inspect import STATUSES, Entry, Filter
from lossbench.system.files import check_folder
from lossbench.system.spelling import spelled, spelled_lines

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_COLORS = {"finished": "green", "running": "cyan", "stopped": "yellow", "failed": "red", "damaged": "red"}


class Door(click.Command):
    """A command whose words go to Hydra as they are, `--help` among them."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.args = list(args)
        return []

    def invoke(self, context: click.Context) -> Any:
        sys.argv[1:] = context.args
        return super().invoke(context)


class InOrder(click.Group):
    """A group that lists its commands as they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lossbench", message="%(prog)s %(version)s")
def lossbench() -> None:
    """Compare classification losses fairly: train runs, look after them, and make tables of them.

    RUN is a run's name, or a beginning of it that fits no other. Exit codes: 0 fine, 1 a mistake, or problems found,
    2 wrong usage.
    """


def with_doors(doors: Mapping[str, Callable[[], None]]) -> click.Group:
    """The whole command: the doors to Hydra first, then what looks after runs."""
    texts = {name: (door.__doc__ or "").partition(": ")[2] for name, door in doors.items()}
    opened = {name: Door(name, callback=door, short_help=texts[name].capitalize()) for name, door in doors.items()}
    whole = copy(lossbench)
    whole.commands = opened | dict(lossbench.commands)
    return whole


def _known_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For the shell's completion."""
    found = all_runs(context.params.get("output_dir") or "outputs")
    return [run.id for run in found if run.id.startswith(incomplete) and run.id.isprintable()]


def _run_arguments(name: str, number: int, required: bool = True) -> Callable[[_Decorated], _Decorated]:
    metavar = "RUN" if number == 1 else "RUN RUN..." if required else "[RUN]..."
    return click.argument(name, nargs=number, required=required, metavar=metavar, shell_complete=_known_runs)


_JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def _filters(command: _Decorated) -> _Decorated:
    texts = {"dataset": "such as fmnist", "model": "such as cnn2c", "loss": "such as lgl_inr", "seed": "such as 0"}
    command = click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Only these.")(command)
    for name in reversed(texts):
        command = click.option(f"--{name}", multiple=True, help=f"Only these, {texts[name]}.")(command)
    return command


@lossbench.command()
@_filters
@click.option("--committed", is_flag=True, help="Show the committed records, too.")
@_RESULTS_DIR
@_OUTPUT_DIR
@_JSON
def runs(committed: bool, results_dir: str, output_dir: str, as_json: bool, **wanted: Sequence[str]) -> None:
    """List the runs.

    How they stand, their last test accuracy (a fraction), how long ago they wrote something, and their size.
    The options that choose may be given several times: --loss sml --loss lgl --status failed.
    """
    every = inspect.entries(output_dir, results_dir if committed else None)
    found = [entry for entry in every if Filter(**wanted).takes(entry)]
    if as_json:
        _print_json([entry.summary() for entry in found])
    elif found:
        _print_runs(found)
    elif every:
        _echo(f"none of {len(every)} runs fits")
    _tell(inspect.nothing_in(output_dir, results_dir if committed else None), beside=as_json)


@lossbench.command()
@_run_arguments("name", 1)
@_RESULTS_DIR
@_OUTPUT_DIR
@_JSON
def show(name: str, results_dir: str, output_dir: str, as_json: bool) -> None:
    """Show a run whole.

    Its config, result, accuracy by class, last epoch, files, and what is wrong with them.
    """
    known = inspect.describe(inspect.find(name, inspect.entries(output_dir, results_dir)))
    if as_json:
        _print_json(known)
        return
    place = "committed" if known["committed"] else known["folder"]
    age = "" if known["age_s"] is None else f", {shown.age(known['age_s'])} ago"
    _echo(f"{spelled(known['run_id'])}: {known['status']}, epoch {known['epoch']}/{known['epochs'] or '?'}{age}")
    if known["superseded"]:
        _echo("superseded: made under another NUMERICS, no table takes it")
    if known["reason"]:
        _echo(f"reason: {known['reason']}")
    _print_section("config", {key: shown.plain(value) for key, value in inspect.flat(known["config"]).items()})
    _print_section("result", {key: shown.rounded(value) for key, value in inspect.flat(known["result"]).items()})
    parts = known["sessions"] if len(known["sessions"]) > 1 else []
    _print_section("sessions, from epoch", {part["epoch"]: _listed(part) for part in parts if "epoch" in part})
    if known["class_accuracy"]:
        _print_section("accuracy by class", dict(enumerate(map(shown.rounded, known["class_accuracy"]))))
    last = {key: shown.rounded(value) for key, value in known["metrics"].items() if not isinstance(value, list)}
    _print_section("last epoch", last)
    _print_section(f"files, {place}", {key: shown.size(size) for key, size in known["files"].items()})
    if known["arrays_sha256"] and not known["problems"]:
        _echo(f"\nall whole; the arrays are those that the run wrote (sha256 {known['arrays_sha256'][:12]}...)")
    for problem in known["problems"]:
        _echo(f"\nproblem: {spelled(problem)}")


@lossbench.command()
@_run_arguments("names", -1)
@_RESULTS_DIR
@_OUTPUT_DIR
@_JSON
def compare(names: Sequence[str], results_dir: str, output_dir: str, as_json: bool) -> None:
    """Show runs side by side.

    The options in which they differ, and what came of it.
    """
    if len(names) < 2:
        raise click.UsageError("name two runs or more")
    every = inspect.entries(output_dir, results_dir)
    found = inspect.compare([inspect.find(name, every) for name in names])
    if as_json:
        _print_json(found)
        return
    rows = [[key, *map(shown.plain, values)] for key, values in found["config"].items()]
    rows += [[]] if rows else []
    rows += [[key, *map(shown.rounded, values)] for key, values in found["result"].items()]
    _print_table(["", *found["runs"]], rows)


@lossbench.command()
@_run_arguments("names", -1, required=False)
@_filters
@click.option("--yes", is_flag=True, help="Remove them, and do not ask.")
@_OUTPUT_DIR
@_JSON
def remove(names: Sequence[str], yes: bool, output_dir: str, as_json: bool, **wanted: Sequence[str]) -> None:
    """Remove failed and superseded runs.

    Or those of a --status, or the ones that are named; superseded is what another NUMERICS made.

    Without --yes it says what would go; on a terminal it asks. A running run is never removed, a finished one only
    where it is named or superseded.
    """
    chosen = _chosen(names, wanted, inspect.entries(output_dir))
    sizes = {entry.id: sum(entry.files.values()) for entry in chosen}
    total = f"{_runs(len(chosen))}, {shown.size(sum(sizes.values()))}"
    if chosen and not as_json and not yes:
        _print_runs(chosen)
        yes = _on_terminal() and click.confirm(f"remove {total}?")
    gone, kept = inspect.remove(chosen) if yes else ([], {})
    if as_json:
        _print_json({"chosen": sizes, "removed": gone, "kept": kept, "bytes": sum(sizes[name] for name in gone)})
    elif not chosen:
        _echo("nothing to remove")
    elif not yes:
        _echo(f"{total} would go; nothing is removed without --yes")
    else:
        _echo(f"{len(gone)} of {total} removed" if kept else f"{total} removed")
    for name, why in kept.items():
        _echo(f"kept: {spelled(name)}: {spelled(why)}", err=True)
    if kept:
        sys.exit(1)


def _chosen(names: Sequence[str], wanted: Mapping[str, Sequence[str]], every: Sequence[Entry]) -> list[Entry]:
    if not names:
        fitting = [entry for entry in every if Filter(**wanted).takes(entry)]
        return [entry for entry in fitting if inspect.may_go(entry, status_named=bool(wanted["status"]))]
    if any(wanted.values()):
        raise click.UsageError("either name runs or choose them by options")
    named = {entry.id: entry for entry in (inspect.find(name, every) for name in names)}
    running = [name for name, entry in named.items() if entry.status == "running"]
    if running:
        raise ValueError(f"{running[0]} is running; nothing is removed")
    return list(named.values())


@lossbench.command()
@_RESULTS_DIR
@_OUTPUT_DIR
@_JSON
def verify(results_dir: str, output_dir: str, as_json: bool) -> None:
    """Check that all runs are whole.

    Every file of own runs and committed records is read; a line for everything that is wrong.
    """
    count, problems = inspect.check(output_dir, results_dir)
    if as_json:
        _print_json({"runs": count, "problems": problems})
    elif not problems:
        _echo(f"{_runs(count)}, all whole")
        _tell([] if count else inspect.nothing_in(output_dir, results_dir))
    else:
        _echo("\n".join(map(spelled, problems)))
    if problems:
        sys.exit(1)


@lossbench.command()
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@_OUTPUT_DIR
def export(file: Path, output_dir: str) -> None:
    """Write all finished runs into one archive.

    Config, metrics, arrays and record of each; of runs that diverged, what is known of it. What is damaged is left
    out and named.
    """
    found = archive.export_archive(file, output_dir)
    others = f" and {len(found.diverged)} that diverged" if found.diverged else ""
    _echo(f"{len(found.records)} finished runs{others} written to {file}")
    for problem in found.problems:
        _echo(f"left out: {spelled(problem)}", err=True)
    _tell(inspect.nothing_in(output_dir), beside=True)


@lossbench.command("import")
@click.argument("file", type=GivenPath(dir_okay=False, path_type=Path))
@_OUTPUT_DIR
def import_(file: Path, output_dir: str) -> None:
    """Add the runs of an archive.

    What is damaged, or running here, is left out and named, with exit code 1.
    """
    new, known, left_out = archive.import_archive(file, output_dir)
    _echo(f"{new} runs added to {output_dir}/runs, {known} were there already")
    for problem in left_out:
        _echo(f"left out: {spelled(problem)}", err=True)
    if left_out:
        sys.exit(1)


@lossbench.command()
@click.argument("folder", type=GivenPath(file_okay=False, path_type=Path), metavar="DIR")
@_OUTPUT_DIR
def publish(folder: Path, output_dir: str) -> None:
    """Commit the finished runs' records to DIR.

    A folder of committed records, such as results/; the arrays go along, and what is known of runs that diverged.
    """
    _echo(f"{archive.publish(output_dir, folder)} records added to {folder}")
    _tell(inspect.nothing_in(output_dir), beside=True)


@lossbench.command()
@click.argument("folder", type=GivenPath(file_okay=False, exists=True, path_type=Path), metavar="DIR")
@_OUTPUT_DIR
def prune(folder: Path, output_dir: str) -> None:
    """Drop what no report reads from the committed records in DIR.

    Logits go where nothing needs them; the scores computed from them go into the record first. The labels of held-out
    images come from the run, else from the data sets prepared below --output-dir.
    """
    from lossbench.studies import pruning

    _echo(pruning.in_words(pruning.prune(folder, output_dir)))


@lossbench.command()
@click.option("--num-repetitions", default=100, show_default=True, type=click.IntRange(min=2), help="Of every cell.")
@click.option("--publish", is_flag=True, help="Write to the committed results, not to the output folder.")
@_RESULTS_DIR
@_OUTPUT_DIR
def simulate(num_repetitions: int, publish: bool, results_dir: str, output_dir: str) -> None:
    """Simulate the paper's Table 1.

    Both simulations of Eq. 10 under three weights: the mean left-hand side of the repetitions, its standard deviation,
    and what the paper prints.
    """
    from lossbench.studies.aaai20 import table1

    folder = results_dir if publish else output_dir
    check_folder(Path(folder), "--results-dir" if publish else "--output-dir")
    done = table1.simulate(num_repetitions)
    head = ["simulation", "training", "reading", "lambda_0 printed", "corrected", "RHS", "LHS (sd)", "paper's (sd)"]
    rows = []
    for cell in done.cells:
        words = [cell.simulation, cell.training, cell.reading, cell.lambda_printed, cell.lambda_corrected]
        paper = table1.printed()[cell.simulation, cell.lambda_printed]
        rows.append([*words, f"{cell.rhs:g}", *(f"{side.mean:.2f} ({side.sd:.2f})" for side in (cell, paper))])
    _print_table(head, rows, right=head[5:])
    _echo(f"\n{num_repetitions} repetitions in {done.wall_s} s: {table1.write(done, folder)}")


def _tell(sentences: Sequence[str], beside: bool = False) -> None:
    for sentence in sentences:
        _echo(spelled(sentence), err=beside)


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _echo(text: str, err: bool = False) -> None:
    """Write text on a terminal or into a pipe; what cannot be printed is spelled out."""
    click.echo(spelled_lines(text), err=err)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def _print_runs(found: Sequence[Entry]) -> None:
    head, rows = ["run", "status", "epoch", "accuracy", "age", "size", "note"], []
    known = [entry.summary() for entry in found]
    for line in known:
        accuracy = "-" if line["accuracy"] is None else f"{line['accuracy']:.4f}"
        age = "-" if line["age_s"] is None else shown.age(line["age_s"])
        note = " ".join(word for word in ("superseded", "committed") if line[word])
        epoch = f"{line['epoch']}/{line['epochs'] or '?'}"
        rows.append([line["run_id"], line["status"], epoch, accuracy, age, shown.size(line["bytes"]), note])
    _print_table(head, rows, right=("epoch", "accuracy", "age", "size"))
    if _on_terminal():
        counts = Counter(line["status"] for line in known)
        said = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
        _echo(f"{_runs(len(known))}: {said}; {shown.size(sum(line['bytes'] for line in known))}")


def _print_section(title: str, values: Mapping[Any, str]) -> None:
    if values:
        width = max(len(spelled(key)) for key in values)
        lines = [f"  {spelled(key):{width}}  {spelled(value)}" for key, value in values.items()]
        _echo("\n".join(["", spelled(title), *lines]))


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """A table on a terminal, the same as aligned text elsewhere; an empty row is an empty line."""
    head, rows = [*map(spelled, head)], [[*map(spelled, row)] for row in rows]
    if sys.stdout.isatty():
        _print_rich(head, rows, right)
        return
    widths = [max(len(row[place]) for row in (head, *rows) if row) for place in range(len(head))]
    for row in (head, *rows):
        cells = zip(row, head, widths, strict=False)
        aligned = [cell.rjust(width) if name in right else cell.ljust(width) for cell, name, width in cells]
        _echo("  ".join(aligned).rstrip())


def _print_rich(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in head:
        table.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_COLORS.get(cell, "")) for cell in row))
    Console(highlight=False).print(table)


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _listed(session: Mapping[str, Any]) -> str:
    known = inspect.flat(session).items()
    return ", ".join(f"{key} {shown.plain(value)}" for key, value in known if key != "epoch")
