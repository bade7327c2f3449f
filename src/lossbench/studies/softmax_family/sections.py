"""The study's folded sections: ranks of the true class, zeros of the probabilities, convergence, and theory."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lossbench.report.blocks import Block, Paragraph, Section
from lossbench.report.table import table
from lossbench.report.tone import toned
from lossbench.report.wording import MISSING, NO_NUMBER, points, probability, span
from lossbench.statistics.inference import finished, tost
from lossbench.studies.contrasts import Contrast, Value, values
from lossbench.studies.results import area
from lossbench.studies.softmax_family import measured, plan, theory
from lossbench.studies.softmax_family.measured import METRICS
from lossbench.studies.softmax_family.verdicts import ONE_EPOCH, Family, order_told


def sections(known: Family) -> list[Section]:
    """Those that have a loss beside SML; a section without runs is left out."""
    found = [
        Section(
            "Softmax family: where the true class ranks",
            ranks(known),
            gist="NDCG decides, by paired t with Holm over the losses of a data set; MRR and top k are description.",
        ),
        Section(
            "Softmax family: probabilities of exactly 0",
            sparsity(known),
            gist="Through each loss's own map: images with an infinite NLL, classes with a positive probability; "
            "description.",
        ),
        Section(
            "Softmax family: convergence",
            convergence(known),
            gist="Epochs to within 0.5 points of the end, Fenchel-Young losses on Fashion-MNIST; paired t, Holm.",
        ),
        Section(
            "Softmax family: does theory order the losses?",
            order(known),
            gist="Rank correlations of the mean accuracies with what theory states, permutation test, Holm over four.",
        ),
    ]
    return [section for section in found if section.blocks]


def _spread(values: Sequence[float | None], factor: float = 100.0, digits: int = 2) -> str:
    """Mean ± standard deviation and n of the finished runs."""
    known = [factor * value for value in finished(values)]
    lost = sum(value is not None and math.isnan(value) for value in values)
    if not known:
        return toned("failed", f": {lost} diverged") if lost else MISSING
    sd = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    notes = f"n={len(known)}, {lost} diverged" if lost else f"n={len(known)}"
    return f"{np.mean(known):.{digits}f}{sd} ({notes})"


def _verdict(one: Contrast | None) -> str:
    """Better or worse than the baseline by the test, in the direction of the number."""
    if one is None:
        return "baseline"
    if not one.pairs.n:
        return MISSING
    higher, lower = ("higher", "lower") if one.better > 0 else ("lower", "higher")
    return toned(higher if one.is_better else lower if one.is_worse else "undecided")


def ranks(known: Family) -> list[Block]:
    """Ranks of the true class by data set; empty without any."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    tied = []
    for name, compared in known.compared.items():
        tests = {one.label: one for one in known.ndcg[name]}
        if not any(one.pairs.n for one in tests.values()):
            continue
        for label in compared.comparison.losses:
            known_values = {key: values(compared, label, measured.ranked(key)) for key in METRICS}
            tied += finished(values(compared, label, measured.ranked("ties")))
            one = tests.get(label)
            line = {heading: _spread(known_values[key]) for key, heading in METRICS.items()}
            line["NDCG less SML's"] = _gap(one)
            line["p (Holm)"] = NO_NUMBER if one is None else probability(one.p_holm)
            rows[plan.DATASETS[name], label] = line | {"Verdict": _verdict(one)}
    if not rows:
        return []
    caption = (
        "The rank r of the true class by logit on the test images, in percent of the best value: NDCG, the mean of 1 / "
        "log2(1 + r); MRR, the mean of 1 / r; top k, r at most k. Tied classes share the mean of their ranks, so two "
        "classes that share the highest logit have r = 1.5. Mean ± standard deviation over n runs at the own learning "
        "rates. Differences in points with their 95 % interval, paired over seeds. Ranks are computed from logits in "
        f"half precision; the true class is tied with another in at most {100 * max(tied):.2f} % of a run's images. "
        "Missing: not done, or an older record without ranks whose logits are not kept."
    )
    return [table(rows, ["Data set", "Loss"], caption)]


def _gap(one: Contrast | None) -> str:
    if one is None or not one.pairs.n:
        return NO_NUMBER
    found = one.difference
    interval = "" if math.isnan(found.low) else f" ({span(found.low, found.high)})"
    return f"{points(found.mean)}{interval}, n={found.n}"


