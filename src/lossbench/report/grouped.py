"""Groups of runs as a table: for a page, a terminal, a document, or with all digits for a program."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lossbench.config.naming import PARTS, in_order, short
from lossbench.report.blocks import Strong, Table, plain_page
from lossbench.report.html import to_html
from lossbench.report.latex import to_latex
from lossbench.report.markdown import blocks_to_markdown
from lossbench.report.wording import NO_NUMBER, enumerated, plain, probability, short_commit
from lossbench.runs.choose import Choice, order_of
from lossbench.runs.groups import NUMERICS_KEY, Beside, Group, Moments, beside, best_of, keys_of, moments
from lossbench.runs.measures import Measure
from lossbench.system.spelling import csv_cell

TITLES = {"dataset": "Data set", "model": "Network", "loss": "Loss", NUMERICS_KEY: "NUMERICS"}


@dataclass(frozen=True)
class Line:
    """A group in a table."""

    group: Group
    moments: Moments
    is_best: bool
    beside: Beside | None


@dataclass(frozen=True)
class Grouped:
    """A table of groups, not yet written out.

    Args:
        lines: the groups.
        measure: what is shown of them.
        rows: the options that name a row, outermost first.
        columns: those that name a column; empty: there is one.
        baseline: what the differences are to; empty: none are shown.
    """

    lines: Sequence[Line]
    measure: Measure
    rows: Sequence[str]
    columns: Sequence[str]
    baseline: Sequence[Choice]

    @property
    def title(self) -> str:
        """As a file or a page is called."""
        return self.measure.label


def arranged(
    groups: Sequence[Group],
    measure: Measure,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    baseline: Sequence[Choice] = (),
) -> Grouped:
    """A table of groups; every option that tells groups apart names its rows or its columns.

    Args:
        groups: the groups.
        measure: what is shown of them.
        rows: options that name a row first; those not named follow.
        columns: options that name a column.
        baseline: what differences are to.

    Raises:
        ValueError: no group fits the baseline.
    """
    others = [key for key in keys_of(groups) if key not in {*rows, *columns}]
    rows = [*rows, *others] or [key for key in PARTS if key not in columns]
    differences = beside(groups, baseline, measure) if baseline else [None] * len(groups)
    parts = zip(groups, best_of(groups, measure), differences, strict=True)
    lines = [Line(one, moments(one.values(measure).values()), is_best, other) for one, is_best, other in parts]
    lines.sort(key=lambda line: [order_of(line.group.options.get(key)) for key in (*rows, *columns)])
    return Grouped(lines, measure, rows, columns, baseline)


def block(table: Grouped) -> Table:
    """The table as a block of a page, the best in bold."""
    cells: dict[tuple[str, ...], dict[str, str]] = {}
    baseline = _baseline(table) if table.baseline else ""
    for line in table.lines:
        row = tuple(line.group.label(key) for key in table.rows)
        cells.setdefault(row, {}).update(_cells(table, line, baseline))
    names = short(table.rows)
    titles = [TITLES.get(key, names[key]) for key in table.rows]
    heads = dict.fromkeys(head for line in cells.values() for head in line)
    if table.columns:
        places = {_head(table, line.group): _place(table, line.group) for line in table.lines}
        heads = dict.fromkeys(sorted(heads, key=lambda head: places[head]))
    texts = [[line.get(head, "") for head in heads] for line in cells.values()]
    index = pd.MultiIndex.from_tuples(list(cells), names=titles)
    if len(titles) == 1:
        index = pd.Index([row[0] for row in cells], name=titles[0])  # type: ignore[assignment]
    frame = pd.DataFrame(texts, index=index, columns=list(heads), dtype=object)
    return Table(frame, caption(table))


def _place(table: Grouped, group: Group) -> tuple[Any, ...]:
    return tuple(order_of(group.options.get(key)) for key in table.columns)


def _head(table: Grouped, group: Group) -> str:
    names = short(table.columns)
    labels = [(key, group.label(key)) for key in table.columns]
    return ", ".join(label if key in PARTS else f"{names[key]} {label}" for key, label in labels)


def _cells(table: Grouped, line: Line, baseline: str) -> dict[str, str]:
    """The texts of a group by the heads of their columns; `baseline` is in words."""
    text = cell(line, table.measure)
    if table.columns:
        text += f"; {difference(line.beside, table.measure)}" if line.beside else ""
        return {_head(table, line.group): Strong(text) if line.is_best else text}
    found: dict[str, str] = {table.measure.label: Strong(text) if line.is_best else text}
    if table.baseline:
        found[f"Difference to {baseline}"] = difference(line.beside, table.measure) if line.beside else NO_NUMBER
        found["p (Holm)"] = probability(line.beside.p_holm) if line.beside else NO_NUMBER
    return found


def cell(line: Line, measure: Measure) -> str:
    """Mean, standard deviation and number of a group's runs, and how many are not among them."""
    found, group = line.moments, line.group
    notes = [f"n={found.n}"] if found.n else []
    notes += [f"{count} {word}" for word, count in group.counts.items()]
    if without := len(group.records) - found.n:
        notes.append(f"{without} without it")
    for key, prefix in (("device", ""), ("torch", "torch ")):
        if len(values := group.said(key)) > 1:
            notes.append(prefix + enumerated(map(plain, values)))
    mean = measure.text(found.mean) if found.n else NO_NUMBER
    spread = f" ± {measure.text(found.sd)}" if found.n > 1 else ""
    return f"{mean}{spread} ({', '.join(notes)})" if notes else f"{mean}{spread}"


