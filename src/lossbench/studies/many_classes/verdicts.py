"""Verdicts on the sentences of the abstract about many classes, by the rules of docs/many_classes.md."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lossbench.report.wording import counted, enumerated, points, probability
from lossbench.statistics.inference import ALPHA, MIN_RUNS, Outcome, Pairs, holm, paired_t
from lossbench.statistics.rank_correlation import LEAST, RankCorrelation, rank_correlation
from lossbench.studies.contrasts import Contrast
from lossbench.studies.many_classes import plan, step_costs
from lossbench.studies.many_classes.evidence import Evidence, Metric
from lossbench.studies.results import Results
from lossbench.studies.sentences import Judged

RETAIN = "Approximations retain the benefits of the exact objective while improving efficiency"
EQUAL_COST = "At equal cost sampled softmax ends lower in NLL than SML (a question of this study)"
GUARANTEES = "A bias-variance decomposition provides convergence guarantees"
MINIMISER = "The right minimiser matters more than a small bias of the gradient (a question of this study)"
CONSISTENCY = "Different surrogates achieve consistency with classification and ranking metrics"
EFFICIENCY = "Efficiency: the cost of a step grows with the number of classes for SML, and not for sampled softmax"

CHEAP = 0.2
"""Share of the time of SML's training step that one of an approximation may take."""

LINEAR, FLAT = 0.8, 0.2
"""Slopes of log time over log K above and below which cost grows with the number of classes, or does not."""

_WORDS = "next of 9,580 words, own learning rates"


def judged(known: Evidence) -> list[Judged]:
    """The sentences with their verdicts."""
    return [
        *(retain(known), equal_cost(known), guarantees(known)),
        *(minimiser(known), consistency(known), efficiency(known.results)),
    ]


MOST_NAMED = 2
"""Methods that evidence names with their numbers."""


@dataclass(frozen=True)
class Kept:
    """Whether an approximation keeps SML's quality at a fifth of its cost.

    Args:
        label: of the method.
        outcome: "kept"; why it is not: "diverged", "too slow" or "worse"; "undecided"; None: not yet tested.
    """

    label: str
    outcome: Literal["kept", "diverged", "too slow", "worse", "undecided"] | None


def kept(known: Evidence) -> list[Kept]:
    """All approximations of SML at as many steps."""
    return [Kept(one.label, _kept(known, one.label)) for one in plan.METHODS if plan.approximates(one)]


def _kept(known: Evidence, label: str) -> Literal["kept", "diverged", "too slow", "worse", "undecided"] | None:
    accuracy, nll = _contrasts(known, label)
    share = known.cost(label, 1.0)
    if known.num_diverged(label):
        return "diverged"
    if share is not None and share > CHEAP:
        return "too slow"
    if nll.pairs.n < MIN_RUNS:
        return None if nll.missing else "undecided"
    if accuracy.difference.high < -plan.ACCURACY_MARGIN or nll.difference.low > plan.NLL_MARGIN:
        return "worse"
    if share is None:
        return None
    return "kept" if known.within_margins(label).keeps else "undecided"


def _contrasts(known: Evidence, label: str) -> tuple[Contrast, Contrast]:
    """A method less SML in accuracy and in NLL."""
    accuracy, nll = (next(one for one in of if one.label == label) for of in (known.accuracy, known.nll))
    return accuracy, nll


def retain(known: Evidence) -> Judged:
    """Some approximation keeps accuracy and NLL within the margins at a fifth of the cost."""
    found = kept(known)
    by: dict[str | None, list[str]] = {}
    for one in found:
        by.setdefault(one.outcome, []).append(one.label)
    short = [label for why in ("worse", "too slow", "diverged") for label in by.get(why, [])]
    outcome: Outcome | None = None
    if "kept" in by:
        outcome = "holds"
    elif None not in by:
        outcome = "fails" if len(short) == len(found) else "undecided"
    best = sorted(by.get("kept", []), key=lambda label: _contrasts(known, label)[1].difference.mean)
    pro = [f"{len(best)} of {len(found)} approximations do; lowest NLL: {_told(known, best[0])}"] if best else []
    lacking = f"{len(by[None])} of {counted(len(found), 'approximation')} not yet tested" if None in by else ""
    contra = [_short(known, by, len(found))] if short else []
    if "undecided" in by:
        contra.append(f"undecided: {_few(by['undecided'])}")
    return Judged(RETAIN, outcome, _sentences(pro), _sentences(contra), _setting(_WORDS, lacking))


