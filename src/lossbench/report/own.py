"""The page of one's own runs: table, learning curves, confusion matrices and calibration of any data set and loss."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lossbench.config.naming import PARTS, options_apart, short
from lossbench.config.options import LossConfig
from lossbench.report.blocks import (
    Block,
    Items,
    Paragraph,
    Picture,
    Section,
    Strong,
    plain_page,
)
from lossbench.report.classes import class_names
from lossbench.report.drawing import Gallery
from lossbench.report.files import write_text
from lossbench.report.grouped import Grouped, arranged, block, cell, written
from lossbench.report.html import to_html
from lossbench.report.markdown import to_markdown
from lossbench.report.own_figures import confusion_matrices, learning_curves, reliability
from lossbench.report.style import PALETTE
from lossbench.report.table import table
from lossbench.report.wording import NO_NUMBER, counted
from lossbench.runs import lease
from lossbench.runs.groups import Group, best_of, grouped, keys_of, moments
from lossbench.runs.inspect import Entry
from lossbench.runs.measures import MEASURES, compared_map
from lossbench.runs.records import Record
from lossbench.runs.restored import loss_of
from lossbench.system.files import remove_leftovers, write_bytes

if TYPE_CHECKING:
    from lossbench.statistics.calibration import Calibration

MOST_DRAWN = len(PALETTE)
"""Groups that a figure shows; of more, the best ones."""

MOST_CLASSES = 20
"""Classes up to which a confusion matrix is drawn."""

MOST_PARTS = 6
"""Data sets of which figures are drawn."""

MOST_CELLS = 5000
"""Cells of all confusion matrices of the page."""

MOST_ROWS = 300
"""Rows of a table on the page; of more, the best ones of each data set."""

MOST_BEST = 20
"""Best rows that the beginning of the page names."""

MOST_LINES = 100
"""Lines of the list of runs that failed or are not finished."""

SCORES = ("nll", "brier", "ece", "tempered_nll", "tempered_ece")


@dataclass
class Part:
    """The groups on one data set, best first, with a name each."""

    title: str
    stem: str  # of its pictures' files
    groups: list[tuple[str, Group]] = field(default_factory=list)

    @property
    def drawn(self) -> list[tuple[str, Group]]:
        """Those that figures show."""
        return [pair for pair in self.groups if pair[1].records][:MOST_DRAWN]

    @property
    def heading(self) -> str:
        """The title, and how many groups are left out of the figures."""
        num = sum(bool(group.records) for _, group in self.groups)
        return self.title if num <= MOST_DRAWN else f"{self.title}, the {MOST_DRAWN} best of {num} rows"


def write_own(folder: Path, entries: Sequence[Entry]) -> None:
    """Write the page of some runs, its pictures, and its table as CSV.

    Args:
        folder: where the files go; others of the same names are replaced.
        entries: the runs, one at least.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lease.awaited(folder):
        remove_leftovers(folder)
        groups = grouped(entries)
        arrangement = arranged(groups, MEASURES["accuracy"])
        parts, known = parts_of(groups), _Arrays()
        shown = _best(parts)
        kept = replace(arrangement, lines=[line for line in arrangement.lines if id(line.group) in shown])
        left_out = _left_out(len(groups), len(shown))
        drawn = [part for part in parts if part.drawn][:MOST_PARTS]
        sections = [
            Section("Test accuracy", [block(kept), *left_out]),
            Section("Learning curves", [*map(_curves, drawn), *_not_drawn(parts)]),
            Section("Confusion matrices", _confusions(drawn, known)),
            Section("Calibration", [*_calibrated(drawn, known), *_scores(parts, shown)]),
            Section("What failed or is not finished", _unfinished(entries, known.problems)),
        ]
        sections = [one for one in sections if one.blocks]
        lead = _lead(entries, arrangement)
        page = plain_page("Your runs", lead, sections)
        write_text(folder / "index.html", to_html(page, Gallery(folder)))
        write_text(folder / "report.md", to_markdown(page))
        write_bytes(folder / "table.csv", written(arrangement, "csv").encode())


