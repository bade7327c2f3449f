"""How does that look beside the paper? Tables and figures from records; no torch, and percent signs nowhere else."""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from lossbench import NUMERICS, experiments
from lossbench.config import Reproduce, Selection, run_id
from lossbench.experiments import Cell
from lossbench.files import remove_leftovers, write_atomically, write_bytes
from lossbench.records import Found, Record, all_records, outdated, verify
from lossbench.runs import all_runs

MISSING = "missing"
COLORS = {"LGL": "#4477aa", "SML": "#ee6677", "LGL-INR": "#228833"}

Filled = list[tuple[Cell, list[Record]]]
"""Cells with the finished runs that fill them, by seed."""

Failed = Mapping[str, str]
"""Why runs failed, by name."""

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
_TEX = str.maketrans({letter: f"\\{letter}" for letter in "%_#&{}$"})
_TEX |= str.maketrans({"±": r"$\pm$", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"})
_ROW_NAMES = {1: ["Loss"], 2: ["Network", "Loss"]}


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
    failed = {
        run.id: reason
        for run in all_runs(plan.runtime.output_dir)
        if run.id not in found.records and (reason := run.failure()) is not None
    }

    def fill(cells: Iterable[Cell]) -> Filled:
        return [(cell, records.get(cell.key, [])) for cell in cells]

    summary, pages = [], []
    for table in plan.tables:
        filled = fill(experiments.cells(table, profile, plan.seeds))
        title = (_TITLES if profile == "paper" else _QUICK_TITLES)[table]
        markdown, page = _write_table(folder, table, title, filled, failed, plan.selection)
        summary.append(markdown)
        pages.append(page)
    if 3 in plan.tables:
        filled = fill(experiments.figure_cells(profile))
        _write_figure1(folder, filled)
        _write_figure2(folder, filled)
        pages += [
            f'<p><img src="{name}.png" alt="{name}" style="max-width:100%"></p>' for name in ("figure1", "figure2")
        ]
    unused = _unused(found, failed)
    if unused:
        summary.append("Not in any table:\n\n" + "".join(f"- {line}\n" for line in unused))
        items = "".join(f"<li>{html.escape(line)}</li>" for line in unused)
        pages.append(f"<h2>Not in any table</h2>\n<ul>{items}</ul>")
    _write_text(folder / "summary.md", "\n".join(summary))
    _write_text(folder / "index.html", _page(f"lossbench: {profile} profile", "\n".join(pages)))


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


def _percents(records: Sequence[Record], selection: Selection) -> list[float]:
    name = "test_accuracy" if selection is Selection.last else "test_accuracy_best"
    return [100 * float(record.fields[name]) for record in records]


def _num_failed(cell: Cell, failed: Failed) -> int:
    return sum(run_id(config) in failed for config in cell.configs)


def _rows(filled: Filled, failed: Failed, selection: Selection) -> pd.DataFrame:
    """One line a cell: labels, mean, sd (ddof 1) and n, the paper's number, and what the runs were done on."""
    lines = []
    for cell, records in filled:
        values = _percents(records, selection)
        lines.append(
            {
                "row": cell.row,
                "column": cell.column,
                "mean": np.mean(values) if values else np.nan,
                "sd": np.std(values, ddof=1) if len(values) > 1 else np.nan,
                "n": len(values),
                "n_wanted": len(cell.configs),
                "n_failed": _num_failed(cell, failed),
                "paper": np.nan if cell.paper is None else cell.paper,
                "difference": np.nan if cell.paper is None or not values else np.mean(values) - cell.paper,
                "epoch": selection.value,
                "seeds": _distinct(record.fields["config"]["seed"] for record in records),
                "device": _distinct(record.fields["device_name"] for record in records),
                "precision": _distinct(record.fields["precision"] for record in records),
                "runs": _distinct(record.id for record in records),
            }
        )
    return pd.DataFrame(lines)


def _distinct(values: Iterable[Any]) -> str:
    return " ".join(dict.fromkeys(_plain(value) for value in values))


def _plain(value: object) -> str:
    """Text on one line, as tables and captions need it, without what cannot be printed."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value)).strip()


def _entry(cell: Cell, records: Sequence[Record], failed: Failed, selection: Selection) -> str:
    """A cell's text: mean, standard deviation, n ("n of wanted" while runs are missing), failed runs, mixed devices."""
    values, wanted, num_failed = _percents(records, selection), len(cell.configs), _num_failed(cell, failed)
    if not values:
        return f"failed ({num_failed} of {wanted})" if num_failed else MISSING
    spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    notes = [f"n={len(values)}" if len(values) >= wanted else f"n={len(values)} of {wanted}"]
    if num_failed:
        notes.append(f"{num_failed} failed")
    devices = dict.fromkeys(_plain(record.fields["device"]) for record in records)
    if len(devices) > 1:
        notes.append(" and ".join(devices))
    return f"{np.mean(values):.2f}{spread} ({', '.join(notes)})"


def _caption(title: str, filled: Filled, selection: Selection) -> str:
    records = [record.fields for _, found in filled for record in found]
    rule = "last epoch" if selection is Selection.last else "best epoch, selected on the test set"
    text = f"{title}: {rule}; mean ± standard deviation (ddof 1) over seeds, n runs"
    if any(cell.paper is not None for cell, _ in filled):
        text += ", beside the paper's single number"
    if any(cell.rows[0] == experiments.LITERAL_HEAD for cell, _ in filled):
        text += f"; {experiments.LITERAL_HEAD} is the head as printed, CNN2C has 800-500-10"
    if not records:
        return f"{text}. No runs yet."

    def distinct(name: str) -> str:
        return ", ".join(dict.fromkeys(_plain(record[name]) for record in records))

    torch_versions = ", ".join(dict.fromkeys(_plain(record["versions"]["torch"]) for record in records))
    commits = ", ".join(dict.fromkeys(_short(record["commit"]) for record in records))
    return (
        f"{text}. Device {distinct('device')} ({distinct('device_name')}), precision {distinct('precision')}, "
        f"torch {torch_versions}, commit {commits}."
    )


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    return _plain(commit[:10]) + ("-dirty" if commit.endswith("-dirty") else "")


def _write_table(
    folder: Path, table: int, title: str, filled: Filled, failed: Failed, selection: Selection
) -> tuple[str, str]:
    """Write a table in its four forms; returns the Markdown and the HTML."""
    caption = _caption(title, filled, selection)
    frame, rows = _frame(filled, failed, selection), _rows(filled, failed, selection)
    write_atomically(folder / f"table{table}.csv", lambda file: rows.to_csv(file, index=False))
    flat = frame.reset_index().map(lambda entry: entry.replace("|", r"\|") if isinstance(entry, str) else entry)
    markdown = f"{caption}\n\n{flat.to_markdown(index=False, disable_numparse=True)}\n"
    _write_text(folder / f"table{table}.md", markdown)
    body = _html_table(frame, caption)
    _write_text(folder / f"table{table}.html", _page(title, body))
    escaped = frame.rename(columns=_tex).map(_tex)
    latex = escaped.style.to_latex(hrules=True, clines="skip-last;data", caption=_tex(caption), label=f"tab:{table}")
    _write_text(folder / f"table{table}.tex", latex)
    return markdown, body


def _frame(filled: Filled, failed: Failed, selection: Selection) -> pd.DataFrame:
    """The table in the paper's form; every column of ours is followed by the paper's, where it has one."""
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    for cell, records in filled:
        line = cells.setdefault(cell.rows, {})
        line[cell.column] = _entry(cell, records, failed, selection)
        if cell.paper is not None:
            line[f"{cell.column} (paper)"] = f"{cell.paper:.2f}"
    depth = len(next(iter(cells)))
    names = [""] if filled[0][0].table == 5 else _ROW_NAMES[depth]
    index = pd.MultiIndex.from_tuples(list(cells), names=names)
    if depth == 1:
        index = pd.Index([rows[0] for rows in cells], name=names[0])  # type: ignore[assignment]
    return pd.DataFrame(list(cells.values()), index=index)


def _html_table(frame: pd.DataFrame, caption: str) -> str:
    with pd.option_context("display.max_colwidth", None):  # else a long entry ends in dots
        text = frame.reset_index().to_html(index=False, border=0, classes="table")
    return text.replace("<thead>", f"<caption>{html.escape(caption)}</caption>\n  <thead>", 1)


def _page(title: str, body: str) -> str:
    style = (
        "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse;margin:2em 0}"
        "caption{caption-side:bottom;text-align:left;color:#555;padding:.5em 0}"
        "th,td{padding:.3em .8em;text-align:left;border-bottom:1px solid #ddd}thead th{border-bottom:2px solid #222}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style></head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _tex(text: object) -> str:
    return str(text).translate(_TEX)


def _write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode(errors="backslashreplace"))  # a folder's name need not be text


def _save(figure: Any, folder: Path, name: str) -> None:
    write_atomically(folder / f"{name}.png", lambda file: figure.savefig(file, format="png", dpi=150))
    write_atomically(
        folder / f"{name}.pdf", lambda file: figure.savefig(file, format="pdf", metadata={"CreationDate": None})
    )


def _write_figure1(folder: Path, filled: Filled) -> None:
    """Confusion matrices on KMNIST (quick: digits) as the paper's Figure 1: counts, averaged over the seeds."""
    from matplotlib.figure import Figure

    chosen = [(cell, found) for cell, found in filled if cell.dataset in ("KMNIST", "digits")]
    figure = Figure(figsize=(5.4 * len(chosen), 6.2), layout="constrained")
    lines = []
    for axes, (cell, records) in zip(figure.subplots(1, len(chosen)), chosen, strict=True):
        matrices = [matrix for record in records if (matrix := _confusion(record)) is not None]
        axes.set_title(f"{cell.loss}, n={len(matrices)}")
        if not matrices:
            axes.text(0.5, 0.5, MISSING, ha="center", transform=axes.transAxes)
            axes.set_axis_off()
            continue
        mean = np.mean(matrices, axis=0)
        paper = experiments.paper_confusions().get(cell.loss, {}) if cell.dataset == "KMNIST" else {}
        _draw_confusion(axes, mean, paper)
        lines += [
            {
                "loss": cell.loss,
                "true": row,
                "predicted": column,
                "mean": value,
                "n": len(matrices),
                "paper": paper.get((row, column)),
            }
            for (row, column), value in np.ndenumerate(mean)
        ]
    dataset = chosen[0][0].dataset
    figure.suptitle(f"Figure 1. Confusion matrices on {dataset} test images, CNN2C, last epoch, mean over n seeds")
    _save(figure, folder, "figure1")
    table = pd.DataFrame(lines, columns=["loss", "true", "predicted", "mean", "n", "paper"])
    write_atomically(folder / "figure1.csv", lambda file: table.to_csv(file, index=False))


def _confusion(record: Record) -> np.ndarray | None:
    try:
        arrays = record.arrays()
    except ValueError:  # listed among what is in no table
        return None
    return None if arrays is None else arrays["confusion_matrix"]


def _draw_confusion(axes: Any, mean: np.ndarray, paper: Mapping[tuple[int, int], int]) -> None:
    num_classes = len(mean)
    shares = mean / mean.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares**0.4, cmap="Blues", vmin=0, vmax=1)  # the root makes the rare errors visible
    said = [
        f"{row} as {column}: {mean[row, column]:.1f} (paper {count})"
        for (row, column), count in paper.items()
        if max(row, column) < num_classes
    ]
    axes.set(xticks=range(num_classes), yticks=range(num_classes), ylabel="true class")
    axes.set_xlabel("\n".join(["predicted class", *(["; ".join(said)] if said else [])]))
    for (row, column), value in np.ndenumerate(mean):
        color = "white" if shares[row, column] > 0.3 else "black" if value >= 0.5 else "#bbbbbb"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)


