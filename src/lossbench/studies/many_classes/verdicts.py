"""Verdicts on the sentences of the abstract about many classes, by the rules of docs/many_classes.md."""

import math
from collections.abc import Sequence

from lossbench.report.wording import counted, enumerated, points, probability, seeds_told
from lossbench.statistics.inference import ALPHA, MIN_RUNS, Outcome, Pairs, finished, holm, paired_t
from lossbench.statistics.rank_correlation import LEAST, RankCorrelation, rank_correlation
from lossbench.studies.contrasts import Contrast, values
from lossbench.studies.many_classes import evidence, plan, step_costs
from lossbench.studies.many_classes.evidence import Evidence, Metric
from lossbench.studies.results import Results
from lossbench.studies.sentences import Judged

RETAIN = "Approximations retain the benefits of the exact objective while improving efficiency"
EQUAL_COST = "At equal cost sampled softmax ends lower in NLL than SML (a question of this study, not of the abstract)"
GUARANTEES = "A bias-variance decomposition provides convergence guarantees"
MINIMISER = "What decides: the right minimiser, or a small bias of the gradient? (a question of this study)"
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


def retain(known: Evidence) -> Judged:
    """Some approximation keeps accuracy and NLL within the margins at a fifth of the cost."""
    methods = [one for one in plan.METHODS if plan.approximates(one)]
    accuracy, nll = ({one.label: one for one in of} for of in (known.accuracy, known.nll))
    keep, worse, open_, cheap = [], [], [], []
    for one in methods:
        pairs = nll[one.label].pairs
        share = known.cost(one.label, 1.0)
        is_cheap = share is not None and share <= CHEAP
        if pairs.n < MIN_RUNS or share is None:
            open_.append(one.label)
            continue
        margins = known.within_margins(one.label)
        beyond = _beyond(accuracy[one.label], nll[one.label])
        if margins.keeps and is_cheap and not pairs.failed_first:
            keep.append(one.label)
        elif beyond or not is_cheap or pairs.failed_first:
            worse.append(one.label)
        if is_cheap:
            cheap.append(one.label)
    outcome: Outcome | None = None
    if keep:
        outcome = "holds"
    elif not open_:
        outcome = "fails" if len(worse) == len(methods) else "undecided"
    pro = [_kept(known, label) for label in keep[:MOST_NAMED]]
    more = len(keep) - MOST_NAMED
    pro += [f"{more} more"] if more > 0 else []
    contra = [_lost(worse, nll)] if worse else []
    lacking = f"{len(open_)} of {counted(len(methods), 'approximation')} not yet tested" if open_ else ""
    return Judged(RETAIN, outcome, _sentences(pro), _sentences(contra), _setting(_WORDS, lacking))


MOST_NAMED = 2
"""Methods that evidence names with their numbers."""


def _beyond(accuracy: Contrast, nll: Contrast) -> bool:
    """Whether a 95 % interval lies wholly beyond a margin on the worse side."""
    return accuracy.difference.high < -plan.ACCURACY_MARGIN or nll.difference.low > plan.NLL_MARGIN


def _kept(known: Evidence, label: str) -> str:
    accuracy, nll = (next(one for one in of if one.label == label) for of in (known.accuracy, known.nll))
    share = known.cost(label, 1.0)
    cost = "" if share is None else f", a step in {100 * share:.2g} % of SML's time"
    return f"{label}: accuracy {points(accuracy.difference.mean)} points, NLL {nats(nll)}{cost}"


def _lost(labels: Sequence[str], nll: dict[str, Contrast]) -> str:
    known = sorted((label for label in labels if nll[label].pairs.n), key=lambda label: nll[label].difference.mean)
    told = enumerated(f"{label} {nats(nll[label])}" for label in known[-MOST_NAMED:])
    return f"{counted(len(labels), 'approximation')} worse by more than a margin, or not cheaper; in NLL at most {told}"


