"""Verdicts on the sentences of the abstract, by the rules of docs/softmax_family.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lossbench.report.wording import counted, enumerated, points, probability, seeds_told
from lossbench.statistics.inference import ALPHA, MIN_RUNS, Outcome, tost
from lossbench.statistics.rank_correlation import LEAST
from lossbench.studies.compared import Compared
from lossbench.studies.contrasts import Contrast, contrasts
from lossbench.studies.results import Results
from lossbench.studies.sentences import Judged
from lossbench.studies.softmax_family import measured, plan, theory

ONE_EPOCH = 1.0
"""How far the epochs of all losses may be from SML's at most, if their convergence is to be called alike."""

ALIGNS = "Softmax loss aligns with classification and ranking metrics"
CONVERGENCE = "Gradient dynamics reveal different convergence behaviors"
CANONICAL = "The Fenchel-Young framework situates it [the Softmax loss] as a canonical instance within a broad family"
APPROXIMATIONS = "Bias-variance decomposition offers convergence guarantees (of approximations for many classes)"
ORDER = "What theory states of the losses orders their accuracies (a question of this study, not of the abstract)"

MOST_NAMED = 2
"""Losses of a data set and metric that evidence names with their numbers."""

_OWN = "CNN2C, own learning rates"


@dataclass(frozen=True)
class Family:
    """The study's runs on both data sets, by the data set's name."""

    compared: dict[str, Compared]

    @cached_property
    def accuracy(self) -> dict[str, list[Contrast]]:
        """Accuracy of each loss less SML's, Holm over the losses of a data set."""
        return {name: contrasts(one, measured.accuracy) for name, one in self.compared.items()}

    @cached_property
    def ndcg(self) -> dict[str, list[Contrast]]:
        """NDCG of the true class of each loss less SML's, likewise."""
        return {name: contrasts(one, measured.ranked("ndcg")) for name, one in self.compared.items()}

    @cached_property
    def tempered_nll(self) -> dict[str, list[Contrast]]:
        """NLL after one temperature of each loss less SML's, likewise; description."""
        score = measured.score("nll", "tempered")
        return {name: contrasts(one, score, better=-1) for name, one in self.compared.items()}

    @cached_property
    def epochs(self) -> list[Contrast]:
        """Epochs to within 0.5 points of the end of the Fenchel-Young losses on Fashion-MNIST, Holm over the six."""
        labels = list(self._fashion.comparison.losses)[1 : len(plan.FAMILY)]
        return contrasts(self._fashion, measured.epochs, labels, better=-1)

    @cached_property
    def orders(self) -> list[theory.Order]:
        """What theory states, and the accuracies on Fashion-MNIST."""
        return theory.orders(self._fashion)

    @property
    def _fashion(self) -> Compared:
        return self.compared["fmnist"]


def family(results: Results) -> Family:
    """The study's runs as far as they are known."""
    return Family({name: Compared(plan.comparison(name), results) for name in plan.DATASETS})


def judged(known: Family) -> list[Judged]:
    """The sentences of the abstract with their verdicts, and whether theory orders anything."""
    return [aligns(known), convergence(known), canonical(), approximations(), order(known)]


def aligns(known: Family) -> Judged:
    """No loss is higher than SML in accuracy, and none in NDCG, on either data set."""
    parts = [(plan.DATASETS[name], known.accuracy[name], known.ndcg[name]) for name in plan.DATASETS]
    higher = {label: [one for of in tests for one in of if one.is_better] for label, *tests in parts}
    lacking = [text for label, accuracy, ndcg in parts for text in _lacking_ranks(label, accuracy, ndcg)]
    outcome: Outcome | None = None
    if not any(lacking):
        whole = all(_is_tested(known.compared[name]) for name in plan.DATASETS)
        found = [bool(ones) for ones in higher.values()]
        outcome = "undecided" if any(found) != all(found) or not whole else "fails" if all(found) else "holds"
    pro = [_none_higher(label, accuracy, ndcg) for label, accuracy, ndcg in parts if not higher[label]]
    contra = [
        f"{label}, {metric}: {_named(ones)}"
        for label, accuracy, ndcg in parts
        for metric, of in (("accuracy", accuracy), ("NDCG of the true class", ndcg))
        if (ones := [one for one in of if one.is_better])
    ]
    return Judged(ALIGNS, outcome, _sentences(pro), _sentences(contra), _setting(_both(known), lacking))


