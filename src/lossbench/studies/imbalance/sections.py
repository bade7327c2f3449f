"""Eq. 9 and 10 under imbalance, and what class weights do on real networks, as tables and pictures of a page."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lossbench.config.options import ClassWeights
from lossbench.config.registry import labelled_loss
from lossbench.report.blocks import Block, Paragraph, Picture
from lossbench.report.drawing import given
from lossbench.report.style import FAINT, SMALL, STYLES
from lossbench.report.table import table
from lossbench.report.wording import MISSING, NO_NUMBER, measured, percent, seeds_told
from lossbench.statistics import inference
from lossbench.statistics.adjustment import Accuracies
from lossbench.statistics.learning_property import LAW_FACTOR
from lossbench.studies.imbalance import law as theory
from lossbench.studies.imbalance.law import BySeed, Law, Method, Runs, Trained
from lossbench.studies.imbalance.plan import LGL, LGL_INR, NUM_JUDGED, SML, WEIGHTED, Imbalanced, balanced, imbalanced
from lossbench.studies.results import Results

WORDS: Mapping[ClassWeights | None, str] = {
    None: "none",
    ClassWeights.sqrt_inverse: "square root",
    ClassWeights.effective: "effective number",
    ClassWeights.inverse: "inverse",
}
METHODS: tuple[Method, Method] = ("logit adjustment", "threshold moving")
SIGNS: Mapping[str, str] = dict(zip((*WORDS.values(), *METHODS), "osD^xP", strict=True))
"""How weights and methods are drawn."""

Study = tuple[Imbalanced, Runs]


def imbalance(results: Results) -> list[Block]:
    """Eq. 10 predicted and measured, what weights do to majority and minority, and the simple alternatives."""
    every = [(one, theory.runs_of(results, one)) for one in imbalanced()]
    if not any(by_seed for _, runs in every for by_seed in runs.values()):
        return [Paragraph("No runs on imbalanced data yet.")]
    laws = theory.laws(every[0][1])
    return [
        Paragraph(_verdict(laws, every, _balanced(results))),
        _law_picture(laws, every),
        table(_law_lines(laws, every), ["Classes", "Loss", "Weights"], _LAW_CAPTION),
        _accuracy_picture(every),
        table(_accuracy_lines(every), ["Training images", "Loss"], f"{_ACCURACY_CAPTION} {_presence(every)}"),
    ]


def outcomes(results: Results) -> str | None:
    """What class weights do on imbalanced data, in a sentence; None before there are enough runs of two classes."""
    two, step = (theory.runs_of(results, one) for one in imbalanced()[:NUM_JUDGED])
    if any(len(two[loss, ClassWeights.inverse]) < inference.MIN_RUNS for loss in WEIGHTED):
        return None
    laws, gains = theory.laws(two), theory.gain_outcome(theory.minority_gains(two))
    determined = theory.determined_outcome(theory.spreads(two), theory.spreads(step))
    return (
        f"Class weights on imbalanced Fashion-MNIST, CNN2C, SML and LGL, {seeds_told(law.test.n for law in laws)}. Eq. "
        f"10 of two classes within a factor of {LAW_FACTOR:g}: {_on_images(laws)}. Inverse weights raise the "
        f"minority's accuracy, two classes: {gains}. They make the mean probabilities of the own class alike for two "
        f"classes and not for ten: {determined}."
    )


def beside_weighted_sml(results: Results) -> str | None:
    """In how many imbalances LGL-INR has a higher balanced accuracy than SML with any of the class weights tried."""
    ahead, num, counts = 0, 0, []
    for one in imbalanced():
        runs = theory.runs_of(results, one)
        inr = runs[LGL_INR, None]
        weighted = [by_seed for (loss, _), by_seed in runs.items() if loss == SML and by_seed]
        if not inr or not weighted:
            continue
        num += 1
        counts += [len(inr), *map(len, weighted)]
        ahead += _over_seeds(inr, None).all > max(_over_seeds(by_seed, None).all for by_seed in weighted)
    if not num:
        return None
    return (
        f"Strength: on imbalanced Fashion-MNIST LGL-INR has the best balanced accuracy in {ahead} of {num} imbalances, "
        f"beside SML with the class weights tried, none of them with a tuned learning rate ({seeds_told(counts)})."
    )


_LAW_CAPTION = (
    "Eq. 10 measured over predicted, 1 where it holds: of two classes the majority's equation, of ten SML's equations "
    "summed over the larger half of the classes. Fashion-MNIST, CNN2C, last epoch, geometric mean over seeds (n), for "
    f"two classes with the 90 % interval that is judged against a factor of {LAW_FACTOR:g}."
)
_ACCURACY_CAPTION = (
    "Test accuracy (%) of the larger half of the classes / the smaller half / all, each class counting the same; "
    "Fashion-MNIST, CNN2C, last epoch, mean over seeds (n). Weights act in training; logit adjustment and threshold "
    "moving on the predictions of the run without weights (with softmax they are the same). Logit adjustment takes the "
    "logarithm of a class's share of the training images from its logit with SML, that of its odds with LGL. LGL-INR "
    "is as it is: each class's term is a mean over that class's samples of the batch, so a rare class, where it is in "
    "a batch, counts as much as a common one."
)


def _presence(every: Sequence[Study]) -> str:
    """How often the rarest class is in a batch, in a sentence."""
    told = []
    for one, runs in every:
        batch = next(iter(one.cells.values())).config.schedule.batch_size
        told += [f"{100 * theory.presence(run, batch):.0f} % ({one.label})" for run in _some(runs)]
    return f"The rarest class is in this part of the batches: {', '.join(told)}."


def _some(runs: Runs) -> list[Trained]:
    """Any one run of an imbalance; None without runs."""
    return [run for by_seed in runs.values() for run in by_seed.values()][:1]


def _balanced(results: Results) -> dict[str, list[float]]:
    """Largest less smallest own probability on training images where no class is rare and none weighs more, by loss."""
    found: dict[str, list[float]] = {}
    for cell in balanced():
        kept = [arrays for config in cell.configs if (arrays := results.arrays(config)) is not None]
        own = [np.diag(arrays[f"train_mean_{labelled_loss(cell.loss).probabilities}"]) for arrays in kept]
        found[cell.loss] = [float(np.ptp(values.astype(float))) for values in own]
    return found


def _verdict(laws: list[Law], every: Sequence[Study], balanced: Mapping[str, Sequence[float]]) -> str:
    """The three rules of docs/statistics.md as sentences with their outcome."""
    two, step = every[0][1], every[1][1]
    gains, of_two, of_ten = theory.minority_gains(two), theory.spreads(two), theory.spreads(step)
    told = "; ".join(f"{loss} {measured(inference.paired_t(pairs))}" for loss, pairs in gains.items())
    apart = "; ".join(
        f"{loss} {_mean(of_two[loss].differences)} with two classes, {_mean(of_ten[loss].differences)} with ten"
        for loss in of_two
    )
    return (
        f"Two classes, one shirt to ten coats: Eq. 10 within a factor of {LAW_FACTOR:g}, whatever loss and "
        f"weights, {_on_images(laws)} ({_inside(laws)}). That inverse weights raise the minority's accuracy: "
        f"{theory.gain_outcome(gains)} ({told}). That such weights determine two classes, whose own mean "
        "probabilities they make equal, and not many: "
        f"{theory.determined_outcome(of_two, of_ten)} (largest less smallest on training images: {apart}). Of "
        "ten classes that is no effect of imbalance alone: with all training images, without weights and at a constant "
        f"learning rate it is {'; '.join(f'{loss} {_mean(values)}' for loss, values in balanced.items())}. With SML "
        "the part on two classes is Eq. 10 with inverse weights told again, since an image's probabilities sum to 1."
    )


def _inside(laws: Sequence[Law]) -> str:
    """How many ratios are inside the factor and how many outside, by images, as the 90 % intervals have it."""
    told = []
    for split, images in _COLUMNS.items():
        tests = [law.test for law in laws if law.split == split and law.test.n >= inference.MIN_RUNS]
        inside = sum(one.p < inference.ALPHA for one in tests)
        outside = sum(one.refuted for one in tests)
        told.append(f"{images.lower()}: {inside} of {len(tests)} inside, {outside} outside")
    return "; ".join(told)


def _on_images(laws: list[Law]) -> str:
    return f"{theory.law_outcome(laws, 'train')} on training and {theory.law_outcome(laws, 'test')} on test images"


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} (n={len(values)})" if values else MISSING


def _law_lines(laws: Sequence[Law], every: Sequence[Study]) -> dict[tuple[str, str, str], dict[str, str]]:
    lines: dict[tuple[str, str, str], dict[str, str]] = {}
    label = every[0][0].label
    for law in laws:
        ratios = tuple(one / law.predicted for one in law.measured)
        line = lines.setdefault((label, law.loss, WORDS[law.weights]), {"Predicted": f"{law.predicted:.3f}"})
        line |= {_COLUMNS[law.split]: _ratio(ratios, law.test.low, law.test.high)}
    for one, runs in every[1:]:
        for kind, word in WORDS.items():
            by_seed = list(runs[SML, kind].values())
            if by_seed:
                lines[f"{one.label}: halves", SML, word] = {"Predicted": NO_NUMBER} | {
                    _COLUMNS[split]: _ratio([theory.halves_ratio(run, split) for run in by_seed])
                    for split in theory.SPLITS
                }
    return lines


_COLUMNS = {"train": "Training images", "test": "Test images"}


def _ratio(ratios: Sequence[float], low: float = math.nan, high: float = math.nan) -> str:
    mean = f"{math.exp(np.mean(np.log(ratios))):.2f}"
    return (
        f"{mean} (n={len(ratios)})"
        if math.isnan(low)
        else (f"{mean}, {math.exp(low):.2f} to {math.exp(high):.2f} (n={len(ratios)})")
    )


def _law_picture(laws: Sequence[Law], every: Sequence[Study]) -> Picture:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    told = []
    order = sorted({law.weights: law.predicted for law in laws}.items(), key=lambda of: of[1])
    place = {weights: number for number, (weights, _) in enumerate(order)}
    for law in laws:
        shift = (0.24 if law.loss == LGL else -0.24) + (0.07 if law.split == "test" else -0.07)
        ratios = [value / law.predicted for value in law.measured]
        left.plot([place[law.weights] + shift] * len(ratios), ratios, **_point(law.loss, law.split))
        told.append(
            f"{law.loss}, {WORDS[law.weights]}, {law.split}: predicted {law.predicted:.3f}, measured "
            f"{np.exp(np.mean(np.log(law.measured))):.3f}, n={len(law.measured)}."
        )
    left.axhline(1, color=FAINT, linewidth=1)
    left.axhspan(1 / LAW_FACTOR, LAW_FACTOR, color=FAINT, alpha=0.15, lw=0)
    words = [f"{WORDS[weights].replace(' ', chr(10))}\n{predicted:.3f}" for weights, predicted in order]
    left.set_xticks(range(len(order)), labels=words, fontsize=SMALL)
    left.set(yscale="log", title="two classes", xlabel="weights, predicted $(1-p_{00})/p_{10}$")
    left.set_ylabel("measured over predicted")
    left.yaxis.set_major_locator(FixedLocator((0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_locator(NullLocator())
    for loss, (split, images) in product(WEIGHTED, _COLUMNS.items()):
        left.plot([], [], **_point(loss, split), label=f"{loss}, {images.lower()}")
    left.legend(fontsize=SMALL)
    told += _own_probabilities(right, every[:NUM_JUDGED])
    caption = (
        "Left: Eq. 10 of two classes, coat and shirt, 10 to 1, for each way to weigh them: measured over predicted, a "
        f"point a run, the band a factor of {LAW_FACTOR:g}. Right: mean probability of the own class on "
        "training images with inverse weights, a point a class and run: two classes (T0, T1), and ten, the later five "
        "thinned out 10 times."
    )
    return Picture("imbalance-law", given(figure), caption, f"Eq. 10 under imbalance. {' '.join(told)}")


def _point(loss: str, split: str) -> dict[str, Any]:
    """A run's point, hollow for test images."""
    style = STYLES[loss]
    face = style["color"] if split == "train" else "none"
    return {"color": style["color"], "marker": style["marker"], "markerfacecolor": face, "ls": "none", "ms": 5}