def _told(known: Evidence, label: str) -> str:
    """A method with its numbers."""
    accuracy, nll = _contrasts(known, label)
    share = known.cost(label, 1.0)
    cost = "" if share is None else f", a step in {100 * share:.2g} % of SML's time"
    return f"{label} (NLL {nats(nll)}; accuracy {points(accuracy.difference.mean)} points{cost})"


def _short(known: Evidence, by: Mapping[str | None, Sequence[str]], num: int) -> str:
    """How many approximations do not keep the quality at a fifth of the cost, and why."""
    words = {
        "worse": ("is worse by more than a margin", "are worse by more than a margin"),
        "too slow": ("takes more than a fifth of SML's time", "take more than a fifth of SML's time"),
        "diverged": ("has diverged runs", "have diverged runs"),
    }
    told = [f"{len(by[why])} {words[why][len(by[why]) > 1]} ({_few(by[why])})" for why in words if by.get(why)]
    worst = max(by.get("worse", []), key=lambda label: _contrasts(known, label)[1].difference.mean, default=None)
    highest = f"; highest NLL: {worst} {nats(_contrasts(known, worst)[1])}" if worst else ""
    return f"of {num} approximations {enumerated(told)}{highest}"


def _few(labels: Sequence[str]) -> str:
    """The first labels, separated by semicolons as they have commas, and how many more there are."""
    rest = len(labels) - MOST_NAMED
    return "; ".join([*labels[:MOST_NAMED], *([f"{rest} more"] if rest > 0 else [])])


def equal_cost(known: Evidence) -> Judged:
    """Sampled softmax for twelve epochs beside SML at the last test that costs no more."""
    found = known.equal_cost
    setting = f"{_WORDS}, {plan.LONG_LABEL}"
    if found is None:
        return Judged(EQUAL_COST, None, "", "", f"{setting}; cost not measured")
    pairs, lacking = found.pairs, _pairs_missing(found.missing)
    if known.of(plan.BASELINE) and math.isnan(found.epochs):
        lacking = "SML has no test at so low a cost"
    gap = paired_t(pairs)
    outcome = _lower(pairs) if _can_be_judged(pairs, found.missing) else None
    after = "" if math.isnan(found.epochs) else f" after {epochs(found.epochs)}"
    text = f"NLL less that of SML{after}: {nats_of(pairs)}{_lost(pairs, 'of sampled softmax', 'of SML')}"
    if outcome is None and not pairs.n:
        text = ""
    is_for = gap.mean < 0
    return Judged(EQUAL_COST, outcome, text if is_for else "", "" if is_for else text, _setting(setting, lacking))


def _pairs_missing(num: int) -> str:
    return f"{counted(num, 'pair')} missing" if num else ""


def _can_be_judged(pairs: Pairs, missing: int) -> bool:
    """Whether there are pairs enough, or no more will come."""
    return pairs.n >= MIN_RUNS or not missing


def _lower(pairs: Pairs) -> Outcome:
    """Holds: the first is lower by paired t; fails: it is higher; neither where runs of the lower one diverged."""
    gap = paired_t(pairs)
    if not gap.p < ALPHA or (pairs.failed_first if gap.mean < 0 else pairs.failed_second):
        return "undecided"
    return "holds" if gap.mean < 0 else "fails"


def _lost(pairs: Pairs, first: str, second: str) -> str:
    """The diverged runs of both sides; empty without any."""
    told = [f"{num} {words}" for num, words in ((pairs.failed_first, first), (pairs.failed_second, second)) if num]
    return f"; diverged runs: {enumerated(told)}" if told else ""