def _none_higher(label: str, accuracy: Sequence[Contrast], ndcg: Sequence[Contrast]) -> str:
    """That no loss is higher on a data set, where something is known; else empty."""
    told = []
    for metric, of in (("accuracy", accuracy), ("NDCG of the true class", ndcg)):
        tested = [one for one in of if one.pairs.n >= MIN_RUNS]
        lower = sum(one.is_worse for one in tested)
        if tested:
            told.append(f"in {metric} 0 of {losses(len(tested))} higher than SML, {lower} lower ({pairs_told(tested)})")
    return f"{label}: {'; '.join(told)}" if told else ""


def _named(ones: Sequence[Contrast]) -> str:
    """The losses with the largest differences in points, and how many more there are."""
    ranked = sorted(ones, key=lambda one: -one.difference.mean)
    texts = [f"{one.label} {points(one.difference.mean)} points (n={one.pairs.n})" for one in ranked[:MOST_NAMED]]
    rest = len(ranked) - MOST_NAMED
    return enumerated([*texts, *([f"{rest} more"] if rest > 0 else [])])


def convergence(known: Family) -> Judged:
    """Some Fenchel-Young loss needs other epochs than SML, or all need the same within one."""
    tests = known.epochs
    differ = [one for one in tests if one.is_better or one.is_worse]
    within = [one for one in tests if tost(one.pairs, ONE_EPOCH).p < ALPHA]
    lacking = [_lacking("", tests)]
    outcome: Outcome | None = None
    if not any(lacking):
        outcome = "holds" if differ else "fails" if len(within) == len(tests) else "undecided"
    pro = [f"{one.label} {epochs_told(one)}" for one in differ]
    contra = [*([] if differ else _none_differs(tests)), *([_within_told(within, len(tests))] if within else [])]
    setting = f"Fashion-MNIST, {_OWN}, seven Fenchel-Young losses, epochs to within 0.5 points of the end"
    return Judged(CONVERGENCE, outcome, _sentences(pro), _sentences(contra), _setting(setting, lacking))


def _none_differs(tests: Sequence[Contrast]) -> list[str]:
    """That no loss is shown to differ, with the largest difference; empty without a test."""
    tested = [one for one in tests if one.pairs.n >= MIN_RUNS]
    if not tested:
        return []
    largest = max(tested, key=lambda one: abs(one.difference.mean))
    return [f"0 of {losses(len(tested))} shown to differ, largest difference {largest.label} {epochs_told(largest)}"]


def epochs_told(one: Contrast) -> str:
    """A difference of epochs with its interval and n."""
    found = one.difference
    if not found.n:
        return "no pair of runs"
    interval = "" if found.low != found.low else f", 95 % interval {found.low:+.1f} to {found.high:+.1f}"
    return f"{found.mean:+.1f} epochs{interval}, n={found.n}"


def _within_told(within: Sequence[Contrast], num: int) -> str:
    labels = enumerated(one.label for one in within)
    return f"{len(within)} of {losses(num)} within one epoch of SML (90 % interval, {pairs_told(within)}): {labels}"


def canonical() -> Judged:
    """A property of the functions."""
    return Judged(
        CANONICAL,
        None,
        "entmax, a Fenchel-Young loss, equals the softmax loss as alpha goes to 1 and sparsemax as alpha goes to 2; "
        "tested in tests/test_entmax.py",
        "",
        "no runs: the functions themselves, on random logits of 5 classes",
        instead="a property",
    )


def approximations() -> Judged:
    """Not tested here."""
    return Judged(
        APPROXIMATIONS, None, "", "", "needs many classes; both data sets here have ten", instead="not tested here"
    )


