"""What the first screen and the evidence show in numbers: accuracies, leads and how much of a lead goes; fractions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lossbench.config.registry import LABELS, LOSSES
from lossbench.config.run import Runtime
from lossbench.report.rows import Estimate, FindingRow, LeadRow, WeightRow
from lossbench.statistics import inference
from lossbench.statistics.inference import CellOutcome, Difference, Pairs
from lossbench.studies.aaai20 import grid, keys, second_runs, variants
from lossbench.studies.aaai20.conditions import MARGINS, Place, points
from lossbench.studies.aaai20.keys import CNN2C, GRAY, LGL, LGL_INR, SML, SUMMED, Pair, pair_label
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, FIRST_SEEDS, with_seeds
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Cell, Key, Part
from lossbench.studies.results import Results

ALL_SEEDS = (*FIRST_SEEDS, *BLIND_SEEDS)
SEEDS: Mapping[str, Sequence[int]] = {"0 to 4": FIRST_SEEDS, "5 to 9": BLIND_SEEDS, "0 to 9": ALL_SEEDS}
AT_PAPERS, AT_OWN = "the paper's learning rate", "each loss's own learning rate"

LEAD_PAIRS: tuple[Pair, ...] = ((LGL_INR, SML), (LGL_INR, LGL))
"""The leads that the report is about."""

NUM_CLASSES = 10.0
"""Of the paper's data sets: LGL summed over its classifiers is so many times LGL averaged over them."""

Cells = Mapping[tuple[str, Part], Cell]
"""By data set and loss."""


@dataclass(frozen=True)
class Shrinkage:
    """How much of a lead goes when each loss has its own learning rate instead of the paper's, paired over seeds."""

    pair: Pair
    dataset: str  # as registered
    at_paper: Difference
    at_own: Difference
    less: Difference  # of a seed, the lead at the paper's rate less that at the own rates


def at_papers(judge: Judge) -> Cells:
    """CNN2C's cells at the paper's learning rate, LGL summed over the classes among them, with all seeds."""
    found = {(name, loss): judge.conditions["paper"][Key(CNN2C, name, loss)] for name in GRAY for loss in keys.LOSSES}
    found = {place: _with_known_seeds(judge, cell) for place, cell in found.items()}
    return found | {(name, SUMMED): _summed(judge, name) for name in GRAY}


def _summed(judge: Judge, dataset: str) -> Cell:
    """LGL summed over the classes, with all seeds, by whichever of three cells has most runs.

    Without weight decay LGL times the number of classes, and LGL at so many times the rate, take the same steps.
    """
    times_ten = {one.config.dataset.name: one for one in variants.lgl_factors()[NUM_CLASSES]}
    paper = judge.conditions["paper"][Key(CNN2C, dataset, LGL)]
    schedule = replace(paper.config.schedule, lr=round(NUM_CLASSES * paper.config.schedule.lr, 9))
    faster = replace(paper, configs=tuple(replace(config, schedule=schedule) for config in paper.configs))
    cells = [_with_known_seeds(judge, one) for one in (second_runs.lgl_sums()[dataset], times_ten[dataset], faster)]
    return max(cells, key=lambda cell: len(inference.finished(judge.results.values(cell))))


def at_own(judge: Judge) -> Cells:
    """CNN2C's cells at each loss's own learning rate, of those whose rate is known, with all seeds."""
    accuracy = judge.results.accuracy
    own = second_runs.first_cells(accuracy)["own-lr"]
    found = {(key.dataset, key.loss): cell for key, cell in own.items()}
    found |= {("mnist", loss): cell for loss, cell in second_runs.mnist_own(accuracy).items()}
    return {place: _with_known_seeds(judge, cell) for place, cell in found.items()}


def _with_known_seeds(judge: Judge, cell: Cell) -> Cell:
    """A cell with all seeds; with the first ones alone until its blind seeds have all finished or diverged."""
    return with_seeds(cell, ALL_SEEDS if _is_whole(judge.results, [cell], ALL_SEEDS) else FIRST_SEEDS)


