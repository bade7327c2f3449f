"""Registries of losses, networks and data sets. Each registers itself in its own file; there is no central list."""

import pkgutil
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, Literal, TypeVar

from lossbench.config import plugins
from lossbench.config.options import DatasetConfig, LossConfig, ModelConfig
from lossbench.config.properties import Properties

T = TypeVar("T")
C = TypeVar("C", bound=type)

Map = Literal["softmax", "sigmoid", "shifted", "sigmoid_normalised", "shifted_normalised", "own"]
"""A map from logits to probabilities, defined in statistics/calibration.py; "own": `LossConfig.probabilities`."""

Law = Literal["softmax", "sigmoid", "reweighted"]
"""A form of the learning property (Eq. 8 to 10), defined in statistics/learning_property.py."""


@dataclass(frozen=True)
class LossFacts:
    """Facts about a loss besides its options.

    Args:
        options: the dataclass of its options.
        label: its name in tables.
        probabilities: the map inside the loss; a run keeps the class means of these probabilities.
        maps: the maps through which its probabilities are scored and shown, in this order.
        posterior: the map that turns the logits of the population minimiser into the posterior; "none": no map does.
        compared: the same with probabilities that sum to 1, used to compare losses.
        law: the form of its learning property; None: unknown.
        style: index of its colour and marker in `report.style`; None: the next free one.
        properties: its mathematical properties; None: not stated.
    """

    options: type[LossConfig]
    label: str
    probabilities: Literal["softmax", "sigmoid"]
    maps: tuple[Map, ...]
    posterior: Map | Literal["none"]
    compared: Map
    law: Law | None = None
    style: int | None = None
    properties: Properties | None = None