def equal_cost(known: Evidence) -> Judged:
    """Sampled softmax for twelve epochs beside SML at the last test that costs no more."""
    found = known.equal_cost
    setting = f"{_WORDS}, {plan.LONG_LABEL}"
    if found is None or found.difference.n < MIN_RUNS:
        lacking = "cost not measured" if found is None else f"{found.missing} pairs missing"
        return Judged(EQUAL_COST, None, "", "", _setting(setting, lacking))
    gap = found.difference
    differs = gap.p < ALPHA
    outcome: Outcome = "undecided" if not differs else "holds" if gap.mean < 0 else "fails"
    text = f"NLL {_nats(found.pairs)} beside SML after {found.epochs:.2g} epochs"
    lacking = f"{found.missing} pairs missing" if found.missing else ""
    return Judged(
        EQUAL_COST, outcome, text if gap.mean < 0 else "", text if gap.mean >= 0 else "", _setting(setting, lacking)
    )


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
    told = ", ".join(f"{name} {correlation_told(*one)}" for name, one in found.items())
    text = f"rank correlation with the final NLL over {whole.n} methods: {told}" if whole.n >= LEAST else ""
    lacking = f"{len(missing)} of {len(wanted)} methods not whole" if missing else ""
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
    pairs = known.between(plan.SAMPLED_LABEL, plan.UNCORRECTED_TARGET_LABEL)
    gap = paired_t(pairs)
    setting = f"{_WORDS}, sampled softmax with m=100"
    if gap.n < MIN_RUNS:
        return Judged(MINIMISER, None, "", "", _setting(setting, f"{gap.n} of 5 pairs done"))
    differs = gap.p < ALPHA
    word = "undecided" if not differs else "the minimiser" if gap.mean < 0 else "the bias"
    text = f"NLL of all corrected less that of the target uncorrected {_nats(pairs)}"
    noise = [known.noise.get(label) for label in (plan.SAMPLED_LABEL, plan.UNCORRECTED_TARGET_LABEL)]
    if all(noise):
        biases = [f"{one.bias:.2g}" for one in noise if one]
        text += f"; relative bias of the gradient {biases[0]} and {biases[1]}"
    return Judged(MINIMISER, None, text if gap.mean < 0 else "", text if gap.mean >= 0 else "", setting, instead=word)


def consistency(known: Evidence) -> Judged:
    """Methods whose minimiser has another order than the posterior are lower in NDCG than their corrected twins."""
    metric = Metric("ndcg10")
    pairs = {label: known.between(label, twin, metric) for label, twin in plan.TWINS.items()}
    gaps = {label: paired_t(one) for label, one in pairs.items()}
    corrected = dict(zip(gaps, holm([one.p for one in gaps.values()]), strict=True))
    lower = [label for label, gap in gaps.items() if corrected[label] < ALPHA and gap.mean < 0]
    missing = [label for label, gap in gaps.items() if gap.n < MIN_RUNS]
    outcome: Outcome | None = None
    if not missing:
        outcome = "holds" if len(lower) == len(gaps) else "undecided" if lower else "fails"
    told = {
        label: f"{label} {points(gap.mean)} points (n={gap.n}, p {probability(corrected[label])})"
        for label, gap in gaps.items()
        if gap.n >= MIN_RUNS
    }
    pro = (
        [f"NDCG at 10 less that of the same method corrected: {enumerated(told[one] for one in lower)}"]
        if lower
        else []
    )
    rest = [told[label] for label in told if label not in lower]
    contra = [f"not shown to be lower: {enumerated(rest)}"] if rest else []
    lacking = f"{len(missing)} of {len(gaps)} methods without pairs" if missing else ""
    return Judged(CONSISTENCY, outcome, _sentences(pro), _sentences(contra), _setting(_WORDS, lacking))


def efficiency(results: Results) -> Judged:
    """Slopes of the cost of SML and of sampled softmax over the number of classes."""
    setting = "output layer, loss and update alone, 1,000 to 100,000 classes"
    names = {"SML": step_costs.BASELINE, "sampled softmax (m=100)": "sampled_softmax_100"}
    full, sampled = (step_costs.cost(results, name).growth for name in names.values())
    if full is None or sampled is None:
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
    return _nats(one.pairs)


def _nats(pairs: Pairs) -> str:
    gap = paired_t(pairs)
    if not gap.n:
        return "no pair of runs"
    interval = "" if math.isnan(gap.low) else f" ({gap.low:+.3f} to {gap.high:+.3f})"
    return f"{gap.mean:+.3f} nats{interval}, n={gap.n}"


def num_done(known: Evidence) -> str:
    """The numbers of finished runs of the methods: "n=5", or "n=0 to 5"."""
    counts = {len(finished(values(known.compared, one.label, evidence.nll))) for one in plan.METHODS}
    return seeds_told(counts)


def _setting(text: str, lacking: str) -> str:
    return f"{text}; {lacking}" if lacking else text


def _sentences(texts: Sequence[str]) -> str:
    return ". ".join(text[0].upper() + text[1:] for text in texts if text)
