"""The page of the paper's study: tables and figures from records. No torch."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from lossbench import NUMERICS
from lossbench.config.run import Config, Runtime, run_id
from lossbench.report.page import (
    Block,
    Items,
    Paragraph,
    Picture,
    Section,
    Table,
    blocks_to_markdown,
    to_html,
    to_markdown,
    write_picture,
    write_text,
)
from lossbench.runs.records import all_records, committed_records, outdated
from lossbench.studies import provenance
from lossbench.studies.aaai20 import conditions, grid, quick, second_runs, table1, variants, without_gpu
from lossbench.studies.aaai20.keys import LITERAL
from lossbench.studies.aaai20.sections import (
    beyond,
    context,
    large_networks,
    learning_rates,
    noise_and_seeds,
    probabilities,
    readings,
    second_round,
    traces,
)
from lossbench.studies.aaai20.sections import judged as sections
from lossbench.studies.aaai20.sections.figures import Drawn, confusions, figure1, figure1_classes, figure2, write_drawn
from lossbench.studies.aaai20.sections.findings import (
    apart_sentence,
    cells_sentence,
    claims_sentence,
    head_sentences,
    headline_sentences,
    seen_sentence,
    sum_sentence,
)
from lossbench.studies.aaai20.sections.without_arrays import all_without, notice
from lossbench.studies.aaai20.table1 import Simulations
from lossbench.studies.aaai20.verdicts import Judge, JudgedCell, Verdict
from lossbench.studies.cells import Cell, cell_key
from lossbench.studies.options import Reproduce
from lossbench.studies.provenance import progress
from lossbench.studies.results import Results, known_results
from lossbench.studies.study import Study, studies
from lossbench.studies.tables import Filled, write_forms, write_table
from lossbench.system.files import remove_leftovers

_TITLES = {
    3: "Table 3. Test accuracy (%) on MNIST-type data",
    4: "Table 4. Test accuracy (%) on CIFAR-10",
    5: "Table 5. Test accuracy (%) of LGL-INR for different beta, KMNIST, CNN2C",
}


def profiles_with_records(plan: Reproduce) -> list[str]:
    """The profiles that at least one record belongs to."""
    records = all_records(plan.runtime.output_dir, plan.results_dir).records
    return [
        profile
        for profile in ("paper", "quick")
        if any(
            run_id(config) in records
            for table in grid.TABLES
            for cell in grid.cells(table, profile, plan.seeds)
            for config in cell.configs
        )
    ]


def write_report(profile: str, plan: Reproduce) -> Path:
    """Write the plan's tables, with Table 3 the figures, and the page, from all known runs; returns the folder.

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
    drawn: list[Drawn] = []
    if 3 in plan.tables:
        filled = fill(grid.figure_cells(profile, plan.seeds))
        matrices = confusions(filled)
        names = {record.id for _, found in filled for record in found}
        by_class = [] if all_without(results, names) else [figure1(matrices), figure1_classes(matrices)]
        drawn = [*by_class, figure2(filled)]
    for picture in drawn:
        write_drawn(folder, picture)
    simulations, problems = _simulations(plan) if profile == "paper" else (None, [])
    others = {1: context.table1(simulations), 2: context.table2()}
    for number, blocks in others.items():
        for table in (block for block in blocks if isinstance(block, Table)):
            write_forms(folder, number, table.caption.partition(".")[0], table)
    shown = [cell for number in plan.tables for cell in grid.cells(number, profile, plan.seeds)]
    unused = _unused(results) + _other_seeds(results, shown) + problems
    pictures = [picture for picture, _ in drawn]
    computed = [Section("Table 1: Eq. 10 simulated", others[1]), Section("Table 2: the networks", others[2])]
    if profile == "paper":
        title, lead, parts = _paper(results, simulations, tables, computed, pictures, unused)
    else:
        title, lead, parts = quick.page(results, tables, pictures, used, unused)
    written = {picture.name for picture in pictures}
    for block in (block for part in parts for block in part.blocks):
        if isinstance(block, Picture) and block.name not in written:
            write_picture(folder, block)
    write_text(folder / "index.html", to_html(title, lead, parts))
    write_text(folder / "report.md", to_markdown(title, lead, parts))
    if unused:
        summary.append("Not in any table:\n\n" + "".join(f"- {line}\n" for line in unused))
    write_text(folder / "summary.md", "\n".join(summary))