def epochs(number: float) -> str:
    """A number of epochs, such as "0.6 epochs" or "1 epoch"."""
    text = f"{number:.2g}"
    return f"{text} epoch{'' if text == '1' else 's'}"


def correlations(known: Evidence) -> dict[str, tuple[RankCorrelation, float]]:
    """Rank correlations with the final NLL over the estimates, and their p by Holm: bias, sd, root mean square."""
    pairs = [(one, nll) for label, one in known.noise.items() if (nll := _worst_or_mean(known, label)) is not None]
    of = {
        "bias": [one.bias for one, _ in pairs],
        "standard deviation": [one.sd for one, _ in pairs],
        "root mean square": [math.hypot(one.bias, one.sd) for one, _ in pairs],
    }
    found = {name: rank_correlation(xs, [nll for _, nll in pairs]) for name, xs in of.items()}
    corrected = holm([one.p for one in found.values()])
    return {name: (one, p) for (name, one), p in zip(found.items(), corrected, strict=True)}


def _worst_or_mean(known: Evidence, label: str) -> float | None:
    """The mean NLL of a method's runs; inf if one diverged; None while none is done."""
    if known.num_diverged(label):
        return math.inf
    nlls = known.of(label)
    return sum(nlls) / len(nlls) if nlls else None


def guarantees(known: Evidence) -> Judged:
    """Whether bias and variance of the gradient order the methods by their final NLL."""
    wanted = [one.label for one in plan.METHODS if plan.is_estimate(one)]
    found = correlations(known)
    whole, p = found["root mean square"]
    missing = [label for label in wanted if label not in known.noise or not _is_whole(known, label)]
    outcome: Outcome | None = None
    if not missing:
        outcome = "undecided" if not p < ALPHA else "holds" if whole.rho > 0 else "fails"
    told = "; ".join(f"{name} {correlation_told(*one)}" for name, one in found.items())
    is_known = whole.n >= LEAST and not all(math.isnan(one.rho) for one, _ in found.values())
    text = f"rank correlation with the final NLL over {whole.n} methods: {told}" if is_known else ""
    lacking = f"{len(missing)} of {len(wanted)} methods lack runs or the measured gradient" if missing else ""
    setting = _setting(f"{_WORDS}; gradient in the output layer after one epoch of SML", lacking)
    is_for = whole.rho > 0
    return Judged(GUARANTEES, outcome, _sentences([text] * is_for), _sentences([text] * (not is_for)), setting)


def correlation_told(one: RankCorrelation, p: float) -> str:
    """A rank correlation with its interval and p."""
    if math.isnan(one.rho):
        return "not computable"
    interval = "" if math.isnan(one.low) else f" ({one.low:+.2f} to {one.high:+.2f})"
    return f"{one.rho:+.2f}{interval}, p {probability(p)}"


def _is_whole(known: Evidence, label: str) -> bool:
    return len(known.of(label)) + known.num_diverged(label) == known.compared.comparison.rules.num_seeds


def minimiser(known: Evidence) -> Judged:
    """All logits corrected, whose minimiser is right, beside the target uncorrected, whose bias is smaller."""
    labels = plan.SAMPLED_LABEL, plan.UNCORRECTED_TARGET_LABEL
    pairs, missing = known.pairs(*labels)
    gap, setting = paired_t(pairs), f"{_WORDS}, sampled softmax with m=100"
    if not _can_be_judged(pairs, missing):
        return Judged(MINIMISER, None, "", "", _setting(setting, _pairs_missing(missing)))
    word = {"holds": "the minimiser", "fails": "the bias", "undecided": "undecided"}[_lower(pairs)]
    lost = _lost(pairs, "with all corrected", "with the target uncorrected")
    text = f"NLL with all logits corrected less that with the target uncorrected: {nats_of(pairs)}{lost}"
    noise = [known.noise.get(label) for label in labels]
    if all(noise):
        biases = [f"{one.bias:.2g}" for one in noise if one]
        text += f"; relative bias of the gradient {biases[0]} and {biases[1]}"
    is_for = gap.mean < 0
    setting = _setting(setting, _pairs_missing(missing))
    return Judged(MINIMISER, None, text if is_for else "", "" if is_for else text, setting, instead=word)