def _own_probabilities(axes: Axes, every: Sequence[Study]) -> list[str]:
    """p_kk of two classes, then of ten, a point a class and seed."""
    told = []
    for offset, (one, runs) in zip((0, 3), every, strict=True):
        for loss, shift in ((SML, -0.12), (LGL, 0.12)):
            own = np.array([np.diag(run.means["train"]) for run in runs[loss, ClassWeights.inverse].values()])
            if not len(own):
                continue
            places = offset + np.arange(own.shape[1]) + shift
            axes.plot(np.tile(places, len(own)), own.ravel(), **_point(loss, "train"))
            values = ", ".join(f"{value:.2f}" for value in own.mean(axis=0))
            told.append(f"{one.label}, {loss}, own probability by class: {values}, n={len(own)}.")
    labels = ["T0", "T1", *map(str, range(10))]
    axes.set_xticks([0, 1, *range(3, 13)], labels=labels, fontsize=SMALL)
    axes.axvline(2, color=FAINT, linewidth=1)
    axes.set(title="inverse weights", xlabel="class", ylabel="$p_{kk}$")
    axes.grid(color=FAINT, alpha=0.3)
    return told


def _results(runs: Runs, loss: str) -> dict[str, tuple[BySeed, Method | None]]:
    """The runs of a loss by weights and by method, where some finished or diverged."""
    found: dict[str, tuple[BySeed, Method | None]] = {}
    for (name, kind), by_seed in runs.items():
        if name == loss and (by_seed or by_seed.failed):
            found[WORDS[kind]] = by_seed, None
            if kind is None and loss in WEIGHTED:  # LGL-INR's law has no class sizes that could be taken out
                found |= {method: (by_seed, method) for method in METHODS}
    return found


