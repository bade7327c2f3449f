"""The networks, losses and data sets of the paper as keys of its cells, and what its files call them."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from lossbench.config.options import Reduction
from lossbench.config.registry import LABELS
from lossbench.losses.lgl_inr import LglInr
from lossbench.models.cnn2c import Cnn2c, Head
from lossbench.studies.aaai20.grid import LITERAL_HEAD
from lossbench.studies.cells import Cell, Key, Part

T = TypeVar("T")

CNN2C, CNN5C, MOBILENETV2, RESNET18 = (Part(name) for name in ("cnn2c", "cnn5c", "mobilenetv2", "resnet18"))
LITERAL = Part("cnn2c", ("head", Head.direct), LITERAL_HEAD)
"""CNN2C with the head as printed."""

LGL, SML, LGL_INR = (Part(name) for name in ("lgl", "sml", "lgl_inr"))
SUMMED = Part("lgl", ("reduction", Reduction.sum_classes), "LGL (sum)")
EVEN = Part("lgl_inr", ("beta", 0.0), "LGL-INR, beta 0")
"""LGL-INR with even weights."""


def with_beta(beta: float) -> Part:
    """LGL-INR as a column of Table 5."""
    return Part("lgl_inr", ("beta", beta), f"beta {beta:g}")


GRAY = ("mnist", "fmnist", "kmnist")
DATASETS = (*GRAY, "cifar10")
SMALL_NETWORKS = (CNN2C, CNN5C)
LARGE_NETWORKS = (MOBILENETV2, RESNET18)
NETWORKS = (CNN2C, LITERAL, CNN5C, *LARGE_NETWORKS)
LOSSES = (LGL, SML, LGL_INR)
BETAS = tuple(map(with_beta, (1.0, 2.0, 4.0)))

Pair = tuple[Part, Part]
"""Two losses or two networks, the first less the second."""

PAIRS: tuple[Pair, ...] = ((LGL_INR, SML), (LGL_INR, LGL), (LGL, SML))
"""The losses that are compared with each other."""


def key_of(cell: Cell) -> Key:
    """The key of a table's cell; a loss of Table 5 is named with its beta."""
    model, loss = cell.config.model, cell.config.loss
    literal = isinstance(model, Cnn2c) and model.head is Head.direct
    named = with_beta(loss.beta) if cell.table == 5 and isinstance(loss, LglInr) else Part(loss.name)
    return Key(LITERAL if literal else Part(model.name), cell.config.dataset.name, named)


def pair_label(pair: Pair) -> str:
    """Two sides, as tables write them."""
    return f"{pair[0].label} - {pair[1].label}"


def network(label: str) -> Part:
    """The network that tables write so.

    Raises:
        ValueError: there is none.
    """
    return _labelled("network", label, _by_label(NETWORKS))


def loss(label: str) -> Part:
    """The loss that tables write so, such as "beta 2".

    Raises:
        ValueError: there is none.
    """
    return _labelled("loss", label, _by_label((*LOSSES, *BETAS)))


def side(label: str) -> Part:
    """The loss or network that tables write so.

    Raises:
        ValueError: there is none.
    """
    return _labelled("loss or network", label, _by_label((*LOSSES, *BETAS, *NETWORKS)))


def dataset(label: str) -> str:
    """The name of the data set that tables write so.

    Raises:
        ValueError: there is none.
    """
    return _labelled("data set", label, {LABELS[name]: name for name in DATASETS})


def labelled(model: str, data: str, of: str) -> Key:
    """The key of the network, data set and loss that tables write so.

    Raises:
        ValueError: one of them is not there.
    """
    return Key(network(model), dataset(data), loss(of))


def _by_label(parts: Iterable[Part]) -> dict[str, Part]:
    return {part.label: part for part in parts}


def _labelled(what: str, label: str, known: Mapping[str, T]) -> T:
    if label not in known:
        raise ValueError(f"the paper has no {what} {label!r}; it has {', '.join(known)}")
    return known[label]