def parts_of(groups: Sequence[Group]) -> list[Part]:
    """The groups by data set, each named by what tells it from the others on it."""
    keys = keys_of(groups)
    of_data = [key for key in keys if key.partition(".")[0] == "dataset"]
    measure = MEASURES["accuracy"]
    found: dict[str, Part] = {}
    for group in groups:
        if group.dataset not in found:
            words = _named(group, list(dict.fromkeys(["dataset", *of_data])))
            found[group.dataset] = Part(words, f"data{len(found) + 1}")
        found[group.dataset].groups.append(("", group))
    for part in found.values():
        here = keys_of([group for _, group in part.groups]) or ["loss"]
        part.groups = [(_named(group, here), group) for _, group in part.groups]
        part.groups.sort(key=lambda pair: -np.nan_to_num(moments(pair[1].values(measure).values()).mean, nan=-1.0))
    return list(found.values())


def _best(parts: Sequence[Part]) -> frozenset[int]:
    """The ids of the groups that tables on the page show: the best of every data set, then the second ones, and on."""
    ranked = [(rank, id(group)) for part in parts for rank, (_, group) in enumerate(part.groups)]
    return frozenset(known for _, known in sorted(ranked, key=lambda pair: pair[0])[:MOST_ROWS])


def _left_out(num: int, num_shown: int) -> list[Block]:
    if num == num_shown:
        return []
    text = f"{num_shown} of {num:,} rows are shown, the best ones of each data set; table.csv has all."
    return [Paragraph(text)]


def _not_drawn(parts: Sequence[Part]) -> list[Block]:
    others = sum(bool(part.drawn) for part in parts) - MOST_PARTS
    return [Paragraph(f"No figures are drawn of {counted(others, 'more data set')}.")] if others > 0 else []


def _named(group: Group, keys: Sequence[str]) -> str:
    names = short(keys)
    there = [key for key in keys if group.options.get(key) is not None]
    return ", ".join(group.label(key) if key in PARTS else f"{names[key]} {group.label(key)}" for key in there)


def _lead(entries: Sequence[Entry], arrangement: Grouped) -> list[Block]:
    finished = sum(entry.record is not None for entry in entries)
    others: dict[str, int] = {}
    for line in arrangement.lines:
        for word, count in line.group.counts.items():
            others[word] = others.get(word, 0) + count
    counts = [f"{finished} finished", *(f"{count} {word}" for word, count in others.items())]
    best = [
        f"{line.group.label('dataset')}: {_row(arrangement, line.group)}, {cell(line, arrangement.measure)}"
        for line in arrangement.lines
        if line.is_best
    ]
    if more := len(best) - MOST_BEST:
        best = [*best[:MOST_BEST], f"and {more:,} more with the same or of further data sets"] if more > 0 else best
    runs, rows = counted(len(entries), "run"), counted(len(arrangement.lines), "row")
    text = f"{runs} that belong to no study, in {rows}: {', '.join(counts)}."
    blocks: list[Block] = [Paragraph(text)]
    return [*blocks, Paragraph("The best test accuracy (%):"), Items(best)] if best else blocks


def _row(arrangement: Grouped, group: Group) -> str:
    return _named(group, [key for key in arrangement.rows if key != "dataset"] or ["loss"])


def _curves(part: Part) -> Picture:
    def values(group: Group, split: str) -> np.ndarray:
        return np.array([record["curves"][f"{split}/accuracy"] for record in group.records.values()])

    curves = {name: {split: values(group, split) for split in ("test", "train")} for name, group in part.drawn}
    return learning_curves(f"{part.stem}_curves", part.heading, curves)


class _Arrays:
    """The arrays of finished runs, read once; what is damaged is named in `problems`."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._known: dict[str, Mapping[str, np.ndarray] | None] = {}

    def of(self, group: Group, *names: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, np.ndarray]]]:
        """The records and arrays of a group's runs that have all the arrays named."""
        for entry in group.runs.values():
            if entry.record and entry.id not in self._known:
                self._known[entry.id] = self._read(entry.record)
            arrays = self._known.get(entry.id)
            if entry.record and arrays is not None and all(name in arrays for name in names):
                yield entry.record.fields, arrays

    def _read(self, record: Record) -> Mapping[str, np.ndarray] | None:
        try:
            return record.arrays()
        except ValueError as error:
            self.problems.append(str(error))
            return None


