"""`lossbench plan`: what runs would cost on some machines, before any of them is done."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from lossbench.cli.parameters import JSON
from lossbench.cli.planned import Planned, planned, share_left
from lossbench.cli.printing import echo, num_runs, print_json, print_table
from lossbench.config.run import Config

COMMANDS = ("train", "reproduce", "reference", "compare")

USUAL = ("here", "h100")
"""What is planned for unless --on says otherwise."""

FEW_BLOCKS = 8
"""Of more blocks of runs, those that are done are counted alone."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, metavar="[train|reproduce|reference|compare] [ARGS]...")
@click.option("--on", multiple=True, metavar="MACHINE", help="here, cpu, a GPU such as h100, or a processor's name.")
@click.option("--nodes", type=click.IntRange(1), default=1, show_default=True, help="Machines, all but here.")
@click.option("--gpus-per-node", type=click.IntRange(1), default=1, show_default=True, help="GPUs of each.")
@click.option("--cores-per-node", type=click.IntRange(1), help="Cores of each; without it those of this machine.")
@click.option("--runs-per-gpu", type=click.IntRange(1), help="Runs at a time on a GPU; else runtime.runs_per_gpu.")
@click.option(
    "--watts-per-core", type=click.FloatRange(0, min_open=True), help="W of a core with its share of the rest; else 8."
)
@click.option(
    "--gpu-load",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of its board power that a GPU draws; else 0.5.",
)
@click.option("--measure", is_flag=True, help="Time a training step of each kind of run here first, seconds each.")
@click.option("--check", is_flag=True, help="How wrong such estimates are for the measured runs; plan nothing.")
@JSON
def plan(words: Sequence[str], on: Sequence[str], as_json: bool, check: bool, **given: Any) -> None:
    """Say what runs would cost, and do none.

    ARGS are those of the command, with -m for a sweep. For each machine a table has the runs to do, core-hours or
    GPU-hours, hours on the clock with as many runs at a time as it takes, and energy. Runs that are done already are
    left out, and of begun ones their finished epochs.

    \b
    lossbench plan -m dataset=kmnist loss=sml,lgl seed=0,1,2
    lossbench plan compare loss=focal,sml dataset=kmnist --on here --on rtx4090
    lossbench plan reference --on cpu --nodes 4 --cores-per-node 64
    lossbench plan reproduce profile=paper --on h100 --nodes 2 --gpus-per-node 4

    Times come from measured runs, own and committed, as near to a run as there are any; the lines below the table say
    which. No run has been measured on a GPU so far: those times come from data sheets and may be wrong by a factor
    of 3 either way.
    """
    if check:
        _check(as_json)
        return
    command, words = (words[0], words[1:]) if words and words[0] in COMMANDS else ("train", words)
    machines = [one.strip() for word in on or USUAL for one in word.split(",")]
    found = planned(command, words, _for_gpu(machines))
    if found is not None:
        _plan(found, machines, as_json, **given)


def _for_gpu(machines: Sequence[str]) -> bool | None:
    """Whether a plan that differs with a GPU is made for one; None: as this machine has it."""
    if "here" in machines:
        return None
    return not all(one == "cpu" for one in machines)


def _plan(
    found: Planned,
    machines: Sequence[str],
    as_json: bool,
    *,
    measure: bool,
    watts_per_core: float | None,
    gpu_load: float | None,
    **sizes: Any,
) -> None:
    from lossbench.sweep.estimate import Estimates
    from lossbench.sweep.plan import GPU_LOAD, WATTS_PER_CORE, Power, Todo, cost
    from lossbench.sweep.targets import Fleet, target_of

    power = Power(watts_per_core or WATTS_PER_CORE, gpu_load or GPU_LOAD)
    sizes["runs_per_gpu"] = sizes["runs_per_gpu"] or found.runtime.runs_per_gpu
    fleet = Fleet(**sizes)
    targets = [target_of(one, fleet, found.runtime, found.records.values()) for one in machines]
    blocks = [[Todo(config, share_left(config)) for config in block.todo] for block in found.blocks]
    if measure:
        probed = _measured([todo.config for block in blocks for todo in block])
        kind = target_of("here", fleet, found.runtime, ()).place.machine.kind
        own = [one.word in ("here", "cpu") and one.place.machine.kind == kind for one in targets]
        probing = zip(targets, own, strict=True)
        targets = [replace(one, place=replace(one.place, probed=probed)) if mine else one for one, mine in probing]
    known = Estimates.from_records(found.records.values())
    costs = {one.word: (one, cost(blocks, one, known, power)) for one in targets}
    if as_json:
        print_json(_facts(found, blocks, costs, power))
        return
    _say_runs(found, blocks)
    if any(blocks):
        _print(costs, power)
    for note in found.notes:
        echo(note)