def _over_seeds(by_seed: BySeed, method: Method | None) -> Accuracies:
    every = [run.accuracies[method] for run in by_seed.values()]
    means = (np.mean([getattr(one, part) for one in every]) for part in ("majority", "minority", "all"))
    return Accuracies(*map(float, means))


def _accuracy_lines(every: Sequence[Study]) -> dict[tuple[str, str], dict[str, str]]:
    lines = {}
    for one, runs in every:
        for loss in (*WEIGHTED, LGL_INR):
            found = _results(runs, loss)
            lines[one.label, loss] = {
                sign: _accuracy(*found[sign])
                if sign in found
                else (MISSING if loss in WEIGHTED or sign == "none" else NO_NUMBER)
                for sign in SIGNS
            }
    return lines


def _accuracy(by_seed: BySeed, method: Method | None) -> str:
    failed = f"{by_seed.failed} failed" if by_seed.failed else ""
    if not by_seed:
        return failed
    means = _over_seeds(by_seed, method)
    parts = " / ".join(percent(value, 1) for value in (means.majority, means.minority, means.all))
    return f"{parts} ({', '.join(filter(None, [f'n={len(by_seed)}', failed]))})"


def _look(loss: str) -> dict[str, str]:
    """Filled or hollow markers tell SML and LGL apart without colours; LGL-INR is one circle."""
    color = str(STYLES[loss]["color"])
    return {"color": color, "markerfacecolor": "none" if loss == LGL else color}


