"""Which comparisons do a claim and a family of docs/statistics.md speak of?"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

from lossbench.studies.aaai20 import paper
from lossbench.studies.aaai20.conditions import Key
from lossbench.studies.aaai20.grid import LITERAL_HEAD

_LOSSES = ("LGL", "SML", "LGL-INR")
_GRAY = ("MNIST", "FMNIST", "KMNIST")
_LARGE = ("MobileNetV2", "ResNet-18")

FAMILIES = (
    *(f"paper/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL", "LGL - SML", "larger - smaller")),
    *(f"literal/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL", "LGL - SML")),
    *(f"scale-up/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL")),
    "scale-down/LGL-INR - SML",
    *(f"own-lr/{contrast}" for contrast in ("LGL-INR - SML", "LGL-INR - LGL", "LGL - SML")),
)
"""All families of comparisons of accuracy, in the order of docs/statistics.md."""


@dataclass(frozen=True)
class Contrast:
    """What is compared with what, in one cell."""

    arm: str
    network: str
    dataset: str  # as tables write them
    first: str
    second: str
    loss: str = ""  # where networks are compared

    @property
    def label(self) -> str:
        """Both sides."""
        return f"{self.first} - {self.second}"

    @property
    def keys(self) -> tuple[Key, Key]:
        """Both cells; a side names a loss or, where a loss is given, a network."""
        if self.loss:
            return (self.first, self.dataset, self.loss), (self.second, self.dataset, self.loss)
        return (self.network, self.dataset, self.first), (self.network, self.dataset, self.second)


@dataclass(frozen=True)
class Claim:
    """A line of claims.csv."""

    id: str
    place: str
    claim: str
    arm: str
    tables: str
    networks: str
    datasets: str
    contrast: str
    statistic: str
    kind: str
    margin: str
    family: str
    rule: str

    @property
    def whose(self) -> Literal["paper", "further", "ours"]:
        """A sentence of the paper tested as there, one carried to another arm than the paper's, or our hypothesis."""
        if self.place.startswith("ours"):
            return "ours"
        return "paper" if self.arm in ("paper", "simulation") else "further"

    @property
    def over_cells(self) -> bool:
        """Whether it speaks of the mean over all cells of a seed, not of each cell."""
        return "mean over the" in self.statistic

    def listed(self, field: str) -> list[str]:
        """A field that is a list."""
        return [item.strip() for item in str(getattr(self, field)).split(";")]


@cache
def claims() -> list[Claim]:
    """All claims of the paper and ours, in the order of claims.csv."""
    return [Claim(**line) for line in paper.lines("claims.csv")]


def contrasts_of(claim: Claim) -> list[Contrast]:
    """The comparisons that a claim speaks of, one a cell; a claim about one loss compares it with itself."""
    found = []
    for contrast in claim.listed("contrast"):
        first, _, second = contrast.partition(" - ")
        places = [(network, dataset) for network in claim.listed("networks") for dataset in claim.listed("datasets")]
        if first in claim.listed("networks"):
            found += [
                Contrast(claim.arm, "", dataset, first, second, loss)
                for loss in _LOSSES
                for dataset in claim.listed("datasets")
            ]
        else:
            found += [
                Contrast(claim.arm, network, dataset, first, second or first)
                for network, dataset in places
                if (network in _LARGE) == (dataset == "CIFAR-10")
            ]
    return found


def family_of(name: str) -> list[Contrast]:
    """The cells of a family, as docs/statistics.md fixes them."""
    arm, contrast = name.split("/")
    first, _, second = contrast.partition(" - ")
    if first == "larger":
        pairs = [("CNN5C", "CNN2C", _GRAY), ("ResNet-18", "MobileNetV2", ("CIFAR-10",))]
        return [
            Contrast(arm, "", dataset, larger, smaller, loss)
            for larger, smaller, datasets in pairs
            for loss in _LOSSES
            for dataset in datasets
        ]
    places = {
        "paper": [*product(("CNN2C", "CNN5C"), _GRAY), *product(_LARGE, ("CIFAR-10",))],
        "literal": [*product((LITERAL_HEAD,), _GRAY)],
    }.get(arm, [*product(("CNN2C",), ("FMNIST", "KMNIST"))])
    return [Contrast(arm, network, dataset, first, second) for network, dataset in places]
