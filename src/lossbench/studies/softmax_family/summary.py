"""The study's answer on the first part of the page: three sentences, a picture, verdicts, what would change it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lossbench.report.blocks import Block, Items, Paragraph, Picture
from lossbench.report.family_figure import FamilyMark, FamilyRow, family_picture
from lossbench.report.rows import Estimate
from lossbench.report.wording import enumerated, percent, points, probability, seeds_told
from lossbench.runs.gradient_arrays import ZEROS
from lossbench.statistics.inference import finished
from lossbench.studies.compared import Compared
from lossbench.studies.comparison_words import tiles
from lossbench.studies.contrasts import Contrast, values
from lossbench.studies.results import Results
from lossbench.studies.sentences import plan_state, sentences_table
from lossbench.studies.softmax_family import measured, plan, verdicts
from lossbench.studies.softmax_family.verdicts import MOST_NAMED, Family, epochs_told, losses, pairs_told
from lossbench.studies.study import Planned

_CAPTION = (
    "Sentences of the abstract that ten classes can test, with verdicts by rules written before the runs "
    "(docs/softmax_family.md): paired t over seeds with Holm's correction over the losses of a data set. NDCG of a "
    "test image is 1 / log2(1 + r), r the rank of the true class by logit, ties at their mean rank. Differences are in "
    "points of percent, those of NDCG times 100. Higher is by this test alone, however small the difference; 0 higher "
    "means that none is shown to be with these seeds."
)


def blocks(known: Family, results: Results, planned: Sequence[Planned]) -> list[Block]:
    """All of the summary.

    Args:
        known: the study's runs.
        results: all known runs.
        planned: the study's plan as far as it is known.
    """
    return [
        Items([accuracy(known), probabilities(known), gradients(known, results)]),
        picture(known),
        sentences_table(verdicts.judged(known), _CAPTION),
        Paragraph(mind(known)),
        Paragraph(plan_state(planned, results)),
    ]


def accuracy(known: Family) -> str:
    """How many losses are higher than SML, equivalent, undecided and lower, and the highest and lowest."""
    parts = [_accuracy(plan.DATASETS[name], one) for name, one in known.compared.items()]
    return f"Accuracy, each loss at its own learning rate beside SML: {'; '.join(parts)}."


def _accuracy(label: str, compared: Compared) -> str:
    tested = [one for one in compared.others if one.against_own and one.against_own.pairs.n]
    lost = _diverged(compared)
    if not tested:
        return f"on {label} {f'no pair of finished runs with SML{lost}' if lost else 'not yet run'}"
    untested = [one for one in compared.others if one not in tested]
    never = sum(bool(one.at_own.diverged) for one in untested)
    counts = {one.words: one.number for one in tiles(compared)[0].counts}
    counts["without a verdict"] = counts.get("without a verdict", 0) - len(untested)
    counts |= {"diverged": never, "not yet run": len(untested) - never}
    words = {"equivalent": f"equivalent within {100 * compared.comparison.rules.margin:g} points"}
    told = [_are(number, words.get(word, word)) for word, number in counts.items() if number]
    gaps = {one.label: one.against_own.difference for one in tested if one.against_own}
    ends = sorted(gaps, key=lambda name: gaps[name].mean)
    reach = f"{ends[-1]} {points(gaps[ends[-1]].mean)} points"
    if len(ends) > 1:
        reach = f"from {ends[0]} {points(gaps[ends[0]].mean)} to {reach}"
    n = seeds_told({one.n for one in gaps.values()})
    base = percent(compared.baseline.at_own.moments.mean)
    return f"on {label} (SML {base} %), of {losses(len(compared.others))} {enumerated(told)}{lost}, {reach} ({n})"


def _are(number: int, word: str) -> str:
    """How many are so, such as "1 is higher"."""
    if word == "diverged":
        return f"{number} {word}"
    return f"{number} {'is' if number == 1 else 'are'} {word}"


def _diverged(compared: Compared) -> str:
    """The losses with diverged runs in parentheses, SML first; of more than two others their number alone."""
    lost = [one for one in (compared.baseline, *compared.others) if one.at_own.diverged]
    base, others = ([one for one in lost if (one is compared.baseline) is flag] for flag in (True, False))
    named = [*base, *(others if len(others) <= MOST_NAMED else [])]
    told = [f"{one.label} {one.at_own.diverged} of {len(one.at_own.values)}" for one in named]
    told += [losses(len(others))] if len(others) > MOST_NAMED else []
    return f" (diverged: {enumerated(told)})" if told else ""


def probabilities(known: Family) -> str:
    """NLL after one temperature beside SML's, and where a probability of 0 makes the NLL infinite."""
    parts = [_probabilities(plan.DATASETS[name], one, known.tempered_nll[name]) for name, one in known.compared.items()]
    zeros = _zeros(known)
    return f"Probabilities, NLL after one temperature: {'; '.join(parts)}.{f' {zeros}' if zeros else ''}"


def _probabilities(label: str, compared: Compared, tests: Sequence[Contrast]) -> str:
    base = finished(values(compared, compared.comparison.rules.baseline, measured.score("nll", "tempered")))
    tested = [one for one in tests if one.pairs.n]
    if not base or not tested:
        return f"on {label} not yet run"
    better, worse = sum(one.is_better for one in tested), sum(one.is_worse for one in tested)
    counts = {"lower": better, "higher": worse, "not shown to differ": len(tested) - better - worse}
    told = enumerated(_are(number, word) for word, number in counts.items() if number)
    best = min(tested, key=lambda one: one.difference.mean)
    return (
        f"on {label}, SML {np.mean(base):.3f} nats, of {losses(len(tested))} {told}, at best {best.label} "
        f"{best.difference.mean:+.3f} nats ({pairs_told(tested)})"
    )