def difference(one: Beside, measure: Measure) -> str:
    """A difference to the baseline with its 95 % interval and the number of pairs."""
    found = one.difference
    if not found.n:
        return "no pair"
    span = "" if math.isnan(found.low) else f"{measure.text(found.low, '+')} to {measure.text(found.high, '+')}, "
    return f"{measure.text(found.mean, '+')} ({span}n={found.n})"


def _baseline(table: Grouped) -> str:
    """The baseline in words: the label of a loss, or an option with its value."""
    names = short([choice.key for choice in table.baseline])
    words = []
    for choice in table.baseline:
        labels = {line.group.label(choice.key) for line in table.lines if choice.takes(line.group.options)}
        text = " or ".join(sorted(labels)) or ",".join(choice.values)
        words.append(text if choice.key in PARTS else f"{names[choice.key]} {text}")
    return ", ".join(words)


def caption(table: Grouped, mark: str = "bold", brief: bool = False) -> str:
    """What the numbers of a table are, and what the runs have in common.

    Args:
        table: the table.
        mark: how the best is marked.
        brief: without what the runs were done on.
    """
    words = [f"{table.measure.label}: mean ± standard deviation (ddof 1) over seeds, n runs"]
    if any(line.is_best for line in table.lines):
        differ = any(key.startswith("dataset.") for key in (*table.rows, *table.columns))
        words.append(f"{mark}, the best of each data set{' with its options' if differ else ''}")
    if table.baseline:
        words.append(
            f"differences to {_baseline(table)} seed by seed, with the 95 % interval of n pairs"
            + ("" if table.columns else " and the p of a paired t test, after Holm over the rows")
        )
    rest = _common(table) + ([] if brief else _circumstances(table))
    return f"{'; '.join(words)}. {' '.join(rest)}".strip()


def _common(table: Grouped) -> list[str]:
    """The data set, network and loss that all rows share."""
    named = {*table.rows, *table.columns}
    found = {
        TITLES[key].lower(): label
        for key in PARTS
        if key not in named and len(labels := {line.group.label(key) for line in table.lines}) == 1
        for label in labels
    }
    text = ", ".join(f"{word} {label}" for word, label in found.items())
    return [f"{text[0].upper()}{text[1:]}."] if text else []


