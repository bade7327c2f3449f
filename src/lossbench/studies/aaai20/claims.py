"""Claims of the paper and ours, and the comparisons that each claim and each family of docs/statistics.md is about."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from lossbench.studies.aaai20 import keys, paper
from lossbench.studies.aaai20.keys import CNN2C, CNN5C, LITERAL, MOBILENETV2, PAIRS, RESNET18, Pair, pair_label
from lossbench.studies.cells import Key, Part


@dataclass(frozen=True)
class Contrast:
    """Two cells that are compared: two losses or two networks on the same data set."""

    condition: str
    first: Key
    second: Key

    @property
    def over_networks(self) -> bool:
        """Whether the cells differ in their network."""
        return self.first.model != self.second.model

    @property
    def sides(self) -> Pair:
        """What differs."""
        if self.over_networks:
            return self.first.model, self.second.model
        return self.first.loss, self.second.loss

    @property
    def label(self) -> str:
        """Both sides, as tables write them."""
        return pair_label(self.sides)

    @property
    def common(self) -> Part:
        """What both cells have in common: the network, or the loss where networks are compared."""
        return self.first.loss if self.over_networks else self.first.model

    @property
    def dataset(self) -> str:
        """The data set, as registered."""
        return self.first.dataset

    @property
    def keys(self) -> tuple[Key, Key]:
        """Both cells."""
        return self.first, self.second


def between_losses(condition: str, model: Part, dataset: str, pair: Pair) -> Contrast:
    """Two losses on one network and data set."""
    first, second = pair
    return Contrast(condition, Key(model, dataset, first), Key(model, dataset, second))


def between_networks(condition: str, pair: Pair, dataset: str, loss: Part) -> Contrast:
    """Two networks on one data set, with one loss."""
    first, second = pair
    return Contrast(condition, Key(first, dataset, loss), Key(second, dataset, loss))


@dataclass(frozen=True)
class Family:
    """Comparisons whose p are corrected together: one contrast over the cells of a condition."""

    condition: str
    pair: Pair | None  # of losses; None: the larger network less the smaller, with every loss

    @property
    def contrast(self) -> str:
        """What is compared, as tables write it."""
        return "larger - smaller" if self.pair is None else pair_label(self.pair)

    @property
    def label(self) -> str:
        """As docs/statistics.md and claims.csv call it."""
        return f"{self.condition}/{self.contrast}"


FAMILIES = (
    *(Family("paper", pair) for pair in (*PAIRS, None)),
    *(Family("literal", pair) for pair in PAIRS),
    *(Family("scale-up", pair) for pair in PAIRS[:2]),
    Family("scale-down", PAIRS[0]),
    *(Family("own-lr", pair) for pair in PAIRS),
)
"""All families of comparisons of accuracy, in the order of docs/statistics.md."""


@dataclass(frozen=True)
class Claim:
    """A line of claims.csv."""

    id: str
    place: str
    claim: str
    condition: str
    networks: tuple[Part, ...]
    datasets: tuple[str, ...]  # as registered
    contrasts: tuple[Pair, ...]  # a claim about one loss compares it with itself
    statistic: str
    kind: str
    families: tuple[Family, ...]

    @property
    def whose(self) -> Literal["paper", "further", "ours"]:
        """A sentence of the paper under its condition, one of its sentences under another, or our hypothesis."""
        if self.place.startswith("ours"):
            return "ours"
        return "paper" if self.condition in ("paper", "simulation") else "further"

    @property
    def is_central(self) -> bool:
        """Whether the abstract, the introduction or the conclusion of the paper states it, not its results alone."""
        return self.whose == "paper" and any(part in self.place for part in ("Abstract", "Introduction", "Conclusion"))

    @property
    def over_cells(self) -> bool:
        """Whether it is about the mean over all cells of a seed, not about each cell."""
        return "mean over the" in self.statistic


@cache
def claims() -> list[Claim]:
    """All claims of the paper and ours, in the order of claims.csv.

    Raises:
        ValueError: a line names a network, data set, loss or family that is not the paper's.
    """
    return [read_claim(line) for line in paper.lines("claims.csv")]


def read_claim(line: dict[str, str]) -> Claim:
    """A line of claims.csv with its labels as networks, losses, data sets and families; what is simulated has none.

    Raises:
        ValueError: one of them is not the paper's.
    """

    def listed(field: str) -> list[str]:
        return [item.strip() for item in line[field].split(";") if item.strip()]

    trained = line["condition"] != "simulation"
    try:
        return Claim(
            **{name: line[name] for name in ("id", "place", "claim", "condition", "statistic", "kind")},
            networks=tuple(map(keys.network, listed("networks"))),
            datasets=tuple(map(keys.dataset, listed("datasets"))),
            contrasts=tuple(map(_pair, listed("contrast") if trained else [])),
            families=tuple(_family(name.removesuffix("/curves")) for name in listed("family")),
        )
    except ValueError as error:
        raise ValueError(f"the claim {line['id']} of claims.csv cannot be read: {error}") from error


def _pair(text: str) -> Pair:
    first, _, second = text.partition(" - ")
    return keys.side(first), keys.side(second or first)


def _family(label: str) -> Family:
    known = {family.label: family for family in FAMILIES}
    if label not in known:
        raise ValueError(f"there is no family {label!r}; there are {', '.join(known)}")
    return known[label]


def contrasts_of(claim: Claim) -> list[Contrast]:
    """The comparisons that a claim is about, one per cell."""
    found = []
    for pair in claim.contrasts:
        if pair[0] in claim.networks:
            found += [
                between_networks(claim.condition, pair, dataset, loss)
                for loss in keys.LOSSES
                for dataset in claim.datasets
            ]
        else:
            found += [
                between_losses(claim.condition, model, dataset, pair)
                for model in claim.networks
                for dataset in claim.datasets
                if (model in keys.LARGE_NETWORKS) == (dataset == "cifar10")
            ]
    return found


def family_of(family: Family) -> list[Contrast]:
    """The cells of a family, as docs/statistics.md fixes them."""
    if family.pair is None:
        sizes: list[tuple[Pair, tuple[str, ...]]] = [
            ((CNN5C, CNN2C), keys.GRAY),
            ((RESNET18, MOBILENETV2), ("cifar10",)),
        ]
        return [
            between_networks(family.condition, networks, dataset, loss)
            for networks, datasets in sizes
            for loss in keys.LOSSES
            for dataset in datasets
        ]
    small, large = ([(model, name) for model in keys.SMALL_NETWORKS for name in keys.GRAY], keys.LARGE_NETWORKS)
    places = {
        "paper": [*small, *((model, "cifar10") for model in large)],
        "literal": [(LITERAL, name) for name in keys.GRAY],
    }.get(family.condition, [(CNN2C, "fmnist"), (CNN2C, "kmnist")])
    return [between_losses(family.condition, model, dataset, family.pair) for model, dataset in places]
