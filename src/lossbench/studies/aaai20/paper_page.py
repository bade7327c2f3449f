"""The page on the paper: the finding on the first screen, the evidence in four steps, and the full check, folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lossbench.config.run import Config, Runtime
from lossbench.report.blocks import Block, Page, Paragraph, Part, Picture, Section, Table
from lossbench.studies import provenance
from lossbench.studies.aaai20 import conditions, second_runs, variants, without_gpu
from lossbench.studies.aaai20.second_verdicts import SecondRound
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
from lossbench.studies.aaai20.sections.findings import claims_sentence, head_sentences, seen_blocks
from lossbench.studies.aaai20.sections.first_screen import ABOUT, TITLE, first_screen
from lossbench.studies.aaai20.sections.story import story
from lossbench.studies.aaai20.sections.summary import reproducibility
from lossbench.studies.aaai20.sections.without_arrays import all_without, notice
from lossbench.studies.aaai20.table1 import Simulations
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.provenance import captioned, progress
from lossbench.studies.results import Results
from lossbench.studies.study import Study, studies

BEYOND = "Questions beyond the paper"
"""Heading of the other studies' summaries."""


@dataclass(frozen=True)
class Drawn:
    """The paper's tables and figures as blocks.

    Args:
        tables: Tables 3 to 5, those that are asked for.
        table1: Eq. 10 simulated.
        table2: the networks.
        figure1: Figure 1 and its classes; empty where arrays are missing.
        figure2: the curves; empty without Table 3.
    """

    tables: Mapping[int, Table]
    table1: Sequence[Block]
    table2: Sequence[Block]
    figure1: Sequence[Picture]
    figure2: Sequence[Picture]


