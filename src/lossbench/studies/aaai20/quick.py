"""The page of the quick profile: the paper's networks and losses, trained briefly on digits. No torch."""

from collections.abc import Iterable, Sequence

from lossbench import NUMERICS
from lossbench.report.blocks import Items, Page, Paragraph, Section, plain_page
from lossbench.report.wording import enumerated
from lossbench.runs.records import Found
from lossbench.studies import provenance
from lossbench.studies.aaai20 import grid
from lossbench.studies.aaai20.paper_page import Drawn
from lossbench.studies.cells import cell_key
from lossbench.studies.results import Results
from lossbench.studies.tables import Filled

TITLES = {
    3: "Table 3, quick profile. Test accuracy (%) on digits, not the paper's data",
    4: "Table 4, quick profile. Test accuracy (%) on digits with crop and flip, not the paper's data",
    5: "Table 5, quick profile. Test accuracy (%) of LGL-INR for different beta, digits, CNN2C",
}

LEAD = (
    "This page shows that everything works: the paper's networks and losses, trained briefly on small digits.",
    "Its numbers are not the paper's.",
    "For the paper's tables: lossbench report profile=paper (from the records in lossbench), or lossbench reproduce "
    "profile=paper (trains what is missing; a GPU is advised).",
)
"""What the page says first, in three sentences."""

CHANCE = 0.15
"""Accuracy up to which a run is at chance: a tenth, and three standard deviations of 300 test images."""


def of_the_profile(results: Results, seeds: int | None = None) -> Results:
    """The runs of the quick profile alone: its records of any seed, and failures and problems of its planned runs.

    Args:
        results: all known runs.
        seeds: planned runs per cell; None: the profile's number.
    """
    cells = [cell for table in grid.TABLES for cell in grid.cells(table, "quick", seeds)]
    planned = {results.name(config) for cell in cells for config in cell.configs}
    keys = {cell.key for cell in cells}
    records = {
        name: record
        for name, record in results.records.items()
        if cell_key({**record.fields, "numerics": NUMERICS}) in keys
    }
    own = planned | records.keys()
    found = Found(
        records,
        [problem for problem in results.found.problems if problem.run in own],
        {name: one for name, one in results.found.diverged.items() if name in own},
    )
    return Results(found, {name: why for name, why in results.failed.items() if name in own}, results.places)


def at_chance(filled: Filled) -> str:
    """What a table's caption says of cells with a run that has learned nothing; empty where there is none."""
    names = [cell.row for cell, records in filled if any(one.fields["test_accuracy"] <= CHANCE for one in records)]
    if not names:
        return ""
    return f"at chance in some run, with too little training for this loss, so not a result: {enumerated(names)}"


def page(results: Results, drawn: Drawn, used: Iterable[str], unused: Sequence[str]) -> Page:
    """The page, without verdicts, as the runs are not on the paper's data.

    Args:
        results: the runs of the profile.
        drawn: its tables and figures.
        used: names of the tables' runs.
        unused: sentences on runs that are in no table.
    """
    parts = [Section(TITLES[number].partition(",")[0], [table]) for number, table in drawn.tables.items()]
    parts += [Section("Figure 1", drawn.figure1), Section("Figure 2", drawn.figure2)]
    parts.append(Section("What it ran on", provenance.provenance(results, sorted(set(used)))))
    parts.append(Section("Not in any table", [Items(unused)] if unused else []))
    return plain_page("lossbench: quick profile", [Paragraph(" ".join(LEAD))], [part for part in parts if part.blocks])
