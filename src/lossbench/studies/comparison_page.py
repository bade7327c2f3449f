"""The page of a comparison: its answer, and what it rests on; as sections of any page, and in a folder of its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lossbench.config.registry import LABELS
from lossbench.config.run import Runtime
from lossbench.report.blocks import Block, Items, Page, Paragraph, Picture, Section, Tiles, plain_page
from lossbench.report.drawing import Gallery
from lossbench.report.files import write_csv, write_text
from lossbench.report.html import to_html
from lossbench.report.markdown import blocks_to_markdown, to_markdown
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, NO_NUMBER, counted, plain
from lossbench.runs import lease
from lossbench.studies import provenance
from lossbench.studies.compared import Compared
from lossbench.studies.comparison import Comparison
from lossbench.studies.comparison_scores import LossScores, all_scores, classes_blocks, scores_blocks, scores_frame
from lossbench.studies.comparison_tables import (
    accuracy_table,
    accuracy_text,
    against_blocks,
    csv_frame,
    curves_blocks,
    difference_picture,
    named,
    own_lr,
    pair_pictures,
    training_images,
    verdict,
)
from lossbench.studies.comparison_words import Condition, answer, common_lr, conditions, tiles
from lossbench.studies.results import Results
from lossbench.system.files import remove_leftovers


@dataclass(frozen=True)
class Facts:
    """What a comparison's page says beside its runs.

    Args:
        day: when its rules were fixed, as "2026-11-30"; None: it is not known.
        runs_before: runs that were done by then; None: it is not known.
        command: what makes or continues it; None: not said.
        note: a sentence that the first screen has too, such as that it is a quick form; empty: none.
        costs: of a training step, as `training.step_cost.measured_step_costs` gives them; None: not measured.
        problems: sentences on records that cannot be trusted.
    """

    day: str | None = None
    runs_before: int | None = None
    command: str | None = None
    note: str = ""
    costs: Mapping[str, Any] | None = None
    problems: Sequence[str] = field(default_factory=tuple)


def write_comparison(folder: Path, compared: Compared, facts: Facts | None = None) -> str:
    """Write a comparison's page, tables and pictures; returns the summary as the terminal prints it.

    The folder gets index.html, report.md, summary.md, table.csv, probabilities.csv, and each picture as SVG, PDF and
    CSV; files of these names are replaced.

    Args:
        folder: where they go.
        compared: the comparison and its runs.
        facts: what the page says beside them.
    """
    known = facts or Facts()
    folder.mkdir(parents=True, exist_ok=True)
    with lease.awaited(folder):
        remove_leftovers(folder)
        scores = all_scores(compared, shown_condition(compared))
        page = _page(compared, known, scores)
        write_text(folder / "index.html", to_html(page, Gallery(folder)))
        write_text(folder / "report.md", to_markdown(page))
        write_csv(folder / "table.csv", csv_frame(compared))
        write_csv(folder / "probabilities.csv", scores_frame(scores))
        summary = blocks_to_markdown(short(compared, known))
        write_text(folder / "summary.md", summary)
    return summary


def comparison_page(compared: Compared, facts: Facts | None = None) -> Page:
    """The page of a comparison, its answer on the first screen."""
    return _page(compared, facts or Facts(), all_scores(compared, shown_condition(compared)))


def sections(compared: Compared, facts: Facts | None = None, stem: str = "") -> list[Section]:
    """The sections of a comparison's page, without its first screen.

    Args:
        compared: the comparison and its runs.
        facts: what the page says beside them.
        stem: how the names of the pictures' files begin, where a page has several comparisons.
    """
    found = _sections(compared, facts or Facts(), all_scores(compared, shown_condition(compared)))
    return [replace(section, blocks=_begun(section.blocks, stem)) for section in found]


def folded(heading: str, comparison: Comparison, results: Results, stem: str, gist: str) -> Section | None:
    """A comparison as one section of a study's page; None: less than half of its first learning rates are done.

    Args:
        heading: of the section.
        comparison: what is compared.
        results: all known runs.
        stem: how the names of its pictures' files begin.
        gist: what the folded section says of its rules.
    """
    grid = comparison.rules.rates.grid
    first = [comparison.selecting(label, lr)[0] for label in comparison.losses for lr in grid]
    if 2 * sum(results.accuracy(config) is not None for config in first) < len(first):
        return None
    done = Compared(comparison, results)
    parts = sections(done, stem=stem)
    blocks = [*first_screen(done, stem=stem), *(block for part in parts for block in part.blocks)]
    return Section(heading, blocks, gist=gist)


def _begun(blocks: Sequence[Block], stem: str) -> list[Block]:
    """Blocks with the names of pictures begun by a stem."""
    return [replace(block, name=f"{stem}{block.name}") if isinstance(block, Picture) else block for block in blocks]


def first_screen(compared: Compared, facts: Facts | None = None, stem: str = "") -> list[Block]:
    """The answer in sentences, the verdicts counted, and one picture, its name begun by the stem."""
    known = facts or Facts()
    texts = [*answer(compared), *([known.note] if known.note else []), *_unfinished(compared)]
    first, *others = texts
    rest: list[Block] = [Items(others)] if len(others) > 1 else [Paragraph(text) for text in others]
    return _begun([Paragraph(first), *rest, difference_picture(compared), Tiles(tiles(compared))], stem)


def title(compared: Compared) -> str:
    """What is compared, on what."""
    config, num = compared.comparison.config, len(compared.losses)
    labels = list(compared.comparison.losses)
    what = " and ".join(labels) if num == 2 else f"{num} losses"
    return f"{what} on {_label(config.dataset.name)} with {_label(config.model.name)}"


def _label(name: str) -> str:
    return LABELS.get(name, name)


def shown_condition(compared: Compared) -> Condition:
    """Where probabilities and classes are shown: the own learning rates, or the common one without runs there."""
    own, common = conditions(compared)
    return own if any(one.at_own.finished for one in compared.losses) else common


def _page(compared: Compared, facts: Facts, scores: list[LossScores]) -> Page:
    rules, config = compared.comparison.rules, compared.comparison.config
    images = f"{config.dataset.num_train:,} training images, " if config.dataset.num_train else ""
    about = (
        f"Baseline {rules.baseline}, margin {100 * rules.margin:g} points, {images}"
        f"{counted(config.schedule.epochs, 'epoch')}, {counted(rules.num_seeds, 'seed')}"
    )
    lead = first_screen(compared, facts)
    return Page(title(compared), lead, plain_page("", [], _sections(compared, facts, scores)).parts, about)


def _sections(compared: Compared, facts: Facts, scores: list[LossScores]) -> list[Section]:
    own, common = conditions(compared)
    shown, baseline = shown_condition(compared), compared.comparison.rules.baseline
    found = [
        Section("Accuracy", [accuracy_table(compared)]),
        Section(f"Beside {baseline} at the own learning rates", against_blocks(compared, own), short="At own rates"),
        Section(
            f"Beside {baseline} at the common learning rate {common_lr(compared)}",
            against_blocks(compared, common),
            short="At the common rate",
        ),
        Section("Learning rates", curves_blocks(compared)),
        Section("All pairs", pair_pictures(compared)),
        Section("Probabilities", scores_blocks(compared, shown, scores)),
        Section("Classes", classes_blocks(compared, shown)),
        Section("Cost of a step", cost_blocks(compared, facts.costs)),
        Section("What is missing, diverged or failed", missing_blocks(compared, facts.problems)),
        Section("What it ran on", provenance.provenance(compared.results, sorted(_names(compared)))),
        Section("Rules", rules_blocks(compared, facts)),
    ]
    return [section for section in found if section.blocks]


def short(compared: Compared, facts: Facts) -> list[Block]:
    """The answer and a short table, as the terminal prints them."""
    rows = {}
    for one in compared.losses:
        line = {
            "Own lr": own_lr(one),
            f"At {common_lr(compared)} (%)": accuracy_text(one.at_common, compared.comparison.rules.num_seeds),
            "At own lr (%)": accuracy_text(one.at_own, compared.comparison.rules.num_seeds),
        }
        against = one.against_own
        if against is None:
            line["Verdict at own lr"] = "baseline"
        else:
            line["Verdict at own lr"] = verdict(against.word) if against.pairs.n else MISSING
        rows[one.label] = line
    caption = "Test accuracy, mean ± standard deviation over n seeds; verdict against the baseline at the own rates."
    texts = [*answer(compared), *([facts.note] if facts.note else []), *_unfinished(compared)]
    return [*map(Paragraph, texts), table(rows, ["Loss"], caption)]


def cost_blocks(compared: Compared, costs: Mapping[str, Any] | None) -> list[Block]:
    """Time and memory of a training step, relative to the baseline; empty where they were not measured."""
    if costs is None:
        return []
    found: Mapping[str, Any] = costs["losses"]
    base: Mapping[str, Any] = found.get(costs["baseline"], {})
    rows = {
        named(compared, label): _cost_line(found[label], base) for label in compared.comparison.losses if label in found
    }
    failed = [f"{label}: {one['failed']}" for label, one in found.items() if one["failed"]]
    threads = f"{costs['num_threads']} thread{'s' * (costs['num_threads'] != 1)}"
    caption = (
        f"A training step of {costs['batch_size']} samples (batch, network, loss, gradient, update) and the loss alone "
        f"(value and gradient of a batch's logits), measured in turns apart from the runs, on {plain(costs['device'])} "
        f"with {threads}, {costs['precision']}, torch {plain(costs['torch'])}. Relative to {costs['baseline']}: median "
        "over rounds and quartiles. Memory, relative and in MB: the most that the tensors of a step, or of the loss "
        "alone, take at a time, without weights, velocities and data."
    )
    blocks: list[Block] = [table(rows, ["Loss"], caption)] if rows else []
    return [*blocks, Items(failed)] if failed else blocks


def _cost_line(one: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, str]:
    """The cost of a loss, with its memory beside the baseline's."""
    names = ("Step", "Step (ms)", "Loss alone", "Loss alone (ms)", "Memory, step (MB)", "Memory, loss alone (MB)")
    if one["failed"]:
        return dict.fromkeys(names, NO_NUMBER) | {"Step": toned("failed")}
    texts = (
        _ratio(one["step"]),
        f"{one['step_ms']:.2f}",
        _ratio(one["loss"]),
        f"{one['loss_ms']:.3f}",
        _memory(one["step_mb"], base.get("step_mb"), 2),
        _memory(one["loss_mb"], base.get("loss_mb"), 3),
    )
    return dict(zip(names, texts, strict=True))


