"""`lossbench studies`: lists the studies and the progress of their runs."""

from typing import Any

import click

from lossbench.cli.parameters import JSON, OUTPUT_DIR, RESULTS_DIR
from lossbench.cli.printing import print_json, print_table


@click.command()
@RESULTS_DIR
@OUTPUT_DIR
@JSON
def studies(results_dir: str, output_dir: str, as_json: bool) -> None:
    """List the studies.

    For each: its question, where its rules are written, and how many of its planned runs have finished or diverged.
    """
    from lossbench.studies.results import known_results
    from lossbench.studies.study import studies as registered

    results, found = known_results(output_dir, results_dir), []
    for study in registered():
        names = {results.name(config) for _, configs in study.planned(results) for config in configs}
        counts: dict[str, Any] = {"planned": len(names), "finished": len(names & results.records.keys())}
        counts["diverged"] = len(names & results.diverged)
        found.append({"study": study.name} | counts | {"rules": study.rules, "title": study.title})
    if as_json:
        print_json(found)
    else:
        head = list(found[0])
        rows = [[str(value) for value in line.values()] for line in found]
        print_table(head, rows, right=("planned", "finished", "diverged"))
