"""Commands that manage runs: list, show, diff, remove and verify."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from lossbench.cli import printing, shown
from lossbench.cli.parameters import (
    JSON,
    OUTPUT_DIR,
    RESULTS_DIR,
    committed_too,
    filters,
    folder_of_committed,
    run_arguments,
)
from lossbench.cli.printing import echo, num_runs, print_json, print_lines, print_runs, print_section, print_table
from lossbench.config.naming import flat
from lossbench.runs import choose, inspect, removal
from lossbench.runs.folder import WEIGHTS
from lossbench.runs.inspect import Entry, Filter
from lossbench.runs.search import search
from lossbench.system.shipped import WHERE_ARRAYS_ARE
from lossbench.system.spelling import spelled


@click.command()
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@filters
@click.option("--sort", metavar="OPTION", help="Sort by it, such as accuracy; -schedule.lr has the highest first.")
@committed_too
@OUTPUT_DIR
@JSON
def runs(
    options: Sequence[str],
    sort: str | None,
    committed: bool,
    results_dir: str | None,
    output_dir: str,
    as_json: bool,
    **wanted: Sequence[str],
) -> None:
    """List the runs.

    Shows status, last test accuracy (a fraction), time since the last write, and size; where the names of the runs do
    not tell them apart, also what differs.

    OPTION=VALUE selects runs by any option: loss.beta=4 dataset=fmnist,kmnist. Filters may be given several times:
    --loss sml --loss lgl --status failed.
    """
    folder = folder_of_committed(committed, results_dir)
    every = inspect.entries(output_dir, folder)
    facts = [choose.facts_of(entry) for entry in every] if options or sort is not None else []
    chosen = choose.choices(options, facts)
    fitting = choose.chosen(chosen, every, facts) if options else every
    only = Filter(**wanted)
    found = [entry for entry in fitting if only.takes(entry)]
    if sort is not None:
        found = choose.sorted_by(sort, found, facts)
    if as_json:
        print_json([entry.summary() for entry in found])
    elif found:
        print_runs(found)
    elif every:
        echo(choose.none_fits(chosen, facts or [choose.facts_of(entry) for entry in every]))
    print_lines(inspect.nothing_in(output_dir, folder), beside=as_json)


@click.command()
@run_arguments("name", 1)
@RESULTS_DIR
@OUTPUT_DIR
@JSON
def show(name: str, results_dir: str, output_dir: str, as_json: bool) -> None:
    """Show everything about a run.

    Its config, result, accuracy by class, last epoch, files, and any problems with them.
    """
    (entry,) = search([name], output_dir, results_dir)
    known = inspect.describe(entry)
    if as_json:
        print_json(known)
        return
    place = "committed" if known["committed"] else known["folder"]
    age = "" if known["age_s"] is None else f", {shown.age(known['age_s'])} ago"
    echo(f"{spelled(known['run_id'])}: {known['status']}, epoch {known['epoch']}/{known['epochs'] or '?'}{age}")
    if known["superseded"]:
        echo("superseded: made under another NUMERICS, not used in tables")
    if known["reason"]:
        echo(f"reason: {known['reason']}")
    print_section("config", {key: shown.plain(value) for key, value in flat(known["config"]).items()})
    print_section("result", {key: shown.rounded(value) for key, value in flat(known["result"]).items()})
    parts = known["sessions"] if len(known["sessions"]) > 1 else []
    print_section("sessions, from epoch", {part["epoch"]: _listed(part) for part in parts if "epoch" in part})
    if known["class_accuracy"]:
        print_section("accuracy by class", dict(enumerate(map(shown.rounded, known["class_accuracy"]))))
    last = {key: shown.rounded(value) for key, value in known["metrics"].items() if not isinstance(value, list)}
    print_section("last epoch", last)
    print_section(f"files, {place}", {key: shown.size(size) for key, size in known["files"].items()})
    if known["committed"] and known["arrays_sha256"] and not known["files"]:
        echo(f"\nits arrays are not here; those of lossbench's own runs are in {WHERE_ARRAYS_ARE}")
    elif known["arrays_sha256"] and not known["problems"]:
        echo(f"\nall intact; the arrays are those that the run wrote (sha256 {known['arrays_sha256'][:12]}...)")
    if known["weights"] and not known["problems"]:
        place = f"are in {WEIGHTS}" if WEIGHTS in known["files"] else "are not here"
        echo(f"its weights {place} (sha256 {known['weights']['sha256'][:12]}...)")
    for problem in known["problems"]:
        echo(f"\nproblem: {spelled(problem)}")


@click.command()
@run_arguments("names", -1)
@RESULTS_DIR
@OUTPUT_DIR
@JSON
def diff(names: Sequence[str], results_dir: str, output_dir: str, as_json: bool) -> None:
    """Show runs side by side.

    The options in which they differ, and their results.
    """
    if len(names) < 2:
        raise click.UsageError("name two runs or more")
    found = inspect.compare(search(names, output_dir, results_dir))
    if as_json:
        print_json(found)
        return
    rows = [[key, *map(shown.plain, values)] for key, values in found["config"].items()]
    rows += [[]] if rows else []
    rows += [[key, *map(shown.rounded, values)] for key, values in found["result"].items()]
    print_table(["", *found["runs"]], rows)


@click.command()
@run_arguments("names", -1, required=False)
@filters
@click.option("--yes", is_flag=True, help="Remove them without asking.")
@OUTPUT_DIR
@JSON
def remove(names: Sequence[str], yes: bool, output_dir: str, as_json: bool, **wanted: Sequence[str]) -> None:
    """Remove failed and superseded runs.

    If runs are named or selected with --status, those are removed instead. Runs made under another NUMERICS are
    superseded.

    Without --yes the command lists what it would remove, and asks if on a terminal. A running run is never removed, a
    finished one only if it is named or superseded.
    """
    chosen = _chosen(names, wanted, inspect.entries(output_dir))
    sizes = {entry.id: sum(entry.files.values()) for entry in chosen}
    total = f"{num_runs(len(chosen))}, {shown.size(sum(sizes.values()))}"
    if chosen and not as_json and not yes:
        print_runs(chosen)
        yes = printing.on_terminal() and click.confirm(f"remove {total}?")
    gone, kept = removal.remove(chosen) if yes else ([], {})
    if as_json:
        print_json({"chosen": sizes, "removed": gone, "kept": kept, "bytes": sum(sizes[name] for name in gone)})
    elif not chosen:
        echo("nothing to remove")
    elif not yes:
        echo(f"{total} would be removed; nothing is removed without --yes")
    else:
        echo(f"{len(gone)} of {total} removed" if kept else f"{total} removed")
    for name, why in kept.items():
        echo(f"kept: {spelled(name)}: {spelled(why)}", err=True)
    if kept:
        sys.exit(1)


def _chosen(names: Sequence[str], wanted: Mapping[str, Sequence[str]], every: Sequence[Entry]) -> list[Entry]:
    if not names:
        fitting = [entry for entry in every if Filter(**wanted).takes(entry)]
        return [entry for entry in fitting if removal.may_go(entry, status_named=bool(wanted["status"]))]
    if any(wanted.values()):
        raise click.UsageError("either name runs or select them by options, not both")
    named = {entry.id: entry for entry in (inspect.find(name, every) for name in names)}
    running = [name for name, entry in named.items() if entry.status == "running"]
    if running:
        raise ValueError(f"{running[0]} is running; nothing is removed")
    return list(named.values())


@click.command()
@RESULTS_DIR
@OUTPUT_DIR
@JSON
def verify(results_dir: str, output_dir: str, as_json: bool) -> None:
    """Check that the files of all runs are intact.

    Every file of own runs and committed records is read; each problem is printed on a line.
    """
    count, problems = inspect.check(output_dir, results_dir)
    if as_json:
        print_json({"runs": count, "problems": problems})
    elif not problems:
        echo(f"{num_runs(count)}, all intact")
        print_lines([] if count else inspect.nothing_in(output_dir, results_dir))
    else:
        echo("\n".join(map(spelled, problems)))
    if problems:
        sys.exit(1)


def _listed(session: Mapping[str, Any]) -> str:
    known = flat(session).items()
    return ", ".join(f"{key} {shown.plain(value)}" for key, value in known if key != "epoch")