def sparsity(known: Family) -> list[Block]:
    """Zeros of the probabilities through the own map by data set; empty without any loss that has one."""
    columns: Mapping[str, tuple[Value, float, int]] = {
        "p = 0 for the true class (%)": (measured.score("zeros", "own"), 100.0, 3),
        "Classes with p > 0": (measured.positive_classes, 1.0, 2),
        "NLL (nats)": (measured.score("nll", "own"), 1.0, 4),
        "NLL through softmax": (measured.score("nll", "softmax"), 1.0, 4),
    }
    rows = {}
    for name, compared in known.compared.items():
        for label in compared.comparison.losses:
            of_loss = {heading: values(compared, label, value) for heading, (value, *_) in columns.items()}
            if finished(of_loss["p = 0 for the true class (%)"]):
                rows[plan.DATASETS[name], label] = {
                    heading: _spread(of_loss[heading], factor, digits)
                    for heading, (_, factor, digits) in columns.items()
                }
    if not rows:
        return []
    caption = (
        "Losses with a map of their own from logits to probabilities, at the own learning rates, test images, ten "
        "classes; mean ± standard deviation over n runs. Where the true class has p = 0 the NLL is infinite; the NLL "
        "shown counts a probability below 1e-12 as 1e-12. The maps of SML, Brier and LGL give every class p > 0."
    )
    return [table(rows, ["Data set", "Loss"], caption)]


def convergence(known: Family) -> list[Block]:
    """Epochs to the end of the Fenchel-Young losses on Fashion-MNIST; empty without a loss beside SML."""
    fashion, tests = known.compared["fmnist"], {one.label: one for one in known.epochs}
    if not any(one.pairs.n for one in tests.values()):
        return []
    rows = {}
    for label in ("SML", *tests):
        one = tests.get(label)
        rows[label] = {
            "Epochs": _spread(values(fashion, label, measured.epochs), 1.0, 1),
            "Mean accuracy over epochs (%)": _spread(
                values(fashion, label, lambda results, config: results.value(config, area("test")))
            ),
            **_epochs_line(one),
        }
    caption = (
        "Epochs until the test accuracy is within 0.5 points of the run's own last one, Fashion-MNIST, own learning "
        "rates; mean ± standard deviation over n runs. Differences to SML paired over seeds, p with Holm over the six "
        "losses. The sentence fails if the 90 % interval of all six is within one epoch. Where all differences are "
        "equal, t says nothing. The mean accuracy over the epochs is description."
    )
    return [table(rows, ["Loss"], caption)]


def _epochs_line(one: Contrast | None) -> dict[str, str]:
    names = ("Less SML's", "95 %", "p (Holm)", "90 %", "Within one epoch")
    if one is None or not one.pairs.n:
        return dict.fromkeys(names, NO_NUMBER if one is None else MISSING)
    found, within = one.difference, tost(one.pairs, ONE_EPOCH)
    is_within = within.p < 0.05
    texts = (
        f"{found.mean:+.1f} (n={found.n})",
        _ends(found.low, found.high),
        probability(one.p_holm),
        _ends(within.low, within.high),
        toned("yes" if is_within else "no"),
    )
    return dict(zip(names, texts, strict=True))


def _ends(low: float, high: float) -> str:
    return NO_NUMBER if math.isnan(low) else f"{low:+.1f} to {high:+.1f}"


def order(known: Family) -> list[Block]:
    """What theory states of each loss beside its accuracy, and rank correlations; empty with fewer than 4 losses."""
    fashion = known.compared["fmnist"]
    means = theory.means(fashion)
    if len(means) < 4:
        return []
    stated = {name: theory.stated(fashion, name) for name in theory.STATED}
    rows = {
        label: {
            "Accuracy (%)": _spread(values(fashion, label, measured.accuracy)),
            **{name[0].upper() + name[1:]: _stated(name, stated[name][label]) for name in stated},
        }
        for label in fashion.comparison.losses
    }
    whole = theory.is_whole(fashion)
    found = {
        one.name: {
            "Orders the accuracies": toned("yes" if one.is_seen else "no order seen") if whole else toned("open"),
            "Rank correlation": order_told(one),
        }
        for one in known.orders
    }
    caption = (
        "Spearman's rank correlation over the losses of Fashion-MNIST (n losses) of the mean accuracy at the own "
        "learning rate with what theory states. p: share of permutations of the accuracies with a correlation at least "
        "as far from 0, of 99,999 random ones (of all with up to 8 losses), Holm over the four; one that cannot be "
        "computed counts with p = 1. Interval: Fisher's z, rough with ties and so few losses. A loss without a bound "
        "ranks above any bound, and one that never is 0 above any margin, as entmax's 1 / (alpha - 1) has no limit "
        f"towards softmax. {'' if whole else 'Not all runs are done, so there is no verdict yet.'}"
    ).strip()
    return [
        Paragraph("A factor on a loss changes its smoothness bound, and the own learning rate undoes the factor."),
        table(found, ["Stated by theory"], caption),
        table(
            rows,
            ["Loss"],
            "What theory states of each loss for ten classes with the options of the run (docs/losses.md; of entmax "
            "the bound is 2^(alpha - 2) and the margin 1 / (alpha - 1)), and its accuracy on Fashion-MNIST: mean ± "
            "standard deviation over n runs.",
        ),
    ]


def _stated(name: str, value: float | None) -> str:
    if value is None:
        return NO_NUMBER
    if name in ("strictly proper", "order preserving"):
        return toned("yes" if value else "no")
    return "none" if math.isinf(value) else f"{value:.3g}"