def order(known: Family) -> Judged:
    """Whether anything that theory states orders the mean accuracies on Fashion-MNIST."""
    fashion = known.compared["fmnist"]
    seen, unseen = ([one for one in known.orders if one.is_seen is flag] for flag in (True, False))
    num = len(theory.means(fashion))
    lacking = [_lacking("", known.accuracy["fmnist"])]
    setting = _setting(f"Fashion-MNIST, {_OWN}, mean accuracies of {num} losses", lacking)
    instead = "" if any(lacking) else "yes" if seen else "no order seen"
    pro, contra = ([orders_told(ones)] if ones and num >= LEAST else [] for ones in (seen, unseen))
    return Judged(ORDER, None, _sentences(pro), _sentences(contra), setting, instead=instead)


def orders_told(ones: Sequence[theory.Order]) -> str:
    """Several rank correlations with their intervals, the smallest p, and what is the same for all losses."""
    known = [one for one in ones if one.correlation.rho == one.correlation.rho]
    same = [one.name for one in ones if one not in known]
    texts = []
    if known:
        listed = ", ".join(f"{one.name} {_rho_told(one)}" for one in known)
        smallest = min(one.p_holm for one in known)
        told = probability(smallest)
        texts.append(
            f"rank correlations with 95 % intervals: {listed}; {'smallest ' * (len(known) > 1)}p {told} (Holm)"
        )
    if same:
        texts.append(f"{enumerated(same)}: the same for all losses")
    return "; ".join(texts)


def _rho_told(one: theory.Order) -> str:
    found = one.correlation
    interval = "" if found.low != found.low else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.rho:+.2f}{interval}"


def order_told(one: theory.Order) -> str:
    """A rank correlation with its interval, p and n."""
    found = one.correlation
    if found.rho != found.rho:
        return f"the same for all {found.n} losses, so it orders none"
    interval = "" if found.low != found.low else f", 95 % interval {found.low:+.2f} to {found.high:+.2f}"
    return f"rank correlation {found.rho:+.2f}{interval}, p {probability(one.p_holm)} (Holm), n={found.n}"


def _is_tested(compared: Compared) -> bool:
    """Whether SML has enough finished runs for a test at all."""
    return len(compared.baseline.at_own.finished) >= MIN_RUNS


def _lacking(label: str, tests: Sequence[Contrast]) -> str:
    """How many pairs of runs are missing on a data set; empty: none."""
    missing = sum(one.missing for one in tests)
    num = sum(one.missing + one.pairs.n + max(one.pairs.failed_first, one.pairs.failed_second) for one in tests)
    return f"{f'{label}: ' if label else ''}{missing} of {num} pairs with SML missing" if missing else ""


def _lacking_ranks(label: str, accuracy: Sequence[Contrast], ndcg: Sequence[Contrast]) -> list[str]:
    """The same of the accuracies, and of further pairs that have no NDCG."""
    texts = [_lacking(label, accuracy)]
    more = sum(one.missing for one in ndcg) - sum(one.missing for one in accuracy)
    if more > 0:
        texts.append(f"{label}: no NDCG of {counted(more, 'finished pair')}, whose records have neither it nor logits")
    return texts


def losses(num: int, kind: str = "") -> str:
    """A number of losses, maybe of a kind, such as "Fenchel-Young "."""
    return f"{num} {kind}{'loss' if num == 1 else 'losses'}"


def pairs_told(tests: Sequence[Contrast]) -> str:
    """The number of pairs: "n=5", or "n=3 to 5"."""
    return seeds_told({one.pairs.n for one in tests})


def _both(known: Family) -> str:
    sets = (f"{plan.DATASETS[name]} ({len(one.comparison.losses)} losses)" for name, one in known.compared.items())
    return f"{enumerated(sets)}, {_OWN}"


def _setting(text: str, lacking: Sequence[str]) -> str:
    return "; ".join([text, *filter(None, lacking)])


def _sentences(texts: Sequence[str]) -> str:
    return ". ".join(text[0].upper() + text[1:] for text in texts if text)