def _memory(megabytes: float, base: float | None, digits: int) -> str:
    """Relative to the baseline, and in MB; in MB alone where the baseline's is not known."""
    return f"{megabytes / base:.2f} ({megabytes:.{digits}f})" if base else f"{megabytes:.{digits}f}"


def _ratio(one: Mapping[str, float] | None) -> str:
    return NO_NUMBER if one is None else f"{one['median']:.2f} ({one['low']:.2f} to {one['high']:.2f})"


def _planned(compared: Compared) -> list[tuple[str, int, int, int]]:
    plan = compared.comparison.plan(compared.results.accuracy, "compare", Runtime())
    return provenance.progress(compared.results, ((name, configs) for name, configs in plan if configs))


def _unfinished(compared: Compared) -> list[str]:
    """A sentence while planned runs are missing."""
    known = _planned(compared)
    done, total = sum(ok + lost for _, ok, lost, _ in known), sum(num for *_, num in known)
    if done >= total:
        return []
    more = any(one.own is None for one in compared.losses)
    after = "; more follow when every loss has its own learning rate" if more else ""
    return [f"{done} of {total} runs that are known to be needed are done{after}."]


def missing_blocks(compared: Compared, problems: Sequence[str]) -> list[Block]:
    """The planned runs by block, and what diverged, failed or cannot be trusted."""
    rows = {
        name[0].upper() + name[1:]: {
            "Finished": str(done),
            "Diverged": str(lost),
            "Missing": str(planned - done - lost),
            "Planned": str(planned),
        }
        for name, done, lost, planned in _planned(compared)
    }
    caption = (
        "The runs of the comparison as far as they follow from what is known; a run of two rows counts in the first."
    )
    found: list[Block] = [table(rows, ["Runs"], caption)] if rows else []
    texts = [*_diverged(compared), *_failed(compared), *problems]
    return [*found, Items(texts)] if texts else found


