"""Beyond the paper: beta and the mechanism, as tables and pictures of a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lossbench.config.registry import LABELS
from lossbench.report.blocks import Block, Items, Paragraph, Picture
from lossbench.report.classes import class_names
from lossbench.report.drawing import drawing
from lossbench.report.panels import lines, panels
from lossbench.report.style import PAPER, STYLES, TEXT
from lossbench.report.table import table
from lossbench.report.wording import (
    MISSING,
    NO_NUMBER,
    difference_line,
    enumerated,
    in_words,
    seeds_told,
    spread,
)
from lossbench.statistics import inference, learning_property
from lossbench.statistics.inference import Difference, Pairs
from lossbench.studies.aaai20 import mechanism
from lossbench.studies.aaai20 import variants as studies
from lossbench.studies.aaai20.conditions import MARGINS
from lossbench.studies.aaai20.grid import LOSS_LABELS, paper_numbers
from lossbench.studies.aaai20.keys import CNN2C, GRAY, LOSSES
from lossbench.studies.aaai20.variants import Variant
from lossbench.studies.aaai20.verdicts import Judge
from lossbench.studies.cells import Key
from lossbench.studies.results import Results

CORRELATIONS = {
    "Gain and confusability": "gain_confusability",
    "Control of confusability": "control_confusability",
    "Gain and weight": "gain_weight",
    "Control of weight": "control_weight",
    "Weight and confusability": "weight_confusability",
}
"""Columns of the mechanism's table."""

CONTROLS = dict.fromkeys(("Control of confusability", "Control of weight"), "Control")
"""Those that share a heading: each stands behind what it is the control of."""


def beta(results: Results) -> list[Block]:
    """LGL-INR over beta, its weights in the gradient or not: accuracy, how uneven the weights, which negatives turn."""
    variants = studies.betas()
    grouped = sorted(variants, key=lambda variant: variant.option)  # within it beta rises
    over_beta = {(variant.option, variant.choice): _beta_line(results, variant) for variant in grouped}
    if not any(line["n"] != "0" for line in over_beta.values()):
        return [Paragraph("No runs over beta yet.")]
    batch = variants[0].cells["LGL-INR"].config.schedule.batch_size
    caption = (
        "LGL-INR over beta on KMNIST, CNN2C, last epoch, with its weights attached to the gradient or detached (at "
        "beta 0 they are constant): test accuracy, mean ± standard deviation over seeds. Unevenness: share of a "
        "classifier's weight that would have to move to make it uniform, on test images after the first and the last "
        "epoch. Raised: negatives whose logit the gradient raises instead of lowers, because it also flows through the "
        f"weights; in batches of {batch} test images, the size in training, and with all test images as one batch, "
        "where class means vary less."
    )
    notice = (
        "Differences in test accuracy between these cells, in points, paired over seeds: to beta 0, which is LGL-INR "
        "with even weights, and between attached and detached weights; verdicts as in the comparisons, but without "
        "Holm."
    )
    margin = MARGINS["kmnist"]
    noticed = {name: difference_line(pairs, margin) for name, pairs in _pairs(results, variants).items()}
    return [
        _beta_picture(results, variants),
        table(over_beta, ["Weights", "beta"], caption),
        table(noticed, ["Contrast"], notice),
    ]


def _pairs(results: Results, variants: Sequence[Variant]) -> dict[str, Pairs]:
    """Whether accuracy tells beta from 0, and attached weights from detached ones: what to compare, by contrast."""
    cells = {(variant.option, variant.choice): variant.cells["LGL-INR"] for variant in variants}
    none, *others = [f"{value:g}" for value in studies.BETAS]
    contrasts = {
        f"beta {choice} - beta {none}, {option}": (cells[option, choice], cells["attached", none])
        for option in ("attached", "detached")
        for choice in others
    }
    for choice in others:
        contrasts[f"attached - detached, beta {choice}"] = cells["attached", choice], cells["detached", choice]
    return {name: results.pairs(*both) for name, both in contrasts.items()}