def summed_outcomes(judge: Judge) -> dict[str, CellOutcome]:
    """What the paper's numbers of LGL are beside LGL summed over the classes, by its own spread; by data set."""
    found: dict[str, CellOutcome] = {}
    papers = at_papers(judge)
    for name in GRAY:
        paper = papers[name, LGL].paper
        prediction = inference.prediction_interval(judge.results.values(papers[name, SUMMED]))
        if paper is not None:
            found[name] = inference.cell_outcome(prediction, paper / 100)
    return found


def estimate(found: Difference) -> Estimate | None:
    """A mean with its interval; None without runs."""
    return Estimate(found.mean, found.low, found.high, found.n) if found.n else None


def mean_accuracy(results: Results, cell: Cell | None) -> Estimate | None:
    """Mean test accuracy after the last epoch of a cell's finished runs, with its 95 % interval."""
    values = [] if cell is None else inference.finished(results.values(cell))
    return estimate(inference.paired_t(Pairs(tuple(values), 0, 0)))


def finding_rows(judge: Judge) -> list[FindingRow]:
    """Each loss on each data set, at the paper's learning rate and at its own."""
    papers, own = at_papers(judge), at_own(judge)
    rows = []
    for name in GRAY:
        for loss in keys.LOSSES:
            cell, chosen = papers[name, loss], own.get((name, loss))
            rows.append(
                FindingRow(
                    dataset=LABELS[name],
                    loss=loss.label,
                    at_paper=mean_accuracy(judge.results, cell),
                    at_own=mean_accuracy(judge.results, chosen),
                    own_lr=None if chosen is None else chosen.config.schedule.lr,
                    paper=None if cell.paper is None else cell.paper / 100,
                    other_reading=mean_accuracy(judge.results, papers[name, SUMMED]) if loss == LGL else None,
                )
            )
    return rows


def _is_whole(results: Results, cells: Iterable[Cell], seeds: Sequence[int]) -> bool:
    """Whether the blind seeds among some may be shown: once all of both cells have finished or diverged."""
    blind = [seed for seed in seeds if seed in BLIND_SEEDS]
    return not blind or all(None not in results.values(with_seeds(cell, blind)) for cell in cells)


def lead_rows(judge: Judge) -> list[LeadRow]:
    """LGL-INR's lead over SML and over LGL in both readings, by data set, learning rate and seeds."""
    papers, own = at_papers(judge), at_own(judge)
    rows = []
    for pair in (*LEAD_PAIRS, (LGL_INR, SUMMED)):
        for name in GRAY:
            for setting, cells in ((AT_PAPERS, papers), (AT_OWN, own)):
                first, second = (cells.get((name, loss)) for loss in pair)
                is_twice = setting == AT_OWN and pair in LEAD_PAIRS and _is_papers(judge, name, pair)
                if first is None or second is None or is_twice:
                    continue
                for told, seeds in SEEDS.items():
                    if _is_whole(judge.results, (first, second), seeds):
                        pairs = judge.results.pairs(with_seeds(first, seeds), with_seeds(second, seeds))
                        lead = estimate(inference.paired_t(pairs))
                        if lead is not None and (seeds is not ALL_SEEDS or lead.n > len(BLIND_SEEDS)):
                            rows.append(LeadRow(pair_label(pair), LABELS[name], setting, told, lead, MARGINS[name]))
    return rows


def _is_papers(judge: Judge, dataset: str, pair: Pair) -> bool:
    """Whether the paper's learning rate is both losses' own, so that their own cells are those shown already."""
    papers, own = at_papers(judge), at_own(judge)
    places = [(dataset, loss) for loss in pair]
    return all(place in own and own[place].key == papers[place].key for place in places)


def spread_at_own(judge: Judge) -> dict[str, float]:
    """How far apart the losses' means are at their own learning rates, by data set, over the seeds that all have."""
    own, found = at_own(judge), {}
    for name in GRAY:
        cells = [own[name, loss] for loss in keys.LOSSES if (name, loss) in own]
        if len(cells) == len(keys.LOSSES):
            by_seed = zip(*map(judge.results.values, cells), strict=True)
            whole = [values for values in by_seed if len(inference.finished(values)) == len(cells)]
            if whole:
                found[name] = float(np.ptp(np.mean(np.array(whole, float), axis=0)))
    return found


