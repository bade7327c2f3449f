"""What theory states of the losses, and whether it orders their accuracies."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lossbench.config.options import LossConfig
from lossbench.config.registry import LOSSES
from lossbench.losses.entmax import Entmax
from lossbench.statistics.inference import ALPHA, holm
from lossbench.statistics.rank_correlation import RankCorrelation, rank_correlation
from lossbench.studies.compared import Compared
from lossbench.studies.comparison_tables import num_classes

Stated = Callable[[LossConfig, int], float | None]
"""From a loss's options and K to what theory states; None: nothing is stated."""


def smoothness(loss: LossConfig, num_classes: int) -> float | None:
    """Bound on the absolute eigenvalues of a sample's Hessian in its logits; inf: there is none.

    The registered bounds are those of the default options; of entmax it is 2^(alpha - 2).
    """
    if isinstance(loss, Entmax):
        return float(2 ** (loss.alpha - 2))
    stated = LOSSES[loss.name].properties
    if stated is None:
        return None
    bound = stated.bound("smoothness", num_classes)
    return math.inf if bound is None else bound


def margin(loss: LossConfig, num_classes: int) -> float | None:
    """How far z_y must exceed the other logits for a loss of 0; inf: the loss never is 0.

    Of entmax it is 1 / (alpha - 1), which grows without limit as alpha goes to 1, softmax.
    """
    if isinstance(loss, Entmax):
        return 1 / (loss.alpha - 1)
    stated = LOSSES[loss.name].properties
    return None if stated is None else math.inf if stated.margin is None else stated.margin


def _flag(name: str) -> Stated:
    def stated(loss: LossConfig, num_classes: int) -> float | None:
        properties = LOSSES[loss.name].properties
        value: bool | None = getattr(properties, name) if properties else None
        return None if value is None else float(value)

    return stated


STATED: dict[str, Stated] = {
    "smoothness bound": smoothness,
    "margin": margin,
    "strictly proper": _flag("strictly_proper"),
    "order preserving": _flag("order_preserving"),
}
"""What is correlated with the accuracies, by name."""


@dataclass(frozen=True)
class Order:
    """Whether something that theory states orders the mean accuracies of the losses.

    Args:
        name: of `STATED`.
        correlation: over the losses with a mean accuracy; its rho and p are nan where all have the same.
        p_holm: corrected over all of `STATED`; nan as p.
    """

    name: str
    correlation: RankCorrelation
    p_holm: float

    @property
    def is_seen(self) -> bool:
        """Whether it does, by p < 5 %."""
        return self.p_holm < ALPHA


def means(compared: Compared) -> dict[str, float]:
    """Mean accuracy of the finished runs at the own learning rate, by loss; those without one are left out."""
    found = {one.label: one.at_own.moments.mean for one in compared.losses}
    return {label: mean for label, mean in found.items() if not math.isnan(mean)}


def stated(compared: Compared, name: str) -> dict[str, float | None]:
    """What theory states of each loss."""
    return {
        label: STATED[name](config.loss, num_classes(compared)) for label, config in compared.comparison.losses.items()
    }


def orders(compared: Compared) -> list[Order]:
    """The rank correlation of each of `STATED` with the mean accuracy; one that cannot be computed counts with p 1."""
    known, found = means(compared), []
    for name in STATED:
        values = stated(compared, name)
        pairs = [(value, mean) for label, mean in known.items() if (value := values[label]) is not None]
        found.append(rank_correlation([value for value, _ in pairs], [mean for _, mean in pairs]))
    corrected = holm([one.p for one in found])
    return [Order(name, one, p) for name, one, p in zip(STATED, found, corrected, strict=True)]


def is_whole(compared: Compared) -> bool:
    """Whether every reported run of every loss is done or diverged."""
    num = compared.comparison.rules.num_seeds
    return all(len(one.at_own.finished) + one.at_own.diverged == num for one in compared.losses)
