"""How does that look beside the paper? Tables and figures from records; no torch, and percent signs nowhere else."""

import html
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from lossbench import NUMERICS, experiments
from lossbench.config import Reproduce
from lossbench.experiments import Cell
from lossbench.files import remove_leftovers
from lossbench.records import Found, Record, all_records, failures, outdated, verify
from lossbench.report.figures import confusions, figure1, figure2, write_drawn
from lossbench.report.page import page, write_text
from lossbench.report.tables import Failed, Filled, write_table

_TITLES = {
    3: "Table 3. Test accuracy (%) on MNIST-type data",
    4: "Table 4. Test accuracy (%) on CIFAR-10",
    5: "Table 5. Test accuracy (%) of LGL-INR for different beta, KMNIST, CNN2C",
}
_QUICK_TITLES = {
    3: "Table 3, quick profile. Test accuracy (%) on digits, not the paper's data",
    4: "Table 4, quick profile. Test accuracy (%) on digits with crop and flip, not the paper's data",
    5: "Table 5, quick profile. Test accuracy (%) of LGL-INR for different beta, digits, CNN2C",
}


def profiles_with_records(plan: Reproduce) -> list[str]:
    """The profiles that at least one record belongs to; the paper's where there is none at all."""
    records = _by_cell(all_records(plan.runtime.output_dir, plan.results_dir).records.values())
    present = [
        profile
        for profile in ("paper", "quick")
        if any(cell.key in records for table in experiments.TABLES for cell in experiments.cells(table, profile))
    ]
    return present or ["paper"]


def write_report(profile: str, plan: Reproduce) -> Path:
    """Write the plan's tables, and with Table 3 the figures, from all records at hand; returns their folder.

    Args:
        profile: "paper" or "quick".
        plan: which tables, seeds and selection rule, and where the records are.
    """
    folder = Path(plan.runtime.output_dir) / "report" / profile
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # whoever writes here holds it
        remove_leftovers(folder)
        _write_all(folder, profile, plan)
    return folder


def _write_all(folder: Path, profile: str, plan: Reproduce) -> None:
    found = all_records(plan.runtime.output_dir, plan.results_dir)
    records = _by_cell(found.records.values())
    failed = failures(plan.runtime.output_dir, plan.results_dir)

    def fill(cells: Iterable[Cell]) -> Filled:
        return [(cell, records.get(cell.key, [])) for cell in cells]

    summary, pages = [], []
    for table in plan.tables:
        filled = fill(experiments.cells(table, profile, plan.seeds))
        title = (_TITLES if profile == "paper" else _QUICK_TITLES)[table]
        markdown, body = write_table(folder, table, title, filled, failed, plan.selection)
        summary.append(markdown)
        pages.append(body)
    if 3 in plan.tables:
        filled = fill(experiments.figure_cells(profile))
        write_drawn(folder, figure1(confusions(filled)))
        write_drawn(folder, figure2(filled))
        pages += [
            f'<p><img src="{name}.png" alt="{name}" style="max-width:100%"></p>' for name in ("figure1", "figure2")
        ]
    unused = _unused(found, failed)
    if unused:
        summary.append("Not in any table:\n\n" + "".join(f"- {line}\n" for line in unused))
        items = "".join(f"<li>{html.escape(line)}</li>" for line in unused)
        pages.append(f"<h2>Not in any table</h2>\n<ul>{items}</ul>")
    write_text(folder / "summary.md", "\n".join(summary))
    write_text(folder / "index.html", page(f"lossbench: {profile} profile", "\n".join(pages)))


def _unused(found: Found, failed: Failed) -> list[str]:
    """A sentence for everything that lies there and is in no table."""
    old = outdated(found.records.values())
    by_other = f"{len(old)} runs made under another NUMERICS than {NUMERICS}: {', '.join(old)}"
    return verify(found) + ([by_other] if old else []) + [f"{name} failed: {why}" for name, why in failed.items()]


def _by_cell(records: Iterable[Record]) -> dict[str, list[Record]]:
    grouped: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: int(record.fields["config"]["seed"])):
        grouped.setdefault(experiments.cell_key(record.fields), []).append(record)
    return grouped