def consistency(known: Evidence) -> Judged:
    """Methods whose minimiser has another order than the posterior are lower in NDCG than their corrected twins."""
    found = {label: known.pairs(label, twin, Metric("ndcg10")) for label, twin in plan.TWINS.items()}
    pairs = {label: one for label, (one, _) in found.items()}
    gaps = {label: paired_t(one) for label, one in pairs.items()}
    corrected = dict(zip(gaps, holm([one.p for one in gaps.values()]), strict=True))
    lower = [
        label
        for label, gap in gaps.items()
        if corrected[label] < ALPHA and gap.mean < 0 and not pairs[label].failed_second
    ]
    open_ = [label for label, (one, missing) in found.items() if not _can_be_judged(one, missing)]
    is_tested = all(gap.n >= MIN_RUNS for gap in gaps.values())
    outcome: Outcome | None = None
    if not open_:
        outcome = "holds" if len(lower) == len(gaps) else "undecided" if lower or not is_tested else "fails"

    def told(labels: Iterable[str]) -> str:
        return "; ".join(
            (
                f"{label} {points(gaps[label].mean)} points, p {probability(corrected[label])}, n={gaps[label].n}"
                if gaps[label].n
                else f"{label}: no pair of runs"
            )
            + _lost(pairs[label], "of it", "of the corrected one")
            for label in labels
        )

    rest = [label for label in gaps if label not in lower and (gaps[label].n or label not in open_)]
    pro = [f"NDCG at 10 less that of the same method corrected: {told(lower)}"] if lower else []
    contra = [f"not shown to be lower: {told(rest)}"] if rest else []
    lacking = f"{len(open_)} of {len(gaps)} methods not yet tested" if open_ else ""
    return Judged(CONSISTENCY, outcome, _sentences(pro), _sentences(contra), _setting(_WORDS, lacking))


def efficiency(results: Results) -> Judged:
    """Slopes of the cost of SML and of sampled softmax over the number of classes."""
    setting = "output layer, loss and update alone, 1,000 to 100,000 classes"
    names = {"SML": step_costs.BASELINE, "sampled softmax (m=100)": "sampled_softmax_100"}
    full, sampled = (step_costs.cost(results, name).growth for name in names.values())
    if full is None or sampled is None or math.isnan(full.low + sampled.high):
        return Judged(EFFICIENCY, None, "", "", f"{setting}; not yet measured")
    is_linear, is_flat = full.low > LINEAR, sampled.high < FLAT
    outcome: Outcome = "holds" if is_linear and is_flat else "undecided" if is_linear or is_flat else "fails"
    told = [
        f"the time of {name} grows as K to the power of {one.slope:.2f} ({one.low:.2f} to {one.high:.2f}, n={one.n})"
        for name, one in zip(names, (full, sampled), strict=True)
    ]
    pro, contra = (
        [text for text, is_so in zip(told, (is_linear, is_flat), strict=True) if is_so is flag]
        for flag in (True, False)
    )
    return Judged(EFFICIENCY, outcome, _sentences(pro), _sentences(contra), setting)


def nats(one: Contrast) -> str:
    """A difference of NLLs with its interval and n."""
    return nats_of(one.pairs)


def nats_of(pairs: Pairs) -> str:
    """The mean of differences of NLLs with its interval and n."""
    gap = paired_t(pairs)
    if not gap.n:
        return "no pair of runs"
    interval = "" if math.isnan(gap.low) else f" ({gap.low:+.3f} to {gap.high:+.3f})"
    return f"{gap.mean:+.3f} nats{interval}, n={gap.n}"


def _setting(text: str, lacking: str) -> str:
    return f"{text}; {lacking}" if lacking else text


def _sentences(texts: Sequence[str]) -> str:
    return ". ".join(text[0].upper() + text[1:] for text in texts if text)
