"""`lossbench reproduce`: trains the missing runs of the paper's tables, then writes tables and figures."""

import sys
from collections.abc import Sequence

from lossbench.cli import shown
from lossbench.cli.hydra_main import hydra_main, one_plan
from lossbench.cli.printing import say_summary
from lossbench.config.run import Config, run_id
from lossbench.studies.options import Profile, Reproduce
from lossbench.system.screen import say


def reproduce() -> None:
    """`scripts/reproduce.py`: train missing runs of the paper's tables, then write them."""
    hydra_main("reproduce", _reproduce, "reproduce")


def _reproduce(composed: Reproduce | list[Reproduce]) -> None:
    plan = one_plan(composed)
    profile, why = _choose_profile(plan)

    from lossbench.runs.records import all_records
    from lossbench.studies.aaai20 import grid, report, table1
    from lossbench.sweep import run_all as sweep
    from lossbench.sweep.cost import flops

    configs = grid.configs(plan.tables, profile, plan.seeds, plan.runtime)
    committed = set(all_records(plan.runtime.output_dir, plan.results_dir).records)
    todo = sweep.remaining(configs, committed)
    cost = ", ".join(filter(None, [shown.flops(sum(map(flops, todo))), _hours(plan, todo)]))
    other = "quick" if profile == "paper" else "paper"
    say(
        f"profile {profile} ({why}): {len(todo)} of {len(configs)} runs to do, {cost}; "
        f"PROFILE={other} selects the other"
    )
    if plan.dry:
        for config in todo:
            print(f"  {run_id(config)}  {shown.flops(flops(config))}")
        return
    summary = sweep.run_all(configs, committed)
    say_summary(summary)
    if profile == "paper" and table1.load(plan.runtime.output_dir, plan.results_dir) is None:
        say("simulating Table 1, about a minute")
        table1.write(table1.simulate(), plan.runtime.output_dir)
    folder = report.write_report(profile, plan)
    print((folder / "summary.md").read_text())
    print(f"tables and figures: {folder}")
    if summary.failed:
        sys.exit(1)
    if profile == "quick":
        print(
            "These are not the paper's tables: the quick profile trains the same networks and losses briefly, on small "
            "digits. For the paper's tables: make reproduce-tables PROFILE=paper (a GPU is advised)."
        )


def _hours(plan: Reproduce, todo: Sequence[Config]) -> str:
    import torch

    from lossbench.runs.records import all_records
    from lossbench.sweep import hours

    device = "cuda" if torch.cuda.is_available() and plan.runtime.device != "cpu" else "cpu"
    known = hours.rates(all_records(plan.runtime.output_dir, plan.results_dir).records.values())
    return hours.in_words(todo, known, device)


def _choose_profile(plan: Reproduce) -> tuple[str, str]:
    if plan.profile is not Profile.auto:
        return plan.profile.value, "as chosen"
    import torch

    if torch.cuda.is_available() and plan.runtime.device != "cpu":
        return "paper", f"a GPU is present, {torch.cuda.get_device_name()}"
    return "quick", "no GPU is present"
