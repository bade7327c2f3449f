"""The second round as blocks of a page: what the blind seeds confirm, and what they add."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Paragraph
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import NO_NUMBER, enumerated, in_words, percent, points, predicted, span
from lossbench.statistics import inference
from lossbench.statistics.inference import Pairs
from lossbench.studies.aaai20.claims import Contrast
from lossbench.studies.aaai20.keys import LGL_INR, pair_label
from lossbench.studies.aaai20.second_runs import BLIND_SEEDS, CHOICE_SEEDS
from lossbench.studies.aaai20.second_verdicts import TAIL, Blind, Confirmation, RateChoice, SecondRound, Status
from lossbench.studies.cells import Part

NOT_YET = toned("not yet run")
FAMILY = {"paper": "the paper's learning rate", "own-lr": "own learning rates"}


def second_round(second: SecondRound) -> list[Block]:
    """Everything that the second round says so far."""
    return [
        Paragraph(_summary(second.confirmations)),
        *_confirmations(second.confirmations),
        *_headlines(second),
        *_numbers(second),
        *_further(second),
        *_ranking(second),
        *_choices(second),
    ]


def blind_words(second: SecondRound) -> dict[Contrast, str]:
    """What the blind seeds make of each comparison's word."""
    return {one.first.contrast: toned(one.status) for one in second.confirmations}


def headline_status(second: SecondRound) -> dict[tuple[Part, str], str]:
    """What the blind seeds make of each headline, by other loss and data set."""
    return {(one.first.other, one.first.dataset): toned(one.status) for one in second.headlines()}


def _summary(confirmations: Sequence[Confirmation]) -> str:
    counts = Counter(one.status for one in confirmations)
    told = [words.format(counts[status]) for status, words in _STATUS.items() if counts[status]]
    return (
        f"Blind seeds ({BLIND_SEEDS[0]} to {BLIND_SEEDS[-1]}) repeat {len(confirmations)} comparisons of CNN2C that "
        f"were judged by seeds 0 to 4: {enumerated(told)}. Their rules were written before they ran; the test images "
        f"are the same as before. A comparison is judged once all {in_words(len(BLIND_SEEDS))} seeds of both its "
        "cells are done."
    )


_STATUS: Mapping[Status, str] = {
    "confirmed": "{} confirmed",
    "contradicted": "{} contradicted",
    "undecided": "{} undecided",
    "nothing to confirm": "{} with nothing to confirm, as seeds 0 to 4 do not decide them",
    "not yet run": "{} not yet run",
}
"""How many comparisons have a status, in words."""


def _measured(pairs: Pairs) -> str:
    one = inference.paired_t(pairs)
    if not one.n:
        return NO_NUMBER
    return f"{points(one.mean)}" + ("" if math.isnan(one.low) else f" ({span(one.low, one.high)})")


def _pairs(pairs: Pairs, whole: bool) -> str:
    return _measured(pairs) if whole else NOT_YET


def _confirmations(confirmations: Sequence[Confirmation]) -> list[Block]:
    lines = {
        (FAMILY[one.first.contrast.condition], one.first.contrast.label, LABELS[one.first.contrast.dataset]): {
            "Seeds 0 to 4": _measured(one.blind.first),
            "Verdict": toned(one.first.word),
            "Seeds 5 to 9": _pairs(one.blind.comparison.pairs, one.blind.whole),
            "Blind verdict": toned(one.blind.word or NOT_YET),
            "Status": toned(one.status),
            "Last five epochs, blind": _pairs(one.blind.secondary, one.blind.whole),
            "Last five epochs, post hoc": _measured(one.blind.first_secondary),
            "Seeds 0 to 9": _pairs(one.blind.pooled, one.blind.whole),
        }
        for one in confirmations
    }
    caption = (
        "The comparisons of the first round, repeated with blind seeds: mean difference in test accuracy after the "
        "last epoch, in points (95 % interval), paired over seeds, CNN2C; verdicts after Holm over the family's cells. "
        f"The secondary endpoint is the mean of the last {TAIL} epochs; for seeds 0 to 4 it is post hoc. Seeds 0 to 9 "
        "together give estimates and no verdict, because seeds 5 to 9 were added after seeds 0 to 4 had been seen."
    )
    return [table(lines, ["At", "Contrast", "Data set"], caption)]


def _headlines(second: SecondRound) -> list[Block]:
    lines = {
        (pair_label((LGL_INR, one.first.other)), LABELS[one.first.dataset]): {
            "Seeds 0 to 4": toned(one.first.headline),
            "Seeds 5 to 9": toned(one.blind or NOT_YET),
            "Status": toned(one.status),
        }
        for one in second.headlines()
    }
    return [
        table(lines, ["Contrast", "Data set"], "The verdict on LGL-INR's lead, by seeds 0 to 4 and by the blind seeds.")
    ]