def _measured(configs: Sequence[Config]) -> Mapping[str, float]:
    """Measured over counted time of a training step, by kind of run; one run of each kind is tried."""
    from lossbench.sweep.estimate import probe_key
    from lossbench.sweep.probe import step_ratio

    one_each = {probe_key(config): config for config in configs}
    for config in one_each.values():
        echo(f"measuring a step of {config.model.name} with {config.loss.name}", err=True)
    return {key: step_ratio(config) for key, config in one_each.items()}


def _say_runs(found: Planned, blocks: Sequence[Sequence[Any]]) -> None:
    """The numbers of runs: in all, done, begun and to do; by block where there are several."""
    rows = []
    for block, todo in zip(found.blocks, blocks, strict=True):
        rows.append((block.title, len(block.configs), len(block.finished), len(block.diverged), todo))
    shown = rows if len(rows) <= FEW_BLOCKS else [row for row in rows if row[-1]]
    for title, count, finished, diverged, todo in shown:
        begun = sum(one.share < 1 for one in todo)
        parts = [f"{finished} finished", f"{diverged} diverged, which is a result" if diverged else ""]
        parts += [f"{len(todo)} to do" + (f", {begun} of them begun" if begun else "")]
        echo(f"{f'{title}: ' if title else ''}{num_runs(count)}: {', '.join(filter(None, parts))}")
    if len(shown) < len(rows):
        echo(f"{len(rows) - len(shown)} further blocks of runs are done")
    if len(rows) > 1:
        echo(f"in all {num_runs(sum(row[1] for row in rows))}: {sum(len(row[4]) for row in rows)} to do")


def _print(costs: Mapping[str, Any], power: Any) -> None:
    from lossbench.sweep.plan import two_figures

    head = ["machine", "runs", "at a time", "device hours", "hours", "kWh", "within a factor of"]
    rows, lines = [], []
    for word, (target, cost) in costs.items():
        unit = "GPU-hours" if target.is_gpu else "core-hours"
        spent = [f"{two_figures(cost.device_hours)} {unit}", two_figures(cost.wall_hours), two_figures(cost.kwh)]
        named = [_named(word, target), str(len(cost.estimates)), at_a_time(target, cost)]
        rows.append([*named, *spent, f"{cost.factor:.1f}"])
        label = word if word in ("here", "cpu") else target.place.device_name or target.place.machine.name
        lines += _basis(label, target, cost)
    print_table(head, rows, right=head[1:])
    echo("")
    for line in lines:
        echo(line)
    if any(one.num_runs for _, cost in costs.values() for one in cost.estimates):
        echo(_how_sure())
    for is_gpu, sentence in _energy(power).items():
        if any(target.is_gpu == is_gpu for target, _ in costs.values()):
            echo(sentence)


def at_a_time(target: Any, cost: Any) -> str:
    """Runs at a time and threads of each; some blocks have more runs at a time, others more threads."""
    if cost.threads == 1:
        return str(cost.parallel)
    if cost.parallel * cost.threads <= target.nodes * target.devices:
        return f"{cost.parallel} x {cost.threads} threads"
    return f"{cost.parallel}, or {cost.threads} threads"


def _how_sure() -> str:
    from lossbench.sweep.estimate import NETWORK, USUAL_FACTOR

    return (
        "of the runs in results/, estimated without those of their network, data set and loss, half are within a "
        f"factor of {USUAL_FACTOR:g} and 90 % within {NETWORK.factor:g}: lossbench plan --check"
    )


def _energy(power: Any) -> dict[bool, str]:
    return {
        False: f"energy of a processor: {power.watts_per_core:g} W a core with its share of the rest, an assumption",
        True: f"energy of a GPU: {100 * power.gpu_load:g} % of its board power and {power.watts_per_core:g} W for each "
        "run's core, an assumption",
    }