def _diverged(compared: Compared) -> list[str]:
    """The learning rates at which runs of a loss diverged, one sentence a loss."""
    found = []
    for one in compared.losses:
        choosing = {lr: sum(v is not None and math.isnan(v) for v in values) for lr, values in one.curve.items()}
        texts = [f"{count} at {lr:g}" for lr, count in choosing.items() if count]
        reported = {
            cell.config.schedule.lr: known.diverged
            for known in (one.at_common, one.at_own)
            if (cell := known.cell) is not None and known.diverged
        }
        lines = [f"runs that choose the learning rate, {', '.join(texts)}"] if texts else []
        lines += [f"reported runs, {', '.join(f'{n} at {lr:g}' for lr, n in reported.items())}"] if reported else []
        found += [f"{one.label} diverged: {'; '.join(lines)}."] if lines else []
    return found


def _failed(compared: Compared) -> list[str]:
    """Runs of the comparison that failed other than by divergence, with the reason."""
    results = compared.results
    return [
        f"{name} failed: {results.failed[name]}"
        for name in sorted(_planned_names(compared))
        if name in results.failed and name not in results.diverged and name not in results.records
    ]


def _planned_names(compared: Compared) -> set[str]:
    plan = compared.comparison.plan(compared.results.accuracy, "compare", Runtime())
    return {compared.results.name(config) for _, configs in plan for config in configs}