def _circumstances(table: Grouped) -> list[str]:
    records = [record for line in table.lines for record in line.group.records.values()]
    if not records:
        return []

    def distinct(texts: Iterable[object]) -> str:
        known = list(dict.fromkeys(map(plain, texts)))
        return ", ".join(known if len(known) <= 4 else [*known[:3], f"and {len(known) - 3} others"])

    device = distinct(f"{record['device']} ({record['device_name']})" for record in records)
    precision = distinct(record["precision"] for record in records)
    torch = distinct(record["versions"].get("torch") for record in records)
    commits = distinct(short_commit(record["commit"]) for record in records)
    return [f"Device {device}, precision {precision}, torch {torch}, commit {commits}."]


def on_terminal(table: Grouped, brief: bool = False) -> tuple[list[str], list[list[str]], str]:
    """Head, rows and caption, the best marked with an asterisk; `brief`: without what the runs were done on."""
    frame = block(table).frame
    names = [str(name) for name in frame.index.names]
    keys = [key if isinstance(key, tuple) else (key,) for key in frame.index]
    rows = [
        [*map(str, key), *(f"{text} *" if isinstance(text, Strong) else str(text) for text in row)]
        for key, row in zip(keys, frame.to_numpy(), strict=True)
    ]
    return [*names, *map(str, frame.columns)], rows, caption(table, "*", brief)


def written(table: Grouped, form: str) -> str:
    """The table as "md", "csv", "tex", "html" or "json".

    CSV and JSON have a line for each group, with all digits, in the units of the records.
    """
    if form == "md":
        return blocks_to_markdown([block(table)])
    if form == "tex":
        return to_latex(block(table), "tab:runs")
    if form == "html":
        return to_html(plain_page(table.title, [block(table)], []))
    if form == "csv":
        return str(pd.DataFrame([_csv_line(table, line) for line in table.lines]).map(csv_cell).to_csv(index=False))
    return json.dumps([_facts(line, table.measure) for line in table.lines], indent=2) + "\n"


def _csv_line(table: Grouped, line: Line) -> dict[str, Any]:
    facts = _facts(line, table.measure)
    keys = [*table.rows, *table.columns, *(key for key in PARTS if key not in {*table.rows, *table.columns})]
    options = {key: _one_cell(line.group.options.get(key)) for key in in_order(keys)}
    values = " ".join(f"{seed}:{value!r}" for seed, value in facts["values"].items())
    baseline = facts.pop("baseline", None)
    compared = {f"difference_{key}": value for key, value in (baseline or {}).items() if key != "runs"}
    del facts["options"], facts["labels"]
    return options | facts | {"values": values, "runs": " ".join(facts["runs"].values())} | compared


def _one_cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def _facts(line: Line, measure: Measure) -> dict[str, Any]:
    """A group as JSON has it; what is not a number is null."""
    group, found = line.group, line.moments
    counts = dict.fromkeys(("diverged", "failed", "unfinished", "damaged"), 0) | group.counts
    values = group.values(measure)
    facts: dict[str, Any] = {
        "options": dict(group.options),
        "labels": {key: group.label(key) for key in PARTS},
        "metric": measure.name,
        "mean": _number(found.mean),
        "sd": _number(found.sd),
        "n": found.n,
        "best": line.is_best,
        **counts,
        "device": " ".join(group.said("device")),
        "torch": " ".join(group.said("torch")),
        "values": {str(seed): values[seed] for seed in sorted(values)},
        "runs": {str(seed): group.runs[seed].id for seed in sorted(group.runs)},
    }
    if line.beside:
        one = line.beside.difference
        facts["baseline"] = {
            "runs": [entry.id for _, entry in sorted(line.beside.baseline.runs.items())],
            **{key: _number(getattr(one, key)) for key in ("mean", "sd", "low", "high", "p")},
            "n": one.n,
            "p_holm": _number(line.beside.p_holm),
        }
    return facts


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