def shrinkages(judge: Judge, seeds: Sequence[int] = ALL_SEEDS) -> list[Shrinkage]:
    """How much of each lead goes, where a loss's own learning rate is not the paper's; those with runs."""
    papers, own = at_papers(judge), at_own(judge)
    found = []
    for pair in LEAD_PAIRS:
        for name in GRAY:
            places = [(name, loss) for loss in pair]
            if not all(place in own for place in places) or _is_papers(judge, name, pair):
                continue
            four = [papers[places[0]], papers[places[1]], own[places[0]], own[places[1]]]
            by_seed = zip(*(judge.results.values(with_seeds(cell, seeds)) for cell in four), strict=True)
            whole = [
                tuple(float(value) for value in values if value is not None and math.isfinite(value))
                for values in by_seed
            ]
            leads = np.array([values for values in whole if len(values) == 4]).reshape(-1, 4)
            if len(leads):
                paper, at_rate = leads[:, 0] - leads[:, 1], leads[:, 2] - leads[:, 3]
                found.append(Shrinkage(pair, name, *map(_difference, (paper, at_rate, paper - at_rate))))
    return found


def _difference(values: np.ndarray) -> Difference:
    return inference.paired_t(Pairs(tuple(values.tolist()), 0, 0))


def weight_rows(judge: Judge) -> list[WeightRow]:
    """What LGL-INR's weights change beside even ones (beta 0): every beta on KMNIST, the paper's on all data sets."""
    results = judge.results
    of_beta = {float(one.choice): one.cells[LGL_INR.label] for one in variants.betas() if one.option == "attached"}
    rows = []
    even = second_runs.even_weights()
    for name in GRAY:
        betas = of_beta if name == "kmnist" else {}
        for beta, cell in betas.items():
            if beta > 0:
                rows += _weight_row(results, name, beta, cell, of_beta[0.0])
        both = judge.conditions["paper"][Key(CNN2C, name, LGL_INR)], even[name]
        blind = [with_seeds(one, BLIND_SEEDS) for one in both]
        if _is_whole(results, blind, BLIND_SEEDS):
            rows += _weight_row(results, name, 1.0, *blind)
    return rows


def _weight_row(results: Results, name: str, beta: float, first: Cell, second: Cell) -> list[WeightRow]:
    pairs = results.pairs(first, second)
    difference = inference.paired_t(pairs)
    found, verdict = estimate(difference), inference.compare(pairs, MARGINS[name], difference.p)
    seeds = f"{first.configs[0].seed} to {first.configs[-1].seed}"
    return [WeightRow(LABELS[name], beta, seeds, found, MARGINS[name], verdict)] if found else []


def scores(results: Results, cell: Cell) -> dict[str, list[float]]:
    """NLL, Brier score and ECE of a cell's runs by the map that theory names, normalised; by score."""
    records = [record for config in cell.configs if (record := results.record(config)) is not None]
    of_map = LOSSES[cell.config.loss.name].compared
    known = [record.fields["scores"][of_map] for record in records if of_map in record.fields.get("scores", {})]
    return {name: [float(one[name]) for one in known] for name in ("nll", "brier", "ece")}


def failing_rates(judge: Judge, dataset: str, loss: Part, chance: float = 0.15) -> tuple[float | None, float | None]:
    """From which learning rate on all runs that choose a rate fail, and from which on any does; None: there is none.

    Args:
        judge: has the runs.
        dataset: as registered.
        loss: as registered.
        chance: a run fails that diverges or ends below this accuracy; of ten classes.
    """
    (options,) = [one for one in grid.LOSSES if one.name == loss.name]
    place, accuracy = Place(CNN2C.name, dataset), judge.results.accuracy
    by_rate: dict[float, list[bool]] = {}
    for lr, value in points(place, options, accuracy).items():
        values = [value, *map(accuracy, second_runs.choice_runs(place, options, Runtime())[lr])]
        known = [one for one in values if one is not None]
        if known:
            by_rate[lr] = [math.isnan(one) or one < chance for one in known]
    always = None
    for lr in sorted(by_rate, reverse=True):
        if not all(by_rate[lr]):
            break
        always = lr
    return always, min((lr for lr, failed in by_rate.items() if any(failed)), default=None)
