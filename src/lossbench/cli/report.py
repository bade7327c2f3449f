"""`lossbench report`: writes tables and figures from the records; nothing is trained."""

from pathlib import Path

from lossbench.cli.hydra_main import hydra_main, one_plan
from lossbench.cli.printing import say_pages
from lossbench.studies.options import Profile, Reproduce


def report() -> None:
    """`lossbench report`: write tables and figures from the records; nothing is trained."""
    hydra_main("report", _report, "reproduce")


def _report(composed: Reproduce | list[Reproduce]) -> None:
    plan = one_plan(composed)

    from lossbench.runs.inspect import entries, nothing_in
    from lossbench.studies.aaai20 import report

    for sentence in nothing_in(plan.runtime.output_dir, plan.results_dir, ("runtime.output_dir", "results_dir")):
        print(sentence, flush=True)
    runs = [entry for entry in entries(plan.runtime.output_dir) if entry.made_for_no_study]
    named = [plan.profile.value] if plan.profile is not Profile.auto else report.profiles_with_records(plan)
    pages = []
    for profile in named or ([] if runs else ["paper"]):
        pages.append(report.write_report(profile, plan))
        print(f"tables and figures: {pages[-1]}", flush=True)
    if runs:
        from lossbench.report import own

        pages.append(Path(plan.runtime.output_dir) / "report" / "own")
        own.write_own(pages[-1], runs)
        print(f"your own runs: {pages[-1]}", flush=True)
    say_pages(pages)