@dataclass(frozen=True)
class ModelFacts:
    """Facts about a network besides its options."""

    options: type[ModelConfig]
    label: str


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a data set besides its options."""

    options: type[DatasetConfig]
    label: str


class Registry(Mapping[str, T], Generic[T]):
    """Facts by name. The first look-up imports every module of a package, which register what they define, and plugins.

    Args:
        word: what is registered, for messages.
        package: the package whose modules are imported.
        inner: the module that is imported from each of its subpackages; None: only the subpackage itself.
    """

    def __init__(self, word: str, package: str, inner: str | None = None) -> None:
        self._word, self._package, self._inner, self._loaded = word, package, inner, False
        self._known: dict[str, T] = {}
        self._sources: dict[str, plugins.Source] = {}

    def add(self, name: str, facts: T, options: type) -> None:
        """Register facts under a name.

        Args:
            name: of a loss, network, data set or study.
            facts: what is known of it.
            options: the class that is registered.

        Raises:
            ValueError: the name or the label is taken.
        """
        source = plugins.source_of(options)
        if source is not None:
            self._load_own()
        if name in self._known:
            raise ValueError(f"there is already a {self._word} {name}; give the new one another name")
        labels = {getattr(known, "label", None) for known in self._known.values()} - {None}
        if getattr(facts, "label", None) in labels:
            raise ValueError(f"there is already a {self._word} with the label {facts.label}; give {name} another label")  # type: ignore[attr-defined]
        self._known[name] = facts
        if source is not None:
            self._sources[name] = source

    def source(self, name: str) -> plugins.Source | None:
        """The plugin that a name is from; None: lossbench's own, or not registered so far."""
        return self._sources.get(name)

    def _load(self) -> dict[str, T]:
        self._load_own()
        plugins.load_plugins()
        return self._known

    def _load_own(self) -> None:
        if not self._loaded:
            self._loaded = True
            package = import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                inner = f".{self._inner}" if module.ispkg and self._inner else ""
                import_module(f"{self._package}.{module.name}{inner}")

    def __getitem__(self, name: str) -> T:
        try:
            return self._load()[name]
        except KeyError:
            raise KeyError(f"there is no {self._word} {name}; there are {', '.join(self._known)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._load()))

    def __len__(self) -> int:
        return len(self._load())


def labelled_loss(label: str) -> LossFacts:
    """The loss that has this label in tables."""
    return next(facts for facts in LOSSES.values() if facts.label == label)


LOSSES: Registry[LossFacts] = Registry("loss", "lossbench.losses")
MODELS: Registry[ModelFacts] = Registry("network", "lossbench.models")
DATASETS: Registry[DatasetFacts] = Registry("data set", "lossbench.data")


def register_loss(
    *,
    label: str,
    probabilities: Literal["softmax", "sigmoid"] = "softmax",
    maps: tuple[Map, ...] | None = None,
    posterior: Map | Literal["none"] | None = None,
    compared: Map | None = None,
    law: Law | None = None,
    style: int | None = None,
    properties: Properties | None = None,
) -> Callable[[C], C]:
    """Register the options of a loss, a subclass of `LossConfig`, under its `name`.

    Args:
        label: its name in tables.
        probabilities: "softmax", or "sigmoid" for a loss with one classifier for each class against the others.
        maps: the maps through which its logits are read as probabilities; None: softmax; with "sigmoid" the sigmoids
            and the normalised sigmoids come before it, and "own" is the first if the class defines `probabilities`.
        posterior: the map that turns the logits of its population minimiser into the posterior; "none": no map does;
            None: "own" or else `probabilities`.
        compared: the map by which it is compared with other losses, with probabilities that sum to 1; None: "own" or
            else softmax or the normalised sigmoids.
        law: the form of its learning property (Eq. 8 to 10); None: unknown.
        style: index of its colour and marker in figures; None: the next free one.
        properties: its mathematical properties, shown by `lossbench losses`; None: not stated.
    """
    one_vs_all = probabilities == "sigmoid"
    usual: tuple[Map, ...] = ("sigmoid", "sigmoid_normalised", "softmax") if one_vs_all else ("softmax",)

    def register(options: C) -> C:
        needs = options.needs  # type: ignore[attr-defined]
        if needs not in ("logits", "features"):
            raise ValueError(f'the loss {options.__name__} has needs = "{needs}"; it must be "logits" or "features"')
        own: tuple[Map, ...] = () if options.probabilities is LossConfig.probabilities else ("own",)  # type: ignore[attr-defined]
        first: Map = "own" if own else probabilities
        whole: Map = "sigmoid_normalised" if one_vs_all else "softmax"
        facts = LossFacts(
            options,
            label,
            probabilities,
            maps or (*own, *usual),
            posterior or first,
            compared or (*own, whole)[0],
            law,
            style,
            properties,
        )
        LOSSES.add(_name(options), facts, options)
        return options

    return register


def register_model(*, label: str) -> Callable[[C], C]:
    """Register the options of a network, a subclass of `ModelConfig`, under its `name`.

    Args:
        label: its name in tables.
    """

    def register(options: C) -> C:
        MODELS.add(_name(options), ModelFacts(options, label), options)
        return options

    return register


def register_dataset(*, label: str | Mapping[str, str]) -> Callable[[C], C]:
    """Register the options of a data set, a subclass of `DatasetConfig`, under its `name`.

    Args:
        label: its name in tables; a mapping from name to label if several data sets share the options.
    """

    def register(options: C) -> C:
        labels = {_name(options): label} if isinstance(label, str) else label
        for name, text in labels.items():
            DATASETS.add(name, DatasetFacts(options, text), options)
        return options

    return register


def _name(options: Any) -> str:
    """The name of a class of options.

    Raises:
        ValueError: it is no dataclass, or has no name that can stand in file names and on command lines.
    """
    if "__dataclass_fields__" not in vars(options):
        raise ValueError(f"{options.__name__} is no dataclass; put @dataclass between it and its registration")
    name = options.name
    if not (isinstance(name, str) and re.fullmatch(r"[a-z0-9][a-z0-9_]*", name)):
        raise ValueError(f"{options.__name__} is named {name!r}; a name has lower-case letters, digits and _ alone")
    return name


class _Labels(Mapping[str, str]):
    """The labels of all losses, networks and data sets, by name."""

    def __getitem__(self, name: str) -> str:
        for registry in (LOSSES, MODELS, DATASETS):
            if name in registry:
                return registry[name].label
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter([*DATASETS, *MODELS, *LOSSES])

    def __len__(self) -> int:
        return len(DATASETS) + len(MODELS) + len(LOSSES)


LABELS: Mapping[str, str] = _Labels()


PARTS: Mapping[str, Registry[Any]] = {"dataset": DATASETS, "model": MODELS, "loss": LOSSES}
"""The registries of what a run consists of."""


def sources(names: Mapping[str, str]) -> dict[str, plugins.Source]:
    """The plugins among a run's parts.

    Args:
        names: of the data set, the network and the loss, by "dataset", "model" and "loss".
    """
    found = {part: PARTS[part].source(name) for part, name in names.items()}
    return {part: source for part, source in found.items() if source is not None}


def plugin_facts(names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What a record keeps of the plugins among a run's parts, so that tables and reports do without them.

    Args:
        names: of the data set, the network and the loss, by "dataset", "model" and "loss".
    """
    found = {}
    for part, source in sources(names).items():
        facts: Any = PARTS[part][names[part]]
        kept = {
            key: value for key, value in vars(facts).items() if key not in ("options", "style", "law", "properties")
        }
        found[part] = {"plugin": source.name, "sha256": source.sha256, **kept}
    return found


@contextmanager
def plugin_faults(part: str, name: str, method: str) -> Iterator[None]:
    """Turn whatever a plugin raises into a ValueError that names plugin, method and line; errors of others pass.

    Args:
        part: "dataset", "model" or "loss".
        name: as registered.
        method: what is called, such as "read".
    """
    source = PARTS[part].source(name)
    try:
        yield
    except Exception as error:
        if source is None:
            raise
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source.place]
        place = f", line {lines[-1]}" if lines else ""
        said = " ".join(reason.split())
        raise ValueError(f"{part}={name} of {source.name} fails in {method}{place}: {said:.300}") from error