def _write_figure2(folder: Path, filled: Filled) -> None:
    """Accuracy curves as the paper's Figure 2, of test and training images, for every data set."""
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(cell.dataset for cell, _ in filled))
    figure = Figure(figsize=(max(7.2, 4.6 * len(datasets) + 0.4), 7.2), layout="constrained")
    grid = figure.subplots(2, len(datasets), squeeze=False, sharex=True)
    lines = []
    for (row, split), (column, dataset) in ((r, c) for r in enumerate(("test", "train")) for c in enumerate(datasets)):
        axes, late = grid[row, column], []
        for cell, records in ((cell, found) for cell, found in filled if cell.dataset == dataset):
            curves = 100 * np.array([record.fields["curves"][f"{split}/accuracy"] for record in records])
            if not len(curves):
                axes.plot([], [], color=COLORS[cell.loss], label=f"{cell.loss}, {MISSING}")
                continue
            epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
            axes.plot(epochs, mean, color=COLORS[cell.loss], label=f"{cell.loss}, n={len(curves)}")
            axes.fill_between(epochs, curves.min(axis=0), curves.max(axis=0), color=COLORS[cell.loss], alpha=0.2, lw=0)
            if cell.paper is not None and split == "test":
                axes.axhline(cell.paper, color=COLORS[cell.loss], ls=":", lw=1)
            late.append(curves[:, curves.shape[1] // 10 :].min())  # the first steep epochs may lie below
            lines += [
                {"split": split, "dataset": dataset, "loss": cell.loss, "epoch": epoch, "mean": value, "n": len(curves)}
                for epoch, value in zip(epochs, mean, strict=True)
            ]
        if late:
            axes.set_ylim(bottom=max(0.0, min(late) - 2))
        else:
            axes.set_yticks([])
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(title=f"{dataset}, {split}", ylabel="accuracy (%)" if column == 0 else None)
        axes.set_xlabel("epoch" if row == 1 else "")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="best")
    dotted = "; dotted: the paper's Table 3" if any(cell.paper is not None for cell, _ in filled) else ""
    figure.suptitle(f"Figure 2. Accuracy after each epoch, CNN2C: mean and range over n seeds{dotted}")
    _save(figure, folder, "figure2")
    table = pd.DataFrame(lines, columns=["split", "dataset", "loss", "epoch", "mean", "n"])
    write_atomically(folder / "figure2.csv", lambda file: table.to_csv(file, index=False))