def _names(compared: Compared) -> set[str]:
    """The finished runs that the page is about."""
    return _planned_names(compared) & compared.results.records.keys()


def rules_blocks(compared: Compared, facts: Facts) -> list[Block]:
    """The rules, when they were fixed, and what was known then."""
    rules, schedule = compared.comparison.rules, compared.comparison.config.schedule
    seeds, rates = rules.selection_seeds, rules.rates
    lrs = ", ".join(f"{lr:g}" for lr in rates.grid)
    texts = []
    if facts.day is not None:
        before = {None: "", 0: ", before any of its runs was done"}.get(
            facts.runs_before, f"; {facts.runs_before} of its runs were done by then"
        )
        texts.append(f"The rules were fixed on {facts.day}{before}.")
    held_out = compared.comparison.selecting(rules.baseline, rates.grid[0])[0].dataset.num_validation or 0
    texts += [
        f"Baseline {rules.baseline}; margin of equivalence {100 * rules.margin:g} points; "
        f"{counted(rules.num_seeds, 'reported seed')}; {counted(schedule.epochs, 'epoch')}, "
        f"batch size {schedule.batch_size}, momentum {schedule.momentum:g}.",
        f"Learning rates {lrs}: each loss is trained with seed {seeds[0]} on {training_images(compared)} "
        f"but for those held out, {held_out:,} of the whole training set, which decide. While the best rate is at an "
        f"edge, the next one is tried, at most {counted(rates.most_extensions, 'time')}."
        + (f" These runs have {counted(rules.selection_epochs, 'epoch')}." if rules.selection_epochs else ""),
        *(
            [
                f"The best rate and its neighbours are trained again with seeds {', '.join(map(str, seeds[1:]))}; the "
                "best mean over all selection seeds is the loss's own learning rate, the smaller of equals. A rate at "
                "which a run diverged comes after all others."
            ]
            if len(seeds) > 1
            else []
        ),
        f"Reported are runs on {training_images(compared)} with seeds 0 to {rules.num_seeds - 1}, at the common and at "
        "the own learning rates, by the test accuracy after the last epoch.",
        "Verdicts: paired t test over seeds, with Holm's correction over the losses at either learning rate; "
        "equivalence if the 90 % interval lies within the margin; 3 pairs at least. A loss with diverged runs is never "
        "called higher than the baseline, and no loss is called lower than a baseline with diverged runs.",
    ]
    if facts.command:
        texts.append(f"Command: {facts.command}")
    return [Items(texts)]
