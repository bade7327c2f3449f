"""The reports of the paper's study, as tables, figures and a page: on the paper, and of the quick profile. No torch."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lossbench import NUMERICS
from lossbench.config.run import run_id
from lossbench.report.blocks import Page, Part, Picture, Table
from lossbench.report.drawing import Gallery
from lossbench.report.files import write_text
from lossbench.report.html import to_html
from lossbench.report.markdown import to_markdown
from lossbench.runs import lease
from lossbench.runs.records import committed_records, merge, outdated, own_records
from lossbench.studies.aaai20 import grid, quick, table1
from lossbench.studies.aaai20.keys import LITERAL
from lossbench.studies.aaai20.paper_page import BEYOND, Drawn, beside_the_paper, paper_page
from lossbench.studies.aaai20.second_verdicts import SecondRound
from lossbench.studies.aaai20.sections import context
from lossbench.studies.aaai20.sections.figures import confusions, figure1, figure1_classes, figure2
from lossbench.studies.aaai20.sections.first_screen import sentences
from lossbench.studies.aaai20.sections.without_arrays import all_without
from lossbench.studies.aaai20.table1 import Simulations
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Cell, cell_key
from lossbench.studies.options import Reproduce
from lossbench.studies.results import Results, known_results
from lossbench.studies.tables import Filled, write_forms, write_table
from lossbench.system.files import remove_leftovers

_TITLES = {
    3: "Table 3. Test accuracy (%) on MNIST-type data",
    4: "Table 4. Test accuracy (%) on CIFAR-10",
    5: "Table 5. Test accuracy (%) of LGL-INR for different beta, KMNIST, CNN2C",
}


def profiles_with_records(plan: Reproduce) -> list[str]:
    """The profiles that at least one record belongs to."""
    names = {
        profile: {
            run_id(config)
            for table in grid.TABLES
            for cell in grid.cells(table, profile, plan.seeds)
            for config in cell.configs
        }
        for profile in ("paper", "quick")
    }
    wanted = frozenset().union(*names.values())  # of many own runs, only those that may belong to a profile are read
    records = merge(own_records(plan.runtime.output_dir, wanted), committed_records(plan.results_dir)).records
    return [profile for profile, those in names.items() if not those.isdisjoint(records)]


def write_report(profile: str, plan: Reproduce) -> Path:
    """Write the plan's tables, with Table 3 the figures, and the page, from all known runs; returns the folder.

    Args:
        profile: "paper" or "quick".
        plan: which tables, seeds and selection rule, and where the records are.
    """
    folder = Path(plan.runtime.output_dir) / "report" / profile
    folder.mkdir(parents=True, exist_ok=True)
    with lease.awaited(folder):
        remove_leftovers(folder)
        _write_all(folder, profile, plan)
    return folder


def _write_all(folder: Path, profile: str, plan: Reproduce) -> None:
    results = known_results(plan.runtime.output_dir, plan.results_dir)
    if profile == "quick":
        results = quick.of_the_profile(results, plan.seeds)

    def fill(cells: Iterable[Cell]) -> Filled:
        return [(cell, [one for config in cell.configs if (one := results.record(config))]) for cell in cells]

    tables: dict[int, Table] = {}
    summary, used = [], []
    for number in plan.tables:
        filled = fill(grid.cells(number, profile, plan.seeds))
        title = (_TITLES if profile == "paper" else quick.TITLES)[number]
        markdown, tables[number] = write_table(
            folder, number, title, filled, results.failed, plan.selection, _note(filled, profile)
        )
        summary.append(markdown)
        used += [record.id for _, found in filled for record in found]
    of_classes: list[Picture] = []
    of_curves: list[Picture] = []
    if 3 in plan.tables:
        filled = fill(grid.figure_cells(profile, plan.seeds))
        names = {record.id for _, found in filled for record in found}
        if not all_without(results, names):
            matrices = confusions(filled)
            of_classes = [figure1(matrices), figure1_classes(matrices)]
        of_curves = [figure2(filled)]
    simulations, problems = _simulations(plan) if profile == "paper" else (None, [])
    drawn = Drawn(tables, context.table1(simulations), context.table2(), of_classes, of_curves)
    for number, blocks in ((1, drawn.table1), (2, drawn.table2)):
        for table in (block for block in blocks if isinstance(block, Table)):
            write_forms(folder, number, table.caption.partition(".")[0], table)
    shown = [cell for number in plan.tables for cell in grid.cells(number, profile, plan.seeds)]
    unused = _unused(results) + _other_seeds(results, shown) + problems
    if profile == "paper":
        page = paper_page(results, simulations, drawn, unused)
    else:
        page = quick.page(results, drawn, used, unused)
    gallery = Gallery(folder)
    gallery.write([*of_classes, *of_curves])
    write_text(folder / "index.html", to_html(page, gallery))
    write_text(folder / "report.md", to_markdown(page))
    if unused:
        summary.append("Not in any table:\n\n" + "".join(f"- {line}\n" for line in unused))
    write_text(folder / "summary.md", "\n".join(summary))


def _note(filled: Filled, profile: str) -> str:
    """What a table's caption says of the head as printed, where it has it, and in the quick profile of chance."""
    has_printed = any(cell.rows[0] == grid.LITERAL_HEAD for cell, _ in filled)
    printed = f"{grid.LITERAL_HEAD} is the head as printed, CNN2C has 800-500-10" if has_printed else ""
    return "; ".join(filter(None, [printed, quick.at_chance(filled) if profile == "quick" else ""]))