def _zeros(known: Family) -> str:
    """For how many images a probability of 0 makes the NLL infinite, at most."""
    parts = []
    for name, compared in known.compared.items():
        shares = {label: _mean(compared, label, "zeros") or 0.0 for label in compared.comparison.losses}
        some = {label: share for label, share in shares.items() if share}
        if some:
            most = max(some, key=lambda label: some[label])
            where = f"on {plan.DATASETS[name]} with {most}"
            parts.append(f"{100 * some[most]:.2g} % {where} (the most of {losses(len(some))})")
    told = " and ".join(parts)
    return f"Test images whose class gets probability 0, an infinite NLL: {told}." if told else ""


def _mean(compared: Compared, label: str, key: str, name: str | None = None) -> float | None:
    found = finished(values(compared, label, measured.score(key, name)))
    return float(np.mean(found)) if found else None


def gradients(known: Family, results: Results) -> str:
    """Epochs until the end is near, beside SML's, and the share of zeros in the gradients."""
    fashion = known.compared["fmnist"]
    base = finished(values(fashion, "SML", measured.epochs))
    tested = [one for one in known.epochs if one.pairs.n]
    if not base or not tested:
        first = "epochs to within 0.5 points of the end not yet run for the Fenchel-Young losses"
    else:
        differ = [one for one in tested if one.is_better or one.is_worse]
        named = f": {enumerated(f'{one.label} {epochs_told(one)}' for one in differ)}" if differ else ""
        first = (
            f"SML comes within 0.5 points of its end after {np.mean(base):.1f} epochs on Fashion-MNIST "
            f"(n={len(base)}); {len(differ)} of {losses(len(tested), 'Fenchel-Young ')} beside it "
            f"{'differs' if len(differ) == 1 else 'differ'} (Holm){named}"
        )
    return f"Gradients: {first}; {_zero_entries(results)}."


def _zero_entries(results: Results) -> str:
    """The share of gradient entries that are exactly 0 after the last epoch, of SML and of the loss with most."""
    shares: dict[str, list[float]] = {}
    for label, configs in plan.traced(results.accuracy).items():
        arrays = [results.arrays(config) for config in configs]
        ends = [one[ZEROS][-1, 0] for one in arrays if one is not None and ZEROS in one]
        if ends:
            shares[label] = [float(end) for end in ends]
    if not shares:
        return "no run with traced gradients yet"
    most = max(shares, key=lambda label: np.mean(shares[label]))
    told = [
        f"{label} {100 * np.mean(shares[label]):.1f} % (n={len(shares[label])})"
        for label in dict.fromkeys(("SML", most))
        if label in shares
    ]
    rest = f", the most of {losses(len(shares))}" if len(shares) > 1 else ""
    return f"entries of a sample's gradient that are exactly 0 after the last epoch: {', '.join(told)}{rest}"


def picture(known: Family) -> Picture:
    """Accuracy and NLL of all losses, in the order of the plan."""
    of = {
        label: config.loss
        for compared in known.compared.values()
        for label, config in compared.comparison.losses.items()
    }
    rows = []
    for label, loss in of.items():
        marks = tuple(
            _mark(plan.DATASETS[name], compared, label)
            for name, compared in known.compared.items()
            if label in compared.comparison.losses
        )
        group = "Fenchel-Young losses" if loss in plan.FAMILY else "Relatives"
        rows.append(FamilyRow(label, group, marks, label == "SML"))
    found = family_picture(rows, "SML", plan.MARGIN, "softmax_family")
    return replace(found, caption=f"{found.caption} Entmax: alpha 1.5.")


def _mark(dataset: str, compared: Compared, label: str) -> FamilyMark:
    one = next(one for one in compared.losses if one.label == label)
    found = one.against_own.difference if one.against_own else None
    difference = Estimate(found.mean, found.low, found.high, found.n) if found and found.n else None
    num = len(finished(values(compared, label, measured.score("nll"))))
    nll, tempered, zeros = (_mean(compared, label, *of) for of in (("nll",), ("nll", "tempered"), ("zeros",)))
    return FamilyMark(dataset, difference, nll, tempered, zeros, num, one.at_own.diverged)


def mind(known: Family) -> str:
    """What would change the answer, and what of it is seen so far."""
    accurate = _on_both(known.accuracy)
    probable = _on_both(known.tempered_nll)
    theory = [one.name for one in known.orders if one.is_seen and one.name in ("smoothness bound", "margin")]
    seen = []
    if accurate:
        seen.append(f"higher than SML in accuracy on both: {enumerated(accurate)}")
    if probable:
        seen.append(f"lower NLL than SML after one temperature on both: {enumerated(probable)}")
    if theory:
        ps = enumerated(f"{one.name} (p {probability(one.p_holm)})" for one in known.orders if one.name in theory)
        seen.append(f"accuracies ordered by {ps}")
    told = "; ".join(seen) or "none of this"
    return (
        "What would change our mind: a loss of the family that is higher than SML on both data sets, or whose "
        "probabilities are better than SML's after one temperature on both, would say that softmax is not all one "
        "needs. If the smoothness bound or the margin ordered the accuracies, theory would choose a loss; if nothing "
        f"does, the choice is one of probabilities and cost. Seen so far: {told}."
    )


def _on_both(tests: dict[str, list[Contrast]]) -> list[str]:
    """The losses that are significantly better than SML on every data set."""
    better = [{one.label for one in of if one.is_better} for of in tests.values()]
    first = next(iter(tests.values()))
    return [one.label for one in first if all(one.label in of for of in better)]