def _confusions(parts: Sequence[Part], known: _Arrays) -> list[Block]:
    pictures: list[Block] = []
    num_cells = 0
    for part in parts:
        counts = {
            name: [arrays["confusion_matrix"] for _, arrays in known.of(group, "confusion_matrix")]
            for name, group in part.drawn
        }
        few = {name: np.sum(those, axis=0) for name, those in counts.items() if those and len(those[0]) <= MOST_CLASSES}
        num_cells += sum(matrix.size for matrix in few.values())
        if num_cells > MOST_CELLS:
            return [*pictures, Paragraph("Further confusion matrices are left out of the page; the records have them.")]
        if few:
            classes = _class_names(part.drawn[0][1], len(next(iter(few.values()))))
            pictures.append(confusion_matrices(f"{part.stem}_confusion", part.heading, few, classes))
    return pictures


def _class_names(group: Group, num_classes: int) -> list[str]:
    return list(class_names(str(group.options["dataset"]), num_classes, group.options.get("dataset.classes")))


def _calibrated(parts: Sequence[Part], known: _Arrays) -> list[Block]:
    """Reliability where logits and labels are there."""
    found: list[Block] = []
    for part in parts:
        runs = {
            name: [
                _calibration(record, arrays["test_logits"], arrays["test_labels"])
                for record, arrays in known.of(group, "test_logits", "test_labels")
            ]
            for name, group in part.drawn
        }
        runs = {name: those for name, those in runs.items() if those}
        if runs:
            found.append(reliability(f"{part.stem}_reliability", part.heading, runs))
    return found


def _calibration(record: Mapping[str, Any], logits: np.ndarray, labels: np.ndarray) -> "Calibration":
    """By the map that is compared between losses; by softmax if the loss's own map is not known here."""
    from lossbench.statistics.calibration import calibration, own_map

    name, loss = compared_map(record), loss_of(record)
    own = None
    if name == "own" and isinstance(loss, LossConfig):
        own = own_map(loss, logits.shape[1], record.get("class_counts"))
    return calibration(logits, labels, "softmax" if name == "own" and own is None else name, own)


def _scores(parts: Sequence[Part], shown: Collection[int]) -> list[Block]:
    """The scores in the records, of the groups with the ids in `shown`."""
    groups = [group for part in parts for _, group in part.groups]
    lines: dict[tuple[str, str], dict[str, str]] = {}
    best = {key: dict(zip(map(id, groups), best_of(groups, MEASURES[key]), strict=True)) for key in SCORES}
    for part in parts:
        for name, group in part.groups:
            if id(group) not in shown:
                continue
            texts, num = dict[str, str](), 0
            for key in SCORES:
                measure, known = MEASURES[key], moments(group.values(MEASURES[key]).values())
                text = measure.text(known.mean) if known.n else NO_NUMBER
                text += f" ± {measure.text(known.sd)}" if known.n > 1 else ""
                texts[measure.label] = Strong(text) if best[key][id(group)] else text
                num = max(num, known.n)
            if num:
                lines[part.title, name] = {"n": str(num)} | texts
    if not lines:
        return []
    words = (
        "Scores of the test samples' probabilities, mean ± standard deviation over seeds; bold, the best of each data "
        "set. Of a loss with sigmoids the probabilities are normalised to sum 1. A loss with a map of its own from "
        "logits to probabilities is scored by that, with an NLL of at most 27.6 nats a sample. Tempered: after one "
        "temperature, fitted on one half of the samples and scored on the other."
    )
    return [table(lines, ["Data set", "Row"], words), *_left_out(len(groups), len(shown))]


def _unfinished(entries: Sequence[Entry], problems: Sequence[str]) -> list[Block]:
    others, lines = [entry for entry in entries if not entry.record], []
    words = options_apart({entry.id: entry.options for entry in entries}) if others else {}
    for entry in others[:MOST_LINES]:
        name = f"{entry.id} ({words[entry.id]})" if words else entry.id
        status = "diverged" if entry.divergence else entry.status
        lines.append(f"{name}: {status}, {entry.reason or f'epoch {entry.epoch} of {entry.epochs}'}")
    if more := len(others) - len(lines):
        lines.append(f"and {more:,} more, which lossbench runs --status failed (or stopped, running, damaged) lists")
    texts = [*lines, *dict.fromkeys(problems)]
    return [Items(texts)] if texts else []