def _named(word: str, target: Any) -> str:
    name = target.place.device_name or target.place.machine.name
    many = f"{target.nodes} x " if target.nodes > 1 else ""
    shown = f"{word}, {name}" if word in ("here", "cpu") else name
    return f"{shown}, {many}{target.devices} {'GPU' if target.is_gpu else 'core'}{'s' if target.devices > 1 else ''}"


def _basis(label: str, target: Any, cost: Any) -> list[str]:
    """Sentences on what a machine's times are estimated from."""
    from lossbench.sweep.estimate import COUNTED, PROBED

    lines, machine = [], target.place.machine
    kinds = Counter((one.level.words, one.is_other_machine, one.num_runs) for one in cost.estimates)
    levels: dict[tuple[str, bool], list[int]] = {}
    for (words, is_other, num), count in kinds.items():
        levels.setdefault((words, is_other), []).extend([num] * count)
    for (words, is_other), nums in sorted(levels.items(), key=lambda item: -len(item[1])):
        runs = num_runs(len(nums))
        if words == COUNTED.words:
            source = f"from {machine.source}, not measured" if target.is_gpu else "from the rates of a usual core"
            lines.append(f"{label}: {runs} {source}; expect a factor of {COUNTED.factor:g} either way")
        elif words == PROBED.words:
            lines.append(f"{label}: {runs} from {words}")
        else:
            known = f"{min(nums)}" if len(set(nums)) == 1 else f"{min(nums)} to {max(nums)}"
            where = ", on other machines alone" if is_other else ""
            lines.append(f"{label}: {runs} from {known} measured with {words}{where}")
    if cost.num_impossible:
        lines.append(f"{label}: {num_runs(cost.num_impossible)} in tf32 left out, which needs a GPU")
    if target.is_gpu and target.runs_per_gpu > 1:
        lines.append(f"{label}: {target.runs_per_gpu} runs on a GPU are assumed to take turns in its work")
    return lines


def _facts(found: Planned, blocks: Sequence[Sequence[Any]], costs: Mapping[str, Any], power: Any) -> dict[str, Any]:
    """What --json prints."""
    todo = [one for block in blocks for one in block]
    runs = {
        "planned": sum(len(block.configs) for block in found.blocks),
        "finished": sum(len(block.finished) for block in found.blocks),
        "diverged": sum(len(block.diverged) for block in found.blocks),
        "begun": sum(one.share < 1 for one in todo),
        "to_do": len(todo),
    }
    machines = [
        {
            "machine": word,
            "name": target.place.device_name or target.place.machine.name,
            "device": target.place.machine.kind,
            "nodes": target.nodes,
            "devices_per_node": target.devices,
            "runs": len(cost.estimates),
            "runs_left_out": cost.num_impossible,
            "parallel": cost.parallel,
            "threads": cost.threads,
            "device_hours": cost.device_hours,
            "wall_hours": cost.wall_hours,
            "kwh": cost.kwh,
            "factor": cost.factor,
            "estimated_from": dict(Counter(one.level.words for one in cost.estimates)),
        }
        for word, (target, cost) in costs.items()
    ]
    assumed = {"watts_per_core": power.watts_per_core, "gpu_load": power.gpu_load}
    return {"command": found.command, "runs": runs, "machines": machines, "assumed": assumed, "notes": found.notes}


def _check(as_json: bool) -> None:
    from lossbench.runs.records import all_records
    from lossbench.sweep.estimate_check import errors
    from lossbench.system import shipped

    found = errors(record.fields for record in all_records("outputs", shipped.RESULTS).records.values())
    if as_json:
        print_json([vars(one) for one in found])
        return
    digits = "{:.2f}".format
    head = [
        "estimated without",
        "runs",
        "median factor",
        "90 % within",
        "measured / estimated",
        "kinds",
        "median",
        "90 %",
    ]
    rows = [
        [
            *(one.left_out, str(one.num_runs), *map(digits, (one.median, one.most, one.bias))),
            *(str(one.num_kinds), *map(digits, (one.median_of_kinds, one.most_of_kinds))),
        ]
        for one in found
    ]
    print_table(head, rows, right=head[1:])