def _numbers(second: SecondRound) -> list[Block]:
    lines = {}
    for one in second.numbers():
        status = NOT_YET if one.outcome is None else "confirmed" if one.outcome == one.first else "contradicted"
        _, dataset, loss = one.key.labels
        lines[dataset, loss] = {
            "Paper": percent(one.paper),
            "Seeds 0 to 4": toned(one.first),
            "Blind mean": percent(one.prediction.mean) if one.whole else NOT_YET,
            "One new run": predicted(one.prediction) if one.whole else NOT_YET,
            "Seeds 5 to 9": toned(one.outcome or NOT_YET),
            "Status": toned(status if one.first != "too few" else "nothing to confirm"),
        }
    caption = (
        "The paper's numbers of CNN2C (%) beside the 95 % prediction interval of the blind seeds alone, s pooled over "
        "the losses of a data set."
    )
    return [table(lines, ["Data set", "Loss"], caption)]


def _further(second: SecondRound) -> list[Block]:
    lines = {}
    for (family, _), blind in second.further.items():
        for one in blind:
            contrast = one.comparison.contrast
            lines[family, contrast.label, LABELS[contrast.dataset]] = _further_line(one)
    caption = (
        "Contrasts that the second round adds, CNN2C, test accuracy after the last epoch in points (95 % interval): "
        "verdicts from the blind seeds, Holm over the data sets of a contrast. LGL-INR with beta 0 has even weights. "
        "LGL summed over the classes is ten times the mean; without weight decay this equals ten times the learning "
        "rate, so on Fashion-MNIST it is LGL at its own learning rate, which is no further evidence. The decaying "
        "learning rate falls tenfold after 50 and 75 % of the epochs; each loss has its own rate. None of these "
        "contrasts decides a claim of the paper."
    )
    return [table(lines, ["Family", "Contrast", "Data set"], caption)]


def _further_line(one: Blind) -> dict[str, str]:
    return {
        "Seeds 5 to 9": _pairs(one.comparison.pairs, one.whole),
        "Verdict": toned(one.word or NOT_YET),
        "Last five epochs": _pairs(one.secondary, one.whole),
        "Seeds 0 to 4": _measured(one.first),
        "n": str(one.first.n),
    }


def _ranking(second: SecondRound) -> list[Block]:
    lines = {
        (pair_label(pair), LABELS[dataset]): {
            "Constant rate": toned(constant or NOT_YET),
            "Decaying rate": toned(decaying or NOT_YET),
            "Depends on the rate?": toned(answer if constant and decaying else NOT_YET),
        }
        for (pair, dataset), (constant, decaying, answer) in second.ranking().items()
    }
    caption = (
        "Whether the ranking of the losses depends on the constant learning rate: verdicts from the blind seeds, each "
        "loss at its own learning rate, constant and decaying."
    )
    return [table(lines, ["Contrast", "Data set"], caption)]


def _choices(second: SecondRound) -> list[Block]:
    lines = {(LABELS[one.dataset], one.loss.label): _choice_line(one) for one in second.choices()}
    caption = (
        "How stable the choice of each loss's own learning rate is. Seed 1000 chose it; seeds 1001 to 1004 choose "
        "again among this rate and its neighbours, by mean accuracy on the same 6,000 held-out images. Best in: number "
        f"of the {in_words(len(CHOICE_SEEDS))} seeds in which this second choice is the best rate. Lead: over the "
        "second-best rate, in points (95 % interval). The held-out images are fixed, so only the noise of training is "
        "included."
    )
    blocks: list[Block] = [table(lines, ["Data set", "Loss"], caption)]
    others = {
        key.labels[1:]: {
            "Learning rate": f"{cell.config.schedule.lr:g}",
            "Accuracy (%)": percent(float(np.mean(known))) if (known := inference.finished(values)) else NOT_YET,
            "n": str(len(known)),
        }
        for key, cell, values in second.otherwise()
    }
    if others:
        told = "Sensitivity: test accuracy with blind seeds where the four further seeds choose another learning rate."
        blocks.append(table(others, ["Data set", "Loss"], told))
    return blocks


def _choice_line(one: RateChoice) -> dict[str, str]:
    first = NO_NUMBER if one.first is None else f"{one.first:g}"
    if one.choice is None or one.choice.best is None:
        return {"Seed 1000": first, "Seeds 1001 to 1004": NOT_YET, "Best in": NOT_YET, "Lead": NOT_YET}
    best, by_rate = one.choice.best, one.choice.accuracies
    each = [max(by_rate, key=lambda lr: (_or_worst(by_rate[lr][seed]), -lr)) for seed in range(len(by_rate[best]))]
    others = {lr: np.mean([_or_worst(value) for value in values]) for lr, values in by_rate.items() if lr != best}
    runner_up = max(others, key=lambda lr: others[lr])
    lead = inference.pair(by_rate[best], by_rate[runner_up])
    return {
        "Seed 1000": first,
        "Seeds 1001 to 1004": f"{best:g}",
        "Best in": f"{each.count(best)} of {len(each)}",
        "Lead": f"{_measured(lead)} over {runner_up:g}",
    }


def _or_worst(value: float | None) -> float:
    return -1.0 if value is None or math.isnan(value) else value