def _beta_line(results: Results, variant: Variant) -> dict[str, str]:
    cell = variant.cells["LGL-INR"]
    values = inference.finished(results.values(cell))
    uneven: list[list[float]] = []
    turned: list[tuple[float, float]] = []
    for config in cell.configs:
        arrays = results.arrays(config)
        if arrays is None or "class_weights" not in arrays:
            continue
        uneven.append([learning_property.unevenness(arrays["class_weights"][epoch].astype(float)) for epoch in (0, -1)])
        labels = results.test_labels(config)
        if labels is not None and variant.option == "attached" and "test_logits" in arrays:
            given = arrays["test_logits"], labels, float(variant.choice)
            in_batches = learning_property.reversed_share_of_batches(*given, config.schedule.batch_size)
            turned.append((in_batches, learning_property.reversed_share(*given)))
    first, last = np.mean(uneven, axis=0) if uneven else (np.nan, np.nan)
    return {
        "n": str(len(values)),
        "Accuracy (%)": f"{spread([100 * value for value in values], 2)}" if values else MISSING,
        "Unevenness, epoch 1": f"{first:.3f}" if uneven else NO_NUMBER,
        "Unevenness, last epoch": f"{last:.3f}" if uneven else NO_NUMBER,
        "Raised (%)": f"{100 * np.mean(turned, axis=0)[0]:.2f}" if turned else NO_NUMBER,
        "Raised (%), one batch": f"{100 * np.mean(turned, axis=0)[1]:.2f}" if turned else NO_NUMBER,
    }


def _beta_picture(results: Results, variants: Sequence[Variant]) -> Picture:
    marks: list[dict[str, Any]] = []
    told = []
    for option in ("attached", "detached"):
        for variant in (one for one in variants if option == one.option or one.choice == "0"):
            values = [100 * value for value in inference.finished(results.values(variant.cells["LGL-INR"]))]
            place = {"weights": option, "beta": float(variant.choice), "n": len(values)}
            marks += [place | {"run": str(run), "accuracy_percent": value} for run, value in enumerate(values)]
            if values:
                marks.append(place | {"run": "mean", "accuracy_percent": float(np.mean(values))})
                told.append(f"{option}, beta {variant.choice}: {np.mean(values):.2f} %, n={len(values)}.")
    known = paper_numbers()
    printed = {beta: number for beta in studies.BETAS if (number := known.get((5, "Accuracy", f"{beta:g}")))}
    marks += [{"weights": "paper", "beta": beta, "accuracy_percent": number} for beta, number in printed.items()]
    caption = (
        "LGL-INR over beta on KMNIST, CNN2C, last epoch, with its weights attached to the gradient or detached. Lines "
        "join means over seeds; a dot is a run. Diamonds: the numbers that Table 5 of the paper prints, which does "
        "not say which of the two they are. At beta 0 there is no difference."
    )
    columns = ["weights", "beta", "run", "accuracy_percent", "n"]
    alt = f"Accuracy over beta. {' '.join(told)}"
    return Picture(
        "beta", drawing(_draw_beta, marks, studies.BETAS), caption, alt, pd.DataFrame(marks, columns=columns)
    )


def _draw_beta(marks: Sequence[Mapping[str, Any]], betas: Sequence[float]) -> Figure:
    """Accuracy over beta, both kinds of weights side by side."""
    figure, ((axes,),) = panels((4.8, 3.1), left=0.65, top=0.45)
    color, marker = (STYLES["LGL-INR"][key] for key in ("color", "marker"))
    looks: Mapping[str, dict[str, Any]] = {
        "attached": {"linestyle": "-", "markerfacecolor": color},
        "detached": {"linestyle": "--", "markerfacecolor": "white"},
    }
    for (option, look), aside in zip(looks.items(), (-0.07, 0.07), strict=True):
        own = [mark for mark in marks if mark["weights"] == option]
        dots, means = ([one for one in own if (one["run"] == "mean") == mean] for mean in (False, True))
        axes.plot(*_places(dots, betas, aside), ".", color=color, markersize=4, alpha=0.7)
        axes.plot(*_places(means, betas, aside), color=color, marker=marker, label=option, **look)
    printed = [mark for mark in marks if mark["weights"] == "paper"]
    axes.plot(*_places(printed, betas, 0), color="black", label="the paper's number", **PAPER)
    axes.set_xticks(range(len(betas)), labels=[f"{value:g}" for value in betas])
    axes.set(xlabel="beta", ylabel="test accuracy (%)")
    lines(axes)
    figure.legend(loc="upper center", ncols=3, fontsize=TEXT, frameon=False)
    return figure


def _places(
    marks: Sequence[Mapping[str, Any]], betas: Sequence[float], aside: float
) -> tuple[list[float], list[float]]:
    return [betas.index(one["beta"]) + aside for one in marks], [one["accuracy_percent"] for one in marks]


