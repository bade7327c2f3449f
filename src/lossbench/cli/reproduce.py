"""`lossbench reproduce`: trains the missing runs of the paper's tables, then writes tables and figures."""

import sys
from collections.abc import Sequence

from lossbench.cli import shown
from lossbench.cli.hydra_main import hydra_main, one_plan
from lossbench.cli.launching import launched
from lossbench.cli.printing import elsewhere, say_pages, say_summary
from lossbench.config.run import Config, run_id
from lossbench.engines.options import Launcher
from lossbench.studies.options import Profile, Reproduce
from lossbench.system.screen import say
from lossbench.system.spelling import spelled

WHAT_QUICK_IS = "A check that everything works: the paper's networks and losses, trained briefly on small digits."

NOT_THE_PAPERS = (
    "These numbers are not the paper's. For the paper's tables: lossbench reproduce profile=paper (a GPU is advised)."
)

MOST_SEEDS_IN_MINUTES = 2
"""Seeds per cell up to which the quick profile takes a few minutes."""


def reproduce() -> None:
    """`lossbench reproduce`: train missing runs of the paper's tables, then write them."""
    hydra_main("reproduce", _reproduce, "reproduce", launches=True)


def _reproduce(composed: Reproduce | list[Reproduce], launcher: Launcher) -> None:
    plan = one_plan(composed)
    profile, why = choose_profile(plan)

    from lossbench.runs.records import all_records
    from lossbench.studies.aaai20 import grid, report, table1
    from lossbench.sweep import run_all as sweep
    from lossbench.sweep.cost import flops

    configs = grid.configs(plan.tables, profile, plan.seeds, plan.runtime)
    committed = set(all_records(plan.runtime.output_dir, plan.results_dir).records)
    todo = sweep.remaining(configs, committed)
    cost = "".join(f", {part}" for part in _cost(plan, profile, todo))
    other = "quick" if profile == "paper" else "paper"
    say(f"profile {profile} ({why}): {len(todo)} of {len(configs)} runs to do{cost}; profile={other} selects the other")
    if plan.dry:
        for config in todo:
            print(f"  {run_id(config)}  {shown.flops(flops(config))}")
        if todo:
            print(elsewhere("reproduce"))
        return
    if profile == "quick":
        say(WHAT_QUICK_IS)
    summary = launched(launcher, configs, committed, grid.in_words(plan.tables, profile, plan.seeds))
    if summary is None:
        return
    say_summary(summary)
    if profile == "paper" and table1.load(plan.runtime.output_dir, plan.results_dir) is None:
        say("simulating Table 1, about a minute")
        table1.write(table1.simulate(), plan.runtime.output_dir)
    folder = report.write_report(profile, plan)
    print((folder / "summary.md").read_text(), flush=True)
    if profile == "quick":
        say(NOT_THE_PAPERS)
    say(f"tables and figures: {spelled(folder)}")
    say_pages([folder])
    if summary.failed:
        sys.exit(1)


def _cost(plan: Reproduce, profile: str, todo: Sequence[Config]) -> list[str]:
    """How long the runs to do will take, in words; nothing for no runs."""
    from lossbench.sweep.cost import flops

    if not todo:
        return []
    if profile == "quick" and (plan.seeds or 0) <= MOST_SEEDS_IN_MINUTES:
        return ["a few minutes on two CPU cores"]
    return [*filter(None, [shown.flops(sum(map(flops, todo))), _hours(plan, todo)])]


def _hours(plan: Reproduce, todo: Sequence[Config]) -> str:
    import torch

    from lossbench.runs.records import all_records
    from lossbench.sweep import hours
    from lossbench.sweep.estimate import Estimates

    device = "cuda" if torch.cuda.is_available() and plan.runtime.device != "cpu" else "cpu"
    known = Estimates.from_records(all_records(plan.runtime.output_dir, plan.results_dir).records.values())
    return hours.in_words(todo, known, device)


def choose_profile(plan: Reproduce) -> tuple[str, str]:
    """The profile of a plan, and why it is that one."""
    if plan.profile is not Profile.auto:
        return plan.profile.value, "as chosen"
    import torch

    if torch.cuda.is_available() and plan.runtime.device != "cpu":
        return "paper", f"a GPU is present, {torch.cuda.get_device_name()}"
    return "quick", "no GPU is present"