def _note(filled: Filled, profile: str) -> str:
    """What a table's caption says of the head as printed, where it has it, and in the quick profile of chance."""
    has_printed = any(cell.rows[0] == grid.LITERAL_HEAD for cell, _ in filled)
    printed = f"{grid.LITERAL_HEAD} is the head as printed, CNN2C has 800-500-10" if has_printed else ""
    return "; ".join(filter(None, [printed, quick.at_chance(filled) if profile == "quick" else ""]))


def _paper(
    results: Results,
    simulations: Simulations | None,
    tables: dict[int, Table],
    others: Sequence[Section],
    pictures: Sequence[Picture],
    unused: Sequence[str],
) -> tuple[str, list[Block], list[Section]]:
    """The report on the paper: the verdict, then every table, figure and claim with its grounds."""
    judge = Judge(results)
    judged, verdicts = judge.cells(), judge.verdicts()
    lead = _lead(judge, judged, verdicts)
    studied = beside_the_paper(results)
    planned = {results.name(config) for _, configs in (*blocks_of_the_paper(results), *studied) for config in configs}
    done = progress(results, [*blocks_of_the_paper(results), *studied])
    used = planned & results.records.keys()
    trained = provenance.trained_on(results, used - _without_gpu(results))

    def of_runs(title: str, blocks: Sequence[Block]) -> Section:
        return Section(title, [_told(block, trained) for block in blocks])

    classes = of_runs("Figure 1: classes", [*pictures[:-1], *sections.figure1_text(judge)])
    curves = of_runs("Figure 2: curves", [*pictures[-1:], *sections.convergence(judge)])
    balances, contradictions = context.balances(judge)
    hanging = [head_sentences(judge, judged)]
    hangs_on = [block for place in variants.READ for block in readings.sensitivity(results, place)]
    learning_property = of_runs(
        "The learning property on trained networks (Eq. 8 to 10)", context.learning_property(balances, contradictions)
    )
    of_studies = {
        study: [of_runs(one.title, one.blocks) for one in study.sections(results)] for study in other_studies()
    }
    mechanism = [
        of_runs(
            "Beyond the paper: does the gain follow the mechanism?",
            [*traces.weights_by_epoch(judge), *beyond.mechanism_blocks(judge)],
        ),
        of_runs("Beyond the paper: what the losses do, epoch by epoch", traces.traced(results)),
    ]
    computed = [*([classes] if pictures else []), learning_property, *mechanism]
    computed += [part for study, found in of_studies.items() if study.by_arrays for part in found]
    by_arrays = [part.title for part in computed]
    lead += notice(results, used, by_arrays)
    parts = [
        of_runs("Loss or step size?", learning_rates.confound(judge)),
        of_runs("Blind seeds and further contrasts", second_round.second_round(judge)),
        of_runs("The paper's accuracies", sections.cells(judged)),
        *(Section(_TITLES[number].partition(".")[0], [block]) for number, block in tables.items()),
        of_runs("Claims", [*sections.claims(verdicts, simulations), *map(Paragraph, filter(None, hanging))]),
        of_runs("Comparisons", sections.comparisons(judge, second_round.blind_words(judge))),
        *([classes, curves] if pictures else []),
        *others,
        learning_property,
        of_runs("Beyond the paper: what the result hangs on", [*hangs_on, *readings.lgl_row(results)]),
        of_runs("Beyond the paper: beta and the weights", beyond.beta(results)),
        *mechanism,
        *(part for found in of_studies.values() for part in found),
        of_runs("Beyond the paper: calibration", probabilities.calibrated(judge)),
        of_runs("Beyond the paper: noise, and how many seeds", noise_and_seeds.noise_blocks(judge)),
        Section("The large networks without a GPU", large_networks.on_a_cpu(results)),
        Section("The paper's errors and gaps", context.audit(balances, simulations)),
        Section("What it ran on", provenance.provenance(results, sorted(used))),
        Section("What is missing", provenance.missing(done, unused)),
    ]
    left_out = by_arrays if all_without(results, used) else []
    parts = [part for part in parts if part.title not in left_out]
    return "Logistic and softmax losses: does the paper hold?", lead, parts