def mechanism_blocks(judge: Judge) -> list[Block]:
    """Whether LGL-INR's gain over LGL follows how confusable a pair of classes is, and which pairs its weights name."""
    ranked, named = {}, {}
    asked: dict[str, dict[str, Difference]] = {"confusability": {}, "weight": {}}
    beside: dict[str, dict[str, Difference]] = {"confusability": {}, "weight": {}}
    for name in GRAY:
        dataset = LABELS[name]
        cells = {loss: judge.conditions["paper"][Key(CNN2C, name, loss)] for loss in LOSSES}
        seeds = mechanism.seeds_of(judge.results, cells)
        if not seeds:
            continue
        found = [mechanism.ranks(*seed) for seed in seeds]
        ranked[dataset] = {"n": str(len(found)), "Pairs": str(round(np.mean([one.num_pairs for one in found])))} | {
            words: _correlation_in_figures(_correlation([getattr(one, rank) for one in found]))
            for words, rank in CORRELATIONS.items()
        }
        for measure, column in (("confusability", "Gain and confusability"), ("weight", "Gain and weight")):
            asked[measure][dataset] = _correlation([getattr(one, f"gain_{measure}") for one in found])
            differences = [getattr(one, f"gain_{measure}") - getattr(one, f"control_{measure}") for one in found]
            beside[measure][dataset] = _correlation(differences)
            ranked[dataset][f"{column}, minus control"] = _correlation_in_figures(beside[measure][dataset])
        mean = np.mean([seed[3] for seed in seeds], axis=0)
        classes = class_names(name, len(mean))
        for j, k in mechanism.named_pairs(mean):
            pair = f"{classes[j]} for {classes[k]}"
            counts = [f"{np.mean([seed[side][j, k] for seed in seeds]):.1f}" for side in (0, 2, 1)]
            named[dataset, pair] = {"lambda": f"{mean[j, k]:.3f}"}
            named[dataset, pair] |= dict(zip(LOSS_LABELS, counts, strict=True))
    if not ranked:
        return [Paragraph(f"No runs of all {in_words(len(LOSSES))} losses with arrays yet.")]
    caption = (
        "Is LGL-INR's gain larger on pairs of classes that are easily confused? Rank correlations over ordered pairs "
        "of classes that LGL or LGL-INR confuses, CNN2C, test images, last epoch, mean of seeds (n) with a 95 % "
        "interval. Gain: LGL's errors minus LGL-INR's, divided by their sum; confusability: SML's errors; weight: "
        "lambda_jk. The paper's mechanism predicts positive correlations. Control: the gain of SML, which has no "
        "weights, correlated with LGL-INR's errors and with its weights, over the pairs that LGL or SML confuses. "
        "Description only: a rare pair counts as much as a common one, and weights of 0.112 and 0.113 count as "
        "different."
    )
    of_seeds = seeds_told(int(line["n"]) for line in ranked.values())
    pairs = (
        f"The {in_words(mechanism.NUM_NAMED)} pairs with the largest weights (class j among the negatives of class k; "
        f"a uniform weight is {1 / (len(mean) - 1):.3f}), and how many images of j each loss takes for k, means over "
        f"seeds ({of_seeds})."
    )
    said = [
        f"Correlation of the gain with a pair's {name}: {_by_sign(asked[name])}; minus the same correlation for SML's "
        f"gain: {_by_sign(beside[name])}."
        for name in asked
    ]
    sentence = (
        "By the paper's mechanism LGL-INR should gain over LGL on pairs of classes that are confused or that get large "
        "weights, and gain more there than SML, which has no weights: all correlations should be positive "
        f"({of_seeds})."
    )
    return [
        Paragraph(sentence),
        Items(said),
        table(ranked, ["Data set"], caption, CONTROLS),
        table(named, ["Data set", "Class j for k"], pairs),
    ]


def _correlation(values: Sequence[float]) -> Difference:
    """Mean over seeds with its interval."""
    return inference.paired_t(inference.Pairs(tuple(value for value in values if np.isfinite(value)), 0, 0))


def _correlation_in_figures(one: Difference) -> str:
    if not one.n:
        return NO_NUMBER
    return f"{one.mean:+.2f}" + ("" if np.isnan(one.low) else f" ({one.low:+.2f} to {one.high:+.2f})")


def _by_sign(found: Mapping[str, Difference]) -> str:
    """Where correlations are positive, negative or undecided, by data set; an interval that holds 0 decides nothing."""
    signs: dict[str, list[str]] = {"positive": [], "negative": [], "undecided": []}
    for dataset, one in found.items():
        sign = "positive" if one.low > 0 else "negative" if one.high < 0 else "undecided"
        signs[sign].append(f"{dataset} ({one.mean:+.2f})")
    return ", ".join(f"{sign} on {enumerated(datasets)}" for sign, datasets in signs.items() if datasets)