def paper_page(results: Results, simulations: Simulations | None, drawn: Drawn, unused: Sequence[str]) -> Page:
    """The report on the paper.

    Args:
        results: all known runs.
        simulations: of Table 1; None: they are not there.
        drawn: the paper's own tables and figures.
        unused: a sentence for each kind of run that is in no table.
    """
    judge = Judge(results)
    second = SecondRound(judge)
    judged, verdicts = judge.cells(), judge.verdicts()
    plan = [*blocks_of_the_paper(results), *beside_the_paper(results)]
    used = {results.name(config) for _, configs in plan for config in configs} & results.records.keys()
    trained = provenance.trained_on(results, used - runs_without_gpu(results))
    balances, contradictions = context.balances(judge)
    curves = learning_rates.confound(judge)
    cells = sections.cells(judged)
    hangs_on = [block for place in variants.READ for block in readings.sensitivity(results, place)]

    def pictures(blocks: Sequence[Block]) -> list[Picture]:
        return [block for block in blocks if isinstance(block, Picture)]

    elsewhere = [text for study in other_studies() for text in study.strengths(results)]
    steps = story(judge, judged, verdicts, pictures(cells), pictures(curves), pictures(hangs_on), elsewhere)

    def others(blocks: Sequence[Block]) -> list[Block]:
        """What is not shown above already."""
        return [block for block in blocks if not isinstance(block, Picture)]

    checks = [
        Section(
            "Leads at each learning rate",
            [
                sections.headlines(judge, second_round.headline_status(second)),
                *others(curves),
                *seen_blocks(judge, verdicts),
            ],
            gist="Rule: a lead is gone if it is there at the paper's learning rate and within 0.25 points at the own "
            "rates (90 % interval), n=5. Equal gradient norms are points on the learning-rate curve.",
        ),
        Section(
            "Further seeds and contrasts",
            second_round.second_round(second),
            gist="Seeds 5 to 9, run under rules written before them: what they confirm of seeds 0 to 4, n=5.",
        ),
        Section(
            "The paper's 26 accuracies",
            others(cells),
            gist="Rule: the paper's number lies in the 95 % prediction interval for one new run; 3 runs at least.",
        ),
        *(
            Section(table.caption.partition(".")[0], [table], gist=table.caption.partition(". ")[2].partition(":")[0])
            for table in drawn.tables.values()
        ),
        Section(
            "Claims",
            [
                Paragraph(claims_sentence(verdicts)),
                *sections.claims(verdicts, simulations),
                *map(Paragraph, filter(None, [head_sentences(judge, judged)])),
            ],
            gist="Each claim of the paper, each with its own test, and what follows at other learning rates.",
        ),
        Section(
            "Comparisons",
            sections.comparisons(judge, second_round.blind_words(second)),
            gist="Paired t over seeds, Holm within each contrast of a condition, equivalence by the 90 % interval.",
        ),
        Section(
            "Figure 1: classes",
            [*drawn.figure1, *sections.figure1_text(judge)] if drawn.figure1 else [],
            gist="Confusion matrices on KMNIST, and the counts that the paper's text prints.",
            by_arrays=True,
        ),
        Section(
            "Figure 2: curves",
            [*drawn.figure2, *sections.convergence(judge)] if drawn.figure2 else [],
            gist="Accuracy after each epoch, and how soon each loss is near its end.",
        ),
        Section("Table 1: Eq. 10 simulated", drawn.table1, gist="Rule: within 5 % of the right side, 100 simulations."),
        Section("Table 2: the networks", drawn.table2, gist="Every layer as built, with computed shapes."),
        Section(
            "The learning property on trained networks (Eq. 8 to 10)",
            context.learning_property(balances, contradictions),
            gist="Both sides of the equations for every class and seed; description, no verdict.",
            by_arrays=True,
        ),
        Section(
            "Readings of the paper",
            [*others(hangs_on), *readings.lgl_row(results)],
            gist="What the paper leaves open, one option at a time, seeds 0 to 2, n=3; decides no claim.",
        ),
        Section("Beta and the weights", beyond.beta(results), gist="LGL-INR over beta on KMNIST, n=3."),
        Section(
            "Does the gain follow the mechanism?",
            [*traces.weights_by_epoch(judge), *beyond.mechanism_blocks(judge)],
            gist="Rank correlations over pairs of classes, with SML's gain as control; description, n=5.",
            by_arrays=True,
        ),
        Section(
            "The losses epoch by epoch",
            traces.traced(results),
            gist="Gradient norms and probabilities by class, on seeds of their own; description, n=3.",
            by_arrays=True,
        ),
        *(section for study in other_studies() for section in study.sections(results)),
        Section(
            "Calibration",
            probabilities.calibrated(judge),
            gist="Each loss by the probabilities that theory names, and after one temperature; description, n=5.",
        ),
        Section(
            "Noise, and how many seeds",
            noise_and_seeds.noise_blocks(judge),
            gist="Where the scatter between runs comes from, and how many seeds a margin needs; description.",
        ),
        Section(
            "The large networks without a GPU",
            large_networks.on_a_cpu(results),
            gist="CNN5C in fp32, which is judged, and in bf16, which is not; a trial on CIFAR-10.",
        ),
        Section(
            "The paper's errors and gaps",
            context.audit(balances, simulations),
            gist="What is wrong, missing or ambiguous in the text, with our evidence.",
        ),
        Section("Devices and commits", provenance.provenance(results, sorted(used))),
        Section("What is missing", provenance.missing(progress(results, plan), unused)),
    ]
    summaries = [found for study in other_studies() if (found := study.summary(results))]
    by_arrays = [one.title for one in checks if one.by_arrays and (one.blocks or drawn.figure2)]
    checks = [section for section in checks if section.blocks]
    if all_without(results, used):
        checks = [section for section in checks if not section.by_arrays]
    summary = [*reproducibility(results, used), *notice(results, used, by_arrays)]
    steps = [_told(section, trained) for section in steps]
    return Page(
        TITLE,
        [_captioned(block, trained) for block in first_screen(second, judged, verdicts, used)],
        [
            Part("The evidence in four steps", steps),
            *([Part(BEYOND, summaries)] if summaries else []),
            Part("Reproducibility summary", [], lead=summary),
            Part("Full check", [_told(one, trained) for one in checks], folded=True),
        ],
        about=ABOUT,
    )


_NOT_OF_RUNS = {"Table 1: Eq. 10 simulated", "Table 2: the networks", "Devices and commits", "What is missing"}
_NOT_OF_RUNS |= {"The paper's errors and gaps"}


def _told(section: Section, trained: str) -> Section:
    """A section whose tables and pictures say what their runs were done on, where they are of runs and do not yet."""
    if section.title in _NOT_OF_RUNS:
        return section
    return replace(section, blocks=[_captioned(block, trained) for block in section.blocks])


def _captioned(block: Block, trained: str) -> Block:
    says_so = isinstance(block, (Table, Picture)) and (" torch " in block.caption or "No runs yet" in block.caption)
    return block if says_so else captioned(block, trained)


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


def runs_without_gpu(results: Results) -> set[str]:
    """Names of the large networks' runs on a CPU, which no table of the paper's has."""
    return {results.name(config) for config in without_gpu.apart()}