def blocks_of_the_paper(results: Results) -> list[tuple[str, list[Config]]]:
    """The planned runs of the paper's tables and conditions, named, those for a GPU among them."""
    return list(conditions.reference_blocks(True, Runtime(), results.accuracy))


def other_studies() -> list[Study]:
    """The registered studies beside the paper's own; the page has their sections too."""
    return [study for study in studies() if study.name != "aaai20"]


def beside_the_paper(results: Results) -> list[tuple[str, list[Config]]]:
    """The planned runs of the studies, of the second round and of CNN5C on a CPU, named."""
    second, on_cpu = (module.blocks(Runtime(), accuracy=results.accuracy) for module in (second_runs, without_gpu))
    others = [block for study in other_studies() for block in study.planned(results)]
    return [*variants.blocks(True, Runtime()), *others, *second, *on_cpu]


def _lead(judge: Judge, judged: Sequence[JudgedCell], verdicts: Sequence[Verdict]) -> list[Block]:
    """What comes first, and how much of the plan it rests on."""
    blocks = blocks_of_the_paper(judge.results)
    names = {judge.results.name(config) for _, configs in blocks for config in configs}  # some serve two blocks
    printed = [one for one in judged if one.key.model != LITERAL]
    counted = f"{len(names & judge.results.records.keys())} of {len(names)} planned runs are there."
    told: list[Block] = [
        Paragraph(" ".join(filter(None, [*headline_sentences(judge), apart_sentence(printed), sum_sentence(judge)]))),
        sections.headlines(judge, second_round.headline_status(judge)),
        Paragraph(seen_sentence(judge, verdicts)),
        Paragraph(" ".join([cells_sentence(printed), claims_sentence(verdicts), counted])),
    ]
    beyond_paper = [
        readings.moves(judge.results, variants.READ[0]),
        readings.whole_row(judge.results),
        beyond.even_weights(judge.results),
        *(text for study in other_studies() for text in study.findings(judge.results)),
    ]
    if any(beyond_paper):
        told += [Paragraph("Beyond the paper, so far:"), Items(list(filter(None, beyond_paper)))]
    return told


def overview(results_dir: Path) -> str:
    """The verdict and the paper's cells in a few lines of Markdown, from committed records alone: the README's."""
    judge = Judge(Results(committed_records(results_dir), {}))
    judged = judge.cells()
    lead = _lead(judge, judged, judge.verdicts())
    trained = provenance.trained_on(judge.results, judge.results.records.keys() - _without_gpu(judge.results))
    cells = _told(sections.overview(judged), trained)
    return blocks_to_markdown([*lead[:3], cells, lead[3], *large_networks.cnn5c(judge.results), *lead[4:]])


def finding(results_dir: Path) -> str:
    """The first headline, and what the blind seeds make of it, in two sentences: the README's."""
    judge = Judge(Results(committed_records(results_dir), {}))
    first = judge.headlines()[0]
    status = second_round.headline_status(judge)[first.other, first.dataset]
    return f"{headline_sentences(judge)[0]} By five further seeds alone, run after this had been written: {status}."


def _without_gpu(results: Results) -> set[str]:
    """Names of the large networks' runs on a CPU, which no table of the paper's has."""
    return {results.name(config) for config in without_gpu.apart()}


def _told(block: Block, trained: str) -> Block:
    """A table or picture of runs, with what they were done on in its caption."""
    if not isinstance(block, (Table, Picture)):
        return block
    return replace(block, caption=f"{block.caption} {trained}".strip())


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
    """A sentence for runs of the tables' cells with seeds that the tables do not have."""
    cells = {cell.key: cell for cell in shown}
    studied = {results.name(config) for cell in variants.traced().values() for config in cell.configs}
    theirs = {results.name(config) for cell in cells.values() for config in cell.configs}
    found = [
        record.id
        for record in results.records.values()
        if record.id not in theirs | studied and cell_key(record.fields) in cells
    ]
    told = f"{len(found)} runs with other seeds than the tables', which seeds=N sets: {', '.join(found)}"
    return [told] if found else []