def overview(results_dir: Path) -> Page:
    """The first screen and the evidence from committed records alone, with the first picture: docs/results.md."""
    results = Results(committed_records(results_dir), {}, [results_dir])
    page = paper_page(results, None, Drawn({}, [], [], [], []), [])
    first, *others = page.parts
    beyond = [_without(part, (Picture, Table)) for part in others if part.title == BEYOND]
    return replace(page, parts=[_without(first, (Picture,)), *beyond])


def _without(part: Part, kinds: tuple[type, ...]) -> Part:
    """A part without some kinds of blocks."""
    texts = [
        replace(section, blocks=[block for block in section.blocks if not isinstance(block, kinds)])
        for section in part.sections
    ]
    return replace(part, sections=texts)


def finding(results_dir: Path) -> str:
    """The finding in three sentences, from committed records alone: the README's."""
    second = SecondRound(Judge(Results(committed_records(results_dir), {}, [results_dir])))
    return " ".join(sentences(second, [one for one in second.judge.cells() if one.key.model != LITERAL]))


def _simulations(plan: Reproduce) -> tuple[Simulations | None, list[str]]:
    try:
        return table1.load(plan.runtime.output_dir, plan.results_dir), []
    except ValueError as error:
        return None, [str(error)]


def _unused(results: Results) -> list[str]:
    """A sentence for each kind of run that is in no table."""
    old = outdated(results.records.values())
    by_other = f"{len(old)} runs made under another NUMERICS than {NUMERICS}: {', '.join(old)}"
    failed = [f"{name} failed: {why}" for name, why in results.failed.items()]
    return results.problems() + ([by_other] if old else []) + failed


def _other_seeds(results: Results, shown: Iterable[Cell]) -> list[str]:
    """A sentence for runs of the tables' cells with seeds that neither the tables nor other planned runs have."""
    cells = {cell.key: cell for cell in shown}
    planned = {results.name(config) for _, configs in beside_the_paper(results) for config in configs}
    theirs = {results.name(config) for cell in cells.values() for config in cell.configs}
    found = [
        record.id
        for record in results.records.values()
        if record.id not in theirs | planned and cell_key(record.fields) in cells
    ]
    runs = "1 run has a seed" if len(found) == 1 else f"{len(found)} runs have seeds"
    return [f"{runs} that the tables do not show (seeds=N shows more): {', '.join(found)}"] if found else []