def _accuracy_picture(every: Sequence[Study]) -> Picture:
    figure = Figure(figsize=(6.4, 7.6), layout="constrained")
    panels = figure.subplots(3, 2).ravel()
    told = []
    for axes, (one, runs) in zip(panels, every, strict=False):
        for loss in (LGL, SML, LGL_INR):
            for sign, (by_seed, method) in _results(runs, loss).items():
                if by_seed and (loss, sign) != (SML, METHODS[0]):  # the same as the other
                    means = _over_seeds(by_seed, method)
                    at = 100 * means.minority, 100 * means.majority
                    axes.plot(*at, SIGNS[sign], **_look(loss), markersize=6, mew=1.5)
                told.append(
                    f"{one.label}, {loss}, {sign}: majority {percent(means.majority, 1)}, minority "
                    f"{percent(means.minority, 1)}, n={len(by_seed)}."
                )
        axes.set_title(f"{one.label}, {seeds_told(map(len, runs.values()))}", fontsize=SMALL + 2)
        axes.grid(color=FAINT, alpha=0.3)
    for axes in panels[-2:]:
        axes.set_xlabel("minority half (%)")
    for axes in panels[::2]:
        axes.set_ylabel("majority half (%)")
    key = panels[len(every)]
    key.axis("off")
    for sign, marker in SIGNS.items():
        key.plot([], [], marker, color=FAINT, label=sign)
    for loss in (LGL, SML, LGL_INR):
        key.plot([], [], "o", **_look(loss), markersize=10, mew=1.5, label=loss)
    key.legend(loc="center", fontsize=SMALL + 1, frameon=False)
    caption = (
        "What weights, logit adjustment and threshold moving do: test accuracy of the larger half of the classes over "
        "that of the smaller half, mean over seeds; up and to the right is better; LGL is hollow, and SML's logit "
        "adjustment is its threshold moving. Fashion-MNIST, CNN2C, last epoch."
    )
    return Picture("imbalance-accuracy", given(figure), caption, f"Majority over minority accuracy. {' '.join(told)}")
